//! Regions that are not reached from one side: whose weights go, whose stay, when it is over, and that one prober moves
//! nothing.

mod support;
mod world;

use proptest::prelude::*;
use support::{group, payroll, provider, region, vantage};
use tidegate_domain::*;
use tidegate_kernel::{health, why};
use world::World;

/// These probers lose sight of a region.
fn blind(w: &mut World, who: &[&str], place: &str) {
    let r = region(&w.fleet, place);
    w.blind = who.iter().map(|v| (vantage(&w.fleet, v), r)).collect();
}

fn shares(w: &World, group_name: &str) -> Vec<Vec<Weight>> {
    let g = group(&w.fleet, group_name);
    w.plan().splits.iter().filter(|s| s.group == g).map(|s| s.weights.clone()).collect()
}

#[test]
fn who_stands_near_whom() {
    let mut fleet = payroll();
    let names = |fleet: &Fleet, g: &str| -> Vec<String> {
        let near = health::near(fleet, group(fleet, g));
        near.iter().map(|v| fleet.vantages[v.at()].name.to_string()).collect()
    };
    assert_eq!(names(&fleet, "edge-de"), ["aws-1", "outside-1", "outside-2"]);
    assert_eq!(names(&fleet, "edge-us"), ["aws-2", "azure-2", "gcp-2"]);
    // nobody stands under its law: those of its area
    let edge = group(&fleet, "edge-de");
    fleet.groups[edge.at()].jurisdiction = Jurisdiction::new("FR").unwrap();
    assert_eq!(names(&fleet, "edge-de"), ["aws-1", "azure-1", "gcp-1", "outside-1", "outside-2"]);
}

#[test]
fn only_the_clients_of_that_side_move_and_in_one_step() {
    let mut w = World::settled(payroll());
    let others = shares(&w, "edge-us");
    assert!(w.share("payroll/eu", "edge-de", "aws/eu-central-1") > 0);
    blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
    w.tick(500);
    for class in ["payroll/eu", "payroll/us", "payroll/apac", "payroll/open"] {
        assert_eq!(w.share(class, "edge-de", "aws/eu-central-1"), 0, "{class}");
    }
    assert_eq!(shares(&w, "edge-us"), others);
    let (r, state) = (region(&w.fleet, "aws/eu-central-1"), &w.last.as_ref().unwrap().1.state);
    assert_eq!(state.regions[r.at()].0, Health::Healthy, "no verdict for all");
    let text = "not reached from here: 2 of 2 probers near these clients see it failing, 5 of 5 elsewhere see it well";
    let eu = w.report().moves.iter().find(|m| w.fleet.class_name(m.class) == "payroll/eu").unwrap();
    assert_eq!((eu.kind, why::sentence(&eu.cause, &w.fleet).as_str()), (MoveKind::Safety, text));
    let found: Vec<String> = why::findings(state, &w.fleet).into_iter().map(|f| f.name).collect();
    assert_eq!(found, ["from edge-de to aws/eu-central-1", "from outside to aws/eu-central-1"]);
    // It lasts, and nothing twitches.
    let stood = w.plan().clone();
    w.run(30_000);
    assert_eq!(*w.plan(), stood);
}

#[test]
fn it_is_over_slowly_and_the_weight_comes_back_by_the_ramp() {
    let mut fleet = payroll();
    fleet.rules.min_residency = Millis(20_000);
    let mut w = World::settled(fleet);
    w.run(30_000);
    let before = w.share("payroll/eu", "edge-de", "aws/eu-central-1");
    blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
    w.run(5_000);
    w.blind.clear();
    w.tick(500);
    let well = w.clock;
    assert!(!w.state.paths.is_empty());
    let mut most = 0;
    while w.clock < well + 120_000 {
        let was = w.share("payroll/eu", "edge-de", "aws/eu-central-1");
        w.tick(500);
        let is = w.share("payroll/eu", "edge-de", "aws/eu-central-1");
        most = most.max(is.saturating_sub(was));
        assert_eq!(w.state.paths.is_empty(), w.clock >= well + 4_500, "{} ms", w.clock - well);
        assert!(is == 0 || w.clock >= well + 4_500);
    }
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), before);
    assert!(most <= 3_400, "a ramp, by the share cap: {most}");
}

