//! The probe loop: one task that owns the list, the schedule, every target's judge and the vantage's doubt.
//!
//! Owns when a probe starts and what its result changes. Every list of running probes is bounded; a target has
//! at most one probe in flight.

use crate::judge::{Judge, Outcome, Tuning};
use crate::metrics::Metrics;
use crate::probe::{Ask, Ended, probe};
use crate::schedule::{Schedule, Start};
use crate::selfcheck::SelfCheck;
use crate::targets::{List, Target};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Millis, Mono, TargetState};
use tidegate_gossip::OwnReport;
use tidegate_gossip::shell::Clock;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// Probes, reference connections and look-ups that run at once; a start beyond it is skipped and counted.
const RUNNING_MAX: usize = 2_048;
/// The loop turns at least this often, to notice its own pauses.
const TURN: Millis = Millis(50);
/// Starts are gathered into steps of this length: fewer wake-ups, at most this much lateness.
const STEP: Millis = Millis(4);
const REFERENCES_EVERY: Millis = Millis(1_000);
const REFERENCE_TIMEOUT: Duration = Duration::from_millis(800);
const CONFIRM_EVERY: Millis = Millis(250);
/// As often as the servers look names up for the edges: what is judged is what is used.
const RESOLVE_EVERY: Millis = Millis(5_000);
const RESOLVE_AGAIN: Millis = Millis(2_000);

/// Where reports go and lateness is told.
pub(crate) struct Outlets {
    pub(crate) report: Box<dyn FnMut(OwnReport) + Send>,
    /// Microseconds between the planned and the real start of every probe.
    pub(crate) lateness: Box<dyn FnMut(u64) + Send>,
}

enum Done {
    Probe { list: u64, target: usize, started: Mono, ended: Ended, took: Duration },
    Reference { list: u64, index: usize, started: Mono, reached: bool },
    Resolved { host: String, addresses: Vec<IpAddr> },
}

/// Addresses of host names. A failed or empty answer keeps the last set.
#[derive(Default)]
struct Names {
    known: BTreeMap<String, (Vec<IpAddr>, Mono)>,
}
impl Names {
    fn address(&self, host: &str, turn: usize) -> Option<IpAddr> {
        if let Ok(ip) = host.parse() {
            return Some(ip);
        }
        let (addresses, _) = self.known.get(host)?;
        addresses.get(turn % addresses.len().max(1)).copied()
    }
    fn ask_for(&mut self, list: &List, now: Mono) -> Vec<String> {
        let hosts = list.targets.iter().map(|t| &t.host).chain(list.references.iter().map(|r| &r.host));
        let wanted: BTreeMap<&String, ()> =
            hosts.filter(|host| host.parse::<IpAddr>().is_err()).map(|host| (host, ())).collect();
        self.known.retain(|host, _| wanted.contains_key(host));
        let mut due = Vec::new();
        for host in wanted.into_keys() {
            let known = self.known.entry(host.clone()).or_insert((Vec::new(), now));
            if known.1 <= now {
                known.1 = now + RESOLVE_AGAIN;
                due.push(host.clone());
            }
        }
        due
    }
    fn learn(&mut self, host: &str, addresses: Vec<IpAddr>, now: Mono) {
        if let Some(known) = self.known.get_mut(host).filter(|_| !addresses.is_empty()) {
            *known = (addresses, now + RESOLVE_EVERY);
        }
    }
}

struct Slot {
    judge: Judge,
    ask: Option<Ask>,
    running: bool,
    probes: usize,
}

pub(crate) struct Engine {
    clock: Clock,
    tuning: Tuning,
    metrics: Arc<Metrics>,
    outlets: Outlets,
    tls: TlsConnector,
    list: Arc<List>,
    /// Counts lists: a result of an earlier list is dropped.
    list_number: u64,
    schedule: Schedule,
    slots: Vec<Slot>,
    names: Names,
    own: SelfCheck,
    running: JoinSet<Done>,
    references_at: Mono,
    confirm_at: Mono,
    changed: bool,
}

