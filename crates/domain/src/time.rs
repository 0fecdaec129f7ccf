//! Two clocks, never mixed.

use std::fmt;
use std::ops::{Add, Sub};

/// A length of time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms < 1000 => write!(f, "{ms} ms"),
            ms if ms < 120_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms if ms < 7_200_000 => write!(f, "{} min", ms / 60_000),
            ms => write!(f, "{} h", ms / 3_600_000),
        }
    }
}

/// Nanoseconds of a clock that never steps back. For deadlines within one process: never compared between
/// processes; in a record it is only input to a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);
impl Mono {
    /// Time passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0) / 1_000_000)
    }
}
impl Add<Millis> for Mono {
    type Output = Self;
    fn add(self, rhs: Millis) -> Self {
        Self(self.0.saturating_add(rhs.0.saturating_mul(1_000_000)))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z. For windows, expiry and records; no deadline depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(pub i64);
impl Add<Millis> for Wall {
    type Output = Self;
    fn add(self, rhs: Millis) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.0).unwrap_or(i64::MAX)))
    }
}
impl Sub for Wall {
    type Output = Millis;
    /// Zero when `rhs` is later.
    fn sub(self, rhs: Self) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(rhs.0)).unwrap_or(0))
    }
}
