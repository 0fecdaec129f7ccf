//! Datagrams of somebody who means harm: dropped, counted by reason, and nothing of them stays.

use super::seal::id;
use super::world::{KEY, OTHER_KEY, START_MS, World, addr, node};
use crate::flood::{BURST, FAILING_MAX, Flood, PER_SECOND};
use crate::identity::Id;
use crate::post::{Moment, Post};
use crate::seal::{OVERHEAD, Sealer};
use crate::wire::{Content, Rest, read, write};
use crate::{DropReason, Effect, Event, Keyring, MAX_DATAGRAM, MemberInfo, Node};
use foca::{Codec, Header, Message};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tidegate_domain::{Millis, Mono};

/// A small fleet at rest, and a stranger's own good announcement, not yet seen by anybody.
fn scene(seed: u64) -> (World, Vec<u8>) {
    let mut world = World::new(4, 0, seed);
    world.run_until_whole(10_000);
    let mut stranger = node(9, START_MS + world.now.0 / 1_000_000, seed, world.now);
    let sent = stranger.handle(Event::Tick, world.now);
    let bytes = sent.iter().find_map(|effect| match effect {
        Effect::Send { bytes, .. } => Some(bytes.clone()),
        Effect::Confirm { .. } | Effect::Output(_) => None,
    });
    (world, bytes.expect("a node announces itself"))
}

/// What a stranger says to node 0's address.
fn announcement(keys: &str, src: &Id, wall_ms: u64) -> Vec<u8> {
    let mut post = Post::new(Keyring::parse(keys).unwrap(), src.clone());
    let mut said = Vec::new();
    let header = Header { src: src.clone(), src_incarnation: 0, dst: Id::at(addr(0)), message: Message::Announce };
    crate::identity::WireCodec.encode_header(&header, &mut said).unwrap();
    post.seal(&said, Moment { now: Mono(1), wall_ms }).unwrap().bytes
}

struct Victim<'a> {
    node: &'a mut Node,
    now: Mono,
    sent: u64,
    members: Vec<MemberInfo>,
}
impl<'a> Victim<'a> {
    fn of(world: &'a mut World) -> Self {
        let now = world.now;
        let node = world.nodes[0].as_mut().unwrap();
        // What is due is done: from here on only the hostile datagrams act.
        node.handle(Event::Tick, now);
        let members = node.members();
        Self { node, now, sent: 0, members }
    }
    fn take(&mut self, bytes: &[u8]) -> Option<DropReason> {
        // Each from another address: here the reason is asked for, not the bound.
        self.sent += 1;
        let from = SocketAddr::from((Ipv4Addr::from_bits(0x0a10_0000 + self.sent as u32), 7));
        self.take_from(from, bytes)
    }
    fn take_from(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<DropReason> {
        let before = *self.node.counters();
        let effects = self.node.handle(Event::Datagram { from, bytes }, self.now);
        let after = *self.node.counters();
        let of = |reason: &DropReason| after.dropped(*reason) - before.dropped(*reason);
        let risen: Vec<DropReason> = DropReason::ALL.into_iter().filter(|reason| of(reason) > 0).collect();
        assert!(risen.len() <= 1 && risen.iter().all(|reason| of(reason) == 1));
        assert_eq!(after.received - before.received, u64::from(risen.is_empty()));
        if !risen.is_empty() {
            assert_eq!(effects, Vec::new(), "nobody is answered");
            assert_eq!(self.node.members(), self.members, "membership stands");
        }
        risen.first().copied()
    }
}

#[test]
fn every_shortening_is_dropped() {
    let (mut world, good) = scene(71);
    let mut victim = Victim::of(&mut world);
    for length in 0..good.len() {
        let expected = if length < OVERHEAD { DropReason::Truncated } else { DropReason::Forged };
        assert_eq!(victim.take(&good[..length]), Some(expected), "{length} bytes");
    }
    assert_eq!(victim.take(&good), None, "whole it is good");
}

#[test]
fn every_flipped_bit_is_dropped() {
    let (mut world, good) = scene(73);
    let mut victim = Victim::of(&mut world);
    let mut seen = Vec::new();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let reason = victim.take_from(addr(1), &bytes).expect("dropped");
        let expected = match bit / 8 {
            0 => DropReason::Version,
            1..3 => DropReason::UnknownKey,
            3..5 => DropReason::Misaddressed,
            _ => DropReason::Forged,
        };
        assert_eq!(reason, expected, "bit {bit}");
        seen.push(reason);
    }
    assert_eq!(seen.len(), good.len() * 8);
    assert_eq!(victim.take(&good), None, "as it was it is good");
}

#[test]
fn replays_strangers_and_giants_are_dropped() {
    let (mut world, good) = scene(79);
    let mut victim = Victim::of(&mut world);
    assert_eq!(victim.take(&[good.as_slice(), &[0; MAX_DATAGRAM]].concat()), Some(DropReason::Oversized));
    assert_eq!(victim.take(&[]), Some(DropReason::Truncated));
    assert_eq!(victim.take(&[good.as_slice(), &[0]].concat()), Some(DropReason::Forged));
    let foreign = announcement(OTHER_KEY, &id("x", START_MS), START_MS);
    assert_eq!(victim.take(&foreign), Some(DropReason::UnknownKey));
    assert_eq!(victim.take(&good), None);
    victim.members = victim.node.members();
    for _ in 0..3 {
        assert_eq!(victim.take(&good), Some(DropReason::Replayed));
    }
}

