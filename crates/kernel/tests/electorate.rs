//! The electorate's rule (I15), doubt and all-down, over the example fleet: every subset of dead providers and dead
//! probers, liars, cut-off groups, stalls; and a weaker rule that the same checker must catch.

mod support;

use proptest::prelude::*;
use std::collections::BTreeSet;
use support::{allow_all, at, payroll};
use tidegate_domain::*;
use tidegate_kernel::health::{Judgement, Quorum, assigned, judge, judge_by, tellable};

const INTERVAL: u64 = 500;

/// One run of judgements, each remembering the last.
struct Run {
    fleet: Fleet,
    rule: Quorum,
    mask: Mask,
    /// Laid into every view.
    drains: Vec<Drain>,
    state: State,
}
impl Run {
    /// A fleet that has been well for a while.
    fn well(fleet: Fleet) -> Self {
        Self::by(Quorum::RULE, fleet)
    }
    fn by(rule: Quorum, fleet: Fleet) -> Self {
        let mask = allow_all(&fleet);
        let mut run = Self { fleet, rule, mask, drains: Vec::new(), state: State::default() };
        let first = run.judge(&support::all_well(&run.fleet, at(0)), 0);
        assert!(first.endpoints.iter().all(|e| e.health == Health::Healthy), "start-up is not slow");
        run
    }
    fn judge(&mut self, view: &View, now: u64) -> Judgement {
        let mut view = view.clone();
        view.intents.drains.clone_from(&self.drains);
        let j = judge_by(&self.rule, &self.fleet, &self.mask, &view, &self.state, at(now));
        self.state.endpoints.clone_from(&j.endpoints);
        self.state.regions.clone_from(&j.regions);
        self.state.providers.clone_from(&j.providers);
        self.state.recent_downs.clone_from(&j.recent_downs);
        j
    }
    /// The same world seen afresh every probe period from `from` to `to`; the last judgement.
    fn lasting(&mut self, from: u64, to: u64, view: impl Fn(&Fleet, Mono) -> View) -> Judgement {
        let mut now = from;
        loop {
            let fresh = view(&self.fleet, at(now));
            let j = self.judge(&fresh, now);
            if now + INTERVAL > to {
                return j;
            }
            now += INTERVAL;
        }
    }
}

/// The world of a table row.
#[derive(Debug, Clone, Default)]
struct World {
    /// Dead with everything placed there.
    dead: BTreeSet<ProviderIx>,
    /// Dead probers besides.
    silent: BTreeSet<VantageIx>,
    /// Reports the contrary of what it sees.
    liar: Option<VantageIx>,
}
impl World {
    fn speaks(&self, fleet: &Fleet, v: VantageIx) -> bool {
        !self.silent.contains(&v) && !self.dead.contains(&fleet.provider_of(fleet.vantages[v.at()].region))
    }
    fn view(&self, fleet: &Fleet, now: Mono) -> View {
        let mut view = support::view_of(fleet, now, |v, e| {
            let fails = self.dead.contains(&fleet.provider_of(fleet.endpoints[e.at()].region));
            if fails != (self.liar == Some(v)) { TargetState::Failing } else { TargetState::Ok }
        });
        for v in (0..fleet.vantages.len()).map(VantageIx::from) {
            if !self.speaks(fleet, v) {
                view.reports[v.at()] = None;
            }
        }
        view
    }
    /// The rule of the electorate, written down a second time: can the loss of `accused` be told?
    fn can_be_told(&self, fleet: &Fleet, accused: ProviderIx) -> bool {
        let outside: Vec<VantageIx> = (0..fleet.vantages.len())
            .map(VantageIx::from)
            .filter(|v| fleet.provider_of(fleet.vantages[v.at()].region) != accused)
            .collect();
        let speak: Vec<&VantageIx> = outside.iter().filter(|v| self.speaks(fleet, **v)).collect();
        let truthful: Vec<&&VantageIx> = speak.iter().filter(|v| self.liar != Some(***v)).collect();
        let from: BTreeSet<ProviderIx> =
            truthful.iter().map(|v| fleet.provider_of(fleet.vantages[v.at()].region)).collect();
        speak.len() * 2 >= outside.len() && truthful.len() * 3 >= speak.len() * 2 && from.len() >= 2
    }
}

