//! What `tidegate check` prints, each check graded, with the mend beside it.
//!
//! Owns the grades and their words; refuses to look anything up: what is judged stands in the status and in [`Seen`].

use crate::{CheckLine, Checks, Status};

/// What is judged and stands in no status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// A plan is committed.
    pub planned: bool,
    /// Connected edges that refuse a resource.
    pub edges_refusing: usize,
    /// Regions and providers that are down.
    pub places_down: usize,
    /// How the configuration directory differs from what runs.
    pub directory: Option<String>,
}

/// All checks.
#[must_use]
pub fn checks(status: &Status, seen: &Seen) -> Checks {
    let mut checks = edges(status, seen);
    checks.extend(fleet(status, seen));
    Checks { api_version: crate::VERSION.to_owned(), checks }
}

fn line(name: &str, grade: &str, found: String, mend: &str) -> CheckLine {
    CheckLine {
        name: name.to_owned(),
        grade: grade.to_owned(),
        found,
        mend: if grade == "ok" { String::new() } else { mend.to_owned() },
    }
}

fn graded(bad: bool, worst: &'static str) -> &'static str {
    if bad { worst } else { "ok" }
}

/// Who votes, who follows.
fn edges(status: &Status, seen: &Seen) -> Vec<CheckLine> {
    let nacked = seen.edges_refusing;
    let few = status.vantages_eligible * 2 < status.vantages_configured;
    vec![
        line(
            "a plan is committed",
            graded(!seen.planned, "failed"),
            format!("generation {}", status.generation),
            "look at the server's log",
        ),
        line(
            "vantages vote",
            graded(few, "failed"),
            format!("{} of {}", status.vantages_eligible, status.vantages_configured),
            "`tidegate members` says why each does not vote",
        ),
        line(
            "edges are connected",
            graded(status.edges == 0, "warning"),
            status.edges.to_string(),
            "start one; `tidegate bootstrap envoy --node NODE --group GROUP --xds HOST:PORT` writes what an Envoy starts from",
        ),
        line(
            "edges hold the committed plan",
            graded(status.edges_acked < status.edges, "warning"),
            format!("{} of {}", status.edges_acked, status.edges),
            "`tidegate edges` shows who is behind",
        ),
        line(
            "no edge refuses a resource",
            graded(nacked > 0, "failed"),
            format!("{nacked} refuse"),
            "`tidegate edges` shows their words",
        ),
    ]
}

/// What stands, what is at risk.
fn fleet(status: &Status, seen: &Seen) -> Vec<CheckLine> {
    let (down, differs) = (seen.places_down, &seen.directory);
    vec![
        line(
            "nothing is down",
            graded(down > 0, "warning"),
            format!("{down} regions and providers are down"),
            "`tidegate verdicts` shows the evidence",
        ),
        line(
            "every single loss has a plan",
            graded(!status.unprotected.is_empty(), "warning"),
            format!("{} losses have none", status.unprotected.len()),
            "add capacity or a permitted place; `tidegate plan --config DIR --lose PLACE` shows what fails",
        ),
        line(
            "automation acts",
            graded(!status.automation_safety.on, "warning"),
            if status.automation_safety.on { "on" } else { "paused" }.to_owned(),
            "`tidegate automation resume --reason \"...\"`",
        ),
        line(
            "the store keeps writes",
            graded(status.store != "ok", "failed"),
            status.store.clone(),
            "free space; look at the server's log",
        ),
        line(
            "no alarm stands",
            graded(!status.alarms.is_empty(), "failed"),
            status.alarms.first().cloned().unwrap_or_else(|| "none".to_owned()),
            "`tidegate status -o json` lists all",
        ),
        line(
            "the configuration directory is what runs",
            graded(differs.is_some(), "warning"),
            differs.clone().unwrap_or_else(|| "yes".to_owned()),
            "`tidegate config reload --reason \"...\"` takes the directory, or put back what runs",
        ),
    ]
}
