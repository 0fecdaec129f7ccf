//! The stories, each with its numbers in virtual milliseconds: probes every 500 ms, gossip 40 ms, a write 20 ms.

use crate::wire;
use crate::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidegate_controller::{Ask, Input, StoreState};
use tidegate_domain::*;

/// From the fault to the published plan that leaves the dead cloud, at most.
const MOVED_MS: u64 = 1_100;
/// The same where a probe fails by its time-out of 400 ms.
const MOVED_HUNG_MS: u64 = 1_500;

/// The example with a minimum residency that a test can wait for.
fn quick() -> tidegate_controller::Candidate {
    payroll(&[("minResidency: 30min", "minResidency: 20s")])
}

/// At the end of every story: all is recorded and replays, and no snapshot ever named a forbidden endpoint.
fn closing(w: &World) {
    checks::whole(w).unwrap();
    for p in &w.published {
        wire::lawful(&p.fleet, &p.plan).unwrap();
    }
    assert!(w.published.windows(2).all(|p| p[0].generation < p[1].generation), "no restart, so every one is new");
    assert_eq!((w.model().store, w.model().refused), (StoreState::Well, 0));
}

#[test]
fn provider_down() {
    for (fail_ms, limit) in [(0, MOVED_MS), (400, MOVED_HUNG_MS)] {
        // Whatever the moment within a probe's period.
        for offset in [0, 100, 200, 300, 400] {
            let mut w = World::settled(quick());
            assert_eq!(w.share("payroll/eu", "edge-de", "aws"), 6000);
            w.fail_ms = fail_ms;
            w.run(1_000 + offset);
            w.kill("aws");
            let took = w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
            println!("provider down, fails after {fail_ms} ms, offset {offset} ms: moved after {took} ms");
            assert!(took <= limit, "{took} ms after the fault (fails after {fail_ms} ms, offset {offset} ms)");
            assert_eq!(w.share("payroll/eu", "edge-de", "gcp/europe-west1"), 0);
            let verdict = w.told.iter().rfind(|t| t.1.kind == "verdict" && t.1.about == "aws").unwrap();
            assert!(w.clock - verdict.0 <= 2 * STEP_MS, "verdict to plan: a write and its answer");
            closing(&w);
        }
    }
}

#[test]
fn two_providers() {
    let mut w = World::settled(quick());
    w.kill("aws");
    w.kill("azure");
    let took = w.until(6_000, "both empty", |w| w.carried("aws") + w.carried("azure") == 0);
    println!("two providers: moved after {took} ms");
    // The senses of the dead clouds count until their reports are stale, at 3 s.
    assert!(took <= 3_200, "{took} ms");
    for split in w.plan().splits.iter().filter(|s| w.fleet().classes[s.class.at()].priority == 0) {
        assert!(!matches!(split.serving, Serving::Routed { shed } if shed > Bps::ZERO), "high class shed: {split:?}");
    }
    closing(&w);
}

#[test]
fn all_down_by_a_wrong_health_check_keeps_the_weights() {
    let mut w = World::settled(quick());
    let stood = w.plan();
    w.wrong_path = true;
    let took = w.until(6_000, "alarm", |w| w.model().alarms.iter().any(|a| matches!(a.alarm, Alarm::AllDown { .. })));
    println!("all down: alarm after {took} ms");
    assert!(took <= 4_000, "{took} ms to the alarm");
    w.run(60_000);
    assert_same_weights(&w.plan(), &stood);
    w.wrong_path = false;
    w.run(20_000);
    assert_same_weights(&w.plan(), &stood);
    assert!(w.model().alarms.is_empty(), "{:?}", w.model().alarms);
    assert!(w.published.iter().all(|p| weights(&p.plan) == weights(&stood)), "and at no moment between");
    closing(&w);
}

fn weights(plan: &Plan) -> Vec<Vec<Weight>> {
    plan.splits.iter().map(|s| s.weights.clone()).collect()
}
#[track_caller]
fn assert_same_weights(now: &Plan, then: &Plan) {
    assert_eq!(weights(now), weights(then));
}

#[test]
fn machine_stall_moves_nothing() {
    for stall in [500, 2_000, 3_500, 10_000] {
        let mut w = World::settled(quick());
        let published = w.published.len();
        w.stalled = true;
        w.run(stall);
        w.stalled = false;
        w.run(30_000);
        assert_eq!(w.published.len(), published, "{stall} ms");
        assert!(w.model().alarms.is_empty());
        closing(&w);
    }
}

