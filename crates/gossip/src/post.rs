//! From what foca says to sealed datagrams, and back.
//!
//! Owns who is named whole and who by hash. The receiver: always by hash. The sender: by hash to those that are known to know
//! it. Others of whom is told: by hash once everybody has heard of them, but whole where a newcomer is fed. Refuses to hand
//! anything to foca that is for somebody else.

use crate::acquaintance::{Acquaintance, Mark};
use crate::identity::{CodecError, Id, WireCodec, message_of, parts_of, tag_of};
use crate::keyring::Keyring;
use crate::names::Names;
use crate::seal::{DropReason, NAMED, Sealer};
use crate::wire::{Content, Named, Rest, Update, read, write};
use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, Message};
use tidegate_domain::Mono;

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Mono,
    /// Milliseconds since 1970.
    pub(crate) wall_ms: u64,
}

/// A datagram to send.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) bytes: Vec<u8>,
    /// What of it would have to be said without a seal too.
    pub(crate) payload: usize,
}

/// A datagram that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// As foca reads it.
    pub(crate) payload: Vec<u8>,
    /// Updates left out: they are on members of whom we have not heard.
    pub(crate) left_out: u64,
}

/// Finds an identity by its hash among foca's members.
pub(crate) type Find<'a> = &'a dyn Fn(u64) -> Option<Id>;

#[derive(Debug)]
pub(crate) struct Post {
    own: Id,
    /// By what hashes others address us: our identity's, and our address' for those that do not know it.
    ours: [u64; 2],
    sealer: Sealer,
    acquaintance: Acquaintance,
    names: Names,
}

fn hashes(own: &Id) -> [u64; 2] {
    [own.hash(), Id::at(own.addr).hash()]
}

impl Post {
    pub(crate) fn new(keyring: Keyring, own: Id) -> Self {
        let ours = hashes(&own);
        let (sealer, acquaintance) = (Sealer::new(keyring, ours[0]), Acquaintance::default());
        Self { sealer, own, ours, acquaintance, names: Names::default() }
    }

    /// See [`Sealer::set_keyring`].
    pub(crate) fn set_keyring(&mut self, keyring: Keyring) {
        self.sealer.set_keyring(keyring);
    }

    /// Our identity is this from now on; it is one that we never had, or the one that we have.
    pub(crate) fn set_own(&mut self, own: &Id) {
        if self.own != *own {
            self.own = own.clone();
            self.ours = hashes(own);
            self.sealer.become_sender(self.ours[0]);
            self.acquaintance.begin_anew();
        }
    }

    /// This member is there.
    pub(crate) fn is_up(&mut self, id: &Id, now: Mono) {
        self.names.is_up(id, now);
    }

    /// This identity is over: its member has another one.
    pub(crate) fn is_over(&mut self, id: &Id) {
        self.names.is_over(id);
    }
    #[cfg(test)]
    pub(crate) fn names_known(&self) -> usize {
        self.names.known()
    }

    /// Whether it is time for a new identity: the counter of this one comes to its end.
    pub(crate) fn spent(&self) -> bool {
        self.sealer.spent()
    }
    #[cfg(test)]
    pub(crate) fn sealer_mut(&mut self) -> &mut Sealer {
        &mut self.sealer
    }

    /// Seals what foca wrote. None: it is said under an identity that is over, or does not fit.
    pub(crate) fn seal(&mut self, mut payload: &[u8], at: Moment) -> Option<Sealed> {
        let header = WireCodec.decode_header(&mut payload).ok()?;
        if header.src != self.own {
            return None;
        }
        let Header { src, src_incarnation: incarnation, dst, message } = header;
        let announces = message == Message::Announce;
        // Whoever stands at that address may have another identity than we know.
        let to = if announces { Id::at(dst.addr).hash() } else { dst.hash() };
        let known = !announces && self.acquaintance.knows_us(to, at.now);
        let (number, about) = parts_of(&message);
        let about = about.map(|id| match message {
            // Who asked knows whom it asked about, and who was asked knows for whom.
            Message::IndirectAck { .. } | Message::ForwardedAck { .. } => Named::Hash(id.hash()),
            // A newcomer that could not read it would be suspected, or be no help.
            _ if !self.names.knows_all(to, at.now) => Named::Whole(id.clone()),
            _ => self.name(id, at.now),
        });
        let rest = if message == Message::Broadcast {
            Rest::Broadcast(payload)
        } else {
            Rest::Updates(self.updates(&message, payload, at.now).ok()?)
        };
        let whole = (!known).then_some((src, at.wall_ms));
        let (tag, number) = (tag_of(&message), number.unwrap_or(0));
        let content = write(&Content { whole, incarnation, tag, number, about, rest });
        let bytes = self.sealer.seal(&content, to)?;
        Some(Sealed { bytes, payload: content.len() + NAMED })
    }