impl Engine {
    pub(crate) fn new(
        clock: Clock,
        tuning: Tuning,
        metrics: Arc<Metrics>,
        tls: TlsConnector,
        outlets: Outlets,
    ) -> Self {
        let empty = List { revision: Default::default(), targets: vec![], references: vec![], peers: vec![] };
        Self {
            clock,
            tuning,
            metrics,
            outlets,
            tls,
            list: Arc::new(empty),
            list_number: 0,
            schedule: Schedule::default(),
            slots: Vec::new(),
            names: Names::default(),
            own: SelfCheck::default(),
            running: JoinSet::new(),
            references_at: Mono(0),
            confirm_at: Mono(0),
            changed: false,
        }
    }

    /// Probes whatever list stands, until it is dropped.
    pub(crate) async fn run(mut self, mut lists: watch::Receiver<Option<Arc<List>>>) {
        lists.mark_changed();
        loop {
            let now = self.clock.now();
            let next = self.schedule.next().map_or(now + TURN, |at| at.min(now + TURN));
            let step = STEP.0 * 1_000_000;
            let wait = Duration::from_nanos((next.0.div_ceil(step) * step).saturating_sub(now.0));
            tokio::select! {
                Some(done) = self.running.join_next(), if !self.running.is_empty() => {
                    self.turn();
                    done.into_iter().for_each(|done| self.done(done));
                }
                Ok(()) = lists.changed() => {
                    self.turn();
                    let list = lists.borrow_and_update().clone();
                    if let Some(list) = list {
                        self.switch(list);
                    }
                }
                () = sleep(wait) => self.turn(),
            }
            while let Some(done) = self.running.try_join_next() {
                done.into_iter().for_each(|done| self.done(done));
            }
            let now = self.clock.now();
            for start in self.schedule.due(now) {
                self.start(start, now);
            }
            if self.references_at <= now {
                self.references_at = now + REFERENCES_EVERY;
                self.start_references(now);
                self.start_lookups(now);
            }
            self.tell(now);
        }
    }

    fn turn(&mut self) {
        let assigned = self.list.targets.iter().filter(|t| t.assigned);
        let round = assigned.map(|t| t.check.interval).min().unwrap_or(Millis(1_000));
        let before = self.own.own();
        if self.own.turn(self.clock.now(), round) {
            tracing::warn!("the probe loop stood still for over 500 ms; probes in flight do not count");
            self.metrics.pauses.inc();
        }
        self.changed |= before != self.own.own();
    }

    /// Takes a new list at once. A target that stands in both with the same check keeps what is known of it.
    fn switch(&mut self, list: Arc<List>) {
        let now = self.clock.now();
        let old: BTreeMap<&str, usize> =
            self.list.targets.iter().enumerate().map(|(i, t)| (t.endpoint.as_str(), i)).collect();
        let slot = |target: &Target| {
            let same = old.get(target.endpoint.as_str()).copied();
            let same = same.filter(|i| self.list.targets[*i] == *target && target.assigned);
            let judge = same.map_or_else(Judge::default, |i| self.slots[i].judge);
            let ask = Ask::new(&target.check.kind, &target.host, target.port);
            Slot { judge, ask, running: false, probes: 0 }
        };
        self.slots = list.targets.iter().map(slot).collect();
        let interval = |t: &Target| t.assigned.then_some(t.check.interval);
        self.schedule = Schedule::new(&list.targets.iter().map(interval).collect::<Vec<_>>(), now);
        if self.list.references != list.references {
            self.own.set_references(list.references.iter().map(|r| r.network.clone()).collect());
        }
        tracing::info!(revision = %list.revision, targets = list.targets.len(), "probing a new list");
        self.list = list;
        self.list_number += 1;
        self.references_at = now;
        self.start_lookups(now);
        self.changed = true;
    }

