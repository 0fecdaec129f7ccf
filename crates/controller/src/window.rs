//! What each edge measured of each place within the last seconds, for the kernel: counts, not verdicts.
//!
//! Owns the window. Refuses what edges say of places that the fleet does not have; what is old is forgotten.

use crate::input::LoadIn;
use crate::usual::{Timed, Times};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidegate_domain::{Blame, Fleet, GroupIx, Health, Millis, Mono, RegionIx, ServiceIx, Traffic};

/// Reports of one edge that are kept at the most: an edge that reports more often is cut short.
const REPORTS_MAX: usize = 32;
/// Edges that are measured at the most.
const EDGES_MAX: usize = 20_000;

/// Service, region: requests, failures.
type Counts = BTreeMap<(ServiceIx, RegionIx), (u64, u64)>;

#[derive(Debug, Clone)]
struct Edge {
    group: GroupIx,
    reports: VecDeque<(Mono, Counts)>,
}

impl Edge {
    /// Whether it gets answers there now: by its newest report, which is fresh. One that has ejected the place gets none.
    fn is_answered(&self, place: (ServiceIx, RegionIx), now: Mono) -> bool {
        let newest = self.reports.back().filter(|(at, _)| *at + Traffic::FRESH >= now);
        let counts = newest.and_then(|(_, counts)| counts.get(&place));
        counts.is_some_and(|(issued, errors)| *issued > errors.saturating_mul(2))
    }

    /// The newest reports of a place, all of them bad, if they have stood long enough and are enough. An edge that ejects a
    /// place sends little more there: in the whole window what went well before would outweigh what it then found.
    fn run(&self, place: (ServiceIx, RegionIx), now: Mono) -> Option<(u64, u64)> {
        let of = |(at, counts): &(Mono, Counts)| Some((*at, *counts.get(&place)?));
        let with = self.reports.iter().rev().filter_map(of).filter(|(at, c)| *at + Traffic::WINDOW >= now && c.0 > 0);
        let bad = with.take_while(|(_, (issued, errors))| Traffic::rate(*issued, *errors) >= Traffic::RUN_ERRING);
        let (mut since, mut sum) = (now, (0_u64, 0_u64));
        for (at, (issued, errors)) in bad {
            (since, sum) = (at, (sum.0.saturating_add(issued), sum.1.saturating_add(errors)));
        }
        (since + Traffic::RUN <= now && sum.0 >= Traffic::SAMPLES_MIN).then_some(sum)
    }
}

/// By edge. Indexes are of the fleet that stands: a new one begins anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    edges: BTreeMap<String, Edge>,
    times: Times,
}

impl Window {
    /// Takes an edge's report.
    pub(crate) fn take(&mut self, fleet: &Fleet, load: &LoadIn, now: Mono) {
        let LoadIn::Reported { edge, group, classes, .. } = load else { return };
        let Some(group) = fleet.groups.iter().position(|g| g.name.as_str() == group).map(GroupIx::from) else { return };
        if self.edges.len() >= EDGES_MAX && !self.edges.contains_key(edge) {
            return;
        }
        let (mut counts, mut timed) = (Counts::new(), Timed::new());
        for of in classes {
            let service = of.class.split_once('/').map_or("", |(service, _)| service);
            let Some(service) = fleet.services.iter().position(|s| s.name.as_str() == service) else { continue };
            for place in &of.places {
                let Some(region) = fleet.regions.iter().position(|r| is_named(&r.name, &place.region)) else {
                    continue;
                };
                let sum = counts.entry((ServiceIx::from(service), RegionIx::from(region))).or_default();
                // What failed now may have been sent before: no more failures than requests.
                sum.0 = sum.0.saturating_add(place.issued.max(place.errors));
                sum.1 = sum.1.saturating_add(place.errors);
                let times = timed.entry((ServiceIx::from(service), RegionIx::from(region))).or_default();
                *times = (times.0.saturating_add(place.timed), times.1.saturating_add(place.took.0));
            }
        }
        self.times.take(edge, group, timed, now);
        let known = self.edges.entry(edge.clone()).or_insert_with(|| Edge { group, reports: VecDeque::new() });
        known.group = group;
        known.reports.push_back((now, counts));
        if known.reports.len() > REPORTS_MAX {
            known.reports.pop_front();
        }
    }

