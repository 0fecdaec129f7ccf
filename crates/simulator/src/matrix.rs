//! A matrix of round trips from a file: CSV whose first row and first column name places.
//!
//! Owns the file's form and which of its places a region of the fleet stands at. Refuses cells that are no number, rows
//! that are too short and places that it does not have.

use crate::scenario::Latency;
use crate::units::{MILLI, Nanos};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use tidegate_domain::Fleet;

/// Longer than any way on Earth: a cell in microseconds gives itself away.
const MS_MAX: f64 = 10_000.0;

/// One way by pair of regions, the smaller index first: half of the round trip that the matrix gives.
///
/// # Errors
/// With file, row and column of what cannot be read, or the place that is missing.
pub(crate) fn read(of: &Latency, fleet: &Fleet, folder: &Path) -> Result<BTreeMap<(usize, usize), Nanos>> {
    let path = folder.join(&of.matrix);
    let shown = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| shown.to_string())?;
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#'));
    let head: Vec<&str> = lines.next().map(|(_, l)| l.split(',').map(str::trim).collect()).unwrap_or_default();
    ensure!(head.len() > 1, "{shown}: the first row names no places: write `origin,place-1,place-2`");
    let mut trips: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (n, line) in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let row = format!("{shown}: line {} (`{}`)", n + 1, cells[0]);
        ensure!(cells.len() == head.len(), "{row}: {} cells, the first row has {}", cells.len(), head.len());
        for (to, cell) in head.iter().zip(&cells).skip(1) {
            let ms: Option<f64> = cell.parse().ok().filter(|ms| (0.0..=MS_MAX).contains(ms));
            let Some(ms) = ms else {
                bail!("{row}, column `{to}`: `{cell}` is no number of milliseconds from 0 to {MS_MAX}")
            };
            // A name that stands twice means its first row and column.
            trips.entry((cells[0], to)).or_insert(ms);
        }
    }
    let regions = fleet.regions.len();
    let mut names: Vec<&str> = head[1..].to_vec();
    let mut known = std::collections::BTreeSet::new();
    names.retain(|name| known.insert(*name));
    let place = |r: usize| {
        let region = fleet.regions[r].name.to_string();
        let dealt = of.deal.then(|| names[r * names.len() / regions].to_owned());
        dealt.or_else(|| of.places.get(&region).cloned()).unwrap_or(region)
    };
    let mut out = BTreeMap::new();
    for a in 0..regions {
        for b in a..regions {
            let (from, to) = (place(a), place(b));
            let ms = trips.get(&(from.as_str(), to.as_str())).or_else(|| trips.get(&(to.as_str(), from.as_str())));
            let ms = ms.with_context(|| {
                format!(
                    "{shown}: no round trip from `{from}` to `{to}`; name places of the matrix under `latency.places`, \
                     or write `deal: true`"
                )
            })?;
            out.insert((a, b), (ms / 2.0 * MILLI as f64) as Nanos);
        }
    }
    Ok(out)
}