    fn start(&mut self, start: Start, now: Mono) {
        let late = now.0.saturating_sub(start.planned.0) / 1_000;
        let (slot, target) = (&mut self.slots[start.target], &self.list.targets[start.target]);
        let Some(ask) = slot.ask.clone() else { return self.skip("bad_name") };
        let Some(ip) = self.names.address(&target.host, slot.probes) else { return self.skip("unresolved") };
        if slot.running {
            return self.skip("still_running");
        }
        if self.running.len() >= RUNNING_MAX {
            return self.skip("too_many");
        }
        slot.running = true;
        slot.probes += 1;
        self.metrics.lateness.observe(Duration::from_micros(late).as_secs_f64());
        (self.outlets.lateness)(late);
        let limit = Duration::from_millis(slot.judge.timeout(&target.check, &self.tuning).0);
        let (to, tls, clock) = (SocketAddr::new(ip, target.port), self.tls.clone(), self.clock);
        let (list, target) = (self.list_number, start.target);
        self.running.spawn(async move {
            let started = clock.now();
            let (ended, at) = probe(ask, to, tls, limit, clock).await;
            let took = Duration::from_nanos(at.0.saturating_sub(started.0));
            Done::Probe { list, target, started, ended, took }
        });
    }

    fn skip(&self, why: &str) {
        self.metrics.probes.with_label_values(&[why]).inc();
    }

    fn start_references(&mut self, now: Mono) {
        for (index, reference) in self.list.references.iter().enumerate() {
            let Some(ip) = self.names.address(&reference.host, 0) else { continue };
            if self.running.len() >= RUNNING_MAX {
                return;
            }
            let (list, to) = (self.list_number, SocketAddr::new(ip, reference.port));
            self.running.spawn(async move {
                let reached = matches!(timeout(REFERENCE_TIMEOUT, TcpStream::connect(to)).await, Ok(Ok(_)));
                Done::Reference { list, index, started: now, reached }
            });
        }
    }

    fn start_lookups(&mut self, now: Mono) {
        for host in self.names.ask_for(&self.list, now) {
            self.running.spawn(async move {
                let found = tokio::net::lookup_host((host.as_str(), 0)).await;
                let addresses = found.map(|all| all.map(|address| address.ip()).collect()).unwrap_or_default();
                Done::Resolved { host, addresses }
            });
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Probe { list, target, started, ended, took } => {
                if list != self.list_number {
                    return;
                }
                let slot = &mut self.slots[target];
                slot.running = false;
                if !self.own.counts(started) {
                    return self.skip("voided");
                }
                self.metrics.probes.with_label_values(&[ended.as_str()]).inc();
                let rtt_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                let outcome = if ended == Ended::Ok { Outcome::Answered { rtt_us } } else { Outcome::Failed };
                let of = &self.list.targets[target];
                if slot.judge.take(outcome, &of.check, &self.tuning) {
                    self.changed = true;
                    tracing::info!(endpoint = %of.endpoint, state = ?slot.judge.state(), why = ended.as_str(), "target");
                }
            }
            Done::Reference { list, index, started, reached } => {
                if list == self.list_number && self.own.counts(started) {
                    let before = self.own.own();
                    self.own.reference(index, reached);
                    self.changed |= before != self.own.own();
                }
            }
            Done::Resolved { host, addresses } => self.names.learn(&host, addresses, self.clock.now()),
        }
    }

    /// Publishes at once when something changed, and says four times a second that all is as it was.
    fn tell(&mut self, now: Mono) {
        if self.list_number == 0 || (!self.changed && now < self.confirm_at) {
            return;
        }
        self.changed = false;
        self.confirm_at = now + CONFIRM_EVERY;
        let own = self.own.own();
        let states: Vec<TargetState> = self.slots.iter().map(|slot| slot.judge.state()).collect();
        let words = [TargetState::Unseen, TargetState::Ok, TargetState::Slow, TargetState::Failing];
        for (state, word) in words.iter().zip(["unseen", "ok", "slow", "failing"]) {
            let count = states.iter().filter(|s| *s == state).count();
            self.metrics.targets.with_label_values(&[word]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.metrics.self_doubt.set(i64::from(own.self_doubt));
        self.metrics.references.set(i64::from(own.references_reached));
        let rtt = self.slots.iter().map(|slot| slot.judge.rtt_class()).collect();
        (self.outlets.report)(OwnReport { revision_short: self.list.revision.short(), own, states, rtt });
    }
}
