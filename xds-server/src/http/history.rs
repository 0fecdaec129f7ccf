//! What was: events, audit, decisions and their replay, from the journal.

use super::auth::Caller;
use super::{Answered, Refused};
use crate::app::App;
use crate::tokens::{PARTS, hex};
use crate::{clock, persist};
use anyhow::Result;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::Arc;
use tidegate_api as api;
use tidegate_api::words;
use tidegate_api::{ApiError, Code, EventLine};
use tidegate_controller::{keys, told_again};
use tidegate_record::{
    Decision, Entry, EntryBody, Link, MoveSummary, decode_entry, encode_cycle_output, read_input, verify_chain_from,
};
use tidegate_store::Store;
use tokio_stream::wrappers::BroadcastStream;
use utoipa::ToSchema;

/// Events read back from the journal at start.
const PRELOAD: u64 = 1_000;
/// Decisions of one page.
const LISTED: usize = 500;

/// What a query of events may ask.
#[derive(Debug, Deserialize)]
pub(super) struct EventQuery {
    #[serde(default = "fifty")]
    last: usize,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    from: u64,
}
fn fifty() -> usize {
    50
}

#[utoipa::path(get, path = "/v1/events", params(("last" = Option<usize>, Query), ("follow" = Option<bool>, Query), ("from" = Option<u64>, Query)), responses((status = 200, body = EventLine, content_type = "application/x-ndjson")))]
pub(super) async fn events(_: Caller, State(app): State<Arc<App>>, Query(query): Query<EventQuery>) -> Response {
    let (kept, follow) = app.events.last(query.last);
    let line = |event: &EventLine| {
        let mut text = serde_json::to_string(event).unwrap_or_default();
        text.push('\n');
        Bytes::from(text)
    };
    let from = query.from;
    let first: Vec<Result<Bytes, Infallible>> =
        kept.iter().filter(|e| e.sequence > from).map(|e| Ok(line(e))).collect();
    let first = futures::stream::iter(first);
    let body = if query.follow {
        // A follower too far behind is cut off: it comes again with `from`.
        let coming = BroadcastStream::new(follow).take_while(|e| std::future::ready(e.is_ok()));
        let coming = coming.filter_map(move |e| std::future::ready(e.ok().map(|e| Ok::<_, Infallible>(line(&e)))));
        Body::from_stream(first.chain(coming))
    } else {
        Body::from_stream(first)
    };
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

fn internal(error: impl std::fmt::Display) -> Refused {
    Refused::from(ApiError::new(Code::StoreUnavailable, error.to_string(), "look at the server's log").retryable())
}

/// Reads on a thread that may block.
async fn read<T: Send + 'static>(
    app: &Arc<App>,
    f: impl FnOnce(&dyn Store) -> Result<T> + Send + 'static,
) -> Result<T, Refused> {
    let store = Arc::clone(&app.store);
    tokio::task::spawn_blocking(move || f(&*store)).await.map_err(internal)?.map_err(|e| internal(format!("{e:#}")))
}

fn entries(store: &dyn Store) -> Result<Vec<Entry>> {
    let (_, rows) = store.range(keys::JOURNAL)?;
    rows.iter().map(|(_, row)| Ok(decode_entry(&row.value)?)).collect()
}

/// As followers were told, under the same words.
fn event_line(entry: &Entry) -> EventLine {
    crate::events::line(told_again(entry))
}

/// Fills the memory of events from the end of the journal; a long journal costs no more than a short one.
pub(crate) fn preload(app: &App) -> Result<()> {
    let (end, _) = persist::end(&*app.store)?;
    for sequence in end.sequence.saturating_sub(PRELOAD) + 1..=end.sequence {
        if let Some(row) = app.store.get(&keys::journal(sequence))? {
            app.events.keep(event_line(&decode_entry(&row.value)?));
        }
    }
    Ok(())
}

#[utoipa::path(get, path = "/v1/audit", responses((status = 200, body = api::Audit)))]
pub(super) async fn audit(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Audit> {
    let (all, end) = read(&app, |store| Ok((entries(store)?, persist::end(store)?.0))).await?;
    let fault = match verify_chain_from(Link::default(), &all) {
        Err(broken) => Some(broken.to_string()),
        // Entries may have come between the two reads, so that the end may be ahead of what was read, never behind.
        Ok(last) if last.sequence == end.sequence && last.hash != end.hash => {
            Some("the last entry was changed".to_owned())
        }
        Ok(last) if last.sequence < end.sequence && all.len() as u64 == last.sequence => {
            let after = entries_after(&app, last).await?;
            after.then_some(format!("entries after {} are missing", last.sequence))
        }
        Ok(_) => None,
    };
    let person = |e: &&Entry| matches!(&e.body, EntryBody::Event(event) if !PARTS.contains(&event.subject.0.as_str()));
    Ok(Json(api::Audit {
        api_version: api::VERSION.to_owned(),
        chain_intact: fault.is_none(),
        chain_fault: fault,
        entries_checked: all.len() as u64,
        acts: all.iter().filter(person).map(event_line).collect(),
    }))
}

/// Whether the entry after `last` is missing though the end says that it was written.
async fn entries_after(app: &Arc<App>, last: Link) -> Result<bool, Refused> {
    read(app, move |store| Ok(store.get(&keys::journal(last.sequence + 1))?.is_none())).await
}

fn decision_at(store: &dyn Store, id: u64) -> Result<Option<Decision>> {
    let Some(row) = store.get(&keys::decision(id))? else { return Ok(None) };
    let bytes: [u8; 8] = row.value.try_into().map_err(|_| anyhow::anyhow!("the index of decision {id} is damaged"))?;
    let Some(row) = store.get(&keys::journal(u64::from_be_bytes(bytes)))? else { return Ok(None) };
    match decode_entry(&row.value)?.body {
        EntryBody::Decision(decision) => Ok(Some(decision)),
        EntryBody::Event(_) => Ok(None),
    }
}

fn none_such(id: u64) -> Refused {
    Refused::from(ApiError::new(
        Code::NotFound,
        format!("there is no decision {id}"),
        "`tidegate decisions` lists them",
    ))
}

/// `GET /v1/decisions`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decisions {
    api_version: String,
    decisions: Vec<api::DecisionDetail>,
}

