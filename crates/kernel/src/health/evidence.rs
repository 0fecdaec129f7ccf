//! The evidence behind each verdict: how every member of the electorate counted.
//!
//! Owns the words for `explain`. Decides nothing: the verdicts stand before it is asked.

use super::electorate::{Bench, Count, Member};
use super::{Judgement, memory};
use std::collections::BTreeMap;
use tidegate_domain::{
    Accused, EndpointHealth, EndpointIx, Fleet, Health, Mono, ProviderIx, RegionIx, TargetState, VantageIx, Verdict,
    Vote, VoteKind,
};

/// What one member sees of one region.
#[derive(Debug, Clone, Copy, Default)]
struct Sight {
    all: u32,
    failing: u32,
    slow: u32,
    unseen: u32,
}
impl Sight {
    fn add(&mut self, state: TargetState) {
        self.all += 1;
        match state {
            TargetState::Unseen => self.unseen += 1,
            TargetState::Ok => {}
            TargetState::Slow => self.slow += 1,
            TargetState::Failing => self.failing += 1,
        }
    }
    /// Its vote on the region: by the share of endpoints at which a region falls.
    fn vote(&self) -> VoteKind {
        if memory::enough(self.failing, self.all) {
            VoteKind::Down
        } else if memory::enough(self.unseen, self.all) {
            VoteKind::Unseen
        } else if memory::enough(self.slow, self.all) {
            VoteKind::Slow
        } else {
            VoteKind::Up
        }
    }
}

/// What every member of every region's electorate sees of the region.
#[derive(Debug)]
pub(super) struct Sights {
    /// By region, by position in its bench.
    of: Vec<Vec<Sight>>,
    /// By region: an endpoint stands there.
    bears: Vec<bool>,
    /// By region: somebody eligible does not see all of it well.
    pub(super) doubtful: Vec<bool>,
}
impl Sights {
    pub(super) fn of(fleet: &Fleet, benches: &[Bench<'_>], counts: &[Count]) -> Self {
        let mut sights: Vec<Vec<Sight>> = benches.iter().map(|b| vec![Sight::default(); b.members.len()]).collect();
        let mut bears = vec![false; benches.len()];
        let mut doubtful = bears.clone();
        let mut well = vec![0_u32; benches.len()];
        for (i, e) in fleet.endpoints.iter().enumerate() {
            let r = e.region.at();
            bears[r] = true;
            if counts[i].all_well {
                well[r] += 1;
                continue;
            }
            doubtful[r] = true;
            for (member, sight) in benches[r].members.iter().zip(&mut sights[r]) {
                sight.add(member.sees(EndpointIx::from(i)));
            }
        }
        for (sights, well) in sights.iter_mut().zip(&well) {
            sights.iter_mut().for_each(|s| s.all += well);
        }
        Self { of: sights, bears, doubtful }
    }
    /// How the member at `position` of the region's bench would vote on it.
    pub(super) fn vote(&self, region: usize, position: usize) -> VoteKind {
        self.of[region][position].vote()
    }
}

/// Verdicts on providers, regions and endpoints, each in index order.
pub(super) fn verdicts(
    fleet: &Fleet,
    benches: &[Bench<'_>],
    counts: &[Count],
    sights: &Sights,
    judged: &Judgement,
) -> Vec<Verdict> {
    let Judgement { endpoints, regions, providers, .. } = judged;
    let Sights { of: sights, bears, .. } = sights;
    let mut all = Vec::with_capacity(providers.len() + regions.len() + endpoints.len());
    for (p, standing) in providers.iter().enumerate() {
        let own: Vec<usize> =
            (0..benches.len()).filter(|r| bears[*r] && fleet.regions[*r].provider.at() == p).collect();
        if !own.is_empty() {
            let votes = provider_votes(&own, benches, sights);
            all.push(of_place(fleet, Accused::Provider(ProviderIx::from(p)), *standing, votes));
        }
    }
    for (r, standing) in regions.iter().enumerate().filter(|(r, _)| bears[*r]) {
        let members = benches[r].members.iter().zip(&sights[r]);
        let votes = members.map(|(m, sight)| m.vote(sight.vote())).collect();
        all.push(of_place(fleet, Accused::Region(RegionIx::from(r)), *standing, votes));
    }
    all.extend(endpoints.iter().enumerate().map(|(i, standing)| {
        let bench = &benches[fleet.endpoints[i].region.at()];
        of_endpoint(EndpointIx::from(i), bench, &counts[i], *standing)
    }));
    all
}

/// How each vantage outside the provider sees its regions `own` together: Down by the rule for providers.
fn provider_votes(own: &[usize], benches: &[Bench<'_>], sights: &[Vec<Sight>]) -> Vec<Vote> {
    let mut by_vantage: BTreeMap<VantageIx, (Member<'_>, Vec<VoteKind>)> = BTreeMap::new();
    for r in own {
        let bench = &benches[*r];
        for (member, sight) in bench.members[..bench.foreign].iter().zip(&sights[*r]) {
            by_vantage.entry(member.vantage).or_insert((*member, Vec::new())).1.push(sight.vote());
        }
    }
    let needed = own.len().min(2);
    let one = |(member, votes): &(Member<'_>, Vec<VoteKind>)| {
        let of = |kind| votes.iter().filter(|v| **v == kind).count();
        member.vote(if of(VoteKind::Down) >= needed {
            VoteKind::Down
        } else if of(VoteKind::Unseen) * 2 > votes.len() {
            VoteKind::Unseen
        } else if of(VoteKind::Slow) > 0 && of(VoteKind::Up) == 0 {
            VoteKind::Slow
        } else {
            VoteKind::Up
        })
    };
    by_vantage.values().map(one).collect()
}

/// Counts the votes on a place.
fn of_place(fleet: &Fleet, accused: Accused, standing: (Health, Mono), mut votes: Vec<Vote>) -> Verdict {
    votes.sort_by_key(|v| v.vantage);
    let (health, since) = standing;
    let eligible = |v: &&Vote| matches!(v.kind, VoteKind::Up | VoteKind::Slow | VoteKind::Down | VoteKind::Unseen);
    let agrees = |v: &&Vote| match health {
        Health::Healthy => matches!(v.kind, VoteKind::Up | VoteKind::Slow),
        Health::Degraded => v.kind == VoteKind::Slow,
        Health::Down => v.kind == VoteKind::Down,
        Health::Unknown => false,
    };
    let mut providers: Vec<ProviderIx> =
        votes.iter().filter(agrees).map(|v| fleet.provider_of(fleet.vantages[v.vantage.at()].region)).collect();
    let agreeing = short(providers.len());
    providers.sort_unstable();
    providers.dedup();
    Verdict {
        accused,
        health,
        since,
        electorate: short(votes.len()),
        eligible: short(votes.iter().filter(eligible).count()),
        agreeing,
        agreeing_providers: short(providers.len()),
        votes,
    }
}

/// The verdict on one endpoint; its votes only when it is not Healthy: sixty thousand lists of "well" help nobody.
fn of_endpoint(endpoint: EndpointIx, bench: &Bench<'_>, count: &Count, standing: EndpointHealth) -> Verdict {
    let tally = &count.tally;
    let (agreeing, agreeing_providers) = tally.agreeing(standing.health);
    let votes = if standing.health == Health::Healthy { Vec::new() } else { bench.votes(endpoint) };
    Verdict {
        accused: Accused::Endpoint(endpoint),
        health: standing.health,
        since: standing.since,
        electorate: tally.electorate,
        eligible: tally.eligible,
        agreeing,
        agreeing_providers,
        votes,
    }
}

fn short(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
