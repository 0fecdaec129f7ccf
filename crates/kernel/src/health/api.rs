//! Providers whose own API is in trouble while their traffic may flow.
//!
//! Owns that finding and its memory: at once when it begins, slowly over. Refuses a verdict on any place: what follows is
//! that nothing is changed at that provider but for safety (decision 0058).

use super::electorate::{Finding, Member, PROBE_FROM, PROBE_FROM_ALL, Quorum, Tally, ranked};
use tidegate_domain::{ApiCause, ApiTrouble, Fleet, Mono, ProviderIx, RegionIx, State, TargetState, VantageIx, View};

/// The vantages that ask the API of `provider`, by index: those outside it; in a fleet above [`PROBE_FROM_ALL`], so many as
/// probe a region, the best of three providers first.
#[must_use]
pub fn asks_api(fleet: &Fleet, provider: ProviderIx) -> Vec<VantageIx> {
    let name = format!("api {}", fleet.providers[provider.at()].name);
    let outside = ranked(fleet, &name, |r| fleet.provider_of(r) != provider);
    let mut chosen: Vec<(VantageIx, ProviderIx)> = Vec::new();
    for (v, p) in &outside {
        if chosen.len() < 3 && chosen.iter().all(|c| c.1 != *p) {
            chosen.push((*v, *p));
        }
    }
    let enough = if fleet.vantages.len() <= PROBE_FROM_ALL { PROBE_FROM_ALL } else { PROBE_FROM };
    for one in outside {
        if chosen.len() < enough && !chosen.contains(&one) {
            chosen.push(one);
        }
    }
    let mut vantages: Vec<VantageIx> = chosen.into_iter().map(|c| c.0).collect();
    vantages.sort_unstable();
    vantages
}

/// What `vantage` probes: by region, and by position in [`Fleet::apis`].
#[must_use]
pub fn duties(fleet: &Fleet, vantage: VantageIx) -> (Vec<bool>, Vec<bool>) {
    let region = |r| super::assigned(fleet, RegionIx::from(r)).contains(&vantage);
    let api = |a: &tidegate_domain::ProviderApi| asks_api(fleet, a.provider).contains(&vantage);
    ((0..fleet.regions.len()).map(region).collect(), fleet.apis.iter().map(api).collect())
}

/// What is found now and when time alone would change it.
///
/// INVARIANT: without a person's word an API is in trouble only by the electorate's rule over the probers outside its
/// provider (`tests/api.rs`, `an_api_is_in_trouble_only_by_a_quorum_outside`).
pub(super) fn judge(
    fleet: &Fleet,
    view: &View,
    roll: &[Member<'_>],
    before: &State,
    now: Mono,
) -> (Vec<ApiTrouble>, Option<Mono>) {
    let (mut found, mut wake) = (Vec::new(), None);
    for provider in (0..fleet.providers.len()).map(ProviderIx::from) {
        let stood = before.apis.iter().find(|t| t.provider == provider);
        let since = stood.map_or(now, |t| t.since);
        let word = view.intents.api_words.iter().find(|w| w.provider == provider && w.until > view.wall);
        let cause = match word {
            Some(word) if word.trouble => Some(ApiCause::Told { by: word.by.0.clone(), reason: word.reason.clone() }),
            Some(_) => None,
            None => probed(fleet, provider, roll, stood, now),
        };
        if let Some(ApiCause::Probed { well_since: Some(well), .. }) = cause {
            wake = wake.into_iter().chain([well + fleet.rules.up_after]).min();
        }
        found.extend(cause.map(|cause| ApiTrouble { provider, since, cause }));
    }
    (found, wake)
}

fn probed(
    fleet: &Fleet,
    provider: ProviderIx,
    roll: &[Member<'_>],
    stood: Option<&ApiTrouble>,
    now: Mono,
) -> Option<ApiCause> {
    let target = fleet.endpoints.len() + fleet.apis.iter().position(|a| a.provider == provider)?;
    let mut members: Vec<Member<'_>> = asks_api(fleet, provider).iter().map(|v| roll[v.at()]).collect();
    members.sort_by_key(|m| (m.provider, m.vantage));
    let sees = |m: &Member<'_>| m.targets.and_then(|t| t.get(target)).copied().unwrap_or_default();
    let mut tally = Tally::default();
    tally.add(&members, &sees);
    let count =
        |of: &dyn Fn(&Member<'_>) -> bool| u16::try_from(members.iter().filter(|m| of(m)).count()).unwrap_or(u16::MAX);
    let of = |well_since| ApiCause::Probed {
        well_since,
        failing: count(&|m| sees(m) == TargetState::Failing),
        eligible: count(&|m| m.targets.is_some()),
        electorate: count(&|_| true),
    };
    let before = stood.map(|t| &t.cause);
    match (tally.finding(&Quorum::RULE), before) {
        (Finding::Down { .. }, _) => Some(of(None)),
        // What a person said is over with the word: the probes alone go on.
        (_, None | Some(ApiCause::Told { .. })) => None,
        (Finding::Well | Finding::Slow, Some(ApiCause::Probed { well_since, .. })) => {
            let since = well_since.unwrap_or(now);
            (since + fleet.rules.up_after > now).then(|| of(Some(since)))
        }
        // Too few can tell: it holds.
        (Finding::Open | Finding::Thin, Some(ApiCause::Probed { .. })) => Some(of(None)),
    }
}