    fn name(&mut self, id: &Id, now: Mono) -> Named {
        self.names.short(id, now).map_or_else(|| Named::Whole(id.clone()), Named::Hash)
    }

    /// The updates behind their number, as foca writes them.
    fn updates(&mut self, message: &Message<Id>, mut rest: &[u8], now: Mono) -> Result<Vec<Update>, CodecError> {
        let count = if rest.is_empty() { 0 } else { rest.try_get_u16()? };
        let mut updates = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let member = WireCodec.decode_member(&mut rest)?;
            let who = match message {
                Message::Feed => Named::Whole(member.id().clone()),
                _ => self.name(member.id(), now),
            };
            updates.push(Update { who, incarnation: member.incarnation(), state: member.state() });
        }
        // foca's own broadcasts would stand here; it is given none.
        if rest.is_empty() { Ok(updates) } else { Err(CodecError::Tag) }
    }

    /// Opens a datagram, admits it once and says it as foca reads it.
    pub(crate) fn open(&mut self, datagram: &[u8], find: Find<'_>, at: Moment) -> Result<Taken, DropReason> {
        let opened = self.sealer.open(datagram, &self.ours)?;
        if opened.from == self.sealer.sender() {
            return Err(DropReason::Malformed);
        }
        let Content { whole, incarnation, tag, number, about, rest } =
            read(&opened.content).map_err(|_| DropReason::Malformed)?;
        let names_us = opened.to == self.ours[0];
        if !names_us && tag != tag_of(&Message::Announce) {
            return Err(DropReason::Misaddressed);
        }
        let mark = Mark { from: opened.from, counter: opened.counter, names_us };
        let src = match whole {
            Some((id, wall_ms)) => {
                self.acquaintance.admit_whole(mark, &id, (wall_ms, at.wall_ms), at.now)?;
                id
            }
            None => {
                let names = &mut self.names;
                self.acquaintance.admit_known_or(mark, || names.find(mark.from, find, at.now), at.now)?
            }
        };
        let about = match about {
            Some(named) => Some(self.whom(named, find, at.now).ok_or(DropReason::UnknownMember)?),
            None => None,
        };
        let message = message_of(tag, number, about).map_err(|_| DropReason::Malformed)?;
        let header = Header { src, src_incarnation: incarnation, dst: self.own.clone(), message };
        let mut payload = Vec::with_capacity(256);
        WireCodec.encode_header(&header, &mut payload).map_err(|_| DropReason::Malformed)?;
        let left_out = match rest {
            Rest::Broadcast(bytes) => {
                payload.extend_from_slice(bytes);
                0
            }
            Rest::Updates(updates) => self.put_updates(&mut payload, updates, find, at.now)?,
        };
        Ok(Taken { payload, left_out })
    }

    /// Returns how many were left out.
    fn put_updates(
        &mut self,
        payload: &mut Vec<u8>,
        updates: Vec<Update>,
        find: Find<'_>,
        now: Mono,
    ) -> Result<u64, DropReason> {
        let all = updates.len();
        let known = updates.into_iter().filter_map(|Update { who, incarnation, state }| {
            Some(Member::new(self.whom(who, find, now)?, incarnation, state))
        });
        let known: Vec<Member<Id>> = known.collect();
        if !known.is_empty() {
            payload.put_u16(u16::try_from(known.len()).map_err(|_| DropReason::Malformed)?);
        }
        for member in &known {
            WireCodec.encode_member(member, &mut *payload).map_err(|_| DropReason::Malformed)?;
        }
        Ok((all - known.len()) as u64)
    }

    fn whom(&mut self, named: Named, find: Find<'_>, now: Mono) -> Option<Id> {
        match named {
            Named::Whole(id) => Some(id),
            Named::Hash(hash) if hash == self.ours[0] => Some(self.own.clone()),
            Named::Hash(hash) => {
                let heard = self.acquaintance.get(hash).cloned();
                heard.or_else(|| self.names.find(hash, find, now))
            }
        }
    }
}
