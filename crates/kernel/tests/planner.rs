//! What the planner promises, story by story.

mod support;
mod world;

use support::*;
use tidegate_domain::*;
use tidegate_kernel::*;
use world::World;

fn reasons<'a>(w: &'a World, class_name: &str, group_name: &str, place: &str) -> &'a RegionReport {
    let (c, g, r) = (class(&w.fleet, class_name), group(&w.fleet, group_name), region(&w.fleet, place));
    let split = w.report().splits.iter().find(|s| (s.class, s.group) == (c, g)).unwrap();
    split.regions.iter().find(|x| x.region == r).unwrap()
}

#[test]
fn the_first_plan_is_taken_at_once_and_stands() {
    let mut w = World::new(payroll());
    let first = w.tick(500).clone();
    assert!(first.state.plan.is_some());
    w.run(60_000);
    assert_eq!(w.plan().splits, first.state.plan.unwrap().splits);
    assert_eq!(w.provider_share("payroll/eu", "edge-de", "aws"), 6000);
    assert!(w.report().alarms.is_empty(), "{:?}", w.report().alarms);
}

#[test]
fn the_same_view_and_plan_again_change_nothing() {
    let mut w = World::settled(payroll());
    w.kill("aws");
    for ms in [500, 500, 500, 500, 500, 500, 500, 500, 10_000, 500] {
        w.tick(ms);
        let mut again = w.input();
        again.now = at(w.clock);
        let output = cycle(&again);
        assert_eq!(output.state.plan, w.state.plan, "at {}", w.clock);
        assert!(output.report.moves.is_empty());
    }
}

#[test]
fn an_outage_moves_at_once_and_within_the_permitted_set() {
    let mut w = World::settled(payroll());
    w.kill("aws");
    w.run(6_000);
    for (c, g) in [("eu", "edge-de"), ("us-ca", "edge-us"), ("us", "edge-de"), ("open", "edge-us")] {
        assert_eq!(w.provider_share(&format!("payroll/{c}"), g, "aws"), 0, "{c} at {g}");
    }
    assert_eq!(w.share("payroll/eu", "edge-de", "gcp/europe-west1"), 0);
    assert!(w.state.returning.contains(&region(&w.fleet, "aws/eu-central-1")));
    let why = reasons(&w, "payroll/eu", "edge-de", "aws/eu-central-1");
    assert!(matches!(why.reasons[0], Reason::Unfit { health: Health::Down, .. }), "{why:?}");
}

#[test]
fn recovery_waits_for_residency_and_ramps() {
    let mut fleet = payroll();
    fleet.rules.min_residency = Millis(20_000);
    let mut w = World::settled(fleet);
    let before = w.plan().splits.clone();
    w.kill("aws");
    w.run(8_000);
    let died = w.clock;
    w.dead.clear();
    let mut steps = Vec::new();
    while w.clock < died + 120_000 {
        w.tick(500);
        let c = class(&w.fleet, "payroll/eu");
        let ours = w.report().moves.iter().filter(|m| m.class == c);
        for m in ours {
            let said = why::move_sentence(m, &w.fleet);
            assert!(said.ends_with("aws/eu-central-1 is healthy and may carry again"), "{said}");
            steps.push((w.clock, m.kind, m.share.get()));
        }
    }
    assert!(steps.iter().all(|s| s.1 == MoveKind::Economic && s.2 <= 3400), "{steps:?}");
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(steps[1].0 - steps[0].0 >= 10_000);
    assert_eq!(w.plan().splits.len(), before.len());
    for (now, then) in w.plan().splits.iter().zip(&before) {
        assert_eq!(now.weights, then.weights, "{} {:?}", w.fleet.class_name(now.class), now.group);
    }
    assert!(w.state.returning.is_empty(), "{:?}", w.state.returning);
}

#[test]
fn a_drain_of_sixty_per_cent_takes_two_steps() {
    let mut w = World::settled(payroll());
    let aws = Scope::Provider(provider(&w.fleet, "aws"));
    let drain = w.drain(1, aws);
    w.intents.drains.clear();
    let input = w.input();
    let preview = drain_check(&w.fleet, &w.mask, &w.state, &input.view, &drain, input.now).unwrap();
    w.intents.drains.push(drain);
    let mut seen = Vec::new();
    for _ in 0..60 {
        w.tick(500);
        let c = class(&w.fleet, "payroll/eu");
        seen.extend(w.report().moves.iter().filter(|m| m.class == c).map(|m| m.share.get()));
    }
    assert_eq!(seen, [3400, 2600]);
    assert_eq!(w.provider_share("payroll/eu", "edge-de", "aws"), 0);
    assert_eq!(preview.steps.len(), 2);
    assert_eq!(preview.steps[1].after, Millis(10_000));
    assert_eq!(preview.plan.splits, w.plan().splits);
    let why = reasons(&w, "payroll/eu", "edge-de", "aws/eu-central-1");
    assert_eq!(why.reasons[0], Reason::Drained { id: 1 });
    // A restore lets it return at once, without residency, by the same steps.
    w.intents.drains.clear();
    w.intents.restores.push(Restore { scope: aws, service: None, at: w.wall() });
    w.run(30_000);
    assert_eq!(w.provider_share("payroll/eu", "edge-de", "aws"), 6000);
}

