//! What happened, as a hash that two runs of one seed share, and on wish as lines for people.
//!
//! Owns the order of what is hashed. Refuses anything that is not of virtual time: no address, no real clock.

use crate::units::{MILLI, Nanos, SECOND};
use ring::digest::{Context, SHA256};

/// Explains the dense lines.
pub const LEGEND: &str = "\
one line a second; t = seconds since the start
probers, in the order of the fleet: o runs, p stands still, x dead, m cut off (mute, deaf or no way out), s sees badly
regions, as the server sees them: . healthy, D down, ~ degraded, ? unknown; with a ! where something is really wrong
gen = committed generation, store = well, away or full; below a line: what happened within that second";

pub(crate) struct Trace {
    hash: Context,
    lines: Option<Vec<String>>,
    pub(crate) events: u64,
}

impl Trace {
    pub(crate) fn new(dense: bool) -> Self {
        Self { hash: Context::new(&SHA256), lines: dense.then(Vec::new), events: 0 }
    }

    /// Takes one event.
    pub(crate) fn event(&mut self, at: Nanos, kind: &str, who: usize, bytes: &[u8]) {
        self.events += 1;
        self.hash.update(&at.to_be_bytes());
        self.hash.update(kind.as_bytes());
        self.hash.update(&(who as u64).to_be_bytes());
        self.hash.update(&(bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    /// A line for people, where they asked for it.
    pub(crate) fn note(&mut self, at: Nanos, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("  {:>4}.{:03} {}", at / SECOND, at % SECOND / MILLI, text()));
        }
    }
    pub(crate) fn line(&mut self, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(text());
        }
    }

    /// The hash of everything so far.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.clone().finish().as_ref());
        hash
    }

    /// The lines, where they were asked for.
    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
