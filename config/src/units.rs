//! Parsers of the units that people write: `500ms`, `60 %`, `200 rps`, `$0.35`, `2026-12-24T00:00:00Z`. Owns the
//! only way from text to a domain unit; refuses what would have to be rounded.

use tidegate_domain::{Bps, MilliRps, Millis, PicoDollars, Wall};

/// What a correct text looks like; the fault's mend is made of it.
pub(crate) type Expected = &'static str;

pub(crate) const DURATION: Expected = "a time such as `500ms`, `1.5s`, `30min`, `2h` or `7d`";
pub(crate) const SHARE: Expected = "a share from `0 %` to `100 %`, two decimals at most";
pub(crate) const LOAD: Expected = "a load such as `200 rps`, three decimals at most";
pub(crate) const MONEY: Expected = "an amount such as `$0.35`, not negative, twelve decimals at most";
pub(crate) const MOMENT: Expected = "a moment in UTC such as `2026-12-24T00:00:00Z`";

/// Longest time that can be meant.
const DURATION_MAX_MS: u128 = 3660 * 24 * 3_600_000;
/// Largest load that can be meant: 10⁹ requests per second.
const LOAD_MAX_MILLI: u128 = 1_000_000_000_000;
/// Largest amount that can be meant: 10⁹ $.
const MONEY_MAX_PICO: u128 = 1_000_000_000_000_000_000_000;

/// A decimal number as a whole number of 10^-`decimals`; none where it is no number or is finer than that.
fn fixed(text: &str, decimals: u32) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.len() <= 18 && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let part = part.trim_end_matches('0');
    let missing = decimals.checked_sub(u32::try_from(part.len()).ok()?)?;
    let fraction = if part.is_empty() { 0 } else { part.parse::<u128>().ok()? * 10_u128.pow(missing) };
    Some(whole.parse::<u128>().ok()? * 10_u128.pow(decimals) + fraction)
}

/// `500ms`, `1.5s`, `30min`, `2h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Millis, Expected> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(DURATION)?;
    let (number, unit) = (text[..at].trim_end(), &text[at..]);
    let scale: u128 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(DURATION),
    };
    // Nine decimals and then an exact division: `0.5min` is a whole number of milliseconds, `0.0005ms` is not.
    let scaled = fixed(number, 9).ok_or(DURATION)? * scale;
    let ms = scaled / 1_000_000_000;
    if !scaled.is_multiple_of(1_000_000_000) || ms > DURATION_MAX_MS {
        return Err(DURATION);
    }
    u64::try_from(ms).map(Millis).map_err(|_| DURATION)
}

/// As [`duration`], and `none` for no limit, which the domain writes as 0.
pub(crate) fn duration_or_none(text: &str) -> Result<Millis, Expected> {
    if text.trim() == "none" { Ok(Millis(0)) } else { duration(text) }
}

/// `60 %`.
pub(crate) fn share(text: &str) -> Result<Bps, Expected> {
    let number = text.trim().strip_suffix('%').ok_or(SHARE)?.trim_end();
    let value = fixed(number, 2).ok_or(SHARE)?;
    u16::try_from(value).ok().and_then(|v| Bps::new(v).ok()).ok_or(SHARE)
}

/// `200 rps`.
pub(crate) fn load(text: &str) -> Result<MilliRps, Expected> {
    let number = text.trim().strip_suffix("rps").ok_or(LOAD)?.trim_end();
    let value = fixed(number, 3).filter(|v| *v <= LOAD_MAX_MILLI).ok_or(LOAD)?;
    u64::try_from(value).map(MilliRps).map_err(|_| LOAD)
}

/// `$0.35`.
pub(crate) fn money(text: &str) -> Result<PicoDollars, Expected> {
    let number = text.trim().strip_prefix('$').ok_or(MONEY)?.trim_start();
    let value = fixed(number, 12).filter(|v| *v <= MONEY_MAX_PICO).ok_or(MONEY)?;
    i128::try_from(value).map(PicoDollars).map_err(|_| MONEY)
}

