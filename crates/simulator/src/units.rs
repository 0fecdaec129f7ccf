//! Texts of a scenario: lengths of time, spans of them, shares.
//!
//! Owns what a person may write there and the sentence that says how. Refuses numbers without a unit.

use serde::Deserialize;
use serde::de::Error;
use std::fmt;

/// Nanoseconds of virtual time.
pub type Nanos = u64;
/// One second.
pub const SECOND: Nanos = 1_000_000_000;
/// One millisecond.
pub const MILLI: Nanos = 1_000_000;

/// A length of time: `500us`, `200ms`, `3s`, `10min`, `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Length(pub Nanos);

impl Length {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let of: u64 = match unit.trim() {
            "us" => 1_000,
            "ms" => MILLI,
            "s" => SECOND,
            "min" => 60 * SECOND,
            "h" => 3_600 * SECOND,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(of).map(Self)
    }
}
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tidegate_domain::Millis(self.0 / MILLI).fmt(f)
    }
}
impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is no length of time: write 500us, 200ms, 3s, 10min or 2h"))
        })
    }
}

/// A length of time, or a span from which one is drawn: `3s`, `50ms..500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The shortest.
    pub from: Nanos,
    /// The longest.
    pub to: Nanos,
}
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bad = || {
            D::Error::custom(format!("`{text}` is no span of time: write `3s`, or `50ms..500ms`, the shorter first"))
        };
        let (from, to) = text.split_once("..").unwrap_or((&text, &text));
        let (from, to) = (Length::read(from).ok_or_else(bad)?.0, Length::read(to).ok_or_else(bad)?.0);
        if from <= to { Ok(Self { from, to }) } else { Err(bad()) }
    }
}

/// A share in millionths: `5 %`, `0.5 %`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(pub u32);

impl Share {
    /// All of it.
    pub const ALL: u32 = 1_000_000;

    fn read(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%')?.trim();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if part.len() > 4 || whole.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part: u32 = format!("{part:0<4}").parse().ok()?;
        let millionths = whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(part)?;
        (millionths <= Self::ALL).then_some(Self(millionths))
    }
}
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} %", self.0 / 10_000, self.0 % 10_000 / 100)
    }
}
impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is no share: write `5 %` or `0.5 %`, from 0 to 100 with four decimals at most"
            ))
        })
    }
}

/// A count, for fields that may be left out.
///
/// # Errors
/// When the text is no whole number, or too large for the field.
pub(crate) fn whole<'de, D: serde::Deserializer<'de>, T: std::str::FromStr>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    let no_number = || D::Error::custom(format!("`{text}` is no whole number: write one without a unit, as 3"));
    text.trim().parse().map_err(|_| no_number())
}

/// The same where nothing stands for no limit.
///
/// # Errors
/// As [`whole`].
pub(crate) fn some_whole<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    whole(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_shares_need_their_units() {
        for (text, nanos) in [("500us", 500_000), ("200ms", 200 * MILLI), ("3 s", 3 * SECOND), ("10min", 600 * SECOND)]
        {
            assert_eq!(Length::read(text), Some(Length(nanos)), "{text}");
        }
        for bad in ["", "5", "s", "1.5s", "-1s", "99999999999999h"] {
            assert_eq!(Length::read(bad), None, "{bad}");
        }
        for (text, millionths) in [("5 %", 50_000), ("0.5%", 5_000), ("100 %", 1_000_000), ("0.0001 %", 1)] {
            assert_eq!(Share::read(text), Some(Share(millionths)), "{text}");
        }
        for bad in ["", "5", "%", "101 %", "0.00001 %", "-1 %", "1.x %"] {
            assert_eq!(Share::read(bad), None, "{bad}");
        }
    }
}
