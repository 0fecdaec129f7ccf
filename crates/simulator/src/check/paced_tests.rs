//! Each of I9, I10, I13 and I16 trips on a mutation of a decision that passes.

use super::*;
use std::sync::Arc;
use tidegate_domain::{
    Automation, FreezeWindow, Intents, Mask, Millis, State, Subject, Switch, VantageIx, VantageReport, VantageSelf,
    View, Wall, Weight,
};

const NOW: Mono = Mono(10_000_000_000_000);
const WALL: Wall = Wall(1_700_000_000_000);

fn fleet() -> Fleet {
    let loaded = tidegate_config::load_documents(tidegate_config::example_payroll());
    loaded.unwrap_or_else(|f| panic!("{f}")).fleet
}

/// Everybody is fit and sees everything well.
fn input(fleet: &Fleet, now: Mono) -> CycleInput {
    let report = |v: usize| VantageReport {
        vantage: VantageIx::from(v),
        incarnation: 1,
        sequence: 1,
        revision: fleet.revision,
        arrived: now,
        own: VantageSelf { references_reached: 3, reference_networks: 3, self_doubt: false },
        targets: vec![TargetState::Ok; fleet.endpoints.len()],
        rtt: Vec::new(),
    };
    let reports = (0..fleet.vantages.len()).map(|v| Some(report(v))).collect();
    let view = View { reports, wall: WALL, ..View::default() };
    let fleet = Arc::new(fleet.clone());
    CycleInput { fleet, mask: Arc::new(Mask::default()), state: State::default(), view, now }
}

const CLASS: ClassIx = ClassIx(0);
const GROUP: GroupIx = GroupIx(0);

/// One class between two regions: so much of it in the second.
fn plan(second: u64) -> Plan {
    let weight = |region: u16, share: u64| Weight { region: RegionIx(region), share: Bps::clamped(share) };
    let mut weights = vec![weight(0, 10_000 - second), weight(1, second)];
    weights.retain(|w| w.share > Bps::ZERO);
    let serving = Serving::Routed { shed: Bps::ZERO };
    let split = ClassSplit { class: CLASS, group: GROUP, serving, weights, spill: Vec::new() };
    Plan { splits: vec![split], ..Plan::default() }
}

fn kinds(kind: MoveKind) -> Kinds {
    Kinds::from([((CLASS, GROUP), kind)])
}

fn after(ms: u64) -> Mono {
    NOW + Millis(ms)
}

/// What is said of one step of 20 % on `input`.
fn said(paced: &mut Paced, input: &CycleInput, kind: MoveKind) -> Vec<String> {
    paced.decided(input, &plan(0), &plan(2_000), &kinds(kind)).err().unwrap_or_default()
}

fn one(faults: &[String], invariant: &str, words: &str) {
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with(invariant) && faults[0].contains(words), "{faults:?}");
}

#[test]
fn a_good_step_of_any_kind_passes() {
    let fleet = fleet();
    for kind in MoveKind::ALL {
        assert_eq!(said(&mut Paced::default(), &input(&fleet, NOW), kind), Vec::<String>::new(), "{kind:?}");
    }
    // Steps of one economic move need not wait for each other's residency.
    let mut ramp = Paced::default();
    for step in 0..4 {
        let at = input(&fleet, after(step * fleet.rules.settle.0));
        assert_eq!(said(&mut ramp, &at, MoveKind::Economic), Vec::<String>::new());
    }
}

#[test]
fn i9_a_step_above_the_cap_or_too_soon_or_without_a_record_trips() {
    let fleet = fleet();
    let good = input(&fleet, NOW);
    let (from, to, voluntary) = (plan(0), plan(3_401), kinds(MoveKind::Voluntary));
    let cap = Paced::default().decided(&good, &from, &to, &voluntary).unwrap_err();
    one(&cap, "I9", "share cap");
    assert_eq!(
        Paced::default().decided(&good, &from, &to, &kinds(MoveKind::Safety)),
        Ok(()),
        "nobody waits in an outage"
    );
    let none = Paced::default().decided(&good, &from, &plan(1), &Kinds::new()).unwrap_err();
    one(&none, "I9", "on record");
    let mut paced = Paced::default();
    assert!(said(&mut paced, &good, MoveKind::Safety).is_empty());
    let soon = input(&fleet, after(fleet.rules.settle.0 - 1));
    one(&said(&mut paced.clone(), &soon, MoveKind::Voluntary), "I9", "settled");
    let settled = input(&fleet, after(fleet.rules.settle.0));
    assert_eq!(said(&mut paced, &settled, MoveKind::Voluntary), Vec::<String>::new());
}

#[test]
fn i9_too_few_regions_trip() {
    let mut fleet = fleet();
    let (from, to, voluntary) = (plan(2_000), plan(0), kinds(MoveKind::Voluntary));
    assert_eq!(Paced::default().decided(&input(&fleet, NOW), &from, &to, &voluntary), Ok(()));
    fleet.rules.min_regions_on = 2;
    one(&Paced::default().decided(&input(&fleet, NOW), &from, &to, &voluntary).unwrap_err(), "I9", "1 regions stay on");
}

