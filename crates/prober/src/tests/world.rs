//! A prober in virtual time: targets that answer as they are told, and nobody but the test who moves the clock.

use crate::{Effect, Ended, Event, List, Prober, Reference, Target, Tuning};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Check, CheckKind, Millis, Mono, Revision};
use tidegate_gossip::OwnReport;

/// Where the clock starts: no moment of a world is zero.
const START: Mono = Mono(1_000_000_000);

pub(crate) fn target(endpoint: &str, interval: u64) -> Target {
    Target {
        endpoint: endpoint.to_owned(),
        host: "10.0.0.1".to_owned(),
        port: 80,
        check: Check {
            kind: CheckKind::Tcp,
            interval: Millis(interval),
            timeout: Millis(2 * interval),
            unhealthy_after: 2,
            healthy_after: 2,
        },
        assigned: true,
    }
}

pub(crate) fn list(revision: u8, targets: Vec<Target>) -> Arc<List> {
    let reference = |i: u8| Reference { host: format!("192.0.2.{i}"), port: 53, network: format!("n{i}") };
    Arc::new(List {
        revision: Revision([revision; 32]),
        targets,
        references: vec![reference(1), reference(2)],
        peers: vec![],
    })
}

/// How a target answers, by its name; none: it never does.
type Answer = Box<dyn Fn(&str) -> Option<(Ended, u64)>>;
type Opens = Box<dyn Fn(&str) -> Option<u64>>;

pub(crate) struct World {
    pub(crate) prober: Prober,
    now: Mono,
    coming: BTreeMap<(Mono, usize), Event>,
    count: usize,
    pub(crate) answer: Answer,
    /// After how many ms a connection opens, where that is told.
    pub(crate) opens: Opens,
    pub(crate) reached: bool,
    /// What each look-up finds.
    pub(crate) found: Vec<IpAddr>,
    /// Milliseconds since the start, and what was asked for then.
    pub(crate) told: Vec<(u64, Effect)>,
}

impl World {
    /// Everything answers well within a millisecond.
    pub(crate) fn new() -> Self {
        Self {
            prober: Prober::new(Tuning::default()),
            now: START,
            coming: BTreeMap::new(),
            count: 0,
            answer: Box::new(|_| Some((Ended::Ok, 1))),
            opens: Box::new(|_| None),
            reached: true,
            found: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(crate) fn with(list: Arc<List>) -> Self {
        let mut world = Self::new();
        world.feed(Event::List(list));
        world
    }

    pub(crate) fn ms(&self) -> u64 {
        self.now.since(START).0
    }

    pub(crate) fn now(&self) -> Mono {
        self.now
    }

    /// Nobody drives the machine for so long.
    pub(crate) fn freeze(&mut self, ms: u64) {
        self.now = self.now + Millis(ms);
    }

    /// Drives it for so long, by its own deadlines.
    pub(crate) fn run(&mut self, ms: u64) {
        let until = self.now + Millis(ms);
        loop {
            let deadline = self.prober.next_deadline().unwrap_or(self.now);
            let event = self.coming.first_key_value().map(|((at, _), _)| *at);
            let next = event.map_or(deadline, |at| at.min(deadline)).max(self.now);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            while let Some(first) = self.coming.first_entry().filter(|first| first.key().0 <= next) {
                let event = first.remove();
                self.feed(event);
            }
            self.feed(Event::Tick);
        }
    }

    pub(crate) fn feed(&mut self, event: Event) {
        for effect in self.prober.handle(event, self.now) {
            self.told.push((self.ms(), effect.clone()));
            self.obey(effect);
        }
    }

    fn obey(&mut self, effect: Effect) {
        let started = self.now;
        match effect {
            Effect::Probe { list, target, timeout, .. } => {
                let name = &self.prober.list().targets[target].endpoint;
                let Some((ended, ms)) = (self.answer)(name) else { return };
                let (ended, ms) = if ms > timeout.0 { (Ended::Timeout, timeout.0) } else { (ended, ms) };
                let took = Duration::from_millis(ms);
                let opened = (self.opens)(name).map(Duration::from_millis).filter(|opened| *opened <= took);
                self.later(ms, Event::Probed { list, target, started, ended, took, opened });
            }
            Effect::Reference { list, index, timeout, .. } => {
                let (reached, ms) = (self.reached, if self.reached { 1 } else { timeout.0 });
                self.later(ms, Event::Reference { list, index, started, reached });
            }
            Effect::Resolve { host } => self.later(3, Event::Resolved { host, addresses: self.found.clone() }),
            Effect::Report(_) | Effect::Counted { .. } | Effect::Skipped(_) | Effect::Paused => {}
        }
    }

    fn later(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.coming.insert((self.now + Millis(ms), self.count), event);
    }

    /// Takes what was told so far, as far as `pick` wants it.
    pub(crate) fn take<T>(&mut self, pick: impl Fn(Effect) -> Option<T>) -> Vec<(u64, T)> {
        self.told.drain(..).filter_map(|(at, effect)| Some((at, pick(effect)?))).collect()
    }

    pub(crate) fn take_reports(&mut self) -> Vec<(u64, OwnReport)> {
        self.take(|effect| match effect {
            Effect::Report(report) => Some(report),
            _ => None,
        })
    }
}
