//! `config check`, `reload`, `diff`, `schema`.

use crate::acts::print_done;
use crate::args::{ConfigVerb, Output};
use crate::client::Client;
use crate::failure::{Failure, PENDING};
use crate::show;
use crate::ui::state;
use crate::ui::{out, out_raw};
use serde::Serialize;
use std::path::Path;
use tidegate_api::{Document, Done, ReloadRequest};
use tidegate_config::{Fault, Faults, Loaded, Severity, compare, guard, json_schema, load_dir};
use tidegate_domain::Fleet;
use tidegate_kernel::health::tellable;
use tidegate_kernel::{contingencies, single_losses};
use tidegate_policy::Bundle;

/// A directory that passed every check, or all its faults.
pub(crate) fn load(dir: &Path) -> Result<Loaded, Failure> {
    load_dir(dir).map_err(|faults| faulty(dir, &faults))
}

fn faulty(dir: &Path, faults: &Faults) -> Failure {
    let count = match faults.errors() {
        1 => "1 fault".to_owned(),
        n => format!("{n} faults"),
    };
    Failure::new(
        format!("TG-2003 {count} in {}:\n{faults}", dir.display()),
        "mend and check again; nothing was changed",
    )
}

pub(crate) async fn config(
    client: impl Fn() -> Result<Client, Failure>,
    out: Output,
    verb: &ConfigVerb,
) -> Result<u8, Failure> {
    match verb {
        ConfigVerb::Check { dir } => check(out, dir),
        ConfigVerb::Reload { dir, yes_remove, accept_gap, dry_run, reason } => {
            let documents = dir.as_deref().map(documents).transpose()?.unwrap_or_default();
            let request = ReloadRequest {
                documents,
                yes_remove: *yes_remove,
                accept_gap: *accept_gap,
                dry_run: *dry_run,
                reason: reason.clone(),
            };
            let done: Done = client()?.post("/v1/config/reload", &request).await?;
            show(out, &done, print_done)?;
            // A dry run whose only word is that the revision holds already has nothing ahead.
            let ahead = *dry_run && !done.sentences.iter().any(|s| s.contains("hold already"));
            Ok(if ahead { PENDING } else { 0 })
        }
        ConfigVerb::Diff { old, new } => diff(out, old, new),
        ConfigVerb::Schema => {
            let text =
                serde_json::to_string_pretty(&json_schema()).map_err(|e| Failure::new(format!("no JSON: {e}"), ""))?;
            out!("{text}");
            Ok(0)
        }
    }
}

/// `config diff`, for programs.
#[derive(Debug, Serialize)]
struct Diff {
    api_version: &'static str,
    /// Neither the fleet nor the policy changes.
    same: bool,
    revisions: [String; 2],
    policies: [String; 2],
    widens: Vec<String>,
    narrows: Vec<String>,
    drops: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    changes: Vec<String>,
    /// Why a reload would refuse this without `--yes-remove`.
    refusals: Vec<String>,
}

fn diff(out: Output, old: &Path, new: &Path) -> Result<u8, Failure> {
    let (old, new) = (load(old)?, load(new)?);
    let change = compare(&old.fleet, &new.fleet);
    let policies = [bundle(&old)?, bundle(&new)?].map(|b| hex(&b.hash()));
    let diff = Diff {
        api_version: tidegate_api::VERSION,
        same: change.same && policies[0] == policies[1],
        revisions: [&old, &new].map(|l| l.fleet.revision.to_string()),
        widens: change.widenings.clone(),
        narrows: change.narrowings.clone(),
        drops: change.dropped_classes.clone(),
        removes: [change.removed_endpoints.clone(), change.removed.clone()].concat(),
        adds: [change.added_classes.clone(), change.added_endpoints.clone(), change.added.clone()].concat(),
        changes: change.changes.clone(),
        refusals: guard(&change, false).err().unwrap_or_default().iter().map(ToString::to_string).collect(),
        policies,
    };
    show(out, &diff, |diff| {
        if diff.same || !change.same {
            out_raw!("{change}");
        }
        if diff.policies[0] != diff.policies[1] {
            // What a policy denies is asked at load: its texts are not compared here, `policy check` lists the denials.
            let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
            out!("policy  bundle {} -> {}", short(&diff.policies[0]), short(&diff.policies[1]));
        }
        for fault in &diff.refusals {
            out!("{} a reload refuses this: {fault}", state("warning"));
        }
    })?;
    Ok(if diff.same { 0 } else { PENDING })
}

