//! Sealed datagrams: what the wire carries, which keys open it, and what is refused as a replay.
//!
//! Owns the outer form (version 1: version byte, key id, nonce, ChaCha20-Poly1305 over sender, incarnation,
//! counter, wall time and payload) and the replay guard. Refuses everything that it cannot prove
//! to come, once, from a holder of a key; every refusal has a [`DropReason`] and is counted by the caller.

use crate::keyring::Keyring;
use rand::RngExt;
use rand::rngs::StdRng;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;

/// The largest datagram sent or taken, in bytes: fits one Ethernet frame with room for tunnels.
pub const MAX_DATAGRAM: usize = 1400;

const VERSION: u8 = 1;
const OUTER: usize = 1 + 4 + NONCE_LEN;
const INNER: usize = 8 * 4;
const TAG: usize = 16;
/// What sealing adds to a payload, in bytes.
pub(crate) const OVERHEAD: usize = OUTER + INNER + TAG;

/// How far back a datagram's counter may lie behind the sender's newest.
const WINDOW: u64 = 1024;
/// Senders remembered at once; the one heard least recently makes room.
const SENDERS_MAX: usize = 4096;
/// How far the wall clock of a sender's first datagram may differ from ours. Later ones are judged by the
/// counter alone, so that a stepping clock cannot cut off a member that is known.
const SKEW_MAX_MS: u64 = 15 * 60_000;

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Longer than [`MAX_DATAGRAM`].
    Oversized,
    /// Too short to hold a seal.
    Truncated,
    /// Another version of the format.
    Version,
    /// Sealed by a key that the keyring does not hold.
    UnknownKey,
    /// Does not open: changed, cut or forged on the way.
    Forged,
    /// Its (incarnation, counter) was seen before, or lies too far back.
    Replayed,
    /// The first datagram of a sender whose clock is over 15 minutes away.
    Clock,
    /// Opened, but its content is no message; or it is our own.
    Malformed,
    /// Not even tried: too many of this source's datagrams did not open.
    Flood,
    /// The operating system's socket buffer was full: an own datagram was not sent.
    NotSent,
}
impl DropReason {
    /// Whether the datagram did not come from a holder of a key, or was not shown to.
    pub(crate) fn unproven(self) -> bool {
        match self {
            Self::Oversized | Self::Truncated | Self::Version | Self::UnknownKey | Self::Forged => true,
            // A recording opens too, whoever sends it again.
            Self::Replayed | Self::Clock => true,
            Self::Malformed | Self::Flood | Self::NotSent => false,
        }
    }
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::Oversized,
        Self::Truncated,
        Self::Version,
        Self::UnknownKey,
        Self::Forged,
        Self::Replayed,
        Self::Clock,
        Self::Malformed,
        Self::Flood,
        Self::NotSent,
    ];
    /// The word for it in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Clock => "clock",
            Self::Malformed => "malformed",
            Self::Flood => "flood",
            Self::NotSent => "not_sent",
        }
    }
}

/// What a seal says of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    sender: u64,
    incarnation: u64,
    counter: u64,
    wall_ms: u64,
}

/// One sender's newest incarnation, its highest counter and which of the 1,024 before it were seen.
#[derive(Debug, Clone)]
struct Seen {
    incarnation: u64,
    highest: u64,
    bits: [u64; (WINDOW / 64) as usize],
    heard: u64,
}

/// Lets every (sender, incarnation, counter) through at most once.
#[derive(Debug, Default)]
struct ReplayGuard {
    senders: BTreeMap<u64, Seen>,
    heard: u64,
}

impl ReplayGuard {
    fn admit(&mut self, stamp: Stamp, wall_ms: u64) -> Result<(), DropReason> {
        self.heard += 1;
        let heard = self.heard;
        let known = self.senders.get_mut(&stamp.sender);
        if let Some(seen) = known.filter(|s| s.incarnation >= stamp.incarnation) {
            if seen.incarnation > stamp.incarnation || !seen.mark(stamp.counter) {
                return Err(DropReason::Replayed);
            }
            seen.heard = heard;
            return Ok(());
        }
        if stamp.wall_ms.abs_diff(wall_ms) > SKEW_MAX_MS {
            return Err(DropReason::Clock);
        }
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&stamp.sender) {
            let oldest = self.senders.iter().min_by_key(|(_, s)| s.heard).map(|(id, _)| *id);
            oldest.and_then(|id| self.senders.remove(&id));
        }
        let mut seen = Seen { incarnation: stamp.incarnation, highest: 0, bits: [0; 16], heard };
        seen.mark(stamp.counter);
        self.senders.insert(stamp.sender, seen);
        Ok(())
    }
}

