//! The end of an all-down and of a shortage: what comes back must not be shed, and what was shed comes back soon,
//! the highest class first.

mod support;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use support::*;
use tidegate_domain::*;
use tidegate_kernel::{lint, why};
use world::World;

/// What is shed, by class and group.
fn shed(w: &World) -> Vec<(String, u16)> {
    let part = |s: &ClassSplit| match s.serving {
        Serving::Routed { shed } => shed.get(),
        Serving::WrongJurisdiction | Serving::NoPlace => 0,
    };
    let all = w.plan().splits.iter().filter(|s| part(s) > 0);
    all.map(|s| (format!("{} {}", w.fleet.class_name(s.class), s.group.0), part(s))).collect()
}

/// All endpoints fail for six seconds, then come back, each at its own `turn` in ms.
fn all_down_and_back(w: &mut World, turn: &[u64], mut each: impl FnMut(&World, Vec<lint::Fault>)) {
    for _ in 0..60 {
        let faults = w.look(100, |_| true);
        each(w, faults);
    }
    for t in 0..150 {
        let faults = w.look(100, |e| turn[e % turn.len()] > t * 100);
        each(w, faults);
    }
}

#[test]
fn the_end_of_an_all_down_sheds_nothing() {
    // by endpoint; two per region, AWS first, the last 300 ms after the first
    let spread: Vec<u64> = (0..18).map(|e| e * 300 / 17).collect();
    let mut turns = vec![spread.clone()];
    turns.push(spread.iter().rev().copied().collect());
    turns.push((0..18).map(|e| (e * 7 % 18) * 17).collect());
    for turn in turns {
        let mut w = World::settled(shipped());
        let before = w.plan().splits.clone();
        let mut changed = 0;
        let mut last = before.clone();
        all_down_and_back(&mut w, &turn, |w, faults| {
            assert!(faults.is_empty(), "at {}: {faults:#?}", w.clock);
            assert_eq!(shed(w), Vec::new(), "at {}", w.clock);
            let weights = |splits: &[ClassSplit]| splits.iter().map(|s| s.weights.clone()).collect::<Vec<_>>();
            changed += usize::from(weights(&w.plan().splits) != weights(&last));
            last.clone_from(&w.plan().splits);
        });
        for (now, then) in w.plan().splits.iter().zip(&before) {
            assert_eq!(now.weights, then.weights, "{}", w.fleet.class_name(now.class));
        }
        assert_eq!(changed, 0, "nothing needs to move when everything comes back at once");
        assert_eq!(w.report().alarms, []);
    }
}

#[test]
fn the_hold_after_an_all_down_is_bounded() {
    let mut w = World::settled(shipped());
    for _ in 0..60 {
        assert_eq!(w.look(100, |_| true), []);
    }
    // only one region comes back: it cannot hold everything
    let back = endpoints_in(&w.fleet, region(&w.fleet, "azure/westeurope"));
    let dead = |e: usize| !back.contains(&EndpointIx::from(e));
    let began = w.clock;
    let mut alive = None;
    while shed(&w).is_empty() && w.clock < began + 30_000 {
        assert_eq!(w.look(100, dead), []);
        let healthy = w.state.endpoints[back[0].at()].health == Health::Healthy;
        alive = alive.or(healthy.then_some(w.clock));
        if shed(&w).is_empty() {
            assert_eq!(w.share("payroll/eu", "edge-de", "azure/westeurope"), 4000, "the weights from before stay");
            let alarm = Alarm::AllDown { class: class(&w.fleet, "payroll/eu") };
            assert!(w.clock < 8_000 || w.report().alarms.contains(&alarm), "{:?}", w.report().alarms);
        }
    }
    let held = w.clock - alive.unwrap();
    let bound = w.fleet.rules.up_after.0 * 2;
    assert!((bound - 500..=bound + 500).contains(&held), "held for {held} ms");
    assert_eq!(w.share("payroll/eu", "edge-de", "azure/westeurope"), 10_000);
}

