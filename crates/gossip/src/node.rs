//! The machine: events in, effects out, one ordered queue of timers. No socket, no clock, no randomness but
//! what it was given.
//!
//! Owns foca and what its driver owes: timers in order and none dropped (but a refuted suspicion's, see
//! [`Node::suspicion_ends`], a gossip's turn waits while there is nothing to say, and a probe as long as the way to its
//! member is), the way back from zero members, sealing, and the pace of the node's own reports.

use crate::counters::Counters;
use crate::flood::Flood;
use crate::identity::{Id, Role, WireCodec};
use crate::keyring::Keyring;
use crate::lifeguard::{Accused, CONFIRM_WITHIN, Ended, LocalHealth, Suspicions};
use crate::post::{Moment, Post, Sealed, Taken};
use crate::probing::{Over, Probing};
use crate::report::{OwnReport, ReportIn, Unread, encode_digest, encode_full, pack_states, states_hash};
use crate::seal::DropReason;
use crate::spread::{Heard, ReportSpread};
use crate::tuning::{GOSSIP_EVERY, PROBE_PERIOD, foca_config};
use foca::{Codec, Foca, Header, Identity, Message, Notification, OwnedNotification, Runtime, State, Timer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tidegate_domain::{Millis, Mono, Name};

/// What a node is told at its start.
#[derive(Debug)]
pub struct Config {
    /// Name of the vantage or server, unique in the fleet.
    pub name: Name,
    /// Start of the process, milliseconds since 1970. It must be above that of every earlier start of the same
    /// name and address, else the others take its datagrams for replays.
    pub incarnation: u64,
    /// Where others reach this node.
    pub advertise: SocketAddr,
    /// Addresses to announce to while they are not members; at most 256 are used.
    pub seeds: Vec<SocketAddr>,
    /// Shared keys.
    pub keyring: Keyring,
    /// Whether it probes.
    pub role: Role,
    /// 32 bytes from the system's random source; what sets this start apart and choices of peers follow from it.
    pub seed: [u8; 32],
}

/// What can happen to a node.
#[derive(Debug)]
pub enum Event<'a> {
    /// A deadline has come, or nothing has.
    Tick,
    /// A datagram arrived.
    Datagram {
        /// From where, as the system says; anybody can write any address there.
        from: SocketAddr,
        /// What.
        bytes: &'a [u8],
    },
    /// The prober's newest view. See [`Node::publish_report`] for one that must not fail silently.
    Publish(OwnReport),
    /// The seeds are these from now on; new ones are announced to at once.
    Seeds(Vec<SocketAddr>),
    /// The keys are these from now on.
    Keyring(Keyring),
    /// The answer to [`Effect::Confirm`]. It may come late or never.
    Confirmed {
        /// The number of the question.
        number: u64,
        /// Whether the member's machine took the connection.
        reached: bool,
    },
    /// Tell the others that this node goes. Nothing is sent after it.
    Leave,
}

/// What a node wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a datagram; losing it is allowed.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The sealed bytes, at most [`crate::MAX_DATAGRAM`].
        bytes: Vec<u8>,
    },
    /// Try a TCP connection to the member's gossip address and say within 500 ms what came of it, by
    /// [`Event::Confirmed`]. Without an answer the suspicion ends at its time.
    Confirm {
        /// Where to.
        to: SocketAddr,
        /// Names the question.
        number: u64,
    },
    /// Hand this out.
    Output(GossipOutput),
}

/// What a node says to its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GossipOutput {
    /// A vantage's newest report, digests resolved. Stamp it with the time of arrival.
    Report(ReportIn),
    /// There is a path to this member. A fact about the path only.
    MemberUp(Name),
    /// The members see no path to this member. A fact about the path only: says nothing about any target.
    MemberDown(Name),
}

/// One member as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Name of the vantage or server.
    pub name: Name,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// Whether it probes.
    pub role: Role,
    /// Its probe failed lately and it has not answered yet.
    pub suspect: bool,
    /// Start of its process, milliseconds since 1970, plus one per rejoin.
    pub generation: u64,
}

