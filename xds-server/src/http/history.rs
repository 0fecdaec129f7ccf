//! What was: events, audit, decisions and their replay, from the journal.

use super::auth::Caller;
use super::extract::{Asked, Named};
use super::{Answered, Refused};
use crate::app::App;
use crate::clock;
use anyhow::Result;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::future::ready;
use std::sync::Arc;
use tidegate_api as api;
use tidegate_api::tokens::{PARTS, hex};
use tidegate_api::words;
use tidegate_api::{ApiError, Code, EventLine};
use tidegate_controller::{history, told_again};
use tidegate_record::{Decision, Entry, EntryBody, MoveSummary, encode_cycle_output, read_input};
use tidegate_store::Store;
use tokio_stream::wrappers::BroadcastStream;
use utoipa::{IntoParams, ToSchema};

/// Events read back from the journal at start.
const PRELOAD: u64 = 1_000;
/// Decisions of one page where no limit is named.
const LISTED: usize = 500;
/// Entries of one page of the audit where no limit is named.
const AUDITED: usize = 1_000;

/// What a query of events may ask.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// The newest so many; without `from`.
    #[serde(default = "fifty")]
    last: u64,
    /// Stay, and send what comes.
    #[serde(default)]
    follow: bool,
    /// All after this sequence, out of the journal.
    from: Option<u64>,
    /// At most so many out of the journal and the memory; then comes what is new, or the end.
    limit: Option<u64>,
    /// Only what was refused: to a person by a rule or a role, or by an edge.
    #[serde(default)]
    denied: bool,
}
fn fifty() -> u64 {
    50
}

impl EventQuery {
    fn wants(self, event: &EventLine) -> bool {
        !self.denied || matches!(event.kind.as_str(), "refused" | "nacked")
    }
}

fn bytes(event: &EventLine) -> Bytes {
    let mut text = serde_json::to_string(event).unwrap_or_default();
    text.push('\n');
    Bytes::from(text)
}

