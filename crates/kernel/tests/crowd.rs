//! Fleets in which few probe each region: these speak for the fleet only while most of it is heard, and has spoken since they
//! began to accuse.

mod support;

use std::collections::BTreeSet;
use support::{FleetBuilder, allow_all, at, report, three_areas};
use tidegate_domain::*;
use tidegate_kernel::health::{Judgement, assigned, judge};

/// Four clouds of four regions, two vantages and two endpoints in each; and `more` vantages in the first region.
fn fleet(more: usize) -> Fleet {
    let mut builder: FleetBuilder = three_areas();
    let places: Vec<String> = (1..=4).flat_map(|p| (1..=4).map(move |r| format!("p{p}/r{r}"))).collect();
    for place in &places {
        builder = builder.region(place, "DE", "europe", 800, 100);
    }
    builder =
        builder.group("edge-de", "DE", "europe").service("s").class("eu", Permitted::Anywhere, 0, &[("edge-de", 300)]);
    builder = builder.endpoints_everywhere(2);
    for (i, place) in places.iter().enumerate() {
        builder = builder.vantage(&format!("v{}", 2 * i), place).vantage(&format!("v{}", 2 * i + 1), place);
    }
    for v in 0..more {
        builder = builder.vantage(&format!("more{v}"), &places[0]);
    }
    builder.build()
}

struct Run {
    fleet: Fleet,
    mask: Mask,
    state: State,
    view: View,
    /// By region.
    probers: Vec<Vec<VantageIx>>,
}
impl Run {
    /// All was seen well at 0.
    fn well() -> Self {
        Self::well_of(fleet(0))
    }
    fn well_of(fleet: Fleet) -> Self {
        let (mask, view) = (allow_all(&fleet), support::all_well(&fleet, at(0)));
        let probers = (0..fleet.regions.len()).map(|r| assigned(&fleet, RegionIx::from(r))).collect();
        let mut run = Self { fleet, mask, state: State::default(), view, probers };
        assert!(run.judge(0).endpoints.iter().all(|e| e.health == Health::Healthy));
        run
    }
    /// These say now that of the endpoints that they probe those of `failing` are in `state`, and the others well.
    fn say(&mut self, who: &[usize], ms: u64, failing: &dyn Fn(RegionIx) -> bool, state: TargetState) {
        for v in who {
            let sees = |e: EndpointIx| match self.fleet.endpoints[e.at()].region {
                r if !self.probers[r.at()].contains(&VantageIx::from(*v)) => TargetState::Unseen,
                r if failing(r) => state,
                _ => TargetState::Ok,
            };
            self.view.reports[*v] = Some(report(&self.fleet, VantageIx::from(*v), at(ms), sees));
        }
    }
    fn silence(&mut self) {
        self.view.reports.fill(None);
    }
    fn judge(&mut self, ms: u64) -> Judgement {
        let j = judge(&self.fleet, &self.mask, &self.view, &self.state, at(ms));
        self.state.endpoints.clone_from(&j.endpoints);
        self.state.regions.clone_from(&j.regions);
        self.state.providers.clone_from(&j.providers);
        self.state.recent_downs.clone_from(&j.recent_downs);
        self.state.unheard.clone_from(&j.unheard);
        self.state.paths.clone_from(&j.paths);
        self.state.suspected_paths.clone_from(&j.suspected_paths);
        self.state.blamed.clone_from(&j.blamed);
        j
    }
    /// The probers of a region, and those outside it that do not probe it, those of other clouds first.
    fn benches(&self, region: RegionIx) -> (Vec<usize>, Vec<usize>) {
        let few: Vec<usize> = self.probers[region.at()].iter().map(|v| v.at()).collect();
        let outside = |v: &usize| self.fleet.vantages[*v].region != region && !few.contains(v);
        let mut rest: Vec<usize> = (0..self.fleet.vantages.len()).filter(outside).collect();
        let own = self.fleet.provider_of(region);
        rest.sort_by_key(|v| self.fleet.provider_of(self.fleet.vantages[*v].region) == own);
        (few, rest)
    }
}

const PLACE: RegionIx = RegionIx(6);