/// `2026-12-24T00:00:00Z`; whole seconds, years 1970 to 9999.
pub(crate) fn moment(text: &str) -> Result<Wall, Expected> {
    let b = text.trim().as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = |(c, s): (&u8, &u8)| if *s == b'd' { c.is_ascii_digit() } else { c == s };
    if b.len() != shape.len() || !b.iter().zip(shape).all(fits) {
        return Err(MOMENT);
    }
    let number = |from: usize, len: usize| b[from..from + len].iter().fold(0_i64, |n, d| n * 10 + i64::from(d - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
    let (hour, minute, second) = (number(11, 2), number(14, 2), number(17, 2));
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    let real = year >= 1970 && (1..=12).contains(&month) && (1..=length).contains(&day);
    if !real || hour > 23 || minute > 59 || second > 59 {
        return Err(MOMENT);
    }
    // Days since 1970 by counting leap days, with the year taken to begin in March so that February's end is last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
    Ok(Wall(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_written_is_the_time_read(ms in 0_u64..300_000_000_000) {
            prop_assert_eq!(duration(&format!("{ms}ms")), Ok(Millis(ms)));
            prop_assert_eq!(duration(&format!("{}.{:03} s", ms / 1000, ms % 1000)), Ok(Millis(ms)));
            prop_assert_eq!(duration(&format!("{}h", ms / 3_600_000)), Ok(Millis(ms / 3_600_000 * 3_600_000)));
        }
        #[test]
        fn a_share_written_is_the_share_read(bps in 0_u16..=10_000) {
            let share_of = Bps::clamped(u64::from(bps));
            prop_assert_eq!(share(&share_of.to_string()), Ok(share_of));
            prop_assert_eq!(share(&format!("{}.{:02}%", bps / 100, bps % 100)), Ok(share_of));
        }
        #[test]
        fn a_share_above_all_is_refused(bps in 10_001_u32..2_000_000) {
            prop_assert_eq!(share(&format!("{}.{:02} %", bps / 100, bps % 100)), Err(SHARE));
        }
        #[test]
        fn a_load_written_is_the_load_read(milli in 0_u64..1_000_000_000_000) {
            prop_assert_eq!(load(&format!("{}.{:03} rps", milli / 1000, milli % 1000)), Ok(MilliRps(milli)));
        }
        #[test]
        fn an_amount_written_is_the_amount_read(pico in 0_i128..1_000_000_000_000_000_000) {
            let text = format!("${}.{:012}", pico / 1_000_000_000_000, pico % 1_000_000_000_000);
            prop_assert_eq!(money(&text), Ok(PicoDollars(pico)));
        }
        #[test]
        fn moments_follow_the_calendar(day in 0_i64..2_900_000, second in 0_i64..86_400) {
            // An independent way to the date: walk whole years and months.
            let (mut year, mut left) = (1970_i64, day);
            let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
            while left >= if leap(year) { 366 } else { 365 } {
                left -= if leap(year) { 366 } else { 365 };
                year += 1;
            }
            let mut month = 1;
            for length in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                if left < length { break; }
                left -= length;
                month += 1;
            }
            let text = format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", left + 1, second / 3600,
                second / 60 % 60, second % 60);
            prop_assert_eq!(moment(&text), Ok(Wall((day * 86_400 + second) * 1000)), "{}", text);
        }
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = (duration(&text), share(&text), load(&text), money(&text), moment(&text), duration_or_none(&text));
        }
    }

    #[test]
    fn what_would_be_rounded_is_refused() {
        for text in ["", "5", "ms", "-1s", "1e3s", "0.5ms", "1 fortnight", "1.s", ".5s", "99999999999d", "½s"] {
            assert_eq!(duration(text), Err(DURATION), "{text}");
        }
        for text in ["60", "60.001 %", "100.01 %", "-1 %", "% 60"] {
            assert_eq!(share(text), Err(SHARE), "{text}");
        }
        for text in ["200", "0.0001 rps", "many rps", "9999999999999 rps"] {
            assert_eq!(load(text), Err(LOAD), "{text}");
        }
        for text in ["0.35", "$-1", "$0.0000000000001", "€1"] {
            assert_eq!(money(text), Err(MONEY), "{text}");
        }
        for text in ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-12-24", "2026-12-24T24:00:00Z"] {
            assert_eq!(moment(text), Err(MOMENT), "{text}");
        }
        assert_eq!(duration_or_none("none"), Ok(Millis(0)));
    }
}
