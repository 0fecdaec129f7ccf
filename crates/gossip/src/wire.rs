//! The sealed content of a datagram, version 2: foca's header in as few bytes as say it, then updates or a broadcast.
//!
//! Owns that form. The receiver is not in it: the seal names it. Nor is the sender, for a receiver that knows it: the
//! seal's nonce names it by its hash. Refuses forms that say the same in other bytes.
//!
//! The first byte holds the message's tag and four flags: [`WHOLE`] (the sender's identity and wall clock follow),
//! [`INCARNATION`] (foca's, unless 0), [`REST`] (updates or a broadcast, unless there are none), and one that is not used.
//! Updates stand to the end of the content, uncounted.

use crate::identity::{
    BROADCAST, CodecError, FIRST_PLAIN, Id, LAST_TAG, get_id, get_number, put_id, put_number, state_of, state_tag,
};
use bytes::{Buf, BufMut};
use foca::State;

const TAG: u8 = 0x0f;
const WHOLE: u8 = 0x10;
const INCARNATION: u8 = 0x20;
const REST: u8 = 0x40;
/// Stands where an identity would begin: a prober without a name and with an IPv4 address, which nobody is.
const BY_HASH: u8 = 0;

/// Somebody, as a content calls him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Whole(Id),
    /// [`Id::hash`], for those that know him.
    Hash(u64),
}

/// What is said of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) who: Named,
    pub(crate) incarnation: u16,
    pub(crate) state: State,
}

/// What stands behind the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rest<'a> {
    Updates(Vec<Update>),
    /// As foca writes it.
    Broadcast(&'a [u8]),
}

/// A datagram's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content<'a> {
    /// The sender and its wall clock in milliseconds since 1970, for a receiver that may not know it.
    pub(crate) whole: Option<(Id, u64)>,
    /// The sender's.
    pub(crate) incarnation: u16,
    /// Of the message, see [`crate::identity::tag_of`].
    pub(crate) tag: u8,
    /// A probe's number; 0 in a message that has none.
    pub(crate) number: u8,
    /// Somebody else, in the messages of an indirect probe.
    pub(crate) about: Option<Named>,
    pub(crate) rest: Rest<'a>,
}

fn put_named(out: &mut Vec<u8>, named: &Named) {
    match named {
        Named::Whole(id) => put_id(out, id),
        Named::Hash(hash) => {
            out.push(BY_HASH);
            out.put_u64(*hash);
        }
    }
}

fn get_named(bytes: &mut &[u8]) -> Result<Named, CodecError> {
    if bytes.first() == Some(&BY_HASH) {
        bytes.advance(1);
        return Ok(Named::Hash(bytes.try_get_u64()?));
    }
    get_id(bytes).map(Named::Whole)
}

/// Whether a message of this tag has a number, and whether it tells of somebody else.
fn has(tag: u8) -> (bool, bool) {
    (tag < FIRST_PLAIN, (2..FIRST_PLAIN).contains(&tag))
}

pub(crate) fn write(content: &Content<'_>) -> Vec<u8> {
    let Content { whole, incarnation, tag, number, about, rest } = content;
    let mut out = Vec::with_capacity(256);
    out.push(*tag);
    if let Some((id, wall_ms)) = whole {
        out[0] |= WHOLE;
        put_id(&mut out, id);
        put_number(&mut out, *wall_ms);
    }
    if *incarnation != 0 {
        out[0] |= INCARNATION;
        put_number(&mut out, u64::from(*incarnation));
    }
    if has(*tag).0 {
        out.push(*number);
    }
    if let Some(about) = about {
        put_named(&mut out, about);
    }
    let begins = out.len();
    match rest {
        Rest::Broadcast(bytes) => out.extend_from_slice(bytes),
        Rest::Updates(updates) => {
            for Update { who, incarnation, state } in updates {
                put_named(&mut out, who);
                put_number(&mut out, u64::from(*incarnation) << 2 | state_tag(*state));
            }
        }
    }
    if out.len() > begins {
        out[0] |= REST;
    }
    out
}

pub(crate) fn read(mut bytes: &[u8]) -> Result<Content<'_>, CodecError> {
    let first = bytes.try_get_u8()?;
    let tag = first & TAG;
    if first & !(TAG | WHOLE | INCARNATION | REST) != 0 || tag > LAST_TAG {
        return Err(CodecError::Tag);
    }
    let whole = match first & WHOLE {
        0 => None,
        _ => Some((get_id(&mut bytes)?, get_number(&mut bytes)?)),
    };
    let incarnation = match first & INCARNATION {
        0 => 0,
        _ => u16::try_from(get_number(&mut bytes)?).ok().filter(|n| *n != 0).ok_or(CodecError::Tag)?,
    };
    let (numbered, tells) = has(tag);
    let number = if numbered { bytes.try_get_u8()? } else { 0 };
    let about = if tells { Some(get_named(&mut bytes)?) } else { None };
    if (first & REST == 0) != bytes.is_empty() {
        return Err(CodecError::Tag);
    }
    let rest = if tag == BROADCAST { Rest::Broadcast(bytes) } else { Rest::Updates(get_updates(bytes)?) };
    Ok(Content { whole, incarnation, tag, number, about, rest })
}

fn get_updates(mut bytes: &[u8]) -> Result<Vec<Update>, CodecError> {
    let mut updates = Vec::new();
    while !bytes.is_empty() {
        let who = get_named(&mut bytes)?;
        let number = get_number(&mut bytes)?;
        let incarnation = u16::try_from(number >> 2).map_err(|_| CodecError::Tag)?;
        updates.push(Update { who, incarnation, state: state_of(number)? });
    }
    Ok(updates)
}