#[test]
fn half_of_a_large_fleet_must_be_heard() {
    // Of a place that failed nobody can tell; one that was slow is what it was.
    let (fails, slows) = ([Health::Unknown, Health::Down], [Health::Healthy, Health::Degraded]);
    for (state, told) in [(TargetState::Failing, fails), (TargetState::Slow, slows)] {
        // Thirty stand outside the region, seven of them probe it; an odd one more makes the half one more.
        for (more, heard, enough) in [(0, 14, false), (0, 15, true), (1, 15, false), (1, 16, true)] {
            let mut run = Run::well_of(fleet(more));
            let (few, rest) = run.benches(PLACE);
            assert_eq!((few.len(), rest.len()), (7, 23 + more));
            run.silence();
            run.say(&few, 1_000, &|r| r == PLACE, state);
            run.say(&rest[..heard - few.len()], 1_000, &|r| r == PLACE, state);
            let found = run.judge(1_000).regions[PLACE.at()].0;
            assert_eq!(found, told[usize::from(enough)], "{state:?}, {heard} of {} heard", 30 + more);
        }
    }
}

/// A region's own vantages, and those that are not fit to vote, do not count among the heard.
#[test]
fn only_those_outside_that_are_fit_to_vote_are_heard() {
    for (what, inside, unfit) in [("inside", true, false), ("unfit", false, true)] {
        let mut run = Run::well();
        let (few, rest) = run.benches(PLACE);
        run.silence();
        let failing = |r: RegionIx| r == PLACE;
        run.say(&few, 1_000, &failing, TargetState::Failing);
        run.say(&rest[..14 - few.len()], 1_000, &failing, TargetState::Failing);
        let beside: Vec<usize> = match inside {
            true => (0..32).filter(|v| run.fleet.vantages[*v].region == PLACE).collect(),
            false => rest[14 - few.len()..].to_vec(),
        };
        run.say(&beside, 1_000, &failing, TargetState::Failing);
        if unfit {
            for v in &beside {
                run.view.reports[*v].as_mut().unwrap().own.self_doubt = true;
            }
        }
        assert_eq!(run.judge(1_000).regions[PLACE.at()].0, Health::Unknown, "{what}");
        run.say(&rest[14 - few.len()..][..1], 1_000, &failing, TargetState::Failing);
        assert_eq!(run.judge(1_000).regions[PLACE.at()].0, Health::Down, "{what}, and one more");
    }
}

/// Of a provider, those outside all of it are counted; fewer than half of these do not speak of any region there.
#[test]
fn half_outside_a_provider_must_be_heard_before_it_falls() {
    let gone = ProviderIx(1);
    let own: Vec<RegionIx> = (0..16).map(RegionIx).filter(|r| r.at() / 4 == gone.at()).collect();
    for (heard, told) in [(11, false), (12, true)] {
        let mut run = Run::well();
        let of = |run: &Run, v: usize| run.fleet.provider_of(run.fleet.vantages[v].region);
        let failing = |r: RegionIx| r == own[0] || r == own[1];
        let mut said: Vec<usize> = run.benches(own[0]).0.into_iter().chain(run.benches(own[1]).0).collect();
        said.extend(0..32);
        let mut seen = BTreeSet::new();
        said.retain(|v| of(&run, *v) != gone && seen.insert(*v));
        said.truncate(heard);
        // Its own vantages are heard: with them it is half outside each of its regions.
        said.extend((0..32).filter(|v| of(&run, *v) == gone));
        run.silence();
        run.say(&said, 1_000, &failing, TargetState::Failing);
        let j = run.judge(1_000);
        assert_eq!(j.providers[gone.at()].0 == Health::Down, told, "{heard} of 24 heard");
        assert!(own[..2].iter().all(|r| (j.regions[r.at()].0 == Health::Down) == told), "{heard}: {:?}", j.regions);
    }
}

/// What the edges' own requests find needs nobody's word.
#[test]
fn what_edges_find_waits_for_no_prober() {
    let mut run = Run::well();
    let group = GroupIx(0);
    let row = |region: RegionIx, failing: u32, errors: u64| Traffic {
        service: ServiceIx(0),
        region,
        group,
        edges: 3,
        erring: 0,
        failing,
        answered: 0,
        issued: 300,
        errors,
        slow: 0,
        slow_requests: 0,
        slow_took: Millis(0),
        slow_usual: Millis(0),
    };
    let (few, _) = run.benches(RegionIx(3));
    // A few accuse another place, while all others have been silent for two seconds.
    run.say(&few, 2_500, &|r| r == RegionIx(3), TargetState::Failing);
    run.view.traffic = vec![row(PLACE, 3, 300), row(RegionIx(9), 0, 0)];
    let j = run.judge(2_500);
    assert_eq!(j.regions[3].0, Health::Unknown, "the accusation waits");
    let there = run.fleet.endpoints.iter().zip(&j.endpoints).filter(|(e, _)| e.region == PLACE);
    assert!(there.into_iter().all(|(_, h)| h.health == Health::Down), "what the edges left does not");
}