fn clouds(fleet: &Fleet) -> Vec<ProviderIx> {
    ["aws", "azure", "gcp"].iter().map(|p| support::provider(fleet, p)).collect()
}

/// I15: a provider is Down exactly where it is dead and the rule can tell; nothing alive is ever Down.
fn check(fleet: &Fleet, world: &World, j: &Judgement) -> Result<(), String> {
    for p in clouds(fleet) {
        let expected = world.dead.contains(&p) && world.can_be_told(fleet, p);
        let told = j.providers[p.at()].0 == Health::Down;
        if told != expected {
            return Err(format!("{p:?} is {:?}, expected Down: {expected}", j.providers[p.at()].0));
        }
    }
    for (i, e) in fleet.endpoints.iter().enumerate() {
        let dead = world.dead.contains(&fleet.provider_of(e.region));
        let down = j.endpoints[i].health == Health::Down || j.regions[e.region.at()].0 == Health::Down;
        if down && !dead {
            return Err(format!("{} lives and is called Down", e.name));
        }
        if !down && dead && world.can_be_told(fleet, fleet.provider_of(e.region)) {
            return Err(format!("{} is dead, its provider is told, and it is {:?}", e.name, j.endpoints[i].health));
        }
    }
    Ok(())
}

fn subsets<T: Copy + Ord>(of: &[T]) -> Vec<BTreeSet<T>> {
    let pick = |bits: usize| of.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, t)| *t).collect();
    (0..1_usize << of.len()).map(pick).collect()
}

/// Every row of the table: dead providers × dead probers.
fn table(fleet: &Fleet) -> Vec<World> {
    let vantages: Vec<VantageIx> = (0..fleet.vantages.len()).map(VantageIx::from).collect();
    let silences = subsets(&vantages);
    let row = |dead: &BTreeSet<ProviderIx>, silent: &BTreeSet<VantageIx>| World {
        dead: dead.clone(),
        silent: silent.clone(),
        liar: None,
    };
    subsets(&clouds(fleet)).iter().flat_map(|d| silences.iter().map(move |s| row(d, s))).collect()
}

fn play(rule: Quorum, fleet: &Fleet, world: &World) -> Judgement {
    Run::by(rule, fleet.clone()).lasting(1_000, 2_000, |fleet, now| world.view(fleet, now))
}

#[test]
fn every_subset_of_dead_providers_and_dead_probers() {
    let fleet = payroll();
    let (mut rows, mut told) = (0, 0);
    for world in table(&fleet) {
        let j = play(Quorum::RULE, &fleet, &world);
        check(&fleet, &world, &j).unwrap_or_else(|fault| panic!("{world:?}: {fault}"));
        rows += 1;
        told += usize::from(world.dead.iter().any(|p| world.can_be_told(&fleet, *p)));
    }
    assert_eq!(rows, 8 * 256);
    println!("{rows} worlds, {told} with a provider verdict");
}

#[test]
fn the_losses_that_the_example_fleet_promises_to_tell() {
    let fleet = payroll();
    let all: Vec<VantageIx> = (0..fleet.vantages.len()).map(VantageIx::from).collect();
    for dead in subsets(&clouds(&fleet)).into_iter().filter(|d| (1..=2).contains(&d.len())) {
        for silent in std::iter::once(None).chain(all.iter().copied().map(Some)) {
            let world = World { dead: dead.clone(), silent: silent.into_iter().collect(), liar: None };
            let j = play(Quorum::RULE, &fleet, &world);
            for p in &dead {
                assert_eq!(j.providers[p.at()].0, Health::Down, "{world:?}");
            }
        }
    }
}

#[test]
fn one_cloud_dead_and_another_cut_off_can_both_be_told() {
    let fleet = payroll();
    for (dead, cut) in clouds(&fleet).into_iter().flat_map(|d| clouds(&fleet).into_iter().map(move |c| (d, c))) {
        if dead == cut {
            continue;
        }
        // Nobody reaches the cut-off cloud; its own vantages still gossip, say that all fails, and reach no reference.
        let j = Run::well(fleet.clone()).lasting(1_000, 2_000, |fleet, now| {
            let mut view = support::dead_providers(fleet, now, &[dead]);
            for report in view.reports.iter_mut().flatten() {
                let inside = fleet.provider_of(fleet.vantages[report.vantage.at()].region) == cut;
                for (e, state) in report.targets.iter_mut().enumerate() {
                    if inside || fleet.provider_of(fleet.endpoints[e].region) == cut {
                        *state = TargetState::Failing;
                    }
                }
                if inside {
                    report.own = VantageSelf { references_reached: 0, reference_networks: 0, self_doubt: false };
                }
            }
            view
        });
        for p in clouds(&fleet) {
            let expected = if p == dead || p == cut { Health::Down } else { Health::Healthy };
            assert_eq!(j.providers[p.at()].0, expected, "dead {dead:?}, cut off {cut:?}");
        }
        // The survivor is needed most now: nothing of it may become Unknown.
        for (r, region) in fleet.regions.iter().enumerate().filter(|(_, r)| r.provider != dead && r.provider != cut) {
            assert_eq!(j.regions[r].0, Health::Healthy, "{}", region.name);
        }
    }
}

