//! Who waits for whom: what moves or flickers elsewhere stops neither a drain nor an economic move; what goes where they
//! would go does, for a time that is bounded.

mod support;
mod world;

use support::*;
use tidegate_domain::*;
use world::World;

/// Fails for one second in every `period`.
fn flickers(clock: u64, period: u64) -> bool {
    clock % period < 1_000
}

fn waits(w: &World, class_name: &str, group_name: &str) -> Vec<Reason> {
    let (c, g) = (class(&w.fleet, class_name), group(&w.fleet, group_name));
    w.report().splits.iter().find(|s| (s.class, s.group) == (c, g)).unwrap().waits.clone()
}

fn brisk() -> World {
    let mut fleet = payroll();
    fleet.rules.min_residency = Millis(20_000);
    World::settled(fleet)
}

/// `azure/westeurope` becomes the cheapest by far: the class eu wants 60 % there.
fn make_azure_cheap(w: &mut World) {
    let at = region(&w.fleet, "azure/westeurope");
    w.fleet.regions[at.at()].cost_per_million = PicoDollars(10);
}

#[test]
fn an_endpoint_that_flickers_starves_no_drain() {
    for (place, elsewhere) in [("gcp/asia-southeast1", true), ("azure/westeurope", false)] {
        let mut w = World::settled(payroll());
        let one = endpoints_in(&w.fleet, region(&w.fleet, place))[0].at();
        let look = |w: &mut World| {
            let fails = flickers(w.clock + 250, 8_000);
            assert_eq!(w.look(250, |e| e == one && fails), []);
        };
        (0..80).for_each(|_| look(&mut w));
        w.drain(1, Scope::Provider(provider(&w.fleet, "aws")));
        let asked = w.clock;
        let (mut waited, mut began) = (false, None);
        while w.provider_share("payroll/eu", "edge-de", "aws") > 0 && w.clock < asked + 120_000 {
            look(&mut w);
            let said = waits(&w, "payroll/eu", "edge-de");
            waited |= said.iter().any(|r| matches!(r, Reason::Unsettled { .. }));
            let moved = w.provider_share("payroll/eu", "edge-de", "aws") < 6_000;
            began = began.or(moved.then_some(w.clock - asked));
        }
        // where it would go something does flicker: it waits, says so, and not for ever
        assert_eq!(waited, !elsewhere, "{place}");
        let most = if elsewhere { 250 } else { 3 * w.fleet.rules.settle.0 + 250 };
        assert!(began.is_some_and(|ms| ms <= most), "{place}: began after {began:?}");
        assert_eq!(w.provider_share("payroll/eu", "edge-de", "aws"), 0, "{place}");
    }
}

#[test]
fn a_half_dead_or_flickering_place_elsewhere_stops_no_economic_move() {
    for half_dead in [true, false] {
        let mut w = brisk();
        let place = region(&w.fleet, "gcp/asia-southeast1");
        let third = w.fleet.endpoints[endpoints_in(&w.fleet, place)[0].at()].clone();
        w.fleet.endpoints.push(Endpoint { name: name("third"), host: "10.9.9.9".to_owned(), ..third });
        w.run(5_000);
        let ours = endpoints_in(&w.fleet, place);
        let look = |w: &mut World| {
            let fails = flickers(w.clock + 250, 6_000);
            // two of three are dead and the region with them: the third answers all the time
            let dead = |e: usize| match half_dead {
                true => ours[..2].iter().any(|o| o.at() == e),
                false => ours[0].at() == e && fails,
            };
            assert_eq!(w.look(250, dead), []);
        };
        (0..40).for_each(|_| look(&mut w));
        make_azure_cheap(&mut w);
        (0..160).for_each(|_| look(&mut w));
        assert!(w.share("payroll/eu", "edge-de", "azure/westeurope") >= 6_000, "half dead: {half_dead}");
    }
}

#[test]
fn no_economic_move_goes_where_a_shed_class_might() {
    let mut w = brisk();
    let low = class(&w.fleet, "payroll/open");
    w.demand = ["edge-de", "edge-us"].map(|g| (low, group(&w.fleet, g), rps(4_000))).to_vec();
    w.run(10_000);
    assert!(w.report().alarms.iter().any(|a| matches!(a, Alarm::Shedding { .. })), "{:?}", w.report().alarms);
    make_azure_cheap(&mut w);
    let before = w.share("payroll/eu", "edge-de", "azure/westeurope");
    w.run(60_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "azure/westeurope"), before);
    assert!(waits(&w, "payroll/eu", "edge-de").contains(&Reason::SafetyFirst));
    w.demand.clear();
    w.run(120_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "azure/westeurope"), 6_000);
}

#[test]
fn all_down_falls_back_to_the_plan_of_the_last_minute() {
    let mut w = brisk();
    let one = endpoints_in(&w.fleet, region(&w.fleet, "gcp/asia-southeast1"))[0].at();
    let look = |w: &mut World| {
        let fails = flickers(w.clock + 500, 40_000);
        assert_eq!(w.look(500, |e| e == one && fails), []);
    };
    (0..120).for_each(|_| look(&mut w));
    let old = w.split("payroll/eu", "edge-de").weights.clone();
    make_azure_cheap(&mut w);
    (0..400).for_each(|_| look(&mut w));
    let then = w.split("payroll/eu", "edge-de").weights.clone();
    assert_ne!(old, then, "an economic move has changed the shares long ago");
    // half of it goes first, which moves the weights, then the rest
    let aws = provider(&w.fleet, "aws");
    let fleet = w.fleet.clone();
    let first = |e: usize| fleet.provider_of(fleet.endpoints[e].region) == aws;
    for t in 0..60 {
        assert_eq!(w.look(500, |e| t >= 20 || first(e)), []);
    }
    assert_eq!(w.split("payroll/eu", "edge-de").weights, then);
}

#[test]
fn as_many_regions_serve_again_as_the_assertion_asks() {
    let mut fleet = two_services();
    fleet.rules.min_regions_on = 1;
    let mut w = World::settled(fleet);
    assert_eq!(w.split("a/eu", "edge-de").weights.len(), 1);
    w.fleet.rules.min_regions_on = 2;
    w.run(60_000);
    assert_eq!(w.split("a/eu", "edge-de").weights.len(), 2);
    assert_eq!(waits(&w, "a/eu", "edge-de"), []);
}

#[test]
fn a_restore_returns_where_only_economic_moves_are_denied() {
    let mut w = World::settled(two_services());
    for ((_, _, kind), answer) in &mut w.mask.answers {
        answer.allow = *kind != MoveKind::Economic;
    }
    let place = Scope::Region(region(&w.fleet, "aws/eu-central-1"));
    w.drain(1, place);
    w.run(60_000);
    assert_eq!(w.share("a/eu", "edge-de", "aws/eu-central-1"), 0);
    w.intents.drains.clear();
    w.run(60_000);
    assert_eq!(w.share("a/eu", "edge-de", "aws/eu-central-1"), 0, "by itself it may not");
    w.intents.restores.push(Restore { scope: place, service: None, at: w.wall() });
    w.run(60_000);
    assert_eq!(w.share("a/eu", "edge-de", "aws/eu-central-1"), 10_000);
}
