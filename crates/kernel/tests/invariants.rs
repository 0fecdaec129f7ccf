//! I6 to I10 and I16 over random fleets and long random histories, and for each a planner broken on purpose that must
//! turn its property red. The checks here add up weights by themselves; the linter is asked beside them.

mod support;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use std::sync::Arc;
use support::*;
use tidegate_domain::*;
use tidegate_kernel::{cycle, lint};
use world::{Planner, World};

/// A fleet in small numbers, drawn by proptest.
#[derive(Debug, Clone)]
struct Shape {
    capacity: Vec<u8>,
    cost: Vec<u8>,
    demand: Vec<u8>,
    permitted: Vec<u8>,
    share_max: u8,
    min_on: u8,
}

const LAWS: [(&str, &str); 4] = [("DE", "europe"), ("NL", "europe"), ("US", "us"), ("BE", "europe")];

fn fleet(shape: &Shape) -> Fleet {
    let mut b = three_areas();
    for (i, capacity) in shape.capacity.iter().enumerate() {
        let (law, area) = LAWS[i % LAWS.len()];
        let cloud = ["aws", "azure", "gcp"][i % 3];
        b = b.region(&format!("{cloud}/r{i}"), law, area, 100 + 10 * u64::from(*capacity), i128::from(shape.cost[i]));
    }
    b = b.outside("outside/frankfurt", "DE", "europe").group("de", "DE", "europe").group("us", "US", "us");
    for v in 0..6 {
        b = b.vantage(&format!("v{v}"), &format!("{}/r{}", ["aws", "azure", "gcp"][v % 3], v % 3));
    }
    b = b.vantage("o1", "outside/frankfurt").vantage("o2", "outside/frankfurt").service("s");
    for (i, demand) in shape.demand.iter().enumerate() {
        let permitted = match shape.permitted[i] % 3 {
            0 => only(&["DE", "NL"]),
            1 => only(&["DE", "NL", "US"]),
            _ => Permitted::Anywhere,
        };
        let load = u64::from(*demand);
        if shape.min_on % 4 > 1 && i == shape.demand.len() / 2 {
            b = b.endpoints_everywhere(2).service("t");
        }
        b = b.class(&format!("c{i}"), permitted, (i % 3) as u8, &[("de", load), ("us", load / 2)]);
    }
    let mut fleet = b.endpoints_everywhere(2).build();
    for class in &mut fleet.classes {
        class.provider_share_max = Bps::clamped(4000 + 60 * u64::from(shape.share_max));
    }
    fleet.rules.min_regions_on = 1 + u16::from(shape.min_on % 2);
    fleet.rules.min_residency = Millis(60_000);
    let frozen = Wall(1_700_000_000_000 + 200_000);
    let window = FreezeWindow { from: frozen, until: frozen + Millis(60_000), reason: "close".to_owned() };
    fleet.rules.freeze.push(window);
    fleet
}

fn shapes() -> impl Strategy<Value = Shape> {
    let regions = prop::collection::vec(0_u8..40, 5..9);
    let classes = prop::collection::vec((0_u8..150, 0_u8..3), 2..5);
    (regions, prop::collection::vec(any::<u8>(), 9), classes, 0_u8..100, any::<u8>()).prop_map(
        |(capacity, cost, classes, share_max, min_on)| Shape {
            capacity,
            cost,
            demand: classes.iter().map(|c| c.0).collect(),
            permitted: classes.iter().map(|c| c.1).collect(),
            share_max,
            min_on,
        },
    )
}

/// What happens before a tick: (what, where, how long).
type Deed = (u8, u8, u16);

