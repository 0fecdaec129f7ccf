//! A provider whose own API is in trouble: who may say so, what stands still, what does not, and that it all goes on after.

mod support;
mod world;

use proptest::prelude::*;
use support::*;
use tidegate_domain::*;
use tidegate_kernel::{DrainRefusal, drain_check, health, why};
use world::World;

/// The example fleet with the APIs of all three clouds probed, and the demo's times.
fn probed() -> Fleet {
    let mut fleet = payroll();
    for cloud in ["aws", "azure", "gcp"] {
        fleet = FleetBuilder { fleet }.api(cloud).build();
    }
    fleet.rules.min_residency = Millis(20_000);
    fleet
}

fn cheap(w: &mut World, place: &str) {
    let at = region(&w.fleet, place);
    w.fleet.regions[at.at()].cost_per_million = PicoDollars(10);
}

fn trouble(w: &World) -> Vec<String> {
    why::findings(&w.state, &w.fleet)
        .into_iter()
        .map(|f| format!("{} {} {}: {}", f.kind, f.name, f.word, f.evidence))
        .collect()
}

/// Shares of every split in the regions of one cloud.
fn of_cloud(w: &World, cloud: &str) -> Vec<Vec<Weight>> {
    let own = |x: &&Weight| w.fleet.provider_of(x.region) == provider(&w.fleet, cloud);
    w.plan().splits.iter().map(|s| s.weights.iter().filter(own).copied().collect()).collect()
}

fn waits_for_api(w: &World, class_name: &str, group_name: &str) -> bool {
    let (c, g) = (class(&w.fleet, class_name), group(&w.fleet, group_name));
    let split = w.report().splits.iter().find(|s| (s.class, s.group) == (c, g)).unwrap();
    split.waits.iter().any(|r| matches!(r, Reason::ApiTrouble { .. }))
}

#[test]
fn nothing_economic_goes_in_until_it_has_been_well_for_a_time() {
    let mut w = World::settled(probed());
    w.run(30_000);
    w.break_api("azure");
    w.tick(500);
    let said = "api azure in trouble: 6 of 6 eligible probers outside it, of 6 in all, see it failing";
    assert_eq!(trouble(&w), [said]);
    let before = of_cloud(&w, "azure");
    cheap(&mut w, "azure/westeurope");
    w.run(60_000);
    assert_eq!(of_cloud(&w, "azure"), before, "held where it is");
    assert!(waits_for_api(&w, "payroll/eu", "edge-de"));
    w.api_failing.clear();
    w.run(4_500);
    assert_eq!(of_cloud(&w, "azure"), before, "well, but not for long enough");
    w.run(120_000);
    assert!(trouble(&w).is_empty());
    assert_eq!(w.provider_share("payroll/eu", "edge-de", "azure"), 6_000);
}

#[test]
fn a_drain_is_refused_and_a_standing_one_waits() {
    let mut w = World::settled(probed());
    w.run(30_000);
    w.break_api("aws");
    w.tick(500);
    let before = of_cloud(&w, "aws");
    let drain = w.drain(1, Scope::Region(region(&w.fleet, "aws/eu-central-1")));
    let (input, _) = w.last.clone().unwrap();
    let refused = drain_check(&w.fleet, &w.mask, &w.state, &input.view, &drain, at(w.clock)).unwrap_err();
    let words = refused.to_string();
    assert!(matches!(refused, DrainRefusal::Held { .. }) && words.contains("the API of aws is in trouble"), "{words}");
    w.run(30_000);
    assert_eq!(of_cloud(&w, "aws"), before);
    assert!(waits_for_api(&w, "payroll/eu", "edge-de"));
    // a person who knows better lets it go on
    w.say("aws", false, 600_000);
    w.run(60_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0);
}

#[test]
fn a_ramp_stands_still_and_goes_on_where_it_was() {
    let mut w = World::settled(probed());
    w.run(30_000);
    w.drain(1, Scope::Provider(provider(&w.fleet, "aws")));
    while w.provider_share("payroll/eu", "edge-de", "aws") == 6_000 {
        w.tick(500);
    }
    let (half, ramps) = (of_cloud(&w, "aws"), w.state.ramps.len());
    assert!(w.provider_share("payroll/eu", "edge-de", "aws") > 0 && ramps > 0);
    w.break_api("aws");
    w.run(60_000);
    assert_eq!(of_cloud(&w, "aws"), half);
    assert_eq!(w.state.ramps.len(), ramps, "held, not over");
    w.api_failing.clear();
    w.run(60_000);
    assert_eq!(w.provider_share("payroll/eu", "edge-de", "aws"), 0);
}

#[test]
fn safety_moves_go_out_and_in_all_the_same() {
    let mut w = World::settled(probed());
    w.run(30_000);
    w.break_api("aws");
    w.run(5_000);
    w.dead.push(region(&w.fleet, "aws/eu-central-1"));
    w.run(3_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0, "traffic first");
    let mut w = World::settled(probed());
    w.run(30_000);
    let before = w.share("payroll/eu", "edge-de", "aws/eu-central-1");
    w.break_api("aws");
    w.run(5_000);
    w.kill("azure");
    w.kill("gcp");
    w.run(5_000);
    let now = w.share("payroll/eu", "edge-de", "aws/eu-central-1");
    assert!(before < 10_000 && now == 10_000, "what is there takes it: {now}");
}