/// The same checker, rules that are weaker by one number each: it must find them out.
#[test]
fn a_weaker_rule_is_caught() {
    let fleet = payroll();
    let caught =
        |rule: Quorum, worlds: &[World]| worlds.iter().any(|w| check(&fleet, w, &play(rule, &fleet, w)).is_err());
    let lies: Vec<World> = (0..fleet.vantages.len())
        .flat_map(|v| {
            let rest = (0..8).filter(move |s| *s != v).map(VantageIx::from);
            let two_left = (0..8).map(move |k| rest.clone().skip(k % 6).take(5).collect::<BTreeSet<_>>());
            two_left.map(move |silent| World { silent, liar: Some(VantageIx::from(v)), ..World::default() })
        })
        .collect();
    let mut worlds = table(&fleet);
    worlds.extend(lies);
    let rule = Quorum::RULE;
    assert!(!caught(rule, &worlds), "the rule itself passes");
    assert!(caught(Quorum { eligible: (0, 1), ..rule }, &worlds), "any part of the electorate");
    // In the example fleet half of an electorate always spans two providers; where the outside holds more, it does not.
    let mut lopsided = fleet.clone();
    for v in 2..6 {
        lopsided.vantages[v].region = lopsided.vantages[7].region;
    }
    let one = World { dead: BTreeSet::from([support::provider(&fleet, "aws")]), ..World::default() };
    assert!(check(&lopsided, &one, &play(rule, &lopsided, &one)).is_ok());
    assert!(check(&lopsided, &one, &play(Quorum { providers: 1, ..rule }, &lopsided, &one)).is_err(), "one provider");
    let weak = Quorum { agreeing: (1, 8), providers: 1, ..rule };
    assert!(caught(weak, &worlds), "one voice of eight");
}

#[test]
fn a_group_cut_off_that_calls_everything_down_moves_nothing() {
    let fleet = payroll();
    for provider in 0..fleet.providers.len() {
        // Worst case: it still reaches the references, and believes in itself.
        let j = Run::well(fleet.clone()).lasting(1_000, 4_000, |fleet, now| {
            support::view_of(fleet, now, |v, _| {
                let inside = fleet.provider_of(fleet.vantages[v.at()].region).at() == provider;
                if inside { TargetState::Failing } else { TargetState::Ok }
            })
        });
        assert!(j.endpoints.iter().all(|e| e.health == Health::Healthy));
        assert!(j.doubted.is_empty() && j.all_down.is_empty());
    }
}

#[test]
fn a_stall_of_everything_holds_and_comes_back() {
    let mut run = Run::well(payroll());
    let old = support::all_well(&run.fleet, at(1_000));
    let stalled = run.judge(&old, 6_000);
    assert!(stalled.endpoints.iter().all(|e| e.health == Health::Unknown && e.since == at(6_000)));
    assert!(stalled.all_down.is_empty() && stalled.doubted.is_empty());
    let back = run.judge(&support::all_well(&run.fleet, at(6_100)), 6_100);
    assert!(back.endpoints.iter().all(|e| e.health == Health::Healthy));
}

