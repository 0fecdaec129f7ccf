//! From what a quorum says now to the verdict that stands: down fast, up slow, Unknown where nobody can tell.
//!
//! Owns the steps of one endpoint in time and the census of places. Refuses votes and doubt.

use super::electorate::Finding;
use tidegate_domain::{EndpointHealth, Health, Millis, Mono, ServiceIx};

/// `EndpointHealth::well_since` of an endpoint that is not Healthy only because nobody could tell, or because its
/// region or provider is Down: no quorum ever called it failing, so it need not be seen well for a time again.
pub(crate) const PRESUMED_WELL: Mono = Mono(0);

/// `EndpointHealth::well_since` of an endpoint that no quorum has judged since the server knows it: the first word of
/// one counts at once, but nothing is there yet that fewer could keep.
const NEVER_JUDGED: Mono = Mono(1);

/// Where one endpoint goes by its own votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) health: Health,
    pub(super) well_since: Option<Mono>,
    /// When the same votes would say something else.
    pub(super) wake: Option<Mono>,
}

/// Whether `was` has never been judged.
pub(super) fn unjudged(was: &EndpointHealth) -> bool {
    *was == EndpointHealth::default()
}

/// Whether no quorum has ever had a word on what stands as `health`.
pub(super) fn never_judged(health: &EndpointHealth) -> bool {
    health.health == Health::Unknown && (unjudged(health) || health.well_since == Some(NEVER_JUDGED))
}

/// The table of one endpoint: (what stood, what a quorum finds) → what stands.
pub(super) fn step(was: &EndpointHealth, finding: Finding, now: Mono, up_after: Millis) -> Step {
    let unknown = |since: Mono| was.health == Health::Unknown && was.well_since == Some(since);
    let was_well = was.health == Health::Healthy || unknown(PRESUMED_WELL);
    let new = unjudged(was) || unknown(NEVER_JUDGED);
    let presumed = was_well || new;
    let to = |health| Step { health, well_since: None, wake: None };
    match finding {
        // Down fast.
        Finding::Down { .. } => to(Health::Down),
        Finding::Thin if was_well => to(Health::Healthy),
        Finding::Open | Finding::Thin => {
            let kept = if was_well { Some(PRESUMED_WELL) } else { new.then_some(NEVER_JUDGED) };
            Step { well_since: kept, ..to(Health::Unknown) }
        }
        Finding::Slow if presumed || was.health == Health::Degraded => to(Health::Degraded),
        // Answering slowly is a way up too: not sooner than the time that well takes.
        Finding::Slow => match was.since + up_after {
            due if now >= due => to(Health::Degraded),
            due => Step { wake: Some(due), ..to(was.health) },
        },
        Finding::Well if presumed => to(Health::Healthy),
        // Up slow: well without a break.
        Finding::Well => {
            let start = was.well_since.unwrap_or(now);
            let due = start + up_after;
            if start == PRESUMED_WELL || now >= due {
                to(Health::Healthy)
            } else {
                Step { health: was.health, well_since: Some(start), wake: Some(due) }
            }
        }
    }
}

/// The endpoints of one region by health.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    pub(super) all: u32,
    down: u32,
    unknown: u32,
    degraded: u32,
    service: Option<ServiceIx>,
    services: bool,
    down_service: Option<ServiceIx>,
    down_services: bool,
}

/// A region falls when so many per cent of its endpoints do.
const REGION_DOWN_PERCENT: u64 = 60;

/// Whether `n` of `all` reach the share at which a region falls.
pub(super) fn enough(n: u32, all: u32) -> bool {
    all > 0 && u64::from(n) * 100 >= u64::from(all) * REGION_DOWN_PERCENT
}

impl Census {
    pub(super) fn add(&mut self, service: ServiceIx, health: Health) {
        self.all += 1;
        self.services |= *self.service.get_or_insert(service) != service;
        match health {
            Health::Down => {
                self.down += 1;
                self.down_services |= *self.down_service.get_or_insert(service) != service;
            }
            Health::Unknown => self.unknown += 1,
            Health::Degraded => self.degraded += 1,
            Health::Healthy => {}
        }
    }
    /// A region without endpoints has nothing that could fail: Healthy.
    pub(super) fn health(&self) -> Health {
        let fallen = enough(self.down, self.all);
        if fallen && (!self.services || self.down_services) {
            Health::Down
        } else if self.unknown > 0 && !fallen && enough(self.down + self.unknown, self.all) {
            Health::Unknown
        } else if enough(self.degraded, self.all)
            || (self.degraded > 0 && self.degraded + self.down + self.unknown == self.all)
        {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }
}

/// A provider by its endpoint-bearing regions: Down when two are, or all.
pub(super) fn provider_health(regions: impl Iterator<Item = Health>) -> Health {
    let (mut all, mut down, mut unknown, mut degraded) = (0_u32, 0_u32, 0_u32, 0_u32);
    for h in regions {
        all += 1;
        match h {
            Health::Down => down += 1,
            Health::Unknown => unknown += 1,
            Health::Degraded => degraded += 1,
            Health::Healthy => {}
        }
    }
    if down > 0 && down >= all.min(2) {
        Health::Down
    } else if unknown * 2 > all || (unknown > 0 && unknown + down == all) {
        Health::Unknown
    } else if degraded > 0 && degraded + down + unknown == all {
        Health::Degraded
    } else {
        Health::Healthy
    }
}
