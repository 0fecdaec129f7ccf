//! The server without its sockets: the loop, a store on disk and the API's handlers, for tests of what these say together.

mod acts;

use crate::admission::Groups;
use crate::app::App;
use crate::flags::Cli;
use crate::metrics::Metrics;
use crate::{clock, http, start};
use anyhow::{Context, Result, ensure};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use clap::Parser;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tempfile::TempDir;
use tidegate_api::tokens::{Role, Tokens, new_token};
use tidegate_api::{ApiError, Audit, Checks, DecisionDetail, EventLine, SplitLine, WhatIf};
use tidegate_controller::{
    Answer, Ask, Controller, Denial, Effect, Input, RampAsk, ReportIn, Ticket, history, keys, persist,
};
use tidegate_domain::{Millis, RttClass, TargetState, VantageSelf};
use tidegate_record::{Decision, Entry, EntryBody, encode_entry};
use tidegate_store::{Op, Store, Txn};
use tidegate_xds::server::{ChannelObserver, Engine, EngineConfig, Limits, TokioClock};
use tokio::sync::mpsc;
use tower::ServiceExt;

/// A policy that allows everything.
const OPEN_POLICY: &str =
    "package tidegate.residency\nimport rego.v1\ndecision := {\"allow\": true, \"reason\": \"\"}\n";

struct Stand {
    _dir: TempDir,
    app: Arc<App>,
    /// What the handlers ask of the loop.
    asked: mpsc::Receiver<Input>,
    token: String,
    controller: Controller,
    answer: Option<Result<Answer, Denial>>,
}

fn app(store: Arc<dyn Store>, lines: &str) -> Result<(Arc<App>, mpsc::Receiver<Input>)> {
    let engine = Engine::new(EngineConfig {
        identifier: "server-1".to_owned(),
        limits: Limits::default(),
        clock: Arc::new(TokioClock::default()),
        admission: Arc::new(Groups::default()),
        observer: ChannelObserver::new(16).0,
    });
    let flags = Cli::parse_from(["xds-server"]).serve;
    let (inputs, asked) = mpsc::channel(16);
    let tokens = Tokens::parse(lines).map_err(anyhow::Error::msg)?;
    Ok((Arc::new(App::new(flags, engine, store, inputs, tokens, Metrics::new()?)), asked))
}

fn example() -> Result<tidegate_config::Loaded> {
    tidegate_config::load_documents(tidegate_config::example_payroll()).map_err(|f| anyhow::anyhow!("{f}"))
}

impl Stand {
    fn new() -> Result<Self> {
        Self::with_tokens("")
    }

    /// Anna's token, and those of these lines.
    fn with_tokens(more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (token, line) = new_token("anna", Role::Operator, None).map_err(anyhow::Error::msg)?;
        let (app, asked) = app(start::open(&dir.path().join("store"))?, &format!("{line}\n{more}"))?;
        let candidate =
            start::candidate(example()?, &app.metrics.widenings_refused).map_err(|f| anyhow::anyhow!("{f:?}"))?;
        let loaded = persist::load(&*app.store, candidate, "0.0.0")?;
        let mut stand = Self { _dir: dir, app, asked, token, controller: Controller::new(), answer: None };
        stand.take(Input::Loaded(Box::new(loaded)))?;
        Ok(stand)
    }