fn apply(w: &mut World, (what, place, _): Deed, id: u64) {
    let regions = w.fleet.regions.len() - 1;
    let r = RegionIx::from(usize::from(place) % regions);
    let wall = w.wall();
    match what % 15 {
        0 => w.dead.push(r),
        1 => w.dead.clear(),
        2 => w.dead.retain(|d| *d != r),
        3 => drop(w.drain(id, Scope::Region(r))),
        4 => {
            w.intents.drains.pop();
        }
        5 => {
            w.intents.drains.clear();
            w.intents.restores = vec![Restore { scope: Scope::Region(r), service: None, at: wall }];
        }
        6 => {
            let (c, load) = (usize::from(place) % w.fleet.classes.len(), 4 * u64::from(place));
            w.demand = vec![(ClassIx::from(c), GroupIx(0), rps(load))];
        }
        7 => w.demand.clear(),
        8 => {
            let until = Some(wall + Millis(if place % 2 == 0 { 5_000 } else { 120_000 }));
            let paused = Switch::Paused { reason: "test".to_owned(), by: Subject::default(), until };
            if place % 2 == 0 { w.intents.automation.safety = paused } else { w.intents.automation.economic = paused }
        }
        9 => w.fleet.regions[r.at()].cost_per_million = PicoDollars(i128::from(place) * 7 % 256),
        10 => w.kill(["aws", "azure", "gcp"][usize::from(place) % 3]),
        // the probers near one group lose a region, or find it again
        11 if place % 4 == 3 => {
            let group = GroupIx::from(usize::from(place) / 4 % w.fleet.groups.len());
            let near = tidegate_kernel::health::near(&w.fleet, group);
            if w.blind.is_empty() { w.blind = near.into_iter().map(|v| (v, r)).collect() } else { w.blind.clear() }
        }
        // the edges find a service erring or failing in a region, and well in another; or they are content again
        11 if place % 4 == 1 => {
            let row = |region: RegionIx, errors: u64| Traffic {
                service: ServiceIx(0),
                region,
                group: GroupIx(0),
                edges: 2,
                erring: u32::from(errors == 120) * 2,
                failing: u32::from(errors == 1_000) * 2,
                answered: u32::from(errors < 500) * 2,
                issued: 1_000,
                errors,
                slow: 0,
                slow_requests: 0,
                slow_took: Millis(0),
                slow_usual: Millis(0),
            };
            let other = RegionIx::from((r.at() + 1) % regions);
            let errors = if place % 8 == 1 { 120 } else { 1_000 };
            w.traffic = if w.traffic.is_empty() { vec![row(r, errors), row(other, 0)] } else { Vec::new() };
        }
        // somebody says of a provider's API that it is in trouble, or that it is well again
        11 if place % 4 == 2 => {
            let cloud = ["aws", "azure", "gcp"][usize::from(place) / 4 % 3];
            w.say(cloud, place % 8 == 2, 1_000 * u64::from(place));
        }
        12 => w.intents.ramps_paused = !w.intents.ramps_paused,
        13 => w.intents.ramps_aborted_until = Some(wall + Millis(20_000)),
        14 => {
            let until = Some(wall + Millis(15_000));
            w.drain(id, Scope::Region(r));
            w.intents.drains.last_mut().unwrap().until = until;
        }
        _ => {}
    }
}

fn red(what: String) -> TestCaseError {
    TestCaseError::fail(what)
}

