//! Probers that are cut off themselves: when their votes count no more, that nothing else follows, and the alarm.

mod support;
mod world;

use proptest::prelude::*;
use support::{all_well, allow_all, at, dead_providers, payroll, provider, region, vantage, view_of};
use tidegate_domain::*;
use tidegate_kernel::health::{Judgement, judge};
use tidegate_kernel::{cycle, why};
use world::World;

/// Judges `view` on a fleet that was well before.
fn judged(fleet: &Fleet, view: &View) -> Judgement {
    let mask = allow_all(fleet);
    let first = judge(fleet, &mask, &all_well(fleet, at(0)), &State::default(), at(0));
    judge(fleet, &mask, view, &remembered(first), at(1_000))
}

fn remembered(j: Judgement) -> State {
    let Judgement { endpoints, regions, providers, recent_downs, cut_off, .. } = j;
    State { endpoints, regions, providers, recent_downs, cut_off, ..State::default() }
}

fn sees(fails: bool) -> TargetState {
    if fails { TargetState::Failing } else { TargetState::Ok }
}

#[test]
fn who_is_struck() {
    let fleet = payroll();
    let (aws, gcp) = (provider(&fleet, "aws"), provider(&fleet, "gcp"));
    let place = |e: EndpointIx| fleet.endpoints[e.at()].region;
    let of = |e: EndpointIx| fleet.provider_of(place(e));
    let own = region(&fleet, "aws/eu-central-1");
    type Sight<'a> = &'a dyn Fn(usize, EndpointIx) -> bool;
    // what each prober calls failing, and who is struck for it
    let rows: [(&str, Sight, &[u16]); 8] = [
        ("everything", &|v, _| v == 0, &[0]),
        ("all but its own region", &|v, e| v == 0 && place(e) != own, &[0]),
        ("two of one cloud", &|v, _| v < 2, &[0, 1]),
        ("one provider alone is a path, not the prober", &|v, e| v == 0 && of(e) == gcp, &[]),
        ("two thirds of everything", &|v, e| v == 0 && of(e) != aws, &[]),
        ("what is truly dead", &|_, e| of(e) != gcp, &[]),
        ("four of eight: who is right?", &|v, _| v < 4, &[]),
        ("three of eight: the five others are two thirds of the rest", &|v, _| v < 3, &[0, 1, 2]),
    ];
    for (what, fails, struck) in rows {
        let j = judged(&fleet, &view_of(&fleet, at(1_000), |v, e| sees(fails(v.at(), e))));
        let found: Vec<u16> = j.cut_off.iter().map(|c| c.vantage.0).collect();
        assert_eq!(found, struck, "{what}: {:?}", j.cut_off);
    }
}

#[test]
fn its_votes_do_not_count_and_are_named() {
    let fleet = payroll();
    let j = judged(&fleet, &view_of(&fleet, at(1_000), |v, _| sees(v.0 == 0)));
    assert!(j.endpoints.iter().all(|e| e.health == Health::Healthy));
    let gcp = Accused::Provider(provider(&fleet, "gcp"));
    let verdict = j.verdicts.iter().find(|v| v.accused == gcp).unwrap();
    assert_eq!((verdict.electorate, verdict.eligible, verdict.votes[0].kind), (6, 5, VoteKind::CutOff));
    let cut = j.cut_off[0];
    let cause = CutOffCause::Contradicted { failing: 16, targets: 16, providers: 3, others: 6 };
    assert_eq!((cut.vantage, cut.since, cut.cause), (vantage(&fleet, "aws-1"), at(1_000), cause));
    assert_eq!(
        why::cut_off_sentence(&cut),
        "calls 16 of 16 targets of 3 providers failing that 6 others or more see well"
    );
    // one that reaches no reference is on the same list
    let mut view = all_well(&fleet, at(1_000));
    view.reports[3].as_mut().unwrap().own.references_reached = 1;
    let j = judged(&fleet, &view);
    assert_eq!(j.cut_off.len(), 1);
    assert_eq!(j.cut_off[0].cause, CutOffCause::References { reached: 1 });
}

