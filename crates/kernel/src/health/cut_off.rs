//! Probers that are cut off themselves though they do not know it: what they say of others is worth nothing.
//!
//! Owns that rule. Refuses verdicts on places: a prober is struck from the roll, nothing else follows.

use super::electorate::Member;
use std::collections::BTreeSet;
use tidegate_domain::{
    CutOff, CutOffCause, EndpointIx, Fleet, Mono, ProviderIx, TargetState, VantageReport, View, VoteKind,
};

/// So many per cent of its targets must a prober call failing that the others see well.
const CONTRADICTED_PERCENT: u64 = 80;
/// The targets must be of so many providers: a cut towards one alone says nothing of the prober.
const PROVIDERS_MIN: usize = 2;

/// Strikes the cut off from the roll; all of them are judged by the same roll, so that no order matters. Gives those whose
/// report is fresh but who do not reach the references as well, and when time alone would end one. At once when it begins,
/// over when nothing has spoken for it for as long as the slow way up takes: a network that loses a fifth would flap.
///
/// INVARIANT: a prober is struck only for targets of which two thirds of the others, from two providers, say that they
/// answer: none of these could be called Down with its vote (`tests/cut_off.rs`, `a_prober_is_struck_only_by_a_quorum`).
pub(super) fn strike(
    fleet: &Fleet,
    view: &View,
    roll: &mut [Member<'_>],
    before: &[CutOff],
    now: Mono,
) -> (Vec<CutOff>, Option<Mono>) {
    let since = |m: &Member<'_>| before.iter().find(|c| c.vantage == m.vantage).map_or(now, |c| c.since);
    let mut found = Vec::new();
    for m in roll.iter() {
        let report = view.reports.get(m.vantage.at()).and_then(Option::as_ref);
        let cause = match m.targets {
            None if m.unfit == VoteKind::CutOff => report.map(references),
            None => None,
            Some(targets) => contradicted(fleet, roll, m, targets),
        };
        found.extend(cause.map(|cause| CutOff { vantage: m.vantage, since: since(m), cause, well_since: None }));
    }
    let mut wake = None;
    for old in before {
        let fit = roll.get(old.vantage.at()).is_some_and(|m| m.targets.is_some());
        let well_since = old.well_since.unwrap_or(now);
        let over = well_since + fleet.rules.up_after;
        if fit && now < over && !found.iter().any(|c| c.vantage == old.vantage) {
            found.push(CutOff { well_since: Some(well_since), ..*old });
            wake = wake.into_iter().chain([over]).min();
        }
    }
    found.sort_unstable();
    for cut in &found {
        let member = &mut roll[cut.vantage.at()];
        (member.targets, member.unfit) = (None, VoteKind::CutOff);
    }
    (found, wake)
}

fn references(report: &VantageReport) -> CutOffCause {
    CutOffCause::References { reached: report.own.references_reached }
}

/// Whether the others, where they stand outside the target's region, see well nearly all that `m` calls failing. Targets in
/// its own region are no part of it: there its vote counts for nothing, and a cut at the region's border does not show.
fn contradicted(fleet: &Fleet, roll: &[Member<'_>], m: &Member<'_>, targets: &[TargetState]) -> Option<CutOffCause> {
    // of providers' APIs, which follow the endpoints, a vantage may see more or less than of places
    let targets = &targets[..targets.len().min(fleet.endpoints.len())];
    let own = |(i, _): &(usize, &TargetState)| fleet.endpoints.get(*i).is_none_or(|e| e.region == m.region);
    let failing = targets.iter().filter(|t| **t == TargetState::Failing).count();
    let seen = targets.iter().filter(|t| **t != TargetState::Unseen).count();
    // nearly everybody, nearly always: at a glance
    if failing == 0 || (failing as u64) * 100 < (seen.saturating_sub(in_own(fleet, m)) as u64) * CONTRADICTED_PERCENT {
        return None;
    }
    let mut all = 0_u32;
    let (mut against, mut others) = (0_u32, u16::MAX);
    let mut providers: BTreeSet<ProviderIx> = BTreeSet::new();
    for (i, state) in targets.iter().enumerate().filter(|t| !own(t)) {
        all += u32::from(*state != TargetState::Unseen);
        let well = (*state == TargetState::Failing).then(|| seen_well(fleet, roll, m, EndpointIx::from(i))).flatten();
        if let Some(well) = well {
            against += 1;
            others = others.min(well);
            providers.insert(fleet.provider_of(fleet.endpoints[i].region));
        }
    }
    let enough = against > 0 && u64::from(against) * 100 >= u64::from(all) * CONTRADICTED_PERCENT;
    (enough && providers.len() >= PROVIDERS_MIN).then(|| CutOffCause::Contradicted {
        failing: against,
        targets: all,
        providers: u16::try_from(providers.len()).unwrap_or(u16::MAX),
        others,
    })
}

/// How many endpoints stand in the region of `m`.
fn in_own(fleet: &Fleet, m: &Member<'_>) -> usize {
    fleet.endpoints.iter().filter(|e| e.region == m.region).count()
}

/// How many others see `target` answer, where these are two thirds of the others who have an opinion, of two providers.
fn seen_well(fleet: &Fleet, roll: &[Member<'_>], m: &Member<'_>, target: EndpointIx) -> Option<u16> {
    let region = fleet.endpoints[target.at()].region;
    let (mut seen, mut well) = (0_u16, 0_u16);
    let mut first: Option<ProviderIx> = None;
    let mut two = false;
    for other in roll.iter().filter(|o| o.vantage != m.vantage && o.region != region) {
        match other.sees(target) {
            TargetState::Unseen => continue,
            TargetState::Failing => {}
            TargetState::Ok | TargetState::Slow => {
                well += 1;
                two |= *first.get_or_insert(other.provider) != other.provider;
            }
        }
        seen += 1;
    }
    (two && u32::from(well) * 3 >= u32::from(seen) * 2).then_some(well)
}