    /// Drops what has left the window.
    pub(crate) fn forget(&mut self, now: Mono) {
        for edge in self.edges.values_mut() {
            while edge.reports.front().is_some_and(|(at, _)| *at + Traffic::WINDOW < now) {
                edge.reports.pop_front();
            }
        }
        self.edges.retain(|_, e| !e.reports.is_empty());
        self.times.forget(now);
    }

    /// Learns how long good answers take where nobody is blamed.
    pub(crate) fn learn(&mut self, blamed: &[Blame], now: Mono) {
        let stands = |b: &&Blame| matches!(b.health, Health::Degraded | Health::Down);
        let places: BTreeSet<_> = blamed.iter().filter(stands).map(|b| (b.service, b.region)).collect();
        self.times.learn(&places, now);
    }

    /// Begins anew under a new fleet; what is usual is kept.
    pub(crate) fn turn(&mut self, old: &Fleet, new: &Fleet) {
        let mut times = std::mem::take(&mut self.times);
        times.turn(old, new);
        *self = Self { times, ..Self::default() };
    }

    /// What the window holds, summed over the edges of each group.
    pub(crate) fn traffic(&self, now: Mono) -> Vec<Traffic> {
        let mut sums: BTreeMap<(ServiceIx, RegionIx, GroupIx), Traffic> = BTreeMap::new();
        for (name, edge) in &self.edges {
            let mut own = Counts::new();
            for (_, counts) in edge.reports.iter().filter(|(at, _)| *at + Traffic::WINDOW >= now) {
                for (place, (issued, errors)) in counts {
                    let sum = own.entry(*place).or_default();
                    *sum = (sum.0.saturating_add(*issued), sum.1.saturating_add(*errors));
                }
            }
            let group = edge.group;
            for (place, counts) in own {
                let (issued, errors) = edge.run(place, now).unwrap_or(counts);
                if issued < Traffic::SAMPLES_MIN {
                    continue;
                }
                let (service, region) = place;
                let none = nothing(service, region, group);
                let t = sums.entry((service, region, group)).or_insert(none);
                let rate = Traffic::rate(issued, errors);
                t.edges = t.edges.saturating_add(1);
                t.answered = t.answered.saturating_add(u32::from(edge.is_answered(place, now)));
                t.failing = t.failing.saturating_add(u32::from(rate >= Traffic::FAILING));
                t.erring = t.erring.saturating_add(u32::from(rate >= Traffic::ERRING && rate < Traffic::FAILING));
                t.issued = t.issued.saturating_add(issued);
                t.errors = t.errors.saturating_add(errors);
                let slow = self.times.slow(name, (service, region), now).filter(|_| rate < Traffic::ERRING);
                if let Some(slow) = slow {
                    t.slow = t.slow.saturating_add(1);
                    t.slow_requests = t.slow_requests.saturating_add(slow.requests);
                    t.slow_took = Millis(t.slow_took.0.saturating_add(slow.took.0));
                    t.slow_usual = Millis(t.slow_usual.0.saturating_add(slow.usual.0));
                }
            }
        }
        sums.into_values().collect()
    }
}

fn nothing(service: ServiceIx, region: RegionIx, group: GroupIx) -> Traffic {
    Traffic {
        service,
        region,
        group,
        edges: 0,
        erring: 0,
        failing: 0,
        answered: 0,
        issued: 0,
        errors: 0,
        slow: 0,
        slow_requests: 0,
        slow_took: Millis(0),
        slow_usual: Millis(0),
    }
}

fn is_named(name: &tidegate_domain::RegionName, text: &str) -> bool {
    text.split_once('/').is_some_and(|(p, r)| name.provider.as_str() == p && name.region.as_str() == r)
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
