//! The domain's values as the API shows them: names for indexes, words for kinds.
//!
//! Owns the wording of verdicts, votes, shares, splits and switches, so that the server and every other reader of a plan say
//! the same. Refuses to judge: what is well or not stands in the values.

use std::collections::BTreeSet;
use tidegate_domain::{
    Accused, Alarm, ClassSplit, Disposition, Finding, Fleet, Health, Mono, Plan, ProviderIx, Reason, Report, Serving,
    SplitReport, Switch, TargetState, VantageReport, Verdict, Vote, VoteKind, Wall, Weight,
};

/// All verdicts, and what was found besides.
#[must_use]
pub fn verdicts(fleet: &Fleet, verdicts: &[Verdict], found: &[Finding], now: Mono) -> crate::Verdicts {
    let finding = |f: &Finding| crate::FindingLine {
        kind: f.kind.to_owned(),
        name: f.name.clone(),
        finding: f.word.to_owned(),
        for_ms: now.since(f.since).0,
        evidence: f.evidence.clone(),
    };
    crate::Verdicts {
        api_version: crate::VERSION.to_owned(),
        verdicts: verdicts.iter().map(|v| verdict(fleet, v, now)).collect(),
        findings: found.iter().map(finding).collect(),
    }
}

/// What was found besides verdicts, in sentences.
#[must_use]
pub fn found(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{} {} is {}: {}", f.kind, f.name, f.word, f.evidence)).collect()
}

/// A verdict as of `now`.
#[must_use]
pub fn verdict(fleet: &Fleet, v: &Verdict, now: Mono) -> crate::VerdictLine {
    crate::VerdictLine {
        kind: v.accused.kind().to_owned(),
        name: fleet.accused_name(v.accused),
        health: v.health.word().to_owned(),
        for_ms: now.since(v.since).0,
        electorate: v.electorate,
        eligible: v.eligible,
        agreeing: v.agreeing,
        agreeing_providers: v.agreeing_providers,
        votes: v.votes.iter().map(|vote| vote_line(fleet, vote)).collect(),
    }
}

/// The configured vantages, then other members. `heard` names whom the server's gossip hears, and whether it suspects them;
/// `state` says by index whether a vantage votes, or why not.
#[must_use]
pub fn members(
    fleet: &Fleet,
    heard: &[(&str, bool)],
    reports: &[Option<VantageReport>],
    state: impl Fn(usize) -> Result<(), String>,
    now: Mono,
) -> crate::Members {
    let word = |name: &str, reported: bool| match heard.iter().find(|m| m.0 == name) {
        Some((_, true)) => "suspect",
        Some((_, false)) => "alive",
        None if reported => "down",
        None => "never seen",
    };
    let vantages = fleet.vantages.iter().enumerate().map(|(i, vantage)| {
        let (report, state) = (reports.get(i).and_then(Option::as_ref), state(i));
        // the providers' APIs follow the endpoints: they are no places
        let endpoints = report.into_iter().flat_map(|r| r.targets.iter().take(fleet.endpoints.len()));
        let failing = endpoints.filter(|t| **t == TargetState::Failing).count();
        crate::MemberLine {
            name: vantage.name.to_string(),
            place: fleet.regions[vantage.region.at()].name.to_string(),
            gossip: word(vantage.name.as_str(), report.is_some()).to_owned(),
            eligible: state.is_ok(),
            why_not: state.err().unwrap_or_default(),
            report_age_ms: report.map(|r| now.since(r.arrived).0),
            references_reached: report.map_or(0, |r| r.own.references_reached),
            failing: u32::try_from(failing).unwrap_or(u32::MAX),
        }
    });
    let others = heard.iter().filter(|m| fleet.vantages.iter().all(|v| v.name.as_str() != m.0));
    let others = others.map(|(name, _)| crate::MemberLine {
        name: (*name).to_owned(),
        place: String::new(),
        gossip: word(name, true).to_owned(),
        eligible: false,
        why_not: "it is no configured vantage".to_owned(),
        report_age_ms: None,
        references_reached: 0,
        failing: 0,
    });
    crate::Members { api_version: crate::VERSION.to_owned(), members: vantages.chain(others).collect() }
}

/// `cut-off`.
#[must_use]
pub fn vote_word(kind: VoteKind) -> &'static str {
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

fn vote_line(fleet: &Fleet, vote: &Vote) -> crate::VoteLine {
    let vantage = &fleet.vantages[vote.vantage.at()];
    crate::VoteLine {
        vantage: vantage.name.to_string(),
        place: fleet.regions[vantage.region.at()].name.to_string(),
        vote: vote_word(vote.kind).to_owned(),
        age_ms: vote.age.map(|a| a.0),
    }
}

/// Weights by region.
#[must_use]
pub fn shares(fleet: &Fleet, weights: &[Weight]) -> Vec<crate::RegionShare> {
    let share = |w: &Weight| crate::RegionShare {
        region: fleet.regions[w.region.at()].name.to_string(),
        share_bps: w.share.get(),
    };
    weights.iter().map(share).collect()
}

/// All splits of a plan.
#[must_use]
pub fn splits(fleet: &Fleet, plan: &Plan) -> Vec<crate::SplitLine> {
    let line = |s: &ClassSplit| {
        let (serving, shed) = match s.serving {
            Serving::Routed { shed } => ("routed", shed.get()),
            Serving::WrongJurisdiction => ("wrong-jurisdiction", 0),
            Serving::NoPlace => ("no-place", 0),
        };
        crate::SplitLine {
            class: fleet.class_name(s.class),
            group: fleet.groups[s.group.at()].name.to_string(),
            serving: serving.to_owned(),
            shed_bps: shed,
            weights: shares(fleet, &s.weights),
        }
    };
    plan.splits.iter().map(line).collect()
}

