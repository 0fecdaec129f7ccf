//! What was: events, audit, decisions, replay.

use crate::args::Output;
use crate::client::Client;
use crate::explain::decision_id;
use crate::failure::{After, Failure};
use crate::show;
use crate::ui::out;
use crate::ui::{state, table, when};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::time::Duration;
use tidegate_api::{Audit, DecisionDetail, EventLine, Replay};

fn line(e: &EventLine) -> String {
    let decision = e.decision.map_or(String::new(), |d| format!(" [decision {d}]"));
    let by = e.by.as_ref().map_or(String::new(), |b| format!(" ({b})"));
    format!("{} {:<10} {}{by}{decision}", when(e.at_ms), e.kind, e.text)
}

/// One line of `-o json`.
#[derive(Debug, Serialize)]
struct VersionedEvent<'a> {
    api_version: &'static str,
    #[serde(flatten)]
    event: &'a EventLine,
}

/// Between two attempts to take up a stream that broke off.
const AGAIN: Duration = Duration::from_secs(1);
/// Whatever the server keeps after the last event seen.
const ALL: usize = 1_000_000;

pub(crate) async fn events(
    client: &Client,
    out: Output,
    follow: bool,
    last: usize,
    denied: bool,
) -> Result<u8, Failure> {
    let seen = Cell::new(0_u64);
    let print = |event: EventLine| {
        seen.set(seen.get().max(event.sequence));
        if denied && !matches!(event.kind.as_str(), "refused" | "nacked") {
            return;
        }
        match out {
            Output::Json => {
                let line = VersionedEvent { api_version: tidegate_api::VERSION, event: &event };
                out!("{}", serde_json::to_string(&line).unwrap_or_default());
            }
            Output::Table => out!("{}", line(&event)),
        }
    };
    let first = format!("/v1/events?last={last}&follow={follow}");
    if !follow {
        client.events(&first, print).await?;
        return Ok(0);
    }
    tokio::select! {
        ended = follow_on(client, first, &seen, print) => ended.map(|()| 0),
        _ = tokio::signal::ctrl_c() => Ok(0),
    }
}

/// Follows for ever: a stream that breaks off is taken up behind the last event seen. Only what asking again cannot
/// mend, and a server that was never there, end it.
async fn follow_on(
    client: &Client,
    mut path: String,
    seen: &Cell<u64>,
    print: impl Fn(EventLine),
) -> Result<(), Failure> {
    let (mut ever, mut told) = (false, false);
    loop {
        let before = seen.get();
        let outcome = client.events(&path, &print).await;
        let came = seen.get() > before || outcome.is_ok();
        ever |= came;
        match outcome {
            Err(failure) if !ever || failure.after != After::Again => return Err(failure),
            // Once for an outage, not once a second.
            _ if told && !came => {}
            _ => eprintln!("tidegate: the stream was cut off after event {}: taking it up from there", seen.get()),
        }
        told = true;
        path = format!("/v1/events?last={ALL}&follow=true&from={}", seen.get());
        tokio::time::sleep(AGAIN).await;
    }
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

/// `replay`, for programs.
#[derive(Debug, Serialize)]
struct Replayed {
    api_version: &'static str,
    replays: Vec<Replay>,
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
        vec![decision_id(id)?]
    };
    let mut replays = Vec::new();
    for id in ids {
        replays.push(client.post::<_, Replay>(&format!("/v1/decisions/{id}/replay"), &serde_json::json!({})).await?);
    }
    let replayed = Replayed { api_version: tidegate_api::VERSION, replays };
    show(out, &replayed, |replayed| {
        for r in &replayed.replays {
            // Another kernel may rightly decide otherwise: that says nothing of the record.
            let (word, what) = match (r.same, &r.other_kernel) {
                (true, _) => (state("ok"), "gives the same".to_owned()),
                (false, Some(of)) => {
                    (state("warning"), format!("was made by another kernel ({of}); this one gives other"))
                }
                (false, None) => (state("failed"), "gives OTHER bytes than the recorded".to_owned()),
            };
            out!("{word} decision {} {what} {} bytes ({})", r.id, r.bytes, r.got.get(..12).unwrap_or(&r.got));
        }
    })?;
    Ok(u8::from(replayed.replays.iter().any(|r| !r.same)))
}
