//! Who may speak about a place, who of them is fit to, and what their votes amount to.
//!
//! Owns the quorum rule. Refuses memory: what stood before is the business of `memory`.

use tidegate_domain::{
    EndpointIx, Fleet, Health, Millis, Mono, ProviderIx, RegionIx, TargetState, VantageIx, VantageReport, View, Vote,
    VoteKind,
};

/// Up to so many vantages, every one probes every endpoint.
pub const PROBE_FROM_ALL: usize = 9;
/// In a larger fleet, every region is probed from so many.
pub const PROBE_FROM: usize = 7;
/// How many of a region's probers may stand in other regions of its own provider.
const OWN_PROVIDER_MAX: usize = 2;

/// The numbers of the electorate's rule. There is one rule, [`Quorum::RULE`]; others exist so that
/// tests can show that a weaker one is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Part of the electorate that must be eligible, as (numerator, denominator).
    pub eligible: (u32, u32),
    /// Part of the eligible that must agree.
    pub agreeing: (u32, u32),
    /// Number of different providers that the agreeing ones must come from.
    pub providers: u16,
}
impl Quorum {
    /// At least half eligible, two thirds of these agreeing, from two providers.
    pub const RULE: Self = Self { eligible: (1, 2), agreeing: (2, 3), providers: 2 };
}

/// The vantages that probe the endpoints of `region`, by index.
///
/// Up to [`PROBE_FROM_ALL`] configured vantages: all. More: [`PROBE_FROM`] outside the region, by rendezvous hash of the
/// names, so that a vantage more or less changes few assignments: the best of three providers besides the region's
/// own first, then by rank, at most two of the region's own provider. The servers hand probers their lists by this.
#[must_use]
pub fn assigned(fleet: &Fleet, region: RegionIx) -> Vec<VantageIx> {
    let all = (0..fleet.vantages.len()).map(VantageIx::from);
    if fleet.vantages.len() <= PROBE_FROM_ALL {
        return all.collect();
    }
    let own = fleet.provider_of(region);
    let place = fleet.regions[region.at()].name.to_string();
    let ranked = ranked(fleet, &place, |r| r != region);
    let mut chosen: Vec<(VantageIx, ProviderIx)> = Vec::with_capacity(PROBE_FROM);
    for (v, p) in &ranked {
        if chosen.len() < 3 && *p != own && chosen.iter().all(|c| c.1 != *p) {
            chosen.push((*v, *p));
        }
    }
    for (v, p) in &ranked {
        let own_full = *p == own && chosen.iter().filter(|c| c.1 == own).count() >= OWN_PROVIDER_MAX;
        if chosen.len() < PROBE_FROM && !own_full && chosen.iter().all(|c| c.0 != *v) {
            chosen.push((*v, *p));
        }
    }
    let mut vantages: Vec<VantageIx> = chosen.into_iter().map(|c| c.0).collect();
    vantages.sort_unstable();
    vantages
}

/// The vantages in regions that are `outside`, with their providers, by rendezvous rank for `place`.
pub(super) fn ranked(fleet: &Fleet, place: &str, outside: impl Fn(RegionIx) -> bool) -> Vec<(VantageIx, ProviderIx)> {
    let of = |v: VantageIx| (v, fleet.provider_of(fleet.vantages[v.at()].region));
    let all = (0..fleet.vantages.len()).map(VantageIx::from).filter(|v| outside(fleet.vantages[v.at()].region));
    let mut ranked: Vec<(u64, VantageIx)> =
        all.map(|v| (rank(place, fleet.vantages[v.at()].name.as_str()), v)).collect();
    ranked.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, v)| of(v)).collect()
}

/// Rendezvous rank: FNV-1a over both names, then a finaliser that spreads the last bytes over the high bits.
fn rank(place: &str, vantage: &str) -> u64 {
    let bytes = place.bytes().chain([0xff]).chain(vantage.bytes());
    let mut h = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// One configured vantage as it stands now: fit to vote, or why not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) vantage: VantageIx,
    pub(super) provider: ProviderIx,
    pub(super) region: RegionIx,
    /// What it sees; none: not eligible.
    pub(super) targets: Option<&'a [TargetState]>,
    /// Why it is not eligible, where it is not.
    pub(super) unfit: VoteKind,
    pub(super) age: Option<Millis>,
    /// When its newest report arrived.
    pub(super) arrived: Option<Mono>,
}
impl Member<'_> {
    /// Its vote, `seen` where it is eligible.
    pub(super) fn vote(&self, seen: VoteKind) -> Vote {
        let kind = if self.targets.is_some() { seen } else { self.unfit };
        Vote { vantage: self.vantage, kind, age: self.age }
    }
    /// What it sees of `endpoint`; `Unseen` where its list is short or it is not eligible.
    pub(super) fn sees(&self, endpoint: EndpointIx) -> TargetState {
        self.targets.and_then(|t| t.get(endpoint.at())).copied().unwrap_or_default()
    }
}

/// Why a vantage does not vote now; none: it does.
#[must_use]
pub fn not_eligible(fleet: &Fleet, report: Option<&VantageReport>, now: Mono) -> Option<VoteKind> {
    unfit(fleet, report, needed(fleet), now)
}

