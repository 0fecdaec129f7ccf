//! Which endpoint a try goes to.
//!
//! Owns weights between places, the choice within one, and who is out for a while. Refuses to widen the set: every
//! candidate passed the class's permitted countries when the cluster was built, so no retry, spill or fail-open can
//! reach beyond them.

mod cluster;
mod host;
mod memory;
mod pulse;
mod sequence;

pub(crate) use cluster::{Cluster, NoPick, Runtime, Tried};
pub(crate) use host::{Host, Outcome};
pub(crate) use memory::Memory;
pub(crate) use sequence::Sequence;

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// A number for choices where any will do. Each thread has its own sequence with its own seed.
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()) | 1);
    }
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// Below `bound`, which must not be 0.
pub(crate) fn random_below(bound: u64) -> u64 {
    u64::try_from((u128::from(random()) * u128::from(bound)) >> 64).unwrap_or(0)
}
