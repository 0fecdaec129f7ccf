//! What was: events, audit, decisions, replay.

use crate::args::Output;
use crate::client::Client;
use crate::failure::Failure;
use crate::show;
use crate::ui::out;
use crate::ui::{state, table, when};
use serde::{Deserialize, Serialize};
use tidegate_api::{Audit, DecisionDetail, EventLine, Replay};

fn line(e: &EventLine) -> String {
    let decision = e.decision.map_or(String::new(), |d| format!(" [decision {d}]"));
    let by = e.by.as_ref().map_or(String::new(), |b| format!(" ({b})"));
    format!("{} {:<10} {}{by}{decision}", when(e.at_ms), e.kind, e.text)
}

pub(crate) async fn events(client: &Client, out: Output, follow: bool, last: usize) -> Result<u8, Failure> {
    let print = |event: EventLine| match out {
        Output::Json => out!("{}", serde_json::to_string(&event).unwrap_or_default()),
        Output::Table => out!("{}", line(&event)),
    };
    let path = format!("/v1/events?last={last}&follow={follow}");
    tokio::select! {
        done = client.events(&path, print) => done?,
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(0)
}

pub(crate) async fn audit(client: &Client, out: Output) -> Result<u8, Failure> {
    let audit: Audit = client.get("/v1/audit").await?;
    show(out, &audit, |a| {
        for act in &a.acts {
            out!("{}", line(act));
        }
        match &a.chain_fault {
            None => eprintln!("{} the journal's hash chain holds over {} entries", state("ok"), a.entries_checked),
            Some(fault) => eprintln!("{} the journal's hash chain is broken: {fault}", state("failed")),
        }
    })?;
    Ok(u8::from(!audit.chain_intact))
}

/// `GET /v1/decisions`.
#[derive(Debug, Serialize, Deserialize)]
struct Decisions {
    api_version: String,
    decisions: Vec<DecisionDetail>,
}

pub(crate) async fn decisions(client: &Client, out: Output) -> Result<u8, Failure> {
    let decisions: Decisions = client.get("/v1/decisions").await?;
    show(out, &decisions, |d| {
        let rows = d.decisions.iter().map(|d| {
            vec![
                format!("#{}", d.line.id),
                when(d.line.at_ms),
                format!("@{}", d.line.generation),
                d.line.summary.clone(),
            ]
        });
        out!("{}", table(&["DECISION", "AT", "GENERATION", "WHAT"], rows.collect()));
    })?;
    Ok(0)
}

pub(crate) async fn replay(client: &Client, out: Output, id: &str) -> Result<u8, Failure> {
    let ids: Vec<u64> = if id == "all" {
        let mut ids = Vec::new();
        loop {
            let after = ids.last().copied().unwrap_or(0);
            let page: Decisions = client.get(&format!("/v1/decisions?after={after}")).await?;
            if page.decisions.is_empty() {
                break ids;
            }
            ids.extend(page.decisions.iter().map(|d| d.line.id));
        }
    } else {
        let one = id.trim_start_matches('#').parse();
        vec![one.map_err(|_| {
            Failure::usage(format!("`{id}` is no decision"), "`tidegate decisions` lists them; or write `all`")
        })?]
    };
    let mut replays = Vec::new();
    for id in ids {
        replays.push(client.post::<_, Replay>(&format!("/v1/decisions/{id}/replay"), &serde_json::json!({})).await?);
    }
    show(out, &replays, |replays| {
        for r in replays {
            let word = if r.same { state("ok") } else { state("failed") };
            let what = if r.same { "gives the same" } else { "gives OTHER bytes than the recorded" };
            out!("{word} decision {} {what} {} bytes ({})", r.id, r.bytes, r.got.get(..12).unwrap_or(&r.got));
        }
    })?;
    Ok(u8::from(replays.iter().any(|r| !r.same)))
}
