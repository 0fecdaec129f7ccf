//! From the loop's picture to the API's shapes: names for indexes, sentences for reasons.

use crate::app::App;
use crate::clock;
use std::collections::BTreeSet;
use tidegate_api as api;
use tidegate_api::tokens::hex;
use tidegate_api::words;
use tidegate_controller::{DrainPhase, DrainProgress, Model, StoreState};
use tidegate_domain::{Accused, Drain, Health, Scope};

pub(super) fn store(state: &StoreState) -> String {
    match state {
        StoreState::Well => "ok".to_owned(),
        StoreState::Full { words } => format!("FULL, only safety moves are recorded: {words}"),
        StoreState::Unavailable { words } => format!("does not answer: {words}"),
    }
}

pub(super) fn status(app: &App, model: &Model) -> api::Status {
    let fleet = &model.fleet;
    let now = clock::mono();
    let wall = clock::wall();
    let unwell = words::unwell(fleet, &model.verdicts, &model.findings(), now);
    let progress = app.engine.acked_by_all(model.generation);
    let edges = u32::try_from(progress.acked + progress.outstanding.len()).unwrap_or(u32::MAX);
    let down = model.verdicts.iter().any(|v| !matches!(v.accused, Accused::Endpoint(_)) && v.health == Health::Down);
    let unresolved = app.unresolved.load();
    let mut alarms: Vec<String> = model.alarms.iter().map(|a| a.text.clone()).collect();
    alarms.extend(unresolved.iter().cloned());
    let summary = match (alarms.is_empty(), down, unwell.is_empty()) {
        (false, _, _) => "alarm",
        (true, true, _) => "outage",
        (true, false, false) => "degraded",
        (true, false, true) => "ok",
    };
    let eligible = (0..fleet.vantages.len()).filter(|i| model.vantage_state(*i, now).is_ok()).count();
    api::Status {
        api_version: api::VERSION.to_owned(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        summary: summary.to_owned(),
        unwell,
        decision: decision_line(model),
        term: model.term,
        generation: model.generation,
        fleet: fleet.revision.to_string(),
        policy: hex(&model.mask.bundle[..6]),
        automation_safety: words::switch(&model.intents.automation.safety, wall),
        automation_economic: words::switch(&model.intents.automation.economic, wall),
        drains: model.intents.drains.iter().map(|d| drain(app, model, d)).collect(),
        waits: model.waits(),
        alarms,
        unprotected: model.gaps.iter().map(|g| format!("losing {}: {}", g.lost, g.faults.join("; "))).collect(),
        vantages_eligible: u32::try_from(eligible).unwrap_or(u32::MAX),
        vantages_configured: u32::try_from(fleet.vantages.len()).unwrap_or(u32::MAX),
        edges,
        edges_acked: u32::try_from(progress.acked).unwrap_or(u32::MAX),
        shed: words::shed(fleet, model.plan.as_deref()),
        insecure_plaintext: !app.flags.exposed().is_empty(),
        store: store(&model.store),
        last_cycle_age_ms: now.since(model.cycled).0,
    }
}

pub(super) fn decision_line(model: &Model) -> Option<api::DecisionLine> {
    let last = model.decision.as_ref()?;
    Some(api::DecisionLine {
        id: last.id,
        at_ms: last.at.0,
        generation: model.generation,
        summary: last.summary.clone(),
    })
}

pub(super) fn drain(app: &App, model: &Model, drain: &Drain) -> api::DrainState {
    let fleet = &model.fleet;
    let nodes = app.engine.nodes();
    let connected: BTreeSet<String> = nodes.iter().filter(|n| n.connected).map(|n| n.node.id.clone()).collect();
    let DrainProgress { phase, left, milli_rps, open, waits } = model.drain_progress(drain, &connected, clock::mono());
    let left = left.into_iter().map(|(class, group, share)| api::ClassShare {
        class: fleet.class_name(class),
        group: fleet.groups[group.at()].name.to_string(),
        share_bps: share.get(),
    });
    let phase = match phase {
        DrainPhase::Stepping => "stepping",
        DrainPhase::Acking => "acking",
        DrainPhase::Emptying => "emptying",
        DrainPhase::Done => "done",
    };
    api::DrainState {
        id: drain.id,
        place: match drain.scope {
            Scope::Provider(p) => fleet.providers[p.at()].name.to_string(),
            Scope::Region(r) => fleet.regions[r.at()].name.to_string(),
        },
        service: drain.service.map(|s| fleet.services[s.at()].name.to_string()),
        by: drain.by.0.clone(),
        reason: drain.reason.clone(),
        until_ms: drain.until.map(|u| u.0),
        grace_ms: drain.grace.0,
        left: left.collect(),
        edges_behind: app.engine.acked_by_all(model.generation).outstanding,
        new_requests_milli_rps: milli_rps,
        in_progress: open,
        waits,
        phase: phase.to_owned(),
    }
}
