//! What is: status, verdicts, members, edges, splits, checks.

use crate::args::Output;
use crate::client::Client;
use crate::failure::{After, Failure, TIMED_OUT};
use crate::show;
use crate::ui::out;
use crate::ui::{age, percent, state, table, when};
use std::time::Duration;
use tidegate_api::{Checks, Edges, Members, Splits, Status, SwitchState, VerdictLine, Verdicts};

pub(crate) async fn status(client: &Client, out: Output) -> Result<u8, Failure> {
    let status: Status = client.get("/v1/status").await?;
    show(out, &status, print_status)?;
    Ok(0)
}

fn print_status(s: &Status) {
    out!(
        "{}  fleet {} · policy {} · server {} · term {}",
        state(&s.summary),
        s.fleet,
        s.policy,
        s.server_version,
        s.term
    );
    let down: Vec<String> =
        s.unwell.iter().map(|u| format!("{} {} for {} ({})", u.what, u.health, age(u.for_ms), u.evidence)).collect();
    out!("down         {}", if down.is_empty() { "nothing".to_owned() } else { down.join("; ") });
    match &s.decision {
        Some(d) => out!("decided      #{} at {}: {}", d.id, when(d.at_ms), d.summary),
        None => out!("decided      nothing yet"),
    }
    out!("automation   safety {} · economic {}", switch(&s.automation_safety), switch(&s.automation_economic));
    out!("waits for    {}", listed(&s.waits, "nothing"));
    out!("unprotected  {}", listed(&s.unprotected, "nothing: every single loss has a plan"));
    out!("alarms       {}", listed(&s.alarms, "none"));
    out!("edges        {} of {} hold generation {}", s.edges_acked, s.edges, s.generation);
    out!(
        "probers      {} of {} vote · last cycle {} ago",
        s.vantages_eligible,
        s.vantages_configured,
        age(s.last_cycle_age_ms)
    );
    let drains: Vec<String> =
        s.drains.iter().map(|d| format!("#{} {} by {} ({}), {}", d.id, d.place, d.by, d.reason, d.phase)).collect();
    let plain = if s.insecure_plaintext { " · INSECURE: plain text beyond loopback" } else { "" };
    out!("drains       {} · store {}{plain}", listed(&drains, "none"), s.store);
}

fn listed(items: &[String], none: &str) -> String {
    match items {
        [] => none.to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more: `-o json` lists them)", rest.len()),
    }
}

fn switch(s: &SwitchState) -> String {
    if s.on {
        return state("on");
    }
    let why = s.reason.as_deref().unwrap_or("no reason given");
    let by = s.by.as_deref().unwrap_or("?");
    let until = s.until_ms.map_or(String::new(), |u| format!(" until {}", when(u)));
    format!("{} ({by}: {why}{until})", state("off"))
}

pub(crate) async fn verdicts(client: &Client, out: Output, all: bool) -> Result<u8, Failure> {
    let verdicts: Verdicts = client.get("/v1/verdicts").await?;
    show(out, &verdicts, |v| {
        let shown: Vec<&VerdictLine> =
            v.verdicts.iter().filter(|v| all || v.kind != "endpoint" || v.health != "healthy").collect();
        out!("{}", verdict_table(&shown));
        for f in &v.findings {
            out!("{} {} is {} for {}: {}", f.kind, f.name, f.finding, age(f.for_ms), f.evidence);
        }
        if all {
            for verdict in shown {
                print_votes(verdict);
            }
        }
    })?;
    Ok(0)
}

pub(crate) fn verdict_table(verdicts: &[&VerdictLine]) -> comfy_table::Table {
    let rows = verdicts.iter().map(|v| {
        vec![
            v.kind.clone(),
            v.name.clone(),
            state(&v.health),
            age(v.for_ms),
            format!("{} of {}", v.eligible, v.electorate),
            format!("{} of {} providers", v.agreeing, v.agreeing_providers),
        ]
    });
    table(&["KIND", "NAME", "VERDICT", "FOR", "ELIGIBLE", "AGREEING"], rows.collect())
}

pub(crate) fn print_votes(verdict: &VerdictLine) {
    if verdict.votes.is_empty() {
        return;
    }
    let votes: Vec<String> = verdict
        .votes
        .iter()
        .map(|v| format!("{} ({}) {} {}", v.vantage, v.place, v.vote, v.age_ms.map_or("never".to_owned(), age)))
        .collect();
    out!("votes on {} {}: {}", verdict.kind, verdict.name, votes.join(" · "));
}

pub(crate) async fn members(client: &Client, out: Output) -> Result<u8, Failure> {
    let members: Members = client.get("/v1/members").await?;
    show(out, &members, |m| {
        let rows = m.members.iter().map(|m| {
            vec![
                m.name.clone(),
                m.place.clone(),
                state(&m.gossip),
                if m.eligible { "yes".to_owned() } else { format!("no: {}", m.why_not) },
                m.report_age_ms.map_or("never".to_owned(), age),
                m.references_reached.to_string(),
                m.failing.to_string(),
            ]
        });
        out!("{}", table(&["MEMBER", "PLACE", "GOSSIP", "VOTES", "REPORT", "REFERENCES", "FAILING"], rows.collect()));
    })?;
    Ok(0)
}

