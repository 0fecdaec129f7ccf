//! Demand as the edges measure it: the rate of each class at each client group, from their load reports.
//!
//! Owns the window and the levels that the planner is told. Refuses to follow every ripple: a level stands above what was
//! declared by a margin or not at all, rises at once, falls late, and moves in steps. Numbers and why: decision 0030.

use crate::input::ClassLoad;
use std::collections::BTreeMap;
use tidegate_domain::{ClassIx, Fleet, GroupIx, MilliRps, Millis, Mono};

/// Counts are gathered by this much time.
const BUCKET_MS: u64 = 1_000;
/// Buckets of the window over which a rate is taken.
const WINDOW: u64 = 10;
/// The newest buckets are not full yet: edges report each second, of the second before.
const LATE: u64 = 2;
/// A level falls when nothing in this time would have asked for it.
const HELD: Millis = Millis(10_000);
/// Pairs of class and group that are measured at most.
const PAIRS_MAX: usize = 20_000;
/// Less than this above the declaration is no news, in thousandths of a request per second.
const FLOOR: u64 = 1_000;

/// Counts of one pair, by bucket.
#[derive(Debug, Clone, Default)]
struct Pair {
    buckets: BTreeMap<u64, u64>,
    /// What the planner is told; none while the declaration stands.
    level: Option<u64>,
    /// The largest rate since the level was last justified, and since when it is not.
    lower: Option<(Mono, u64)>,
}

/// By class and group, by name: a new fleet may have other indexes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demand {
    pairs: BTreeMap<(String, String), Pair>,
}

impl Demand {
    /// Counts one edge's report. What it issued and saw fail was not served, or was tried again: it is left out, or an
    /// outage would look like more demand. What was shed is demand.
    pub(crate) fn take(&mut self, fleet: &Fleet, group: &str, classes: &[ClassLoad], now: Mono) {
        if !fleet.groups.iter().any(|g| g.name.as_str() == group) {
            return;
        }
        for of in classes {
            let sum = |f: fn(&crate::input::PlaceLoad) -> u64| of.places.iter().map(f).fold(0, u64::saturating_add);
            let count = sum(|p| p.issued).saturating_sub(sum(|p| p.errors)).saturating_add(of.dropped);
            let key = (of.class.clone(), group.to_owned());
            let known = self.pairs.len() < PAIRS_MAX || self.pairs.contains_key(&key);
            if count > 0 && known && class(fleet, &of.class).is_some() {
                self.pairs.entry(key).or_default().count(count, of.interval, now);
            }
        }
    }

    /// Takes the rates of this moment.
    pub(crate) fn settle(&mut self, fleet: &Fleet, now: Mono) {
        for ((class, group), pair) in &mut self.pairs {
            pair.settle(declared(fleet, class, group), now);
        }
        self.pairs.retain(|_, p| p.level.is_some() || !p.buckets.is_empty());
    }

    /// A new fleet: where it declares something else, measuring starts anew.
    pub(crate) fn turn(&mut self, old: &Fleet, new: &Fleet) {
        self.pairs.retain(|(class, group), _| {
            let now = declared(new, class, group);
            now.is_some() && now == declared(old, class, group)
        });
    }

    /// What the planner is told, in the fleet's order.
    pub(crate) fn measured(&self, fleet: &Fleet) -> Vec<(ClassIx, GroupIx, MilliRps)> {
        let level = |((name, group), pair): (&(String, String), &Pair)| {
            let group = fleet.groups.iter().position(|g| g.name.as_str() == group)?;
            Some((class(fleet, name)?, GroupIx::from(group), MilliRps(pair.level?)))
        };
        let mut all: Vec<_> = self.pairs.iter().filter_map(level).collect();
        all.sort_unstable();
        all
    }
}

/// `payroll/eu`, found in the fleet.
fn class(fleet: &Fleet, name: &str) -> Option<ClassIx> {
    let (service, class) = name.split_once('/')?;
    let of = fleet.services.iter().find(|s| s.name.as_str() == service)?;
    of.classes.iter().copied().find(|c| fleet.classes[c.at()].name.as_str() == class)
}

/// None for a pair that the fleet does not have.
fn declared(fleet: &Fleet, name: &str, group: &str) -> Option<u64> {
    let group = fleet.groups.iter().position(|g| g.name.as_str() == group)?;
    Some(fleet.demand(class(fleet, name)?, GroupIx::from(group)).0)
}

impl Pair {
    /// Spreads a count over the time that it covers.
    fn count(&mut self, count: u64, interval: Millis, now: Mono) {
        let end = now.0 / 1_000_000;
        let longest = (WINDOW + LATE) * BUCKET_MS;
        let length = interval.0.clamp(1, end.max(1));
        let begin = end - length;
        let from = begin.max(end.saturating_sub(longest));
        for bucket in from / BUCKET_MS..=end / BUCKET_MS {
            let (a, b) = (begin.max(bucket * BUCKET_MS), end.min((bucket + 1) * BUCKET_MS));
            // Parts of thousandths, so that nothing is lost by rounding.
            let part = u128::from(count) * 1_000 * u128::from(b.saturating_sub(a)) / u128::from(length);
            let sum = self.buckets.entry(bucket).or_default();
            *sum = sum.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
        }
    }

    /// Requests per second in thousandths, over the full buckets of the window.
    fn rate(&mut self, now: Mono) -> u64 {
        let end = (now.0 / 1_000_000 / BUCKET_MS).saturating_sub(LATE);
        let from = end.saturating_sub(WINDOW);
        self.buckets = self.buckets.split_off(&from);
        self.buckets.range(from..end).map(|(_, count)| *count).fold(0, u64::saturating_add) / WINDOW
    }

    fn settle(&mut self, declared: Option<u64>, now: Mono) {
        let rate = self.rate(now);
        let floor = declared.map_or(u64::MAX, |d| d.saturating_add((d / 8).max(FLOOR)));
        let wanted = (rate > floor).then(|| step_up(rate));
        let Some(level) = self.level else {
            (self.level, self.lower) = (wanted, None);
            return;
        };
        if rate > level.saturating_add(level / 32) {
            (self.level, self.lower) = (wanted, None);
        } else if step_up(rate).saturating_add(level / 16) >= level && wanted.is_some() {
            self.lower = None;
        } else {
            let (since, most) = self.lower.unwrap_or((now, 0));
            let most = most.max(rate);
            if now.since(since) >= HELD {
                (self.level, self.lower) = ((most > floor).then(|| step_up(most)), None);
            } else {
                self.lower = Some((since, most));
            }
        }
    }
}

/// The next of sixteen steps to an octave.
fn step_up(rate: u64) -> u64 {
    let unit = 1_u64 << rate.max(1).ilog2().saturating_sub(4);
    rate.checked_next_multiple_of(unit).unwrap_or(rate)
}

#[cfg(test)]
#[path = "demand_tests.rs"]
mod tests;
