//! How often one source may bring datagrams that do not open.
//!
//! Owns a bounded memory of addresses. Refuses to let anybody silence a member by writing the member's address on rubbish:
//! an address from which something has opened lately is always opened again, whatever else comes under its name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use tidegate_domain::{Millis, Mono};

/// Failures that one address may bring at once, and how many more per second. A member whose keyring is wrong sends
/// fewer, and is heard at once when it is mended.
pub(crate) const BURST: u32 = 64;
pub(crate) const PER_SECOND: u32 = 32;
/// Addresses that fail, remembered at once. Beyond them all new ones share one allowance.
pub(crate) const FAILING_MAX: usize = 1024;
/// Addresses from which something opened, remembered at once; the oldest makes room. Only holders of a key get in here.
const TRUSTED_MAX: usize = 4096;
/// So long an address is trusted after something of it opened.
const TRUSTED_FOR: Millis = Millis(60_000);
/// Addresses that have been quiet are forgotten at most this often.
const SWEEP: Millis = Millis(1_000);

/// An allowance that fills up again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In thousandths.
    tokens: u64,
    filled: Mono,
}
impl Bucket {
    const FULL: u64 = BURST as u64 * 1_000;
    fn new(now: Mono) -> Self {
        Self { tokens: Self::FULL, filled: now }
    }
    fn fill(&mut self, now: Mono) {
        // Whole milliseconds: what is less is kept for the next time.
        let passed = now.since(self.filled);
        let more = passed.0.saturating_mul(u64::from(PER_SECOND));
        self.tokens = self.tokens.saturating_add(more).min(Self::FULL);
        self.filled = self.filled + passed;
    }
}

/// The memory.
#[derive(Debug)]
pub(crate) struct Flood {
    failing: BTreeMap<IpAddr, Bucket>,
    trusted: BTreeMap<IpAddr, Mono>,
    /// For all addresses that have no room in `failing`.
    others: Bucket,
    swept: Mono,
}

impl Flood {
    pub(crate) fn new(now: Mono) -> Self {
        Self { failing: BTreeMap::new(), trusted: BTreeMap::new(), others: Bucket::new(now), swept: now }
    }

    /// Whether a datagram of `from` may cost us an attempt to open it.
    pub(crate) fn may_try(&mut self, from: IpAddr, now: Mono) -> bool {
        if self.trusted.get(&from).is_some_and(|opened| now.since(*opened) < TRUSTED_FOR) {
            return true;
        }
        if self.failing.contains_key(&from) || self.failing.len() < FAILING_MAX {
            // One that has never failed has its whole burst.
            return self.failing.get_mut(&from).is_none_or(|bucket| {
                bucket.fill(now);
                bucket.tokens >= 1_000
            });
        }
        self.others.fill(now);
        self.others.tokens >= 1_000
    }

    /// It did not open.
    pub(crate) fn failed(&mut self, from: IpAddr, now: Mono) {
        if self.failing.len() >= FAILING_MAX && now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.failing.retain(|_, bucket| {
                bucket.fill(now);
                bucket.tokens < Bucket::FULL
            });
        }
        let known = self.failing.contains_key(&from) || self.failing.len() < FAILING_MAX;
        let bucket =
            if known { self.failing.entry(from).or_insert_with(|| Bucket::new(now)) } else { &mut self.others };
        bucket.fill(now);
        bucket.tokens = bucket.tokens.saturating_sub(1_000);
    }

    /// It did open: a holder of a key is there.
    pub(crate) fn opened(&mut self, from: IpAddr, now: Mono) {
        if self.trusted.len() >= TRUSTED_MAX && !self.trusted.contains_key(&from) {
            let oldest = self.trusted.iter().min_by_key(|(_, at)| **at).map(|(ip, _)| *ip);
            oldest.and_then(|ip| self.trusted.remove(&ip));
        }
        self.trusted.insert(from, now);
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize) {
        (self.failing.len(), self.trusted.len())
    }
}
