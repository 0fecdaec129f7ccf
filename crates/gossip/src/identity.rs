//! What a member is called on the wire, and the byte form of foca's headers and updates.
//!
//! Owns the codec and the hash by which a member is named where its whole identity is known. What goes to the wire is the
//! shorter form of [`crate::wire`]: of the codec here only an identity's bytes go there, the rest stays within the process. Refuses any text that ends early, has a tag it does not know, or says a number in more bytes than it needs.

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Identity, Member, Message, State};
use ring::digest::{Context, SHA256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// What a member does besides gossiping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Probes targets and publishes reports.
    Prober,
    /// Only listens: a server.
    Observer,
}

/// A member's identity: one per address at a time, the higher generation wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) name: Arc<str>,
    pub(crate) addr: SocketAddr,
    /// Start of the process in milliseconds since 1970, plus one per renewal.
    pub(crate) generation: u64,
    pub(crate) role: Role,
    /// Drawn at the start of the process. With it two starts are two identities, even where a clock was set back and
    /// both have one generation.
    pub(crate) salt: u32,
}

impl Id {
    /// A stand-in by which to announce to an address whose member is not known yet.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        Self { name: Arc::from(""), addr, generation: 0, role: Role::Observer, salt: 0 }
    }

    /// Names this identity among all: the first eight bytes of a hash of its bytes.
    pub(crate) fn hash(&self) -> u64 {
        let mut bytes = Vec::with_capacity(96);
        put_id(&mut bytes, self);
        let mut context = Context::new(&SHA256);
        context.update(b"tidegate gossip member");
        context.update(&bytes);
        first_eight(context.finish().as_ref())
    }
}

impl Identity for Id {
    type Addr = SocketAddr;
    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.saturating_add(1), ..self.clone() })
    }
    fn addr(&self) -> SocketAddr {
        self.addr
    }
    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, &self.name) > (adversary.generation, &adversary.name)
    }
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("the message ends early")]
    Short,
    #[error("the message has an unknown tag")]
    Tag,
    #[error("the message does not fit")]
    Full,
}
impl From<bytes::TryGetError> for CodecError {
    fn from(_: bytes::TryGetError) -> Self {
        Self::Short
    }
}

/// The byte form. Numbers are big-endian.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireCodec;

/// Flags in the byte that begins an identity, above the length of the name.
const V6: u8 = 0x40;
const OBSERVER: u8 = 0x80;
const NAME_MAX: u8 = 63;

/// Least significant first, seven bits a byte, the top bit where more follows.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn get_number(buf: &mut impl Buf) -> Result<u64, CodecError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = buf.try_get_u8()?;
        let bits = u64::from(byte & 0x7f);
        // A number has one form: no bit falls out above, and its last byte says something.
        if (bits << shift) >> shift != bits || (byte == 0 && shift > 0) {
            return Err(CodecError::Tag);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(CodecError::Tag)
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: &Id) {
    // Names are checked to 63 bytes where they enter.
    let length = u8::try_from(id.name.len()).unwrap_or(NAME_MAX).min(NAME_MAX);
    let role = if id.role == Role::Observer { OBSERVER } else { 0 };
    out.push(length | role | if id.addr.is_ipv6() { V6 } else { 0 });
    out.extend_from_slice(&id.name.as_bytes()[..usize::from(length)]);
    match id.addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.put_u16(id.addr.port());
    put_number(out, id.generation);
    out.put_u32(id.salt);
}

pub(crate) fn get_id(buf: &mut impl Buf) -> Result<Id, CodecError> {
    let first = buf.try_get_u8()?;
    let length = usize::from(first & NAME_MAX);
    let mut name = [0_u8; NAME_MAX as usize];
    buf.try_copy_to_slice(&mut name[..length])?;
    let name = std::str::from_utf8(&name[..length]).map_err(|_| CodecError::Tag)?;
    if tidegate_domain::Name::new(name).is_err() && !name.is_empty() {
        return Err(CodecError::Tag);
    }
    let ip = if first & V6 == 0 {
        IpAddr::V4(Ipv4Addr::from_bits(buf.try_get_u32()?))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(buf.try_get_u128()?))
    };
    let addr = SocketAddr::new(ip, buf.try_get_u16()?);
    if first & !V6 == 0 {
        // Only a stand-in has no name, and it is called an observer.
        return Err(CodecError::Tag);
    }
    let generation = get_number(buf)?;
    let role = if first & OBSERVER == 0 { Role::Prober } else { Role::Observer };
    Ok(Id { name: Arc::from(name), addr, generation, role, salt: buf.try_get_u32()? })
}