#[test]
fn a_large_fleet_speaks_before_a_down_stands() {
    let mut run = Run::well();
    let (few, rest) = run.benches(PLACE);
    let failing = |r: RegionIx| r == PLACE;
    // The others' last word is fresh, and older than the accusation.
    for ms in [500, 1_000, 1_500] {
        run.say(&few, ms, &failing, TargetState::Failing);
        let j = run.judge(ms);
        assert_eq!(j.regions[PLACE.at()].0, Health::Unknown, "{ms} ms");
        assert!(j.doubted.is_empty(), "it is no doubt: {:?}", j.doubted);
    }
    run.say(&rest[..7], 1_600, &failing, TargetState::Ok);
    assert_eq!(run.judge(1_600).regions[PLACE.at()].0, Health::Unknown, "fourteen of thirty");
    run.say(&rest[7..8], 1_700, &failing, TargetState::Ok);
    let j = run.judge(1_700);
    assert_eq!(j.regions[PLACE.at()].0, Health::Down, "fifteen");
    // It stands without being confirmed again.
    run.say(&few, 2_400, &failing, TargetState::Failing);
    assert_eq!(run.judge(2_400).regions[PLACE.at()].0, Health::Down);
    // But not by few alone: where too few are heard nobody can tell any more.
    run.silence();
    run.say(&few, 2_900, &failing, TargetState::Failing);
    assert_eq!(run.judge(2_900).regions[PLACE.at()].0, Health::Unknown);
}

/// Two regions of a cloud, three of another cloud's probers of each, and the other probers from outside of either: with the
/// region's own cloud's two probers against them, the three are no quorum of the region's, and one of the cloud's.
fn disputed(run: &Run) -> (ProviderIx, [RegionIx; 2], Vec<usize>, Vec<usize>) {
    let of = |v: &usize| run.fleet.provider_of(run.fleet.vantages[*v].region);
    let foreign = |r: RegionIx| {
        run.benches(r).0.into_iter().filter(|v| of(v) != run.fleet.provider_of(r)).collect::<BTreeSet<_>>()
    };
    let pairs = (0..16).map(RegionIx).flat_map(|a| (a.0 + 1..16).map(move |b| (a, RegionIx(b))));
    for (a, b) in pairs.filter(|(a, b)| run.fleet.provider_of(*a) == run.fleet.provider_of(*b)) {
        let (of_a, of_b) = (foreign(a), foreign(b));
        let all: Vec<usize> = of_a.union(&of_b).copied().collect();
        for pick in 0..1_u32 << all.len() {
            let three: BTreeSet<usize> = (0..all.len()).filter(|i| pick >> i & 1 == 1).map(|i| all[i]).collect();
            let fits = |bench: &BTreeSet<usize>| {
                let own: Vec<usize> = bench.intersection(&three).copied().collect();
                bench.len() == 5 && own.len() == 3 && own.iter().map(of).collect::<BTreeSet<_>>().len() >= 2
            };
            if fits(&of_a) && fits(&of_b) {
                let rest = all.iter().copied().filter(|v| !three.contains(v)).collect();
                return (run.fleet.provider_of(a), [a, b], three.into_iter().collect(), rest);
            }
        }
    }
    panic!("no such regions");
}

/// A provider's Down needs the words of half outside it, those within it do not count.
#[test]
fn a_provider_falls_only_when_half_outside_it_have_spoken() {
    for at_once in [false, true] {
        let mut run = Run::well();
        let (cloud, places, three, rest) = disputed(&run);
        let of = |run: &Run, v: usize| run.fleet.provider_of(run.fleet.vantages[v].region);
        let own: Vec<usize> = (0..32).filter(|v| of(&run, *v) == cloud).collect();
        let others: Vec<usize> =
            (0..32).filter(|v| of(&run, *v) != cloud && !three.contains(v) && !rest.contains(v)).collect();
        let failing = |r: RegionIx| places.contains(&r);
        for v in &rest {
            run.view.reports[*v] = None;
        }
        let (asked, told) = if at_once { (500, 500) } else { (500, 1_000) };
        let most = 12 - three.len();
        for (ms, heard) in [(asked, 0), (told, most - 1), (told, most)] {
            run.say(&three, ms, &failing, TargetState::Failing);
            run.say(&own, ms, &|_| false, TargetState::Ok);
            run.say(&others[..heard], ms, &|_| false, TargetState::Ok);
            let j = run.judge(ms);
            let down = j.providers[cloud.at()].0 == Health::Down;
            assert_eq!(down, heard == most, "{} of 24 have spoken, at once: {at_once}", three.len() + heard);
        }
    }
}