#[test]
fn recovery_is_a_slow_ramp_after_minimum_residency() {
    let mut w = World::settled(quick());
    let before = weights(&w.plan());
    w.kill("aws");
    w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
    let left = w.clock;
    w.run(5_000);
    w.dead.clear();
    let mut shares = vec![(w.clock, w.share("payroll/eu", "edge-de", "aws"))];
    while w.clock < left + 90_000 {
        w.run(100);
        let share = w.share("payroll/eu", "edge-de", "aws");
        if share != shares.last().unwrap().1 {
            shares.push((w.clock, share));
        }
    }
    let steps: Vec<u16> = shares.iter().map(|s| s.1).collect();
    assert_eq!(steps, [0, 3400, 6000]);
    assert!(shares[1].0 - left >= 20_000, "minimum residency: {} ms", shares[1].0 - left);
    assert!((10_000..11_500).contains(&(shares[2].0 - shares[1].0)), "settle: {shares:?}");
    assert_eq!(weights(&w.plan()), before);
    closing(&w);
}

#[test]
fn operator_drain_takes_two_steps_and_a_restore_brings_it_back() {
    let mut w = World::settled(quick());
    let asked = w.clock;
    let answer = w.ask(drain("aws")).unwrap();
    assert!(w.clock - asked <= 3 * STEP_MS, "answered once recorded");
    assert!(answer.sentences.iter().any(|s| s.starts_with("step 2 after 10.0 s")), "{:?}", answer.sentences);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws"), 2600);
    let took = w.until(15_000, "eu drained", |w| w.share("payroll/eu", "edge-de", "aws") == 0);
    assert!((9_900..=11_000).contains(&took), "{took} ms");
    w.until(40_000, "all drained", |w| w.carried("aws") == 0);
    assert_eq!(weights(&w.plan()), weights(answer.plans.as_ref().map(|p| &*p.1).unwrap()), "as it was promised");
    w.run(60_000);
    assert_eq!(w.carried("aws"), 0);
    w.ask(restore("aws")).unwrap();
    w.until(60_000, "back", |w| w.share("payroll/eu", "edge-de", "aws") == 6000);
    let other = w.ask(drain("azure")).unwrap();
    assert_ne!(other.id, answer.id);
    w.until(60_000, "azure drained", |w| w.carried("azure") == 0);
    assert!(w.ask(drain("aws")).and(w.ask(drain("gcp"))).is_err(), "a drain of everything is refused");
    closing(&w);
}

#[test]
fn forbidden_cheapest_and_its_control() {
    let free = ("costPerMillion: $0.18", "costPerMillion: $0");
    let mut w = World::settled(payroll(&[free]));
    w.kill("aws");
    w.run(20_000);
    let belgium = w.region("gcp/europe-west1");
    let seen = |w: &World, class: &str| {
        let fleet = w.fleet();
        let of = |p: &&Published| {
            p.plan.splits.iter().any(|s| fleet.class_name(s.class) == class && s.share(belgium) > Bps::ZERO)
        };
        w.published.iter().filter(of).count()
    };
    for class in ["payroll/eu", "payroll/us", "payroll/us-ca", "payroll/apac"] {
        assert_eq!(seen(&w, class), 0, "{class}");
    }
    assert!(seen(&w, "payroll/open") > 0, "Belgium serves its own class all along");
    closing(&w);
    // Without the rule the same fault reaches Belgium: the zeros above mean something.
    let mut control = World::settled(payroll(&[free, ("permitted: [DE, NL]", "permitted: [DE, NL, BE]")]));
    control.kill("aws");
    control.run(20_000);
    assert!(seen(&control, "payroll/eu") > 0);
}

#[test]
fn capacity_cascade_sheds_only_the_low_class() {
    let raised =
        payroll(&[("demand: { edge-de: 20 rps, edge-us: 20 rps }", "demand: { edge-de: 490 rps, edge-us: 490 rps }")]);
    let mut w = World::settled(raised);
    assert!(w.model().alarms.is_empty(), "all fits while all live: {:?}", w.model().alarms);
    assert!(!w.model().gaps.is_empty(), "and what a loss would shed was known beforehand");
    w.kill("aws");
    w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
    w.run(10_000);
    let shed: Vec<(String, u16)> = w
        .plan()
        .splits
        .iter()
        .filter_map(|s| match s.serving {
            Serving::Routed { shed } if shed > Bps::ZERO => Some((w.fleet().class_name(s.class), shed.get())),
            Serving::Routed { .. } | Serving::WrongJurisdiction | Serving::NoPlace => None,
        })
        .collect();
    assert!(!shed.is_empty() && shed.iter().all(|s| s.0 == "payroll/open"), "{shed:?}");
    for p in &w.published {
        wire::within_limits(&p.fleet, &p.plan).unwrap();
    }
    closing(&w);
}

