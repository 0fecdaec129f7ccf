//! From the loop's picture to the API's shapes: names for indexes, sentences for reasons.

use crate::app::App;
use crate::clock;
use crate::tokens::hex;
use std::collections::BTreeSet;
use tidegate_api as api;
use tidegate_controller::{DrainPhase, DrainProgress, Model, StoreState};
use tidegate_domain::{
    Accused, Disposition, Drain, Fleet, Health, Mono, Plan, ProviderIx, Report, Scope, Serving, SplitReport, Switch,
    Verdict, Vote, VoteKind, Wall,
};

pub(super) fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Down => "down",
        Health::Unknown => "unknown",
    }
}

fn accused(fleet: &Fleet, accused: Accused) -> (&'static str, String) {
    match accused {
        Accused::Provider(p) => ("provider", fleet.providers[p.at()].name.to_string()),
        Accused::Region(r) => ("region", fleet.regions[r.at()].name.to_string()),
        Accused::Endpoint(e) => ("endpoint", fleet.endpoints[e.at()].name.to_string()),
    }
}

pub(super) fn verdict(fleet: &Fleet, v: &Verdict, now: Mono) -> api::VerdictLine {
    let (kind, name) = accused(fleet, v.accused);
    api::VerdictLine {
        kind: kind.to_owned(),
        name,
        health: health(v.health).to_owned(),
        for_ms: now.since(v.since).0,
        electorate: v.electorate,
        eligible: v.eligible,
        agreeing: v.agreeing,
        agreeing_providers: v.agreeing_providers,
        votes: v.votes.iter().map(|vote| vote_line(fleet, vote)).collect(),
    }
}

pub(super) fn vote_word(kind: VoteKind) -> &'static str {
    match kind {
        VoteKind::Up => "up",
        VoteKind::Slow => "slow",
        VoteKind::Down => "down",
        VoteKind::Unseen => "unseen",
        VoteKind::Stale => "stale",
        VoteKind::CutOff => "cut-off",
        VoteKind::SelfDoubt => "self-doubt",
        VoteKind::OtherRevision => "other-revision",
    }
}

fn vote_line(fleet: &Fleet, vote: &Vote) -> api::VoteLine {
    let vantage = &fleet.vantages[vote.vantage.at()];
    api::VoteLine {
        vantage: vantage.name.to_string(),
        place: fleet.regions[vantage.region.at()].name.to_string(),
        vote: vote_word(vote.kind).to_owned(),
        age_ms: vote.age.map(|a| a.0),
    }
}

pub(super) fn shares(fleet: &Fleet, weights: &[tidegate_domain::Weight]) -> Vec<api::RegionShare> {
    let share = |w: &tidegate_domain::Weight| api::RegionShare {
        region: fleet.regions[w.region.at()].name.to_string(),
        share_bps: w.share.get(),
    };
    weights.iter().map(share).collect()
}

pub(super) fn splits(fleet: &Fleet, plan: &Plan) -> Vec<api::SplitLine> {
    let line = |s: &tidegate_domain::ClassSplit| {
        let (serving, shed) = match s.serving {
            Serving::Routed { shed } => ("routed", shed.get()),
            Serving::WrongJurisdiction => ("wrong-jurisdiction", 0),
            Serving::NoPlace => ("no-place", 0),
        };
        api::SplitLine {
            class: fleet.class_name(s.class),
            group: fleet.groups[s.group.at()].name.to_string(),
            serving: serving.to_owned(),
            shed_bps: shed,
            weights: shares(fleet, &s.weights),
        }
    };
    plan.splits.iter().map(line).collect()
}

/// Reasons per class, group and region; `keep` chooses.
pub(super) fn places(
    fleet: &Fleet,
    report: &Report,
    keep: impl Fn(&SplitReport, &Fleet) -> bool,
) -> Vec<api::PlaceLine> {
    let mut lines = Vec::new();
    for split in report.splits.iter().filter(|s| keep(s, fleet)) {
        for place in &split.regions {
            let (word, share) = match place.disposition {
                Disposition::Carries(share) => ("carries", share.get()),
                Disposition::Idle => ("idle", 0),
                Disposition::Excluded => ("excluded", 0),
            };
            let region = &fleet.regions[place.region.at()];
            lines.push(api::PlaceLine {
                class: fleet.class_name(split.class),
                group: fleet.groups[split.group.at()].name.to_string(),
                region: region.name.to_string(),
                jurisdiction: region.jurisdiction.to_string(),
                share_bps: share,
                disposition: word.to_owned(),
                reasons: place.reasons.iter().map(|r| tidegate_kernel::why::sentence(r, fleet)).collect(),
            });
        }
    }
    lines
}