#[test]
fn ineligible_vantages_are_named() {
    let fleet = payroll();
    let mut view = support::all_well(&fleet, at(1_000));
    view.reports[0] = None;
    view.reports[1].as_mut().unwrap().own.self_doubt = true;
    view.reports[2].as_mut().unwrap().revision = Revision([9; 32]);
    view.reports[3].as_mut().unwrap().own.reference_networks = 1;
    view.reports[4].as_mut().unwrap().targets.clear();
    let j = judge(&fleet, &allow_all(&fleet), &view, &State::default(), at(1_000));
    let gcp = Accused::Provider(support::provider(&fleet, "gcp"));
    let verdict = j.verdicts.iter().find(|v| v.accused == gcp).unwrap();
    let kinds: Vec<VoteKind> = verdict.votes.iter().map(|v| v.kind).collect();
    use VoteKind::{CutOff, OtherRevision, SelfDoubt, Stale, Up};
    assert_eq!(kinds, [Stale, SelfDoubt, OtherRevision, CutOff, Up, Up]);
    assert_eq!((verdict.electorate, verdict.eligible, verdict.agreeing, verdict.agreeing_providers), (6, 2, 2, 1));
    let aws = Accused::Provider(support::provider(&fleet, "aws"));
    let verdict = j.verdicts.iter().find(|v| v.accused == aws).unwrap();
    assert_eq!(verdict.votes[2].kind, VoteKind::Unseen);
    assert_eq!(verdict.votes[2].age, Some(Millis(0)));
}

#[test]
fn everything_down_waits_one_probe_period_and_goes_at_once() {
    let mut run = Run::well(payroll());
    let broken = |fleet: &Fleet, now| support::view_of(fleet, now, |_, _| TargetState::Failing);
    let first = run.judge(&broken(&run.fleet, at(1_000)), 1_000);
    assert!(first.endpoints.iter().all(|e| e.health == Health::Unknown));
    assert_eq!((first.wake, first.doubted.len(), first.all_down.len()), (Some(at(1_500)), 0, 0));
    let second = run.judge(&broken(&run.fleet, at(1_500)), 1_500);
    assert!(second.endpoints.iter().all(|e| e.health == Health::Down));
    assert_eq!(second.all_down.len(), run.fleet.classes.len());
}

#[test]
fn mass_action_needs_agreement_beyond_doubt() {
    let mut run = Run::well(payroll());
    let two = [support::provider(&run.fleet, "aws"), support::provider(&run.fleet, "azure")];
    // Both vantages of one place see everything well: a quorum accuses, but not each provider agrees.
    let world = |fleet: &Fleet, now: Mono| {
        support::view_of(fleet, now, |v, e| {
            let fails = two.contains(&fleet.provider_of(fleet.endpoints[e.at()].region));
            if fails && v.at() < 6 { TargetState::Failing } else { TargetState::Ok }
        })
    };
    let held = run.lasting(1_000, 3_000, world);
    assert_eq!(held.doubted, [ServiceIx(0)]);
    for (e, h) in run.fleet.endpoints.iter().zip(&held.endpoints) {
        let accused = two.contains(&run.fleet.provider_of(e.region));
        assert_eq!(h.health, if accused { Health::Unknown } else { Health::Healthy });
        assert!(!accused || h.since == at(1_000), "doubt does not move `since`");
    }
    // One provider's loss is less than half: there the same quorum is enough, at once.
    let mut run = Run::well(payroll());
    let one = run.lasting(1_000, 1_000, |fleet, now| {
        support::view_of(fleet, now, |v, e| {
            let fails = fleet.provider_of(fleet.endpoints[e.at()].region) == two[0];
            if fails && v.at() < 6 { TargetState::Failing } else { TargetState::Ok }
        })
    });
    assert_eq!(one.providers[two[0].at()].0, Health::Down);
    // Beyond doubt, two providers fall: one eligible vantage may dissent, and the silent do not count.
    let mut run = Run::well(payroll());
    let both = run.lasting(1_000, 1_500, |fleet, now| {
        let mut view = support::dead_providers(fleet, now, &two);
        view.reports[7] = Some(support::report(fleet, VantageIx(7), now, |_| TargetState::Ok));
        view
    });
    assert!(two.iter().all(|p| both.providers[p.at()].0 == Health::Down) && both.doubted.is_empty());
}

