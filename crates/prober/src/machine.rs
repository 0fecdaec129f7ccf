//! The machine: events in, effects out. No clock, no socket, no runtime.
//!
//! One owner of the list, the schedule, every target's judge, the names and the vantage's doubt. A target has at
//! most one probe in flight per list, and no more than [`RUNNING_MAX`] of anything run at once.

use crate::judge::{Judge, Outcome, Tuning};
use crate::list::{List, Target};
use crate::names::Names;
use crate::schedule::{Schedule, Start};
use crate::selfcheck::{Reached, SelfCheck};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Millis, Mono, TargetState};
use tidegate_gossip::OwnReport;

/// Probes, reference connections and look-ups that run at once. A probe beyond it is skipped and counted; a
/// reference or a look-up waits for the next round.
pub const RUNNING_MAX: usize = 2_048;
/// A report that has not changed is confirmed after so long.
pub const CONFIRM_EVERY: Millis = Millis(250);
/// A tick is asked for at least this often, so that the machine notices pauses of whoever drives it.
const TURN: Millis = Millis(50);
const REFERENCES_EVERY: Millis = Millis(1_000);
const REFERENCE_TIMEOUT: Millis = Millis(800);
/// The round of a list that gives this vantage nothing to probe.
const IDLE_ROUND: Millis = Millis(1_000);

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A good answer.
    Ok,
    /// No connection: refused, reset, unreachable.
    Connect,
    /// No whole answer within the time-out.
    Timeout,
    /// No TLS session.
    Tls,
    /// An answer that says the endpoint is not well.
    Status,
    /// An answer in another protocol, or none.
    Protocol,
}
impl Ended {
    /// The word in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Status => "status",
            Self::Protocol => "protocol",
        }
    }
}

/// Why a start or a result came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The shell could not put the question: see [`Event::NotAsked`].
    BadName,
    /// The target's host name has no address yet.
    Unresolved,
    /// The target's last probe is still in flight.
    StillRunning,
    /// [`RUNNING_MAX`] is reached.
    TooMany,
    /// The result straddles a pause.
    Voided,
    /// The first probe had no time for so long a way; the next one has.
    TooFar,
}
impl Skip {
    /// The word in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadName => "bad_name",
            Self::Unresolved => "unresolved",
            Self::StillRunning => "still_running",
            Self::TooMany => "too_many",
            Self::Voided => "voided",
            Self::TooFar => "too_far",
        }
    }
}

/// What can happen to a prober. Every [`Effect::Probe`], [`Effect::Reference`] and [`Effect::Resolve`] is owed
/// exactly one event in return, whatever became of it, else its place among [`RUNNING_MAX`] is never free again.
#[derive(Debug, Clone)]
pub enum Event {
    /// A deadline has come, or nothing has. Only a tick starts anything and tells anything; the other events
    /// are taken in, and bring the deadline forward where they matter. So what is ready is fed first, then one
    /// tick, and a hundred results at once make one report.
    Tick,
    /// A new list, to be used from now on.
    List(Arc<List>),
    /// A probe has ended.
    Probed {
        /// As in the effect.
        list: u64,
        /// As in the effect.
        target: usize,
        /// When it really began, by the clock of `now`.
        started: Mono,
        /// How it ended.
        ended: Ended,
        /// From the beginning to the answer.
        took: Duration,
        /// From the beginning to the open connection, where it opened: how far the target is.
        opened: Option<Duration>,
    },
    /// A probe could not be asked for at all, for its target's name fits no question. It says nothing of the target.
    NotAsked {
        /// As in the effect.
        list: u64,
        /// As in the effect.
        target: usize,
    },
    /// A connection to a reference has ended.
    Reference {
        /// As in the effect.
        list: u64,
        /// As in the effect.
        index: usize,
        /// When it began, by the clock of `now`.
        started: Mono,
        /// Whether it opened.
        reached: bool,
    },
    /// A look-up has ended.
    Resolved {
        /// As in the effect.
        host: String,
        /// What was found; empty when it failed: the last set is kept.
        addresses: Vec<IpAddr>,
    },
}