#[test]
fn what_is_no_path_failure() {
    let rows: [(&str, &[&str]); 4] = [
        ("one prober near", &["outside-1"]),
        ("one near and one far", &["outside-1", "gcp-1"]),
        ("a cloud's probers that are few near any clients", &["azure-1", "azure-2"]),
        ("nobody", &[]),
    ];
    for (what, who) in rows {
        let mut w = World::settled(payroll());
        let stood = w.plan().clone();
        blind(&mut w, who, "aws/eu-central-1");
        w.run(5_000);
        assert_eq!(*w.plan(), stood, "{what}");
    }
    // It is told of a cloud, but moves nobody.
    let mut w = World::settled(payroll());
    blind(&mut w, &["azure-1", "azure-2"], "aws/eu-central-1");
    w.tick(500);
    assert_eq!(why::findings(&w.state, &w.fleet)[0].name, "from azure to aws/eu-central-1");
}

#[test]
fn a_side_that_reaches_nothing_moves_nothing() {
    let mut w = World::settled(payroll());
    let stood = w.plan().clone();
    let near = health::near(&w.fleet, group(&w.fleet, "edge-de"));
    // two thirds of all places: the probers are not struck, but every place of the class is away
    let places = ["aws/eu-central-1", "azure/westeurope", "gcp/europe-west4", "gcp/europe-west1"];
    w.blind = places.iter().flat_map(|p| near.iter().map(|v| (*v, region(&w.fleet, p)))).collect();
    w.run(5_000);
    let eu = |p: &Plan| p.splits.iter().find(|s| w.fleet.class_name(s.class) == "payroll/eu").cloned();
    assert_eq!(eu(w.plan()), eu(&stood));
}