impl Seen {
    /// Marks `counter`; false when it was marked before or lies outside the window.
    fn mark(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let clear_from = self.highest + 1;
            if counter - self.highest >= WINDOW {
                self.bits = [0; 16];
            } else {
                (clear_from..counter).for_each(|c| self.bits[slot(c).0] &= !slot(c).1);
            }
            self.highest = counter;
            self.bits[slot(counter).0] |= slot(counter).1;
            return true;
        }
        if self.highest - counter >= WINDOW {
            return false;
        }
        let (word, bit) = slot(counter);
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        fresh
    }
}

fn slot(counter: u64) -> (usize, u64) {
    let at = counter % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

/// Seals what we send, opens what we get.
#[derive(Debug)]
pub(crate) struct Sealer {
    keyring: Keyring,
    sender: u64,
    incarnation: u64,
    counter: u64,
    guard: ReplayGuard,
}

impl Sealer {
    /// `who` names this sender among all (name and address); `incarnation` rises with every start.
    pub(crate) fn new(keyring: Keyring, who: &str, incarnation: u64) -> Self {
        let sender = first_eight(digest(&SHA256, who.as_bytes()).as_ref());
        Self { keyring, sender, incarnation, counter: 0, guard: ReplayGuard::default() }
    }

    /// Seals and opens with these keys from now on. Counters and what was seen stay: they belong to the sender, not
    /// to the key.
    pub(crate) fn set_keyring(&mut self, keyring: Keyring) {
        self.keyring = keyring;
    }

    /// Seals `payload`, which must fit [`MAX_DATAGRAM`] less [`OVERHEAD`]; none if it does not.
    pub(crate) fn seal(&mut self, payload: &[u8], wall_ms: u64, rng: &mut StdRng) -> Option<Vec<u8>> {
        self.seal_with(payload, wall_ms, rng.random())
    }

    /// As [`Sealer::seal`], with this nonce. It must never come twice under one key.
    pub(crate) fn seal_with(&mut self, payload: &[u8], wall_ms: u64, nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        if payload.len() + OVERHEAD > MAX_DATAGRAM {
            return None;
        }
        let (id, key) = self.keyring.sealing()?;
        self.counter += 1;
        let mut out = Vec::with_capacity(payload.len() + OVERHEAD);
        out.push(VERSION);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&nonce);
        for word in [self.sender, self.incarnation, self.counter, wall_ms] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(payload);
        let (head, body) = out.split_at_mut(OUTER);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&head[..5]), body).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(out)
    }

    /// Opens a datagram and admits it once.
    pub(crate) fn open(&mut self, datagram: &[u8], wall_ms: u64) -> Result<Vec<u8>, DropReason> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(DropReason::Oversized);
        }
        if datagram.len() < OVERHEAD {
            return Err(DropReason::Truncated);
        }
        if datagram[0] != VERSION {
            return Err(DropReason::Version);
        }
        let id = datagram[1..5].iter().fold(0_u32, |id, b| id << 8 | u32::from(*b));
        let key = self.keyring.opening(id).ok_or(DropReason::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(&datagram[5..OUTER]).map_err(|_| DropReason::Truncated)?;
        let mut body = datagram[OUTER..].to_vec();
        let aad = Aad::from(&datagram[..5]);
        let plain = key.open_in_place(nonce, aad, &mut body).map_err(|_| DropReason::Forged)?.len();
        body.truncate(plain);
        let word = |at: usize| first_eight(&body[at * 8..]);
        let stamp = Stamp { sender: word(0), incarnation: word(1), counter: word(2), wall_ms: word(3) };
        if stamp.sender == self.sender && stamp.incarnation == self.incarnation {
            return Err(DropReason::Malformed);
        }
        self.guard.admit(stamp, wall_ms)?;
        body.drain(..INNER);
        Ok(body)
    }
}

pub(crate) fn first_eight(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |word, b| word << 8 | u64::from(*b))
}
