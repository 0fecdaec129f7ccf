//! The two clocks of the program, read here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_controller::Now;
use tidegate_domain::{Mono, Wall};

/// Wall clock.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// `CLOCK_MONOTONIC`: the same for every process of this machine, so that a test can compare them.
pub(crate) fn mono() -> Mono {
    let now =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    let (seconds, nanos) = (u64::try_from(now.tv_sec()).unwrap_or(0), u64::try_from(now.tv_nsec()).unwrap_or(0));
    Mono(seconds * 1_000_000_000 + nanos)
}

/// Both.
pub(crate) fn now() -> Now {
    Now { mono: mono(), wall: wall() }
}
