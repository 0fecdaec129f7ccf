//! One prober's loop in virtual time: the shipped schedule, judge and self-check, and what the network makes of each
//! probe.
//!
//! Owns the order in which the loop does things, as the program's own. Refuses to decide what a result means.

use crate::units::{MILLI, Nanos};
use health_prober::judge::{Judge, Outcome, Tuning};
use health_prober::schedule::Schedule;
use health_prober::selfcheck::SelfCheck;
use std::sync::Arc;
use tidegate_domain::{Check, Fleet, Millis, Mono, VantageIx};
use tidegate_gossip::OwnReport;

/// As in the program: how often the loop turns at least, and how its starts are gathered.
const TURN: Millis = Millis(50);
const STEP: Nanos = 4 * MILLI;
const REFERENCES_EVERY: Millis = Millis(1_000);
pub(crate) const REFERENCE_TIMEOUT: Nanos = 800 * MILLI;
const CONFIRM_EVERY: Millis = Millis(250);

/// What the loop wants from the world.
#[derive(Debug)]
pub(crate) enum Want {
    Probe { target: usize, limit: Nanos },
    Reference(usize),
    Report(OwnReport),
}

#[derive(Debug)]
pub(crate) struct Prober {
    fleet: Arc<Fleet>,
    tuning: Tuning,
    schedule: Schedule,
    judges: Vec<Judge>,
    running: Vec<bool>,
    own: SelfCheck,
    round: Millis,
    references_at: Mono,
    confirm_at: Mono,
    changed: bool,
}

impl Prober {
    pub(crate) fn new(fleet: Arc<Fleet>, vantage: VantageIx, now: Mono) -> Self {
        let assigned = |e: &tidegate_domain::Endpoint| {
            let mine = tidegate_kernel::health::assigned(&fleet, e.region).contains(&vantage);
            mine.then(|| fleet.services[e.service.at()].check.interval)
        };
        let intervals: Vec<Option<Millis>> = fleet.endpoints.iter().map(assigned).collect();
        let mut own = SelfCheck::default();
        own.set_references(fleet.references.iter().map(|r| r.network.to_string()).collect());
        Self {
            tuning: Tuning::default(),
            schedule: Schedule::new(&intervals, now),
            judges: vec![Judge::default(); fleet.endpoints.len()],
            running: vec![false; fleet.endpoints.len()],
            own,
            round: intervals.iter().flatten().min().copied().unwrap_or(Millis(1_000)),
            references_at: now,
            confirm_at: now,
            changed: true,
            fleet,
        }
    }

    pub(crate) fn next_deadline(&self, now: Mono) -> Mono {
        let next = self.schedule.next().map_or(now + TURN, |at| at.min(now + TURN));
        Mono((next.0.div_ceil(STEP) * STEP).max(now.0 + 1))
    }

    fn check(&self, target: usize) -> &Check {
        &self.fleet.services[self.fleet.endpoints[target].service.at()].check
    }

    /// The loop turns.
    pub(crate) fn turn(&mut self, now: Mono) -> Vec<Want> {
        self.look(now);
        let mut wants = Vec::new();
        for start in self.schedule.due(now) {
            if std::mem::replace(&mut self.running[start.target], true) {
                continue;
            }
            let limit = self.judges[start.target].timeout(self.check(start.target), &self.tuning);
            wants.push(Want::Probe { target: start.target, limit: limit.0 * MILLI });
        }
        if self.references_at <= now {
            self.references_at = now + REFERENCES_EVERY;
            wants.extend((0..self.fleet.references.len()).map(Want::Reference));
        }
        self.tell(now, &mut wants);
        wants
    }

    fn look(&mut self, now: Mono) {
        let before = self.own.own();
        self.own.turn(now, self.round);
        self.changed |= before != self.own.own();
    }

    pub(crate) fn probed(&mut self, target: usize, started: Mono, took: Option<Nanos>, now: Mono) -> Vec<Want> {
        self.look(now);
        self.running[target] = false;
        if self.own.counts(started) {
            let outcome = took.map_or(Outcome::Failed, |t| Outcome::Answered { rtt_us: t / 1_000 });
            let (tuning, check) = (self.tuning, self.check(target).clone());
            self.changed |= self.judges[target].take(outcome, &check, &tuning);
        }
        let mut wants = Vec::new();
        self.tell(now, &mut wants);
        wants
    }

    pub(crate) fn referenced(&mut self, index: usize, started: Mono, reached: bool, now: Mono) -> Vec<Want> {
        self.look(now);
        if self.own.counts(started) {
            let before = self.own.own();
            self.own.reference(index, reached);
            self.changed |= before != self.own.own();
        }
        let mut wants = Vec::new();
        self.tell(now, &mut wants);
        wants
    }

    fn tell(&mut self, now: Mono, wants: &mut Vec<Want>) {
        if !self.changed && now < self.confirm_at {
            return;
        }
        self.changed = false;
        self.confirm_at = now + CONFIRM_EVERY;
        wants.push(Want::Report(OwnReport {
            revision_short: self.fleet.revision.short(),
            own: self.own.own(),
            states: self.judges.iter().map(Judge::state).collect(),
            rtt: self.judges.iter().map(Judge::rtt_class).collect(),
        }));
    }
}