#[test]
fn when_the_living_places_can_hold_everything_the_hold_ends() {
    let mut w = World::settled(shipped());
    for _ in 0..60 {
        assert_eq!(w.look(100, |_| true), []);
    }
    // two of three clouds come back: they hold it all
    let gcp = provider(&w.fleet, "gcp");
    let fleet = w.fleet.clone();
    let dead = |e: usize| fleet.provider_of(fleet.endpoints[e].region) == gcp;
    for _ in 0..60 {
        assert_eq!(w.look(100, dead), []);
        assert_eq!(shed(&w), Vec::new());
    }
    for s in &w.plan().splits {
        assert!(s.weights.iter().all(|x| w.fleet.provider_of(x.region) != gcp), "{}", w.fleet.class_name(s.class));
    }
}

#[test]
fn what_was_shed_comes_back_within_a_settle_period_the_highest_class_first() {
    let mut w = World::settled(shipped());
    w.demand = vec![
        (class(&w.fleet, "payroll/us"), GroupIx(1), rps(150)),
        (class(&w.fleet, "payroll/apac"), GroupIx(0), rps(150)),
        (class(&w.fleet, "payroll/open"), GroupIx(0), rps(150)),
    ];
    w.run(20_000);
    assert_eq!(shed(&w), Vec::new());
    w.kill("aws");
    w.run(3_000);
    let low = shed(&w);
    assert!(low.iter().all(|s| s.0.starts_with("payroll/open")), "{low:?}");
    // one more region of each: the high classes are shed too, and the low one keeps but what only it may use
    w.dead.extend(["azure/westeurope", "gcp/us-east4"].map(|r| region(&w.fleet, r)));
    w.run(12_000);
    assert!(shed(&w).iter().any(|s| !s.0.starts_with("payroll/open")), "{:?}", shed(&w));
    let open = w.plan().splits.iter().filter(|s| s.class == class(&w.fleet, "payroll/open"));
    let belgium = region(&w.fleet, "gcp/europe-west1");
    for s in open {
        let refused = s.serving == Serving::Routed { shed: Bps::FULL };
        assert!(refused || s.weights.iter().all(|x| x.region == belgium), "{s:?}");
    }
    // everything returns
    w.dead.clear();
    let mut well = None;
    let began = w.clock;
    let mut high_since = None;
    while w.clock < began + 40_000 && !(shed(&w).is_empty() && high_since.is_some()) {
        w.tick(100);
        let healthy = w.state.endpoints.iter().all(|e| e.health == Health::Healthy);
        well = well.or(healthy.then_some(w.clock));
        let high = shed(&w).iter().any(|s| !s.0.starts_with("payroll/open"));
        if !high {
            high_since = high_since.or(Some(w.clock));
        }
    }
    let (well, high, all) = (well.unwrap(), high_since.unwrap(), w.clock);
    assert!(high <= all);
    assert!(all <= well + w.fleet.rules.settle.0, "shed for {} ms after all was well", all.saturating_sub(well));
    w.run(60_000);
    assert_eq!(shed(&w), Vec::new());
}

#[test]
fn a_provider_that_comes_back_changes_the_plan_once() {
    let mut w = World::settled(shipped());
    let aws = provider(&w.fleet, "aws");
    let fleet = w.fleet.clone();
    let ours = |e: usize| fleet.provider_of(fleet.endpoints[e].region) == aws;
    for _ in 0..80 {
        assert_eq!(w.look(100, ours), []);
    }
    let mut plan = w.plan().clone();
    let mut told = Vec::new();
    // its six endpoints, one every 150 ms
    for t in 0..120 {
        assert_eq!(w.look(100, |e| ours(e) && 150 * (e as u64) > t * 100), []);
        if *w.plan() != plan {
            told.push(why::change_sentence(&plan, w.plan(), &w.fleet));
            plan = w.plan().clone();
        }
    }
    let places = "aws/eu-central-1, aws/us-east-1, aws/ap-southeast-1";
    assert_eq!(told, [format!("into the spill order: {places}")]);
    assert_eq!(why::change_sentence(&plan, &plan, &w.fleet), "");
}

