//! The machine as a whole, in virtual time.

use super::world::{World, list, target};
use crate::{Effect, Ended, Event, Prober, RUNNING_MAX, Skip, Target, Tuning};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use tidegate_domain::TargetState::{Failing, Ok, Unseen};
use tidegate_domain::{Check, Millis, Mono};
use tidegate_gossip::OwnReport;

fn report_of(effect: Effect) -> Option<OwnReport> {
    match effect {
        Effect::Report(report) => Some(report),
        _ => None,
    }
}

fn skips(world: &mut World, why: Skip) -> usize {
    world.take(|effect| (effect == Effect::Skipped(why)).then_some(())).len()
}

fn probes(world: &mut World, of: usize) -> Vec<u64> {
    let start = |effect| match effect {
        Effect::Probe { target, .. } if target == of => Some(()),
        _ => None,
    };
    world.take(start).into_iter().map(|(at, ())| at).collect()
}

fn ten() -> World {
    World::with(list(1, (0..10).map(|i| target(&format!("e{i}"), 500)).collect()))
}

#[test]
fn probes_keep_their_schedule() {
    let mut world = ten();
    world.run(5_000);
    let starts = world.take(|effect| match effect {
        Effect::Probe { target, planned, .. } => Some((target, planned)),
        _ => None,
    });
    for of in 0..10 {
        let at: Vec<u64> = starts.iter().filter(|(_, (target, _))| *target == of).map(|(at, _)| *at).collect();
        let first = 50 * of as u64;
        let wanted: Vec<u64> = (0..).map(|beat| first + 500 * beat).take_while(|at| *at <= 5_000).collect();
        assert_eq!(at, wanted, "target {of}: on its beat, apart from the others");
    }
}

#[test]
fn a_late_tick_says_how_late_it_is_and_the_beat_stays() {
    let mut world = ten();
    world.run(99);
    world.freeze(30);
    world.run(500);
    let starts = world.take(|effect| match effect {
        Effect::Probe { target: 2, planned, .. } => Some(planned.0 / 1_000_000 - 1_000),
        _ => None,
    });
    assert_eq!(starts, [(129, 100), (600, 600)]);
}

#[test]
fn a_pause_voids_what_straddles_it_and_brings_doubt() {
    let mut touchy = target("touchy", 500);
    touchy.check.unhealthy_after = 1;
    let mut world = World::with(list(1, vec![touchy.clone(), target("other", 500)]));
    world.run(1_999);
    // A probe that fails is in flight, and nobody is there to hear of it.
    world.answer = Box::new(|_| Some((Ended::Connect, 40)));
    world.run(6);
    world.answer = Box::new(|_| Some((Ended::Ok, 1)));
    world.take(Some);
    world.freeze(900);
    let woken = world.ms();
    world.run(3_000);
    let told = world.take(Some);
    assert_eq!(told[..2], [(woken, Effect::Paused), (woken, Effect::Skipped(Skip::Voided))]);
    let reports: Vec<_> = told.into_iter().filter_map(|(at, effect)| Some((at, report_of(effect)?))).collect();
    assert!(reports.iter().all(|(_, report)| report.states == [Ok; 2]), "the failure does not count");
    let (doubt, clear): (Vec<_>, Vec<_>) = reports.iter().partition(|(_, report)| report.own.self_doubt);
    assert!(doubt.len() >= 4 && doubt.iter().all(|(at, _)| *at < woken + 1_000), "two rounds of 500 ms");
    assert_eq!(doubt[0].0, woken, "told at once");
    assert!(clear.iter().all(|(at, _)| *at >= woken + 1_000));
    assert!(clear.first().is_some_and(|(at, _)| *at <= woken + 1_050), "and as soon as it ends");
}

