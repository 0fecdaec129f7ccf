//! What `tidegate check` prints, each check graded, with the mend beside it.
//!
//! Owns the grades and their words; refuses to look anything up: what is judged stands in the status and in [`Seen`].

use crate::{CheckLine, Checks, Status, Unwell};

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
    checks.extend(findings(&status.unwell));
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

/// What was found besides Down: by what an entry of the status begins with, its mend.
const FINDINGS: [(&str, &str, &str); 4] = [
    ("every place is reached from everywhere", "path ", "`tidegate verdicts` shows from where it is not"),
    (
        "the providers' APIs answer",
        "api ",
        "`tidegate provider api NAME --well --reason \"...\"` where you know better",
    ),
    ("the gossip is whole", "gossip ", "`tidegate members` shows who is lost; open the gossip's port between them"),
    (
        "no problem follows the traffic",
        "service ",
        "look at what all places share: releases, databases, one kind of request",
    ),
];

/// What was found besides Down, and gray places.
fn findings(unwell: &[Unwell]) -> Vec<CheckLine> {
    let degraded = unwell.iter().filter(|u| u.health == "degraded").count();
    let gray = line(
        "no place is gray",
        graded(degraded > 0, "warning"),
        format!("{degraded} degraded"),
        "`tidegate verdicts` shows who finds it so; it is left in steps",
    );
    let one = |(name, prefix, mend): (&str, &str, &str)| {
        let mut found = unwell.iter().filter(|u| u.what.starts_with(prefix));
        match found.next() {
            None => line(name, "ok", "yes".to_owned(), mend),
            Some(u) => line(name, "warning", format!("{}: {}", u.what, u.evidence), mend),
        }
    };
    std::iter::once(gray).chain(FINDINGS.map(one)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_besides_down_has_its_line_and_its_mend() {
        assert!(findings(&[]).iter().all(|c| c.grade == "ok" && c.mend.is_empty()));
        for (name, prefix, mend) in FINDINGS {
            let unwell = Unwell {
                what: format!("{prefix}x"),
                health: "down".to_owned(),
                for_ms: 1,
                evidence: "seen so".to_owned(),
            };
            let lines = findings(&[unwell]);
            let bad: Vec<&CheckLine> = lines.iter().filter(|c| c.grade != "ok").collect();
            assert_eq!(bad.len(), 1, "{name}");
            assert_eq!((bad[0].name.as_str(), bad[0].mend.as_str()), (name, mend));
            assert_eq!(bad[0].found, format!("{prefix}x: seen so"));
        }
    }
}