/// Why a report was not published. Nothing changed; the last report stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It does not fit one datagram. Retrying does not help: assign fewer targets.
    #[error("a report on {targets} targets does not fit one datagram")]
    TooManyTargets {
        /// How many it speaks of.
        targets: usize,
    },
}

const SEEDS_MAX: usize = 256;
const SEEDS_EVERY: Millis = Millis(5_000);
const SEEDS_EVERY_ALONE: Millis = Millis(1_000);
const STEADY_EVERY: Millis = Millis(1_000);
/// A digest may only confirm what the prober itself said this lately.
const CONFIRMED_WITHIN: Millis = Millis(2_000);
/// A full report is said anew so often though nothing asks for it, for a server that lost all that were.
const FULL_EVERY: Millis = Millis(10_000);
/// Least time between two reports of our own.
const PACE: Millis = Millis(50);
/// A changed report is said in full so many times more, a second apart: a lost one would leave its digests unread.
const SAID_AGAIN: u8 = 2;
const LATE: Millis = Millis(150);

/// What foca wants, collected during one call.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    pub(crate) sends: Vec<(SocketAddr, Vec<u8>)>,
    timers: Vec<(Timer<Id>, Duration)>,
    notes: Vec<OwnedNotification<Id>>,
}
impl Runtime<Id> for Wants {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        self.notes.push(notification.to_owned());
    }
    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.sends.push((to.addr(), data.to_vec()));
    }
    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        self.timers.push((event, after));
    }
}

#[derive(Debug)]
enum Due {
    Foca(Timer<Id>),
    /// The probe of this serial has waited long enough for a direct answer.
    AskOthers(u64),
    /// Its period is over, or its time.
    ProbeOver(u64),
    /// A suspect is asked directly before its suspicion ends.
    Ask(Accused),
    /// A suspicion's time is over.
    SuspicionEnds(Accused),
    /// Announce to seeds that are no members.
    Seeds,
    /// Say again, in full or as a digest, what stands.
    Steady,
    /// A changed report of our own waits for its pace.
    Flush,
}

/// The node's own report and what of it has been said.
#[derive(Debug, Default)]
struct Own {
    current: Option<OwnReport>,
    confirmed: Mono,
    sequence: u64,
    /// Sequence, hash and time of the last full report.
    full: Option<(u64, u64, Mono)>,
    said_own: Option<tidegate_domain::VantageSelf>,
    said: Option<Mono>,
    flush_waits: bool,
    full_wanted: bool,
    /// How often the last change is still to be said again in full.
    again: u8,
}

impl Own {
    /// In full with the next word, and so many times more.
    fn say_again(&mut self, times: u8) {
        self.full_wanted = true;
        self.again = self.again.max(times);
    }
}

/// A member of the gossip.
pub struct Node {
    name: Name,
    incarnation: u64,
    advertise: SocketAddr,
    seeds: Vec<SocketAddr>,
    role: Role,
    foca: Foca<Id, WireCodec, StdRng, ReportSpread>,
    post: Post,
    rng: StdRng,
    heard: Receiver<Heard>,
    timers: BTreeMap<(Mono, u64), Due>,
    submitted: u64,
    /// foca's turn to gossip, kept back while it has nothing to say, and when it would be.
    quiet: Option<(Mono, Timer<Id>)>,
    started: Mono,
    left: bool,
    own: Own,
    flood: Flood,
    probing: Probing,
    /// So long took the probe that ended last.
    probe_took: Millis,
    health: LocalHealth,
    suspicions: Suspicions,
    counters: Counters,
}
impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("name", &self.name).field("advertise", &self.advertise).finish_non_exhaustive()
    }
}

