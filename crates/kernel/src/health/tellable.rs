//! Which losses a fleet can tell at all, by its configured vantages.
//!
//! Owns the answer for `config check`. Judges nothing that happens.

use super::electorate::assigned;
use tidegate_domain::{Fleet, ProviderIx, RegionIx};

/// Per provider and per region: whether its loss, with every vantage placed there, could be told by the electorate's
/// rule; and in words how, or what is missing. Places without endpoints are tellable: nothing there can be missed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tellable {
    /// By provider index.
    pub providers: Vec<(ProviderIx, bool, String)>,
    /// By region index.
    pub regions: Vec<(RegionIx, bool, String)>,
}

/// Asks the electorate's rule about the loss of every provider and region of `fleet`.
#[must_use]
pub fn tellable(fleet: &Fleet) -> Tellable {
    let bears = |r: &RegionIx| fleet.endpoints.iter().any(|e| e.region == *r);
    let regions: Vec<RegionIx> = (0..fleet.regions.len()).map(RegionIx::from).collect();
    let provider = |p: ProviderIx| {
        let own: Vec<RegionIx> = regions.iter().copied().filter(|r| fleet.provider_of(*r) == p && bears(r)).collect();
        if own.is_empty() {
            return (p, true, NO_ENDPOINTS.to_owned());
        }
        let mut answers: Vec<(bool, String)> =
            own.iter().map(|r| answer(fleet, *r, |v| fleet.provider_of(v) != p)).collect();
        let good = answers.iter().filter(|a| a.0).count();
        // The weakest region that the verdict needs speaks for the provider.
        answers.sort_by_key(|a| !a.0);
        let (_, words) = answers.swap_remove(own.len().min(2) - 1);
        (p, good >= own.len().min(2), words)
    };
    let region = |r: &RegionIx| {
        if !bears(r) {
            return (*r, true, NO_ENDPOINTS.to_owned());
        }
        let (good, words) = answer(fleet, *r, |v| v != *r);
        (*r, good, words)
    };
    Tellable {
        providers: (0..fleet.providers.len()).map(|p| provider(ProviderIx::from(p))).collect(),
        regions: regions.iter().map(region).collect(),
    }
}

const NO_ENDPOINTS: &str = "no endpoint stands there";

/// Whether the vantages of `region` that stand `outside` can make a verdict when all of them are fit.
fn answer(fleet: &Fleet, region: RegionIx, outside: impl Fn(RegionIx) -> bool) -> (bool, String) {
    let places = assigned(fleet, region).into_iter().map(|v| fleet.vantages[v.at()].region).filter(|v| outside(*v));
    let providers: Vec<ProviderIx> = places.map(|v| fleet.provider_of(v)).collect();
    let all = providers.len();
    let of = |p: &ProviderIx| providers.iter().filter(|q| *q == p).count();
    let largest = providers.iter().map(of).max().unwrap_or(0);
    let mut distinct = providers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    match distinct.len() {
        0 => (false, "no vantage stands outside: place two there, in two providers".to_owned()),
        1 => {
            let name = &fleet.providers[distinct[0].at()].name;
            (false, format!("all {all} vantages outside stand in {name}: place one in another provider"))
        }
        n => {
            let spare = (all / 2).min(all - largest - 1);
            (true, format!("{all} vantages of {n} providers outside; any {spare} of them may be silent"))
        }
    }
}