/// What a prober wants done, or wants known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Probe a target of [`Prober::list`], with a fresh connection.
    Probe {
        /// Number of the list; goes back with the result.
        list: u64,
        /// Index in the list.
        target: usize,
        /// Where to.
        to: SocketAddr,
        /// How long it may take in all.
        timeout: Millis,
        /// When it should have started: `now` minus this is its lateness.
        planned: Mono,
    },
    /// Open a TCP connection to a reference of [`Prober::list`].
    Reference {
        /// Number of the list; goes back with the result.
        list: u64,
        /// Index in the list.
        index: usize,
        /// Where to.
        to: SocketAddr,
        /// How long it may take.
        timeout: Millis,
    },
    /// Look a host name up.
    Resolve {
        /// The name.
        host: String,
    },
    /// Tell the others; the newest report replaces all before it.
    Report(OwnReport),
    /// To be known: a result was taken.
    Counted {
        /// Index in the list.
        target: usize,
        /// How it ended.
        ended: Ended,
        /// The target's new state, where the result changed it.
        changed: Option<TargetState>,
    },
    /// To be known: a start or a result came to nothing.
    Skipped(Skip),
    /// To be known: nobody drove the machine for longer than [`crate::PAUSE`]; what is in flight does not count.
    Paused,
}

#[derive(Debug)]
struct Slot {
    judge: Judge,
    running: bool,
    probes: usize,
}

/// A vantage's whole mind. Time enters with each event and never steps back.
#[derive(Debug)]
pub struct Prober {
    tuning: Tuning,
    list: Arc<List>,
    /// Counts lists: a result of an earlier list is dropped. 0: there was none yet.
    list_number: u64,
    /// The shortest interval of the list's own targets.
    round: Millis,
    schedule: Schedule,
    slots: Vec<Slot>,
    names: Names,
    own: SelfCheck,
    running: usize,
    references_at: Mono,
    confirm_at: Mono,
    changed: bool,
}

impl Prober {
    /// A prober without a list: it probes nothing and tells nothing.
    #[must_use]
    pub fn new(tuning: Tuning) -> Self {
        Self {
            tuning,
            list: Arc::default(),
            list_number: 0,
            round: IDLE_ROUND,
            schedule: Schedule::default(),
            slots: Vec::new(),
            names: Names::default(),
            own: SelfCheck::default(),
            running: 0,
            references_at: Mono(0),
            confirm_at: Mono(0),
            changed: false,
        }
    }

    /// The list in use: what the indexes of the last call's effects mean.
    #[must_use]
    pub fn list(&self) -> &Arc<List> {
        &self.list
    }

