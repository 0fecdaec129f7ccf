//! Data on stdout, talk on stderr. Colour only on a terminal and never as the only sign; NO_COLOR is obeyed.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Prints to stdout as `println!` does, but ends quietly when the reader has gone (`tidegate … | head`).
macro_rules! out {
    ($($words:tt)*) => { $crate::ui::put(format_args!("{}\n", format_args!($($words)*))) };
}
/// The same without an end of line.
macro_rules! out_raw {
    ($($words:tt)*) => { $crate::ui::put(format_args!($($words)*)) };
}
pub(crate) use {out, out_raw};

/// What has become of stdout: 0 it is well, else the exit code that its loss is worth plus one.
static LOST: AtomicU8 = AtomicU8::new(0);
/// Whether the work goes on when stdout is lost.
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// The work matters more than its words from here on: a lost stdout is kept in mind and told by the exit code.
pub(crate) fn go_on_without_stdout() {
    GOES_ON.store(true, Ordering::Relaxed);
}

/// The exit code that what became of stdout asks for.
pub(crate) fn ended() -> u8 {
    LOST.load(Ordering::Relaxed).saturating_sub(1)
}

/// Writes to stdout. A reader that has gone (`tidegate … | head`) is no failure; anything else, a full disk for one,
/// is: whoever reads the file would take a part for the whole.
pub(crate) fn put(words: fmt::Arguments<'_>) {
    if LOST.load(Ordering::Relaxed) != 0 {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    let Err(error) = stdout.write_fmt(words).and_then(|()| stdout.flush()) else { return };
    let code = u8::from(error.kind() != ErrorKind::BrokenPipe);
    if code != 0 {
        eprintln!("tidegate: the answer could not be written: {error}");
    }
    if !GOES_ON.load(Ordering::Relaxed) {
        std::process::exit(i32::from(code));
    }
    LOST.store(code + 1, Ordering::Relaxed);
}

/// Whether a person sees stdout.
pub(crate) fn terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether stdout may carry colour.
fn colours() -> bool {
    terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

const RESET: &str = "\x1b[0m";
const PAINTS: [(&str, Color); 3] =
    [("\x1b[32m", Color::DarkGreen), ("\x1b[33m", Color::DarkYellow), ("\x1b[31m", Color::DarkRed)];

/// A word of state with its icon; coloured where that is allowed.
pub(crate) fn state(word: &str) -> String {
    painted(word, colours())
}

fn painted(word: &str, colours: bool) -> String {
    let (icon, colour) = match word {
        "ok" | "healthy" | "synced" | "alive" | "on" | "up" | "carries" | "done" => ("+", Some(0)),
        "degraded" | "warning" | "stale" | "suspect" | "unknown" | "slow" | "idle" | "not sent" => ("!", Some(1)),
        "down" | "failed" | "nacked" | "outage" | "alarm" | "off" | "excluded" => ("x", Some(2)),
        _ => ("-", None),
    };
    match colour {
        Some(n) if colours => format!("{}{icon} {word}{RESET}", PAINTS[n].0),
        _ => format!("{icon} {word}"),
    }
}

/// A table without frame that fits the terminal.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|text| cell(text)));
    }
    table
}

/// The table counts every character of a text as a column, those of a colour too: the colour goes from the text to the
/// cell.
fn cell(text: &str) -> Cell {
    let Some((mark, colour)) = PAINTS.iter().find(|(mark, _)| text.contains(mark)) else { return Cell::new(text) };
    Cell::new(text.replace(mark, "").replace(RESET, "")).fg(*colour)
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
    fn colour_takes_no_width() {
        let shown = |colours: bool| {
            let row = |name: &str, word: &str| {
                vec![name.to_owned(), format!("{} @7", painted(word, colours)), "x".to_owned()]
            };
            let rows =
                vec![row("edge-de-1", "synced"), row("e", "not sent"), row("edge", "nacked"), row("edges", "else")];
            let mut table = table(&["NODE", "CDS", "LAST"], rows);
            if colours {
                table.enforce_styling();
            }
            table.to_string()
        };
        let coloured = shown(true);
        assert!(
            PAINTS.iter().all(|(mark, _)| !mark.is_empty()) && coloured.contains('\x1b'),
            "no colour: {coloured:?}"
        );
        // Whatever sequence paints a cell, it begins with ESC [ and ends with m.
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some(at) = rest.find("\x1b[") {
            plain.push_str(&rest[..at]);
            rest = &rest[at + rest[at..].find('m').expect("an end") + 1..];
        }
        plain.push_str(rest);
        assert_eq!(plain, shown(false));
        let columns: Vec<_> = plain.lines().map(|l| l.rfind(['L', 'x']).expect("a last column")).collect();
        assert!(columns.windows(2).all(|w| w[0] == w[1]), "{plain}");
    }
    #[test]
    fn shares_and_ages() {
        assert_eq!(percent(3400), "34 %");
        assert_eq!(percent(3333), "33.33 %");
        assert_eq!(age(1500), "1.5 s");
    }
}