#[test]
fn the_linter_wants_what_the_planner_does() {
    let mut w = World::settled(payroll());
    let stood = w.state.plan.clone();
    blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
    w.planner = |input| {
        let mut output = tidegate_kernel::cycle(input);
        output.state.plan.clone_from(&input.state.plan);
        output.report.moves.clear();
        output
    };
    let faults = w.try_tick(500);
    assert_eq!(w.state.plan, stood);
    assert!(faults.iter().any(|f| f.what.contains("is not reached from there and carries")), "{faults:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever loses sight of whatever: the linter finds no fault, a path stands only by the rule, written down again here,
    /// and places lose weight only in splits whose side does not reach them, or where something is Down.
    #[test]
    fn a_path_fails_only_by_its_rule(
        lost in prop::collection::btree_set((0_u16..8, 0_u16..9), 0..30), steps in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let mut w = World::settled(payroll());
        for step in steps {
            let sight = |(v, r): &(u16, u16)| (v + r + u16::from(step)).is_multiple_of(3);
            w.blind = lost.iter().filter(|l| !sight(l)).map(|(v, r)| (VantageIx(*v), RegionIx(*r))).collect();
            let faults = w.try_tick(500);
            prop_assert!(faults.is_empty(), "{faults:#?}");
            let (input, output) = w.last.as_ref().unwrap();
            let struck: Vec<VantageIx> = output.state.cut_off.iter().map(|c| c.vantage).collect();
            let blind = |v: VantageIx, r: RegionIx| w.blind.contains(&(v, r));
            for path in output.state.paths.iter().filter(|p| p.since == input.now) {
                let near = match path.from {
                    PathFrom::Group(g) => health::near(&w.fleet, g),
                    PathFrom::Provider(p) => (0..8).map(VantageIx)
                        .filter(|v| w.fleet.provider_of(w.fleet.vantages[v.at()].region) == p).collect(),
                };
                let votes = |v: &VantageIx| w.fleet.vantages[v.at()].region != path.to && !struck.contains(v);
                let (near, far): (Vec<VantageIx>, Vec<VantageIx>) = (0..8).map(VantageIx).filter(votes)
                    .partition(|v| near.contains(v));
                let failing = near.iter().filter(|v| blind(**v, path.to)).count();
                let well = far.iter().filter(|v| !blind(**v, path.to)).count();
                prop_assert!(failing >= 2 && failing * 3 >= near.len() * 2 && well * 3 >= far.len() * 2, "{path:?}");
                prop_assert!(output.state.regions[path.to.at()].0 != Health::Down);
            }
            // No split loses weight for it but those of its side.
            for m in output.report.moves.iter().filter(|m| matches!(m.cause, Reason::NotReached { .. })) {
                let side = output.state.paths.iter().any(|p| p.from == PathFrom::Group(m.group));
                prop_assert!(side, "{m:?}");
            }
        }
    }
}

/// After an outage the probers find a place well one after the other: those near some clients may be the last.
#[test]
fn a_place_that_comes_back_is_no_failed_path() {
    for late_ms in [500, 1_500, 3_000] {
        let mut w = World::settled(payroll());
        let place = region(&w.fleet, "azure/westeurope");
        let near: Vec<usize> = health::near(&w.fleet, group(&w.fleet, "edge-de")).iter().map(|v| v.at()).collect();
        let inside: Vec<bool> = w.fleet.endpoints.iter().map(|e| e.region == place).collect();
        for _ in 0..50 {
            assert_eq!(w.look(100, |e| inside[e]), []);
        }
        for t in 0..200 {
            let late = |v: usize| near.contains(&v) && t * 100 < late_ms;
            assert_eq!(w.look_apart(100, |v, e| inside[e] && late(v)), []);
            let paths = &w.last.as_ref().unwrap().1.state.paths;
            assert!(paths.is_empty(), "{late_ms} ms late, {} ms after the return: {paths:?}", t * 100);
        }
    }
}

/// A group's edges find `per_mille` of their requests failing in Frankfurt, and none in Amsterdam.
fn failing_requests(fleet: &Fleet, per_mille: u64) -> Vec<Traffic> {
    let row = |place: &str, errors: u64| Traffic {
        service: ServiceIx(0),
        region: region(fleet, place),
        group: group(fleet, "edge-de"),
        edges: 3,
        erring: if errors > 0 && errors < 1_500 { 3 } else { 0 },
        failing: if errors >= 1_500 { 3 } else { 0 },
        answered: if errors < 1_500 { 3 } else { 0 },
        issued: 3_000,
        errors,
        slow: 0,
        slow_requests: 0,
        slow_took: Millis(0),
        slow_usual: Millis(0),
    };
    vec![row("aws/eu-central-1", 3 * per_mille), row("azure/westeurope", 0)]
}

/// Who does not get there must not speak against the place: others are served well by it.
#[test]
fn requests_of_a_group_that_does_not_reach_a_place_are_no_blame() {
    let mut w = World::settled(payroll());
    let (place, us) = (region(&w.fleet, "aws/eu-central-1"), shares(&w, "edge-us"));
    blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
    w.tick(500);
    w.traffic = failing_requests(&w.fleet, 1_000);
    for _ in 0..20 {
        w.tick(500);
        let state = &w.last.as_ref().unwrap().1.state;
        assert_eq!((state.blamed.as_slice(), state.regions[place.at()].0), (&[][..], Health::Healthy));
    }
    assert_eq!(shares(&w, "edge-us"), us);
    // The way is found again, and what fails now fails for those who get there.
    w.blind.clear();
    w.run(10_000);
    let state = &w.last.as_ref().unwrap().1.state;
    assert!(state.paths.is_empty() && state.blamed.len() == 1, "{:?} {:?}", state.paths, state.blamed);
}

/// The next cycle, in which these are not heard again: their last word stands as it was.
fn tick_without(w: &mut World, ms: u64, silent: &[&str]) -> (usize, usize) {
    let old = w.last.as_ref().unwrap().0.view.reports.clone();
    w.clock += ms;
    let mut input = w.input();
    for v in silent.iter().map(|v| vantage(&w.fleet, v).at()) {
        input.view.reports[v].clone_from(&old[v]);
    }
    let output = tidegate_kernel::cycle(&input);
    assert_eq!(tidegate_kernel::lint::check(&input, &output), []);
    w.state = output.state.clone();
    w.last = Some((input, output));
    let to = region(&w.fleet, "aws/eu-central-1");
    let suspected = w.state.suspected_paths.iter().filter(|p| p.to == to);
    (w.state.paths.iter().filter(|p| p.to == to).count(), suspected.count())
}

/// Those elsewhere may have fallen silent just before: then the near ones are cut off rather than the place.
#[test]
fn a_path_waits_for_the_word_of_those_elsewhere() {
    let far = ["aws-2", "azure-1", "azure-2", "gcp-1", "gcp-2"];
    let (group_and_cloud, nothing) = ((2, 0), (0, 0));
    let lost = || {
        let mut w = World::settled(payroll());
        blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
        w
    };
    // They stay silent until their word is stale: nothing is found, and nothing moves.
    let mut w = lost();
    let stood = w.plan().clone();
    for ms in (500..=3_000).step_by(500) {
        assert_eq!(tick_without(&mut w, 500, &far), (0, 2), "{ms} ms");
    }
    for _ in 0..10 {
        assert_eq!(tick_without(&mut w, 500, &far), nothing, "stale");
        assert_eq!(*w.plan(), stood);
    }
    // Two of five are no half; three are.
    let mut w = lost();
    assert_eq!(tick_without(&mut w, 500, &far), (0, 2));
    assert_eq!(tick_without(&mut w, 500, &far[2..]), (0, 2));
    assert_eq!(tick_without(&mut w, 500, &far[3..]), group_and_cloud);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0);
    // Who spoke last before it was lost is heard anew each second; the word counts although others are silent.
    let mut w = lost();
    assert_eq!(tick_without(&mut w, 500, &far), (0, 2));
    assert_eq!(tick_without(&mut w, 500, &["aws-2"]), group_and_cloud);
    // So many lose it that meanwhile nobody can tell for all: it is found nevertheless.
    let mut w = World::settled(payroll());
    blind(&mut w, &["aws-2", "azure-2", "gcp-2"], "aws/eu-central-1");
    assert_eq!(tick_without(&mut w, 500, &["azure-1", "gcp-1", "outside-1", "outside-2"]), (0, 1));
    assert_eq!(w.state.regions[region(&w.fleet, "aws/eu-central-1").at()].0, Health::Unknown);
    assert_eq!(tick_without(&mut w, 500, &[]), (1, 0));
    // A suspicion that passes is forgotten.
    let mut w = lost();
    assert_eq!(tick_without(&mut w, 500, &far), (0, 2));
    w.blind.clear();
    assert_eq!(tick_without(&mut w, 500, &far), nothing);
    blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
    assert_eq!(tick_without(&mut w, 500, &far), (0, 2));
}