/// Regions that stand as down do not make their cloud so while too few are heard.
#[test]
fn no_provider_falls_by_few_whose_word_on_its_regions_stands() {
    let mut run = Run::well();
    let (cloud, places, three, rest) = disputed(&run);
    let of = |run: &Run, v: usize| run.fleet.provider_of(run.fleet.vantages[v].region);
    let own: Vec<usize> = (0..32).filter(|v| of(&run, *v) == cloud).collect();
    let failing = |r: RegionIx| places.contains(&r);
    let all: Vec<usize> = (0..32).collect();
    // The cloud's own see it too: regions are down, and of those outside the cloud it is three of five.
    run.say(&all, 500, &|_| false, TargetState::Ok);
    run.say(&[three.clone(), own.clone()].concat(), 500, &failing, TargetState::Failing);
    let j = run.judge(500);
    assert!(places.iter().all(|r| j.regions[r.at()].0 == Health::Down), "{:?}", j.regions);
    assert_ne!(j.providers[cloud.at()].0, Health::Down);
    // Now the other two are silent, and most of all.
    run.silence();
    run.say(&[three.clone(), own].concat(), 900, &failing, TargetState::Failing);
    assert_ne!(run.judge(900).providers[cloud.at()].0, Health::Down, "{rest:?} were silenced");
}

/// The server and eight vantages of four regions are cut off from all others.
#[test]
fn the_smaller_side_of_a_split_accuses_nobody() {
    let (mut sides, mut outvoted) = (0, 0);
    let picks = (1..16_u16).flat_map(|a| (a + 1..16).flat_map(move |b| (b + 1..16).map(move |c| [0, a, b, c])));
    for side in picks.step_by(7) {
        let side: BTreeSet<RegionIx> = side.into_iter().map(RegionIx).collect();
        let mut run = Run::well();
        let here: Vec<usize> = (0..32).filter(|v| side.contains(&run.fleet.vantages[*v].region)).collect();
        let away = |r: RegionIx| !side.contains(&r);
        // From the first failures on, through the silence of the others and past the time when their word grows stale.
        for ms in (500..8_000).step_by(500) {
            run.say(&here, ms, &away, TargetState::Failing);
            let j = run.judge(ms);
            let accused = |h: &&EndpointHealth| matches!(h.health, Health::Down | Health::Degraded);
            assert_eq!(j.endpoints.iter().filter(accused).count(), 0, "{side:?}, {ms} ms");
            assert!(j.regions.iter().chain(&j.providers).all(|h| h.0 != Health::Down), "{side:?}, {ms} ms");
        }
        sides += 1;
        // Without the rule: half of some electorate, from two providers, stands on this side.
        outvoted += usize::from((0..16).map(RegionIx).filter(|r| away(*r)).any(|r| {
            let votes: Vec<usize> = run.benches(r).0.into_iter().filter(|v| here.contains(v)).collect();
            let clouds: BTreeSet<ProviderIx> =
                votes.iter().map(|v| run.fleet.provider_of(run.fleet.vantages[*v].region)).collect();
            votes.len() >= 4 && clouds.len() >= 2
        }));
    }
    assert!(sides >= 60 && outvoted >= 20, "{outvoted} of {sides} sides could accuse by votes alone");
}