    /// What the loop does, on this thread.
    fn take(&mut self, input: Input) -> Result<()> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = self.controller.handle(input, clock::now());
            effects.extend(self.controller.step(clock::now()));
            for effect in effects {
                match effect {
                    Effect::Persist { number, end_revision, puts, blobs, safety } => {
                        let answer = persist::write(&*self.app.store, end_revision, puts, &blobs, safety);
                        inputs.push(Input::Stored { number, answer });
                    }
                    Effect::Tell(told) => self.app.events.tell(told),
                    Effect::Answer { ticket, answer } => {
                        self.answer = Some(answer.clone());
                        self.app.answer(ticket, answer);
                    }
                    Effect::ReadHead { .. }
                    | Effect::Publish { .. }
                    | Effect::Targets(_)
                    | Effect::Acked { .. }
                    | Effect::Detected { .. } => {}
                    Effect::Stop { why } => anyhow::bail!(why),
                }
            }
        }
        self.app.model.store(self.controller.model().map(Arc::new));
        Ok(())
    }

    fn ask(&mut self, ask: Ask) -> Result<()> {
        let (by, reason) = ("anna".to_owned(), "a test".to_owned());
        self.take(Input::Ask { ticket: Ticket(1), by, reason, ask })?;
        let answer = self.answer.take().context("no answer")?;
        answer.map(|_| ()).map_err(|denial| anyhow::anyhow!("{denial:?}"))
    }

    fn refused(&mut self, asked: String) -> Result<()> {
        self.take(Input::Refused { by: "anna".to_owned(), reason: "a test".to_owned(), asked, why: "no".to_owned() })
    }

    /// A server that has just been started on the same store: it remembers no event.
    fn restarted(&self) -> Result<Self> {
        let (token, line) = new_token("anna", Role::Operator, None).map_err(anyhow::Error::msg)?;
        let (app, asked) = app(Arc::clone(&self.app.store), &line)?;
        app.model.store(self.app.model.load_full());
        Ok(Self { _dir: tempfile::tempdir()?, app, asked, token, controller: Controller::new(), answer: None })
    }

    async fn response(&self, path: &str) -> Result<axum::response::Response> {
        let request = Request::get(path).header("authorization", format!("Bearer {}", self.token));
        Ok(http::router(Arc::clone(&self.app)).oneshot(request.body(Body::empty())?).await?)
    }

    async fn text(&self, path: &str) -> Result<(StatusCode, String)> {
        let response = self.response(path).await?;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let (status, text) = self.text(path).await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn events(&self, query: &str) -> Result<Vec<EventLine>> {
        let (status, text) = self.text(&format!("/v1/events?{query}")).await?;
        ensure!(status.is_success(), "{query}: {status}: {text}");
        text.lines().map(|l| Ok(serde_json::from_str(l)?)).collect()
    }

    fn end(&self) -> Result<u64> {
        Ok(history::end(&*self.app.store)?.sequence)
    }
}

/// Puts decisions up to `newest` on record, each like the first.
fn more_decisions(stand: &Stand, newest: u64) -> Result<()> {
    let store = &*stand.app.store;
    let mut model = (*stand.app.model.load_full().context("a picture")?).clone();
    let first = history::decision(store, 1)?.context("the first decision")?;
    let mut end = history::end(store)?;
    for id in 2..=newest {
        let body = EntryBody::Decision(Decision { id, ..first.clone() });
        let entry = Entry::following(&end, first.at, body);
        end = entry.link();
        store.txn(Txn::of(vec![
            Op::put(keys::journal(entry.sequence), encode_entry(&entry)),
            Op::put(keys::decision(id), entry.sequence.to_be_bytes()),
            Op::put(keys::END, keys::encode_end(&end)),
        ]))?;
    }
    model.decision.as_mut().context("the newest decision")?.id = newest;
    stand.app.model.store(Some(Arc::new(model)));
    Ok(())
}

fn sequences(events: &[EventLine]) -> Vec<u64> {
    events.iter().map(|e| e.sequence).collect()
}

#[tokio::test]
async fn the_audit_comes_in_pages_that_check_the_whole_chain() -> Result<()> {
    let mut stand = Stand::new()?;
    for n in 0..30 {
        stand.refused(format!("thing {n}"))?;
    }
    let walk = async |stand: &Stand| -> Result<(Vec<String>, u64, Vec<String>)> {
        let (mut acts, mut checked, mut faults, mut after) = (Vec::new(), 0, Vec::new(), Some(0));
        while let Some(from) = after {
            let page: Audit = stand.get(&format!("/v1/audit?after={from}&limit=7")).await?;
            ensure!(page.entries_checked <= 7, "{page:?}");
            acts.extend(page.acts.into_iter().map(|a| a.about));
            checked += page.entries_checked;
            faults.extend(page.chain_fault);
            after = page.next;
        }
        Ok((acts, checked, faults))
    };
    let (acts, checked, faults) = walk(&stand).await?;
    assert_eq!(acts, (0..30).map(|n| format!("thing {n}")).collect::<Vec<_>>());
    assert_eq!((checked, faults), (stand.end()?, vec![]));
    let whole: Audit = stand.get("/v1/audit").await?;
    assert_eq!((whole.acts.len(), whole.next), (30, None));
    // One entry is exchanged for another: that breaks the chain on the page that holds it.
    let other = stand.app.store.get(&keys::journal(12))?.context("entry 12")?.value;
    stand.app.store.txn(Txn::of(vec![Op::put(keys::journal(10), other)]))?;
    assert_eq!(walk(&stand).await?.2.len(), 1);
    // And one is taken out where a page begins.
    stand.app.store.txn(Txn::of(vec![Op::delete(keys::journal(14))]))?;
    assert!(!walk(&stand).await?.2.is_empty());
    Ok(())
}

