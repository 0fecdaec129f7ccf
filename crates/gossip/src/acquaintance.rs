//! Whom this member knows by hash, which of their datagrams it has had, and who knows it.
//!
//! Owns the memory of senders and the replay guard: every (sender, counter) passes at most once, and an earlier start of a
//! sender is over as soon as a later one was heard. Refuses senders whom nobody has named, and whole identities by a clock
//! that is far off, when they are heard for the first time.

use crate::identity::Id;
use crate::seal::DropReason;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tidegate_domain::{Millis, Mono};

/// How far back a datagram's counter may lie behind the sender's newest.
const WINDOW: u32 = 1024;
/// Senders remembered at once; the one heard least recently makes room.
const SENDERS_MAX: usize = 4096;
/// How far the wall clock of a sender's first datagram may differ from ours. Later ones are judged by the
/// counter alone, so that a stepping clock cannot cut off a member that is known.
const SKEW_MAX_MS: u64 = 15 * 60_000;
/// Whoever has addressed us by our whole identity is taken to know it for so long.
const KNOWS_FOR: Millis = Millis(600_000);

/// A sender's highest counter and which of the 1,024 before it were seen.
#[derive(Debug, Clone, Default)]
struct Window {
    highest: u32,
    bits: [u64; (WINDOW / 64) as usize],
}

impl Window {
    /// Marks `counter`; false when it was marked before or lies outside the window.
    fn mark(&mut self, counter: u32) -> bool {
        let (word, bit) = slot(counter);
        if counter > self.highest {
            if counter - self.highest >= WINDOW {
                self.bits = [0; (WINDOW / 64) as usize];
            } else {
                (self.highest + 1..counter).for_each(|c| self.bits[slot(c).0] &= !slot(c).1);
            }
            self.highest = counter;
            self.bits[word] |= bit;
            return true;
        }
        if self.highest - counter >= WINDOW {
            return false;
        }
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        fresh
    }
}

fn slot(counter: u32) -> (usize, u64) {
    let at = counter % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[derive(Debug)]
struct Sender {
    id: Id,
    window: Window,
    /// When it last addressed us by our whole identity.
    named_us: Option<Mono>,
    heard: u64,
}

/// A datagram, as it is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// The sender's hash.
    pub(crate) from: u64,
    pub(crate) counter: u32,
    /// Whether it is addressed to our whole identity, and not to our address alone.
    pub(crate) names_us: bool,
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Acquaintance {
    /// By hash.
    senders: BTreeMap<u64, Sender>,
    /// The newest start of each name and address.
    newest: BTreeMap<(SocketAddr, Arc<str>), u64>,
    heard: u64,
    /// Whether anybody ever had to make room.
    forgot: bool,
}

impl Acquaintance {
    /// Admits a datagram that names its sender whole. Clocks in milliseconds since 1970.
    pub(crate) fn admit_whole(
        &mut self,
        mark: Mark,
        id: &Id,
        (theirs, ours): (u64, u64),
        now: Mono,
    ) -> Result<(), DropReason> {
        // The nonce must be the sender's own: else two could come to use one.
        if id.hash() != mark.from {
            return Err(DropReason::Malformed);
        }
        if !self.senders.contains_key(&mark.from) {
            self.may_begin(id)?;
            if theirs.abs_diff(ours) > SKEW_MAX_MS {
                return Err(DropReason::Clock);
            }
            self.begin(id.clone(), mark.from);
        }
        self.admit_known(mark, now).map(|_| ())
    }

    /// Admits a datagram that names its sender by hash alone; whom, is told. `find` looks among the members for a sender
    /// that was never heard directly. No clock is needed: such a datagram is sealed for our whole identity, and so is
    /// younger than our own start.
    pub(crate) fn admit_known_or(
        &mut self,
        mark: Mark,
        find: impl FnOnce() -> Option<Id>,
        now: Mono,
    ) -> Result<Id, DropReason> {
        if !self.senders.contains_key(&mark.from) {
            // One that we forgot may have been heard before: only its whole identity, with its clock, will do.
            let may_find = mark.names_us && !self.forgot;
            let id = may_find.then(find).flatten().ok_or(DropReason::UnknownMember)?;
            self.may_begin(&id)?;
            self.begin(id, mark.from);
        }
        self.admit_known(mark, now)
    }

    fn admit_known(&mut self, mark: Mark, now: Mono) -> Result<Id, DropReason> {
        let sender = self.senders.get_mut(&mark.from).ok_or(DropReason::UnknownMember)?;
        if !sender.window.mark(mark.counter) {
            return Err(DropReason::Replayed);
        }
        self.heard += 1;
        sender.heard = self.heard;
        if mark.names_us {
            sender.named_us = Some(now);
        }
        Ok(sender.id.clone())
    }

    fn may_begin(&self, id: &Id) -> Result<(), DropReason> {
        let before = self.newest.get(&(id.addr, Arc::clone(&id.name))).and_then(|hash| self.senders.get(hash));
        let over = before.is_some_and(|before| before.id.generation >= id.generation);
        if over { Err(DropReason::Replayed) } else { Ok(()) }
    }

    fn begin(&mut self, id: Id, hash: u64) {
        if let Some(before) = self.newest.insert((id.addr, Arc::clone(&id.name)), hash) {
            self.senders.remove(&before);
        }
        if self.senders.len() >= SENDERS_MAX {
            let oldest = self.senders.iter().min_by_key(|(_, s)| s.heard).map(|(hash, _)| *hash);
            if let Some(gone) = oldest.and_then(|hash| self.senders.remove(&hash)) {
                self.newest.remove(&(gone.id.addr, gone.id.name));
                self.forgot = true;
            }
        }
        let sender = Sender { id, window: Window::default(), named_us: None, heard: self.heard };
        self.senders.insert(hash, sender);
    }

    /// The sender of this hash.
    pub(crate) fn get(&self, hash: u64) -> Option<&Id> {
        self.senders.get(&hash).map(|sender| &sender.id)
    }

    /// Whether the member of this hash knows our identity: it has lately addressed us by it, and it forgets nobody
    /// to whom it speaks.
    pub(crate) fn knows_us(&self, hash: u64, now: Mono) -> bool {
        let named = self.senders.get(&hash).and_then(|sender| sender.named_us);
        named.is_some_and(|at| now.since(at) < KNOWS_FOR)
    }

    /// We have another identity now, of which nobody can know.
    pub(crate) fn begin_anew(&mut self) {
        self.senders.values_mut().for_each(|sender| sender.named_us = None);
    }
}
