//! Doubt before mass action: when too much of a service goes at once, the senses are doubted first.
//!
//! Owns the measure (more than half of a service's serving capacity within the doubt window), the wait of one probe
//! period for the others, the wait for the word of a large fleet, and the memory of all. Refuses the votes: what is beyond
//! doubt is the electorate's word, and that of the edges whose requests still get there.

use super::{Places, Session};
use std::collections::BTreeMap;
use tidegate_domain::{EndpointHealth, EndpointIx, Health, Jurisdiction, Mono, RegionIx, Scope, ServiceIx};

/// Where a mass action is at stake, or a large fleet must speak first.
#[derive(Debug, Clone, Default)]
pub(super) struct Doubt {
    pub(super) any: bool,
    /// By service: it would lose more than half.
    mass: Vec<bool>,
    /// By region: bears endpoints of such a service.
    pub(super) regions: Vec<bool>,
    /// By provider, as `regions`.
    pub(super) providers: Vec<bool>,
}

/// Measures what the Downs asked for would take from each service.
pub(super) fn weigh(session: &Session<'_>, asked: &Places) -> Doubt {
    let fleet = session.fleet;
    let count = session.seen.len();
    if (0..count).all(|i| session.was_down(i) || !session.asked_down(i, asked)) {
        return Doubt::default();
    }
    let mut losing = vec![false; fleet.services.len()];
    // Of all places, and of the undrained alone: a drained place still serves until its drain is through, and is none of
    // what is left to serve from afterwards. More than half by either measure is a mass.
    let mut all = vec![[0_u128; 2]; fleet.services.len()];
    let mut lost = all.clone();
    for (i, part) in serving_capacity(session).into_iter().enumerate() {
        let service = fleet.endpoints[i].service.at();
        let (was_down, asked) = (session.was_down(i), session.asked_down(i, asked));
        let recent = was_down && in_window(session, i);
        for (measure, weight) in part.into_iter().map(u128::from).enumerate() {
            all[service][measure] += if !was_down || recent { weight } else { 0 };
            lost[service][measure] += if asked && (!was_down || recent) { weight } else { 0 };
        }
        losing[service] |= asked && !was_down;
    }
    let over = |s: usize| (0..2).any(|measure| lost[s][measure] * 2 > all[s][measure]);
    let mass: Vec<bool> = (0..losing.len()).map(|s| losing[s] && over(s)).collect();
    let mut regions = vec![false; fleet.regions.len()];
    let mut providers = vec![false; fleet.providers.len()];
    for e in fleet.endpoints.iter().filter(|e| mass[e.service.at()]) {
        regions[e.region.at()] = true;
        providers[fleet.provider_of(e.region).at()] = true;
    }
    let any = mass.contains(&true) || session.crowd.is_asked();
    Doubt { any, mass, regions, providers }
}

/// By endpoint: its part of its region's capacity, drained or not, and if it is not drained. Zero where no class of its
/// service may be served, by the configuration or by policy. Where a service's regions declare no capacity, its
/// endpoints count alike.
fn serving_capacity(session: &Session<'_>) -> Vec<[u64; 2]> {
    let (fleet, view) = (session.fleet, session.view);
    let width = fleet.regions.len();
    let mut siblings = vec![0_u64; fleet.services.len() * width];
    for e in &fleet.endpoints {
        siblings[e.service.at() * width + e.region.at()] += 1;
    }
    let mut serves = vec![false; siblings.len()];
    let mut under: BTreeMap<Jurisdiction, Vec<usize>> = BTreeMap::new();
    for (r, region) in fleet.regions.iter().enumerate() {
        under.entry(region.jurisdiction).or_default().push(r);
    }
    for ((class, law, _), _) in session.mask.answers.iter().filter(|(_, answer)| answer.allow) {
        let Some(class) = fleet.classes.get(class.at()).filter(|c| c.permitted.holds(*law)) else { continue };
        for r in under.get(law).into_iter().flatten() {
            serves[class.service.at() * width + r] = true;
        }
    }
    let mut drained = vec![false; siblings.len()];
    for d in view.intents.drains.iter().filter(|d| d.until.is_none_or(|u| u > view.wall)) {
        let covered = |r: RegionIx| match d.scope {
            Scope::Provider(p) => fleet.provider_of(r) == p,
            Scope::Region(one) => one == r,
        };
        for (at, drained) in drained.iter_mut().enumerate() {
            let service = ServiceIx::from(at / width);
            *drained |= d.service.is_none_or(|s| s == service) && covered(RegionIx::from(at % width));
        }
    }
    let one = |e: &tidegate_domain::Endpoint| {
        let at = e.service.at() * width + e.region.at();
        let part = fleet.regions[e.region.at()].capacity.0 / siblings[at].max(1);
        let part = if serves[at] { part.max(1) } else { 0 };
        [part, if drained[at] { 0 } else { part }]
    };
    fleet.endpoints.iter().map(one).collect()
}

