//! Each checker trips on a mutation of what it passes.

use super::*;
use tidegate_domain::{Bps, ClassIx, ClassSplit, GroupIx, VantageSelf, Weight};

fn fleet() -> Fleet {
    let loaded = tidegate_config::load_documents(tidegate_config::example_payroll());
    loaded.unwrap_or_else(|f| panic!("{f}")).fleet
}

fn class(fleet: &Fleet, name: &str) -> ClassIx {
    (0..fleet.classes.len()).map(ClassIx::from).find(|c| fleet.class_name(*c) == name).expect(name)
}

fn region(fleet: &Fleet, name: &str) -> RegionIx {
    fleet.regions.iter().position(|r| r.name.to_string() == name).map(RegionIx::from).expect(name)
}

/// All of `payroll/eu` in Frankfurt.
fn plan(fleet: &Fleet) -> Plan {
    let split = ClassSplit {
        class: class(fleet, "payroll/eu"),
        group: (0..fleet.groups.len())
            .map(GroupIx::from)
            .find(|g| fleet.groups[g.at()].name.as_str() == "edge-de")
            .unwrap(),
        serving: Serving::Routed { shed: Bps::ZERO },
        weights: vec![Weight { region: region(fleet, "aws/eu-central-1"), share: Bps::FULL }],
        spill: vec![vec![region(fleet, "gcp/europe-west4")]],
    };
    Plan { fleet: fleet.revision, splits: vec![split], endpoints_out: Vec::new() }
}

#[test]
fn generations_rise() {
    assert_eq!(rises(None, 1), Ok(()));
    assert_eq!(rises(Some(3), 3), Ok(()));
    assert!(rises(Some(3), 2).unwrap_err().starts_with("I2"));
}

#[test]
fn belgium_trips_the_law_as_weight_and_as_spill() {
    let fleet = fleet();
    let good = plan(&fleet);
    assert_eq!(permitted(&fleet, &good), Ok(()));
    let belgium = region(&fleet, "gcp/europe-west1");
    let mut weight = good.clone();
    weight.splits[0].weights[0].region = belgium;
    let mut spill = good;
    spill.splits[0].spill.push(vec![belgium]);
    for bad in [weight, spill] {
        assert!(permitted(&fleet, &bad).unwrap_err().starts_with("I6"));
    }
}

#[test]
fn a_region_over_its_limit_trips_but_in_all_down() {
    let mut fleet = fleet();
    let good = plan(&fleet);
    assert_eq!(within_limits(&fleet, &good, &[]), Ok(()));
    let frankfurt = region(&fleet, "aws/eu-central-1").at();
    fleet.regions[frankfurt].capacity.0 = 10_000;
    assert!(within_limits(&fleet, &good, &[]).unwrap_err().starts_with("I8"));
    assert_eq!(within_limits(&fleet, &good, &[Alarm::AllDown { class: good.splits[0].class }]), Ok(()));
}

#[test]
fn a_lost_route_trips() {
    let fleet = fleet();
    let good = plan(&fleet);
    assert_eq!(routes_stay(&fleet, &good, &good), Ok(()));
    let mut none = good.clone();
    none.splits[0].serving = Serving::NoPlace;
    let mut empty = good.clone();
    empty.splits[0].weights.clear();
    for bad in [none, empty, Plan::default()] {
        assert!(routes_stay(&fleet, &good, &bad).unwrap_err().starts_with("I14"));
    }
}

/// Everybody outside AWS sees all of it fail, and is fit to say so.
fn reports(fleet: &Fleet, aws: ProviderIx) -> Vec<Option<VantageReport>> {
    let state = |e: &tidegate_domain::Endpoint| {
        if fleet.provider_of(e.region) == aws { TargetState::Failing } else { TargetState::Ok }
    };
    let report = |v: usize| VantageReport {
        vantage: v.into(),
        incarnation: 1,
        sequence: 1,
        revision: fleet.revision,
        arrived: Mono(5_000_000_000),
        own: VantageSelf { references_reached: 3, reference_networks: 3, self_doubt: false },
        targets: fleet.endpoints.iter().map(state).collect(),
        rtt: Vec::new(),
    };
    (0..fleet.vantages.len()).map(|v| Some(report(v))).collect()
}