/// AWS is a third of the payroll fleet, and a plain quorum is enough to call it Down; of what is left to serve from
/// when another cloud is drained or policy denies the others' laws it is more than half.
#[test]
fn places_that_cannot_serve_are_no_part_of_what_is_left() {
    let accused = |fleet: &Fleet, now: Mono| {
        let aws = support::provider(fleet, "aws");
        support::view_of(fleet, now, |v, e| {
            let fails = fleet.provider_of(fleet.endpoints[e.at()].region) == aws;
            if fails && v.at() < 6 { TargetState::Failing } else { TargetState::Ok }
        })
    };
    let health = |change: &dyn Fn(&mut Run)| {
        let mut run = Run::well(payroll());
        change(&mut run);
        let j = run.lasting(1_000, 3_000, accused);
        (j.providers[support::provider(&run.fleet, "aws").at()].0, j.doubted)
    };
    let (acted, doubted) = ((Health::Down, vec![]), (Health::Unknown, vec![ServiceIx(0)]));
    let drain = |scope: Scope, service: Option<ServiceIx>, until: Option<Wall>| {
        let (reason, by, at) = ("test".to_owned(), Subject::default(), Wall(0));
        Drain { id: 1, scope, service, until, grace: Millis(0), reason, by, at }
    };
    assert_eq!(health(&|_| ()), acted);
    let gcp = |run: &Run| Scope::Provider(support::provider(&run.fleet, "gcp"));
    assert_eq!(health(&|run| run.drains = vec![drain(gcp(run), None, None)]), doubted);
    assert_eq!(health(&|run| run.drains = vec![drain(gcp(run), Some(ServiceIx(0)), None)]), doubted);
    // of another service, or over
    assert_eq!(health(&|run| run.drains = vec![drain(gcp(run), Some(ServiceIx(1)), None)]), acted);
    assert_eq!(health(&|run| run.drains = vec![drain(gcp(run), None, Some(Wall(0)))]), acted);
    let deny = |run: &mut Run, laws: &[&str]| {
        run.mask.answers.iter_mut().for_each(|((_, law, _), a)| a.allow = !laws.contains(&law.as_str()));
    };
    assert_eq!(health(&|run| deny(run, &["US", "NL", "BE"])), doubted);
    assert_eq!(health(&|run| deny(run, &["SG"])), acted);
    // what is drained may still carry: losing most of all places is a mass as it ever was
    let mut run = Run::well(payroll());
    run.fleet.regions[0].capacity = support::rps(80_000);
    run.drains = vec![drain(Scope::Region(RegionIx(0)), None, None)];
    assert_eq!(run.lasting(1_000, 3_000, accused).doubted, [ServiceIx(0)]);
}

#[test]
fn a_region_of_a_living_provider_falls_alone() {
    let mut run = Run::well(payroll());
    let region = support::region(&run.fleet, "aws/us-east-1");
    let j = run.lasting(1_000, 1_000, |fleet, now| support::dead_regions(fleet, now, &[region]));
    assert_eq!(j.regions[region.at()].0, Health::Down);
    assert_eq!(j.regions.iter().filter(|r| r.0 == Health::Down).count(), 1);
    assert!(j.providers.iter().all(|p| p.0 == Health::Healthy));
}

#[test]
fn a_down_region_takes_its_well_endpoints_along_and_gives_them_back() {
    let builder = support::payroll_places().group("edge-de", "DE", "europe").service("payroll");
    let builder = builder.class("open", Permitted::Anywhere, 0, &[("edge-de", 100)]).endpoints_everywhere(5);
    let mut run = Run::well(support::payroll_vantages(builder).build());
    let failing = |upto: usize| {
        move |fleet: &Fleet, now| {
            support::view_of(fleet, now, |_, e| if e.at() < upto { TargetState::Failing } else { TargetState::Ok })
        }
    };
    let two = run.lasting(1_000, 1_000, failing(2));
    assert_eq!(two.regions[0].0, Health::Healthy);
    assert_eq!(two.endpoints.iter().filter(|e| e.health == Health::Down).count(), 2);
    for now in (2_000..30_000).step_by(500) {
        let three = run.lasting(now, now, failing(3));
        assert_eq!(three.regions[0], (Health::Down, at(2_000)));
        assert!(three.endpoints[..5].iter().all(|e| e.health == Health::Down));
        assert_eq!(three.endpoints[4].since, at(2_000));
        assert_eq!(three.providers[0].0, Health::Healthy);
    }
    let waiting = run.lasting(30_000, 34_000, support::all_well);
    assert!(waiting.endpoints[..5].iter().all(|e| e.health == Health::Down));
    let back = run.lasting(34_500, 34_500, support::all_well);
    assert!(back.endpoints.iter().all(|e| e.health == Health::Healthy));
    assert_eq!(back.regions[0], (Health::Healthy, at(34_500)));
}

