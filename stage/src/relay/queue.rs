//! The machine: packets in, packets out when their time has come. No device, no clock, no randomness but what it was
//! given.
//!
//! Owns the order (a link never overtakes itself, whatever the jitter), the loss and the bound of the queue; what does
//! not fit is dropped and counted.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Packets that wait at most: two seconds of a network far busier than any stage.
const WAITING_MAX: usize = 65_536;
const UDP: u8 = 17;

/// One way between sites, by their numbers. A pair that is not named is not late.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delays {
    /// From, to → one way.
    pub ways: BTreeMap<(usize, usize), Duration>,
    /// Up to so much more in per cent of the way, drawn for each packet anew.
    pub jitter_per_cent: u32,
}

/// What became of packets; all only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Taken from a site.
    pub taken: u64,
    /// UDP packets among them.
    pub udp: u64,
    /// UDP packets lost on purpose.
    pub lost: u64,
    /// Packets for nobody here, or of no kind that is known.
    pub astray: u64,
    /// Packets that found the queue full.
    pub overflow: u64,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    sites: BTreeMap<Ipv4Addr, usize>,
    delays: Delays,
    /// UDP packets that are lost, of 10,000.
    loss_bps: u32,
    rng: StdRng,
    /// By the time at which they are due, in ns, and the order in which they came.
    waiting: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    /// When the last packet of a link is due.
    last: BTreeMap<(usize, usize), u64>,
    /// What was counted.
    pub counts: Counts,
}

impl Queue {
    pub(crate) fn new(sites: BTreeMap<Ipv4Addr, usize>, delays: Delays, seed: u64) -> Self {
        let (waiting, last, counts) = (BTreeMap::new(), BTreeMap::new(), Counts::default());
        Self { sites, delays, loss_bps: 0, rng: StdRng::seed_from_u64(seed), waiting, last, counts }
    }

    /// From now on so many of 10,000 UDP packets are lost.
    pub(crate) fn set_loss(&mut self, bps: u32) {
        self.loss_bps = bps;
    }

    /// Takes a packet at `now` (ns).
    pub(crate) fn take(&mut self, packet: &[u8], now: u64) {
        self.counts.taken += 1;
        let Some((from, to, udp)) = self.ends(packet) else {
            self.counts.astray += 1;
            return;
        };
        if udp {
            self.counts.udp += 1;
            if self.rng.random_range(0..10_000) < self.loss_bps {
                self.counts.lost += 1;
                return;
            }
        }
        if self.waiting.len() >= WAITING_MAX {
            self.counts.overflow += 1;
            return;
        }
        let way = self.delays.ways.get(&(from, to)).copied().unwrap_or_default();
        let way = u64::try_from(way.as_nanos()).unwrap_or(u64::MAX);
        let most = way / 100 * u64::from(self.delays.jitter_per_cent);
        let late = if most == 0 { 0 } else { self.rng.random_range(0..=most) };
        let last = self.last.entry((from, to)).or_default();
        let due = now.saturating_add(way).saturating_add(late).max(*last);
        *last = due;
        self.waiting.insert((due, self.counts.taken), (to, packet.to_vec()));
    }

    /// Site of the sender, site of the receiver, whether it is UDP.
    fn ends(&self, packet: &[u8]) -> Option<(usize, usize, bool)> {
        // An IPv4 header has 20 bytes at least; nothing else is sent here on purpose.
        let head: &[u8; 20] = packet.first_chunk()?;
        if head[0] >> 4 != 4 {
            return None;
        }
        let at = |i: usize| Ipv4Addr::new(head[i], head[i + 1], head[i + 2], head[i + 3]);
        Some((*self.sites.get(&at(12))?, *self.sites.get(&at(16))?, head[9] == UDP))
    }

    /// The next packet whose time has come: site and bytes.
    pub(crate) fn due(&mut self, now: u64) -> Option<(usize, Vec<u8>)> {
        let first = self.waiting.first_entry().filter(|e| e.key().0 <= now)?;
        Some(first.remove())
    }

    /// When the next one is due, in ns.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }
}