impl Node {
    /// A node that starts at `now`. It announces itself to its seeds at its first deadline.
    #[must_use]
    pub fn new(config: Config, now: Mono) -> Self {
        let Config { name, incarnation, advertise, seeds, keyring, role, seed } = config;
        let (tell, heard) = channel();
        let mut rng = StdRng::from_seed(seed);
        let choices = StdRng::from_rng(&mut rng);
        let (text, salt) = (Arc::from(name.as_str()), rng.random());
        let id = Id { name: text, addr: advertise, generation: incarnation, role, salt };
        let spread = ReportSpread::new(name.clone(), role, tell);
        let post = Post::new(keyring, id.clone());
        let mut node = Self {
            foca: Foca::with_custom_broadcast(id, foca_config(), choices, WireCodec, spread),
            name,
            incarnation,
            advertise,
            seeds: Vec::new(),
            role,
            post,
            rng,
            heard,
            timers: BTreeMap::new(),
            submitted: 0,
            quiet: None,
            started: now,
            left: false,
            own: Own::default(),
            flood: Flood::new(now),
            probing: Probing::default(),
            probe_took: Millis(0),
            health: LocalHealth::default(),
            suspicions: Suspicions::default(),
            counters: Counters::default(),
        };
        node.set_seeds(seeds);
        node.after(Millis(0), Due::Seeds, now);
        if role == Role::Prober {
            node.after(STEADY_EVERY, Due::Steady, now);
        }
        node
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Takes `event` at `now`, after every timer that is due; returns what is to be done, in order.
    pub fn handle(&mut self, event: Event<'_>, now: Mono) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.left {
            return effects;
        }
        self.excuse_stall(now);
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let due = entry.remove();
            self.due(due, now, &mut effects);
        }
        match event {
            Event::Tick => {}
            Event::Datagram { from, bytes } => self.datagram(from, bytes, now, &mut effects),
            Event::Publish(report) => {
                if let Err(error) = self.publish_report(report, now) {
                    tracing::error!(%error, "own report not published");
                }
            }
            Event::Seeds(seeds) => {
                let before = std::mem::take(&mut self.seeds);
                self.set_seeds(seeds);
                if self.seeds != before {
                    self.announce(now, &mut effects);
                }
            }
            Event::Keyring(keyring) => {
                self.counters.keyrings_taken += 1;
                self.post.set_keyring(keyring);
            }
            Event::Confirmed { number, reached } => self.suspicions.answered(number, reached),
            Event::Leave => self.leave(now, &mut effects),
        }
        effects
    }

    /// When [`Node::handle`] must be called next, whatever happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.keys().next().map(|(at, _)| *at).filter(|_| !self.left)
    }

    /// The members that are up or suspect, by name; this node is not among them.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let info = |member: &foca::Member<Id>| {
            let id = member.id();
            let suspect = member.state() == State::Suspect;
            let (addr, role, generation) = (id.addr, id.role, id.generation);
            Name::new(&id.name).ok().map(|name| MemberInfo { name, addr, role, suspect, generation })
        };
        let mut members: Vec<_> = self.foca.iter_members().filter_map(info).collect();
        members.sort_by(|a, b| (&a.name, a.addr).cmp(&(&b.name, b.addr)));
        members
    }

    /// Whether this node has reason to blame itself: its loop stood still within the last second, or at least two of
    /// its last three probes, to different members, were answered by nobody. Its own suspicions are held back
    /// meanwhile. After the loss of a large part of the fleet the survivors doubt themselves for a few seconds too.
    #[must_use]
    pub fn doubts_itself(&self, now: Mono) -> bool {
        self.health.doubts(now)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Takes the prober's newest view. A change is sent at once (at most every 50 ms); an unchanged one lets the
    /// next digest go out.
    ///
    /// # Errors
    /// When the report does not fit a datagram; the last one stands and is no longer confirmed.
    pub fn publish_report(&mut self, report: OwnReport, now: Mono) -> Result<(), PublishError> {
        if encode_full(self.name.as_str(), self.incarnation, u64::MAX, &report).is_none() {
            return Err(PublishError::TooManyTargets { targets: report.states.len() });
        }
        let hash = hash_of(&report);
        let changed = self.own.full.is_none_or(|(_, said, _)| said != hash) || self.own.said_own != Some(report.own);
        self.own.current = Some(report);
        self.own.confirmed = now;
        if changed && !self.own.flush_waits {
            self.own.flush_waits = true;
            let earliest = self.own.said.map_or(now, |said| said + PACE).max(now);
            self.at(earliest, Due::Flush);
        }
        Ok(())
    }

    /// The wall clock by the start time it was given and the time passed since: a clock that steps
    /// later does not reach in here.
    fn moment(&self, now: Mono) -> Moment {
        Moment { now, wall_ms: self.incarnation.saturating_add(now.since(self.started).0) }
    }

    fn at(&mut self, at: Mono, due: Due) {
        self.submitted += 1;
        self.timers.insert((at, self.submitted), due);
    }
    fn after(&mut self, after: Millis, due: Due, now: Mono) {
        self.at(now + after, due);
    }

    fn set_seeds(&mut self, seeds: Vec<SocketAddr>) {
        let all: BTreeSet<SocketAddr> = seeds.into_iter().filter(|seed| *seed != self.advertise).collect();
        self.seeds = all.into_iter().take(SEEDS_MAX).collect();
    }

    /// A node that stood still judges nobody by it: the pause is taken out of every running timer. Without this
    /// a woken node would accuse the member whose answer waits unread in its socket.
    fn excuse_stall(&mut self, now: Mono) {
        let Some((first, _)) = self.timers.keys().next().copied() else { return };
        if now.since(first) <= LATE {
            return;
        }
        let pause = now.0 - first.0;
        self.counters.stalls += 1;
        self.health.late(now);
        self.probing.stood_still(pause);
        let shifted = std::mem::take(&mut self.timers);
        self.timers = shifted.into_iter().map(|((at, n), due)| ((Mono(at.0 + pause), n), due)).collect();
    }

    /// Fires one timer.
    fn due(&mut self, due: Due, now: Mono, effects: &mut Vec<Effect>) {
        match due {
            Due::Foca(timer) => self.fire(timer, now, effects),
            Due::AskOthers(serial) => self.ask_others(serial, now, effects),
            Due::ProbeOver(serial) => self.probe_over(serial, now, effects),
            Due::Ask(accused) => self.ask(accused, now, effects),
            Due::SuspicionEnds(accused) => self.suspicion_ends(accused, now, effects),
            Due::Seeds => {
                self.renew_if_spent(now, effects);
                self.announce(now, effects);
                let alone = self.foca.num_members() == 0;
                self.after(if alone { SEEDS_EVERY_ALONE } else { SEEDS_EVERY }, Due::Seeds, now);
            }
            Due::Steady => self.steady(now, effects),
            Due::Flush => {
                self.own.flush_waits = false;
                self.say(now, effects);
            }
        }
    }

    fn fire(&mut self, timer: Timer<Id>, now: Mono, effects: &mut Vec<Effect>) {
        let mut wants = Wants::default();
        if let Err(error) = self.foca.handle_timer(timer, &mut wants) {
            tracing::debug!(%error, "gossip timer");
        }
        self.settle(wants, now, effects);
    }

    /// The member that is probed has had time for its answer; foca asks others, if it got none.
    fn ask_others(&mut self, serial: u64, now: Mono, effects: &mut Vec<Effect>) {
        let Some(timer) = self.probing.ask(serial) else { return };
        let mut wants = Wants::default();
        if let Err(error) = self.foca.handle_timer(timer, &mut wants) {
            tracing::debug!(%error, "gossip timer");
        }
        let asked: Vec<SocketAddr> = wants.sends.iter().map(|(to, _)| *to).collect();
        self.probing.asked(&asked, now);
        self.settle(wants, now, effects);
    }

    /// The period of a probe is over; one without an answer may have more time.
    fn probe_over(&mut self, serial: u64, now: Mono, effects: &mut Vec<Effect>) {
        match self.probing.over(serial, now) {
            Over::Nothing => {}
            Over::At(at) => self.at(at, Due::ProbeOver(serial)),
            Over::Fire(took, timers) => {
                self.probe_took = took;
                timers.into_iter().for_each(|timer| self.fire(timer, now, effects));
            }
        }
    }

    fn suspect(&self, accused: &Accused) -> Option<&foca::Member<Id>> {
        self.foca.iter_members().find(|member| {
            let id = member.id();
            (id.addr, id.generation) == (accused.addr, accused.generation)
                && member.incarnation() == accused.incarnation
                && member.state() == State::Suspect
        })
    }

    /// Asks a suspect by TCP, and tells it by a datagram that it is suspected: foca's own word of it may long have
    /// been said often enough, and to others. One that lives refutes it at once.
    fn ask(&mut self, accused: Accused, now: Mono, effects: &mut Vec<Effect>) {
        let Some(suspect) = self.suspect(&accused) else { return };
        let (src, dst) = (self.foca.identity().clone(), suspect.id().clone());
        // foca does not tell its own incarnation; the lowest one changes nothing at the receiver.
        let header = Header { src, src_incarnation: 0, dst, message: Message::Gossip };
        let mut payload = Vec::with_capacity(256);
        let mut told = WireCodec.encode_header(&header, &mut payload);
        payload.extend(1_u16.to_be_bytes());
        told = told.and_then(|()| WireCodec.encode_member(suspect, &mut payload));
        if let Some(number) = self.suspicions.ask(&accused) {
            self.counters.confirms += 1;
            effects.push(Effect::Confirm { to: accused.addr, number });
        }
        let sends = if told.is_ok() { vec![(accused.addr, payload)] } else { Vec::new() };
        self.settle(Wants { sends, ..Wants::default() }, now, effects);
    }

    /// Ends a suspicion, or holds it back a little longer.
    ///
    /// foca 2.0.0 sends `TurnUndead` for a suspicion that was refuted in time, which makes the healthy member
    /// rejoin for nothing: such a timer is withheld. INVARIANT: every other timer reaches foca. Held by
    /// `tests::defect`, which fails when foca no longer needs this.
    fn suspicion_ends(&mut self, accused: Accused, now: Mono, effects: &mut Vec<Effect>) {
        if self.suspect(&accused).is_none() {
            self.suspicions.drop(&accused);
            self.counters.refuted += 1;
            return;
        }
        match self.suspicions.end(&accused, self.health.doubts(now)) {
            Ended::InDoubt(wait) => {
                self.counters.held_in_doubt += 1;
                self.ask(accused, now, effects);
                self.after(wait, Due::SuspicionEnds(accused), now);
            }
            Ended::Reached(wait) => {
                self.counters.held_reached += 1;
                self.ask(accused, now, effects);
                self.after(wait, Due::SuspicionEnds(accused), now);
            }
            Ended::Stands { timer, reached } => {
                self.counters.confirmed += u64::from(!reached);
                self.fire(timer, now, effects);
            }
            Ended::Unknown => {}
        }
    }

    /// Queues foca's timers; a suspicion gets its question and its end, a probe its time.
    fn schedule(&mut self, timers: Vec<(Timer<Id>, Duration)>, sends: &[(SocketAddr, Vec<u8>)], now: Mono) {
        let (mut failed, mut ask) = (None, None);
        for (timer, after) in timers {
            let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
            let at = Mono(now.0.saturating_add(nanos));
            match &timer {
                Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                    failed = Some(member_id.addr);
                    let (addr, generation) = (member_id.addr, member_id.generation);
                    let accused = Accused { addr, generation, incarnation: *incarnation };
                    if self.suspicions.raise(accused, timer) {
                        self.counters.suspicions += 1;
                        let ask = at.0.saturating_sub(CONFIRM_WITHIN.0 * 1_000_000);
                        self.at(Mono(ask.max(now.0)), Due::Ask(accused));
                        self.at(at, Due::SuspicionEnds(accused));
                    }
                    continue;
                }
                // A turn with nothing to say does nothing but ask for the next one, ten times a second.
                Timer::PeriodicGossip(_) => {
                    self.quiet = Some((at, timer));
                    continue;
                }
                // A probe begins: the one before has ended, and if it failed its suspicion came just before.
                Timer::SendIndirectProbe { probed_id, .. } => {
                    self.health.probed(failed.take(), self.probe_took, now);
                    let probed = probed_id.clone();
                    ask = Some((timer, probed));
                    continue;
                }
                Timer::ProbeRandomMember(_) => {
                    for void in self.probing.abandon() {
                        self.at(now, Due::Foca(void));
                    }
                    if let Some((ask, probed)) = ask.take() {
                        let begun = self.probing.begin((probed, ask, timer), PROBE_PERIOD, sends, now);
                        self.at(begun.ask, Due::AskOthers(begun.serial));
                        self.at(begun.over, Due::ProbeOver(begun.serial));
                        continue;
                    }
                }
                _ => {}
            }
            self.at(at, Due::Foca(timer));
        }
    }

    /// Lets foca gossip, at the pace it would have kept, once there is something to say.
    fn end_quiet(&mut self, now: Mono) {
        if self.foca.updates_backlog() == 0 {
            return;
        }
        if let Some((at, timer)) = self.quiet.take() {
            let every = u64::try_from(GOSSIP_EVERY.as_nanos()).unwrap_or(u64::MAX);
            let missed = now.0.saturating_sub(at.0).div_ceil(every);
            self.at(Mono(at.0.saturating_add(missed.saturating_mul(every))), Due::Foca(timer));
        }
    }

    /// Seals and sends, schedules, and hands out what foca and the reports came to.
    pub(crate) fn settle(&mut self, wants: Wants, now: Mono, effects: &mut Vec<Effect>) {
        self.schedule(wants.timers, &wants.sends, now);
        self.end_quiet(now);
        let at = self.moment(now);
        self.post.set_own(self.foca.identity());
        for (to, said) in wants.sends {
            let Some(Sealed { bytes, payload }) = self.post.seal(&said, at) else { continue };
            self.counters.sent += 1;
            self.counters.sent_bytes += bytes.len() as u64;
            self.counters.payload_bytes += payload as u64;
            effects.push(Effect::Send { to, bytes });
        }
        for note in wants.notes {
            match note {
                OwnedNotification::MemberUp(id) => {
                    self.arrived(&id, now);
                    effects.extend(Name::new(&id.name).ok().map(|n| Effect::Output(GossipOutput::MemberUp(n))));
                }
                OwnedNotification::MemberDown(id) => {
                    self.counters.downs += 1;
                    self.probing.forget(id.addr);
                    effects.extend(Name::new(&id.name).ok().map(|n| Effect::Output(GossipOutput::MemberDown(n))));
                }
                OwnedNotification::Rejoin(_) => {
                    self.counters.rejoins += 1;
                    // Nobody listened while we were called down.
                    self.own.say_again(1);
                }
                OwnedNotification::Rename(over, id) => {
                    self.post.is_over(&over);
                    self.arrived(&id, now);
                }
                OwnedNotification::Active | OwnedNotification::Idle | OwnedNotification::Defunct => {}
            }
        }
        while let Ok(heard) = self.heard.try_recv() {
            match heard {
                Heard::Report(report) => {
                    self.counters.reports += 1;
                    effects.push(Effect::Output(GossipOutput::Report(report)));
                }
                Heard::Pass(data) => {
                    self.counters.passed += 1;
                    self.pass_on(&data, now, effects);
                }
                Heard::Unresolved => self.counters.digests_unresolved += 1,
                Heard::Unread(Unread::Malformed) => self.counters.reports_malformed += 1,
                Heard::Unread(Unread::OtherFormat) => self.counters.reports_other_format += 1,
            }
        }
    }

    /// A member is there, or is there under a new identity.
    fn arrived(&mut self, id: &Id, now: Mono) {
        self.post.is_up(id, now);
        if id.role == Role::Observer {
            // A server that is new has no full report to which a digest could point.
            self.own.say_again(1);
        }
    }

    fn datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Mono, effects: &mut Vec<Effect>) {
        if !self.flood.may_try(from.ip(), now) {
            return self.counters.drop_one(DropReason::Flood);
        }
        let at = self.moment(now);
        let members = || self.foca.iter_membership_state().map(foca::Member::id);
        let find = |hash| members().find(|id| id.hash() == hash).cloned();
        let Taken { payload, left_out } = match self.post.open(bytes, &find, at) {
            Ok(taken) => taken,
            Err(reason) => {
                if reason.unproven() {
                    self.flood.failed(from.ip(), now);
                }
                return self.counters.drop_one(reason);
            }
        };
        self.flood.opened(from.ip(), now);
        self.counters.received += 1;
        self.counters.updates_unknown += left_out;
        // A probe past its period ends as soon as it is answered.
        if let Some(serial) = self.probing.heard(&payload, now).filter(|_| self.probing.taken(now) > PROBE_PERIOD) {
            self.at(now, Due::ProbeOver(serial));
        }
        let mut wants = Wants::default();
        if let Err(error) = self.foca.handle_data(&payload, &mut wants) {
            tracing::debug!(%error, "gossip datagram");
            self.counters.drop_one(DropReason::Malformed);
        }
        self.settle(wants, now, effects);
    }

    /// Announces to seeds that are no members; while there is no member at all, also to all that were: foca's
    /// own announcements stop when the last member is gone.
    fn announce(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let members: BTreeSet<SocketAddr> = self.foca.iter_members().map(|m| m.id().addr).collect();
        let mut to: BTreeSet<SocketAddr> = self.seeds.iter().copied().filter(|s| !members.contains(s)).collect();
        if members.is_empty() {
            to.extend(self.foca.iter_membership_state().map(|m| m.id().addr).take(SEEDS_MAX));
        }
        to.remove(&self.advertise);
        for seed in to {
            let mut wants = Wants::default();
            if let Err(error) = self.foca.announce(Id::at(seed), &mut wants) {
                tracing::debug!(%error, "announce");
            }
            self.settle(wants, now, effects);
        }
    }

    /// A sender's counter must not come round. After four thousand million datagrams it is somebody else.
    fn renew_if_spent(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        if let Some(renewed) = self.post.spent().then(|| self.foca.identity().renew()).flatten() {
            let mut wants = Wants::default();
            if let Err(error) = self.foca.change_identity(renewed, &mut wants) {
                tracing::debug!(%error, "renewal");
            }
            self.settle(wants, now, effects);
        }
    }

    fn steady(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        self.after(STEADY_EVERY, Due::Steady, now);
        let fresh = self.own.current.is_some() && now.since(self.own.confirmed) < CONFIRMED_WITHIN;
        let said_lately = self.own.said.is_some_and(|said| now.since(said).0 < STEADY_EVERY.0 / 2);
        if fresh && self.own.again > 0 {
            self.own.again -= 1;
            self.own.full_wanted = true;
        }
        if fresh && (self.own.full_wanted || !said_lately) {
            self.say(now, effects);
        }
    }

    /// Puts the own report on its way: in full when it changed, is due again or is asked for, else as a digest.
    fn say(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let Some(report) = &self.own.current else { return };
        let hash = hash_of(report);
        let (vantage, sequence) = (self.name.as_str(), self.own.sequence + 1);
        let changed = self.own.said_own != Some(report.own) || self.own.full.is_none_or(|(_, said, _)| said != hash);
        let base = self.own.full.filter(|(_, said, at)| *said == hash && now.since(*at) < FULL_EVERY);
        let data = match base.filter(|_| !self.own.full_wanted) {
            Some((since, _, _)) => encode_digest(vantage, self.incarnation, sequence, report, since),
            None => {
                let Some(full) = encode_full(vantage, self.incarnation, sequence, report) else { return };
                self.own.full = Some((sequence, hash, now));
                self.own.full_wanted = false;
                full
            }
        };
        self.own.sequence = sequence;
        self.own.said = Some(now);
        self.own.said_own = Some(report.own);
        if changed {
            self.own.again = SAID_AGAIN;
        }
        self.hand_out(&data, now, effects);
    }

    pub(crate) fn foca(&self) -> &Foca<Id, WireCodec, StdRng, ReportSpread> {
        &self.foca
    }
    #[cfg(test)]
    pub(crate) fn post_mut(&mut self) -> &mut Post {
        &mut self.post
    }
    pub(crate) fn rng_mut(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    fn leave(&mut self, now: Mono, effects: &mut Vec<Effect>) {
        let mut wants = Wants::default();
        let left = self.foca.leave_cluster(&mut wants);
        // Thrice three: a lost datagram must not cost the others the whole detection time.
        let again = self.foca.gossip(&mut wants).and_then(|()| self.foca.gossip(&mut wants));
        if let Err(error) = left.and(again) {
            tracing::debug!(%error, "leave");
        }
        self.settle(wants, now, effects);
        self.left = true;
    }

    /// Whether it probes.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }
}

fn hash_of(report: &OwnReport) -> u64 {
    let count = u32::try_from(report.states.len()).unwrap_or(u32::MAX);
    states_hash(report.revision_short, count, &pack_states(&report.states))
}