/// The first eight bytes as a number.
pub(crate) fn first_eight(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |word, b| word << 8 | u64::from(*b))
}

fn put_all(mut to: impl BufMut, bytes: &[u8]) -> Result<(), CodecError> {
    if to.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    to.put_slice(bytes);
    Ok(())
}

/// A message's tag: less than 16, so that a byte has room for flags beside it.
pub(crate) fn tag_of(message: &Message<Id>) -> u8 {
    match message {
        Message::Ping(_) => 0,
        Message::Ack(_) => 1,
        Message::PingReq { .. } => 2,
        Message::IndirectPing { .. } => 3,
        Message::IndirectAck { .. } => 4,
        Message::ForwardedAck { .. } => 5,
        Message::Announce => FIRST_PLAIN,
        Message::Feed => 7,
        Message::Gossip => 8,
        Message::Broadcast => BROADCAST,
        Message::TurnUndead => LAST_TAG,
    }
}
/// From here on messages say nothing beside their tag.
pub(crate) const FIRST_PLAIN: u8 = 6;
pub(crate) const BROADCAST: u8 = 9;
pub(crate) const LAST_TAG: u8 = 10;

/// A probe's number, and of whom a message tells.
pub(crate) fn parts_of(message: &Message<Id>) -> (Option<u8>, Option<&Id>) {
    match message {
        Message::Ping(n) | Message::Ack(n) => (Some(*n), None),
        Message::PingReq { target: who, probe_number }
        | Message::IndirectPing { origin: who, probe_number }
        | Message::IndirectAck { target: who, probe_number }
        | Message::ForwardedAck { origin: who, probe_number } => (Some(*probe_number), Some(who)),
        Message::Announce | Message::Feed | Message::Gossip | Message::Broadcast | Message::TurnUndead => (None, None),
    }
}

/// The message of these parts; a part that it does not have is not looked at.
pub(crate) fn message_of(tag: u8, number: u8, who: Option<Id>) -> Result<Message<Id>, CodecError> {
    let who = || who.ok_or(CodecError::Short);
    Ok(match tag {
        0 => Message::Ping(number),
        1 => Message::Ack(number),
        2 => Message::PingReq { probe_number: number, target: who()? },
        3 => Message::IndirectPing { probe_number: number, origin: who()? },
        4 => Message::IndirectAck { probe_number: number, target: who()? },
        5 => Message::ForwardedAck { probe_number: number, origin: who()? },
        FIRST_PLAIN => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        BROADCAST => Message::Broadcast,
        LAST_TAG => Message::TurnUndead,
        _ => return Err(CodecError::Tag),
    })
}

/// A state in two bits.
pub(crate) fn state_tag(state: State) -> u64 {
    match state {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    }
}
/// The state in the two lowest bits.
pub(crate) fn state_of(number: u64) -> Result<State, CodecError> {
    match number & 3 {
        0 => Ok(State::Alive),
        1 => Ok(State::Suspect),
        2 => Ok(State::Down),
        _ => Err(CodecError::Tag),
    }
}

impl Codec<Id> for WireCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Id>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut out = Vec::with_capacity(128);
        put_id(&mut out, &header.dst);
        put_id(&mut out, &header.src);
        out.put_u16(header.src_incarnation);
        out.push(tag_of(&header.message));
        let (number, who) = parts_of(&header.message);
        out.extend(number);
        if let Some(who) = who {
            put_id(&mut out, who);
        }
        put_all(buf, &out)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Id>, CodecError> {
        let dst = get_id(&mut buf)?;
        let src = get_id(&mut buf)?;
        let src_incarnation = buf.try_get_u16()?;
        let tag = buf.try_get_u8()?;
        let number = if tag < FIRST_PLAIN { buf.try_get_u8()? } else { 0 };
        let who = if (2..FIRST_PLAIN).contains(&tag) { Some(get_id(&mut buf)?) } else { None };
        let message = message_of(tag, number, who)?;
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Id>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut out = Vec::with_capacity(64);
        put_id(&mut out, member.id());
        put_number(&mut out, u64::from(member.incarnation()) << 2 | state_tag(member.state()));
        put_all(buf, &out)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Id>, CodecError> {
        let id = get_id(&mut buf)?;
        let number = get_number(&mut buf)?;
        let incarnation = u16::try_from(number >> 2).map_err(|_| CodecError::Tag)?;
        Ok(Member::new(id, incarnation, state_of(number)?))
    }
}