#[test]
fn a_drain_that_leaves_nothing_is_refused() {
    let mut w = World::settled(payroll());
    let aws = Scope::Provider(provider(&w.fleet, "aws"));
    for (i, cloud) in ["azure", "gcp"].into_iter().enumerate() {
        w.drain(i as u64 + 1, Scope::Provider(provider(&w.fleet, cloud)));
    }
    let drain = w.drain(3, aws);
    w.intents.drains.pop();
    let input = w.input();
    let refused = drain_check(&w.fleet, &w.mask, &w.state, &input.view, &drain, input.now);
    assert!(matches!(refused, Err(DrainRefusal::NoPlaceLeft { .. })), "{refused:?}");
    // and a drain in a freeze window
    w.intents.drains.clear();
    let (from, until) = (w.wall(), w.wall() + Millis(60_000));
    w.fleet.rules.freeze.push(FreezeWindow { from, until, reason: "payday".to_owned() });
    let input = w.input();
    let refused = drain_check(&w.fleet, &w.mask, &w.state, &input.view, &drain, input.now);
    assert!(matches!(refused, Err(DrainRefusal::Held { .. })), "{refused:?}");
}

#[test]
fn a_drain_while_nothing_is_known_says_so() {
    let mut w = World::settled(payroll());
    let drain = w.drain(1, Scope::Provider(provider(&w.fleet, "aws")));
    w.intents.drains.clear();
    w.clock += 10_000;
    let mut input = w.input();
    input.view.reports.iter_mut().for_each(|r| *r = None);
    w.state = cycle(&input).state;
    let refused = drain_check(&w.fleet, &w.mask, &w.state, &input.view, &drain, input.now).unwrap_err();
    assert!(matches!(refused, DrainRefusal::NothingKnown { .. }), "{refused:?}");
    let words = refused.to_string();
    assert!(words.contains("known to be healthy") && words.contains("probers"), "{words}");
    assert!(!words.contains("restore"), "nothing is drained: {words}");
}

#[test]
fn a_drain_that_survivors_cannot_hold_is_refused() {
    let mut w = World::settled(payroll());
    let (eu, de) = (class(&w.fleet, "payroll/eu"), group(&w.fleet, "edge-de"));
    w.demand = vec![(eu, de, rps(1500))];
    w.run(60_000);
    let drain = w.drain(3, Scope::Provider(provider(&w.fleet, "aws")));
    w.intents.drains.clear();
    let input = w.input();
    let refused = drain_check(&w.fleet, &w.mask, &w.state, &input.view, &drain, input.now);
    assert!(matches!(refused, Err(DrainRefusal::DoesNotFit { .. })), "{refused:?}");
}

#[test]
fn a_cascade_sheds_the_low_class_only() {
    let mut w = World::settled(payroll());
    let groups = ["edge-de", "edge-us"].map(|g| group(&w.fleet, g));
    let low = class(&w.fleet, "payroll/open");
    w.demand = groups.map(|g| (low, g, rps(1700))).to_vec();
    w.run(20_000);
    assert!(w.report().alarms.is_empty(), "{:?}", w.report().alarms);
    w.kill("aws");
    w.run(10_000);
    let shed: Vec<ClassIx> = w
        .plan()
        .splits
        .iter()
        .filter(|s| matches!(s.serving, Serving::Routed { shed } if shed > Bps::ZERO))
        .map(|s| s.class)
        .collect();
    assert!(!shed.is_empty() && shed.iter().all(|c| *c == low), "{:?}", w.report().alarms);
    w.run(60_000);
}

#[test]
fn the_group_s_own_law_counts() {
    let w = World::settled(payroll());
    assert_eq!(w.split("payroll/us-ca", "edge-de").serving, Serving::WrongJurisdiction);
    assert!(w.split("payroll/us-ca", "edge-de").weights.is_empty());
    assert!(matches!(w.split("payroll/us-ca", "edge-us").serving, Serving::Routed { .. }));
}