/// I6, I8, I9, I16 by sums of its own.
fn check(input: &CycleInput, output: &CycleOutput) -> Result<(), TestCaseError> {
    let f = &input.fleet;
    let plan = output.state.plan.as_ref().ok_or_else(|| red("no plan".to_owned()))?;
    let paused = !input.view.intents.automation.safety.is_on(input.view.wall);
    // where nothing is Down the weights stay because nothing is known: that passes no limit
    let any_down = output.state.endpoints.iter().any(|e| e.health == Health::Down);
    let excuse = |a: &Alarm| matches!(a, Alarm::Doubt { .. }) || (any_down && matches!(a, Alarm::AllDown { .. }));
    let excused = paused || output.report.alarms.iter().any(excuse);
    let mut load = vec![0_u64; f.regions.len()];
    for s in &plan.splits {
        let measured = input.view.measured_demand.iter().find(|m| (m.0, m.1) == (s.class, s.group));
        let demand = f.demand(s.class, s.group).max(measured.map_or(MilliRps(0), |m| m.2)).0;
        let shed = if let Serving::Routed { shed } = s.serving { u64::from(shed.get()) } else { 0 };
        for w in &s.weights {
            if !f.permits(s.class, w.region) {
                return Err(red(format!("I6: {} in {}", f.class_name(s.class), f.regions[w.region.at()].name)));
            }
            load[w.region.at()] += demand * (10_000 - shed) / 10_000 * u64::from(w.share.get()) / 10_000;
        }
    }
    for (r, region) in f.regions.iter().enumerate() {
        if !excused && load[r] > region.safe_utilisation.of(region.capacity.0) {
            return Err(red(format!("I8: {} carries {}", region.name, load[r])));
        }
    }
    let wall = input.view.wall;
    let drained = |id: u64| input.view.intents.drains.iter().any(|d| d.id == id && d.until.is_none_or(|u| u > wall));
    for m in output.report.moves.iter().filter(|m| m.kind != MoveKind::Safety) {
        if matches!(m.cause, Reason::Drained { id } if !drained(id)) {
            return Err(red("I9: drained without a drain".to_owned()));
        }
        if m.share > f.rules.share_cap {
            return Err(red(format!("I9: a step of {}", m.share)));
        }
        let before = input.state.plan.as_ref().and_then(|p| p.split(m.class, m.group));
        let after = plan.split(m.class, m.group).unwrap();
        let shed = |s: &ClassSplit| if let Serving::Routed { shed } = s.serving { u64::from(shed.get()) } else { 0 };
        let carried = |s: &ClassSplit, r| u64::from(s.share(r).get()) * (10_000 - shed(s)) / 10_000;
        for word in input.view.intents.api_words.iter().filter(|w| w.trouble && w.until > input.view.wall) {
            let own = (0..f.regions.len()).map(RegionIx::from).filter(|r| f.provider_of(*r) == word.provider);
            for r in own {
                let (was, is) = (before.map_or(0, |s| carried(s, r)), carried(after, r));
                if was.abs_diff(is) > if shed(after) > 0 { 40 } else { 1 } {
                    return Err(red(format!(
                        "I9: {} of a provider in trouble from {was} to {is}",
                        f.regions[r.at()].name
                    )));
                }
            }
        }
        if f.rules.freeze.iter().any(|z| z.from <= input.view.wall && input.view.wall < z.until) {
            return Err(red("I16: a paced move in a freeze window".to_owned()));
        }
    }
    Ok(())
}

fn history(shape: &Shape, deeds: &[Deed], planner: Planner) -> Result<(), TestCaseError> {
    let mut w = World::new(fleet(shape));
    w.planner = planner;
    let quiet: Vec<Deed> = (0..10).map(|_| (11, 0, 500)).collect();
    let mut economic: Vec<Vec<u64>> = vec![Vec::new(); w.fleet.classes.len() * w.fleet.groups.len()];
    for (id, deed) in quiet.iter().chain(deeds).enumerate() {
        apply(&mut w, *deed, id as u64 + 1);
        let faults = w.try_tick(u64::from(deed.2).max(500));
        let (input, output) = w.last.as_ref().unwrap();
        check(input, output)?;
        if let Some(fault) = faults.first() {
            return Err(red(format!("{fault} at {} ms", w.clock)));
        }
        // I10: the first step of an economic move stands apart from every move before it
        for m in output.report.moves.iter().filter(|m| m.kind == MoveKind::Economic) {
            let at = m.class.at() * w.fleet.groups.len() + m.group.at();
            let ramp = input.state.ramps.iter().any(|r| (r.class, r.group) == (m.class, m.group));
            let near = economic[at].last().is_some_and(|t| w.clock - t < 60_000);
            if near && !ramp {
                return Err(red("I10: two economic moves within residency".to_owned()));
            }
            economic[at].push(w.clock);
        }
        // The same view again changes nothing. Only while something is shed may one follow-up use room that rounding has
        // freed; never does it go back and forth.
        let mut state = w.state.clone();
        let mut rounds = Vec::new();
        while rounds.len() < 4 {
            let again = (w.planner)(&CycleInput { state: state.clone(), ..w.input() });
            let rests = again.state.plan == state.plan;
            state = again.state;
            if rests {
                break;
            }
            rounds.push(again.report.moves);
        }
        let plan = output.state.plan.as_ref().unwrap();
        let part = |s: &ClassSplit| matches!(s.serving, Serving::Routed { shed } if shed > Bps::ZERO);
        if rounds.len() > usize::from(plan.splits.iter().any(part)) {
            return Err(red(format!("no fixpoint at {} ms: {rounds:#?}", w.clock)));
        }
    }
    Ok(())
}

