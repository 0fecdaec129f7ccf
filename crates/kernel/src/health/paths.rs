//! Regions that are not reached from one side: by the probers near some clients, or in one provider, while enough probers
//! elsewhere see them well.
//!
//! Owns that finding and its memory: at once when it begins, slowly over. Refuses a verdict for all; whom it concerns and
//! why is decision 0048.

use super::crowd::Crowd;
use super::electorate::{Bench, Member};
use super::evidence::Sights;
use tidegate_domain::{
    Blame, Fleet, GroupIx, Health, Mono, PathFailure, PathFrom, ProviderIx, RegionIx, State, SuspectedPath, VantageIx,
    VoteKind,
};

/// One prober's word alone moves nothing.
const NEAR_MIN: u16 = 2;

/// The probers that stand near the clients of `group`: in its area and under its law; where these are fewer than two, in its
/// area. By index.
#[must_use]
pub fn near(fleet: &Fleet, group: GroupIx) -> Vec<VantageIx> {
    let of = &fleet.groups[group.at()];
    let pick = |fits: &dyn Fn(RegionIx) -> bool| -> Vec<VantageIx> {
        let all = (0..fleet.vantages.len()).map(VantageIx::from);
        all.filter(|v| fits(fleet.vantages[v.at()].region)).collect()
    };
    let area = |r: RegionIx| fleet.regions[r.at()].area == of.area;
    let same = pick(&|r| area(r) && fleet.regions[r.at()].jurisdiction == of.jurisdiction);
    if same.len() >= usize::from(NEAR_MIN) { same } else { pick(&area) }
}

/// The sides from which regions are looked at.
fn sides(fleet: &Fleet) -> Vec<(PathFrom, Vec<VantageIx>)> {
    let groups = (0..fleet.groups.len()).map(GroupIx::from).map(|g| (PathFrom::Group(g), near(fleet, g)));
    let of = |p: ProviderIx| {
        let all = (0..fleet.vantages.len()).map(VantageIx::from);
        all.filter(|v| fleet.provider_of(fleet.vantages[v.at()].region) == p).collect()
    };
    let providers = (0..fleet.providers.len()).map(ProviderIx::from).map(|p| (PathFrom::Provider(p), of(p)));
    groups.chain(providers).filter(|(_, near)| near.len() >= usize::from(NEAR_MIN)).collect()
}

