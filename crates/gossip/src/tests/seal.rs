//! Sealing: round trip, and every way a datagram is refused.

use super::world::{KEY, OTHER_KEY, START_MS, World, addr, node};
use crate::identity::{Id, Role, WireCodec};
use crate::post::{Moment, Post, Taken};
use crate::seal::{OVERHEAD, Sealer};
use crate::wire::{Content, Rest, write};
use crate::{DropReason, Effect, Event, Keyring, KeyringError, MAX_DATAGRAM};
use foca::{Codec, Header, Member, Message, State};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tidegate_domain::{Millis, Mono};

pub(super) fn id(who: &str, generation: u64) -> Id {
    let addr = addr(usize::from(who.as_bytes()[0]));
    Id { name: who.into(), addr, generation, role: Role::Prober, salt: 77 }
}
fn post(keys: &str, who: &str, generation: u64) -> Post {
    Post::new(Keyring::parse(keys).unwrap(), id(who, generation))
}
fn at(wall_ms: u64) -> Moment {
    Moment { now: Mono(9_000_000_000), wall_ms }
}
/// What foca says from one to another.
fn said(src: &Id, dst: &Id, message: Message<Id>, rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Header { src: src.clone(), src_incarnation: 3, dst: dst.clone(), message };
    WireCodec.encode_header(&header, &mut out).unwrap();
    out.extend_from_slice(rest);
    out
}
fn nobody(_: u64) -> Option<Id> {
    None
}
fn among(members: &[Id]) -> impl Fn(u64) -> Option<Id> {
    |hash| members.iter().find(|id| id.hash() == hash).cloned()
}

