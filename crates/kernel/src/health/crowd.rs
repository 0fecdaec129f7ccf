//! Whether most of a large fleet is heard. There a region is probed by few, and on the smaller side of a split these may be
//! most of its electorate: they speak for the fleet only while most of it is heard, and has spoken since they began to accuse.
//!
//! Owns that condition. Refuses votes: who is heard need not probe what is accused.

use super::electorate::{Count, Finding, Member, PROBE_FROM_ALL};
use std::cmp::Reverse;
use tidegate_domain::{Fleet, Millis, Mono, ProviderIx, RegionIx, State, Unheard};

/// A vantage says something each second. Where half have missed two of these, what was found meanwhile was not found by the
/// fleet.
const QUIET: Millis = Millis(2_000);

/// How lately half of all configured vantages outside each place have spoken, fit to vote.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// None: everybody probes everything, or nobody accuses anything; the electorate's rule is enough.
    spoke: Option<Spoke>,
    /// Where too few were heard lately, by provider.
    pub(super) unheard: Vec<Unheard>,
}

/// By place: half of those outside it have spoken at this moment or later; none: fewer are heard.
#[derive(Debug)]
struct Spoke {
    regions: Vec<Option<Mono>>,
    providers: Vec<Option<Mono>>,
}

impl Crowd {
    pub(super) fn of(fleet: &Fleet, roll: &[Member<'_>], counts: &[Count], before: &State, now: Mono) -> Self {
        if fleet.vantages.len() <= PROBE_FROM_ALL {
            return Self::default();
        }
        let spoke = (!counts.iter().all(|c| c.all_well)).then(|| Spoke::of(fleet, roll));
        let unheard = (0..fleet.providers.len()).map(ProviderIx::from).filter_map(|provider| {
            let was = before.unheard.iter().find(|u| u.provider == provider);
            let quiet = |s: &Spoke| s.providers[provider.at()].is_none_or(|at| at + QUIET < now);
            let until = match was.map(|u| u.until) {
                _ if spoke.as_ref().is_some_and(quiet) => None,
                // Those who were cut off see for so long yet what they saw then.
                Some(None) => Some(now + fleet.rules.up_after),
                Some(Some(until)) if until > now => Some(until),
                _ => return None,
            };
            Some(Unheard { provider, until })
        });
        let unheard = unheard.collect();
        Self { spoke, unheard }
    }

    /// Whether anything must wait for the word of a large fleet.
    pub(super) fn is_asked(&self) -> bool {
        self.spoke.is_some()
    }

    /// Whether too few outside the provider are heard, or were just: what is said of it may be from while they were not.
    pub(super) fn is_unheard(&self, provider: ProviderIx) -> bool {
        self.unheard.iter().any(|u| u.provider == provider)
    }

    /// INVARIANT: in a large fleet nothing is newly Down or Degraded by a quorum while fewer than half of all vantages outside
    /// it are heard (`tests/crowd.rs`, `the_smaller_side_of_a_split_accuses_nobody`).
    pub(super) fn gate(&self, fleet: &Fleet, counts: &mut [Count]) {
        let Some(spoke) = &self.spoke else { return };
        for (e, count) in fleet.endpoints.iter().zip(counts).filter(|(_, c)| !c.all_well) {
            if spoke.regions[e.region.at()].is_none() {
                count.outside_region = unheard(count.outside_region);
            }
            if spoke.providers[fleet.provider_of(e.region).at()].is_none() {
                count.outside_provider = unheard(count.outside_provider);
            }
        }
    }

    /// From when on a word on the region can speak against a suspicion that began at `since`. On the smaller side of a split
    /// probers find what they lost failing one after the other; who has probed since then has noticed. With up to nine
    /// vantages no smaller side has votes enough.
    ///
    /// INVARIANT: in a large fleet no path begins by the words of those who may just not have noticed
    /// (`tests/crowd.rs`, `the_smaller_side_of_a_split_finds_no_path`).
    pub(super) fn noticed_by(fleet: &Fleet, region: RegionIx, since: Mono) -> Mono {
        if fleet.vantages.len() <= PROBE_FROM_ALL {
            return since;
        }
        let checks =
            fleet.endpoints.iter().filter(|e| e.region == region).map(|e| &fleet.services[e.service.at()].check);
        since + Millis(checks.map(|c| c.interval.0 + c.timeout.0).max().unwrap_or(0))
    }

    /// Whether half of those outside the region, and of those outside its provider, have spoken at `since` or later, and not
    /// just after too few were heard.
    pub(super) fn spoke_on(&self, fleet: &Fleet, region: RegionIx, since: Mono) -> (bool, bool) {
        let Some(spoke) = &self.spoke else { return (true, true) };
        let provider = fleet.provider_of(region);
        if self.is_unheard(provider) {
            return (false, false);
        }
        (spoke.regions[region.at()] >= Some(since), spoke.providers[provider.at()] >= Some(since))
    }
}

impl Spoke {
    fn of(fleet: &Fleet, roll: &[Member<'_>]) -> Self {
        let mut heard: Vec<&Member<'_>> = roll.iter().filter(|m| m.targets.is_some()).collect();
        heard.sort_by_key(|m| Reverse(m.arrived));
        let half = |outside: &dyn Fn(&Member<'_>) -> bool| -> Option<Mono> {
            let needed = roll.iter().filter(|m| outside(m)).count().div_ceil(2);
            heard.iter().filter(|m| outside(m)).nth(needed.checked_sub(1)?)?.arrived
        };
        Self {
            regions: (0..fleet.regions.len()).map(|r| half(&|m| m.region != RegionIx::from(r))).collect(),
            providers: (0..fleet.providers.len()).map(|p| half(&|m| m.provider != ProviderIx::from(p))).collect(),
        }
    }
}

/// What a quorum of few finds while most of the fleet is silent: no accusation. Who answers slowly answers.
fn unheard(finding: Finding) -> Finding {
    match finding {
        Finding::Down { .. } => Finding::Open,
        Finding::Slow => Finding::Thin,
        Finding::Open | Finding::Thin | Finding::Well => finding,
    }
}
