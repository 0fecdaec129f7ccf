//! When each target is probed next: starts spread evenly over the interval, never in a burst.
//!
//! Owns planned times only; has no clock. After a pause it skips what was missed instead of making up for it.

use std::collections::BTreeSet;
use tidegate_domain::{Millis, Mono};

/// One start that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// Index of the target.
    pub(crate) target: usize,
    /// When it should have started.
    pub(crate) planned: Mono,
}

/// Planned starts of all assigned targets.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    queue: BTreeSet<(Mono, usize)>,
    intervals: Vec<Millis>,
}

impl Schedule {
    /// Plans the first start of every target that has an interval, evenly over that interval from `now` on.
    pub(crate) fn new(intervals: &[Option<Millis>], now: Mono) -> Self {
        let assigned = intervals.iter().filter(|i| i.is_some()).count().max(1) as u64;
        let mut queue = BTreeSet::new();
        let mut rank = 0;
        for (target, interval) in intervals.iter().enumerate() {
            if let Some(interval) = interval {
                let offset = interval.0.saturating_mul(1_000_000) / assigned * rank;
                queue.insert((Mono(now.0 + offset), target));
                rank += 1;
            }
        }
        // An interval of 0 would never let `due` end.
        let at_least = |i: &Option<Millis>| Millis(i.map_or(1, |i| i.0.max(1)));
        Self { queue, intervals: intervals.iter().map(at_least).collect() }
    }

    /// The earliest planned start.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes all starts due at `now` and plans each target's next one, on its own beat and after `now`.
    pub(crate) fn due(&mut self, now: Mono) -> Vec<Start> {
        let mut starts = Vec::new();
        while let Some((planned, target)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.queue.remove(&(planned, target));
            starts.push(Start { target, planned });
            let beat = self.intervals[target].0 * 1_000_000;
            let missed = (now.0 - planned.0) / beat;
            self.queue.insert((Mono(planned.0 + (missed + 1) * beat), target));
        }
        starts
    }
}