/// What is found and what is suspected now, and when time alone would change it. `regions` are the verdicts that stand.
pub(super) fn judge(
    fleet: &Fleet,
    benches: &[Bench<'_>],
    sights: &Sights,
    crowd: &Crowd,
    before: &State,
    (regions, now): (&[(Health, Mono)], Mono),
) -> (Vec<PathFailure>, Vec<SuspectedPath>, Option<Mono>) {
    let looks = |r: &usize| sights.doubtful[*r] || before.paths.iter().any(|p| p.to.at() == *r);
    let regions: Vec<(usize, bool)> =
        (0..benches.len()).filter(looks).map(|r| (r, regions[r].0 == Health::Down)).collect();
    let (mut found, mut suspected, mut wake) = (Vec::new(), Vec::new(), None);
    if regions.is_empty() {
        return (found, suspected, wake);
    }
    for (from, near) in sides(fleet) {
        for (r, is_down) in &regions {
            let to = RegionIx::from(*r);
            let stood = before.paths.binary_search_by_key(&(from, to), |p| (p.from, p.to)).ok();
            let known = before.suspected_paths.binary_search_by_key(&(from, to), |p| (p.from, p.to)).ok();
            let since = known.map_or(now, |at| before.suspected_paths[at].since);
            let count = Count::of(&benches[*r], sights, *r, (&near, Crowd::noticed_by(fleet, to, since)));
            let stood = stood.map(|at| before.paths[at]);
            let Some(path) = count.step(stood, (from, to), *is_down, now) else { continue };
            if stood.is_none() {
                if crowd.is_unheard(fleet.provider_of(to)) {
                    continue;
                }
                // Probers find a place that comes back well one after the other: only what was well for all can be lost. While
                // it is suspected it may well be Unknown for all.
                let ripe = if known.is_some() { Some(since) } else { ripe(fleet, before, to) };
                let Some(ripe) = ripe else { continue };
                if ripe > now {
                    wake = wake.into_iter().chain(Some(ripe)).min();
                    continue;
                }
                // Who has fallen silent elsewhere saw it well before it was lost. News of them wake by themselves.
                if !count.is_confirmed() {
                    suspected.push(SuspectedPath { from, to, since });
                    continue;
                }
            }
            // Over after the slow way up, as a place is Healthy again.
            let due = path.well_since.map(|since| since + fleet.rules.up_after);
            if due.is_some_and(|due| due <= now) {
                continue;
            }
            wake = wake.into_iter().chain(due).min();
            found.push(path);
        }
    }
    (found, suspected, wake)
}

/// From when on a path to the region may begin to fail: when it has been well for as long as the slow way up takes. None: it
/// was not called well. At once where it is Degraded by the edges' word alone: to the probers nothing has changed by that.
fn ripe(fleet: &Fleet, before: &State, region: RegionIx) -> Option<Mono> {
    let (health, since) = before.regions.get(region.at()).copied()?;
    let blamed = |b: &&Blame| b.region == region && b.health == Health::Degraded;
    if health == Health::Degraded && before.blamed.iter().filter(blamed).any(|b| b.since >= since) {
        return Some(since);
    }
    matches!(health, Health::Healthy | Health::Degraded).then_some(since + fleet.rules.up_after)
}

/// The votes of both sides on one region.
#[derive(Debug, Default)]
struct Count {
    /// Of that side, fit or not.
    near_all: u16,
    near: u16,
    failing: u16,
    near_well: u16,
    far_all: u16,
    far: u16,
    well: u16,
    well_providers: u16,
    /// Of those elsewhere, who have spoken since it was suspected.
    heard: u16,
    heard_well: u16,
    heard_well_providers: u16,
}

fn two_thirds(n: u16, of: u16) -> bool {
    n > 0 && u32::from(n) * 3 >= u32::from(of) * 2
}

impl Count {
    /// `from`: since when words count as spoken after it began to be suspected.
    fn of(bench: &Bench<'_>, sights: &Sights, region: usize, (near, from): (&[VantageIx], Mono)) -> Self {
        let mut c = Self::default();
        let (mut last, mut last_heard): (Option<ProviderIx>, Option<ProviderIx>) = (None, None);
        for (at, member) in bench.members.iter().enumerate() {
            let vote = Member::vote(member, sights.vote(region, at)).kind;
            let fit = member.targets.is_some();
            let well = fit && matches!(vote, VoteKind::Up | VoteKind::Slow);
            if near.binary_search(&member.vantage).is_ok() {
                c.near_all += 1;
                c.near += u16::from(fit);
                c.failing += u16::from(fit && vote == VoteKind::Down);
                c.near_well += u16::from(well);
            } else {
                c.far_all += 1;
                c.far += u16::from(fit);
                c.well += u16::from(well);
                // members stand in order of their providers
                if well && last != Some(member.provider) {
                    (last, c.well_providers) = (Some(member.provider), c.well_providers + 1);
                }
                if fit && member.arrived >= Some(from) {
                    c.heard += 1;
                    c.heard_well += u16::from(well);
                    if well && last_heard != Some(member.provider) {
                        (last_heard, c.heard_well_providers) = (Some(member.provider), c.heard_well_providers + 1);
                    }
                }
            }
        }
        c
    }

    /// Whether the electorate's rule holds elsewhere by the words alone that were spoken since it is suspected.
    fn is_confirmed(&self) -> bool {
        let enough = self.heard > 0 && self.heard * 2 >= self.far_all;
        enough && two_thirds(self.heard_well, self.heard) && self.heard_well_providers >= 2
    }

    /// INVARIANT: a path fails only by two probers and two thirds of that side, half of it fit, against the electorate's
    /// rule elsewhere, and never beside a Down of the region (`tests/paths.rs`, `a_path_fails_only_by_its_rule`).
    fn step(
        &self,
        stood: Option<PathFailure>,
        (from, to): (PathFrom, RegionIx),
        is_down: bool,
        now: Mono,
    ) -> Option<PathFailure> {
        let heard = self.near > 0 && self.near * 2 >= self.near_all;
        let failing = heard && self.failing >= NEAR_MIN && two_thirds(self.failing, self.near);
        let elsewhere = self.far * 2 >= self.far_all && two_thirds(self.well, self.far) && self.well_providers >= 2;
        let (since, well_since) = match stood {
            None if failing && elsewhere && !is_down => (now, None),
            None => return None,
            Some(stood) if heard && two_thirds(self.near_well, self.near) => {
                (stood.since, Some(stood.well_since.unwrap_or(now)))
            }
            // Still failing, or nobody can tell: it holds.
            Some(stood) => (stood.since, None),
        };
        let Self { near, failing, well, far: elsewhere, .. } = *self;
        Some(PathFailure { from, to, since, well_since, failing, near, well, elsewhere })
    }
}
