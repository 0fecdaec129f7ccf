//! Fleets in which few probe each region: these speak for the fleet only while most of it is heard, and has spoken since they
//! began to accuse.

mod support;

use std::collections::BTreeSet;
use support::{FleetBuilder, allow_all, at, report, three_areas};
use tidegate_domain::*;
use tidegate_kernel::health::{Judgement, assigned, judge};

/// Four clouds of four regions, two vantages and two endpoints in each.
fn fleet() -> Fleet {
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
        let fleet = fleet();
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
        j
    }
    /// The probers of a region, and those outside it that do not probe it.
    fn benches(&self, region: RegionIx) -> (Vec<usize>, Vec<usize>) {
        let few: Vec<usize> = self.probers[region.at()].iter().map(|v| v.at()).collect();
        let outside = |v: &usize| self.fleet.vantages[*v].region != region && !few.contains(v);
        let rest = (0..self.fleet.vantages.len()).filter(outside).collect();
        (few, rest)
    }
}

const PLACE: RegionIx = RegionIx(6);

#[test]
fn half_of_a_large_fleet_must_be_heard() {
    for (state, told) in [(TargetState::Failing, Health::Down), (TargetState::Slow, Health::Degraded)] {
        // thirty stand outside the region, seven of them probe it
        for (heard, enough) in [(14, false), (15, true)] {
            let mut run = Run::well();
            let (few, rest) = run.benches(PLACE);
            assert_eq!((few.len(), rest.len()), (7, 23));
            run.silence();
            run.say(&few, 1_000, &|r| r == PLACE, state);
            run.say(&rest[..heard - few.len()], 1_000, &|r| r == PLACE, state);
            let found = run.judge(1_000).regions[PLACE.at()].0;
            assert_eq!(found == told, enough, "{state:?}, {heard} heard: {found:?}");
        }
    }
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