/// A cloud dies while a prober elsewhere is cut off: the cloud is told, and the prober does not count.
#[test]
fn a_dead_cloud_is_told_beside_a_cut_off_prober() {
    let fleet = payroll();
    let aws = provider(&fleet, "aws");
    let mut view = dead_providers(&fleet, at(1_000), &[aws]);
    view.reports[2] = Some(support::report(&fleet, VantageIx(2), at(1_000), |_| TargetState::Failing));
    let j = judged(&fleet, &view);
    assert_eq!(j.providers[aws.at()].0, Health::Down);
    assert!(j.regions.iter().zip(&fleet.regions).all(|(h, r)| h.0 == Health::Healthy || r.provider == aws));
    // Six of its sixteen targets are truly dead: those it calls failing rightly, and it is not struck for them.
    assert!(j.cut_off.is_empty());
    assert_eq!(j.providers[provider(&fleet, "gcp").at()].0, Health::Healthy);
}

#[test]
fn it_alarms_after_a_minute_moves_nothing_and_is_forgotten_when_over() {
    let mut w = World::settled(payroll());
    let plan = w.plan().clone();
    let tick = |w: &mut World, cut: bool| {
        w.clock += 500;
        let mut input = w.input();
        if cut {
            let report = support::report(&w.fleet, VantageIx(5), input.now, |_| TargetState::Failing);
            input.view.reports[5] = Some(report);
        }
        let output = cycle(&input);
        w.state = output.state.clone();
        output
    };
    let start = w.clock;
    let alarm = Alarm::CutOff { vantage: VantageIx(5) };
    while w.clock < start + 70_000 {
        let out = tick(&mut w, true);
        let long = w.clock >= start + 500 + 60_000;
        assert_eq!(out.report.alarms.contains(&alarm), long, "{} ms", w.clock - start);
        assert_eq!(out.state.plan.as_ref(), Some(&plan));
        if !long {
            assert!(out.wake.is_some_and(|w| w <= at(start + 60_500)), "it wakes up for the alarm");
        }
    }
    assert_eq!(why::findings(&w.state, &w.fleet)[0].name, "gcp-2");
    // Over by the slow way up: what comes and goes is one finding.
    let up = w.fleet.rules.up_after.0;
    for cut in [false, false, true] {
        assert_eq!(tick(&mut w, cut).state.cut_off.len(), 1);
    }
    let well = w.clock + 500;
    while w.clock < well + up - 500 {
        let out = tick(&mut w, false);
        assert_eq!((out.state.cut_off.len(), out.wake.is_some_and(|t| t <= at(well + up))), (1, true));
    }
    let out = tick(&mut w, false);
    assert!(out.report.alarms.is_empty() && out.state.cut_off.is_empty());
}

fn any_state() -> impl Strategy<Value = TargetState> {
    prop_oneof![1 => Just(TargetState::Unseen), 4 => Just(TargetState::Ok), 1 => Just(TargetState::Slow), 4 => Just(TargetState::Failing)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is said: who is struck is contradicted, target by target, by two thirds of the others; and the verdicts are
    /// those of a world in which he knows himself that he is cut off.
    #[test]
    fn a_prober_is_struck_only_by_a_quorum(
        votes in prop::collection::vec(any_state(), 8 * 18), blind in prop::collection::btree_set(0_u16..8, 0..4),
    ) {
        let fleet = payroll();
        let said = |v: VantageIx, e: EndpointIx| {
            if blind.contains(&v.0) { TargetState::Failing } else { votes[v.at() * 18 + e.at()] }
        };
        let view = view_of(&fleet, at(1_000), said);
        let j = judged(&fleet, &view);
        let mut honest = view.clone();
        for cut in &j.cut_off {
            let stands = fleet.vantages[cut.vantage.at()].region;
            let (mut all, mut against) = (0, 0);
            for (i, endpoint) in fleet.endpoints.iter().enumerate().filter(|(_, e)| e.region != stands) {
                let e = EndpointIx::from(i);
                all += usize::from(said(cut.vantage, e) != TargetState::Unseen);
                let others: Vec<VantageIx> = (0..8).map(VantageIx).filter(|v| {
                    *v != cut.vantage && fleet.vantages[v.at()].region != endpoint.region && said(*v, e) != TargetState::Unseen
                }).collect();
                let well = others.iter().filter(|v| said(**v, e) != TargetState::Failing).count();
                against += usize::from(said(cut.vantage, e) == TargetState::Failing && well * 3 >= others.len() * 2);
            }
            prop_assert!(against * 10 >= all * 8, "{cut:?}: {against} of {all}");
            honest.reports[cut.vantage.at()].as_mut().unwrap().own.references_reached = 0;
        }
        let same = judged(&fleet, &honest);
        prop_assert_eq!(same.endpoints, j.endpoints);
        prop_assert_eq!(same.regions, j.regions);
        prop_assert_eq!(same.providers, j.providers);
    }
}
