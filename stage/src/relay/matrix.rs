//! Round trips between places, from a CSV: the first row and the first column name places, cells are milliseconds.
//!
//! Owns the file's form, which is that of the simulator's scenarios; refuses cells that are no time and places that it
//! does not hold.

use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The longest round trip that is taken: a longer one is a slip of the pen.
const LONGEST_MS: f64 = 10_000.0;

/// Round trips by pair of places.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    /// As errors name it.
    file: String,
    trips: BTreeMap<(String, String), f64>,
}

impl Matrix {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| file.clone())?;
        Self::parse(&file, &text)
    }

    /// `file` is named in errors. Lines that begin with `#` are left out. A name that stands twice means its first
    /// row and column.
    pub(crate) fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
        let (_, head) = lines.next().with_context(|| format!("{file}: no row names the places"))?;
        let head: Vec<&str> = head.split(',').map(str::trim).collect();
        let mut trips = BTreeMap::new();
        for (n, line) in lines {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let (n, from) = (n + 1, cells[0]);
            ensure!(
                cells.len() == head.len(),
                "{file} line {n} (`{from}`): {} cells under {} names: give every place one",
                cells.len(),
                head.len()
            );
            for (to, cell) in head.iter().zip(&cells).skip(1) {
                let ms = cell.parse().ok().filter(|ms: &f64| (0.0..=LONGEST_MS).contains(ms)).with_context(|| {
                    format!("{file} line {n} (`{from}`), column `{to}`: `{cell}` is not 0 to {LONGEST_MS} milliseconds")
                })?;
                trips.entry((from.to_owned(), (*to).to_owned())).or_insert(ms);
            }
        }
        Ok(Self { file: file.to_owned(), trips })
    }

    /// Half of the round trip between two places, whichever way it stands there.
    pub(crate) fn one_way(&self, from: &str, to: &str) -> anyhow::Result<Duration> {
        let trip = |a: &str, b: &str| self.trips.get(&(a.to_owned(), b.to_owned()));
        let ms = trip(from, to).or_else(|| trip(to, from)).with_context(|| {
            format!("{}: no round trip from `{from}` to `{to}`; name a row by `--link-name REGION=ROW`", self.file)
        })?;
        Ok(Duration::from_secs_f64(ms / 2_000.0))
    }
}