#[test]
fn what_was_lost_meanwhile_comes_back_after_it() {
    let mut w = World::settled(probed());
    w.run(30_000);
    let then = w.plan().splits.clone();
    w.dead.push(region(&w.fleet, "aws/eu-central-1"));
    w.run(5_000);
    w.break_api("aws");
    w.run(5_000);
    w.dead.clear();
    w.run(300_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0, "failback is no safety move");
    assert!(waits_for_api(&w, "payroll/eu", "edge-de"), "{:?}", w.report().splits[0].waits);
    w.api_failing.clear();
    w.run(180_000);
    let now = w.plan().splits.iter().map(|s| &s.weights);
    assert!(now.eq(then.iter().map(|s| &s.weights)), "the shares from before stand again");
}

#[test]
fn a_persons_word_stands_over_the_probes_and_ends() {
    let mut w = World::settled(payroll());
    assert_eq!(trouble(&w), Vec::<String>::new());
    w.say("gcp", true, 30_000);
    w.run(29_500);
    assert_eq!(trouble(&w), ["api gcp in trouble: ann says so: their status page"]);
    w.tick(500);
    assert!(trouble(&w).is_empty(), "no probes: over with the word");
    let mut w = World::settled(probed());
    w.break_api("gcp");
    w.say("gcp", false, 30_000);
    w.run(29_500);
    assert!(trouble(&w).is_empty());
    w.tick(500);
    assert_eq!(trouble(&w).len(), 1, "the probes are heard again");
}

#[test]
fn it_alarms_after_a_while_and_wakes_for_that() {
    let mut w = World::settled(probed());
    w.break_api("gcp");
    w.tick(500);
    let alarm = Alarm::ApiTrouble { provider: provider(&w.fleet, "gcp") };
    let due = at(w.clock) + w.fleet.rules.unknown_alarm;
    assert!(!w.report().alarms.contains(&alarm));
    assert!(w.last.as_ref().unwrap().1.wake.is_some_and(|at| at <= due));
    w.run(w.fleet.rules.unknown_alarm.0);
    assert_eq!(w.report().alarms, std::slice::from_ref(&alarm));
    assert!(why::alarm_sentence(&alarm, &w.fleet).starts_with("the API of gcp has been in trouble"));
}

#[test]
fn in_a_large_fleet_seven_of_three_providers_ask() {
    let mut fleet = payroll();
    for i in 0..8 {
        fleet = FleetBuilder { fleet }.vantage(&format!("more-{i}"), "azure/eastus").build();
    }
    let aws = provider(&fleet, "aws");
    let asks = health::asks_api(&fleet, aws);
    let of: Vec<ProviderIx> = asks.iter().map(|v| fleet.provider_of(fleet.vantages[v.at()].region)).collect();
    assert_eq!(asks.len(), health::PROBE_FROM);
    assert!(!of.contains(&aws));
    assert_eq!(of.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert_eq!(health::asks_api(&payroll(), aws).len(), 6, "all outside in a small one");
}

#[test]
fn a_first_plan_is_bound_by_nothing_that_could_be_held() {
    let mut fleet = probed();
    fleet.rules.min_regions_on = 2;
    for class in &mut fleet.classes {
        class.provider_share_max = Bps::FULL;
    }
    let weights = |w: &World| w.plan().splits.iter().map(|s| s.weights.clone()).collect::<Vec<_>>();
    let usual = weights(&World::settled(fleet.clone()));
    let mut w = World::new(fleet);
    w.say("aws", true, 3_600_000);
    w.run(7_000);
    assert_eq!(weights(&w), usual);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    /// By the votes alone: half of the six outside eligible, two thirds of these failing, of two providers.
    #[test]
    fn an_api_is_in_trouble_only_by_a_quorum_outside(seen in prop::collection::vec(0_u8..3, 8)) {
        let mut w = World::settled(probed());
        let aws = provider(&w.fleet, "aws");
        let all = || (0..w.fleet.vantages.len()).map(VantageIx::from);
        let outside = |v: &VantageIx| w.fleet.provider_of(w.fleet.vantages[v.at()].region) != aws;
        let failing: Vec<VantageIx> = all().filter(|v| seen[v.at()] == 1).collect();
        let silent: Vec<VantageIx> = all().filter(|v| seen[v.at()] == 2).collect();
        let eligible = all().filter(outside).filter(|v| !silent.contains(v)).count();
        let against: Vec<VantageIx> = failing.iter().copied().filter(outside).collect();
        let of = |v: &VantageIx| w.fleet.provider_of(w.fleet.vantages[v.at()].region);
        let providers = against.iter().map(of).collect::<std::collections::BTreeSet<_>>().len();
        let expected = eligible * 2 >= 6 && !against.is_empty() && against.len() * 3 >= eligible * 2 && providers >= 2;
        w.clock += 500;
        w.api_failing = failing.iter().map(|v| (*v, aws)).collect();
        let mut input = w.input();
        for v in silent {
            input.view.reports[v.at()] = None;
        }
        let judged = health::judge(&input.fleet, &input.mask, &input.view, &w.state, input.now);
        prop_assert_eq!(!judged.apis.is_empty(), expected, "{:?}", judged.apis);
        // judging again finds the same, and no place was accused
        let state = State { apis: judged.apis.clone(), endpoints: judged.endpoints.clone(), regions: judged.regions.clone(), providers: judged.providers.clone(), ..w.state.clone() };
        let again = health::judge(&input.fleet, &input.mask, &input.view, &state, input.now);
        prop_assert_eq!(&again.apis, &judged.apis);
        prop_assert!(judged.endpoints.iter().all(|e| e.health != Health::Down));
    }
}