pub(crate) async fn edges(client: &Client, out: Output) -> Result<u8, Failure> {
    let edges: Edges = client.get("/v1/edges").await?;
    show(out, &edges, |e| {
        let rows = e.edges.iter().map(|edge| {
            let cell = |kind: &str| {
                edge.types
                    .iter()
                    .find(|t| t.kind == kind)
                    .map_or("-".to_owned(), |t| format!("{} @{}", state(&t.state), t.acked))
            };
            vec![
                edge.node.clone(),
                edge.group.clone(),
                edge.agent.clone(),
                cell("CDS"),
                cell("EDS"),
                cell("LDS"),
                cell("RDS"),
            ]
        });
        out!("{}", table(&["NODE", "GROUP", "AGENT", "CDS", "EDS", "LDS", "RDS"], rows.collect()));
        for (edge, t) in e.edges.iter().flat_map(|edge| edge.types.iter().map(move |t| (edge, t))) {
            if let (Some(generation), Some(words)) = (t.nacked, &t.error) {
                out!("{} refused {} of generation {generation}: {words}", edge.node, t.kind);
            }
        }
        eprintln!("committed generation {}", e.generation);
    })?;
    Ok(0)
}

pub(crate) async fn splits(client: &Client, out: Output) -> Result<u8, Failure> {
    let splits: Splits = client.get("/v1/splits").await?;
    show(out, &splits, |s| {
        let rows = s.splits.iter().map(|s| {
            let weights: Vec<String> =
                s.weights.iter().map(|w| format!("{} {}", w.region, percent(w.share_bps))).collect();
            let how = match s.serving.as_str() {
                "routed" if s.shed_bps > 0 => format!("routed, {} shed", percent(s.shed_bps)),
                "wrong-jurisdiction" => "451: not from here".to_owned(),
                "no-place" => "503: no place".to_owned(),
                other => other.to_owned(),
            };
            vec![s.class.clone(), s.group.clone(), how, weights.join(" · ")]
        });
        out!("{}", table(&["CLASS", "CLIENTS", "SERVED", "SHARES"], rows.collect()));
        eprintln!("generation {}", s.generation);
    })?;
    Ok(0)
}

pub(crate) async fn check(client: &Client, out: Output, wait_ms: Option<u64>) -> Result<u8, Failure> {
    let deadline = wait_ms.map(|ms| tokio::time::Instant::now() + Duration::from_millis(ms));
    loop {
        let answer = client.get::<Checks>("/v1/checks").await;
        let over = deadline.is_none_or(|d| tokio::time::Instant::now() >= d);
        // What asking again cannot mend, a missing token for one, is no reason to wait.
        let (checks, content) = match answer {
            Ok(checks) => {
                let content = checks.checks.iter().all(|c| c.grade != "failed");
                (checks, content)
            }
            Err(failure) if wait_ms.is_some() && failure.after == After::Again => {
                if over {
                    return Err(failure.with_code(TIMED_OUT));
                }
                tokio::time::sleep(CHECK_AGAIN).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if content || over {
            show(out, &checks, print_checks)?;
            return Ok(match (content, wait_ms) {
                (true, _) => 0,
                (false, Some(_)) => TIMED_OUT,
                (false, None) => 1,
            });
        }
        tokio::time::sleep(CHECK_AGAIN).await;
    }
}

/// Between two rounds of `check --wait`.
const CHECK_AGAIN: Duration = Duration::from_millis(250);

fn print_checks(checks: &Checks) {
    let rows = checks.checks.iter().map(|c| {
        let help = if c.grade == "ok" { "" } else { help(&c.name) };
        vec![state(&c.grade), c.name.clone(), c.found.clone(), c.mend.clone(), help.to_owned()]
    });
    out!("{}", table(&["", "CHECK", "FOUND", "MEND", "HELP"], rows.collect()));
}

/// The page to read on. A check of a newer server is met by the page that leads to all others.
fn help(check: &str) -> &'static str {
    match check {
        "a plan is committed" => "docs/runbooks/plan-refused.md",
        "vantages vote" => "docs/runbooks/prober-not-eligible.md",
        "edges are connected" => "docs/envoy.md",
        "edges hold the committed plan" | "no edge refuses a resource" => "docs/runbooks/nack.md",
        "nothing is down" => "docs/runbooks/provider-down.md",
        "no place is gray" => "docs/runbooks/gray.md",
        "every place is reached from everywhere" => "docs/runbooks/path-failure.md",
        "the providers' APIs answer" => "docs/runbooks/api-trouble.md",
        "the gossip is whole" => "docs/runbooks/gossip-cut.md",
        "no problem follows the traffic" => "docs/runbooks/problem-followed.md",
        "automation acts" => "docs/runbooks/automation-off.md",
        "the store keeps writes" => "docs/runbooks/store-full.md",
        "every single loss has a plan" | "the configuration directory is what runs" => "docs/configuration.md",
        _ => "docs/runbooks/README.md",
    }
}