#[test]
fn doubt_ends_when_the_earlier_downs_leave_the_window() {
    let mut run = Run::well(payroll());
    let (aws, azure) = (support::provider(&run.fleet, "aws"), support::provider(&run.fleet, "azure"));
    // AWS is dead beyond doubt. Azure is accused by a quorum, against the word of the place outside.
    let world = move |both: bool| {
        move |fleet: &Fleet, now: Mono| {
            support::view_of(fleet, now, |v, e| {
                let p = fleet.provider_of(fleet.endpoints[e.at()].region);
                let fails = p == aws || (both && p == azure && v.at() < 6);
                if fails { TargetState::Failing } else { TargetState::Ok }
            })
        }
    };
    run.lasting(1_000, 1_000, world(false));
    let held = run.lasting(2_000, 61_000, world(true));
    assert_eq!(held.providers[azure.at()].0, Health::Unknown);
    assert_eq!(held.doubted, [ServiceIx(0)]);
    let view = world(true)(&run.fleet, at(61_000));
    let wake = held.wake.unwrap();
    assert_eq!(wake, Mono(at(61_000).0 + 1), "the window of the first Down ends");
    let j = judge(&run.fleet, &run.mask, &view, &run.state, wake);
    assert_eq!((j.providers[aws.at()].0, j.providers[azure.at()].0), (Health::Down, Health::Down));
    assert!(j.doubted.is_empty());
}

#[test]
fn slow_is_degraded_at_once_and_healthy_later() {
    let mut run = Run::well(payroll());
    let slow = |fleet: &Fleet, now| {
        support::view_of(fleet, now, |_, e| if e.at() < 2 { TargetState::Slow } else { TargetState::Ok })
    };
    let j = run.lasting(1_000, 1_000, slow);
    assert_eq!((j.endpoints[0].health, j.regions[0].0), (Health::Degraded, Health::Degraded));
    let j = run.lasting(1_500, 5_500, support::all_well);
    assert_eq!(j.endpoints[0].health, Health::Degraded);
    let j = run.lasting(6_000, 6_000, support::all_well);
    assert_eq!((j.endpoints[0].health, j.regions[0].0), (Health::Healthy, Health::Healthy));
}

#[test]
fn up_is_slower_than_down() {
    let mut run = Run::well(payroll());
    let aws = support::provider(&run.fleet, "aws");
    let down = run.lasting(1_000, 1_000, |fleet, now| support::dead_providers(fleet, now, &[aws]));
    assert_eq!(down.providers[aws.at()], (Health::Down, at(1_000)));
    let waiting = run.lasting(2_000, 6_000, support::all_well);
    assert_eq!(waiting.providers[aws.at()], (Health::Down, at(1_000)), "`since` stays");
    assert_eq!(waiting.wake, Some(at(6_500)));
    let up = run.lasting(6_500, 6_500, support::all_well);
    assert_eq!(up.providers[aws.at()], (Health::Healthy, at(6_500)));
    assert!(up.endpoints.iter().all(|e| e.health == Health::Healthy));
}

#[test]
fn what_the_example_fleet_can_tell() {
    let fleet = payroll();
    let can = tellable(&fleet);
    assert!(can.providers.iter().all(|p| p.1) && can.regions.iter().all(|r| r.1));
    assert_eq!(can.providers[0].2, "6 vantages of 3 providers outside; any 3 of them may be silent");
    let mut alone = fleet.clone();
    let aws = support::provider(&fleet, "aws");
    alone.vantages.retain(|v| fleet.provider_of(v.region) == aws);
    let can = tellable(&alone);
    assert!(!can.providers[0].1 && !can.providers[1].1 && !can.regions[0].1);
    assert_eq!(can.providers[3], (ProviderIx(3), true, "no endpoint stands there".to_owned()));
}