#[test]
fn a_verdict_that_the_reports_do_not_bear_out_trips() {
    let fleet = fleet();
    let aws = fleet.providers.iter().position(|p| p.name.as_str() == "aws").map(ProviderIx::from).unwrap();
    let virginia = region(&fleet, "aws/us-east-1");
    let down = |accused| Verdict {
        accused,
        health: Health::Down,
        since: Mono(0),
        electorate: 6,
        eligible: 6,
        agreeing: 6,
        agreeing_providers: 3,
        votes: Vec::new(),
    };
    let endpoint = fleet.endpoints.iter().position(|e| e.region == virginia).unwrap();
    let all = [Accused::Provider(aws), Accused::Region(virginia), Accused::Endpoint(endpoint.into())].map(down);
    let failing = BTreeSet::new();
    let judged = |verdict: &Verdict, reports: &[Option<VantageReport>]| {
        by_the_rule(&fleet, verdict, Evidence { reports, now: Mono(5_100_000_000), failing: &failing, cut_off: &[] })
    };
    let good = reports(&fleet, aws);
    let inside = |v: usize| fleet.provider_of(fleet.vantages[v].region) == aws;
    type Mutation = fn(&mut VantageReport);
    let blind: Mutation = |r| r.targets.iter_mut().for_each(|t| *t = TargetState::Ok);
    let mutations: [(&str, Mutation); 5] = [
        ("stale", |r| r.arrived = Mono(0)),
        ("cut off", |r| r.own.reference_networks = 1),
        ("doubts itself", |r| r.own.self_doubt = true),
        ("of another list", |r| r.revision = tidegate_domain::Revision([9; 32])),
        ("sees it well", blind),
    ];
    for verdict in &all {
        assert_eq!(judged(verdict, &good), Ok(()));
        // Four of the six outside are of no use, and those inside see nothing wrong.
        for (what, mutate) in mutations {
            let mut bad = good.clone();
            let outside: Vec<usize> = (0..bad.len()).filter(|v| !inside(*v)).collect();
            for (v, report) in bad.iter_mut().enumerate() {
                let Some(report) = report.as_mut() else { continue };
                if inside(v) {
                    blind(report);
                } else if outside[..4].contains(&v) {
                    mutate(report);
                }
            }
            assert!(judged(verdict, &bad).is_err(), "{what}: {:?}", verdict.accused);
        }
        // The word of one provider alone.
        let mut one = good.clone();
        let first = fleet.provider_of(fleet.vantages[(0..good.len()).find(|v| !inside(*v)).unwrap()].region);
        for v in (0..one.len()).filter(|v| fleet.provider_of(fleet.vantages[*v].region) != first) {
            one[v] = None;
        }
        assert!(judged(verdict, &one).unwrap_err().starts_with("I15"));
    }
}

#[test]
fn i11_what_is_published_and_not_committed_trips() {
    let fleet = fleet();
    let plan = plan(&fleet);
    let mut committed = CommittedPlan {
        generation: 4,
        term: 1,
        fleet: fleet.revision,
        decision: 9,
        plan: plan.clone(),
        fleet_blob: BlobHash([0; 32]),
        returning: Vec::new(),
        displaced: Vec::new(),
        ramps: Vec::new(),
    };
    assert_eq!(is_committed(Some(&committed), 4, &plan), Ok(()));
    assert!(is_committed(None, 4, &plan).unwrap_err().starts_with("I11"));
    assert!(is_committed(Some(&committed), 5, &plan).unwrap_err().starts_with("I11"));
    committed.plan.splits[0].weights[0].share = Bps::clamped(9_999);
    assert!(is_committed(Some(&committed), 4, &plan).unwrap_err().starts_with("I11"));
}