/// References that a vantage must reach, and in how many networks: two, or as many as the fleet has.
fn needed(fleet: &Fleet) -> (usize, usize) {
    let networks: std::collections::BTreeSet<_> = fleet.references.iter().map(|r| &r.network).collect();
    (fleet.references.len().min(2), networks.len().min(2))
}

/// All members by vantage index, and the moment when the first eligible one goes stale.
pub(super) fn roll_call<'a>(fleet: &Fleet, view: &'a View, now: Mono) -> (Vec<Member<'a>>, Option<Mono>) {
    let needed = needed(fleet);
    let mut stale_at: Option<Mono> = None;
    let members = (0..fleet.vantages.len())
        .map(|i| {
            let report = view.reports.get(i).and_then(Option::as_ref);
            let unfit = unfit(fleet, report, needed, now);
            if let (None, Some(r)) = (unfit, report) {
                let ends = Mono((r.arrived + fleet.rules.report_fresh).0.saturating_add(1));
                stale_at = Some(stale_at.map_or(ends, |s| s.min(ends)));
            }
            let region = fleet.vantages[i].region;
            Member {
                vantage: VantageIx::from(i),
                provider: fleet.provider_of(region),
                region,
                targets: if unfit.is_none() { report.map(|r| r.targets.as_slice()) } else { None },
                unfit: unfit.unwrap_or(VoteKind::Stale),
                age: report.map(|r| now.since(r.arrived)),
                arrived: report.map(|r| r.arrived),
            }
        })
        .collect();
    (members, stale_at)
}

/// Why a vantage may not vote. The references are hosts outside the fleet: who reaches none is cut off itself, and
/// what it then says of others is worth nothing. Compared in whole nanoseconds, so that the waking moment is exact.
fn unfit(fleet: &Fleet, report: Option<&VantageReport>, needed: (usize, usize), now: Mono) -> Option<VoteKind> {
    let Some(r) = report else { return Some(VoteKind::Stale) };
    if now > r.arrived + fleet.rules.report_fresh {
        Some(VoteKind::Stale)
    } else if r.revision != fleet.revision {
        Some(VoteKind::OtherRevision)
    } else if r.own.self_doubt {
        // before its references: one that has just started has not reached any, and is not cut off
        Some(VoteKind::SelfDoubt)
    } else if usize::from(r.own.references_reached) < needed.0 || usize::from(r.own.reference_networks) < needed.1 {
        Some(VoteKind::CutOff)
    } else {
        None
    }
}

/// The electorate of one region: the assigned members outside it. Those outside its provider come first.
#[derive(Debug, Clone)]
pub(super) struct Bench<'a> {
    pub(super) members: Vec<Member<'a>>,
    /// How many of `members` stand outside the provider as well: the electorate when the provider is accused.
    pub(super) foreign: usize,
    /// What the eligible ones see.
    eligible: Vec<&'a [TargetState]>,
    /// The counts when all eligible ones see a target well (nearly every target, nearly always), or failing.
    all_well: Count,
    all_failing: Count,
    /// Positions in `members` by vantage.
    by_vantage: Vec<usize>,
}
impl<'a> Bench<'a> {
    pub(super) fn of(fleet: &Fleet, region: RegionIx, all: &[Member<'a>], rule: &Quorum) -> Self {
        let own = fleet.provider_of(region);
        let mut members: Vec<Member<'a>> =
            assigned(fleet, region).iter().map(|v| all[v.at()]).filter(|m| m.region != region).collect();
        // Sorted by provider, so that counting different providers needs no set.
        members.sort_by_key(|m| (m.provider == own, m.provider, m.vantage));
        let foreign = members.iter().filter(|m| m.provider != own).count();
        let eligible = members.iter().filter_map(|m| m.targets).collect();
        let all_well = Count::of(&members, foreign, rule, |_| TargetState::Ok);
        let all_failing = Count::of(&members, foreign, rule, |_| TargetState::Failing);
        let mut by_vantage: Vec<usize> = (0..members.len()).collect();
        by_vantage.sort_by_key(|m| members[*m].vantage);
        Self { members, foreign, eligible, all_well, all_failing, by_vantage }
    }
    /// Counts the votes on `endpoint`.
    pub(super) fn count(&self, endpoint: EndpointIx, rule: &Quorum) -> Count {
        let all = |state| self.eligible.iter().all(|targets| targets.get(endpoint.at()) == Some(&state));
        if all(TargetState::Ok) {
            self.all_well
        } else if all(TargetState::Failing) {
            Count { all_well: false, ..self.all_failing }
        } else {
            Count { all_well: false, ..Count::of(&self.members, self.foreign, rule, |m| m.sees(endpoint)) }
        }
    }
    /// The votes on `endpoint`, by vantage.
    pub(super) fn votes(&self, endpoint: EndpointIx) -> Vec<Vote> {
        let cast = |m: &usize| {
            let member = &self.members[*m];
            member.vote(match member.sees(endpoint) {
                TargetState::Unseen => VoteKind::Unseen,
                TargetState::Ok => VoteKind::Up,
                TargetState::Slow => VoteKind::Slow,
                TargetState::Failing => VoteKind::Down,
            })
        };
        self.by_vantage.iter().map(cast).collect()
    }
}

/// The votes on one endpoint, and what they amount to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    /// Every eligible member sees it well.
    pub(super) all_well: bool,
    /// Votes of the members outside the region.
    pub(super) tally: Tally,
    pub(super) outside_region: Finding,
    pub(super) outside_provider: Finding,
}
impl Count {
    fn of<'a>(
        members: &[Member<'a>],
        foreign: usize,
        rule: &Quorum,
        sees: impl Fn(&Member<'a>) -> TargetState,
    ) -> Self {
        let mut tally = Tally::default();
        tally.add(&members[..foreign], &sees);
        let outside_provider = tally.finding(rule);
        tally.add(&members[foreign..], &sees);
        Self { all_well: true, tally, outside_region: tally.finding(rule), outside_provider }
    }
}

/// Votes counted, and from how many providers they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) electorate: u16,
    pub(super) eligible: u16,
    eligible_providers: u16,
    up: u16,
    slow: u16,
    down: u16,
    slow_providers: u16,
    down_providers: u16,
    answering_providers: u16,
}

