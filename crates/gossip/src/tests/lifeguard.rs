//! Doubt: of oneself, and of a suspicion before it becomes a Down.

use super::world::{World, addr, name};
use crate::Counters;
use crate::identity::{Id, Role};
use crate::lifeguard::{Accused, Ended, HELD_MAX, LocalHealth, Suspicions};
use foca::Timer;
use proptest::prelude::*;
use std::sync::Arc;
use tidegate_domain::{Millis, Mono};

fn counted(world: &World, i: usize, pick: fn(&Counters) -> u64) -> u64 {
    world.nodes[i].as_ref().map_or(0, |node| pick(node.counters()))
}
fn downs_said_by(world: &World, i: usize) -> usize {
    world.downs().iter().filter(|(_, by, _)| *by == i).count()
}

#[test]
fn late_loops_and_unanswered_probes_are_doubt_and_pass() {
    let at = |ms: u64| Mono(1_000_000_000) + Millis(ms);
    let mut health = LocalHealth::default();
    assert!(!health.doubts(at(0)));
    health.late(at(0));
    assert!(health.doubts(at(999)));
    assert!(!health.doubts(at(1_000)));
    // One dead member probed twice says nothing of us; two do; an answer in between does not clear it.
    health.probed(Some(addr(1)), Millis(500), at(1_000));
    health.probed(Some(addr(1)), Millis(500), at(1_500));
    assert!(!health.doubts(at(1_500)));
    health.probed(Some(addr(2)), Millis(500), at(2_000));
    assert!(health.doubts(at(2_000)));
    health.probed(None, Millis(500), at(2_500));
    assert!(health.doubts(at(2_500)));
    health.probed(None, Millis(500), at(3_000));
    assert!(!health.doubts(at(3_000)));
    // Alone, nobody is probed any more: old failures do not stay.
    health.probed(Some(addr(3)), Millis(500), at(3_500));
    health.probed(Some(addr(4)), Millis(500), at(4_000));
    assert!(health.doubts(at(5_250)));
    assert!(!health.doubts(at(5_251)));
}

fn accused() -> Accused {
    Accused { addr: addr(1), generation: 7, incarnation: 3 }
}
fn timer(token: u8) -> Timer<Id> {
    let member_id = Id { name: Arc::from("v1"), addr: addr(1), generation: 7, role: Role::Prober, salt: 0 };
    Timer::ChangeSuspectToDown { member_id, incarnation: 3, token }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_suspicion_ends(steps in prop::collection::vec((any::<bool>(), any::<Option<bool>>(), any::<bool>()), 64)) {
        let mut suspicions = Suspicions::default();
        prop_assert!(suspicions.raise(accused(), timer(0)));
        let mut held = 0;
        let mut steps = steps.into_iter();
        loop {
            let (doubting, answer, again) = steps.next().expect("it ends long before");
            if again {
                prop_assert!(!suspicions.raise(accused(), timer(1)));
            }
            let number = suspicions.ask(&accused()).expect("it stands");
            // An answer to another question is none.
            suspicions.answered(number + 1, true);
            suspicions.answered(number - 1, true);
            if let Some(reached) = answer {
                suspicions.answered(number, reached);
            }
            match suspicions.end(&accused(), doubting) {
                Ended::InDoubt(wait) => {
                    prop_assert!(doubting);
                    held += wait.0;
                }
                Ended::Reached(wait) => {
                    prop_assert_eq!(answer, Some(true));
                    held += wait.0;
                }
                Ended::Stands { .. } => break,
                Ended::Unknown => prop_assert!(false, "lost"),
            }
            prop_assert!(held <= HELD_MAX.0);
        }
        prop_assert_eq!(suspicions.len(), 0);
        prop_assert!(matches!(suspicions.end(&accused(), false), Ended::Unknown));
    }
}

#[test]
fn the_newest_timer_of_a_suspicion_is_the_one_that_foca_gets() {
    let mut suspicions = Suspicions::default();
    assert!(suspicions.raise(accused(), timer(4)));
    assert!(!suspicions.raise(accused(), timer(5)));
    let Ended::Stands { timer: got, .. } = suspicions.end(&accused(), false) else { panic!("nothing holds it") };
    assert_eq!(got, timer(5));
}

