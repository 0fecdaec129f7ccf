//! What a member is called on the wire, and the byte form of foca's headers and updates.
//!
//! Owns the codec (version 1 of the sealed payload; the version byte stands outside, in the seal). Refuses any
//! text that ends early or has a tag it does not know.

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Identity, Member, Message, State};
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
}

impl Id {
    /// A stand-in by which to announce to an address whose member is not known yet.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        Self { name: Arc::from(""), addr, generation: 0, role: Role::Observer }
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

fn put_id(out: &mut Vec<u8>, id: &Id) {
    // Names are checked to 63 bytes where they enter.
    out.push(u8::try_from(id.name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(id.name.as_bytes());
    match id.addr.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.put_u16(id.addr.port());
    out.put_u64(id.generation);
    out.push(match id.role {
        Role::Prober => 0,
        Role::Observer => 1,
    });
}

fn get_id(buf: &mut impl Buf) -> Result<Id, CodecError> {
    let len = usize::from(buf.try_get_u8()?);
    if len > 63 {
        return Err(CodecError::Tag);
    }
    let mut name = [0_u8; 63];
    buf.try_copy_to_slice(&mut name[..len])?;
    let name = std::str::from_utf8(&name[..len]).map_err(|_| CodecError::Tag)?;
    if tidegate_domain::Name::new(name).is_err() && !name.is_empty() {
        return Err(CodecError::Tag);
    }
    let ip = match buf.try_get_u8()? {
        4 => IpAddr::V4(Ipv4Addr::from_bits(buf.try_get_u32()?)),
        6 => IpAddr::V6(Ipv6Addr::from_bits(buf.try_get_u128()?)),
        _ => return Err(CodecError::Tag),
    };
    let addr = SocketAddr::new(ip, buf.try_get_u16()?);
    let generation = buf.try_get_u64()?;
    let role = match buf.try_get_u8()? {
        0 => Role::Prober,
        1 => Role::Observer,
        _ => return Err(CodecError::Tag),
    };
    Ok(Id { name: Arc::from(name), addr, generation, role })
}

fn put_all(mut to: impl BufMut, bytes: &[u8]) -> Result<(), CodecError> {
    if to.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    to.put_slice(bytes);
    Ok(())
}

fn put_message(out: &mut Vec<u8>, message: &Message<Id>) {
    let (tag, number, who) = match message {
        Message::Ping(n) => (0, Some(*n), None),
        Message::Ack(n) => (1, Some(*n), None),
        Message::PingReq { target, probe_number } => (2, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (3, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (4, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (5, Some(*probe_number), Some(origin)),
        Message::Announce => (6, None, None),
        Message::Feed => (7, None, None),
        Message::Gossip => (8, None, None),
        Message::Broadcast => (9, None, None),
        Message::TurnUndead => (10, None, None),
    };
    out.push(tag);
    out.extend(number);
    if let Some(id) = who {
        put_id(out, id);
    }
}

fn get_message(buf: &mut impl Buf) -> Result<Message<Id>, CodecError> {
    Ok(match buf.try_get_u8()? {
        0 => Message::Ping(buf.try_get_u8()?),
        1 => Message::Ack(buf.try_get_u8()?),
        2 => {
            let probe_number = buf.try_get_u8()?;
            Message::PingReq { probe_number, target: get_id(buf)? }
        }
        3 => {
            let probe_number = buf.try_get_u8()?;
            Message::IndirectPing { probe_number, origin: get_id(buf)? }
        }
        4 => {
            let probe_number = buf.try_get_u8()?;
            Message::IndirectAck { probe_number, target: get_id(buf)? }
        }
        5 => {
            let probe_number = buf.try_get_u8()?;
            Message::ForwardedAck { probe_number, origin: get_id(buf)? }
        }
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        _ => return Err(CodecError::Tag),
    })
}

impl Codec<Id> for WireCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Id>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut out = Vec::with_capacity(128);
        put_id(&mut out, &header.src);
        out.put_u16(header.src_incarnation);
        put_id(&mut out, &header.dst);
        put_message(&mut out, &header.message);
        put_all(buf, &out)
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Id>, CodecError> {
        let src = get_id(&mut buf)?;
        let src_incarnation = buf.try_get_u16()?;
        let dst = get_id(&mut buf)?;
        let message = get_message(&mut buf)?;
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Id>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut out = Vec::with_capacity(64);
        put_id(&mut out, member.id());
        out.put_u16(member.incarnation());
        out.push(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        put_all(buf, &out)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Id>, CodecError> {
        let id = get_id(&mut buf)?;
        let incarnation = buf.try_get_u16()?;
        let state = match buf.try_get_u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(CodecError::Tag),
        };
        Ok(Member::new(id, incarnation, state))
    }
}
