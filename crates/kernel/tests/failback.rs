//! After an outage everything comes back: whatever the demand was meanwhile, however often something else moved, the
//! shares from before stand again, and what keeps them is a reason that was told.

mod support;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use support::*;
use tidegate_domain::*;
use world::World;

/// Every class's demand by this many per cent of what all clouds but AWS may carry.
fn raise(w: &mut World, percent: u64) {
    let aws = provider(&w.fleet, "aws");
    let left = w.fleet.regions.iter().filter(|r| r.provider != aws);
    let left: u64 = left.map(|r| r.safe_utilisation.of(r.capacity.0)).sum();
    let all: u64 = w.fleet.classes.iter().flat_map(|c| &c.demand).map(|d| d.load.0).sum();
    let mut demand = Vec::new();
    for (c, class) in w.fleet.classes.iter().enumerate() {
        let each = class.demand.iter().map(|d| (ClassIx::from(c), d.group, d.load.0 * left * percent / 100 / all));
        demand.extend(each.map(|(c, g, load)| (c, g, MilliRps(load))));
    }
    w.demand = demand;
}

fn weights(w: &World) -> Vec<Vec<Weight>> {
    w.plan().splits.iter().map(|s| s.weights.clone()).collect()
}

/// What differs from the weights `then`, and what each such split waits for.
fn missing(w: &World, then: &[Vec<Weight>]) -> Vec<String> {
    let mut missing = Vec::new();
    for (i, s) in w.plan().splits.iter().enumerate().filter(|(i, s)| s.weights != then[*i]) {
        let waits = &w.report().splits[i].waits;
        let name = w.fleet.class_name(s.class);
        missing.push(format!("{name} for {}: {:?}, was {:?}, waits {waits:?}", s.group.0, s.weights, then[i]));
    }
    missing
}

/// The shipped fleet with the demo's times.
fn brisk() -> World {
    let mut fleet = shipped();
    fleet.rules.min_residency = Millis(20_000);
    World::settled(fleet)
}

#[test]
fn the_old_shares_stand_again_after_an_outage_under_raised_demand() {
    for percent in [60, 80, 90, 95, 98, 100, 102, 105] {
        for (lowered, repaired) in
            [(4_000, 6_000), (8_000, 20_000), (12_000, 45_000), (30_000, 12_500), (20_000, 33_000)]
        {
            let mut w = brisk();
            let then = weights(&w);
            raise(&mut w, percent);
            w.run(4_000);
            w.kill("aws");
            let died = w.clock;
            let last = lowered.max(repaired);
            while w.clock < died + last {
                w.tick(500);
                if w.clock >= died + lowered {
                    w.demand.clear();
                }
                if w.clock >= died + repaired {
                    w.dead.clear();
                }
            }
            w.run(120_000);
            let missing = missing(&w, &then);
            assert!(missing.is_empty(), "{percent} %, {lowered}, {repaired}: {missing:#?}");
            assert_eq!((&w.state.returning, &w.state.displaced), (&Vec::new(), &Vec::new()));
        }
    }
}

/// Random outages, demands, drains and restarts of the server: once everything is well and has settled, the shares from
/// before stand again.
#[test]
fn whatever_happened_the_old_shares_stand_again() {
    let config = Config { cases: 64, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    let deeds = prop::collection::vec((0_u8..8, any::<u8>(), 500_u64..20_000), 1..12);
    let story = |deeds: Vec<(u8, u8, u64)>| {
        let mut w = brisk();
        let then = weights(&w);
        for (id, (what, which, long)) in deeds.into_iter().enumerate() {
            let region = RegionIx::from(usize::from(which) % 9);
            match what {
                0 => w.kill(["aws", "azure", "gcp"][usize::from(which) % 3]),
                1 => w.dead.push(region),
                2 => w.dead.clear(),
                3 => raise(&mut w, 40 + u64::from(which) % 80),
                4 => w.demand.clear(),
                5 => drop(w.drain(id as u64 + 1, Scope::Region(region))),
                6 => w.intents.drains.clear(),
                _ => w.restart(),
            }
            w.run(long);
        }
        w.dead.clear();
        w.demand.clear();
        w.intents.drains.clear();
        w.run(240_000);
        let missing = missing(&w, &then);
        if missing.is_empty() { Ok(()) } else { Err(TestCaseError::fail(format!("{missing:#?}"))) }
    };
    runner.run(&deeds, story).unwrap();
}

#[test]
fn a_restart_in_mid_failback_changes_nothing_about_its_end() {
    let mut fleet = shipped();
    fleet.rules.min_residency = Millis(20_000);
    // so little cheaper that a return is worth nothing by itself
    for region in &mut fleet.regions {
        region.cost_per_million.0 += 10_000;
    }
    let mut w = World::settled(fleet);
    let then = weights(&w);
    raise(&mut w, 102);
    w.run(4_000);
    w.kill("aws");
    w.run(12_000);
    w.demand.clear();
    w.dead.clear();
    let eu = class(&w.fleet, "payroll/eu");
    let mut restarts = 0;
    let end = w.clock + 240_000;
    let mut steps: Vec<(u64, u16)> = Vec::new();
    while w.clock < end {
        w.tick(500);
        let ours = w.report().moves.iter().filter(|m| m.class == eu && m.kind != MoveKind::Safety);
        let before = steps.len();
        steps.extend(ours.map(|m| (w.clock, m.share.get())));
        // after its first step: a ramp is under way, the region is neither empty nor filled
        if restarts == 0 && steps.len() > before {
            restarts += 1;
            w.restart();
            // nothing is known for a moment
            w.clock += 500;
            let mut input = w.input();
            input.view.reports.iter_mut().for_each(|r| *r = None);
            w.state = tidegate_kernel::cycle(&input).state;
        }
    }
    assert_eq!(restarts, 1);
    assert!(steps.iter().all(|s| s.1 <= 3400) && steps.windows(2).all(|s| s[0].0 + 10_000 <= s[1].0), "{steps:?}");
    let missing = missing(&w, &then);
    assert!(missing.is_empty(), "{missing:#?}");
    assert_eq!((&w.state.returning, &w.state.displaced, &w.state.ramps), (&Vec::new(), &Vec::new(), &Vec::new()));
}
