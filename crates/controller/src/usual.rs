//! How long good answers take, against what is usual there: for the kernel, counts and times, not verdicts.
//!
//! Owns the times of the last seconds by edge, and what is usual by client group, service and region, learned slowly.
//! Refuses to learn of a place that is blamed, and to judge before it has learned enough. What is usual is not persisted: a
//! server that begins to decide learns anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidegate_domain::{Fleet, GroupIx, Millis, Mono, RegionIx, ServiceIx, Traffic};

/// Reports of one edge that are kept at the most.
const REPORTS_MAX: usize = 32;
/// Windows that must have been learned before anything is judged.
const LEARNED_MIN: u64 = 6;
/// A window's part of what is usual, at the least: one in so many.
const WEIGHT_MAX: u64 = 64;
/// A window counts as so many times the usual and so much more at the most, in microseconds: what is slow for a moment is not
/// learned at once.
const PULL_TIMES: u64 = 2;
const PULL_FLOOR_US: u64 = 10_000;

/// Service, region: good answers that were timed, and what they took together, in milliseconds.
pub(crate) type Timed = BTreeMap<(ServiceIx, RegionIx), (u64, u64)>;

/// What is usual at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usual {
    us: u64,
    /// Windows that were learned, counted up to the weight.
    windows: u64,
}

impl Usual {
    fn learn(&mut self, mean_us: u64) {
        let pull = self.us.saturating_mul(PULL_TIMES).saturating_add(PULL_FLOOR_US);
        let mean = u128::from(if self.windows < LEARNED_MIN { mean_us } else { mean_us.min(pull) });
        self.windows = (self.windows + 1).min(WEIGHT_MAX);
        let n = u128::from(self.windows);
        self.us = u64::try_from((u128::from(self.us) * (n - 1) + mean) / n).unwrap_or(u64::MAX);
    }
    fn known(self) -> Option<u64> {
        (self.windows >= LEARNED_MIN).then_some(self.us)
    }
}

/// How slow a place is to one edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) requests: u64,
    pub(crate) took: Millis,
    pub(crate) usual: Millis,
}

#[derive(Debug, Clone)]
struct Edge {
    group: GroupIx,
    reports: VecDeque<(Mono, Timed)>,
}

impl Edge {
    fn sums(&self, now: Mono) -> Timed {
        let mut sums = Timed::new();
        for (_, timed) in self.reports.iter().filter(|(at, _)| *at + Traffic::WINDOW >= now) {
            for (place, of) in timed {
                add(sums.entry(*place).or_default(), *of);
            }
        }
        sums
    }
}

fn add(sum: &mut (u64, u64), of: (u64, u64)) {
    *sum = (sum.0.saturating_add(of.0), sum.1.saturating_add(of.1));
}

/// In microseconds; none of too few.
fn mean_us((requests, millis): (u64, u64)) -> Option<u64> {
    let mean = u128::from(millis) * 1_000 / u128::from(requests.max(1));
    (requests >= Traffic::SAMPLES_MIN).then(|| u64::try_from(mean).unwrap_or(u64::MAX))
}

/// By edge, and by place. Indexes are of the fleet that stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    edges: BTreeMap<String, Edge>,
    usual: BTreeMap<(GroupIx, ServiceIx, RegionIx), Usual>,
    learned: Option<Mono>,
}

impl Times {
    /// Takes what an edge's report says.
    pub(crate) fn take(&mut self, edge: &str, group: GroupIx, timed: Timed, now: Mono) {
        let known = self.edges.entry(edge.to_owned()).or_insert_with(|| Edge { group, reports: VecDeque::new() });
        known.group = group;
        known.reports.push_back((now, timed));
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
    }

    /// Once per window: learns from what it holds, but of places that are `blamed`.
    pub(crate) fn learn(&mut self, blamed: &BTreeSet<(ServiceIx, RegionIx)>, now: Mono) {
        if self.learned.is_some_and(|at| now < at + Traffic::WINDOW) {
            return;
        }
        self.learned = Some(now);
        let mut sums: BTreeMap<(GroupIx, ServiceIx, RegionIx), (u64, u64)> = BTreeMap::new();
        for edge in self.edges.values() {
            for ((service, region), of) in edge.sums(now) {
                add(sums.entry((edge.group, service, region)).or_default(), of);
            }
        }
        for ((group, service, region), of) in sums {
            if let (false, Some(mean)) = (blamed.contains(&(service, region)), mean_us(of)) {
                self.usual.entry((group, service, region)).or_default().learn(mean);
            }
        }
    }

    /// How slow a place is to an edge, if it is.
    pub(crate) fn slow(&self, edge: &str, (service, region): (ServiceIx, RegionIx), now: Mono) -> Option<Slow> {
        let edge = self.edges.get(edge)?;
        let usual_us = self.usual.get(&(edge.group, service, region))?.known()?;
        let reports = edge.reports.iter().filter(|(at, _)| *at + Traffic::WINDOW >= now);
        let mut sum = (0, 0);
        reports.filter_map(|(_, timed)| timed.get(&(service, region))).for_each(|of| add(&mut sum, *of));
        let (requests, took) = sum;
        let usual = u128::from(usual_us) * u128::from(requests) / 1_000;
        let usual = Millis(u64::try_from(usual).unwrap_or(u64::MAX));
        Traffic::is_slow(mean_us(sum)?, usual_us).then_some(Slow { requests, took: Millis(took), usual })
    }

    /// Keeps what is usual at the places that a new fleet has too; what was reported under the old one is dropped.
    pub(crate) fn turn(&mut self, old: &Fleet, new: &Fleet) {
        let mut kept = BTreeMap::new();
        for ((group, service, region), usual) in &self.usual {
            let names = (old.groups.get(group.at()), old.services.get(service.at()), old.regions.get(region.at()));
            let (Some(group), Some(service), Some(region)) = names else { continue };
            let group = new.groups.iter().position(|g| g.name == group.name);
            let service = new.services.iter().position(|s| s.name == service.name);
            let region = new.regions.iter().position(|r| r.name == region.name);
            if let (Some(group), Some(service), Some(region)) = (group, service, region) {
                kept.insert((GroupIx::from(group), ServiceIx::from(service), RegionIx::from(region)), *usual);
            }
        }
        *self = Self { usual: kept, ..Self::default() };
    }
}

#[cfg(test)]
#[path = "usual_tests.rs"]
mod tests;