const ANY: u8 = 1;
const SLOW: u8 = 2;
const DOWN: u8 = 4;
const ANSWERS: u8 = 8;

impl Tally {
    /// `members` in order of provider; no provider may be counted in two calls.
    pub(super) fn add<'a>(&mut self, members: &[Member<'a>], sees: &impl Fn(&Member<'a>) -> TargetState) {
        self.electorate += u16::try_from(members.len()).unwrap_or(u16::MAX);
        let (mut provider, mut counted) = (None, 0_u8);
        for m in members.iter().filter(|m| m.targets.is_some()) {
            if provider != Some(m.provider) {
                (provider, counted) = (Some(m.provider), 0);
            }
            self.eligible += 1;
            let bits = match sees(m) {
                TargetState::Unseen => ANY,
                TargetState::Ok => {
                    self.up += 1;
                    ANY | ANSWERS
                }
                TargetState::Slow => {
                    self.slow += 1;
                    ANY | SLOW | ANSWERS
                }
                TargetState::Failing => {
                    self.down += 1;
                    ANY | DOWN
                }
            };
            let fresh = bits & !counted;
            counted |= bits;
            self.eligible_providers += u16::from(fresh & ANY != 0);
            self.slow_providers += u16::from(fresh & SLOW != 0);
            self.down_providers += u16::from(fresh & DOWN != 0);
            self.answering_providers += u16::from(fresh & ANSWERS != 0);
        }
    }

    /// What the votes amount to under `rule`. An eligible member that has not seen the target agrees with nothing.
    pub(super) fn finding(&self, rule: &Quorum) -> Finding {
        let part = |n: u16, of: u16, (num, den): (u32, u32)| u32::from(n) * den >= u32::from(of) * num;
        let agree =
            |n: u16, providers: u16| n > 0 && part(n, self.eligible, rule.agreeing) && providers >= rule.providers;
        if self.eligible == 0 || !part(self.eligible, self.electorate, rule.eligible) {
            let answers = agree(self.up + self.slow, self.answering_providers);
            return if answers { Finding::Thin } else { Finding::Open };
        }
        if agree(self.down, self.down_providers) {
            // INVARIANT: beyond doubt: all eligible but at most one, one of each provider that can still speak,
            // two providers in all (tests/electorate.rs, `mass_action_needs_agreement_beyond_doubt`).
            let strong = self.down + 1 >= self.eligible
                && self.down_providers == self.eligible_providers
                && self.down_providers >= 2;
            Finding::Down { strong }
        } else if agree(self.slow, self.slow_providers) {
            Finding::Slow
        } else if agree(self.up + self.slow, self.answering_providers) {
            Finding::Well
        } else {
            Finding::Open
        }
    }

    /// How many agree with `health`, and from how many providers.
    pub(super) fn agreeing(&self, health: Health) -> (u16, u16) {
        match health {
            Health::Healthy => (self.up + self.slow, self.answering_providers),
            Health::Degraded => (self.slow, self.slow_providers),
            Health::Down => (self.down, self.down_providers),
            Health::Unknown => (0, 0),
        }
    }
}

/// What a quorum says at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// No quorum either way.
    Open,
    /// Too few are left for a verdict, but those, of two providers, see it answer: no reason to doubt what was well.
    /// With two clouds dead, this keeps the third one's regions from becoming Unknown when they are needed most.
    Thin,
    /// It answers.
    Well,
    /// It answers slowly.
    Slow,
    /// It fails.
    Down {
        /// Beyond the doubt that precedes a mass action.
        strong: bool,
    },
}
impl Finding {
    pub(super) fn is_down(self) -> bool {
        matches!(self, Self::Down { .. })
    }
    pub(super) fn is_strong(self) -> bool {
        matches!(self, Self::Down { strong: true })
    }
}