/// The compiled policy of a directory.
pub(crate) fn bundle(loaded: &Loaded) -> Result<Bundle, Failure> {
    Bundle::compile(loaded.policy.clone())
        .map_err(|e| Failure::new(format!("TG-2004 {e}"), "`tidegate policy check DIR` shows more").with_code(4))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `config check`, for programs.
#[derive(Debug, Default, Serialize)]
struct Checked {
    api_version: &'static str,
    /// Nothing stops a server from taking it.
    ok: bool,
    /// First 12 hex digits; none where it has faults.
    revision: Option<String>,
    regions: usize,
    services: usize,
    classes: usize,
    endpoints: usize,
    vantages: usize,
    /// Faults and warnings of the files.
    faults: Vec<FaultLine>,
    /// Where the policy failed to answer.
    policy_faults: Vec<String>,
    /// Whether each loss could be told.
    losses: Vec<LossLine>,
    /// Losses without a plan that serves everything, in sentences.
    gaps: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FaultLine {
    severity: &'static str,
    file: String,
    line: Option<usize>,
    key: String,
    what: String,
    mend: String,
}

impl From<&Fault> for FaultLine {
    fn from(fault: &Fault) -> Self {
        let Fault { file, line, key, what, mend, severity } = fault.clone();
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        Self { severity, file, line, key, what, mend }
    }
}

#[derive(Debug, Serialize)]
struct LossLine {
    lost: String,
    can_be_told: bool,
    why: String,
}

/// Shape and references by `config`, what can be told by the kernel, the mask by policy, losses by the planner.
fn check(out: Output, dir: &Path) -> Result<u8, Failure> {
    let loaded = match (load_dir(dir), out) {
        (Ok(loaded), _) => loaded,
        (Err(faults), Output::Json) => {
            let faults = faults.faults.iter().map(FaultLine::from).collect();
            let checked = Checked { api_version: tidegate_api::VERSION, faults, ..Checked::default() };
            show(out, &checked, |_| {})?;
            return Ok(1);
        }
        (Err(faults), Output::Table) => return Err(faulty(dir, &faults)),
    };
    let fleet = &loaded.fleet;
    let outcome = bundle(&loaded)?.mask(fleet, None);
    let fault = |f: &tidegate_policy::EvaluationFault| format!("policy for {} to {}: {}", f.class, f.place, f.what);
    let mut gaps = Vec::new();
    for contingency in contingencies(fleet, &outcome.mask, &single_losses(fleet)) {
        let lost: Vec<String> = contingency.lost.iter().map(|a| fleet.accused_name(*a)).collect();
        gaps.extend(contingency.gaps.iter().map(|gap| format!("losing {}: {gap}", lost.join(" and "))));
    }
    let checked = Checked {
        api_version: tidegate_api::VERSION,
        ok: outcome.faults.is_empty(),
        revision: Some(fleet.revision.to_string()),
        regions: fleet.regions.len(),
        services: fleet.services.len(),
        classes: fleet.classes.len(),
        endpoints: fleet.endpoints.len(),
        vantages: fleet.vantages.len(),
        faults: loaded.warnings.iter().map(FaultLine::from).collect(),
        policy_faults: outcome.faults.iter().map(fault).collect(),
        losses: losses(fleet),
        gaps,
    };
    show(out, &checked, |checked| print_checked(checked, &loaded.warnings))?;
    Ok(if checked.ok { 0 } else { 4 })
}

fn losses(fleet: &Fleet) -> Vec<LossLine> {
    let told = tellable(fleet);
    let line = |lost: String, can: bool, why: String| LossLine { lost, can_be_told: can, why };
    let providers =
        told.providers.into_iter().map(|(p, can, why)| line(fleet.providers[p.at()].name.to_string(), can, why));
    let regions = told.regions.into_iter().map(|(r, can, why)| line(fleet.regions[r.at()].name.to_string(), can, why));
    providers.chain(regions).collect()
}

fn print_checked(checked: &Checked, warnings: &[Fault]) {
    for warning in warnings {
        out!("{} {warning}", state("warning"));
    }
    for fault in &checked.policy_faults {
        out!("{} {fault}", state("failed"));
    }
    for LossLine { lost, can_be_told, why } in &checked.losses {
        out!("{} losing {lost}: {why}", state(if *can_be_told { "ok" } else { "warning" }));
    }
    for gap in &checked.gaps {
        out!("{} {gap}", state("warning"));
    }
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    eprintln!(
        "revision {}: {}, {}, {}, {}, {}; {}",
        checked.revision.as_deref().unwrap_or("none"),
        count(checked.regions, "region", "regions"),
        count(checked.services, "service", "services"),
        count(checked.classes, "class", "classes"),
        count(checked.endpoints, "endpoint", "endpoints"),
        count(checked.vantages, "vantage", "vantages"),
        count(checked.gaps.len(), "gap", "gaps")
    );
}

/// Every file of the directory, as the server is to read it.
fn documents(dir: &Path) -> Result<Vec<Document>, Failure> {
    let loaded = load(dir)?;
    let text = |(name, bytes): (String, Vec<u8>)| {
        let text =
            String::from_utf8(bytes).map_err(|_| Failure::new(format!("{name} is not UTF-8"), "save it as UTF-8"))?;
        Ok(Document { name, text })
    };
    loaded.sources.into_iter().map(text).collect()
}
