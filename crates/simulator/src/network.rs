//! The network: who reaches whom, how late and how often not.
//!
//! Owns delay, loss (independent, and in bursts), duplicates and the order of arrival. Knows places and processes, not
//! what they say. Refuses to deliver what was sent across a cut.

use crate::scenario::{Bursts, Latency, Network as Spec};
use crate::units::{MILLI, Nanos, SECOND, Share};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;
use tidegate_domain::{Fleet, RegionIx};

/// Linux' first retransmission of a connection attempt, and its least of data (RFC 6298, tcp(7)).
const SYN_AGAIN: Nanos = SECOND;
const DATA_AGAIN: Nanos = 200 * MILLI;
/// An exchange that took so many retransmissions is given up here: every probe's time-out is over by then.
const AGAIN_MAX: u32 = 4;
/// The most by which a reordered datagram falls behind.
const REORDER: Nanos = 50 * MILLI;

/// What hinders one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Hindered {
    pub(crate) mute: bool,
    pub(crate) deaf: bool,
    pub(crate) gossip_cut: bool,
    pub(crate) loss: Share,
}

/// A link in one direction that is good or bad until then.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    bad: bool,
    until: Nanos,
}

#[derive(Debug)]
pub(crate) struct Network {
    spec: Spec,
    /// One way, by place and place.
    delay: Vec<Vec<Nanos>>,
    places: Vec<RegionIx>,
    pub(crate) hindered: Vec<Hindered>,
    /// Places without any way in or out, and pairs of places without a way between them.
    pub(crate) cut: Vec<bool>,
    pub(crate) severed: Vec<(RegionIx, RegionIx)>,
    weather: BTreeMap<(usize, usize), Weather>,
    rng: StdRng,
}

impl Network {
    /// `places` says where each process stands.
    pub(crate) fn new(spec: &Spec, fleet: &Fleet, places: Vec<RegionIx>, folder: &Path, seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let matrix = spec.latency.as_ref().map(|l| read_matrix(l, fleet, folder)).transpose()?;
        let n = fleet.regions.len();
        let mut one_way = |a: usize, b: usize| {
            let drawn = rng.random_range(spec.delay.from..=spec.delay.to);
            let known = matrix.as_ref().and_then(|m| m.get(&(a.min(b), a.max(b))));
            known.copied().unwrap_or(drawn)
        };
        let delay: Vec<Vec<Nanos>> = (0..n).map(|a| (0..n).map(|b| one_way(a, b)).collect()).collect();
        let (hindered, cut) = (vec![Hindered::default(); places.len()], vec![false; n]);
        let (weather, severed) = (BTreeMap::new(), Vec::new());
        Ok(Self { spec: spec.clone(), delay, places, hindered, cut, severed, weather, rng })
    }

    fn way(&self, a: RegionIx, b: RegionIx) -> bool {
        let open = |r: RegionIx| a == b || !self.cut[r.at()];
        open(a) && open(b) && !self.severed.iter().any(|s| *s == (a, b) || *s == (b, a))
    }

    /// When a datagram arrives, after now: not at all, once, or twice.
    pub(crate) fn datagram(&mut self, from: usize, to: usize, now: Nanos) -> Vec<Nanos> {
        let (sender, receiver) = (self.hindered[from], self.hindered[to]);
        let shut = sender.mute || receiver.deaf || sender.gossip_cut || receiver.gossip_cut;
        if shut || !self.way(self.places[from], self.places[to]) {
            return Vec::new();
        }
        let mut arrivals = Vec::new();
        let copies = 1 + usize::from(self.hits(self.spec.duplicates));
        for _ in 0..copies {
            if self.lost(from, to, now) {
                continue;
            }
            let late = if self.hits(self.spec.reorders) { self.rng.random_range(0..=REORDER) } else { 0 };
            arrivals.push(self.one_way(self.places[from], self.places[to]) + late);
        }
        arrivals
    }

    /// How long it takes to open a connection to a place, ask and be answered; none: longer than anybody waits.
    pub(crate) fn exchange(&mut self, from: usize, to: RegionIx, now: Nanos) -> Option<Nanos> {
        if self.hindered[from].mute || self.hindered[from].deaf || !self.way(self.places[from], to) {
            return None;
        }
        let link = (from, self.hindered.len() + to.at());
        let mut took = 0;
        for again in [SYN_AGAIN, SYN_AGAIN, DATA_AGAIN, DATA_AGAIN] {
            let mut tries = 0;
            while self.lost(link.0, link.1, now + took) {
                tries += 1;
                if tries > AGAIN_MAX {
                    return None;
                }
                took += again << (tries - 1);
            }
            took += self.one_way(self.places[from], to);
        }
        Some(took)
    }

