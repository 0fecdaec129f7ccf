//! What a person reads while the demo plays. Owns words, icons and colour; refuses to measure.
//!
//! Text icons always, colour only on a terminal and never with NO_COLOR: colour is never the only signal.

use crate::clock::now_ns;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    /// Something breaks, by the stage's hand.
    Fault,
    /// Tidegate has seen or decided something.
    Seen,
    /// Traffic moves.
    Moved,
    /// A check that held.
    Held,
    /// A check that did not.
    Broken,
    /// The stage does something.
    Act,
    /// Plain words.
    Note,
}

impl Icon {
    fn text(self) -> &'static str {
        match self {
            Self::Fault => "✗",
            Self::Seen => "●",
            Self::Moved => "→",
            Self::Held => "✓",
            Self::Broken => "!",
            Self::Act => "▸",
            Self::Note => "·",
        }
    }
    fn colour(self) -> &'static str {
        match self {
            Self::Fault | Self::Broken => "31",
            Self::Seen => "33",
            Self::Moved => "36",
            Self::Held => "32",
            Self::Act => "35",
            Self::Note => "2",
        }
    }
}

/// Prints lines with the time since the story's zero.
#[derive(Debug)]
pub(crate) struct Timeline {
    zero_ns: AtomicU64,
    colour: bool,
    quiet: bool,
}

impl Timeline {
    /// `quiet`: only titles and what broke.
    pub(crate) fn new(quiet: bool) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal();
        Self { zero_ns: AtomicU64::new(now_ns()), colour, quiet }
    }
    /// Sets the zero: the fault.
    pub(crate) fn zero(&self, at_ns: u64) {
        self.zero_ns.store(at_ns, Ordering::Relaxed);
    }
    pub(crate) fn title(&self, name: &str, headline: &str) {
        self.zero(now_ns());
        self.print(&format!("\n{}  {headline}", self.paint("1", name)));
    }
    pub(crate) fn say(&self, icon: Icon, text: &str) {
        self.say_at(now_ns(), icon, text);
    }
    /// A line about something that happened at `at_ns`.
    pub(crate) fn say_at(&self, at_ns: u64, icon: Icon, text: &str) {
        if self.quiet && icon != Icon::Broken {
            return;
        }
        let ms = crate::clock::ms_between(self.zero_ns.load(Ordering::Relaxed), at_ns);
        self.print(&format!("{}  {} {text}", relative(ms), self.paint(icon.colour(), icon.text())));
    }
    /// Text without a time: tables.
    pub(crate) fn block(&self, text: &str) {
        if self.quiet {
            return;
        }
        let lines: Vec<String> = text.lines().map(|l| format!("             {l}")).collect();
        self.print(&lines.join("\n"));
    }
    /// Printed also when quiet.
    pub(crate) fn always(&self, text: &str) {
        self.print(text);
    }
    pub(crate) fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
    fn print(&self, text: &str) {
        // A reader that went away (a closed pipe) is no reason to stop measuring.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// `  +1.38 s`, right-aligned, so that dots stand under each other.
pub(crate) fn relative(ms: i64) -> String {
    let sign = if ms < 0 { '-' } else { '+' };
    let ms = ms.unsigned_abs();
    format!("{:>10}", format!("{sign}{}.{:02} s", ms / 1000, ms % 1000 / 10))
}

/// Shares before and after, one line per class and group, in per cent per region; what changed is marked.
pub(crate) fn split_table(before: &[crate::server_api::Split], after: &[crate::server_api::Split]) -> String {
    let mut regions: Vec<&str> = Vec::new();
    for split in before.iter().chain(after) {
        for region in split.shares.keys() {
            if !regions.contains(&region.as_str()) {
                regions.push(region);
            }
        }
    }
    regions.sort_unstable();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut head = vec!["class at group".to_owned()];
    head.extend(regions.iter().map(|r| r.replacen('/', "\n", 1)));
    head.push("shed".to_owned());
    table.set_header(head);
    for split in after {
        let old = before.iter().find(|b| b.class == split.class && b.group == split.group);
        let mut row = vec![format!("{} at {}", split.class, split.group)];
        if split.serving != "routed" {
            row.push(match split.serving.as_str() {
                "wrong-jurisdiction" => "451".to_owned(),
                _ => "503".to_owned(),
            });
            table.add_row(row);
            continue;
        }
        for region in &regions {
            let now = split.shares.get(*region).copied().unwrap_or(0);
            let was = old.map_or(now, |o| o.shares.get(*region).copied().unwrap_or(0));
            row.push(cell(was, now));
        }
        let was = old.map_or(split.shed_bps, |o| o.shed_bps);
        row.push(cell(was, split.shed_bps));
        table.add_row(row);
    }
    table.to_string()
}

fn cell(was: u64, now: u64) -> String {
    let per_cent = |bps: u64| match bps {
        0 => "-".to_owned(),
        b if b.is_multiple_of(100) => format!("{}", b / 100),
        b => format!("{}.{}", b / 100, b % 100 / 10),
    };
    if was == now { per_cent(now) } else { format!("{}→{}", per_cent(was), per_cent(now)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_api::Split;
    use std::collections::BTreeMap;

    #[test]
    fn times_stand_under_each_other() {
        for (ms, text) in [(0, "   +0.00 s"), (1_380, "   +1.38 s"), (-250, "   -0.25 s"), (101_239, " +101.23 s")] {
            assert_eq!(relative(ms), text);
        }
    }
    #[test]
    fn a_table_shows_what_changed() {
        let split = |aws: u64, azure: u64| Split {
            class: "payroll/eu".into(),
            group: "de".into(),
            serving: "routed".into(),
            shed_bps: 0,
            shares: BTreeMap::from([("aws/eu-central-1".to_owned(), aws), ("azure/westeurope".to_owned(), azure)]),
        };
        let table = split_table(&[split(6_000, 4_000)], &[split(0, 10_000)]);
        assert!(table.contains("60→-") && table.contains("40→100"), "{table}");
    }
}
