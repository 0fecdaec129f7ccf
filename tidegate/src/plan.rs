//! `plan --lose`: what if? Of what a server serves now, or of configuration files alone; by the same kernel.

use crate::args::Output;
use crate::client::Client;
use crate::config::{bundle, load};
use crate::failure::Failure;
use crate::show;
use crate::ui::out;
use crate::ui::{percent, state, table};
use std::path::Path;
use tidegate_api::{SplitLine, WhatIf, words};
use tidegate_domain::{Accused, Fleet, Name, RegionName};
use tidegate_kernel::contingencies;

/// Of what runs: drains, verdicts and measured demand as they stand.
pub(crate) async fn live(client: &Client, lose: &[String], out: Output) -> Result<u8, Failure> {
    if let Some(bad) = lose.iter().find(|l| !names_a_place(l)) {
        return Err(Failure::usage(
            format!("`{bad}` is no place: a place is PROVIDER or PROVIDER/REGION"),
            "write it as in `tidegate plan --lose aws --lose gcp/europe-west4`",
        ));
    }
    let found: WhatIf = client.get(&format!("/v1/plan?lose={}", lose.join(","))).await?;
    answer(out, &found, "NOW")
}

/// Of configuration files, from the layout that stands when all is well.
pub(crate) fn offline(dir: &Path, lose: &[String], out: Output) -> Result<u8, Failure> {
    let loaded = load(dir)?;
    let fleet = &loaded.fleet;
    let lost = lose.iter().map(|l| place(fleet, l)).collect::<Result<Vec<_>, _>>()?;
    let mask = bundle(&loaded)?.mask(fleet, None).mask;
    let mut found = contingencies(fleet, &mask, &[Vec::new(), lost]).into_iter();
    let (Some(before), Some(after)) = (found.next(), found.next()) else {
        return Err(Failure::new("the kernel gave no plan", "report this"));
    };
    let planned = words::what_if(fleet, lose, before.plan.as_ref(), after.plan.as_ref(), after.gaps);
    answer(out, &planned, "STEADY")
}

fn answer(out: Output, planned: &WhatIf, before: &str) -> Result<u8, Failure> {
    show(out, planned, |p| print(p, before))?;
    Ok(if planned.gaps.is_empty() { 0 } else { 6 })
}

fn names_a_place(text: &str) -> bool {
    RegionName::new(text).is_ok() || Name::new(text).is_ok()
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

fn text(line: &SplitLine) -> String {
    match line.serving.as_str() {
        "routed" => {
            let shares: Vec<String> =
                line.weights.iter().map(|w| format!("{} {}", w.region, percent(w.share_bps))).collect();
            let shed = if line.shed_bps > 0 { format!(" · {} shed", percent(line.shed_bps)) } else { String::new() };
            shares.join(" · ") + &shed
        }
        "wrong-jurisdiction" => "451: not from here".to_owned(),
        _ => "503: no place".to_owned(),
    }
}

fn print(planned: &WhatIf, steady: &str) {
    let rows = planned.before.iter().enumerate().map(|(i, before)| {
        let then = match planned.after.get(i) {
            None => "no plan: stays".to_owned(),
            Some(after) if before == after => "as before".to_owned(),
            Some(after) => text(after),
        };
        vec![before.class.clone(), before.group.clone(), text(before), then]
    });
    let header =
        if planned.lost.is_empty() { "THEN".to_owned() } else { format!("WITHOUT {}", planned.lost.join(", ")) };
    out!("{}", table(&["CLASS", "CLIENTS", steady, &header], rows.collect()));
    for gap in &planned.gaps {
        out!("{} {gap}", state("warning"));
    }
    if planned.gaps.is_empty() {
        out!("{} everything is served within every limit", state("ok"));
    }
}
