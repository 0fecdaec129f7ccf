//! An even sequence: of any run of requests each share gets its part, give or take a few requests.
//!
//! The fractional parts of n × (the golden ratio) fill the unit interval more evenly than any random numbers do: a share
//! of p gets n × p ± O(log n) of n requests, where drawing lots would be off by about √(n × p). It costs one addition.

use std::sync::atomic::{AtomicU64, Ordering};

/// 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Shared by all threads, so that the evenness is that of the whole process.
#[derive(Debug)]
pub(crate) struct Sequence(AtomicU64);

impl Sequence {
    /// Starts anywhere; edges that start together must not walk in step.
    pub(crate) fn starting_at(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    /// The next position in `0..total`; 0 when `total` is 0.
    pub(crate) fn next_below(&self, total: u64) -> u64 {
        let at = self.0.fetch_add(STEP, Ordering::Relaxed);
        u64::try_from((u128::from(at) * u128::from(total)) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_share_is_kept_within_a_few_requests(
            start in any::<u64>(),
            weights in prop::collection::vec(1_u64..10_000, 1..9),
            n in 1_u64..20_000,
        ) {
            let total: u64 = weights.iter().sum();
            let sequence = Sequence::starting_at(start);
            let mut got = vec![0_u64; weights.len()];
            for _ in 0..n {
                let mut at = sequence.next_below(total);
                let place = weights.iter().position(|w| { let here = at < *w; at = at.saturating_sub(*w); here });
                got[place.expect("within the total")] += 1;
            }
            for (got, weight) in got.iter().zip(&weights) {
                let want = n as f64 * *weight as f64 / total as f64;
                prop_assert!((*got as f64 - want).abs() <= 8.0, "{got} instead of {want} of {n}");
            }
        }
    }

    #[test]
    fn every_fifth_request_is_spread_as_evenly_as_all() {
        let sequence = Sequence::starting_at(7);
        let mut hits = 0;
        for n in 0..50_000 {
            let at = sequence.next_below(10_000);
            hits += u32::from(n % 5 == 0 && at < 6_000);
        }
        assert!((5_950..=6_050).contains(&hits), "{hits} of 10,000 instead of 6,000");
    }
}