/// Since when endpoint `i` is remembered: as a Down of the window, or as one that waits.
fn remembered(session: &Session<'_>, i: usize) -> Option<Mono> {
    let list = &session.before.recent_downs;
    list.binary_search_by_key(&i, |d| d.0.at()).ok().map(|at| list[at].1)
}
/// Since when a Down of endpoint `i` is asked for: since now where it was not.
pub(super) fn asked_since(session: &Session<'_>, i: usize) -> Mono {
    remembered(session, i).unwrap_or(session.now)
}
/// INVARIANT: in a large fleet no quorum's Down stands before half of all vantages outside have spoken since it was first
/// asked for: until the silent are stale, their last word from before a split would pass for the fleet's
/// (`tests/crowd.rs`, `a_large_fleet_speaks_before_a_down_stands`). The edges' own requests need no such word.
fn awaits_the_fleet(session: &Session<'_>, i: usize) -> bool {
    let (spoke, _) = session.crowd.spoke_on(session.fleet, session.region_of(i), asked_since(session, i));
    !spoke && !session.was_down(i) && session.seen[i].edges.blamed != Some(Health::Down)
}
fn in_window(session: &Session<'_>, i: usize) -> bool {
    remembered(session, i).is_some_and(|at| session.now <= at + session.fleet.rules.doubt_window)
}

impl Doubt {
    fn is_mass(&self, service: ServiceIx) -> bool {
        self.mass.get(service.at()).copied().unwrap_or(false)
    }
    /// When the Down asked for on endpoint `i` has waited one probe period for the others; none: it stands already.
    fn ripens(session: &Session<'_>, i: usize) -> Option<Mono> {
        if session.was_down(i) {
            return None;
        }
        let interval = session.fleet.services[session.fleet.endpoints[i].service.at()].check.interval;
        Some(asked_since(session, i) + interval)
    }
    pub(super) fn is_ripe(&self, session: &Session<'_>, i: usize) -> bool {
        Self::ripens(session, i).is_none_or(|at| session.now >= at)
    }
    /// Whether the Down that endpoint `i`'s own votes ask for must wait.
    pub(super) fn withholds(&self, session: &Session<'_>, i: usize) -> bool {
        let in_doubt = self.is_mass(session.fleet.endpoints[i].service)
            && !session.was_down(i)
            && !(session.seen[i].count.outside_region.is_strong()
                && session.seen[i].edges.admits_down
                && self.is_ripe(session, i));
        in_doubt || awaits_the_fleet(session, i)
    }

    /// What to remember of Downs, the services in doubt, and when either could change by time alone.
    pub(super) fn remember(
        &self,
        session: &Session<'_>,
        asked: &Places,
        stands: &[EndpointHealth],
    ) -> (Vec<(EndpointIx, Mono)>, Vec<ServiceIx>, Option<Mono>) {
        let now = session.now;
        let mut downs = Vec::new();
        let mut wake: Option<Mono> = None;
        let mut earlier = |at: Mono| wake = Some(wake.map_or(at, |w| w.min(at)));
        let mut waiting = vec![false; session.fleet.services.len()];
        let mut overdue = waiting.clone();
        for (i, stands) in stands.iter().enumerate() {
            let is_down = stands.health == Health::Down;
            let service = session.fleet.endpoints[i].service.at();
            if is_down && session.was_down(i) {
                if in_window(session, i) {
                    downs.extend(remembered(session, i).map(|at| (EndpointIx::from(i), at)));
                }
            } else if is_down {
                downs.push((EndpointIx::from(i), now));
            } else if session.asked_down(i, asked) {
                downs.push((EndpointIx::from(i), asked_since(session, i)));
                if awaits_the_fleet(session, i) && !self.is_mass(ServiceIx::from(service)) {
                    // It is no doubt, and the word that it waits for wakes by itself.
                    continue;
                }
                match Self::ripens(session, i) {
                    Some(at) if at > now => {
                        waiting[service] = true;
                        earlier(at);
                    }
                    _ => overdue[service] = true,
                }
            }
        }
        let held = |s: &usize| overdue[*s] && !waiting[*s];
        let doubted: Vec<ServiceIx> = (0..overdue.len()).filter(held).map(ServiceIx::from).collect();
        if overdue.contains(&true) {
            // When an earlier Down leaves the window, what is in doubt may no longer be more than half.
            for (_, at) in downs.iter().filter(|d| stands[d.0.at()].health == Health::Down) {
                earlier(Mono((*at + session.fleet.rules.doubt_window).0.saturating_add(1)));
            }
        }
        (downs, doubted, wake)
    }
}
