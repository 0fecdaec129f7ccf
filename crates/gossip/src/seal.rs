//! Sealed datagrams: what the wire carries, which keys open it, and why one is dropped.
//!
//! Owns the outer form, version 2: version (1 byte), hint of the key (2), hint of the receiver (2), the sender's hash (8) and
//! counter (4), which together are the nonce, then ChaCha20-Poly1305 over the content. What is authenticated beside it, and
//! not sent: the receiver's hash in full. Refuses to use a nonce twice: a sender's hash is its identity's, in which 32 random
//! bits are drawn at each start, and its counter ends before it comes round. Whether a datagram is new is for
//! [`crate::acquaintance`] to say. Version 1 is known and refused.

use crate::keyring::Keyring;
use ring::aead::{Aad, NONCE_LEN, Nonce};

/// The largest datagram sent or taken, in bytes: fits one Ethernet frame with room for tunnels.
pub const MAX_DATAGRAM: usize = 1400;

const VERSION: u8 = 2;
/// The version before: no release had it, but a fleet in the middle of a change may.
const OLD_VERSION: u8 = 1;
/// What is authenticated and comes before the nonce.
const HEAD: usize = 1 + 2 + 2;
const OUTER: usize = HEAD + NONCE_LEN;
const TAG: usize = 16;
/// What sealing adds to a content, in bytes.
pub(crate) const OVERHEAD: usize = OUTER + TAG;
/// Of these, those that name sender and receiver: without a seal they would have to be said too.
pub(crate) const NAMED: usize = 8 + 2;
/// Datagrams after which a sender takes a new identity: far enough before the counter ends.
const SPENT: u32 = u32::MAX - (1 << 20);

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Longer than [`MAX_DATAGRAM`].
    Oversized,
    /// Too short to hold a seal.
    Truncated,
    /// Version 1 of the format: its sender is to be brought to this version.
    OldFormat,
    /// Any other version of the format.
    Version,
    /// Sealed by a key that the keyring does not hold.
    UnknownKey,
    /// For another member, or for an earlier start of this one.
    Misaddressed,
    /// Does not open: changed, cut or forged on the way.
    Forged,
    /// Its sender, or whom it tells of, is named by a hash, and is nobody that is known here.
    UnknownMember,
    /// It was seen before, lies too far back, or is of an earlier start of its sender.
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
            Self::Oversized | Self::Truncated | Self::OldFormat | Self::Version | Self::UnknownKey => true,
            Self::Misaddressed | Self::Forged => true,
            // A recording opens too, whoever sends it again.
            Self::UnknownMember | Self::Replayed | Self::Clock => true,
            Self::Malformed | Self::Flood | Self::NotSent => false,
        }
    }
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 13] = [
        Self::Oversized,
        Self::Truncated,
        Self::OldFormat,
        Self::Version,
        Self::UnknownKey,
        Self::Misaddressed,
        Self::Forged,
        Self::UnknownMember,
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
            Self::OldFormat => "old_format",
            Self::Version => "version",
            Self::UnknownKey => "unknown_key",
            Self::Misaddressed => "misaddressed",
            Self::Forged => "forged",
            Self::UnknownMember => "unknown_member",
            Self::Replayed => "replayed",
            Self::Clock => "clock",
            Self::Malformed => "malformed",
            Self::Flood => "flood",
            Self::NotSent => "not_sent",
        }
    }
}

/// A datagram that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The sender's hash.
    pub(crate) from: u64,
    pub(crate) counter: u32,
    /// As which of ours it was addressed.
    pub(crate) to: u64,
    pub(crate) content: Vec<u8>,
}

/// Seals what we send, opens what we get.
#[derive(Debug)]
pub(crate) struct Sealer {
    keyring: Keyring,
    from: u64,
    counter: u32,
}

impl Sealer {
    /// `from` is the hash of the sender's identity.
    pub(crate) fn new(keyring: Keyring, from: u64) -> Self {
        Self { keyring, from, counter: 0 }
    }

