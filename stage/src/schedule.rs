//! When requests are due and what they are: fixed arrival times, fixed shares, nothing drawn.
//!
//! Owns the order of classes and kinds; refuses a clock: it answers "what is the n-th request, and how long after the
//! start is it due".

use serde::{Deserialize, Serialize};

/// A class and its part of the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Value of the class header.
    pub class: String,
    /// Part, in any unit.
    pub part: u64,
    /// Answered 451 where this proxy stands: asked all the same, and counted apart.
    pub refused: bool,
}

/// What the n-th request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// Number.
    pub number: u64,
    /// Nanoseconds after the start of this pace.
    pub after_ns: u64,
    /// Index of the class.
    pub class: usize,
    /// POST rather than GET.
    pub post: bool,
    /// The slow answer.
    pub slow: bool,
}

/// The requests of one proxy, one after the other. Smooth weighted order: each class as evenly as its part allows.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    parts: Vec<Part>,
    credit: Vec<i64>,
    seen: Vec<u64>,
    number: u64,
    since: u64,
    rate: u64,
}

impl Schedule {
    /// `rate` in requests per second, at least 1.
    pub(crate) fn new(parts: Vec<Part>, rate: u64) -> Self {
        let n = parts.len();
        Self { parts, credit: vec![0; n], seen: vec![0; n], number: 0, since: 0, rate: rate.max(1) }
    }
    /// Another pace from the next request on, counted from a new start.
    pub(crate) fn pace(&mut self, rate: u64) {
        self.rate = rate.max(1);
        self.since = 0;
    }
    pub(crate) fn class(&self, due: &Due) -> &Part {
        &self.parts[due.class]
    }
    /// When the next request is due, in nanoseconds after the start of this pace.
    pub(crate) fn next_after_ns(&self) -> u64 {
        self.since * 1_000_000_000 / self.rate
    }
    /// Leaves out all requests due before `after_ns`; answers how many.
    pub(crate) fn skip_to(&mut self, after_ns: u64) -> u64 {
        let due = after_ns * self.rate / 1_000_000_000;
        let left_out = due.saturating_sub(self.since);
        self.since = self.since.max(due);
        left_out
    }
    /// The next request.
    pub(crate) fn take(&mut self) -> Due {
        let total: i64 = self.parts.iter().map(|p| i64::try_from(p.part).unwrap_or(0)).sum();
        let mut best = 0;
        for (i, part) in self.parts.iter().enumerate() {
            self.credit[i] += i64::try_from(part.part).unwrap_or(0);
            if self.credit[i] > self.credit[best] {
                best = i;
            }
        }
        self.credit[best] -= total;
        // Kinds are counted per class, so that no class has only POSTs by a common rhythm.
        let k = self.seen[best];
        self.seen[best] += 1;
        let due = Due {
            number: self.number,
            after_ns: self.next_after_ns(),
            class: best,
            post: k % 5 == 3,
            slow: k % 20 == 7,
        };
        self.number += 1;
        self.since += 1;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        let part = |class: &str, part| Part { class: class.into(), part, refused: false };
        vec![part("eu", 45), part("us", 20), part("apac", 15), part("open", 20)]
    }

    #[test]
    fn arrivals_are_fixed_and_shares_exact() {
        let mut s = Schedule::new(parts(), 200);
        let all: Vec<Due> = (0..2000).map(|_| s.take()).collect();
        for (n, due) in all.iter().enumerate() {
            assert_eq!(due.after_ns, n as u64 * 5_000_000, "request {n}");
        }
        for (class, expected) in [900, 400, 300, 400].into_iter().enumerate() {
            assert_eq!(all.iter().filter(|d| d.class == class).count(), expected);
            let posts = all.iter().filter(|d| d.class == class && d.post).count();
            assert_eq!(posts, expected / 5);
            let slow = all.iter().filter(|d| d.class == class && d.slow).count();
            assert_eq!(slow, expected / 20);
        }
        assert!(all.iter().all(|d| !(d.post && d.slow)), "a slow answer is a GET");
    }
    #[test]
    fn a_stall_leaves_out_what_was_due_and_goes_on_in_rhythm() {
        let mut s = Schedule::new(parts(), 200);
        for _ in 0..10 {
            s.take();
        }
        assert_eq!(s.skip_to(2_050_000_000), 400);
        assert_eq!(s.take().after_ns, 2_050_000_000);
        assert_eq!(s.skip_to(1_000), 0, "never back");
    }
    #[test]
    fn a_new_pace_starts_at_zero() {
        let mut s = Schedule::new(parts(), 200);
        s.take();
        s.pace(400);
        assert_eq!((s.take().after_ns, s.take().after_ns), (0, 2_500_000));
    }
}