#[test]
fn an_endpoint_counts_where_the_plan_sends_anyone() {
    let mut w = World::settled(shipped());
    let one = endpoints_in(&w.fleet, region(&w.fleet, "azure/westeurope"))[0];
    let before = w.plan().clone();
    for _ in 0..20 {
        assert_eq!(w.look(100, |e| e == one.at()), []);
    }
    assert_eq!(w.plan().endpoints_out, [one]);
    let out = why::change_sentence(&before, w.plan(), &w.fleet);
    assert_eq!(out, "takes out payroll-azure-westeurope-0");
    // nobody is sent to a drained place: its endpoints change no plan
    let place = Scope::Region(region(&w.fleet, "azure/westeurope"));
    w.drain(1, place);
    for _ in 0..600 {
        assert_eq!(w.look(100, |e| e == one.at()), []);
    }
    assert_eq!(w.plan().endpoints_out, []);
}

#[test]
fn an_endpoint_of_which_nobody_can_tell_stays_out() {
    let mut w = World::settled(shipped());
    let pair = endpoints_in(&w.fleet, region(&w.fleet, "azure/westeurope"));
    let (one, other) = (pair[0], pair[1]);
    for _ in 0..20 {
        assert_eq!(w.look(100, |e| e == one.at()), []);
    }
    assert_eq!(w.plan().endpoints_out, [one]);
    // Every second prober is answered, the others are not: no quorum either way, for a minute.
    for _ in 0..600 {
        assert_eq!(w.look_apart(100, |v, e| e == one.at() && v % 2 == 0), []);
        assert_eq!(w.plan().endpoints_out, [one], "at {} ms", w.clock);
    }
    // The other one fails for all: the place is not left without any.
    for _ in 0..20 {
        assert_eq!(w.look_apart(100, |v, e| e == other.at() || (e == one.at() && v % 2 == 0)), []);
    }
    assert_eq!(w.plan().endpoints_out, [other]);
    for _ in 0..100 {
        assert_eq!(w.look(100, |_| false), []);
    }
    assert_eq!(w.plan().endpoints_out, []);
}

/// Random all-downs with partial and staggered returns: never a fault of the linter, never a higher class shed beside
/// a lower one, and nothing shed soon after everything is well.
#[test]
fn returns_from_all_down_keep_the_order_of_shedding() {
    let config = Config { cases: 96, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    let demand = prop::collection::vec(0_u64..220, 5);
    let turns = prop::collection::vec(prop_oneof![0_u64..600, 0_u64..30_000, Just(60_000)], 18);
    let again = prop::collection::vec((0_usize..18, 0_u64..30_000), 0..6);
    let fails = prop::collection::vec(0_u64..6_000, 3);
    type Story = (Vec<u64>, Vec<u64>, Vec<(usize, u64)>, Vec<u64>);
    let story = |(demand, turns, again, fails): Story| {
        let mut w = World::settled(shipped());
        let classes = ["eu", "us-ca", "us", "apac", "open"].map(|c| class(&w.fleet, &format!("payroll/{c}")));
        w.fleet.classes[classes[2].at()].priority = 1;
        w.demand = classes.iter().zip(&demand).flat_map(|(c, d)| [(*c, GroupIx(0), rps(*d))]).collect();
        w.run(15_000);
        let fleet = w.fleet.clone();
        let start = w.clock;
        for t in (0..55_000_u64).step_by(250) {
            let dead = |e: usize| {
                let cloud = fleet.provider_of(fleet.endpoints[e].region).at();
                let failed = t >= fails[cloud] && t < (6_000 + turns[e]).min(45_000);
                failed || again.iter().any(|(x, at)| *x == e && (6_000 + at..9_000 + at).contains(&t) && t < 45_000)
            };
            let faults = w.look(250, dead);
            if let Some(fault) = faults.first() {
                return Err(TestCaseError::fail(format!("{fault} at {} ms", w.clock - start)));
            }
        }
        w.look(5_000, |_| false);
        let sum: u64 = demand.iter().sum();
        let left = shed(&w);
        if sum < 350 && !left.is_empty() {
            return Err(TestCaseError::fail(format!("still shed: {left:?}")));
        }
        Ok(())
    };
    runner.run(&(demand, turns, again, fails), story).unwrap();
}
