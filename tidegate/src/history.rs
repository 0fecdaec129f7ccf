//! What was: events, audit, decisions, replay.

use crate::args::Output;
use crate::client::Client;
use crate::explain::decision_id;
use crate::failure::{After, Failure};
use crate::show;
use crate::ui::out;
use crate::ui::{state, table, when};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
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

pub(crate) async fn events(
    client: &Client,
    out: Output,
    follow: bool,
    last: usize,
    denied: bool,
) -> Result<u8, Failure> {
    let seen = Cell::new(0_u64);
    let wanted = |event: &EventLine| {
        seen.set(seen.get().max(event.sequence));
        !denied || matches!(event.kind.as_str(), "refused" | "nacked")
    };
    let show = |event: &EventLine| match out {
        Output::Json => {
            let line = VersionedEvent { api_version: tidegate_api::VERSION, event };
            out!("{}", serde_json::to_string(&line).unwrap_or_default());
        }
        Output::Table => out!("{}", line(event)),
    };
    let mut first = format!("/v1/events?last={last}&follow={follow}");
    if denied {
        // Refusals are few among events: the newest of them may stand far back in the journal.
        let newest = RefCell::new(VecDeque::new());
        let keep = |event: EventLine| {
            if wanted(&event) {
                let mut newest = newest.borrow_mut();
                newest.push_back(event);
                let more = newest.len().saturating_sub(last);
                newest.drain(..more);
            }
        };
        client.events("/v1/events?from=0&denied=true", keep).await?;
        newest.into_inner().iter().for_each(show);
        first = format!("/v1/events?follow=true&from={}&denied=true", seen.get());
    }
    let print = |event: EventLine| {
        if wanted(&event) {
            show(&event);
        }
    };
    if !follow {
        if !denied {
            client.events(&first, print).await?;
        }
        return Ok(0);
    }
    tokio::select! {
        ended = follow_on(client, first, denied, &seen, print) => ended.map(|()| 0),
        _ = tokio::signal::ctrl_c() => Ok(0),
    }
}

/// Follows for ever: a stream that breaks off is taken up behind the last event seen. Only what asking again cannot
/// mend, and a server that was never there, end it.
async fn follow_on(
    client: &Client,
    mut path: String,
    denied: bool,
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
        // All that came meanwhile, out of the journal; who has seen nothing yet begins as before.
        if seen.get() > 0 {
            path = format!("/v1/events?follow=true&from={}&denied={denied}", seen.get());
        }
        tokio::time::sleep(AGAIN).await;
    }
}

pub(crate) async fn audit(client: &Client, out: Output) -> Result<u8, Failure> {
    let mut audit: Audit = client.get("/v1/audit").await?;
    while let Some(after) = audit.next {
        let page: Audit = client.get(&format!("/v1/audit?after={after}")).await?;
        let Audit { api_version: _, chain_intact, chain_fault, entries_checked, acts, next } = page;
        audit.chain_intact &= chain_intact;
        audit.chain_fault = audit.chain_fault.or(chain_fault);
        audit.entries_checked += entries_checked;
        audit.acts.extend(acts);
        // A page that leads nowhere new must not be asked for ever again.
        audit.next = next.filter(|n| *n > after);
    }
    show(out, &audit, |a| {
        for act in &a.acts {
            out!("{}", line(act));
        }
        match &a.chain_fault {
            None => eprintln!("{} the journal's hash chain holds over {} entries", state("ok"), a.entries_checked),
            Some(fault) => eprintln!("{} TG-3004: the journal's hash chain is broken: {fault}", state("failed")),
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

/// Every decision on record, page by page.
async fn every_decision(client: &Client) -> Result<Vec<DecisionDetail>, Failure> {
    let mut all: Vec<DecisionDetail> = Vec::new();
    loop {
        let after = all.last().map_or(0, |d| d.line.id);
        let page: Decisions = client.get(&format!("/v1/decisions?after={after}")).await?;
        let before = all.len();
        all.extend(page.decisions.into_iter().filter(|d| d.line.id > after));
        if all.len() == before {
            return Ok(all);
        }
    }
}

pub(crate) async fn decisions(client: &Client, out: Output) -> Result<u8, Failure> {
    let all = every_decision(client).await?;
    let decisions = Decisions { api_version: tidegate_api::VERSION.to_owned(), decisions: all };
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
        every_decision(client).await?.iter().map(|d| d.line.id).collect()
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
                (false, None) => (state("failed"), "TG-3003: gives OTHER bytes than the recorded".to_owned()),
            };
            out!("{word} decision {} {what} {} bytes ({})", r.id, r.bytes, r.got.get(..12).unwrap_or(&r.got));
        }
    })?;
    Ok(u8::from(replayed.replays.iter().any(|r| !r.same)))
}