#[test]
fn a_larger_fleet_is_probed_from_seven_over_three_providers() {
    let mut fleet = support::large(1, 12, 1);
    for i in 0..12_usize {
        fleet.vantages.push(Vantage {
            name: support::name(&format!("more-{i}")),
            region: RegionIx::from(i),
            gossip: format!("127.0.0.1:{}", 8000 + i),
        });
    }
    for r in (0..12).map(RegionIx::from) {
        let chosen = assigned(&fleet, r);
        assert_eq!(chosen.len(), 7);
        assert!(chosen.iter().all(|v| fleet.vantages[v.at()].region != r));
        let others: BTreeSet<_> = chosen.iter().map(|v| fleet.provider_of(fleet.vantages[v.at()].region)).collect();
        assert!(others.iter().filter(|p| **p != fleet.provider_of(r)).count() >= 3);
    }
    assert!(tellable(&fleet).providers.iter().all(|p| p.1));
    let aws = support::provider(&fleet, "aws");
    let mut run = Run::well(fleet);
    let j = run.lasting(1_000, 1_500, |fleet, now| support::dead_providers(fleet, now, &[aws]));
    assert_eq!(j.providers[aws.at()].0, Health::Down);
    assert_eq!(j.providers.iter().filter(|p| p.0 == Health::Down).count(), 1);
}

fn any_state() -> impl Strategy<Value = TargetState> {
    prop_oneof![Just(TargetState::Unseen), Just(TargetState::Ok), Just(TargetState::Slow), Just(TargetState::Failing)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever one vantage says, and whoever else is silent: nothing alive is Down, nothing dead is Healthy.
    #[test]
    fn one_liar_makes_no_verdict(
        liar in 0_u16..8, silent in prop::collection::btree_set(0_u16..8, 0..7), dead in 0_usize..8,
        lie in prop::collection::vec(any_state(), 18),
    ) {
        let fleet = payroll();
        let world = World {
            dead: subsets(&clouds(&fleet))[dead].clone(),
            silent: silent.into_iter().map(VantageIx).collect(),
            liar: None,
        };
        let j = Run::well(fleet.clone()).lasting(1_000, 2_000, |fleet, now| {
            let mut view = world.view(fleet, now);
            view.reports[usize::from(liar)] = Some(support::report(fleet, VantageIx(liar), now, |e| lie[e.at()]));
            view
        });
        for (e, h) in fleet.endpoints.iter().zip(&j.endpoints) {
            let dead = world.dead.contains(&fleet.provider_of(e.region));
            prop_assert!(h.health != if dead { Health::Healthy } else { Health::Down }, "{}", e.name);
        }
    }

    /// Any votes: before `wake` the same view and the own memory give the same judgement.
    #[test]
    fn judging_again_changes_nothing(
        votes in prop::collection::vec(any_state(), 8 * 18), early in prop::collection::vec(any_state(), 8 * 18),
        silent in prop::collection::btree_set(0_usize..8, 0..5), later in 0_u64..400,
    ) {
        let mut run = Run::well(payroll());
        let mut seen = |votes: &[TargetState], now: u64| {
            let mut view = support::view_of(&run.fleet, at(now), |v, e| votes[v.at() * 18 + e.at()]);
            for s in &silent {
                view.reports[*s] = None;
            }
            (run.judge(&view, now), view)
        };
        seen(&early, 1_000);
        let (first, view) = seen(&votes, 1_250);
        let now = first.wake.map_or(1_250 + later, |w| (w.since(at(0)).0 - 1).min(1_250 + later));
        let again = run.judge(&view, now);
        prop_assert_eq!(&first.endpoints, &again.endpoints);
        prop_assert_eq!(&first.regions, &again.regions);
        prop_assert_eq!(&first.providers, &again.providers);
        prop_assert_eq!(&first.recent_downs, &again.recent_downs);
        prop_assert_eq!(&first.doubted, &again.doubted);
        prop_assert_eq!(first.wake, again.wake);
    }

    /// No quorum either way: Unknown, never a flip, and nothing is lost by it.
    #[test]
    fn unknown_holds(a in 0_usize..8, b in 0_usize..8, state in any_state()) {
        let mut run = Run::well(payroll());
        let mut view = support::view_of(&run.fleet, at(1_000), |_, _| state);
        for s in (0..8).filter(|s| *s != a && *s != b) {
            view.reports[s] = None;
        }
        let j = run.judge(&view, 1_000);
        // The few who are left may keep well what they see answer; they can accuse nobody.
        let answers = matches!(state, TargetState::Ok | TargetState::Slow);
        prop_assert!(answers || j.endpoints.iter().all(|e| e.health == Health::Unknown));
        prop_assert!(j.endpoints.iter().all(|e| matches!(e.health, Health::Healthy | Health::Unknown)));
        prop_assert!(j.all_down.is_empty() && j.doubted.is_empty() && j.recent_downs.is_empty());
    }
}