#[test]
fn a_deaf_member_doubts_itself_and_holds_its_suspicions_back() {
    let mut world = World::new(8, 0, 41);
    world.run_until_whole(10_000);
    world.outputs.clear();
    // Nothing reaches node 5, neither datagrams nor answers.
    world.cut = Box::new(|_, to| to == 5);
    let cut = world.now;
    let mut doubted = None;
    while downs_said_by(&world, 5) < 7 {
        world.run(20);
        let since = world.now.since(cut).0;
        if world.nodes[5].as_ref().is_some_and(|node| node.doubts_itself(world.now)) {
            doubted.get_or_insert(since);
        }
        // Seven probes of half a second, a suspicion, and the most that it is held.
        assert!(since <= 8 * 500 + 2_000 + HELD_MAX.0, "held for ever: {} of 7", downs_said_by(&world, 5));
    }
    assert!(doubted.is_some_and(|after| after <= 1_600), "{doubted:?}");
    assert!(counted(&world, 5, |c| c.held_in_doubt) > 0);
    assert_eq!(counted(&world, 5, |c| c.held_reached), 0);
    let first = world.downs().iter().find(|(_, by, _)| *by == 5).map(|(at, ..)| at.since(cut).0);
    assert!(first.is_some_and(|at| at >= 4_000), "its first Down came after {first:?} ms");
    // The others have no reason to doubt themselves: what they do not hear is one member.
    assert!((0..8).filter(|i| *i != 5).all(|i| counted(&world, i, |c| c.held_in_doubt) == 0));
    world.cut = Box::new(|_, _| false);
    world.run_until_whole(15_000);
}

#[test]
fn a_deafness_of_three_seconds_accuses_nobody() {
    let mut world = World::new(8, 0, 43);
    world.run_until_whole(10_000);
    world.outputs.clear();
    world.cut = Box::new(|_, to| to == 5);
    world.run(3_000);
    world.cut = Box::new(|_, _| false);
    world.run(6_000);
    assert!(counted(&world, 5, |c| c.held_in_doubt) > 0, "no suspicion was held: the test shows nothing");
    assert_eq!(downs_said_by(&world, 5), 0);
}

/// Datagrams to and from node 3 are cut for `ms`, TCP is not.
fn datagrams_cut(ms: u64) -> World {
    let mut world = World::new(6, 0, 47);
    world.run_until_whole(10_000);
    world.outputs.clear();
    world.tcp_passes = true;
    world.cut = Box::new(|from, to| from == 3 || to == 3);
    world.run(ms);
    world.cut = Box::new(|_, _| false);
    world
}

#[test]
fn a_suspect_that_is_reached_directly_gets_one_more_time() {
    // Longer than a suspicion alone, shorter than one that is held back.
    let mut world = datagrams_cut(3_500);
    world.run(8_000);
    let by_others =
        |pick: fn(&Counters) -> u64| (0..6).filter(|i| *i != 3).map(|i| counted(&world, i, pick)).sum::<u64>();
    assert!(by_others(|c| c.held_reached) > 0);
    assert_eq!(world.downs(), Vec::new(), "it came back within the time that it was given");
}

#[test]
fn to_be_reached_directly_does_not_help_for_ever() {
    let world = datagrams_cut(10_000);
    let down = world.downs();
    assert!((0..6).filter(|i| *i != 3).all(|i| down.iter().any(|(_, by, who)| *by == i && *who == name(3))));
}

#[test]
fn the_question_costs_a_real_death_no_time() {
    // The odd one never answers, the even one refuses.
    for (victim, seed) in [(4, 51), (5, 52)] {
        let mut world = World::new(8, 0, seed);
        world.run_until_whole(10_000);
        world.outputs.clear();
        world.nodes[victim] = None;
        let killed = world.now;
        while world.downs().is_empty() {
            world.run(10);
        }
        // At worst seven probes, then the suspicion's 2 s and not the question's half second.
        let first = world.downs()[0].0.since(killed).0;
        assert!(first <= 8 * 500 + 2_000, "{first} ms");
        let asked: u64 = (0..8).map(|i| counted(&world, i, |c| c.confirms)).sum();
        assert!(asked > 0, "nobody asked");
    }
}
