//! Sealing: round trip, and every way a datagram is refused.

use super::world::{KEY, OTHER_KEY, START_MS, World, addr, node};
use crate::seal::{OVERHEAD, Sealer};
use crate::{DropReason, Effect, Event, Keyring, KeyringError, MAX_DATAGRAM};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tidegate_domain::{Millis, Mono};

fn sealer(keys: &str, who: &str, incarnation: u64) -> Sealer {
    Sealer::new(Keyring::parse(keys).unwrap(), who, incarnation)
}
fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

proptest! {
    #[test]
    fn what_is_sealed_opens_once_and_any_change_does_not(
        payload in prop::collection::vec(any::<u8>(), 0..MAX_DATAGRAM - OVERHEAD), at: prop::sample::Index, bit in 0..8_u32,
    ) {
        let (mut from, mut to) = (sealer(KEY, "a", 1), sealer(KEY, "b", 1));
        let sealed = from.seal(&payload, 5, &mut rng()).unwrap();
        prop_assert!(sealed.len() <= MAX_DATAGRAM);
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= 1 << bit;
        prop_assert!(to.open(&changed, 5).is_err());
        let cut = &sealed[..at.index(sealed.len())];
        let refused = to.open(cut, 5).unwrap_err();
        prop_assert!(matches!(refused, DropReason::Truncated | DropReason::Forged));
        prop_assert_eq!(to.open(&sealed, 5), Ok(payload));
        prop_assert_eq!(to.open(&sealed, 5), Err(DropReason::Replayed));
    }

    #[test]
    fn every_counter_passes_once_within_the_window(
        order in Just((0..1_000_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (mut from, mut to) = (sealer(KEY, "a", 1), sealer(KEY, "b", 1));
        let mut rng = rng();
        let sealed: Vec<_> = (0..1_000).filter_map(|_| from.seal(b"x", 5, &mut rng)).collect();
        for at in &order {
            prop_assert!(to.open(&sealed[*at], 5).is_ok());
        }
        for datagram in &sealed {
            prop_assert_eq!(to.open(datagram, 5), Err(DropReason::Replayed));
        }
    }
}

#[test]
fn what_lies_behind_the_window_is_a_replay() {
    let (mut from, mut to) = (sealer(KEY, "a", 1), sealer(KEY, "b", 1));
    let mut rng = rng();
    let sealed: Vec<_> = (0..1_026).filter_map(|_| from.seal(b"x", 5, &mut rng)).collect();
    assert!(to.open(&sealed[1_025], 5).is_ok());
    assert_eq!(to.open(&sealed[0], 5), Err(DropReason::Replayed));
    assert_eq!(to.open(&sealed[1], 5), Err(DropReason::Replayed));
    assert!(to.open(&sealed[2], 5).is_ok());
    // A later start begins a new window; the earlier one is over.
    let mut restarted = sealer(KEY, "a", 2);
    let newer = restarted.seal(b"x", 5, &mut rng).unwrap();
    assert!(to.open(&newer, 5).is_ok());
    assert_eq!(to.open(&sealed[3], 5), Err(DropReason::Replayed));
}

#[test]
fn each_refusal_has_its_reason() {
    let mut rng = rng();
    let mut to = sealer(KEY, "b", 1);
    let good = sealer(KEY, "a", 1).seal(b"hello", START_MS, &mut rng).unwrap();
    assert_eq!(to.open(&[0; MAX_DATAGRAM + 1], START_MS), Err(DropReason::Oversized));
    assert_eq!(to.open(&good[..OVERHEAD - 1], START_MS), Err(DropReason::Truncated));
    assert_eq!(to.open(&good[..good.len() - 1], START_MS), Err(DropReason::Forged));
    let mut other_version = good.clone();
    other_version[0] = 2;
    assert_eq!(to.open(&other_version, START_MS), Err(DropReason::Version));
    let foreign = sealer(OTHER_KEY, "a", 1).seal(b"hello", START_MS, &mut rng).unwrap();
    assert_eq!(to.open(&foreign, START_MS), Err(DropReason::UnknownKey));
    // The stranger writes our key's id over its own: it still does not open.
    let mut dressed = foreign.clone();
    dressed[1..5].copy_from_slice(&good[1..5]);
    assert_eq!(to.open(&dressed, START_MS), Err(DropReason::Forged));
    // A recording of an hour ago, to one that has just started and knows no counters.
    assert_eq!(to.open(&good, START_MS + 3_600_000), Err(DropReason::Clock));
    assert!(to.open(&good, START_MS).is_ok());
    let own = sealer(KEY, "b", 1).seal(b"hello", START_MS, &mut rng).unwrap();
    assert_eq!(to.open(&own, START_MS), Err(DropReason::Malformed));
    assert!(sealer(KEY, "a", 1).seal(&[0; MAX_DATAGRAM], 1, &mut rng).is_none());
}

#[test]
fn keys_rotate_without_a_gap() {
    let mut rng = rng();
    let both = format!("# new first\n{OTHER_KEY}\n{KEY} # old\n");
    let mut rotated = sealer(&both, "b", 1);
    let old = sealer(KEY, "a", 1).seal(b"old", 5, &mut rng).unwrap();
    assert!(rotated.open(&old, 5).is_ok());
    let new = rotated.seal(b"new", 5, &mut rng).unwrap();
    assert!(sealer(OTHER_KEY, "c", 1).open(&new, 5).is_ok());
    assert_eq!(sealer(KEY, "c", 1).open(&new, 5), Err(DropReason::UnknownKey));
}

#[test]
fn keyrings_are_checked() {
    assert!(matches!(Keyring::parse("# none\n"), Err(KeyringError::Empty)));
    assert!(matches!(Keyring::parse("\nabc"), Err(KeyringError::Line { line: 2 })));
    assert!(matches!(Keyring::parse(&format!("{KEY}\n{KEY}")), Err(KeyringError::Repeated { line: 2 })));
    assert!(!format!("{:?}", Keyring::parse(KEY).unwrap()).contains("0011"), "no key in a log");
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

proptest! {
    #[test]
    fn sealed_nonsense_never_breaks_a_node(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut victim = node(0, START_MS, 1, Mono(1));
        let sealed = sealer(KEY, "x", START_MS).seal(&payload, START_MS, &mut rng()).unwrap();
        victim.handle(Event::Datagram { from: addr(1), bytes: &sealed }, Mono(2));
        prop_assert_eq!(victim.counters().received, 1);
    }
}