    /// Takes what happened and says what to do. Effects are to be run in order, before the next event.
    pub fn handle(&mut self, event: Event, now: Mono) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.turn(now, &mut effects);
        match event {
            Event::Tick => self.tick(now, &mut effects),
            Event::List(list) => self.switch(list, now),
            Event::Probed { list, target, started, ended, took, opened } => {
                if self.ends(list, target) {
                    effects.push(self.judge(target, started, ended, (took, opened)));
                }
            }
            Event::NotAsked { list, target } => {
                if self.ends(list, target) {
                    effects.push(Effect::Skipped(Skip::BadName));
                }
            }
            Event::Reference { list, index, started, reached } => {
                self.running = self.running.saturating_sub(1);
                if list == self.list_number && self.own.counts(started) {
                    let before = self.own.own();
                    let told = self.own.reference(index, reached);
                    self.come_back(told, now);
                    self.changed |= before != self.own.own();
                }
            }
            Event::Resolved { host, addresses } => {
                self.running = self.running.saturating_sub(1);
                self.names.learn(&host, addresses, now);
            }
        }
        effects
    }

    /// When [`Event::Tick`] is wanted next; a moment that is past means at once. None before the first event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let turned = self.own.turned()?;
        let turn = turned + TURN;
        if self.list_number == 0 {
            return Some(turn);
        }
        if self.changed {
            return Some(turned);
        }
        let next = turn.min(self.references_at).min(self.confirm_at);
        Some(self.schedule.next().map_or(next, |at| at.min(next)))
    }

    fn turn(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let before = self.own.own();
        if self.own.turn(now, self.round) {
            effects.push(Effect::Paused);
        }
        self.changed |= before != self.own.own();
    }

    fn tick(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        for start in self.schedule.due(now) {
            let effect = self.start(start);
            effects.push(effect);
        }
        if self.list_number > 0 && self.references_at <= now {
            self.references_at = now + REFERENCES_EVERY;
            self.look_around(now, effects);
        }
        self.tell(now, effects);
    }

    /// Once enough references are reached, what was found against targets before is forgotten: without them it was the
    /// vantage's own cut that it saw, and with its vote restored it would accuse what is well until each target has answered
    /// often enough. Until all have been probed anew it doubts itself.
    fn come_back(&mut self, told: Reached, now: Mono) {
        if told == Reached::AsBefore {
            return;
        }
        let accused = self.slots.iter_mut().filter_map(|slot| slot.judge.forget().then_some(())).count();
        if accused > 0 {
            self.own.doubt(now, self.round);
            self.changed = true;
        } else if told == Reached::Again {
            self.own.void(now);
        }
    }

    /// Takes a new list at once. A target that stands in both with the same check keeps what is known of it.
    fn switch(&mut self, list: Arc<List>, now: Mono) {
        let old: BTreeMap<&str, usize> =
            self.list.targets.iter().enumerate().map(|(i, t)| (t.endpoint.as_str(), i)).collect();
        let slot = |target: &Target| {
            let same = old.get(target.endpoint.as_str()).copied();
            let same = same.filter(|i| self.list.targets[*i] == *target && target.assigned);
            let judge = same.map_or_else(Judge::default, |i| self.slots[i].judge);
            Slot { judge, running: false, probes: 0 }
        };
        self.slots = list.targets.iter().map(slot).collect();
        let intervals = list.targets.iter().map(|t| t.assigned.then_some(t.check.interval));
        let intervals: Vec<Option<Millis>> = intervals.collect();
        self.round = intervals.iter().flatten().min().copied().unwrap_or(IDLE_ROUND);
        self.schedule = Schedule::new(&intervals, now);
        if self.list.references != list.references {
            self.own.set_references(list.references.iter().map(|r| r.network.clone()).collect());
        }
        self.names.follow(&list, now);
        self.list = list;
        self.list_number += 1;
        self.references_at = now;
        self.changed = true;
    }

    fn start(&mut self, start: Start) -> Effect {
        let (slot, target) = (&mut self.slots[start.target], &self.list.targets[start.target]);
        let Some(ip) = self.names.address(&target.host, slot.probes) else { return Effect::Skipped(Skip::Unresolved) };
        if slot.running {
            return Effect::Skipped(Skip::StillRunning);
        }
        if self.running >= RUNNING_MAX {
            return Effect::Skipped(Skip::TooMany);
        }
        self.running += 1;
        slot.running = true;
        slot.probes += 1;
        Effect::Probe {
            list: self.list_number,
            target: start.target,
            to: SocketAddr::new(ip, target.port),
            timeout: slot.judge.timeout(&target.check, &self.tuning),
            planned: start.planned,
        }
    }

    /// References and names, as many as there is room for.
    fn look_around(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let (list, timeout) = (self.list_number, REFERENCE_TIMEOUT);
        let known = self.list.references.iter().enumerate().filter_map(|(index, reference)| {
            let ip = self.names.address(&reference.host, 0)?;
            Some(Effect::Reference { list, index, to: SocketAddr::new(ip, reference.port), timeout })
        });
        let before = effects.len();
        effects.extend(known.take(RUNNING_MAX.saturating_sub(self.running)));
        self.running += effects.len() - before;
        let hosts = self.names.due(now, RUNNING_MAX.saturating_sub(self.running));
        self.running += hosts.len();
        effects.extend(hosts.into_iter().map(|host| Effect::Resolve { host }));
    }

    /// Frees the place of a probe that came back; whether it was one of this list that was in flight.
    fn ends(&mut self, list: u64, target: usize) -> bool {
        if list != self.list_number {
            self.running = self.running.saturating_sub(1);
            return false;
        }
        let Some(slot) = self.slots.get_mut(target).filter(|slot| slot.running) else { return false };
        slot.running = false;
        self.running = self.running.saturating_sub(1);
        true
    }

    fn judge(
        &mut self,
        target: usize,
        started: Mono,
        ended: Ended,
        (took, opened): (Duration, Option<Duration>),
    ) -> Effect {
        if !self.own.counts(started) {
            return Effect::Skipped(Skip::Voided);
        }
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let rtt_us = micros(took);
        let outcome = match ended {
            Ended::Ok => Outcome::Answered { rtt_us },
            Ended::Timeout => Outcome::Silent,
            Ended::Connect | Ended::Tls | Ended::Status | Ended::Protocol => Outcome::Failed,
        };
        let (judge, check) = (&mut self.slots[target].judge, &self.list.targets[target].check);
        let too_far = opened.is_some_and(|opened| judge.reached(micros(opened), check, &self.tuning));
        if too_far && ended == Ended::Timeout {
            return Effect::Skipped(Skip::TooFar);
        }
        let changed = judge.take(outcome, check, &self.tuning).then(|| judge.state());
        self.changed |= changed.is_some();
        Effect::Counted { target, ended, changed }
    }

    /// Reports at once when something changed, and says four times a second that all is as it was.
    fn tell(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        if self.list_number == 0 || (!self.changed && now < self.confirm_at) {
            return;
        }
        self.changed = false;
        self.confirm_at = now + CONFIRM_EVERY;
        effects.push(Effect::Report(OwnReport {
            revision_short: self.list.revision.short(),
            own: self.own.own(),
            states: self.slots.iter().map(|slot| slot.judge.state()).collect(),
            rtt: self.slots.iter().map(|slot| slot.judge.rtt_class()).collect(),
        }));
    }
}