/// A minute of a cell, in which a provider dies.
const MINUTE: &str = "apiVersion: tidegate/v1
kind: Scenario
name: minute
spec:
  about: for tests
  lasts: 60s
  network: { delay: 1ms..2ms }
  faults: [ { at: 35s, lasts: 20s, what: down, of: aws, how: refuse } ]
  expect: { falseVerdicts: 0 }
";

#[test]
fn i12_a_journal_that_was_touched_and_a_kernel_that_decides_otherwise_trip() {
    let scenario = crate::scenario::Scenario::parse(MINUTE, std::path::Path::new("minute.yaml")).unwrap();
    let candidate = crate::run::fleet(&scenario).unwrap();
    let mut world = crate::world::World::new(&scenario, candidate, 1, false).unwrap();
    world.run_until(scenario.spec.lasts.0).unwrap();
    let (entries, end) = (world.server.entries().unwrap(), world.server.end().unwrap().0);
    let judged = |entries: &[Entry], end: Link, run: fn(&CycleInput) -> CycleOutput| {
        replays(entries, end, |hash| world.server.blob(hash), run)
    };
    let count = judged(&entries, end, tidegate_kernel::cycle).unwrap();
    assert!(count >= 2, "{count} decisions");
    // An entry less, at the end and in the middle.
    assert!(judged(&entries[..entries.len() - 1], end, tidegate_kernel::cycle).unwrap_err().starts_with("I12"));
    let mut less = entries.clone();
    less.remove(entries.len() / 2);
    assert!(judged(&less, end, tidegate_kernel::cycle).unwrap_err().starts_with("I12"));
    // A decision that says something else than was chained.
    let mut other = entries.clone();
    let decision = other.iter_mut().rev().find_map(|e| match &mut e.body {
        EntryBody::Decision(d) => Some(d),
        EntryBody::Event(_) => None,
    });
    decision.unwrap().summary.push('!');
    assert!(judged(&other, end, tidegate_kernel::cycle).unwrap_err().starts_with("I12"));
    // A kernel that does not decide as the one on record did.
    fn otherwise(input: &CycleInput) -> CycleOutput {
        let mut output = tidegate_kernel::cycle(input);
        output.report.alarms.push(Alarm::NoPlace { class: ClassIx(0) });
        output
    }
    assert!(judged(&entries, end, otherwise).unwrap_err().contains("replays to other bytes"));
}

#[test]
fn the_edges_word_bears_out_an_endpoint_and_no_more() {
    let fleet = fleet();
    let virginia = region(&fleet, "aws/us-east-1");
    let endpoint = fleet.endpoints.iter().position(|e| e.region == virginia).unwrap();
    let failing = BTreeSet::from([(fleet.endpoints[endpoint].service, virginia)]);
    let other = fleet.endpoints.iter().position(|e| e.region != virginia).unwrap();
    let judged = |accused| {
        let votes = Vec::new();
        let (health, since) = (Health::Down, Mono(0));
        let (electorate, eligible, agreeing, agreeing_providers) = (6, 6, 0, 0);
        let verdict = Verdict { accused, health, since, electorate, eligible, agreeing, agreeing_providers, votes };
        by_the_rule(&fleet, &verdict, Evidence { reports: &[], now: Mono(1), failing: &failing, cut_off: &[] })
    };
    assert_eq!(judged(Accused::Endpoint(endpoint.into())), Ok(()));
    for accused in [Accused::Endpoint(other.into()), Accused::Region(virginia)] {
        assert!(judged(accused).unwrap_err().starts_with("I15"), "{accused:?}");
    }
}