#[test]
fn belgium_for_nothing_never_gets_eu_but_with_leave_does() {
    let mut fleet = payroll();
    let belgium = region(&fleet, "gcp/europe-west1");
    fleet.regions[belgium.at()].cost_per_million = PicoDollars(0);
    let mut w = World::settled(fleet.clone());
    w.kill("aws");
    w.run(60_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "gcp/europe-west1"), 0);
    assert!(w.share("payroll/open", "edge-de", "gcp/europe-west1") > 0, "Belgium serves its own class");
    let why = reasons(&w, "payroll/eu", "edge-de", "gcp/europe-west1");
    assert_eq!(why.disposition, Disposition::Excluded);
    assert!(matches!(why.reasons[0], Reason::NotPermitted { .. }));
    // control
    let eu = class(&fleet, "payroll/eu");
    fleet.classes[eu.at()].permitted = only(&["DE", "NL", "BE"]);
    let w = World::settled(fleet);
    assert!(w.share("payroll/eu", "edge-de", "gcp/europe-west1") > 0);
}

#[test]
fn policy_narrows_and_never_freezes_the_others() {
    let mut w = World::new(payroll());
    let eu = class(&w.fleet, "payroll/eu");
    for ((c, law, _), answer) in &mut w.mask.answers {
        if *c == eu && law.as_str() == "NL" {
            *answer = PolicyAnswer { allow: false, reason: "not there".to_owned() };
        }
    }
    w.run(7_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 10_000);
    assert!(w.share("payroll/us", "edge-de", "azure/westeurope") > 0);
    w.mask.answers.retain(|(c, _, _), _| *c != eu);
    w.tick(500);
    assert_eq!(w.split("payroll/eu", "edge-de").serving, Serving::NoPlace);
    assert!(w.report().alarms.contains(&Alarm::NoPlace { class: eu }));
}

#[test]
fn all_down_keeps_the_weights_from_before() {
    let mut w = World::settled(payroll());
    let before = w.plan().splits.clone();
    for cloud in ["aws", "azure", "gcp"] {
        w.kill(cloud);
    }
    // The probers at all places live on: a wrong health check, not the end of the world.
    let mut alarmed = false;
    for _ in 0..40 {
        w.clock += 500;
        let mut input = w.input();
        let wrong = view_of(&w.fleet, input.now, |_, _| TargetState::Failing);
        input.view.reports = wrong.reports;
        let output = cycle(&input);
        let faults = lint::check(&input, &output);
        assert!(faults.is_empty(), "{faults:#?}");
        alarmed |= output.report.alarms.iter().any(|a| matches!(a, Alarm::AllDown { .. }));
        w.state = output.state;
        for (now, then) in w.plan().splits.iter().zip(&before) {
            assert_eq!(now.weights, then.weights, "at {}", w.clock);
        }
    }
    assert!(alarmed);
}

/// One cycle in which nobody reports anything; the classes for which all-down is alarmed.
fn blind(w: &mut World) -> usize {
    w.clock += 500;
    let mut input = w.input();
    input.view.reports.iter_mut().for_each(|r| *r = None);
    let output = cycle(&input);
    assert_eq!(lint::check(&input, &output), []);
    let alarmed = output.report.alarms.iter().filter(|a| matches!(a, Alarm::AllDown { .. })).count();
    w.state = output.state;
    alarmed
}

#[test]
fn a_fleet_out_of_sight_is_all_down_unless_it_was_never_seen() {
    let mut w = World::new(payroll());
    for _ in 0..20 {
        assert_eq!(blind(&mut w), 0, "at the first start nothing is known yet");
    }
    w = World::settled(payroll());
    let before = w.plan().splits.clone();
    for _ in 0..20 {
        assert_eq!(blind(&mut w), w.fleet.classes.len(), "at {}", w.clock);
        assert_eq!(w.plan().splits, before, "unknown holds the weights");
    }
    w.run(10_000);
    assert_eq!(w.report().alarms, []);
    // a server that starts again knows the plan, but has seen nothing yet
    w.restart();
    assert_eq!(blind(&mut w), 0);
    w.run(10_000);
    assert_eq!(blind(&mut w), w.fleet.classes.len());
}

#[test]
fn a_paused_automation_holds_and_says_so() {
    let mut w = World::settled(payroll());
    let before = w.share("payroll/eu", "edge-de", "aws/eu-central-1");
    w.intents.automation.safety =
        Switch::Paused { reason: "game day".to_owned(), by: Subject("tester".to_owned()), until: None };
    w.kill("aws");
    w.run(10_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), before);
    let why = reasons(&w, "payroll/eu", "edge-de", "aws/eu-central-1");
    assert!(why.reasons.contains(&Reason::AutomationPaused { kind: MoveKind::Safety }), "{why:?}");
    w.intents.automation.safety = Switch::On;
    w.run(1_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0);
}

