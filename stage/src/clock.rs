//! The one clock of the stage: nanoseconds since boot, so that the raw lines of several processes of one machine
//! compare. Refuses wall time: a step of it would move a fault against its requests.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, sleep included (CLOCK_BOOTTIME).
pub(crate) fn now_ns() -> u64 {
    let Ok(t) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0)
}

/// The same clock without the time that the machine slept: what servers stamp on events (CLOCK_MONOTONIC).
pub(crate) fn monotonic_ns() -> u64 {
    let Ok(t) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0)
}

/// Milliseconds from `from` to `to`, negative where `to` is earlier.
pub(crate) fn ms_between(from: u64, to: u64) -> i64 {
    let (from, to) = (i128::from(from), i128::from(to));
    i64::try_from((to - from) / 1_000_000).unwrap_or(i64::MAX)
}
