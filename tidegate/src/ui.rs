//! Data on stdout, talk on stderr. Colour only on a terminal and never as the only sign; NO_COLOR is obeyed.

use comfy_table::{ContentArrangement, Table, presets};
use std::fmt;
use std::io::{IsTerminal, Write};

/// Prints to stdout as `println!` does, but ends quietly when the reader has gone (`tidegate … | head`).
macro_rules! out {
    ($($words:tt)*) => { $crate::ui::put(format_args!("{}\n", format_args!($($words)*))) };
}
/// The same without an end of line.
macro_rules! out_raw {
    ($($words:tt)*) => { $crate::ui::put(format_args!($($words)*)) };
}
pub(crate) use {out, out_raw};

/// Writes to stdout; a reader that has gone is no failure.
pub(crate) fn put(words: fmt::Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    if stdout.write_fmt(words).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Whether stdout may carry colour.
pub(crate) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// A word of state with its icon; coloured where that is allowed.
pub(crate) fn state(word: &str) -> String {
    let (icon, colour) = match word {
        "ok" | "healthy" | "synced" | "alive" | "on" | "up" | "carries" | "done" => ("+", 32),
        "degraded" | "warning" | "stale" | "suspect" | "unknown" | "slow" | "idle" | "not sent" => ("!", 33),
        "down" | "failed" | "nacked" | "outage" | "alarm" | "off" | "excluded" => ("x", 31),
        _ => ("-", 0),
    };
    if colours() && colour != 0 { format!("\x1b[{colour}m{icon} {word}\x1b[0m") } else { format!("{icon} {word}") }
}

/// A table without frame that fits the terminal.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table
}

/// Basis points as per cent.
pub(crate) fn percent(bps: u16) -> String {
    if bps.is_multiple_of(100) { format!("{} %", bps / 100) } else { format!("{}.{:02} %", bps / 100, bps % 100) }
}

/// Milliseconds, short.
pub(crate) fn age(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// UTC time of day and date of a wall clock in milliseconds (civil-from-days after Howard Hinnant's public algorithm).
pub(crate) fn when(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let s = of_day / 1000;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:03}Z", s / 3600, s / 60 % 60, s % 60, of_day % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(when(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(when(951_782_400_123), "2000-02-29 00:00:00.123Z");
        assert_eq!(when(-1), "1969-12-31 23:59:59.999Z");
    }
    #[test]
    fn shares_and_ages() {
        assert_eq!(percent(3400), "34 %");
        assert_eq!(percent(3333), "33.33 %");
        assert_eq!(age(1500), "1.5 s");
    }
}
