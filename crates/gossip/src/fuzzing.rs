//! Doors for fuzzers, and for the tests that run over the fuzzers' corpus. Behind the feature `fuzzing`: no program has it.
//!
//! Each takes any bytes, and fails by a panic alone.

use crate::identity::{Id, Role, WireCodec};
use crate::join::{Invitations, Joining, NONCE_BYTES, TOKEN_BYTES};
use crate::keyring::Keyring;
use crate::node::{Config, Event, Node};
use crate::report::{OwnReport, decode, encode_full};
use crate::seal::{DropReason, MAX_DATAGRAM, OVERHEAD, Sealer};
use crate::wire;
use foca::Codec;
use prost::Message;
use std::net::SocketAddr;
use std::sync::Arc;
use tidegate_domain::{Millis, Mono, Name};
use tidegate_proto::v1::{JoinReply, JoinRequest};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const START_MS: u64 = 1_790_000_000_000;
const NOW: Mono = Mono(1_000_000_000);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 7946))
}

fn node(keyring: Keyring, name: Name) -> Node {
    let (advertise, role) = (address(1), Role::Prober);
    let config = Config { name, incarnation: START_MS, advertise, seeds: vec![], keyring, role, seed: [7; 32] };
    Node::new(config, NOW)
}

/// `data` as a datagram, and as the content of a sealed one: what a stranger and what a holder of the key could send.
/// Whatever it is, the node goes on.
pub fn datagram(data: &[u8]) {
    let (Ok(keyring), Ok(own), Ok(name)) = (Keyring::parse(KEY), Keyring::parse(KEY), Name::new("v1")) else { return };
    let mut node = node(own, name);
    node.handle(Event::Datagram { from: address(2), bytes: data }, NOW);
    let forged = node.counters().dropped(DropReason::Forged);
    let fits = &data[..data.len().min(MAX_DATAGRAM - OVERHEAD)];
    let (name, addr) = (Arc::from("fuzz"), address(3));
    let sender = Id { name, addr, generation: START_MS + 1, role: Role::Prober, salt: 9 };
    let mut sealer = Sealer::new(keyring, sender.hash());
    let own = node.foca().identity().clone();
    // To our address alone, and to our whole identity.
    for to in [Id::at(own.addr), own] {
        let Some(sealed) = sealer.seal(fits, to.hash()) else { continue };
        let taken = node.counters().received;
        node.handle(Event::Datagram { from: addr, bytes: &sealed }, NOW);
        node.handle(Event::Datagram { from: addr, bytes: &sealed }, NOW);
        assert!(node.counters().received <= taken + 1, "once");
        assert_eq!(node.counters().dropped(DropReason::Forged), forged, "what a holder of the key seals is opened");
    }
    let mut now = NOW;
    for _ in 0..8 {
        now = now + Millis(700);
        node.handle(Event::Tick, now);
        assert!(node.next_deadline().is_some_and(|at| at > now));
    }
    assert!(node.members().len() <= 64, "nobody is made up but by a holder of the key");
}

/// `data` as a vantage report. What is taken is written again to bytes that mean the same.
pub fn report(data: &[u8]) {
    let Ok(parsed) = decode(data) else { return };
    let Some((states, rtt)) = parsed.body.clone() else { return };
    let own = OwnReport { revision_short: parsed.revision, own: parsed.own, states, rtt };
    let Some(again) = encode_full(parsed.vantage.as_str(), parsed.incarnation, parsed.sequence, &own) else { return };
    assert_eq!(decode(&again).map(|read| read.body), Ok(parsed.body), "read, written and read again");
}

/// `data` as a datagram's content, and as members. What is taken is written again to the same bytes.
pub fn codec(data: &[u8]) {
    if let Ok(content) = wire::read(data) {
        assert_eq!(wire::write(&content), data);
    }
    let mut rest = data;
    loop {
        let left = rest;
        let Ok(member) = WireCodec.decode_member(&mut rest) else { return };
        let mut again = Vec::new();
        assert!(WireCodec.encode_member(&member, &mut again).is_ok());
        assert_eq!(again, left[..left.len() - rest.len()]);
    }
}

/// `data` as the text of a keyring.
pub fn keyring(data: &[u8]) {
    if let Ok(keyring) = Keyring::parse(&String::from_utf8_lossy(data)) {
        assert!(keyring.sealing().is_some(), "a keyring that is taken can seal");
    }
}

/// `data` as a join token's text, as a request to be let in and as the answer to one. Nothing made up lets anybody in.
pub fn join(data: &[u8]) {
    let Ok(name) = Name::new("v1") else { return };
    let token = format!("tgj_{}", "07".repeat(TOKEN_BYTES));
    let Ok(own) = Joining::new(&token, &name, [1; NONCE_BYTES]) else { return };
    assert!(own.open(&JoinReply { sealed: data.to_vec() }).is_err(), "an answer that nobody sealed");
    let mut open = Invitations::default();
    assert!(open.invite(name.clone(), Millis(60_000), [7; TOKEN_BYTES], NOW).is_ok());
    if let Ok(asked) = JoinRequest::decode(data) {
        assert!(asked == own.request() || open.redeem(&asked, KEY, NOW).is_err(), "no proof, no keyring");
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(other) = Joining::new(&text, &name, [1; NONCE_BYTES]) {
        let same = text.trim() == token;
        assert_eq!(open.redeem(&other.request(), KEY, NOW).is_ok(), same || other.request() == own.request());
    }
}