/// Those on the server's side find what they lost failing one after the other, and until then say that it is well: no path
/// begins by the words of those who have not noticed yet.
#[test]
fn the_smaller_side_of_a_split_finds_no_path() {
    let picks = (1..16_u16).flat_map(|a| (a + 1..16).flat_map(move |b| (b + 1..16).map(move |c| [0, a, b, c])));
    let (mut sides, mut suspicions) = (0, 0);
    for side in picks.step_by(29) {
        let side: BTreeSet<RegionIx> = side.into_iter().map(RegionIx).collect();
        let mut run = Run::well();
        let here: Vec<usize> = (0..32).filter(|v| side.contains(&run.fleet.vantages[*v].region)).collect();
        let all: Vec<usize> = (0..32).collect();
        for ms in (500..=5_000).step_by(500) {
            run.say(&all, ms, &|_| false, TargetState::Ok);
            assert!(run.judge(ms).paths.is_empty());
        }
        let away = |r: RegionIx| !side.contains(&r);
        // One cloud's notice first; all have within a probe's interval and its time-out.
        let cloud = sides % 4;
        let own = |run: &Run, v: usize| run.fleet.provider_of(run.fleet.vantages[v].region).at() == cloud;
        for ms in (5_100..9_000).step_by(100) {
            for v in &here {
                let late = if own(&run, *v) { 0 } else { 300 + *v as u64 * 97 % 550 };
                let state = if ms >= 6_000 + late { TargetState::Failing } else { TargetState::Ok };
                run.say(&[*v], ms, &away, state);
            }
            let j = run.judge(ms);
            assert_eq!(j.paths, [], "{side:?}, {ms} ms");
            suspicions += j.suspected_paths.len();
        }
        sides += 1;
    }
    assert!(sides >= 15 && suspicions > 0, "{sides} sides, {suspicions}: nothing could be found anyhow");
}

/// The way is open again, and those who were cut off still say for a while what they saw then.
#[test]
fn what_was_seen_while_few_were_heard_accuses_nobody_afterwards() {
    let mut run = Run::well();
    let (few, rest) = run.benches(PLACE);
    let failing = |r: RegionIx| r == PLACE;
    for ms in (500..=6_000).step_by(500) {
        run.say(&few, ms, &failing, TargetState::Failing);
        assert_eq!(run.judge(ms).regions[PLACE.at()].0, Health::Unknown, "{ms} ms");
    }
    // The slow way up is 4.5 s. Who still says so after that, while the fleet is heard, is believed.
    for ms in (6_500..=12_000).step_by(500) {
        run.say(&few, ms, &failing, TargetState::Failing);
        run.say(&rest, ms, &failing, TargetState::Ok);
        let told = run.judge(ms).regions[PLACE.at()].0 == Health::Down;
        assert_eq!(told, ms >= 6_500 + 4_500, "{ms} ms");
    }
}

/// Half must have missed two of the reports that are due each second: one that is late is not yet missed.
#[test]
fn two_seconds_without_a_word_are_silence() {
    for (silent_until, told) in [(2_000, Health::Down), (2_001, Health::Unknown)] {
        let mut run = Run::well();
        let (few, rest) = run.benches(PLACE);
        let failing = |r: RegionIx| r == PLACE;
        for ms in [500, 1_000, 1_500, silent_until] {
            run.say(&few, ms, &failing, TargetState::Failing);
            assert_eq!(run.judge(ms).regions[PLACE.at()].0, Health::Unknown, "{ms} ms");
        }
        run.say(&few, silent_until + 1, &failing, TargetState::Failing);
        run.say(&rest, silent_until + 1, &failing, TargetState::Ok);
        assert_eq!(run.judge(silent_until + 1).regions[PLACE.at()].0, told, "silent for {silent_until} ms");
    }
}

/// No path begins while too few are heard, nor until what those who were cut off saw then is forgotten.
#[test]
fn no_path_begins_beside_silence_nor_just_after() {
    let mut run = Run::well();
    // One cloud's probers of a region of another: two at least, and no quorum.
    let of = |run: &Run, v: usize| run.fleet.provider_of(run.fleet.vantages[v].region);
    let pairs = (0..16).map(RegionIx).flat_map(|r| (0..4).map(move |p| (r, ProviderIx(p))));
    let lose = |run: &Run, (r, p): (RegionIx, ProviderIx)| -> Vec<usize> {
        run.benches(r).0.into_iter().filter(|v| of(run, *v) == p).collect()
    };
    let (place, cloud) =
        pairs.filter(|(r, p)| run.fleet.provider_of(*r) != *p).find(|pair| lose(&run, *pair).len() == 2).unwrap();
    let blind = lose(&run, (place, cloud));
    let others: Vec<usize> = (0..32).filter(|v| !blind.contains(v)).collect();
    let beside: Vec<usize> = run.benches(place).0.into_iter().filter(|v| !blind.contains(v)).collect();
    let (failing, nothing) = (|r: RegionIx| r == place, |_: RegionIx| false);
    let paths = |j: &Judgement| j.paths.iter().map(|p| (p.from, p.to)).collect::<Vec<_>>();
    // So long that a path to it may be lost at all, and then silence.
    for ms in (500..=6_000).step_by(500) {
        run.say(&(0..32).collect::<Vec<_>>(), ms, &nothing, TargetState::Ok);
        assert_eq!(paths(&run.judge(ms)), []);
    }
    for ms in (6_500..=11_000).step_by(500) {
        // All of the few that probe it are heard, and hardly anybody else.
        let lost = |r: RegionIx| failing(r) && ms > 8_000;
        run.say(&blind, ms, &lost, TargetState::Failing);
        run.say(&beside, ms, &nothing, TargetState::Ok);
        assert_eq!(paths(&run.judge(ms)), [], "{ms} ms");
    }
    assert!(!run.state.unheard.is_empty());
    let check = &run.fleet.services[0].check;
    let probe = check.interval.0 + check.timeout.0;
    for ms in (11_500..=18_500).step_by(500) {
        run.say(&blind, ms, &failing, TargetState::Failing);
        run.say(&others, ms, &nothing, TargetState::Ok);
        let found = paths(&run.judge(ms));
        let told = found == [(PathFrom::Provider(cloud), place)];
        assert!(told || found.is_empty(), "{found:?}");
        // Then it is suspected, and a probe later told.
        assert_eq!(told, ms >= 11_500 + 4_500 + probe, "{ms} ms");
        assert_eq!(run.state.unheard.is_empty(), ms >= 11_500 + 4_500, "{ms} ms");
    }
}

