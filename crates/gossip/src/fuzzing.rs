//! Doors for fuzzers, and for the tests that run over the fuzzers' corpus. Behind the feature `fuzzing`: no program has it.
//!
//! Each takes any bytes, says whether they were taken, and fails by a panic alone.

use crate::identity::{Id, Role, WireCodec, tag_of};
use crate::join::{Invitations, Joining, NONCE_BYTES, TOKEN_BYTES};
use crate::keyring::Keyring;
use crate::node::{Config, Event, Node};
use crate::report::{OwnReport, decode, encode_full};
use crate::seal::{DropReason, MAX_DATAGRAM, OVERHEAD, Sealer};
use crate::wire::{self, Content, Rest};
use foca::{Codec, Message as Said};
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

/// Whoever has the key and speaks to the node: every content of the corpus that names its sender names this one.
fn sender() -> Id {
    Id { name: Arc::from("fuzz"), addr: address(3), generation: START_MS + 1, role: Role::Prober, salt: 9 }
}

/// What a member says first.
fn announcement(sender: &Id) -> Vec<u8> {
    let (whole, rest) = (Some((sender.clone(), START_MS + 2)), Rest::Updates(Vec::new()));
    wire::write(&Content { whole, incarnation: 0, tag: tag_of(&Said::Announce), number: 0, about: None, rest })
}

/// `data` as a datagram, and as the content of a sealed one: what a stranger and what a holder of the key could send.
/// Whatever it is, the node goes on.
pub fn datagram(data: &[u8]) -> bool {
    let (Ok(keyring), Ok(own), Ok(name)) = (Keyring::parse(KEY), Keyring::parse(KEY), Name::new("v1")) else {
        return false;
    };
    let mut node = node(own, name);
    node.handle(Event::Datagram { from: address(2), bytes: data }, NOW);
    let forged = node.counters().dropped(DropReason::Forged);
    let mut taken = node.counters().received > 0;
    let fits = &data[..data.len().min(MAX_DATAGRAM - OVERHEAD)];
    let sender = sender();
    let mut sealer = Sealer::new(keyring, sender.hash());
    let own = node.foca().identity().clone();
    let by_address = Id::at(own.addr);
    let greeting = announcement(&sender);
    // To our address alone, and to our whole identity; then again by a sender that has announced itself.
    for (content, to) in [(fits, &by_address), (fits, &own), (&greeting[..], &by_address), (fits, &own)] {
        let Some(sealed) = sealer.seal(content, to.hash()) else { continue };
        let counted = |node: &Node| (node.counters().received, node.counters().dropped(DropReason::Malformed));
        let before = counted(&node);
        node.handle(Event::Datagram { from: sender.addr, bytes: &sealed }, NOW);
        let once = counted(&node);
        // Opened, and no word of foca's against it.
        taken |= content == fits && once == (before.0 + 1, before.1);
        node.handle(Event::Datagram { from: sender.addr, bytes: &sealed }, NOW);
        assert!(once.0 <= before.0 + 1 && node.counters().received == once.0, "once");
        assert_eq!(node.counters().dropped(DropReason::Forged), forged, "what a holder of the key seals is opened");
    }
    let mut now = NOW;
    for _ in 0..8 {
        now = now + Millis(700);
        node.handle(Event::Tick, now);
        assert!(node.next_deadline().is_some_and(|at| at > now));
    }
    assert!(node.members().len() <= 65, "nobody is made up but by a holder of the key");
    taken
}

/// `data` as a vantage report. What is taken is written again to bytes that mean the same.
pub fn report(data: &[u8]) -> bool {
    let Ok(parsed) = decode(data) else { return false };
    // A digest; what it means stands in the full report that it names.
    let Some((states, rtt)) = parsed.body.clone() else { return true };
    let own = OwnReport { revision_short: parsed.revision, own: parsed.own, states, rtt };
    // A full report in a wasteful form may be too long in ours.
    let Some(again) = encode_full(parsed.vantage.as_str(), parsed.incarnation, parsed.sequence, &own) else {
        return true;
    };
    assert_eq!(decode(&again).map(|read| read.body), Ok(parsed.body), "read, written and read again");
    true
}

/// `data` as a datagram's content, and as members. What is taken is written again to the same bytes. Taken is a whole
/// content, or members to the end.
pub fn codec(data: &[u8]) -> bool {
    let content = wire::read(data);
    if let Ok(content) = &content {
        assert_eq!(wire::write(content), data);
    }
    let mut rest = data;
    while !rest.is_empty() {
        let left = rest;
        let Ok(member) = WireCodec.decode_member(&mut rest) else { return content.is_ok() };
        let mut again = Vec::new();
        assert!(WireCodec.encode_member(&member, &mut again).is_ok());
        assert_eq!(again, left[..left.len() - rest.len()]);
    }
    content.is_ok() || !data.is_empty()
}

/// `data` as the text of a keyring.
pub fn keyring(data: &[u8]) -> bool {
    let keyring = Keyring::parse(&String::from_utf8_lossy(data));
    if let Ok(keyring) = &keyring {
        assert!(keyring.sealing().is_some(), "a keyring that is taken can seal");
    }
    keyring.is_ok()
}

/// `data` as a join token's text, as a request to be let in and as the answer to one. Nothing made up lets anybody in.
/// Taken is what lets somebody in.
pub fn join(data: &[u8]) -> bool {
    let Ok(name) = Name::new("v1") else { return false };
    let token = format!("tgj_{}", "07".repeat(TOKEN_BYTES));
    let Ok(own) = Joining::new(&token, &name, [1; NONCE_BYTES]) else { return false };
    assert!(own.open(&JoinReply { sealed: data.to_vec() }).is_err(), "an answer that nobody sealed");
    let mut open = Invitations::default();
    assert!(open.invite(name.clone(), Millis(60_000), [7; TOKEN_BYTES], NOW).is_ok());
    if let Ok(asked) = JoinRequest::decode(data) {
        let let_in = open.redeem(&asked, KEY, NOW).is_ok();
        assert_eq!(let_in, asked == own.request(), "no proof, no keyring");
        if let_in {
            return true;
        }
    }
    let text = String::from_utf8_lossy(data);
    let Ok(other) = Joining::new(&text, &name, [1; NONCE_BYTES]) else { return false };
    let let_in = open.redeem(&other.request(), KEY, NOW).is_ok();
    assert_eq!(let_in, text.trim() == token || other.request() == own.request());
    let_in
}