/// One who was told to be cut off neither speaks for a verdict nor stands in its way.
#[test]
fn who_is_cut_off_does_not_count() {
    let fleet = fleet();
    let aws = fleet.providers.iter().position(|p| p.name.as_str() == "aws").map(ProviderIx::from).unwrap();
    let (votes, failing) = (Vec::new(), BTreeSet::new());
    let (accused, health, since) = (Accused::Provider(aws), Health::Down, Mono(0));
    let (electorate, eligible, agreeing, agreeing_providers) = (6, 5, 4, 2);
    let verdict = Verdict { accused, health, since, electorate, eligible, agreeing, agreeing_providers, votes };
    let mut reports = reports(&fleet, aws);
    let outside: Vec<usize> =
        (0..reports.len()).filter(|v| fleet.provider_of(fleet.vantages[*v].region) != aws).collect();
    // Three of six see it well: no two thirds, but where two of these three do not count.
    for v in &outside[..3] {
        reports[*v].as_mut().unwrap().targets.fill(TargetState::Ok);
    }
    let cut = |v: &usize| CutOff {
        vantage: (*v).into(),
        since: Mono(0),
        cause: tidegate_domain::CutOffCause::References { reached: 0 },
        well_since: None,
    };
    let all: Vec<CutOff> = outside[..2].iter().map(cut).collect();
    let judged = |cut_off: &[CutOff]| {
        by_the_rule(
            &fleet,
            &verdict,
            Evidence { reports: &reports, now: Mono(5_100_000_000), failing: &failing, cut_off },
        )
    };
    assert!(judged(&[]).unwrap_err().starts_with("I15"));
    assert_eq!(judged(&all), Ok(()));
}

/// In a large fleet the region's probers decide by the same votes, and only while half of all are heard.
#[test]
fn few_speak_for_a_large_fleet_only_while_most_are_heard() {
    let mut fleet = fleet();
    for copy in 1..4 {
        for v in 0..8 {
            let mut vantage = fleet.vantages[v].clone();
            vantage.name = tidegate_domain::Name::new(&format!("{}-{copy}", vantage.name)).unwrap();
            fleet.vantages.push(vantage);
        }
    }
    let virginia = region(&fleet, "aws/us-east-1");
    let aws = fleet.provider_of(virginia);
    let probers = assigned(&fleet, virginia);
    let outside: Vec<usize> = (0..fleet.vantages.len()).filter(|v| fleet.vantages[*v].region != virginia).collect();
    let (votes, failing) = (Vec::new(), BTreeSet::new());
    let (accused, health, since) = (Accused::Region(virginia), Health::Down, Mono(0));
    let (electorate, eligible, agreeing, agreeing_providers) = (7, 7, 7, 3);
    let verdict = Verdict { accused, health, since, electorate, eligible, agreeing, agreeing_providers, votes };
    let judged = |reports: &[Option<VantageReport>]| {
        by_the_rule(&fleet, &verdict, Evidence { reports, now: Mono(5_100_000_000), failing: &failing, cut_off: &[] })
    };
    // One region fails, so that no provider bears it out.
    let failing_there = || {
        let mut all = reports(&fleet, aws);
        for (e, _) in fleet.endpoints.iter().enumerate().filter(|(_, e)| e.region != virginia) {
            all.iter_mut().flatten().for_each(|r| r.targets[e] = TargetState::Ok);
        }
        all
    };
    // The word of others than the seven says nothing of the region.
    let mut few = failing_there();
    for v in outside.iter().filter(|v| !probers.contains(v)) {
        few[*v].as_mut().unwrap().targets.fill(TargetState::Unseen);
    }
    assert_eq!((probers.len(), judged(&few)), (7, Ok(())));
    let mut heard = outside.len();
    for v in outside.iter().filter(|v| !probers.contains(v)) {
        few[*v] = None;
        heard -= 1;
        assert_eq!(judged(&few).is_ok(), heard * 2 >= outside.len(), "{heard} of {}", outside.len());
    }
    // Of the seven themselves, too many say otherwise.
    let mut all = failing_there();
    probers[..3].iter().for_each(|v| all[*v].as_mut().unwrap().targets.fill(TargetState::Ok));
    assert!(judged(&all).unwrap_err().starts_with("I15"));
}
