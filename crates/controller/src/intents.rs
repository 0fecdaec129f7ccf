//! Standing intents: what people asked for, kept by id, ended by time.

use crate::controller::event;
use crate::effect::{Denial, DenialKind};
use std::collections::BTreeMap;
use tidegate_domain::{
    ApiWord, Automation, Drain, Fleet, Intents, Millis, MoveKind, Name, ProviderIx, RegionName, Restore, Scope,
    ServiceIx, Subject, Switch, Wall,
};
use tidegate_record::{Event, EventKind, Place};

/// How long an aborted ramp keeps voluntary and economic moves away.
pub(crate) const ABORT_LASTS: Millis = Millis(3_600_000);
/// Drains that may stand at once, and restores: together they have to fit behind one key of the store.
pub(crate) const DRAINS_MAX: usize = 100;
const RESTORES_MAX: usize = 50;
/// Drains that one write ends; more end with the next.
const EXPIRED_MAX: usize = 8;
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

/// A drain that a restore of `scope` would not end, though it covers the whole of it.
pub(crate) fn wider<'a>(
    fleet: &Fleet,
    drains: &'a [Drain],
    scope: Scope,
    service: Option<ServiceIx>,
) -> Option<&'a Drain> {
    drains.iter().find(|d| {
        let covers = match (d.scope, scope) {
            (a, b) if a == b => true,
            (Scope::Provider(p), Scope::Region(r)) => fleet.provider_of(r) == p,
            (Scope::Provider(_) | Scope::Region(_), _) => false,
        };
        covers && (d.service.is_none() || d.service == service) && !ended_by(fleet, d, scope, service)
    })
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
    if intents.restores.len() >= RESTORES_MAX {
        intents.restores.remove(0);
    }
    intents.restores.push(Restore { scope, service, at });
    ended
}

/// What time has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) drains: Vec<Drain>,
    pub(crate) pauses: Vec<MoveKind>,
    /// Words on these providers' APIs.
    pub(crate) words: Vec<ProviderIx>,
    /// Leaves and aborts that end without a word of their own.
    pub(crate) others: bool,
}
impl Ended {
    pub(crate) fn is_empty(&self) -> bool {
        self.drains.is_empty() && self.pauses.is_empty() && self.words.is_empty() && !self.others
    }
    /// For the journal.
    pub(crate) fn events(&self, fleet: &Fleet) -> Vec<Event> {
        let drains = self.drains.iter().filter_map(|drain| {
            let place = Place::new(&place(fleet, drain.scope)).ok()?;
            let service = drain.service.map(|s| fleet.services[s.at()].name.clone());
            Some(event("expiry", &drain.reason, EventKind::DrainExpired { id: drain.id, place, service }))
        });
        let resumed = |kind: &MoveKind| {
            event("expiry", "the pause reached its end", EventKind::AutomationResumed { kind: *kind })
        };
        let word = |of: &ProviderIx| {
            let provider = fleet.providers[of.at()].name.clone();
            event("expiry", "it reached its end", EventKind::ApiWordEnded { provider })
        };
        drains.chain(self.pauses.iter().map(resumed)).chain(self.words.iter().map(word)).collect()
    }
}

/// Takes out what has ended by `wall`.
pub(crate) fn expire(intents: &mut Intents, wall: Wall) -> Ended {
    let mut ended = Ended::default();
    let mut room = EXPIRED_MAX;
    let over = |d: &Drain| d.until.is_some_and(|u| u <= wall);
    let (gone, kept) = intents.drains.drain(..).partition(|d| {
        let ends = over(d) && room > 0;
        room -= usize::from(ends);
        ends
    });
    intents.drains = kept;
    ended.drains = gone;
    let Automation { safety, economic } = &mut intents.automation;
    for (kind, switch) in [(MoveKind::Safety, safety), (MoveKind::Economic, economic)] {
        if matches!(switch, Switch::Paused { .. }) && switch.is_on(wall) {
            *switch = Switch::On;
            ended.pauses.push(kind);
        }
    }
    let over = |w: &ApiWord| w.until <= wall;
    ended.words = intents.api_words.iter().filter(|w| over(w)).map(|w| w.provider).collect();
    intents.api_words.retain(|w| !over(w));
    let before = intents.restores.len();
    intents.restores.retain(|r| r.ends() > wall);
    ended.others = intents.restores.len() != before;
    if intents.ramps_aborted_until.is_some_and(|u| u <= wall) {
        intents.ramps_aborted_until = None;
        ended.others = true;
    }
    ended
}

/// An override and the moment at which it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Override {
    Drain(u64, Wall),
    Pause(MoveKind, Wall),
    Abort(Wall),
    ApiWord(ProviderIx, Wall),
}

/// For each kind of override the next moment at which one ends by itself.
pub(crate) fn next_ends(intents: &Intents, wall: Wall) -> BTreeMap<&'static str, Option<Wall>> {
    let until = |switch: &Switch| match switch {
        Switch::Paused { until, .. } => *until,
        Switch::On => None,
    };
    let Intents {
        drains,
        restores: _,
        automation: Automation { safety, economic },
        ramps_paused: _,
        ramps_aborted_until,
        api_words,
    } = intents;
    let words = api_words.iter().map(|w| ("api_word", Some(w.until)));
    let drains = drains.iter().map(|d| ("drain", d.until)).chain(words);
    let others = [
        ("drain", None),
        ("safety_pause", until(safety)),
        ("economic_pause", until(economic)),
        ("ramp_abort", *ramps_aborted_until),
        ("api_word", None),
    ];
    let mut next = BTreeMap::new();
    for (kind, end) in drains.chain(others) {
        // What has ended already only waits for the store.
        let end = end.filter(|e| *e > wall);
        let first: &mut Option<Wall> = next.entry(kind).or_default();
        *first = first.iter().copied().chain(end).min();
    }
    next
}

/// Overrides that end within the next 15 minutes, with words.
pub(crate) fn ending_soon(fleet: &Fleet, intents: &Intents, wall: Wall) -> Vec<(Override, String)> {
    let soon = |until: Option<Wall>| until.filter(|u| *u > wall && *u - wall <= ANNOUNCE);
    let drains = intents.drains.iter().filter_map(|d| {
        let until = soon(d.until)?;
        Some((Override::Drain(d.id, until), format!("the drain of {} ends in {}", place(fleet, d.scope), until - wall)))
    });
    let Automation { safety, economic } = &intents.automation;
    let switches = [(MoveKind::Safety, safety), (MoveKind::Economic, economic)];
    let pauses = switches.into_iter().filter_map(|(kind, switch)| match switch {
        Switch::Paused { until, .. } => {
            let until = soon(*until)?;
            let text = format!("the pause of {} automation ends in {}", kind.word(), until - wall);
            Some((Override::Pause(kind, until), text))
        }
        Switch::On => None,
    });
    let words = intents.api_words.iter().filter_map(|w| {
        let (until, name) = (soon(Some(w.until))?, &fleet.providers[w.provider.at()].name);
        Some((Override::ApiWord(w.provider, until), format!("the word on the API of {name} ends in {}", until - wall)))
    });
    let abort = soon(intents.ramps_aborted_until)
        .map(|until| (Override::Abort(until), format!("the hold on ramps after an abort ends in {}", until - wall)));
    drains.chain(pauses).chain(words).chain(abort).collect()
}

/// A paused switch.
pub(crate) fn paused(reason: &str, by: &str, until: Option<Wall>) -> Switch {
    Switch::Paused { reason: reason.to_owned(), by: Subject(by.to_owned()), until }
}