/// A says things to B.
struct Pair {
    a: Post,
    b: Post,
    ids: (Id, Id),
}
impl Pair {
    fn new() -> Self {
        Self { a: post(KEY, "a", 1), b: post(KEY, "b", 1), ids: (id("a", 1), id("b", 1)) }
    }
    fn seal(&mut self, rest: &[u8]) -> Vec<u8> {
        self.a.seal(&said(&self.ids.0, &self.ids.1, Message::Broadcast, rest), at(5)).unwrap().bytes
    }
    fn open(&mut self, bytes: &[u8]) -> Result<Vec<u8>, DropReason> {
        self.b.open(bytes, &nobody, at(5)).map(|taken| taken.payload)
    }
    /// B says something to A: from then on it is known to know A.
    fn answer(&mut self) -> usize {
        let answer = said(&self.ids.1, &self.ids.0, Message::Ack(1), &[]);
        let sealed = self.b.seal(&answer, at(5)).unwrap().bytes;
        // Whoever speaks to a member has it among its own.
        let members = [self.ids.1.clone()];
        assert_eq!(self.a.open(&sealed, &among(&members), at(5)).unwrap().payload, answer);
        sealed.len()
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_once_and_any_change_does_not(
        rest in prop::collection::vec(any::<u8>(), 0..1_200), place: prop::sample::Index, bit in 0..8_u32, known: bool,
    ) {
        let mut pair = Pair::new();
        if known {
            let first = pair.seal(b"x");
            prop_assert!(pair.open(&first).is_ok());
            pair.answer();
        }
        let sealed = pair.seal(&rest);
        prop_assert!(sealed.len() <= MAX_DATAGRAM);
        let mut changed = sealed.clone();
        changed[place.index(sealed.len())] ^= 1 << bit;
        prop_assert!(pair.open(&changed).is_err());
        let cut = &sealed[..place.index(sealed.len())];
        let refused = pair.open(cut).unwrap_err();
        prop_assert!(matches!(refused, DropReason::Truncated | DropReason::Forged));
        prop_assert_eq!(pair.open(&sealed), Ok(said(&pair.ids.0, &pair.ids.1, Message::Broadcast, &rest)));
        prop_assert_eq!(pair.open(&sealed), Err(DropReason::Replayed));
    }

    #[test]
    fn every_counter_passes_once_within_the_window(
        order in Just((0..1_000_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut pair = Pair::new();
        let sealed: Vec<_> = (0..1_000).map(|_| pair.seal(b"x")).collect();
        for at in &order {
            prop_assert!(pair.open(&sealed[*at]).is_ok());
        }
        for datagram in &sealed {
            prop_assert_eq!(pair.open(datagram), Err(DropReason::Replayed));
        }
    }

    #[test]
    fn whatever_a_content_says_it_says_in_one_way(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        crate::fuzzing::codec(&bytes);
    }

    #[test]
    fn sealed_nonsense_never_breaks_a_node(content in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzzing::datagram(&content);
    }
}

#[test]
fn what_lies_behind_the_window_is_a_replay() {
    let mut pair = Pair::new();
    let sealed: Vec<_> = (0..1_026).map(|_| pair.seal(b"x")).collect();
    assert!(pair.open(&sealed[1_025]).is_ok());
    assert_eq!(pair.open(&sealed[0]), Err(DropReason::Replayed));
    assert_eq!(pair.open(&sealed[1]), Err(DropReason::Replayed));
    assert!(pair.open(&sealed[2]).is_ok());
    // A later start begins a new window; the earlier one is over, by whatever name it comes.
    pair.answer();
    let short = pair.seal(b"x");
    pair.ids.0 = id("a", 2);
    pair.a = post(KEY, "a", 2);
    let newer = pair.seal(b"x");
    assert!(pair.open(&newer).is_ok());
    assert_eq!(pair.open(&sealed[3]), Err(DropReason::Replayed));
    assert_eq!(pair.open(&short), Err(DropReason::UnknownMember));
    let members = [id("a", 1), id("a", 2)];
    assert_eq!(pair.b.open(&short, &among(&members), at(5)), Err(DropReason::Replayed));
}

#[test]
fn each_refusal_has_its_reason() {
    let mut to = post(KEY, "b", 1);
    let (a, b) = (id("a", 1), id("b", 1));
    let seal = |keys: &str, from: &Id, to: &Id| {
        let mut post = Post::new(Keyring::parse(keys).unwrap(), from.clone());
        post.seal(&said(from, to, Message::Ping(1), &[]), at(START_MS)).unwrap().bytes
    };
    let open = |to: &mut Post, bytes: &[u8]| to.open(bytes, &nobody, at(START_MS));
    let good = seal(KEY, &a, &b);
    assert_eq!(open(&mut to, &[0; MAX_DATAGRAM + 1]), Err(DropReason::Oversized));
    assert_eq!(open(&mut to, &good[..OVERHEAD - 1]), Err(DropReason::Truncated));
    assert_eq!(open(&mut to, &good[..good.len() - 1]), Err(DropReason::Forged));
    for (version, expected) in [(1, DropReason::OldFormat), (0, DropReason::Version), (3, DropReason::Version)] {
        let mut other = good.clone();
        other[0] = version;
        assert_eq!(open(&mut to, &other), Err(expected));
    }
    let foreign = seal(OTHER_KEY, &a, &b);
    assert_eq!(open(&mut to, &foreign), Err(DropReason::UnknownKey));
    // The stranger writes our key's hint over its own: it still does not open.
    let mut dressed = foreign.clone();
    dressed[1..3].copy_from_slice(&good[1..3]);
    assert_eq!(open(&mut to, &dressed), Err(DropReason::Forged));
    // A recording of an hour ago, to one that knows no counters.
    assert_eq!(to.open(&good, &nobody, at(START_MS + 3_600_000)), Err(DropReason::Clock));
    assert!(open(&mut to, &good).is_ok());
    let own = seal(KEY, &b, &b);
    assert_eq!(open(&mut to, &own), Err(DropReason::Malformed));
    let mut long = Post::new(Keyring::parse(KEY).unwrap(), a.clone());
    assert!(long.seal(&said(&a, &b, Message::Broadcast, &[0; MAX_DATAGRAM]), at(1)).is_none());
    // A holder of the key that uses another one's nonce.
    let mut thief = Sealer::new(Keyring::parse(KEY).unwrap(), id("c", 1).hash());
    let (whole, rest) = (Some((id("d", 1), START_MS)), Rest::Updates(Vec::new()));
    let content = write(&Content { whole, incarnation: 0, tag: 0, number: 1, about: None, rest });
    let stolen = thief.seal(&content, b.hash()).unwrap();
    assert_eq!(open(&mut to, &stolen), Err(DropReason::Malformed));
}

#[test]
fn a_datagram_is_for_one_member_and_one_start_of_it() {
    let (a, b) = (id("a", 1), id("b", 1));
    let mut from = Post::new(Keyring::parse(KEY).unwrap(), a.clone());
    let sealed = from.seal(&said(&a, &b, Message::Ping(1), &[]), at(5)).unwrap().bytes;
    for other in [id("c", 1), id("b", 2), Id { salt: 78, ..id("b", 1) }, Id { role: Role::Observer, ..id("b", 1) }] {
        let mut to = Post::new(Keyring::parse(KEY).unwrap(), other.clone());
        assert_eq!(to.open(&sealed, &nobody, at(5)), Err(DropReason::Misaddressed));
        // With the other's hint it is still for the first one.
        let mut bent = sealed.clone();
        bent[3..5].copy_from_slice(&other.hash().to_be_bytes()[..2]);
        assert_eq!(to.open(&bent, &nobody, at(5)), Err(DropReason::Forged));
    }
    // By the address alone one may announce itself, and nothing else.
    let stand_in = Id::at(b.addr);
    let mut to = Post::new(Keyring::parse(KEY).unwrap(), b.clone());
    let ping = from.seal(&said(&a, &stand_in, Message::Ping(1), &[]), at(5)).unwrap().bytes;
    assert_eq!(to.open(&ping, &nobody, at(5)), Err(DropReason::Misaddressed));
    let announced = from.seal(&said(&a, &stand_in, Message::Announce, &[]), at(5)).unwrap().bytes;
    assert_eq!(to.open(&announced, &nobody, at(5)).unwrap().payload, said(&a, &b, Message::Announce, &[]));
}

#[test]
fn a_sender_is_named_whole_until_it_is_known() {
    let mut pair = Pair::new();
    let whole = pair.seal(b"x");
    assert!(pair.open(&whole).is_ok());
    assert_eq!(pair.seal(b"x").len(), whole.len(), "nothing shows that it is known");
    // Broadcast tag, incarnation and one byte.
    let shortest = OVERHEAD + 3;
    assert_eq!(pair.answer(), OVERHEAD + 3, "it was named whole by whoever asks");
    let short = pair.seal(b"x");
    assert_eq!(short.len(), shortest);
    assert_eq!(pair.open(&short), Ok(said(&pair.ids.0, &pair.ids.1, Message::Broadcast, b"x")));
    // To another start of the same member it is whole again.
    pair.ids.1 = id("b", 2);
    assert_eq!(pair.seal(b"x").len(), whole.len());
    // And under a new identity of its own.
    pair.ids = (id("a", 2), id("b", 1));
    assert!(pair.a.seal(&said(&pair.ids.0, &pair.ids.1, Message::Broadcast, b"x"), at(5)).is_none(), "not yet its own");
    pair.a.set_own(&pair.ids.0);
    let renewed = pair.seal(b"x");
    assert_eq!(renewed.len(), whole.len());
    assert!(pair.open(&renewed).is_ok());
    pair.answer();
    assert_eq!(pair.seal(b"x").len(), shortest);
    // Ten minutes of silence, and nobody is taken to remember.
    let later = Moment { now: Mono(9_000_000_000) + Millis(600_000), wall_ms: 5 };
    let late = pair.a.seal(&said(&pair.ids.0, &pair.ids.1, Message::Broadcast, b"x"), later).unwrap();
    assert_eq!(late.bytes.len(), whole.len());
}

#[test]
fn a_sender_that_others_have_named_is_known_by_its_hash() {
    let mut pair = Pair::new();
    // A has heard of B from others, and B of A: no word was said between them. B speaks first.
    let (a, b) = pair.ids.clone();
    let first = pair.b.seal(&said(&b, &a, Message::Ping(1), &[]), at(5)).unwrap().bytes;
    assert!(pair.a.open(&first, &nobody, at(5)).is_ok());
    let short = pair.seal(b"x");
    assert_eq!(short.len(), OVERHEAD + 3);
    assert_eq!(pair.open(&short), Err(DropReason::UnknownMember));
    let members = [id("c", 1), id("a", 1)];
    assert!(pair.b.open(&short, &among(&members), at(5)).is_ok());
    assert_eq!(pair.b.open(&short, &among(&members), at(5)), Err(DropReason::Replayed));
}

#[test]
fn others_are_named_by_hash_once_all_have_heard_of_them() {
    let mut pair = Pair::new();
    let first = pair.seal(b"x");
    assert!(pair.open(&first).is_ok());
    pair.answer();
    let (a, b, c) = (id("a", 1), id("b", 1), id("c", 1));
    let mut rest = vec![0, 2];
    for member in [Member::new(c.clone(), 7, State::Down), Member::new(b.clone(), 0, State::Suspect)] {
        WireCodec.encode_member(&member, &mut rest).unwrap();
    }
    let gossip = said(&a, &b, Message::Gossip, &rest);
    let asks = said(&a, &b, Message::PingReq { target: c.clone(), probe_number: 9 }, &[]);
    let later = Moment { now: at(5).now + Millis(10_000), wall_ms: 5 };
    pair.a.is_up(&c, at(5).now);
    pair.a.is_up(&b, at(5).now);
    // Nine bytes for an identity of 1 + 1 + 4 + 2 + 1 + 4.
    let saved = 13 - 9;
    for (said, shorter) in [(&gossip, 2 * saved), (&asks, saved)] {
        let whole = pair.a.seal(said, at(5)).unwrap().bytes;
        let short = pair.a.seal(said, later).unwrap().bytes;
        assert_eq!(whole.len() - short.len(), shorter);
        let taken = pair.b.open(&whole, &nobody, at(5)).unwrap();
        assert_eq!((&taken.payload, taken.left_out), (said, 0));
        // By hash it is the same where C is known, and says less where not; B always knows itself.
        let taken = pair.b.open(&short, &nobody, at(5));
        if said == &gossip {
            let taken = taken.unwrap();
            assert_eq!(taken.left_out, 1);
            assert!(taken.payload.len() < said.len());
        } else {
            assert_eq!(taken, Err(DropReason::UnknownMember));
        }
        let again = pair.a.seal(said, later).unwrap().bytes;
        assert_eq!(
            pair.b.open(&again, &among(std::slice::from_ref(&c)), at(5)).unwrap(),
            Taken { payload: said.clone(), left_out: 0 }
        );
        pair.b = post(KEY, "b", 1);
        pair.a
            .seal(said, at(5))
            .map(|sealed| pair.b.open(&sealed.bytes, &among(std::slice::from_ref(&a)), at(5)))
            .unwrap()
            .unwrap();
    }
    // A newcomer is fed whole identities.
    let young = id("d", 1);
    pair.a.is_up(&young, later.now);
    let asks = |dst: &Id| said(&a, dst, Message::IndirectPing { origin: c.clone(), probe_number: 9 }, &[]);
    let (to_young, to_old) = (asks(&young), asks(&id("e", 1)));
    pair.a.is_up(&id("e", 1), at(5).now);
    let lengths = [to_young, to_old].map(|said| pair.a.seal(&said, later).unwrap().bytes.len());
    assert_eq!(lengths[0] - lengths[1], saved);
    let feed = said(&a, &b, Message::Feed, &rest);
    let fed = pair.a.seal(&feed, later).unwrap().bytes;
    assert_eq!(fed.len(), OVERHEAD + 2 + 2 * 14);
}

#[test]
fn who_was_forgotten_must_name_itself_whole() {
    let mut pair = Pair::new();
    let first = pair.seal(b"x");
    assert!(pair.open(&first).is_ok());
    pair.answer();
    let short = pair.seal(b"x");
    let b = pair.ids.1.clone();
    for n in 0..5_000_u32 {
        let other = Id { salt: n, name: format!("c{n}").into(), ..id("c", 1) };
        let mut from = Post::new(Keyring::parse(KEY).unwrap(), other.clone());
        let sealed = from.seal(&said(&other, &b, Message::Ping(1), &[]), at(5)).unwrap().bytes;
        assert!(pair.open(&sealed).is_ok(), "{n}");
    }
    let members = [pair.ids.0.clone()];
    assert_eq!(pair.b.open(&short, &among(&members), at(5)), Err(DropReason::UnknownMember));
}

#[test]
fn keys_rotate_without_a_gap() {
    let both = format!("# new first\n{OTHER_KEY}\n{KEY} # old\n");
    let (a, b, c) = (id("a", 1), id("b", 1), id("c", 1));
    let mut rotated = Post::new(Keyring::parse(&both).unwrap(), b.clone());
    let mut from = post(KEY, "a", 1);
    let old = from.seal(&said(&a, &b, Message::Ping(1), &[]), at(5)).unwrap().bytes;
    assert!(rotated.open(&old, &nobody, at(5)).is_ok());
    let new = rotated.seal(&said(&b, &c, Message::Ping(1), &[]), at(5)).unwrap().bytes;
    assert!(post(OTHER_KEY, "c", 1).open(&new, &nobody, at(5)).is_ok());
    assert_eq!(post(KEY, "c", 1).open(&new, &nobody, at(5)), Err(DropReason::UnknownKey));
}

#[test]
fn keyrings_are_checked() {
    assert!(matches!(Keyring::parse("# none\n"), Err(KeyringError::Empty)));
    assert!(matches!(Keyring::parse("\nabc"), Err(KeyringError::Line { line: 2 })));
    assert!(matches!(Keyring::parse(&format!("{KEY}\n{KEY}")), Err(KeyringError::Repeated { line: 2 })));
    assert!(!format!("{:?}", Keyring::parse(KEY).unwrap()).contains("0011"), "no key in a log");
}

/// The nonces of what a node sends in its first seconds.
fn nonces(seed: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut lone = node(5, START_MS, seed, Mono(1));
    for second in 0..20 {
        for effect in lone.handle(Event::Tick, Mono(1 + second * 1_000_000_000)) {
            if let Effect::Send { bytes, .. } = effect {
                all.push(bytes[5..17].to_vec());
            }
        }
    }
    all
}

#[test]
fn no_nonce_comes_twice_not_even_after_a_start_at_the_same_millisecond() {
    let (first, second) = (nonces(1), nonces(2));
    assert!(first.len() >= 20);
    let distinct: BTreeSet<_> = first.iter().chain(&second).collect();
    assert_eq!(distinct.len(), first.len() + second.len());
}

#[test]
fn a_counter_that_comes_to_its_end_ends_the_identity_and_never_comes_round() {
    let mut sealer = Sealer::new(Keyring::parse(KEY).unwrap(), 1);
    sealer.skip_to(u32::MAX - 1);
    assert!(sealer.seal(b"x", 2).is_some());
    assert!(sealer.seal(b"x", 2).is_none());
    let mut world = World::new(4, 0, 91);
    world.run_until_whole(10_000);
    world.run(10_000);
    world.outputs.clear();
    let before = world.nodes[2].as_ref().unwrap().foca().identity().clone();
    world.nodes[2].as_mut().unwrap().post_mut().sealer_mut().skip_to(u32::MAX - (1 << 19));
    world.run(30_000);
    let node = world.nodes[2].as_ref().unwrap();
    assert_eq!(node.foca().identity().generation, before.generation + 1);
    assert_eq!(node.counters().rejoins, 0);
    assert!(world.whole());
    assert_eq!(world.downs(), Vec::new(), "nobody takes it for a loss");
}

#[test]
fn a_node_counts_forged_truncated_and_replayed_and_lives_on() {
    let mut world = World::new(3, 0, 17);
    world.run_until_whole(10_000);
    let now = world.now + Millis(1);
    let mut stranger = node(9, START_MS, 1, now);
    let sends = stranger.handle(Event::Tick, now);
    let Some(Effect::Send { bytes, .. }) = sends.first() else { panic!("a node announces itself") };
    let mut forged = bytes.clone();
    forged[40] ^= 1;
    let victim = world.nodes[0].as_mut().unwrap();
    for bytes in [&forged[..], &bytes[..20], &[0; 1401], bytes, bytes] {
        victim.handle(Event::Datagram { from: addr(9), bytes }, now);
    }
    let dropped = |reason| victim.counters().dropped(reason);
    assert_eq!(dropped(DropReason::Forged), 1);
    assert_eq!(dropped(DropReason::Truncated), 1);
    assert_eq!(dropped(DropReason::Oversized), 1);
    assert_eq!(dropped(DropReason::Replayed), 1);
    let sum: u64 = DropReason::ALL.iter().map(|reason| dropped(*reason)).sum();
    assert_eq!(sum, 4);
    world.run(1_000);
    assert!(world.live().all(|(_, node)| node.members().len() >= 2));
}