#[test]
fn a_report_is_told_at_once_on_a_change_and_confirmed_four_times_a_second() {
    let mut world = ten();
    world.run(2_000);
    world.take_reports();
    world.run(2_000);
    let steady = world.take_reports();
    assert!(steady.windows(2).all(|pair| pair[1].0 - pair[0].0 == 250));
    assert_eq!(steady.len(), 8);
    // Two failures in a row of the target on the beat of 100 ms.
    world.answer = Box::new(|name| Some(if name == "e2" { (Ended::Status, 7) } else { (Ended::Ok, 1) }));
    world.run(1_000);
    let told = world.take_reports();
    let (at, report) = told.iter().find(|(_, report)| report.states[2] == Failing).expect("it fails");
    assert_eq!(*at, 4_607, "with the second failure, not with the next confirmation");
    assert_eq!(report.states.iter().filter(|state| **state == Ok).count(), 9);
    assert_eq!(report.rtt.len(), 10);
}

#[test]
fn a_hundred_results_at_once_make_one_report() {
    let mut targets: Vec<Target> = (0..100).map(|i| target(&format!("e{i}"), 500)).collect();
    targets.iter_mut().for_each(|t| t.check.unhealthy_after = 1);
    let mut world = World::with(list(1, targets));
    world.answer = Box::new(|_| None);
    world.run(600);
    let asked = world.take(|effect| match effect {
        Effect::Probe { list, target, .. } => Some((list, target)),
        _ => None,
    });
    assert_eq!(asked.len(), 100);
    let (started, took) = (world.now(), Duration::from_millis(1));
    for (_, (list, target)) in asked {
        world.feed(Event::Probed { list, target, started, ended: Ended::Connect, took, opened: None });
    }
    assert!(world.take_reports().is_empty(), "results alone tell nothing");
    assert!(world.prober.next_deadline() <= Some(world.now()), "but a tick is wanted now");
    world.run(0);
    let told = world.take_reports();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.states, [Failing; 100]);
}

#[test]
fn a_list_that_changes_drops_old_results_and_keeps_what_stands_in_both() {
    let (a, b, c) = (target("a", 500), target("b", 500), target("c", 500));
    let mut world = World::with(list(1, vec![a.clone(), b.clone()]));
    world.run(2_000);
    world.answer = Box::new(|name| (name != "a").then_some((Ended::Ok, 1)));
    world.run(600);
    let asked = |effect| match effect {
        Effect::Probe { list, target: 0, .. } => Some(list),
        _ => None,
    };
    let number = world.take(asked).last().expect("a is in flight").1;
    let mut elsewhere = a.clone();
    elsewhere.port = 81;
    world.feed(Event::List(list(2, vec![c, b, elsewhere])));
    world.run(0);
    let told = world.take_reports();
    let report = &told.last().expect("told at once").1;
    assert_eq!(report.revision_short, list(2, vec![]).revision.short());
    assert_eq!(report.states, [Unseen, Ok, Unseen], "what is the same in both keeps its state");
    // The old list's result comes in now: index 0 means another target.
    let (started, took) = (world.now(), Duration::from_millis(1));
    for _ in 0..3 {
        world.feed(Event::Probed { list: number, target: 0, started, ended: Ended::Connect, took, opened: None });
    }
    assert!(world.take(Some).is_empty(), "no word of it");
    world.run(400);
    assert_eq!(world.take_reports().last().expect("told").1.states, [Ok, Ok, Unseen], "a is as silent as before");
}

#[test]
fn a_target_of_another_vantage_is_listed_and_not_probed() {
    let mut other = target("b", 500);
    other.assigned = false;
    let mut world = World::with(list(1, vec![target("a", 500), other]));
    world.run(2_000);
    assert!(world.told.iter().all(|(_, effect)| !matches!(effect, Effect::Probe { target: 1, .. })));
    assert_eq!(world.take_reports().last().expect("a report").1.states, [Ok, Unseen]);
}