#[test]
fn one_lying_vantage_and_one_blind_group_move_nothing() {
    let mut w = World::settled(quick());
    let published = w.published.len();
    let aws: std::collections::BTreeSet<RegionIx> = (0..w.fleet().regions.len())
        .map(RegionIx::from)
        .filter(|r| w.fleet().provider_of(*r) == w.provider("aws"))
        .collect();
    w.blind.insert(2, aws.clone());
    w.run(20_000);
    assert_eq!(w.published.len(), published, "one liar");
    // Both of azure's probers lose sight of the cloud that carries 60 %.
    w.blind.insert(3, aws);
    w.run(20_000);
    assert_eq!(w.published.len(), published, "one vantage group");
    closing(&w);
}

#[test]
fn a_group_under_the_wrong_law_is_refused_there_and_served_elsewhere() {
    let mut w = World::settled(quick());
    w.kill("azure");
    w.run(10_000);
    for p in &w.published {
        let fleet = &p.fleet;
        let of = |class: &str, group: &str| {
            let c = p
                .plan
                .splits
                .iter()
                .find(|s| fleet.class_name(s.class) == class && fleet.groups[s.group.at()].name.as_str() == group);
            c.unwrap().serving
        };
        assert_eq!(of("payroll/us-ca", "edge-de"), Serving::WrongJurisdiction);
        assert_eq!(of("payroll/eu", "edge-us"), Serving::WrongJurisdiction);
        assert!(matches!(of("payroll/us-ca", "edge-us"), Serving::Routed { .. }));
    }
    closing(&w);
}

#[test]
fn probers_die_while_a_provider_is_dead() {
    let mut w = World::settled(quick());
    w.kill("aws");
    w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
    let stood = w.plan();
    w.silent.insert(2);
    w.silent.insert(4);
    w.run(30_000);
    assert_same_weights(&w.plan(), &stood);
    assert_eq!(w.carried("aws"), 0);
    closing(&w);
}

#[test]
fn the_control_plane_dies_then_a_provider_then_it_returns() {
    let mut w = World::settled(quick());
    let (stood, last) = (w.plan(), w.published.last().unwrap().generation);
    // Nobody decides for a while: what is published stands, edges keep it.
    w.kill("aws");
    let published = w.published.len();
    w.restart();
    assert_eq!((w.published.len(), w.published[published].generation), (published + 1, last));
    assert_same_weights(&w.plan(), &stood);
    let took = w.until(5_000, "aws empty", |w| w.carried("aws") == 0);
    println!("restarted into an outage: moved after {took} ms");
    assert!(took <= 3_000, "{took} ms after the start");
    assert!(w.published.iter().all(|p| !p.plan.splits.is_empty()), "no empty snapshot");
    w.feed(vec![Input::Tick]);
    checks::whole(&w).unwrap();
    let fleet: Arc<Fleet> = w.fleet();
    assert!(w.published.iter().all(|p| wire::lawful(&fleet, &p.plan).is_ok()));
    let paused = Ask::Automation { pause: true, safety: false, economic: true, lasting: None };
    assert!(w.ask(paused).unwrap().changed);
}