    /// Seals and opens with these keys from now on. The counter goes on: it belongs to the sender, not to the key.
    pub(crate) fn set_keyring(&mut self, keyring: Keyring) {
        self.keyring = keyring;
    }

    /// Seals as this sender from now on. It must be one that has never sealed.
    pub(crate) fn become_sender(&mut self, from: u64) {
        (self.from, self.counter) = (from, 0);
    }

    pub(crate) fn sender(&self) -> u64 {
        self.from
    }

    /// Whether it is time for a new identity.
    pub(crate) fn spent(&self) -> bool {
        self.counter >= SPENT
    }
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, counter: u32) {
        self.counter = self.counter.max(counter);
    }

    /// Seals `content`, which must fit [`MAX_DATAGRAM`] less [`OVERHEAD`], for the receiver of hash `to`; none if it does
    /// not fit, or all counters are used up.
    pub(crate) fn seal(&mut self, content: &[u8], to: u64) -> Option<Vec<u8>> {
        if content.len() + OVERHEAD > MAX_DATAGRAM {
            return None;
        }
        let (id, key) = self.keyring.sealing()?;
        self.counter = self.counter.checked_add(1)?;
        let mut out = Vec::with_capacity(content.len() + OVERHEAD);
        out.push(VERSION);
        out.extend_from_slice(&hint(id).to_be_bytes());
        out.extend_from_slice(&to.to_be_bytes()[..2]);
        out.extend_from_slice(&self.from.to_be_bytes());
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(content);
        let (head, body) = out.split_at_mut(OUTER);
        let nonce = Nonce::try_assume_unique_for_key(&head[HEAD..]).ok()?;
        let tag = key.seal_in_place_separate_tag(nonce, beside(head, to), body).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(out)
    }

    /// Opens a datagram for one of `ours`, our own hashes.
    pub(crate) fn open(&self, datagram: &[u8], ours: &[u64]) -> Result<Opened, DropReason> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(DropReason::Oversized);
        }
        if datagram.len() < OVERHEAD {
            return Err(DropReason::Truncated);
        }
        match datagram[0] {
            VERSION => {}
            OLD_VERSION => return Err(DropReason::OldFormat),
            _ => return Err(DropReason::Version),
        }
        let hinted = u16::from_be_bytes([datagram[1], datagram[2]]);
        let keys = || self.keyring.keys().filter(|(id, _)| hint(*id) == hinted).map(|(_, key)| key);
        keys().next().ok_or(DropReason::UnknownKey)?;
        let to = |own: &&u64| own.to_be_bytes()[..2] == datagram[3..HEAD];
        ours.iter().find(to).ok_or(DropReason::Misaddressed)?;
        let from = datagram[HEAD..HEAD + 8].iter().fold(0, |word, b| word << 8 | u64::from(*b));
        let counter = datagram[HEAD + 8..OUTER].iter().fold(0, |word, b| word << 8 | u32::from(*b));
        // Hints are short: two keys or two of our hashes may share one.
        for (key, to) in keys().flat_map(|key| ours.iter().filter(to).map(move |to| (key, *to))) {
            let mut content = datagram[OUTER..].to_vec();
            let nonce = Nonce::try_assume_unique_for_key(&datagram[HEAD..OUTER]).map_err(|_| DropReason::Truncated)?;
            let opened = key.open_in_place(nonce, beside(datagram, to), &mut content).map(|plain| plain.len());
            if let Ok(length) = opened {
                content.truncate(length);
                return Ok(Opened { from, counter, to, content });
            }
        }
        Err(DropReason::Forged)
    }
}

/// The part of a key's id that is sent.
fn hint(key: u32) -> u16 {
    (key >> 16) as u16
}

/// What is authenticated beside the content: what stands before the nonce, and the receiver's hash in full.
fn beside(datagram: &[u8], to: u64) -> Aad<[u8; HEAD + 8]> {
    let mut all = [0; HEAD + 8];
    all[..HEAD].copy_from_slice(&datagram[..HEAD]);
    all[HEAD..].copy_from_slice(&to.to_be_bytes());
    Aad::from(all)
}
