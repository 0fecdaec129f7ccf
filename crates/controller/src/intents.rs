//! Standing intents: what people asked for, kept by id, ended by time.

use crate::effect::{Denial, DenialKind};
use tidegate_domain::{
    Automation, Drain, Fleet, Intents, Millis, Name, RegionName, Restore, Scope, ServiceIx, Subject, Switch, Wall,
};

/// How long a restore lets a place return without waiting for minimum residency.
const RESTORE_LASTS: Millis = Millis(3_600_000);
/// How long an aborted ramp keeps voluntary and economic moves away.
pub(crate) const ABORT_LASTS: Millis = Millis(3_600_000);
/// An override's end is announced so long before it.
const ANNOUNCE: Millis = Millis(15 * 60_000);

/// `aws` or `aws/us-east-1`, found in the fleet.
pub(crate) fn scope(fleet: &Fleet, place: &str) -> Result<Scope, Denial> {
    let found = if place.contains('/') {
        RegionName::new(place).ok().and_then(|n| fleet.region(&n)).map(Scope::Region)
    } else {
        Name::new(place).ok().and_then(|n| fleet.provider(&n)).map(Scope::Provider)
    };
    found.ok_or_else(|| {
        let mut known: Vec<String> = fleet.providers.iter().map(|p| p.name.to_string()).collect();
        known.extend(fleet.regions.iter().map(|r| r.name.to_string()));
        Denial::new(
            DenialKind::NotFound,
            format!("the fleet has no place `{place}`"),
            format!("name one of: {}", known.join(", ")),
        )
    })
}

/// A service by name, found in the fleet.
pub(crate) fn service(fleet: &Fleet, name: Option<&str>) -> Result<Option<ServiceIx>, Denial> {
    let Some(name) = name else { return Ok(None) };
    Name::new(name).ok().and_then(|n| fleet.service(&n)).map(Some).ok_or_else(|| {
        let known: Vec<String> = fleet.services.iter().map(|s| s.name.to_string()).collect();
        Denial::new(
            DenialKind::NotFound,
            format!("the fleet has no service `{name}`"),
            format!("name one of: {}", known.join(", ")),
        )
    })
}

/// The place in words.
pub(crate) fn place(fleet: &Fleet, scope: Scope) -> String {
    match scope {
        Scope::Provider(p) => fleet.providers[p.at()].name.to_string(),
        Scope::Region(r) => fleet.regions[r.at()].name.to_string(),
    }
}

/// What a restore ends: drains of the same place, or of a region within it, for the same service or all.
pub(crate) fn ended_by(fleet: &Fleet, drain: &Drain, scope: Scope, service: Option<ServiceIx>) -> bool {
    let inside = match (scope, drain.scope) {
        (a, b) if a == b => true,
        (Scope::Provider(p), Scope::Region(r)) => fleet.provider_of(r) == p,
        (Scope::Provider(_) | Scope::Region(_), _) => false,
    };
    inside && (service.is_none() || service == drain.service)
}

/// Puts a restore on record and ends the drains that it covers; returns these.
pub(crate) fn restore(
    fleet: &Fleet,
    intents: &mut Intents,
    scope: Scope,
    service: Option<ServiceIx>,
    at: Wall,
) -> Vec<Drain> {
    let (ended, kept) = intents.drains.drain(..).partition(|d| ended_by(fleet, d, scope, service));
    intents.drains = kept;
    intents.restores.retain(|r| (r.scope, r.service) != (scope, service));
    intents.restores.push(Restore { scope, service, at });
    ended
}

/// What time has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) drains: Vec<Drain>,
    /// `safety`, `economic`.
    pub(crate) pauses: Vec<&'static str>,
    pub(crate) others: bool,
}
impl Ended {
    pub(crate) fn is_empty(&self) -> bool {
        self.drains.is_empty() && self.pauses.is_empty() && !self.others
    }
}

/// Takes out what has ended by `wall`.
pub(crate) fn expire(intents: &mut Intents, wall: Wall) -> Ended {
    let mut ended = Ended::default();
    let (gone, kept) = intents.drains.drain(..).partition(|d| d.until.is_some_and(|u| u <= wall));
    intents.drains = kept;
    ended.drains = gone;
    let Automation { safety, economic } = &mut intents.automation;
    for (name, switch) in [("safety", safety), ("economic", economic)] {
        if matches!(switch, Switch::Paused { .. }) && switch.is_on(wall) {
            *switch = Switch::On;
            ended.pauses.push(name);
        }
    }
    let before = intents.restores.len();
    intents.restores.retain(|r| wall - r.at < RESTORE_LASTS);
    ended.others = intents.restores.len() != before;
    if intents.ramps_aborted_until.is_some_and(|u| u <= wall) {
        intents.ramps_aborted_until = None;
        ended.others = true;
    }
    ended
}

/// Overrides that end within the next 15 minutes: id and words; drains by id, switches by 0.
pub(crate) fn ending_soon(fleet: &Fleet, intents: &Intents, wall: Wall) -> Vec<(u64, String)> {
    let soon = |until: Option<Wall>| until.is_some_and(|u| u > wall && u - wall <= ANNOUNCE);
    let drains = intents.drains.iter().filter(|d| soon(d.until)).map(|d| {
        let left = d.until.map_or(Millis(0), |u| u - wall);
        (d.id, format!("the drain of {} ends in {left}", place(fleet, d.scope)))
    });
    let switches = [("safety", &intents.automation.safety), ("economic", &intents.automation.economic)];
    let switches = switches.into_iter().filter_map(|(name, switch)| match switch {
        Switch::Paused { until, .. } if soon(*until) => {
            let left = until.map_or(Millis(0), |u| u - wall);
            Some((0, format!("the pause of {name} automation ends in {left}")))
        }
        Switch::Paused { .. } | Switch::On => None,
    });
    drains.chain(switches).collect()
}

/// A paused switch.
pub(crate) fn paused(reason: &str, by: &str, until: Option<Wall>) -> Switch {
    Switch::Paused { reason: reason.to_owned(), by: Subject(by.to_owned()), until }
}