/// Its health path answers 200, and what people ask of it fails: all of it, or one request in eight.
#[test]
fn what_fails_by_its_requests_alone_loses_its_weight() {
    for (per_mille, first_ms, empty_ms) in [(1_000, 5_000, 5_000), (125, 5_000, 16_000)] {
        let mut w = World::settled(quick());
        w.edges = true;
        let published = w.published.len();
        w.run(30_000);
        assert_eq!(w.published.len(), published, "what is well stays");
        let place = w.region("aws/eu-central-1");
        let on = |w: &World| w.share("payroll/eu", "edge-de", "aws/eu-central-1");
        let (before, told) = (on(&w), w.told.len());
        assert_eq!(before, 6000, "more than one voluntary step");
        w.erring.insert(place, per_mille);
        let first = w.until(first_ms, "first step", |w| on(w) < before);
        let rest = w.until(empty_ms, "nothing left", |w| w.plan().splits.iter().all(|s| s.share(place) == Bps::ZERO));
        println!("{per_mille} per mille fail: first step after {first} ms, nothing left after {} ms", first + rest);
        let word = if per_mille == 1_000 { "failing" } else { "erring" };
        let text = format!("place payroll in aws/eu-central-1 is {word} (");
        assert!(w.told[told..].iter().any(|t| t.1.kind == "finding" && t.1.text.contains(&text)), "{text}");
        // `status` gives the word of those who say so, not the votes of probers that see it well.
        let (model, fleet) = (w.model(), w.fleet());
        let unwell = tidegate_api::words::unwell(&fleet, &model.verdicts, &model.findings(), Mono(0));
        let region = unwell.iter().find(|u| u.what == "region aws/eu-central-1");
        let evidence = region.map(|u| u.evidence.clone()).unwrap_or_default();
        assert!(evidence.starts_with(&format!("payroll is {word}: ")) && !evidence.contains("agree"), "{unwell:?}");
        assert!(w.model().state.regions.iter().all(|r| r.0 != Health::Down), "a region falls by the probers alone");
        // It is kept away from, and tried again by the ramp when its time is over.
        w.run(30_000);
        assert!(w.plan().splits.iter().all(|s| s.share(place) == Bps::ZERO));
        closing(&w);
    }
}

/// Its health path answers well and quickly, and what people ask of it takes twenty times as long as it did.
#[test]
fn what_is_slow_by_its_requests_alone_loses_its_weight() {
    let mut w = World::settled(quick());
    w.edges = true;
    // What is usual is learned in the first 30 s.
    let published = w.published.len();
    w.run(60_000);
    assert_eq!(w.published.len(), published, "what is well stays");
    let place = w.region("aws/eu-central-1");
    let on = |w: &World| w.share("payroll/eu", "edge-de", "aws/eu-central-1");
    let (before, told) = (on(&w), w.told.len());
    w.answers_in.insert(place, 400);
    let first = w.until(5_000, "first step", |w| on(w) < before);
    let rest = w.until(16_000, "nothing left", |w| w.plan().splits.iter().all(|s| s.share(place) == Bps::ZERO));
    println!("twenty times as slow: first step after {first} ms, nothing left after {} ms", first + rest);
    let found: Vec<&str> = w.told[told..].iter().filter(|t| t.1.kind == "finding").map(|t| t.1.text.as_str()).collect();
    let text = "place payroll in aws/eu-central-1 is slow (";
    assert!(found.iter().any(|t| t.contains(text) && t.contains(" ms instead of 20 ms")), "{found:?}");
    assert!(w.model().state.regions.iter().all(|r| r.0 != Health::Down));
    w.run(30_000);
    assert!(w.plan().splits.iter().all(|s| s.share(place) == Bps::ZERO));
    closing(&w);
}

/// The two probers outside the clouds lose a region: the clients near them leave it, nobody else does.
#[test]
fn a_path_failure_moves_the_clients_of_one_side() {
    let mut w = World::settled(quick());
    let place = w.region("aws/eu-central-1");
    let shares = |w: &World, group: &str| -> Vec<Vec<Weight>> {
        let g = w.fleet().group(&Name::new(group).unwrap()).unwrap();
        w.plan().splits.iter().filter(|s| s.group == g).map(|s| s.weights.clone()).collect()
    };
    let others = shares(&w, "edge-us");
    let outside: Vec<usize> =
        (0..w.fleet().vantages.len()).filter(|v| w.fleet().vantages[*v].name.as_str().starts_with("outside")).collect();
    assert_eq!(outside.len(), 2);
    w.blind = outside.iter().map(|v| (*v, BTreeSet::from([place]))).collect();
    let took = w.until(4_000, "left", |w| w.share("payroll/eu", "edge-de", "aws/eu-central-1") == 0);
    println!("path failure: left after {took} ms");
    assert_eq!(shares(&w, "edge-us"), others);
    let told = |w: &World, text: &str| w.told.iter().any(|t| t.1.kind == "finding" && t.1.text.contains(text));
    assert!(told(&w, "path from edge-de to aws/eu-central-1 is failing (2 of 2 probers near these clients"));
    w.blind.clear();
    w.until(10_000, "over", |w| told(w, "path from edge-de to aws/eu-central-1 is no longer failing"));
    w.until(120_000, "back", |w| w.share("payroll/eu", "edge-de", "aws/eu-central-1") == 6000);
    closing(&w);
}