#[utoipa::path(get, path = "/v1/events", params(EventQuery), responses((status = 200, body = EventLine, content_type = "application/x-ndjson")))]
pub(super) async fn events(
    _: Caller,
    State(app): State<Arc<App>>,
    Asked(query): Asked<EventQuery>,
) -> Result<Response, Refused> {
    // Followed from here on, so that nothing falls between the past and what comes.
    let (kept, follow) = app.events.all();
    let end = read(&app, |store| Ok(history::end(store)?.sequence)).await;
    let first_kept = kept.iter().map(|e| e.sequence).find(|s| *s > 0).unwrap_or(u64::MAX);
    let newest = kept.iter().map(|e| e.sequence).chain(end.iter().copied()).max().unwrap_or(0);
    let from = match (query.from, &end) {
        (Some(from), _) => from,
        (None, Ok(_)) => newest.saturating_sub(query.last),
        // Who only asks for the newest is told what memory holds, though the store is away.
        (None, Err(_)) => newest.saturating_sub(query.last).max(first_kept - 1),
    };
    // What memory holds is told from memory: with the clock of then. The journal holds what was before.
    let until = if from.saturating_add(1) < first_kept { end?.min(first_kept - 1) } else { 0 };
    let kept: Vec<EventLine> = kept.into_iter().filter(|e| e.sequence > from).collect();
    let past = past(app, from, until).chain(stream::iter(kept).map(Ok));
    let past = past.try_filter(move |e| ready(query.wants(e)));
    let past = past.take(query.limit.map_or(usize::MAX, |l| usize::try_from(l).unwrap_or(usize::MAX)));
    let body = if query.follow {
        // A follower too far behind is cut off: it comes again with `from`.
        let coming = BroadcastStream::new(follow).take_while(|e| ready(e.is_ok()));
        let coming = coming.filter_map(|e| ready(e.ok())).filter(move |e| ready(query.wants(e)));
        Body::from_stream(past.chain(coming.map(Ok)).map_ok(|e| bytes(&e)))
    } else {
        Body::from_stream(past.map_ok(|e| bytes(&e)))
    };
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// The journal's entries after `from` and up to `until`, read as they are sent. One that cannot be read breaks the
/// stream off: a hole must not look like an end.
fn past(app: Arc<App>, from: u64, until: u64) -> impl Stream<Item = Result<EventLine, std::io::Error>> {
    let slices = stream::try_unfold((app, from), move |(app, from)| async move {
        if from >= until {
            return Ok::<_, std::io::Error>(None);
        }
        let slice = read(&app, move |store| Ok(history::entries(store, from, until, history::SLICE_MAX)?)).await;
        let slice = slice.map_err(|refused| std::io::Error::other(refused.0.message))?;
        let Some(last) = slice.last().map(|e| e.sequence) else { return Ok(None) };
        Ok(Some((stream::iter(slice).map(|e| Ok(event_line(&e))), (app, last))))
    });
    slices.try_flatten()
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

/// As followers were told, under the same words.
fn event_line(entry: &Entry) -> EventLine {
    crate::events::line(told_again(entry))
}

/// Fills the memory of events from the end of the journal; a long journal costs no more than a short one.
pub(crate) fn preload(app: &App) -> Result<()> {
    let end = history::end(&*app.store)?.sequence;
    for entry in history::entries(&*app.store, end.saturating_sub(PRELOAD), end, history::SLICE_MAX)? {
        app.events.keep(event_line(&entry));
    }
    Ok(())
}

/// Which page.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// What comes after this number; without it, decisions: the newest.
    after: Option<u64>,
    /// At most so many; 1,000 at most.
    limit: Option<usize>,
}

#[utoipa::path(get, path = "/v1/audit", params(Page), responses((status = 200, body = api::Audit)))]
pub(super) async fn audit(_: Caller, State(app): State<Arc<App>>, Asked(page): Asked<Page>) -> Answered<api::Audit> {
    let (after, limit) = (page.after.unwrap_or(0), page.limit.unwrap_or(AUDITED));
    let slice = read(&app, move |store| Ok(history::checked(store, after, limit)?)).await?;
    let person = |e: &&Entry| matches!(&e.body, EntryBody::Event(event) if !PARTS.contains(&event.subject.0.as_str()));
    Ok(Json(api::Audit {
        api_version: api::VERSION.to_owned(),
        chain_intact: slice.fault.is_none(),
        chain_fault: slice.fault,
        entries_checked: slice.entries.len() as u64,
        acts: slice.entries.iter().filter(person).map(event_line).collect(),
        next: slice.next,
    }))
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

#[utoipa::path(get, path = "/v1/decisions", params(Page), responses((status = 200, body = Decisions)))]
pub(super) async fn decisions(_: Caller, State(app): State<Arc<App>>, Asked(page): Asked<Page>) -> Answered<Decisions> {
    let newest = app.model()?.decision.as_ref().map_or(0, |d| d.id);
    let limit = page.limit.unwrap_or(LISTED);
    let found = read(&app, move |store| Ok(history::decisions(store, page.after, newest, limit)?)).await?;
    let decisions = found.iter().map(head).collect();
    Ok(Json(Decisions { api_version: api::VERSION.to_owned(), decisions }))
}

#[utoipa::path(get, path = "/v1/decisions/{id}", params(("id" = u64, Path)), responses((status = 200, body = api::DecisionDetail)))]
pub(super) async fn decision(
    _: Caller,
    State(app): State<Arc<App>>,
    Named(id): Named<u64>,
) -> Answered<api::DecisionDetail> {
    let (decision, input) = read(&app, move |store| {
        let Some(decision) = history::decision(store, id)? else { return Ok(None) };
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
pub(super) async fn replay(_: Caller, State(app): State<Arc<App>>, Named(id): Named<u64>) -> Answered<api::Replay> {
    let started = clock::mono();
    let outcome = read(&app, move |store| {
        let Some(decision) = history::decision(store, id)? else { return Ok(None) };
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