#[test]
fn i9_automation_that_is_off_and_i16_a_freeze_trip() {
    let mut fleet = fleet();
    let mut off = input(&fleet, NOW);
    let economic = Switch::Paused { reason: String::new(), by: Subject::default(), until: None };
    off.view.intents = Intents { automation: Automation { economic, ..Automation::default() }, ..Intents::default() };
    one(&said(&mut Paced::default(), &off, MoveKind::Economic), "I9", "automation is off");
    assert!(said(&mut Paced::default(), &off, MoveKind::Voluntary).is_empty());
    let until = WALL + Millis(1);
    fleet.rules.freeze.push(FreezeWindow { from: WALL, until, reason: "close".to_owned() });
    let mut frozen = input(&fleet, NOW);
    one(&said(&mut Paced::default(), &frozen, MoveKind::Economic), "I16", "freeze");
    one(&said(&mut Paced::default(), &frozen, MoveKind::Voluntary), "I9", "freeze");
    assert!(said(&mut Paced::default(), &frozen, MoveKind::Safety).is_empty());
    frozen.view.wall = until;
    assert!(said(&mut Paced::default(), &frozen, MoveKind::Economic).is_empty(), "it is over");
}

#[test]
fn i9_a_step_where_a_providers_api_is_in_trouble_trips() {
    let mut fleet = fleet();
    let provider = fleet.provider_of(RegionIx(1));
    let check = fleet.services[0].check.clone();
    fleet.apis = vec![tidegate_domain::ProviderApi { provider, host: "api".to_owned(), port: 443, check }];
    // Six stand outside the provider: two thirds of them must see it, of two providers.
    let outside: Vec<usize> =
        (0..fleet.vantages.len()).filter(|v| fleet.provider_of(fleet.vantages[*v].region) != provider).collect();
    assert_eq!(outside.len(), 6);
    let seen_by = |count: usize| {
        let mut input = input(&fleet, NOW);
        for (v, report) in input.view.reports.iter_mut().enumerate() {
            let fails = outside[..count].contains(&v);
            let state = if fails { TargetState::Failing } else { TargetState::Ok };
            report.as_mut().unwrap().targets.push(state);
        }
        input
    };
    for kind in [MoveKind::Voluntary, MoveKind::Economic] {
        assert_eq!(said(&mut Paced::default(), &seen_by(3), kind), Vec::<String>::new(), "{kind:?}");
        // From the provider's own region into another of it: both are touched.
        let faults = said(&mut Paced::default(), &seen_by(4), kind);
        let touched = [RegionIx(0), RegionIx(1)].iter().filter(|r| fleet.provider_of(**r) == provider).count();
        assert_eq!(faults.len(), touched, "{faults:?}");
        assert!(faults.iter().all(|f| f.starts_with("I9") && f.contains("API is in trouble")), "{faults:?}");
    }
    assert!(said(&mut Paced::default(), &seen_by(6), MoveKind::Safety).is_empty(), "nobody waits in an outage");
    let word = |trouble: bool| {
        let (until, by, reason) = (WALL + Millis(1), Subject::default(), String::new());
        tidegate_domain::ApiWord { provider, trouble, reason, by, until }
    };
    let mut told = seen_by(6);
    told.view.intents.api_words.push(word(false));
    assert!(said(&mut Paced::default(), &told, MoveKind::Voluntary).is_empty(), "a person knows better");
    let mut told = seen_by(0);
    told.view.intents.api_words.push(word(true));
    assert!(!said(&mut Paced::default(), &told, MoveKind::Voluntary).is_empty());
    told.view.wall = WALL + Millis(1);
    assert!(said(&mut Paced::default(), &told, MoveKind::Voluntary).is_empty(), "the word is over");
}

#[test]
fn i10_a_second_economic_move_within_residency_trips() {
    let fleet = fleet();
    let residency = fleet.rules.min_residency.0;
    for first in MoveKind::ALL {
        let mut paced = Paced::default();
        assert!(said(&mut paced, &input(&fleet, NOW), first).is_empty());
        let soon = input(&fleet, after(residency - 1));
        one(&said(&mut paced.clone(), &soon, MoveKind::Economic), "I10", "residency");
        assert!(said(&mut paced.clone(), &soon, MoveKind::Voluntary).is_empty(), "only economic moves wait");
        assert!(said(&mut paced, &input(&fleet, after(residency)), MoveKind::Economic).is_empty());
    }
}

#[test]
fn i13_an_economic_move_on_what_is_stale_or_bad_trips() {
    let fleet = fleet();
    type Mutation = fn(&mut VantageReport);
    let mutations: [(&str, Mutation); 4] = [
        ("stale", |r| r.arrived = Mono(0)),
        ("cut off", |r| r.own.references_reached = 0),
        ("doubts itself", |r| r.own.self_doubt = true),
        ("sees it fail", |r| r.targets.fill(TargetState::Failing)),
    ];
    for (what, mutate) in mutations {
        let mut bad = input(&fleet, NOW);
        // The gaining region holds one of the eight: five of the seven others are of no use.
        let others = fleet.vantages.iter().map(|v| v.region != RegionIx(1)).collect::<Vec<_>>();
        let reports = bad.view.reports.iter_mut().zip(others).filter(|(_, other)| *other).take(5);
        reports.filter_map(|(r, _)| r.as_mut()).for_each(mutate);
        one(&said(&mut Paced::default(), &bad, MoveKind::Economic), "I13", "fresh and good");
        assert!(said(&mut Paced::default(), &bad, MoveKind::Safety).is_empty(), "{what}");
    }
}
