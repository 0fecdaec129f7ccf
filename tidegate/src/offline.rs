//! `plan --lose`: what if? From configuration files alone, by the same kernel.

use crate::args::Output;
use crate::config::{bundle, load};
use crate::failure::Failure;
use crate::show;
use crate::ui::out;
use crate::ui::{percent, state, table};
use serde::Serialize;
use std::path::Path;
use tidegate_api::{RegionShare, SplitLine};
use tidegate_domain::{Accused, ClassSplit, Fleet, Name, Plan, RegionName, Serving};
use tidegate_kernel::contingencies;

#[derive(Debug, Serialize)]
struct Planned {
    api_version: &'static str,
    lost: Vec<String>,
    before: Vec<SplitLine>,
    after: Vec<SplitLine>,
    gaps: Vec<String>,
}

pub(crate) fn plan(dir: &Path, lose: &[String], out: Output) -> Result<u8, Failure> {
    let loaded = load(dir)?;
    let fleet = &loaded.fleet;
    let lost = lose.iter().map(|l| place(fleet, l)).collect::<Result<Vec<_>, _>>()?;
    let mask = bundle(&loaded)?.mask(fleet, None).mask;
    let mut found = contingencies(fleet, &mask, &[Vec::new(), lost]).into_iter();
    let (Some(before), Some(after)) = (found.next(), found.next()) else {
        return Err(Failure::new("the kernel gave no plan", "report this"));
    };
    let planned = Planned {
        api_version: tidegate_api::VERSION,
        lost: lose.to_vec(),
        before: before.plan.as_ref().map(|p| lines(fleet, p)).unwrap_or_default(),
        after: after.plan.as_ref().map(|p| lines(fleet, p)).unwrap_or_default(),
        gaps: after.gaps,
    };
    show(out, &planned, print)?;
    Ok(if planned.gaps.is_empty() { 0 } else { 6 })
}

fn place(fleet: &Fleet, text: &str) -> Result<Accused, Failure> {
    let found = if text.contains('/') {
        RegionName::new(text).ok().and_then(|n| fleet.region(&n)).map(Accused::Region)
    } else {
        Name::new(text).ok().and_then(|n| fleet.provider(&n)).map(Accused::Provider)
    };
    found.ok_or_else(|| {
        let known: Vec<String> = fleet.regions.iter().map(|r| r.name.to_string()).collect();
        Failure::usage(
            format!("the fleet has no place `{text}`"),
            format!("name a provider or one of: {}", known.join(", ")),
        )
    })
}

fn lines(fleet: &Fleet, plan: &Plan) -> Vec<SplitLine> {
    let line = |s: &ClassSplit| {
        let (serving, shed_bps) = match s.serving {
            Serving::Routed { shed } => ("routed", shed.get()),
            Serving::WrongJurisdiction => ("wrong-jurisdiction", 0),
            Serving::NoPlace => ("no-place", 0),
        };
        let share = |w: &tidegate_domain::Weight| RegionShare {
            region: fleet.regions[w.region.at()].name.to_string(),
            share_bps: w.share.get(),
        };
        SplitLine {
            class: fleet.class_name(s.class),
            group: fleet.groups[s.group.at()].name.to_string(),
            serving: serving.to_owned(),
            shed_bps,
            weights: s.weights.iter().map(share).collect(),
        }
    };
    plan.splits.iter().map(line).collect()
}

fn print(planned: &Planned) {
    let text = |line: &SplitLine| match line.serving.as_str() {
        "routed" => {
            let shares: Vec<String> =
                line.weights.iter().map(|w| format!("{} {}", w.region, percent(w.share_bps))).collect();
            let shed = if line.shed_bps > 0 { format!(" · {} shed", percent(line.shed_bps)) } else { String::new() };
            shares.join(" · ") + &shed
        }
        "wrong-jurisdiction" => "451: not from here".to_owned(),
        _ => "503: no place".to_owned(),
    };
    let rows = planned.before.iter().zip(&planned.after).map(|(before, after)| {
        let then = if before == after { "as before".to_owned() } else { text(after) };
        vec![before.class.clone(), before.group.clone(), text(before), then]
    });
    let header =
        if planned.lost.is_empty() { "THEN".to_owned() } else { format!("WITHOUT {}", planned.lost.join(", ")) };
    out!("{}", table(&["CLASS", "CLIENTS", "STEADY", &header], rows.collect()));
    for gap in &planned.gaps {
        out!("{} {gap}", state("warning"));
    }
    if planned.gaps.is_empty() {
        out!("{} everything is served within every limit", state("ok"));
    }
}