/// Of those elsewhere who have spoken since, two thirds must see it well, and from two providers.
#[test]
fn a_path_is_confirmed_by_the_electorates_rule_among_those_who_spoke() {
    let near = ["aws-2", "azure-2", "gcp-2"];
    let mut w = World::settled(payroll());
    blind(&mut w, &near, "aws/eu-central-1");
    // Four stand elsewhere. Two of one place are half, and one provider.
    assert_eq!(tick_without(&mut w, 500, &["azure-1", "gcp-1"]), (0, 1));
    assert_eq!(tick_without(&mut w, 500, &["outside-2", "gcp-1"]), (1, 0));
    // Six stand outside the place from which this one is lost; two of them lose it too. Of four who spoke two are no two thirds,
    // though of two providers; of six four are.
    let mut w = World::settled(payroll());
    let to = "aws/ap-southeast-1";
    blind(&mut w, &["outside-1", "outside-2", "aws-1", "azure-1"], to);
    let side = (PathFrom::Provider(provider(&w.fleet, "outside")), region(&w.fleet, to));
    let found = |w: &World| w.state.paths.iter().any(|p| (p.from, p.to) == side);
    tick_without(&mut w, 500, &["aws-2", "gcp-2"]);
    assert!(!found(&w) && w.state.suspected_paths.iter().any(|p| (p.from, p.to) == side));
    tick_without(&mut w, 500, &[]);
    assert!(found(&w));
}

/// The edges may notice before the probers do: their word delays nothing.
#[test]
fn a_path_is_found_at_once_where_the_edges_already_complain() {
    let mut w = World::settled(payroll());
    let place = region(&w.fleet, "aws/eu-central-1");
    w.traffic = failing_requests(&w.fleet, 52);
    w.tick(500);
    assert_eq!(w.last.as_ref().unwrap().1.state.regions[place.at()].0, Health::Degraded);
    blind(&mut w, &["outside-1", "outside-2"], "aws/eu-central-1");
    w.tick(500);
    let paths = &w.last.as_ref().unwrap().1.state.paths;
    assert!(paths.iter().any(|p| p.from == PathFrom::Group(group(&w.fleet, "edge-de")) && p.to == place), "{paths:?}");
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0);
}