#[tokio::test]
async fn decisions_come_in_pages_and_without_a_page_the_newest() -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Page {
        decisions: Vec<DecisionDetail>,
    }
    let stand = Stand::new()?;
    let newest = 5;
    more_decisions(&stand, newest)?;
    let mut ids: Vec<u64> = Vec::new();
    loop {
        let after = ids.last().copied().unwrap_or(0);
        let page: Page = stand.get(&format!("/v1/decisions?after={after}&limit=2")).await?;
        assert!(page.decisions.len() <= 2);
        if page.decisions.is_empty() {
            break;
        }
        ids.extend(page.decisions.iter().map(|d| d.line.id));
    }
    assert_eq!(ids, (1..=newest).collect::<Vec<_>>());
    let last: Page = stand.get("/v1/decisions?limit=2").await?;
    assert_eq!(last.decisions.iter().map(|d| d.line.id).collect::<Vec<_>>(), [newest - 1, newest]);
    Ok(())
}

#[tokio::test]
async fn who_comes_again_misses_no_event_though_memory_has_forgotten() -> Result<()> {
    let mut before = Stand::new()?;
    for n in 0..300 {
        before.refused(format!("thing {n}"))?;
    }
    let (stand, end) = (before.restarted()?, before.end()?);
    assert!(end >= 300);
    assert_eq!(sequences(&stand.events("from=3").await?), (4..=end).collect::<Vec<_>>());
    assert_eq!(sequences(&stand.events("from=3&limit=5").await?), (4..=8).collect::<Vec<_>>());
    assert_eq!(sequences(&stand.events("last=4").await?), (end - 3..=end).collect::<Vec<_>>());
    // From memory where that holds them, with the clock of then.
    assert!(before.events("last=4").await?.iter().all(|e| e.mono_ns > 0));
    // Refusals keep their kind on disk.
    let denied = stand.events("from=0&denied=true").await?;
    assert_eq!(denied.len(), 300);
    assert!(denied.iter().all(|e| e.kind == "refused"), "{denied:?}");
    // The past, then what comes, once each.
    let mut body =
        stand.response(&format!("/v1/events?follow=true&from={}", end - 2)).await?.into_body().into_data_stream();
    let told = history::entries(&*stand.app.store, end - 1, end, 1)?;
    let mut next = tidegate_controller::told_again(&told[0]);
    next.sequence = end + 1;
    stand.app.events.tell(next);
    for expected in [end - 1, end, end + 1] {
        let line = body.next().await.context("the stream ended")??;
        assert_eq!(serde_json::from_slice::<EventLine>(&line)?.sequence, expected);
    }
    // With the store away the newest are told from memory; who has missed some is not given a part for the whole.
    before.app.store.txn(Txn::of(vec![Op::put(keys::END, b"no end")]))?;
    assert_eq!(sequences(&before.events("last=4").await?), (end - 3..=end).collect::<Vec<_>>());
    assert_eq!(stand.text("/v1/events?from=3").await?.0, StatusCode::SERVICE_UNAVAILABLE);
    Ok(())
}