/// What would follow a loss.
#[must_use]
pub fn what_if(
    fleet: &Fleet,
    lost: &[String],
    before: Option<&Plan>,
    after: Option<&Plan>,
    gaps: Vec<String>,
) -> crate::WhatIf {
    let lines = |plan: Option<&Plan>| plan.map_or_else(Vec::new, |p| splits(fleet, p));
    let (before, after) = (lines(before), lines(after));
    crate::WhatIf { api_version: crate::VERSION.to_owned(), lost: lost.to_vec(), before, after, gaps }
}

/// Reasons per class, group and region; `keep` chooses, `sentence` says them.
pub fn places(
    fleet: &Fleet,
    report: &Report,
    keep: impl Fn(&SplitReport, &Fleet) -> bool,
    sentence: impl Fn(&Reason, &Fleet) -> String,
) -> Vec<crate::PlaceLine> {
    let mut lines = Vec::new();
    for split in report.splits.iter().filter(|s| keep(s, fleet)) {
        for place in &split.regions {
            let (word, share) = match place.disposition {
                Disposition::Carries(share) => ("carries", share.get()),
                Disposition::Idle => ("idle", 0),
                Disposition::Excluded => ("excluded", 0),
            };
            let region = &fleet.regions[place.region.at()];
            lines.push(crate::PlaceLine {
                class: fleet.class_name(split.class),
                group: fleet.groups[split.group.at()].name.to_string(),
                region: region.name.to_string(),
                jurisdiction: region.jurisdiction.to_string(),
                share_bps: share,
                disposition: word.to_owned(),
                reasons: place.reasons.iter().map(|r| sentence(r, fleet)).collect(),
            });
        }
    }
    lines
}

/// A switch at the moment `wall`.
#[must_use]
pub fn switch(switch: &Switch, wall: Wall) -> crate::SwitchState {
    match switch {
        Switch::Paused { reason, by, until } if !switch.is_on(wall) => crate::SwitchState {
            on: false,
            reason: Some(reason.clone()),
            by: Some(by.0.clone()),
            until_ms: until.map(|u| u.0),
        },
        Switch::On | Switch::Paused { .. } => crate::SwitchState { on: true, reason: None, by: None, until_ms: None },
    }
}

/// What is down or degraded, providers first; places that are not known, in one entry. A provider that is down stands
/// for its regions. Paths that fail, providers' APIs in trouble and a gossip that is cut stand last.
#[must_use]
pub fn unwell(fleet: &Fleet, verdicts: &[Verdict], found: &[Finding], now: Mono) -> Vec<crate::Unwell> {
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
    let line = |v: &&Verdict| crate::Unwell {
        what: format!("{} {}", v.accused.kind(), fleet.accused_name(v.accused)),
        health: v.health.word().to_owned(),
        for_ms: now.since(v.since).0,
        evidence: v.evidence(fleet, found),
    };
    let mut all: Vec<crate::Unwell> = bad.iter().map(line).collect();
    let unknowns: Vec<&Verdict> = shown().filter(|v| v.health == Health::Unknown).collect();
    all.extend(unknown(&unknowns, now));
    let besides = |f: &Finding| crate::Unwell {
        what: format!("{} {}", f.kind, f.name),
        health: if f.kind == "path" { Health::Down.word() } else { f.word }.to_owned(),
        for_ms: now.since(f.since).0,
        evidence: f.evidence.clone(),
    };
    all.extend(found.iter().filter(|f| matches!(f.kind, "path" | "api" | "gossip" | "service")).map(besides));
    all
}

/// One entry for all places that are not known: regions, or providers where it is only these.
fn unknown(of: &[&Verdict], now: Mono) -> Option<crate::Unwell> {
    let regions = of.iter().filter(|v| matches!(v.accused, Accused::Region(_))).count();
    let (count, noun) = if regions > 0 { (regions, "region") } else { (of.len(), "provider") };
    let worst = of.iter().min_by_key(|v| v.eligible)?;
    let why = format!("{} of {} vantages eligible", worst.eligible, worst.electorate);
    let plural = if count == 1 { "" } else { "s" };
    Some(crate::Unwell {
        what: format!("{count} {noun}{plural}"),
        health: Health::Unknown.word().to_owned(),
        for_ms: of.iter().map(|v| now.since(v.since).0).max().unwrap_or(0),
        evidence: format!("no quorum: {why}"),
    })
}

/// What is shed.
#[must_use]
pub fn shed(fleet: &Fleet, plan: Option<&Plan>) -> Vec<crate::ClassShare> {
    let splits = plan.into_iter().flat_map(|p| &p.splits);
    splits
        .filter_map(|s| match s.serving {
            Serving::Routed { shed } if shed.get() > 0 => Some(crate::ClassShare {
                class: fleet.class_name(s.class),
                group: fleet.groups[s.group.at()].name.to_string(),
                share_bps: shed.get(),
            }),
            Serving::Routed { .. } | Serving::WrongJurisdiction | Serving::NoPlace => None,
        })
        .collect()
}

/// `all_down`.
#[must_use]
pub fn alarm_kind(alarm: &Alarm) -> &'static str {
    match alarm {
        Alarm::AllDown { .. } => "all_down",
        Alarm::NoPlace { .. } => "no_place",
        Alarm::Doubt { .. } => "doubt",
        Alarm::Shedding { .. } => "shedding",
        Alarm::LongUnknown { .. } => "long_unknown",
        Alarm::CutOff { .. } => "cut_off",
        Alarm::ApiTrouble { .. } => "api_trouble",
        Alarm::Partition => "gossip_cut",
        Alarm::Followed { .. } => "problem_followed",
        Alarm::PlanRefused { .. } => "plan_refused",
    }
}
