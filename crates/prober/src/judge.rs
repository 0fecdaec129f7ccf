//! From single results to one target's state as this vantage sees it.
//!
//! Owns the streak rule, the target's own round-trip baseline and the time-out that follows from it. Has no
//! clock and makes no verdict: a state is one vantage's view. What is slow and what errs now and then is one state.

use crate::history::History;
use tidegate_domain::{Check, CheckKind, Millis, RttClass, TargetState};

/// What one probe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A good answer after so many microseconds.
    Answered {
        /// From the start of the connection to the status line.
        rtt_us: u64,
    },
    /// Refused, or an error.
    Failed,
    /// No whole answer in time.
    Silent,
}
impl Outcome {
    fn is_good(self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

/// Limits that hold for all targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Added to three baselines to make the time-out: the least a target is given.
    pub margin: Millis,
    /// An answer faster than this is never slow.
    pub slow_floor: Millis,
}
impl Default for Tuning {
    fn default() -> Self {
        Self { margin: Millis(250), slow_floor: Millis(50) }
    }
}

/// Answers needed before the baseline is trusted.
const BASELINE_AFTER: u32 = 8;

/// One target's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Judge {
    state: TargetState,
    failed: u8,
    slow: u8,
    well: u8,
    history: History,
    samples: u32,
    baseline_us: u64,
    smooth_us: u64,
    /// Round trip of the way alone, from the opening of connections; 0 before the first.
    way_us: u64,
}

impl Judge {
    /// The state that stands.
    pub(crate) fn state(&self) -> TargetState {
        self.state
    }

    /// How long the next probe may take: three baselines and the margin, never over the check's own limit. The way
    /// there is not the endpoint's fault: whatever the limit, the trips of a probe and the margin fit in.
    pub(crate) fn timeout(&self, check: &Check, tuning: &Tuning) -> Millis {
        let own = if self.samples < BASELINE_AFTER {
            check.timeout.0
        } else {
            check.timeout.0.min(3 * self.baseline_us / 1000 + tuning.margin.0)
        };
        Millis(own.max(self.way_of(check) + tuning.margin.0.min(check.timeout.0)))
    }

    /// What the round trips of one probe take, in milliseconds.
    fn way_of(&self, check: &Check) -> u64 {
        let trips = match &check.kind {
            CheckKind::Tcp => 1,
            CheckKind::Http { tls, .. } | CheckKind::Grpc { tls, .. } => 2 + u64::from(*tls),
        };
        trips * self.way_us / 1000
    }

    /// Learns how far the target is; `opened_us` is how long a connection took to open. True where a probe that had
    /// only as long as one had until now was too short for so long a way, and so says nothing of the target.
    pub(crate) fn reached(&mut self, opened_us: u64, check: &Check, tuning: &Tuning) -> bool {
        let (had, first) = (self.timeout(check, tuning), self.way_us == 0);
        self.way_us = if first { opened_us.max(1) } else { towards(self.way_us, opened_us, 4, 32) };
        first && self.timeout(check, tuning) > had
    }

    /// The smoothed round-trip time as a class; 15 before the first answer.
    pub(crate) fn rtt_class(&self) -> RttClass {
        if self.samples == 0 {
            return RttClass(15);
        }
        let bits = u64::BITS - (self.smooth_us / 1000).leading_zeros();
        RttClass(u8::try_from(bits).unwrap_or(14).min(14))
    }

    /// Takes a result; true when the state changed. One answer makes a target that was not seen yet Ok; that it fails takes
    /// the whole streak as ever: at a start, too, one lost probe accuses nobody. Where it has erred before, a streak that its
    /// errors explain accuses it of nothing else, and after a short one the first answer shows that it is not dead (decision 0069).
    pub(crate) fn take(&mut self, outcome: Outcome, check: &Check, tuning: &Tuning) -> bool {
        let slow = match outcome {
            Outcome::Answered { rtt_us } => self.measure(rtt_us, tuning),
            Outcome::Failed | Outcome::Silent => false,
        };
        let one = |streak: u8, holds: bool| if holds { streak.saturating_add(1) } else { 0 };
        self.failed = one(self.failed, !outcome.is_good());
        self.slow = one(self.slow, slow);
        self.well = one(self.well, outcome.is_good() && !slow);
        self.history.take(!outcome.is_good(), outcome == Outcome::Failed);
        let before = self.state;
        let first = before == TargetState::Unseen;
        let (bad_after, well_after) = (check.unhealthy_after.max(1), check.healthy_after.max(1));
        let errs = match before {
            TargetState::Failing => outcome.is_good() && self.well < well_after && self.history.answers_mostly(),
            _ => self.history.is_erring(),
        };
        if u32::from(self.failed) >= self.history.needed(bad_after) {
            self.state = TargetState::Failing;
            self.history.called_failing();
        } else if self.slow >= bad_after || errs {
            self.state = TargetState::Slow;
        } else if self.well >= well_after || (first && self.well > 0) {
            self.state = TargetState::Ok;
        }
        before != self.state
    }

    /// What was found against the target is forgotten, how far it is and what it usually takes is not; true where that changed
    /// its state. It is judged anew as one that was not seen yet.
    pub(crate) fn forget(&mut self) -> bool {
        (self.failed, self.slow, self.well) = (0, 0, 0);
        self.history = History::default();
        let accused = matches!(self.state, TargetState::Failing | TargetState::Slow);
        if accused {
            self.state = TargetState::Unseen;
        }
        accused
    }

    /// Learns from an answer; true when it was slow. The baseline falls quickly and rises slowly, so that it
    /// stays near the fast answers, and hardly follows slow ones, so that trouble does not become the norm.
    fn measure(&mut self, rtt_us: u64, tuning: &Tuning) -> bool {
        let trusted = self.samples >= BASELINE_AFTER;
        let slow = trusted && rtt_us > 3 * self.baseline_us && rtt_us > tuning.slow_floor.0 * 1000;
        if self.samples == 0 {
            self.baseline_us = rtt_us;
            self.smooth_us = rtt_us;
        }
        self.samples = self.samples.saturating_add(1);
        self.smooth_us = towards(self.smooth_us, rtt_us, 8, 8);
        self.baseline_us = towards(self.baseline_us, rtt_us, 4, if slow { 2_048 } else { 32 });
        slow
    }
}

/// One `down`th of the way down, or one `up`th of the way up.
fn towards(from: u64, to: u64, down: u64, up: u64) -> u64 {
    if to < from { from - (from - to).div_ceil(down) } else { from + (to - from) / up }
}