#[tokio::test]
async fn faults_of_path_and_query_have_the_shape_of_all_refusals() -> Result<()> {
    let stand = Stand::new()?;
    for path in
        ["/v1/audit?after=x", "/v1/events?last=-1", "/v1/decisions?limit=1.5", "/v1/decisions/seven", "/v1/drains/x"]
    {
        let (status, text) = stand.text(path).await?;
        let error: ApiError = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        assert_eq!((status, error.code.as_str()), (StatusCode::BAD_REQUEST, "TG-1003"), "{path}");
        assert!(!error.lift.is_empty() && !error.message.is_empty(), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn what_if_is_answered_from_what_stands_and_names_what_it_does_not_know() -> Result<()> {
    let mut stand = Stand::new()?;
    let fleet = example()?.fleet;
    for vantage in &fleet.vantages {
        stand.take(Input::Report(ReportIn {
            vantage: vantage.name.to_string(),
            incarnation: 1,
            sequence: 1,
            revision: fleet.revision.short(),
            own: VantageSelf { references_reached: 3, reference_networks: 3, self_doubt: false },
            targets: vec![TargetState::Ok; fleet.endpoints.len()],
            rtt: vec![RttClass(4); fleet.endpoints.len()],
        }))?;
    }
    let found: WhatIf = stand.get("/v1/plan?lose=aws,gcp/europe-west4").await?;
    assert!(found.gaps.is_empty(), "{:?}", found.gaps);
    let sent = |lines: &[SplitLine], place: &str| {
        lines.iter().flat_map(|l| &l.weights).filter(|w| w.region.starts_with(place)).count()
    };
    assert_eq!(found.lost, ["aws", "gcp/europe-west4"]);
    assert!(sent(&found.before, "aws/") > 0 && sent(&found.before, "gcp/europe-west4") > 0, "{found:?}");
    assert_eq!((sent(&found.after, "aws/"), sent(&found.after, "gcp/europe-west4")), (0, 0), "{found:?}");
    assert_eq!(found.after.len(), found.before.len());
    for (query, status, word) in [("lose=aws,nowhere", 404, "nowhere"), ("lose=", 400, "lost"), ("", 400, "lose")] {
        let (got, text) = stand.text(&format!("/v1/plan?{query}")).await?;
        assert!(got.as_u16() == status && text.contains(word), "{query}: {got}: {text}");
    }
    // A question changes nothing, and leaves no trace among what people did.
    let audit: Audit = stand.get("/v1/audit").await?;
    assert!(audit.acts.is_empty(), "{audit:?}");
    Ok(())
}

#[tokio::test]
async fn every_check_that_is_not_well_says_how_to_mend_it() -> Result<()> {
    let stand = Stand::new()?;
    let checks: Checks = stand.get("/v1/checks").await?;
    assert_eq!(checks.checks.len(), 16);
    assert!(checks.checks.iter().all(|c| (c.grade == "ok") == c.mend.is_empty()), "{checks:?}");
    let grade = |name: &str| checks.checks.iter().find(|c| c.name == name).map(|c| c.grade.as_str());
    assert_eq!(grade("vantages vote"), Some("failed"));
    assert_eq!(grade("edges are connected"), Some("warning"));
    assert_eq!(grade("the store keeps writes"), Some("ok"));
    stand.app.directory.store(Some(Arc::new("another".to_owned())));
    let checks: Checks = stand.get("/v1/checks").await?;
    let directory = checks.checks.iter().find(|c| c.name == "the configuration directory is what runs");
    assert!(directory.is_some_and(|c| c.grade == "warning" && c.found == "another"), "{checks:?}");
    Ok(())
}

#[tokio::test]
async fn an_api_in_trouble_is_shown_everywhere() -> Result<()> {
    let mut stand = Stand::new()?;
    stand.ask(Ask::ProviderApi { provider: "aws".to_owned(), trouble: Some(true), lasting: Millis(3_600_000) })?;
    stand.take(Input::Tick)?;
    let status: tidegate_api::Status = stand.get("/v1/status").await?;
    let shown = status.unwell.iter().find(|u| u.what == "api aws").context("not in status")?;
    assert_eq!((shown.health.as_str(), shown.evidence.as_str()), ("in trouble", "anna says so: a test"));
    let verdicts: tidegate_api::Verdicts = stand.get("/v1/verdicts").await?;
    assert!(verdicts.findings.iter().any(|f| (f.kind.as_str(), f.name.as_str()) == ("api", "aws")), "{verdicts:?}");
    let region: tidegate_api::Explanation = stand.get("/v1/explain/region/aws/us-east-1").await?;
    assert!(region.sentences.contains(&"api aws is in trouble: anna says so: a test".to_owned()), "{region:?}");
    let reasons = region.places.iter().flat_map(|p| &p.reasons);
    assert!(reasons.into_iter().any(|r| r.starts_with("the API of aws is in trouble")), "{region:?}");
    let (_, page) = stand.text("/metrics").await?;
    for line in
        ["tidegate_provider_api_trouble{provider=\"aws\"} 1", "tidegate_provider_api_trouble{provider=\"gcp\"} 0"]
    {
        assert!(page.lines().any(|l| l == line), "{line}: {page}");
    }
    assert!(page.contains("tidegate_override_ends_timestamp_seconds{kind=\"api_word\"}"), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_scrape_shows_whole_values_and_counters_as_counters() -> Result<()> {
    let mut stand = Stand::new()?;
    let end = clock::wall() + Millis(3_600_000);
    stand.ask(Ask::Ramp(RampAsk::Abort))?;
    let (_, page) = stand.text("/metrics").await?;
    for counter in ["cycles", "plans_refused", "plans_held", "decisions_superseded", "journal_entries_dropped"] {
        assert!(page.contains(&format!("# TYPE tidegate_{counter}_total counter")), "{counter}: {page}");
    }
    let value = |name: &str| -> Option<f64> { page.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok()) };
    assert!(value("tidegate_store_file_bytes").is_some_and(|v| v > 0.0), "{page}");
    assert!(value("tidegate_store_reserve_bytes").is_some_and(|v| v > 0.0), "{page}");
    assert_eq!(value("tidegate_places_unresolved"), Some(0.0));
    // Its own member of the gossip, under the same names as a prober's.
    assert_eq!(value("tidegate_gossip_members"), Some(0.0));
    assert_eq!(value("tidegate_gossip_dropped_total{reason=\"forged\"}"), Some(0.0));
    assert!(page.contains("# TYPE tidegate_gossip_rejoins_total counter"), "{page}");
    let abort = value("tidegate_override_ends_timestamp_seconds{kind=\"ramp_abort\"}").context("no end is shown")?;
    assert!((abort - (end.0 / 1000) as f64).abs() < 60.0, "{abort}");
    assert_eq!(value("tidegate_override_ends_timestamp_seconds{kind=\"drain\"}"), Some(0.0));
    // Two who ask at once each see every series.
    let lines = page.lines().filter(|l| !l.starts_with('#')).count();
    let app = &stand.app;
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let scrape = || -> Vec<usize> {
            let (model, store) = (app.model.load_full(), app.store.health());
            let (engine, gossip) = (&app.engine, &app.gossip.load_full());
            let scene = crate::metrics::Scene { model: model.as_deref(), engine, store: &store, unresolved: 0, gossip };
            let page = |_| app.metrics.page(&scene).map_or(0, |p| p.lines().filter(|l| !l.starts_with('#')).count());
            (0..50).map(page).collect()
        };
        let threads = [scope.spawn(scrape), scope.spawn(scrape)];
        threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    });
    assert_eq!(counts, vec![lines; 100]);
    Ok(())
}

#[tokio::test]
async fn every_path_of_the_document_says_its_token_its_role_and_its_refusals() -> Result<()> {
    let document = serde_json::to_value(http::openapi())?;
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let paths = document["paths"].as_object().context("no paths")?;
    for (path, item) in paths {
        for (verb, operation) in item.as_object().context("no item")? {
            let what = format!("{verb} {path}");
            assert!(operation["security"][0]["token"].is_array(), "{what}");
            assert!(operation["description"].as_str().is_some_and(|d| d.contains("Needs the role ")), "{what}");
            for status in ["401", "503"] {
                let schema = &operation["responses"][status]["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/ApiError", "{what}: {status}");
            }
            let judged = verb == "post" && !path.ends_with("/replay");
            assert_eq!(operation["responses"].get("403").is_some(), judged, "{what}");
        }
    }
    assert!(document["paths"]["/v1/status"]["get"]["responses"].get("404").is_none());
    let reload = &document["paths"]["/v1/config/reload"]["post"];
    assert!(reload["description"].as_str().is_some_and(|d| d.contains("role admin")));
    assert!(reload["responses"].get("422").is_some() && reload["responses"].get("409").is_some());
    Ok(())
}

#[test]
fn what_policy_would_widen_is_counted() -> Result<()> {
    let metrics = Metrics::new()?;
    let narrow = start::candidate(example()?, &metrics.widenings_refused);
    assert!(narrow.is_ok() && metrics.widenings_refused.get() == 0);
    let mut documents = tidegate_config::example_payroll();
    for (name, text) in &mut documents {
        if name.ends_with("residency.rego") {
            *text = OPEN_POLICY.to_owned();
        }
    }
    let loaded = tidegate_config::load_documents(documents).map_err(|f| anyhow::anyhow!("{f}"))?;
    let wide = start::candidate(loaded, &metrics.widenings_refused);
    assert!(wide.is_ok() && metrics.widenings_refused.get() > 0);
    Ok(())
}