#[test]
fn contingencies_cover_every_single_loss() {
    let fleet = payroll();
    let losses = single_losses(&fleet);
    assert_eq!(losses.len(), 3 + 9);
    for c in contingencies(&fleet, &allow_all(&fleet), &losses) {
        assert!(c.plan.is_some() && c.gaps.is_empty(), "{:?}: {:?}", c.lost, c.gaps);
    }
    let all: Vec<Accused> = (0..3_usize).map(|p| Accused::Provider(p.into())).collect();
    let two = &all[1..];
    let found = contingencies(&fleet, &allow_all(&fleet), &[two.to_vec(), all.clone()]);
    assert!(found[0].gaps.is_empty(), "{:?}", found[0].gaps);
    assert!(found[1].gaps.iter().any(|g| g.contains("every permitted place")), "{:?}", found[1].gaps);
}

/// What follows a loss is what was foretold of it, out of a state that is not the steady one.
#[test]
fn what_if_foretells_what_then_happens() {
    let mut w = World::settled(payroll());
    assert!(w.share("payroll/eu", "edge-de", "aws/eu-central-1") > 0);
    let drained = region(&w.fleet, "aws/eu-central-1");
    w.drain(1, Scope::Region(drained));
    w.run(120_000);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws/eu-central-1"), 0, "the drain is done");
    let mut told = 0;
    for lost in single_losses(&w.fleet) {
        let foretold = what_if(&w.input(), &lost);
        let places: Vec<RegionIx> = (0..w.fleet.regions.len())
            .map(RegionIx::from)
            .filter(|r| match lost[0] {
                Accused::Region(x) => x == *r,
                Accused::Provider(p) => w.fleet.provider_of(*r) == p,
                Accused::Endpoint(_) => false,
            })
            .collect();
        let mut then = World::new(w.fleet.clone());
        (then.state, then.intents, then.clock) = (w.state.clone(), w.intents.clone(), w.clock);
        let before = then.plan().splits.clone();
        then.dead = places;
        for _ in 0..10 {
            then.tick(500);
            if then.plan().splits != before {
                break;
            }
        }
        let after = foretold.plan.expect("the checker found no fault");
        assert_eq!(after.splits, then.plan().splits, "{lost:?}");
        told += usize::from(after.splits != before);
    }
    assert!(told >= 6, "most losses move something: {told}");
    assert_eq!(
        what_if(&w.input(), &[]).plan.expect("a plan").splits,
        w.plan().splits,
        "nothing is lost, nothing moves"
    );
}

#[test]
fn a_new_revision_carries_the_weights_by_name() {
    let w = World::settled(payroll());
    let mut new = payroll();
    new.revision = Revision([2; 32]);
    // Frankfurt goes: its endpoints first, then the region itself, which shifts every index.
    let gone = region(&new, "aws/eu-central-1");
    new.endpoints.retain(|e| e.region != gone);
    new.regions.remove(gone.at());
    for e in &mut new.endpoints {
        e.region = RegionIx::from(e.region.at() - usize::from(e.region > gone));
    }
    new.vantages.retain(|v| v.region != gone);
    for v in &mut new.vantages {
        v.region = RegionIx::from(v.region.at() - usize::from(v.region > gone));
    }
    let state = carry_over(&w.fleet, &w.state, &new);
    for s in &state.plan.as_ref().unwrap().splits {
        let sum: u16 = s.weights.iter().map(|x| x.share.get()).sum();
        assert!(s.weights.is_empty() || sum == 10_000);
    }
    assert_eq!(carry_over(&w.fleet, &w.state, &w.fleet).plan, w.state.plan);
    let mut next = World::new(new);
    (next.state, next.clock) = (state, w.clock);
    next.run(5_000);
    assert!(next.share("payroll/eu", "edge-de", "azure/westeurope") > 0);
}

#[test]
fn the_traffic_of_a_service_returns_when_its_own_drain_ends() {
    for by_hand in [false, true] {
        let mut w = World::settled(two_services());
        assert_eq!(w.share("a/eu", "edge-de", "aws/eu-central-1"), 10_000);
        let place = Scope::Region(region(&w.fleet, "aws/eu-central-1"));
        w.drain(1, place);
        w.intents.drains[0].service = Some(ServiceIx(0));
        w.run(60_000);
        assert_eq!(w.share("a/eu", "edge-de", "aws/eu-central-1"), 0);
        assert_eq!(w.share("b/eu", "edge-de", "aws/eu-central-1"), 10_000);
        w.intents.drains.clear();
        if by_hand {
            w.intents.restores.push(Restore { scope: place, service: Some(ServiceIx(0)), at: w.wall() });
        }
        w.run(90_000);
        assert_eq!(w.share("a/eu", "edge-de", "aws/eu-central-1"), 10_000, "by hand: {by_hand}");
        assert!(w.state.returning.is_empty());
    }
}
