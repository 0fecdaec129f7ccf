//! Units: basis points, load, money. Integers only.

use std::fmt;

/// Basis points, 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bps(u16);

/// A share above 10,000 basis points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpsError(pub u64);
impl fmt::Display for BpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} basis points are more than 10000", self.0)
    }
}
impl std::error::Error for BpsError {}

impl Bps {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All: 10,000.
    pub const FULL: Self = Self(10_000);

    /// Takes 0 to 10,000.
    ///
    /// # Errors
    /// When `value` is above 10,000.
    pub fn new(value: u16) -> Result<Self, BpsError> {
        if value <= 10_000 { Ok(Self(value)) } else { Err(BpsError(u64::from(value))) }
    }
    /// Takes `value`, at most 10,000.
    #[must_use]
    pub const fn clamped(value: u64) -> Self {
        if value < 10_000 { Self(value as u16) } else { Self(10_000) }
    }
    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
    /// This share of `whole`, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 10_000).unwrap_or(u64::MAX)
    }
    /// The difference, not below zero.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}
impl fmt::Display for Bps {
    /// As per cent with up to two decimals: `34 %`, `12.5 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole} %"),
            p if p % 10 == 0 => write!(f, "{whole}.{} %", p / 10),
            p => write!(f, "{whole}.{p:02} %"),
        }
    }
}

/// Divides 10,000 basis points in proportion to `amounts`: largest remainder, ties to the lower index.
///
/// Returns one share per amount, summing to exactly 10,000, or all zero where every amount is zero.
#[must_use]
pub fn apportion(amounts: &[u64]) -> Vec<Bps> {
    let total: u128 = amounts.iter().map(|a| u128::from(*a)).sum();
    if total == 0 {
        return vec![Bps::ZERO; amounts.len()];
    }
    let mut shares: Vec<(u16, u128)> = amounts
        .iter()
        .map(|a| {
            let scaled = u128::from(*a) * 10_000;
            (u16::try_from(scaled / total).unwrap_or(10_000), scaled % total)
        })
        .collect();
    let given: u32 = shares.iter().map(|s| u32::from(s.0)).sum();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| shares[*b].1.cmp(&shares[*a].1).then(a.cmp(b)));
    for i in order.into_iter().take((10_000 - given) as usize) {
        shares[i].0 += 1;
    }
    shares.into_iter().map(|s| Bps(s.0)).collect()
}

/// Load in thousandths of a request per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliRps(pub u64);
impl fmt::Display for MilliRps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} req/s", self.0 / 1000, self.0 % 1000)
    }
}

/// Money in pico-dollars (10⁻¹² $).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PicoDollars(pub i128);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_sum_to_ten_thousand(amounts in prop::collection::vec(0_u64..1 << 50, 1..40)) {
            let total: u64 = apportion(&amounts).iter().map(|b| u64::from(b.get())).sum();
            let expected = if amounts.iter().all(|a| *a == 0) { 0 } else { 10_000 };
            prop_assert_eq!(total, expected);
        }
        #[test]
        fn nothing_gets_nothing(amounts in prop::collection::vec(0_u64..100, 1..40)) {
            for (a, s) in amounts.iter().zip(apportion(&amounts)) {
                prop_assert!(*a > 0 || s == Bps::ZERO);
            }
        }
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        let got: Vec<u16> = apportion(&[1, 1, 1]).iter().map(|b| b.get()).collect();
        assert_eq!(got, [3334, 3333, 3333]);
    }
    #[test]
    fn shares_print_as_per_cent() {
        for (bps, text) in [(3400, "34 %"), (1250, "12.5 %"), (1, "0.01 %"), (10_000, "100 %")] {
            assert_eq!(Bps::clamped(bps).to_string(), text);
        }
    }
}