fn run(planner: Planner, cases: u32) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let deeds = prop::collection::vec((0_u8..15, any::<u8>(), 500_u16..25_000), 1..40);
    let mut runner = TestRunner::new_with_rng(config, rng);
    runner.run(&(shapes(), deeds), |(shape, deeds)| history(&shape, &deeds, planner)).map_err(|e| e.to_string())
}

#[test]
fn the_planner_keeps_every_invariant() {
    run(cycle, 256).unwrap();
}

/// What the planner leaves shed rather than twitch, in basis points of a shed split's demand.
const WORTH_FILLING: u64 = 150;

/// What prices must not change: the places that are closed to each split and why, whether it is served at all, the
/// alarms, and by how much is shed in all; and what of that is noise.
struct Feasible {
    closed: Vec<(Vec<RegionReport>, bool, bool)>,
    alarms: Vec<Alarm>,
    shed: u64,
    noise: u64,
}

fn feasible(input: &CycleInput, output: &CycleOutput) -> Feasible {
    let plan = output.state.plan.as_ref().unwrap();
    let alarms = output.report.alarms.iter().filter(|a| !matches!(a, Alarm::Shedding { .. })).cloned().collect();
    let mut found = Feasible { closed: Vec::new(), alarms, shed: 0, noise: 0 };
    for (s, told) in plan.splits.iter().zip(&output.report.splits) {
        let closed = told.regions.iter().filter(|r| r.disposition == Disposition::Excluded).cloned().collect();
        found.closed.push((closed, s.serving == Serving::NoPlace, s.serving == Serving::WrongJurisdiction));
        let Serving::Routed { shed } = s.serving else { continue };
        let measured = input.view.measured_demand.iter().find(|m| (m.0, m.1) == (s.class, s.group));
        let demand = input.fleet.demand(s.class, s.group).max(measured.map_or(MilliRps(0), |m| m.2)).0;
        found.shed += demand * u64::from(shed.get()) / 10_000;
        found.noise += if shed > Bps::ZERO { demand * WORTH_FILLING / 10_000 + 1 } else { 0 };
    }
    found
}

/// I7: the same history, planned at every step under two price vectors.
fn two_prices(shape: &Shape, deeds: &[Deed], other: &[u8], planner: Planner) -> Result<(), TestCaseError> {
    let mut w = World::new(fleet(shape));
    let quiet: Vec<Deed> = (0..10).map(|_| (11, 0, 500)).collect();
    for (id, deed) in quiet.iter().chain(deeds).enumerate() {
        apply(&mut w, *deed, id as u64 + 1);
        w.try_tick(u64::from(deed.2).max(500));
        let mut input = w.last.as_ref().unwrap().0.clone();
        let one = feasible(&input, &planner(&input));
        for (region, cost) in Arc::make_mut(&mut input.fleet).regions.iter_mut().zip(other) {
            region.cost_per_million = PicoDollars(i128::from(*cost));
        }
        let two = feasible(&input, &planner(&input));
        if one.closed != two.closed || one.alarms != two.alarms {
            let (one, two) = ((one.closed, one.alarms), (two.closed, two.alarms));
            return Err(red(format!("I7: closed {one:#?} or {two:#?} at {} ms", w.clock)));
        }
        if one.shed.abs_diff(two.shed) > one.noise.max(two.noise) {
            return Err(red(format!("I7: shed {} or {} at {} ms", one.shed, two.shed, w.clock)));
        }
    }
    Ok(())
}