fn switch(switch: &Switch, wall: Wall) -> api::SwitchState {
    match switch {
        Switch::Paused { reason, by, until } if !switch.is_on(wall) => api::SwitchState {
            on: false,
            reason: Some(reason.clone()),
            by: Some(by.0.clone()),
            until_ms: until.map(|u| u.0),
        },
        Switch::On | Switch::Paused { .. } => api::SwitchState { on: true, reason: None, by: None, until_ms: None },
    }
}

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
    let unwell = unwell(fleet, &model.verdicts, now);
    let progress = app.engine.acked_by_all(model.generation);
    let edges = u32::try_from(progress.acked + progress.outstanding.len()).unwrap_or(u32::MAX);
    let down = model.verdicts.iter().any(|v| !matches!(v.accused, Accused::Endpoint(_)) && v.health == Health::Down);
    let summary = match (model.alarms.is_empty(), down, unwell.is_empty()) {
        (false, _, _) => "alarm",
        (true, true, _) => "outage",
        (true, false, false) => "degraded",
        (true, false, true) => "ok",
    };
    let eligible = (0..fleet.vantages.len()).filter(|i| vantage_state(model, *i, now).is_ok()).count();
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
        automation_safety: switch(&model.intents.automation.safety, wall),
        automation_economic: switch(&model.intents.automation.economic, wall),
        drains: model.intents.drains.iter().map(|d| drain(app, model, d)).collect(),
        waits: model.waits(),
        alarms: model.alarms.iter().map(|a| a.text.clone()).collect(),
        unprotected: model.gaps.iter().map(|g| format!("losing {}: {}", g.lost, g.faults.join("; "))).collect(),
        vantages_eligible: u32::try_from(eligible).unwrap_or(u32::MAX),
        vantages_configured: u32::try_from(fleet.vantages.len()).unwrap_or(u32::MAX),
        edges,
        edges_acked: u32::try_from(progress.acked).unwrap_or(u32::MAX),
        shed: shed(model),
        insecure_plaintext: !app.flags.exposed().is_empty(),
        store: store(&model.store),
        last_cycle_age_ms: now.since(model.cycled).0,
    }
}

/// What is down or degraded, providers first; places that are not known, in one entry. A provider that is down stands
/// for its regions.
fn unwell(fleet: &Fleet, verdicts: &[Verdict], now: Mono) -> Vec<api::Unwell> {
    let down: BTreeSet<ProviderIx> = verdicts
        .iter()
        .filter(|v| v.health == Health::Down)
        .filter_map(|v| if let Accused::Provider(p) = v.accused { Some(p) } else { None })
        .collect();
    let hidden = |a: Accused| match a {
        Accused::Provider(_) => false,
        Accused::Region(r) => down.contains(&fleet.provider_of(r)),
        Accused::Endpoint(_) => true,
    };
    let shown = || verdicts.iter().filter(|v| !hidden(v.accused));
    let mut bad: Vec<&Verdict> = shown().filter(|v| matches!(v.health, Health::Down | Health::Degraded)).collect();
    bad.sort_by_key(|v| matches!(v.accused, Accused::Region(_)));
    let line = |v: &&Verdict| {
        let (kind, name) = accused(fleet, v.accused);
        let (eligible, agreeing, from) = (v.eligible, v.agreeing, v.agreeing_providers);
        api::Unwell {
            what: format!("{kind} {name}"),
            health: health(v.health).to_owned(),
            for_ms: now.since(v.since).0,
            evidence: format!("{eligible} of {} eligible, {agreeing} agree, from {from} providers", v.electorate),
        }
    };
    let mut all: Vec<api::Unwell> = bad.iter().map(line).collect();
    let unknowns: Vec<&Verdict> = shown().filter(|v| v.health == Health::Unknown).collect();
    all.extend(unknown(&unknowns, now));
    all
}

/// One entry for all places that are not known: regions, or providers where it is only these.
fn unknown(of: &[&Verdict], now: Mono) -> Option<api::Unwell> {
    let regions = of.iter().filter(|v| matches!(v.accused, Accused::Region(_))).count();
    let (count, noun) = if regions > 0 { (regions, "region") } else { (of.len(), "provider") };
    let worst = of.iter().min_by_key(|v| v.eligible)?;
    let why = format!("{} of {} vantages eligible", worst.eligible, worst.electorate);
    let plural = if count == 1 { "" } else { "s" };
    Some(api::Unwell {
        what: format!("{count} {noun}{plural}"),
        health: health(Health::Unknown).to_owned(),
        for_ms: of.iter().map(|v| now.since(v.since).0).max().unwrap_or(0),
        evidence: format!("no quorum: {why}"),
    })
}

fn shed(model: &Model) -> Vec<api::ClassShare> {
    let splits = model.plan.iter().flat_map(|p| &p.splits);
    splits
        .filter_map(|s| match s.serving {
            Serving::Routed { shed } if shed.get() > 0 => Some(api::ClassShare {
                class: model.fleet.class_name(s.class),
                group: model.fleet.groups[s.group.at()].name.to_string(),
                share_bps: shed.get(),
            }),
            Serving::Routed { .. } | Serving::WrongJurisdiction | Serving::NoPlace => None,
        })
        .collect()
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

/// Whether a vantage votes, by the rule of the electorate; the reason if not.
pub(super) fn vantage_state(model: &Model, vantage: usize, now: Mono) -> Result<(), String> {
    let Some(report) = model.reports.get(vantage).and_then(Option::as_ref) else {
        return Err("never reported".to_owned());
    };
    let why = match tidegate_kernel::health::not_eligible(&model.fleet, Some(report), now) {
        None => return Ok(()),
        Some(VoteKind::Stale) => format!("its newest report is {} old", now.since(report.arrived)),
        Some(VoteKind::CutOff) => format!("reaches only {} references", report.own.references_reached),
        Some(VoteKind::SelfDoubt) => "its own loop ran late: it doubts what it sees".to_owned(),
        Some(VoteKind::OtherRevision) => "speaks of another fleet revision".to_owned(),
        Some(kind @ (VoteKind::Up | VoteKind::Slow | VoteKind::Down | VoteKind::Unseen)) => vote_word(kind).to_owned(),
    };
    Err(why)
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