    /// How long a connection to another process's machine takes to open; none: it does not.
    pub(crate) fn connect(&mut self, from: usize, to: usize, now: Nanos) -> Option<Nanos> {
        let shut = self.hindered[to].mute || self.hindered[to].deaf;
        if shut { None } else { self.exchange(from, self.places[to], now).map(|t| t / 2) }
    }

    /// The same to a host outside the fleet, as far away as the own place is wide.
    pub(crate) fn outside(&mut self, from: usize, now: Nanos) -> Option<Nanos> {
        let place = self.places[from];
        if self.cut[place.at()] { None } else { self.exchange(from, place, now) }
    }

    fn one_way(&mut self, a: RegionIx, b: RegionIx) -> Nanos {
        self.delay[a.at()][b.at()] + self.rng.random_range(0..=self.spec.jitter.0)
    }

    fn hits(&mut self, share: Share) -> bool {
        share.0 > 0 && self.rng.random_range(0..Share::ALL) < share.0
    }

    fn lost(&mut self, from: usize, to: usize, now: Nanos) -> bool {
        let hindered = |of: usize| self.hindered.get(of).map_or(Share::default(), |h| h.loss);
        let (own, theirs) = (hindered(from), hindered(to));
        let burst = self.spec.bursts.clone().map(|b| if self.bad((from, to), &b, now) { b.loss } else { Share(0) });
        [self.spec.loss, own, theirs].into_iter().chain(burst).any(|share| self.hits(share))
    }

    /// Whether the link is bad now. Mean length of a good time: what makes the mean loss come true.
    fn bad(&mut self, link: (usize, usize), bursts: &Bursts, now: Nanos) -> bool {
        let part = f64::from(bursts.mean.0) / f64::from(bursts.loss.0);
        let (bad, good) = (bursts.lasts.0 as f64, bursts.lasts.0 as f64 * (1.0 - part) / part);
        let mut weather = self.weather.get(&link).copied().unwrap_or_else(|| {
            // Begun long ago: bad with its long-term share.
            let bad_now = self.rng.random_range(0..Share::ALL) < (part * f64::from(Share::ALL)) as u32;
            Weather { bad: !bad_now, until: 0 }
        });
        while weather.until <= now {
            weather.bad = !weather.bad;
            weather.until = weather.until.max(1) + exponential(&mut self.rng, if weather.bad { bad } else { good });
        }
        self.weather.insert(link, weather);
        weather.bad
    }
}

/// Drawn from an exponential distribution of this mean, in nanoseconds; at least 1.
pub(crate) fn exponential(rng: &mut StdRng, mean: f64) -> Nanos {
    let u: f64 = rng.random_range(f64::EPSILON..1.0);
    (-u.ln() * mean).max(1.0) as Nanos
}

/// One way by pair of regions, the smaller index first: half of the round trip that the matrix gives.
fn read_matrix(of: &Latency, fleet: &Fleet, folder: &Path) -> Result<BTreeMap<(usize, usize), Nanos>> {
    let path = folder.join(&of.matrix);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').map(str::trim).collect();
    let mut trips: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (n, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        for (to, cell) in head.iter().zip(&cells).skip(1) {
            let ms: f64 = cell.parse().with_context(|| {
                format!(
                    "{}: row {} (`{}`), column `{to}`: `{cell}` is no number of milliseconds",
                    path.display(),
                    n + 2,
                    cells[0]
                )
            })?;
            // A name that stands twice means its first row and column.
            trips.entry((cells[0], to)).or_insert(ms);
        }
    }
    let place = |r: usize| {
        let region = fleet.regions[r].name.to_string();
        of.places.get(&region).cloned().unwrap_or(region)
    };
    let mut out = BTreeMap::new();
    for a in 0..fleet.regions.len() {
        for b in a..fleet.regions.len() {
            let (from, to) = (place(a), place(b));
            let ms = trips.get(&(from.as_str(), to.as_str())).or_else(|| trips.get(&(to.as_str(), from.as_str())));
            let ms = ms.with_context(|| {
                format!("{}: no round trip from `{from}` to `{to}`; name both under `latency.places`", path.display())
            })?;
            ensure!(ms.is_finite() && *ms >= 0.0, "{}: `{from}` to `{to}` is {ms} ms", path.display());
            out.insert((a, b), (ms / 2.0 * MILLI as f64) as Nanos);
        }
    }
    Ok(out)
}