#[test]
fn what_is_far_away_in_time_is_dropped() {
    let (mut world, _) = scene(83);
    let mut victim = Victim::of(&mut world);
    let now_ms = START_MS + victim.now.0 / 1_000_000;
    for (i, wall) in [0, 1, now_ms - 3_600_000, now_ms + 3_600_000, u64::MAX].into_iter().enumerate() {
        let bytes = announcement(KEY, &id(&format!("x{i}"), wall), wall);
        assert_eq!(victim.take(&bytes), Some(DropReason::Clock), "wall clock {wall}");
    }
}

#[test]
fn a_source_that_fails_is_bounded_and_members_are_heard_meanwhile() {
    let mut world = World::new(4, 0, 89);
    world.run_until_whole(10_000);
    world.run(1_000);
    let (rubbish, stranger) = ([2_u8; 200], SocketAddr::from(([203, 0, 113, 9], 1)));
    let started = world.now;
    // 1,000 a second for ten seconds, half of them under a member's own address.
    for _ in 0..10_000 {
        world.event(0, Event::Datagram { from: stranger, bytes: &rubbish });
        world.event(0, Event::Datagram { from: addr(1), bytes: &rubbish });
        world.run(1);
    }
    let node = world.nodes[0].as_ref().unwrap();
    let tried = node.counters().dropped(DropReason::UnknownKey) - 10_000;
    let seconds = world.now.since(started).0 / 1_000 + 1;
    assert!(tried <= u64::from(BURST) + u64::from(PER_SECOND) * seconds, "{tried} tried");
    assert!(tried >= u64::from(BURST) + u64::from(PER_SECOND) * (seconds - 2), "{tried} tried");
    assert_eq!(tried + node.counters().dropped(DropReason::Flood), 10_000);
    assert!(world.whole());
    assert_eq!(world.downs(), Vec::new());
}

#[test]
fn the_memory_of_sources_is_bounded_and_quiet_ones_are_forgotten() {
    let ip = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(n));
    let at = |ms: u64| Mono(1_000_000_000) + Millis(ms);
    let mut flood = Flood::new(at(0));
    let mut tried = 0;
    // Every datagram from another address, 100 a millisecond.
    for n in 0..100_000 {
        let now = at(u64::from(n) / 100);
        if flood.may_try(ip(n), now) {
            tried += 1;
            flood.failed(ip(n), now);
        }
    }
    assert!(flood.remembered().0 <= FAILING_MAX);
    assert!(tried <= FAILING_MAX + BURST as usize + PER_SECOND as usize + 1, "{tried} tried");
    // An address of which something opened goes on, and for a minute only.
    flood.opened(ip(7), at(2_000));
    assert!((0..1_000).all(|_| {
        flood.failed(ip(7), at(2_000));
        flood.may_try(ip(7), at(2_000))
    }));
    (0..1_000).for_each(|_| flood.failed(ip(7), at(62_000)));
    assert!(!flood.may_try(ip(7), at(62_000)));
    // Later the quiet ones have made room for a new one.
    flood.failed(ip(200_000), at(120_000));
    assert!(flood.remembered().0 <= 2, "{:?}", flood.remembered());
    for n in 0..10_000 {
        flood.opened(ip(n), at(120_000));
    }
    assert!(flood.remembered().1 <= 4096);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// A holder of the key that has gone wrong: any part of a good message, and any change of it, sealed well.
    #[test]
    fn sealed_pieces_of_messages_never_break_a_node(
        at: prop::sample::Index, cut: prop::sample::Index, flip: u8, grow in prop::collection::vec(any::<u8>(), 0..40),
        head: bool,
    ) {
        let mut world = World::new(2, 0, 97);
        world.run(2_000);
        let own = world.nodes[0].as_ref().unwrap().foca().identity().hash();
        // What node 1 says next, opened by one who holds the key.
        let mut contents = Vec::new();
        for effect in world.nodes[1].as_mut().unwrap().handle(Event::Leave, world.now) {
            if let Effect::Send { bytes, .. } = effect {
                let spy = Sealer::new(Keyring::parse(KEY).unwrap(), 1);
                contents.push(spy.open(&bytes, &[own]).unwrap().content);
            }
        }
        prop_assert!(!contents.is_empty());
        let content = read(&contents[0]).unwrap();
        prop_assert!(matches!(&content.rest, Rest::Updates(updates) if !updates.is_empty()), "a leave is told as an update");
        let mallory = id("mallory", START_MS + 9_000);
        let head_length = write(&Content { rest: Rest::Updates(Vec::new()), whole: Some((mallory.clone(), START_MS)), ..content.clone() }).len();
        let mut bytes = write(&Content { whole: Some((mallory.clone(), START_MS)), ..content });
        // The whole of it, or the updates alone.
        let begins = if head { 0 } else { head_length };
        let place = begins + at.index(bytes.len() - begins);
        bytes[place] ^= flip;
        bytes.truncate(begins + cut.index(bytes.len() - begins + 1));
        bytes.extend(&grow);
        let sealed = Sealer::new(Keyring::parse(KEY).unwrap(), mallory.hash()).seal(&bytes, own).unwrap();
        let victim = world.nodes[0].as_mut().unwrap();
        let counted = |node: &Node| {
            let sum: u64 = DropReason::ALL.iter().map(|reason| node.counters().dropped(*reason)).sum();
            (node.counters().received, sum)
        };
        let before = counted(victim);
        victim.handle(Event::Datagram { from: addr(7), bytes: &sealed }, world.now);
        let after = counted(victim);
        prop_assert!(after.0 == before.0 + 1 || after.1 == before.1 + 1);
        world.nodes[1] = None;
        world.run(10_000);
        prop_assert!(world.nodes[0].as_ref().unwrap().next_deadline().is_some());
    }
}
