//! The network: who reaches whom, how late and how often not.
//!
//! Owns delay, loss (independent, and in bursts), duplicates and the order of arrival. Knows places and processes, not
//! what they say. Refuses to deliver what was sent across a cut.

use crate::matrix;
use crate::scenario::{Bursts, Network as Spec};
use crate::units::{MILLI, Nanos, SECOND, Share};
use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
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
    /// Places without any way in or out.
    pub(crate) cut: Vec<bool>,
    /// Pairs of places without a way between them.
    pub(crate) severed: Vec<(RegionIx, RegionIx)>,
    /// The parts of a split network: places of two parts have no way to each other.
    pub(crate) part: Vec<usize>,
    weather: Vec<Option<Weather>>,
    /// Links from one process to a process or a place.
    ends: usize,
    /// Bad times that began on links in use.
    pub(crate) bad_times: u64,
    rng: StdRng,
}

impl Network {
    /// `places` says where each process stands.
    pub(crate) fn new(spec: &Spec, fleet: &Fleet, places: Vec<RegionIx>, folder: &Path, seed: u64) -> Result<Self> {
        let mut rng = StdRng::seed_from_u64(seed);
        let matrix = spec.latency.as_ref().map(|l| matrix::read(l, fleet, folder)).transpose()?;
        let n = fleet.regions.len();
        let mut one_way = |a: usize, b: usize| {
            let drawn = rng.random_range(spec.delay.from..=spec.delay.to);
            let known = matrix.as_ref().and_then(|m| m.get(&(a.min(b), a.max(b))));
            known.copied().unwrap_or(drawn)
        };
        let delay: Vec<Vec<Nanos>> = (0..n).map(|a| (0..n).map(|b| one_way(a, b)).collect()).collect();
        let (hindered, cut, part) = (vec![Hindered::default(); places.len()], vec![false; n], vec![0; n]);
        let ends = places.len() + n;
        let weather = vec![None; if spec.bursts.is_some() { places.len() * ends } else { 0 }];
        Ok(Self {
            spec: spec.clone(),
            delay,
            places,
            hindered,
            cut,
            part,
            severed: Vec::new(),
            weather,
            ends,
            bad_times: 0,
            rng,
        })
    }

    fn way(&self, a: RegionIx, b: RegionIx) -> bool {
        let open = |r: RegionIx| a == b || !self.cut[r.at()];
        open(a) && open(b) && self.part[a.at()] == self.part[b.at()] && !self.is_severed(a, b)
    }

    fn is_severed(&self, a: RegionIx, b: RegionIx) -> bool {
        a != b && self.severed.iter().any(|s| *s == (a, b) || *s == (b, a))
    }

    /// Whether a process's place is cut off, or on the smaller side of a split.
    pub(crate) fn is_apart(&self, process: usize) -> bool {
        let place = self.places[process].at();
        self.cut[place] || self.part[place] != 0
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
        let burst = self.spec.bursts.map(|b| if self.bad((from, to), &b, now) { b.loss } else { Share(0) });
        [self.spec.loss, own, theirs].into_iter().chain(burst).any(|share| self.hits(share))
    }

    /// Whether the link is bad now. Mean length of a good time: what makes the mean loss come true.
    fn bad(&mut self, link: (usize, usize), bursts: &Bursts, now: Nanos) -> bool {
        let part = f64::from(bursts.mean.0) / f64::from(bursts.loss.0);
        let (bad, good) = (bursts.lasts.0 as f64, bursts.lasts.0 as f64 * (1.0 - part) / part);
        let at = link.0 * self.ends + link.1;
        let mut weather = self.weather[at].unwrap_or_else(|| {
            // Begun long ago: bad with its long-term share.
            let bad_now = self.rng.random_range(0..Share::ALL) < (part * f64::from(Share::ALL)) as u32;
            Weather { bad: !bad_now, until: 0 }
        });
        while weather.until <= now {
            weather.bad = !weather.bad;
            self.bad_times += u64::from(weather.bad);
            weather.until = weather.until.max(1) + exponential(&mut self.rng, if weather.bad { bad } else { good });
        }
        self.weather[at] = Some(weather);
        weather.bad
    }
}

/// Drawn from an exponential distribution of this mean, in nanoseconds; at least 1.
pub(crate) fn exponential(rng: &mut StdRng, mean: f64) -> Nanos {
    let u: f64 = rng.random_range(f64::EPSILON..1.0);
    (-u.ln() * mean).max(1.0) as Nanos
}