#[test]
fn one_probe_of_a_target_is_in_flight() {
    let mut world = World::with(list(1, vec![target("a", 500)]));
    world.answer = Box::new(|_| Some((Ended::Ok, 800)));
    world.run(5_200);
    let told = std::mem::take(&mut world.told);
    world.told = told.clone();
    assert_eq!(probes(&mut world, 0), [0, 1_000, 2_000, 3_000, 4_000, 5_000], "each after the last one's end");
    world.told = told;
    assert_eq!(skips(&mut world, Skip::StillRunning), 5);
}

#[test]
fn a_target_across_the_world_is_not_accused_for_it() {
    let far = |name: &str| Target {
        check: Check { timeout: Millis(400), unhealthy_after: 2, ..target(name, 500).check },
        ..target(name, 500)
    };
    let mut world = World::with(list(1, vec![far("far"), far("hung"), far("near")]));
    // 210 ms away: two round trips and some work do not fit 400 ms. The hung one is as far and answers nothing.
    world.answer = Box::new(|name| match name {
        "far" => Some((Ended::Ok, 430)),
        "hung" => Some((Ended::Ok, 60_000)),
        _ => Some((Ended::Ok, 3)),
    });
    world.opens = Box::new(|name| Some(if name == "near" { 1 } else { 210 }));
    world.run(10_000);
    let counted = world.take(Some);
    let too_far = counted.iter().filter(|(_, e)| *e == Effect::Skipped(Skip::TooFar)).count();
    assert_eq!(too_far, 2, "the first probe of each of both");
    let states = |i: usize| {
        let of = |(at, effect): &(u64, Effect)| match effect {
            Effect::Counted { target, changed: Some(state), .. } if *target == i => Some((*at, *state)),
            _ => None,
        };
        counted.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert!(matches!(states(0)[..], [(_, Ok)]), "{:?}", states(0));
    assert!(matches!(states(1)[..], [(at, Failing)] if at < 2_000), "{:?}", states(1));
    assert!(matches!(states(2)[..], [(_, Ok)]), "{:?}", states(2));
}

#[test]
fn a_result_counts_once() {
    let mut world = World::with(list(1, vec![target("a", 500)]));
    world.answer = Box::new(|_| None);
    world.run(0);
    let asked = world.take(|effect| matches!(effect, Effect::Probe { .. }).then_some(()));
    assert_eq!(asked.len(), 1);
    let (started, took) = (world.now(), Duration::from_millis(1));
    let result = |target| Event::Probed { list: 1, target, started, ended: Ended::Ok, took, opened: None };
    world.feed(result(0));
    assert_eq!(world.take(Some), [(0, Effect::Counted { target: 0, ended: Ended::Ok, changed: Some(Ok) })]);
    world.feed(result(0));
    world.feed(result(7));
    assert!(world.take(Some).is_empty(), "nobody asked for these");
}

#[test]
fn what_runs_at_once_is_bounded() {
    let targets: Vec<_> = (0..3_000).map(|i| target(&format!("e{i}"), 500)).collect();
    let mut world = World::with(list(1, targets));
    world.reached = false;
    world.answer = Box::new(|_| Some((Ended::Ok, 1_000)));
    world.run(499);
    let told = world.take(Some);
    let count = |of: fn(&Effect) -> bool| told.iter().filter(|(_, effect)| of(effect)).count();
    let probes = count(|effect| matches!(effect, Effect::Probe { .. }));
    assert_eq!(probes + count(|effect| matches!(effect, Effect::Reference { .. })), RUNNING_MAX);
    let refused = count(|effect| *effect == Effect::Skipped(Skip::TooMany));
    assert_eq!(probes + refused, 2_995, "every start that was due, either way");
    // Places come free again as results come in.
    world.answer = Box::new(|_| Some((Ended::Ok, 1)));
    world.run(2_000);
    world.take(Some);
    world.run(500);
    let told = world.take(Some);
    assert_eq!(told.iter().filter(|(_, effect)| matches!(effect, Effect::Probe { .. })).count(), 3_000);
    assert!(told.iter().all(|(_, effect)| !matches!(effect, Effect::Skipped(_))));
}

#[test]
fn names_are_looked_up_and_a_failed_answer_keeps_the_last_set() {
    let addresses: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
    let mut named = target("a", 500);
    named.host = "a.example".to_owned();
    let mut world = World::with(list(1, vec![named]));
    world.found = addresses.clone();
    let to = |effect| match effect {
        Effect::Probe { to, .. } => Some(to.ip()),
        _ => None,
    };
    world.run(100);
    assert_eq!(world.told[0], (0, Effect::Skipped(Skip::Unresolved)));
    world.take(Some);
    world.run(2_000);
    let used: Vec<IpAddr> = world.take(to).into_iter().map(|(_, ip)| ip).collect();
    assert_eq!(used, [addresses[0], addresses[1], addresses[0], addresses[1]], "by turns");
    world.found = Vec::new();
    world.run(20_000);
    let told = world.take(Some);
    let asked = told.iter().filter(|(_, effect)| matches!(effect, Effect::Resolve { .. })).count();
    assert_eq!(asked, 9, "5 s after the good answer, then every 2 s");
    assert!(told.iter().all(|(_, effect)| !matches!(effect, Effect::Skipped(_))), "the addresses stay");
}

#[test]
fn a_name_whose_look_up_hangs_is_asked_for_once() {
    let mut named = target("a", 500);
    named.host = "a.example".to_owned();
    let mut prober = Prober::new(Tuning::default());
    let mut now = Mono(1_000_000_000);
    let mut asked = prober.handle(Event::List(list(1, vec![named])), now);
    for _ in 0..1_000 {
        asked.extend(prober.handle(Event::Tick, now));
        now = now + Millis(50);
    }
    assert_eq!(asked.iter().filter(|effect| matches!(effect, Effect::Resolve { .. })).count(), 1);
}

#[test]
fn a_question_that_cannot_be_put_says_nothing_of_the_target() {
    let mut world = World::with(list(1, vec![target("a", 500)]));
    world.answer = Box::new(|_| None);
    world.run(0);
    world.take(Some);
    world.feed(Event::NotAsked { list: 1, target: 0 });
    assert_eq!(world.take(Some), [(0, Effect::Skipped(Skip::BadName))]);
    world.run(500);
    assert_eq!(probes(&mut world, 0), [500], "its place is free");
    world.feed(Event::NotAsked { list: 1, target: 0 });
    world.run(300);
    assert_eq!(world.take_reports().last().expect("told").1.states, [Unseen]);
}

#[test]
fn references_are_tried_every_second_and_a_cut_is_told() {
    let mut world = ten();
    world.run(10);
    assert_eq!(world.take_reports().last().expect("told").1.own.references_reached, 2);
    world.reached = false;
    world.run(1_900);
    let told = world.take_reports();
    assert!(told.iter().all(|(_, report)| report.own.references_reached == 2), "one failure is no cut");
    world.run(1_000);
    let told = world.take_reports();
    let cut = told.iter().find(|(_, report)| report.own.references_reached < 2).expect("told");
    assert_eq!((cut.0, cut.1.own.references_reached, cut.1.own.reference_networks), (2_800, 0, 0));
}

/// Whoever comes back after a cut would accuse what is well, with a vote that counts again, until each target has answered
/// often enough.
#[test]
fn what_was_seen_while_cut_off_is_forgotten() {
    for from_the_start in [false, true] {
        let mut targets: Vec<Target> = (0..10).map(|i| target(&format!("e{i}"), 500)).collect();
        targets[3].check.unhealthy_after = 1;
        let mut world = World::with(list(1, targets));
        world.reached = !from_the_start;
        world.run(if from_the_start { 0 } else { 5_000 });
        world.reached = false;
        world.answer = Box::new(|_| Some((Ended::Timeout, 900)));
        world.run(8_000);
        let cut = world.take_reports().pop().expect("told").1;
        assert_eq!((cut.own.references_reached, cut.states), (0, vec![Failing; 10]));
        world.reached = true;
        let reached =
            |world: &mut World| world.take_reports().pop().is_some_and(|(_, r)| r.own.references_reached == 2);
        let waited = (0..1_100).find(|_| {
            world.run(1);
            reached(&mut world)
        });
        let again = world.ms();
        assert!(waited.is_some(), "the references are reached again");
        world.answer = Box::new(|name| Some((if name == "e7" { Ended::Status } else { Ended::Ok }, 1)));
        world.run(4_000);
        let told = world.take_reports();
        // What was in flight since before tells nothing; of what is well nobody hears a bad word.
        assert!(told.iter().all(|(_, r)| (0..10).all(|e| e == 7 || matches!(r.states[e], Ok | Unseen))), "{told:#?}");
        let (doubt, clear): (Vec<_>, Vec<_>) = told.iter().partition(|(_, r)| r.own.self_doubt);
        assert!(doubt.iter().all(|(at, _)| *at < again + 1_000), "two rounds");
        let (at, first) = clear.first().expect("the doubt ends");
        assert!((again + 1_000..=again + 1_050).contains(at), "{at}");
        assert!((0..10).all(|e| first.states[e] == if e == 7 { Failing } else { Ok }), "{first:?}");
    }
}

#[test]
fn references_that_are_away_alone_bring_no_doubt() {
    let mut world = ten();
    world.run(2_000);
    world.reached = false;
    world.run(4_000);
    world.reached = true;
    world.take_reports();
    world.run(4_000);
    let told = world.take_reports();
    assert!(told.iter().any(|(_, r)| r.own.references_reached == 0), "there was a cut");
    assert!(told.iter().all(|(_, r)| r.states == [Ok; 10] && !r.own.self_doubt), "{told:#?}");
}

#[test]
fn without_a_list_nothing_is_done_and_a_tick_is_wanted_all_the_same() {
    let mut world = World::new();
    assert_eq!(world.prober.next_deadline(), None);
    world.run(3_000);
    assert!(world.told.is_empty(), "no pause either: the ticks that it wants are enough");
}

/// One step of a careless driver: results of any list and target, stale starts, long silences.
fn careless(step: (u8, u64, usize, u64), now: Mono) -> Event {
    let (kind, list, target, back) = step;
    let started = Mono(now.0.saturating_sub(back * 1_000_000));
    let took = Duration::from_millis(back);
    match kind {
        0 => Event::List(super::world::list(1, (0..target).map(|i| self::target(&format!("e{i}"), 50)).collect())),
        1 | 2 => Event::Probed { list, target, started, ended: Ended::Ok, took, opened: None },
        3 => Event::Probed { list, target, started, ended: Ended::Timeout, took, opened: None },
        4 => Event::NotAsked { list, target },
        5 => Event::Reference { list, index: target, started, reached: back % 2 == 0 },
        6 => Event::Resolved { host: format!("h{target}"), addresses: Vec::new() },
        _ => Event::Tick,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_in_one_probe_of_a_target_is_in_flight_and_a_tick_is_wanted_soon(
        steps in prop::collection::vec(((0_u8..12, 0_u64..6, 0_usize..5, 0_u64..600), 0_u64..60), 1..200),
    ) {
        let mut prober = Prober::new(Tuning::default());
        let (mut now, mut lists) = (Mono(1_000_000_000), 0);
        let mut in_flight = BTreeSet::new();
        for (step, pass) in steps {
            now = now + Millis(pass);
            let event = careless(step, now);
            match &event {
                Event::List(_) => lists += 1,
                Event::Probed { list, target, .. } | Event::NotAsked { list, target } => {
                    in_flight.remove(&(*list, *target));
                }
                _ => {}
            }
            for effect in prober.handle(event, now) {
                if let Effect::Probe { list, target, .. } = effect {
                    prop_assert_eq!(list, lists);
                    prop_assert!(in_flight.insert((list, target)), "a second probe of {} in flight", target);
                }
            }
            prop_assert!(prober.next_deadline().is_some_and(|at| at <= now + Millis(50)));
        }
    }
}