fn run_two_prices(planner: Planner, cases: u32) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let deeds = prop::collection::vec((0_u8..15, any::<u8>(), 500_u16..25_000), 1..40);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let all = (shapes(), deeds, prop::collection::vec(any::<u8>(), 9));
    runner.run(&all, |(shape, deeds, other)| two_prices(&shape, &deeds, &other, planner)).map_err(|e| e.to_string())
}

#[test]
fn prices_change_nothing_about_what_is_feasible() {
    run_two_prices(cycle, 256).unwrap();
}

/// The kernel on another fleet than the one that is configured: what a planner that forgot a rule would do.
fn forgetting(input: &CycleInput, forget: impl Fn(&mut Fleet)) -> CycleOutput {
    let mut input = input.clone();
    forget(Arc::make_mut(&mut input.fleet));
    cycle(&input)
}

mod mutations {
    use super::*;

    fn turns_red(planner: Planner, by: &[&str]) {
        let found = run(planner, 256).expect_err("the broken planner must be found out");
        assert!(by.iter().any(|b| found.contains(b)), "{found}");
    }

    #[test]
    fn i6_a_planner_that_forgets_residency() {
        fn broken(input: &CycleInput) -> CycleOutput {
            let mut input = input.clone();
            Arc::make_mut(&mut input.fleet).classes.iter_mut().for_each(|c| c.permitted = Permitted::Anywhere);
            input.mask = Arc::new(allow_all(&input.fleet));
            cycle(&input)
        }
        turns_red(broken, &["I6", "Permitted"]);
    }
    #[test]
    fn i7_a_planner_for_which_the_cheapest_place_is_always_permitted() {
        fn broken(input: &CycleInput) -> CycleOutput {
            let mut input = input.clone();
            let cheapest = input.fleet.regions.iter().filter(|r| !r.vantage_only).min_by_key(|r| r.cost_per_million);
            let law = cheapest.unwrap().jurisdiction;
            for c in &mut Arc::make_mut(&mut input.fleet).classes {
                if let Permitted::Only(set) = &mut c.permitted {
                    set.insert(law);
                }
            }
            input.mask = Arc::new(allow_all(&input.fleet));
            cycle(&input)
        }
        turns_red(broken, &["I6", "Permitted"]);
    }
    /// The region whose price `by` ranks first.
    fn by_price(f: &Fleet, rank: impl Fn(i128) -> i128) -> usize {
        let all = f.regions.iter().enumerate().filter(|(_, r)| !r.vantage_only);
        all.min_by_key(|(_, r)| rank(r.cost_per_million.0)).unwrap().0
    }
    fn prices_turn_red(planner: Planner) {
        let found = run_two_prices(planner, 256).expect_err("the broken planner must be found out");
        assert!(found.contains("I7"), "{found}");
    }
    #[test]
    fn i7_a_planner_that_drops_the_dearest_place() {
        fn broken(input: &CycleInput) -> CycleOutput {
            let dearest = by_price(&input.fleet, |cost| -cost);
            forgetting(input, |f| f.regions[dearest].capacity = MilliRps(0))
        }
        prices_turn_red(broken);
        fn excluding(input: &CycleInput) -> CycleOutput {
            let dearest = by_price(&input.fleet, |cost| -cost);
            forgetting(input, |f| f.regions[dearest].vantage_only = true)
        }
        prices_turn_red(excluding);
    }
    #[test]
    fn i7_a_planner_that_lets_the_cheapest_place_in() {
        fn broken(input: &CycleInput) -> CycleOutput {
            let mut input = input.clone();
            let law = input.fleet.regions[by_price(&input.fleet, |cost| cost)].jurisdiction;
            for c in &mut Arc::make_mut(&mut input.fleet).classes {
                if let Permitted::Only(set) = &mut c.permitted {
                    set.insert(law);
                }
            }
            input.mask = Arc::new(allow_all(&input.fleet));
            cycle(&input)
        }
        prices_turn_red(broken);
    }
    #[test]
    fn i8_a_planner_that_forgets_limits() {
        fn broken(input: &CycleInput) -> CycleOutput {
            forgetting(input, |f| f.regions.iter_mut().for_each(|r| r.capacity = MilliRps(r.capacity.0 * 4)))
        }
        turns_red(broken, &["I8", "Limit"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_the_share_cap() {
        fn broken(input: &CycleInput) -> CycleOutput {
            forgetting(input, |f| f.rules.share_cap = Bps::FULL)
        }
        turns_red(broken, &["I9", "ShareCap"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_to_settle() {
        fn broken(input: &CycleInput) -> CycleOutput {
            forgetting(input, |f| f.rules.settle = Millis(0))
        }
        turns_red(broken, &["ShareCap", "fixpoint"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_the_assertion() {
        fn broken(input: &CycleInput) -> CycleOutput {
            forgetting(input, |f| f.rules.min_regions_on = 1)
        }
        turns_red(broken, &["Assertion"]);
    }
    /// The kernel with other intents than those that stand.
    fn wishing(input: &CycleInput, wish: impl Fn(&mut Intents)) -> CycleOutput {
        let mut input = input.clone();
        wish(&mut input.view.intents);
        cycle(&input)
    }
    #[test]
    fn i9_a_planner_that_forgets_the_switch_of_safety() {
        fn broken(input: &CycleInput) -> CycleOutput {
            wishing(input, |i| i.automation.safety = Switch::On)
        }
        turns_red(broken, &["Unexplained"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_the_switch_of_the_economic_tier() {
        fn broken(input: &CycleInput) -> CycleOutput {
            wishing(input, |i| i.automation.economic = Switch::On)
        }
        turns_red(broken, &["Frozen"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_who_holds_the_ramps() {
        fn broken(input: &CycleInput) -> CycleOutput {
            wishing(input, |i| (i.ramps_paused, i.ramps_aborted_until) = (false, None))
        }
        turns_red(broken, &["Frozen"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_that_an_api_is_in_trouble() {
        fn broken(input: &CycleInput) -> CycleOutput {
            wishing(input, |i| i.api_words.clear())
        }
        turns_red(broken, &["I9", "Api"]);
    }
    #[test]
    fn i9_a_planner_that_forgets_that_a_drain_has_ended() {
        fn broken(input: &CycleInput) -> CycleOutput {
            wishing(input, |i| i.drains.iter_mut().for_each(|d| d.until = None))
        }
        turns_red(broken, &["I9: drained without a drain", "ShedOrder"]);
    }
    #[test]
    fn i10_a_planner_that_forgets_residency_time() {
        fn broken(input: &CycleInput) -> CycleOutput {
            forgetting(input, |f| f.rules.min_residency = Millis(0))
        }
        turns_red(broken, &["I10", "Residency"]);
    }
    #[test]
    fn i16_a_planner_that_forgets_the_freeze() {
        fn broken(input: &CycleInput) -> CycleOutput {
            forgetting(input, |f| f.rules.freeze.clear())
        }
        turns_red(broken, &["I16", "Frozen"]);
    }
    #[test]
    fn a_planner_that_moves_on_no_verdict() {
        fn broken(input: &CycleInput) -> CycleOutput {
            let mut output = cycle(input);
            let before = input.state.plan.is_some();
            let split = output.state.plan.as_mut().unwrap().splits.iter_mut().find(|s| s.weights.len() > 1);
            if let Some(s) = split.filter(|_| before) {
                let last = s.weights.pop().unwrap();
                s.weights[0].share = Bps::clamped(u64::from(s.weights[0].share.get() + last.share.get()));
            }
            output
        }
        turns_red(broken, &["Unexplained", "Limit", "I8", "fixpoint"]);
    }
}

/// The linter finds each fault that is put into a good plan.
#[test]
fn the_linter_names_what_was_broken() {
    type Break = fn(&Fleet, &mut CycleOutput);
    fn plan(o: &mut CycleOutput) -> &mut Plan {
        o.state.plan.as_mut().unwrap()
    }
    fn eu(f: &Fleet) -> usize {
        class(f, "payroll/eu").at() * f.groups.len()
    }
    let cases: [(lint::Rule, Break); 8] = [
        (lint::Rule::Shape, |_, o| drop(plan(o).splits.pop())),
        (lint::Rule::Shape, |f, o| plan(o).splits[eu(f)].weights[0].share = Bps::clamped(1)),
        (lint::Rule::Permitted, |f, o| {
            let to = region(f, "gcp/europe-west1");
            plan(o).splits[eu(f)].weights = vec![Weight { region: to, share: Bps::FULL }];
        }),
        (lint::Rule::Permitted, |f, o| plan(o).splits[eu(f)].spill = vec![vec![region(f, "gcp/europe-west1")]]),
        (lint::Rule::Permitted, |f, o| plan(o).splits[eu(f)].serving = Serving::WrongJurisdiction),
        (lint::Rule::Unexplained, |f, o| {
            let to = region(f, "azure/westeurope");
            plan(o).splits[eu(f)].weights = vec![Weight { region: to, share: Bps::FULL }];
        }),
        (lint::Rule::Endpoints, |_, o| plan(o).endpoints_out = vec![EndpointIx(0)]),
        (lint::Rule::ShedOrder, |f, o| {
            plan(o).splits[eu(f)].serving = Serving::Routed { shed: Bps::clamped(5000) };
        }),
    ];
    let mut w = World::settled(payroll());
    w.tick(500);
    let (input, good) = w.last.unwrap();
    assert!(lint::check(&input, &good).is_empty());
    for (rule, break_it) in cases {
        let mut bad = good.clone();
        break_it(&input.fleet, &mut bad);
        let mut faults = lint::check(&input, &bad);
        if rule != lint::Rule::Shape {
            faults.retain(|f| f.rule != lint::Rule::Shape);
        }
        let shaped = bad.state.plan.as_ref().unwrap().splits.get(eu(&input.fleet));
        let refused = shaped.is_some_and(|s| s.serving == Serving::WrongJurisdiction);
        assert!(refused || faults.iter().any(|f| f.rule == rule), "{rule:?}: {faults:?}");
        assert!(tidegate_kernel::authorize(&input, bad).is_err());
    }
}

/// A good output of a world, with the split of `payroll/eu` on one place and a move of this kind on record.
fn forged(good: &CycleOutput, fleet: &Fleet, kind: MoveKind, to: &str) -> CycleOutput {
    let mut bad = good.clone();
    let (eu, de, to) = (class(fleet, "payroll/eu"), group(fleet, "edge-de"), region(fleet, to));
    let split = eu.at() * fleet.groups.len() + de.at();
    bad.report.moves.retain(|m| (m.class, m.group) != (eu, de));
    bad.report.moves.push(Move { class: eu, group: de, kind, share: Bps::clamped(3_400), cause: Reason::Dearer });
    let s = &mut bad.state.plan.as_mut().unwrap().splits[split];
    s.weights = vec![Weight { region: to, share: Bps::FULL }];
    s.spill.clear();
    bad
}

fn names(w: &World, bad: &CycleOutput, rule: lint::Rule) {
    let (input, good) = w.last.as_ref().unwrap();
    assert_eq!(lint::check(input, good), []);
    let found = lint::check(input, bad);
    let eu = class(&w.fleet, "payroll/eu");
    let ours = found.iter().filter(|f| f.split.is_none_or(|s| s.0 == eu));
    assert!(ours.clone().any(|f| f.rule == rule), "{rule:?}: {found:#?}");
}

#[test]
fn the_linter_asks_policy_drains_and_the_assertion() {
    let mut w = World::settled(payroll());
    for ((_, law, kind), answer) in &mut w.mask.answers {
        answer.allow = law.as_str() != "NL" || *kind != MoveKind::Voluntary;
    }
    w.tick(500);
    let good = w.last.clone().unwrap().1;
    let to_azure = |kind| forged(&good, &payroll(), kind, "azure/westeurope");
    names(&w, &to_azure(MoveKind::Voluntary), lint::Rule::Policy);
    w.mask = allow_all(&w.fleet);
    w.drain(1, Scope::Region(region(&w.fleet, "gcp/europe-west4")));
    w.tick(500);
    let good = w.last.clone().unwrap().1;
    names(&w, &forged(&good, &w.fleet, MoveKind::Voluntary, "gcp/europe-west4"), lint::Rule::Drain);
    w.intents.drains.clear();
    w.fleet.rules.min_regions_on = 2;
    w.tick(500);
    let good = w.last.clone().unwrap().1;
    names(&w, &forged(&good, &w.fleet, MoveKind::Economic, "azure/westeurope"), lint::Rule::Assertion);
}

#[test]
fn the_linter_lets_nothing_go_to_what_is_down() {
    let mut w = World::settled(payroll());
    w.dead.push(region(&w.fleet, "gcp/europe-west4"));
    w.run(6_000);
    let good = w.last.clone().unwrap().1;
    names(&w, &forged(&good, &w.fleet, MoveKind::Safety, "gcp/europe-west4"), lint::Rule::Down);
}

#[test]
fn the_linter_wants_a_cause_for_each_safety_move() {
    // Singapore dies, and its own class moves on; eu never stood there and shares no place with what moved
    let mut w = World::settled(payroll());
    let before = w.state.clone();
    w.dead.push(region(&w.fleet, "aws/ap-southeast-1"));
    w.run(6_000);
    let good = w.last.clone().unwrap().1;
    let bad = forged(&good, &w.fleet, MoveKind::Safety, "azure/westeurope");
    names(&w, &bad, lint::Rule::Unexplained);
    // everything of AWS dies while the switch is off: no safety move is right
    w.state = before;
    w.intents.automation.safety = Switch::Paused { reason: "test".to_owned(), by: Subject::default(), until: None };
    w.kill("aws");
    w.run(6_000);
    let good = w.last.clone().unwrap().1;
    names(&w, &forged(&good, &w.fleet, MoveKind::Safety, "azure/westeurope"), lint::Rule::Unexplained);
}

#[test]
fn an_all_down_excuses_no_move_of_those_it_does_not_touch() {
    let mut w = World::settled(payroll());
    let us = ["aws/us-east-1", "azure/eastus", "gcp/us-east4"];
    w.dead.extend(us.map(|r| region(&payroll(), r)));
    w.run(20_000);
    let good = w.last.clone().unwrap().1;
    let all_down = |a: &&Alarm| matches!(a, Alarm::AllDown { .. });
    let lost: Vec<Alarm> = good.report.alarms.iter().filter(all_down).cloned().collect();
    assert_eq!(lost, [Alarm::AllDown { class: class(&w.fleet, "payroll/us-ca") }]);
    names(&w, &forged(&good, &w.fleet, MoveKind::Safety, "azure/westeurope"), lint::Rule::Unexplained);
}

/// A class that wants more than its own endpoints hold still takes what they hold from a lower class of another service.
#[test]
fn a_class_that_wants_much_takes_its_place_from_a_lower_one_of_another_service() {
    let (capacity, cost) = (vec![0; 5], vec![0; 9]);
    let shape = Shape { capacity, cost, demand: vec![1, 98], permitted: vec![0, 1], share_max: 0, min_on: 134 };
    let mut deeds: Vec<Deed> = vec![(3, 29, 500), (0, 25, 500), (4, 21, 16_982), (11, 95, 17_576)];
    deeds.extend([(3, 67, 18_089), (11, 90, 15_184), (6, 80, 12_431)]);
    history(&shape, &deeds, cycle).unwrap();
}