/// Where too few are heard outside one provider, paths to others may fail all the same.
#[test]
fn silence_bars_only_whom_it_is_about() {
    let mut run = Run::well();
    let of = |run: &Run, v: usize| run.fleet.provider_of(run.fleet.vantages[v].region);
    let (near, far, some, to) = (ProviderIx(0), ProviderIx(1), ProviderIx(2), ProviderIx(3));
    let of_cloud = |run: &Run, r: RegionIx, p: ProviderIx| -> Vec<usize> {
        run.benches(r).0.into_iter().filter(|v| of(run, *v) == p).collect()
    };
    // Two lose it, two of another cloud and one of a third see it well; the rest of the third and all of its own are silent.
    let places = (0..16).map(RegionIx).filter(|r| run.fleet.provider_of(*r) == to);
    let (place, blind, seeing) = places
        .filter_map(|r| {
            let (near, far, some) = (of_cloud(&run, r, near), of_cloud(&run, r, far), of_cloud(&run, r, some));
            (near.len() >= 2 && far.len() + some.len() >= 3 && !some.is_empty()).then_some((
                r,
                near,
                [far, some].concat(),
            ))
        })
        .next()
        .unwrap();
    let mut few: Vec<usize> = seeing.iter().copied().filter(|v| of(&run, *v) == some).collect();
    few.extend((0..32).filter(|v| of(&run, *v) == some && !seeing.contains(v)));
    few.truncate(3);
    let mut heard: Vec<usize> = (0..32).filter(|v| of(&run, *v) == near || of(&run, *v) == far).collect();
    heard.extend(few);
    let all: Vec<usize> = (0..32).collect();
    for ms in (500..=5_000).step_by(500) {
        run.say(&all, ms, &|_| false, TargetState::Ok);
        run.judge(ms);
    }
    run.silence();
    let mut found = false;
    for ms in (5_500..=9_000).step_by(500) {
        run.say(&heard, ms, &|_| false, TargetState::Ok);
        run.say(&blind, ms, &|r| r == place, TargetState::Failing);
        let j = run.judge(ms);
        let unheard: Vec<ProviderIx> = j.unheard.iter().map(|u| u.provider).collect();
        assert_eq!(unheard, [near, far], "eleven of twenty-four are heard outside these");
        found |= j.paths.iter().any(|p| (p.from, p.to) == (PathFrom::Provider(near), place));
    }
    assert!(found, "nineteen are heard outside {to:?}");
}

#[test]
fn a_cloud_that_dies_with_its_vantages_is_told() {
    let mut run = Run::well();
    let dead = ProviderIx(1);
    let gone = |r: RegionIx| r.at() / 4 == dead.at();
    let alive: Vec<usize> = (0..32).filter(|v| !gone(run.fleet.vantages[*v].region)).collect();
    run.say(&alive, 1_000, &gone, TargetState::Failing);
    let j = run.judge(1_000);
    assert_eq!(j.providers.iter().map(|p| p.0 == Health::Down).collect::<Vec<_>>(), [false, true, false, false]);
}