fn move_sentence(m: &MoveSummary) -> String {
    let MoveSummary { class, group, kind, share, why } = m;
    format!("{}: {share} of {class} at {group} moves: {why}", kind.word())
}

fn head(decision: &Decision) -> api::DecisionDetail {
    api::DecisionDetail {
        api_version: api::VERSION.to_owned(),
        line: api::DecisionLine {
            id: decision.id,
            at_ms: decision.at.0,
            generation: decision.generation,
            summary: decision.summary.clone(),
        },
        moves: decision.moves.iter().map(move_sentence).collect(),
        term: decision.term,
        fleet: hex(&decision.fleet.0),
        policy: hex(&decision.policy),
        kernel: decision.kernel_version.clone(),
        input: decision.input.to_string(),
        output: hex(&decision.output_hash),
        verdicts: Vec::new(),
        places: Vec::new(),
        acked_after_ms: None,
        same_kernel: true,
    }
}

/// Which page: the newest, or in order after an id.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    after: Option<u64>,
}

#[utoipa::path(get, path = "/v1/decisions", params(("after" = Option<u64>, Query)), responses((status = 200, body = Decisions)))]
pub(super) async fn decisions(_: Caller, State(app): State<Arc<App>>, Query(page): Query<Page>) -> Answered<Decisions> {
    let found = read(&app, move |store| {
        let (_, rows) = store.range(keys::DECISION)?;
        let ids: Vec<u64> = rows
            .iter()
            .filter_map(|(key, _)| u64::from_str_radix(key.strip_prefix(keys::DECISION)?, 16).ok())
            .collect();
        let from = page.after.map_or(ids.len().saturating_sub(LISTED), |after| ids.partition_point(|id| *id <= after));
        let mut list = Vec::new();
        for id in ids.into_iter().skip(from).take(LISTED) {
            list.extend(decision_at(store, id)?.as_ref().map(head));
        }
        Ok(list)
    })
    .await?;
    Ok(Json(Decisions { api_version: api::VERSION.to_owned(), decisions: found }))
}

#[utoipa::path(get, path = "/v1/decisions/{id}", params(("id" = u64, Path)), responses((status = 200, body = api::DecisionDetail)))]
pub(super) async fn decision(
    _: Caller,
    State(app): State<Arc<App>>,
    Path(id): Path<u64>,
) -> Answered<api::DecisionDetail> {
    let (decision, input) = read(&app, move |store| {
        let Some(decision) = decision_at(store, id)? else { return Ok(None) };
        let input = read_input(decision.input, |hash| store.get_blob(hash).ok().flatten())?;
        Ok(Some((decision, input)))
    })
    .await?
    .ok_or_else(|| none_such(id))?;
    let output = tidegate_kernel::cycle(&input);
    let mut detail = head(&decision);
    detail.same_kernel = tidegate_record::output_hash(&output) == decision.output_hash;
    detail.places = words::places(&input.fleet, &output.report, |_, _| true, tidegate_kernel::why::sentence);
    detail.verdicts = output.verdicts.iter().map(|v| words::verdict(&input.fleet, v, input.now)).collect();
    let model = app.model()?;
    let last = model.decision.as_ref().filter(|l| l.id == id);
    detail.acked_after_ms = last.and_then(|l| Some(l.acked?.since(l.mono?).0));
    Ok(Json(detail))
}

#[utoipa::path(post, path = "/v1/decisions/{id}/replay", params(("id" = u64, Path)), responses((status = 200, body = api::Replay)))]
pub(super) async fn replay(_: Caller, State(app): State<Arc<App>>, Path(id): Path<u64>) -> Answered<api::Replay> {
    let started = clock::mono();
    let outcome = read(&app, move |store| {
        let Some(decision) = decision_at(store, id)? else { return Ok(None) };
        let get = |hash| store.get_blob(hash).ok().flatten();
        Ok(Some(tidegate_record::replay(&decision, get, tidegate_kernel::VERSION, tidegate_kernel::cycle)?))
    })
    .await?
    .ok_or_else(|| none_such(id))?;
    tracing::info!(decision = id, same = outcome.same, took = %clock::mono().since(started), "replayed");
    Ok(Json(api::Replay {
        api_version: api::VERSION.to_owned(),
        id,
        same: outcome.same,
        other_kernel: outcome.other_kernel,
        expected: hex(&outcome.expected_hash),
        got: hex(&outcome.got_hash),
        bytes: encode_cycle_output(&outcome.output).len() as u64,
    }))
}
