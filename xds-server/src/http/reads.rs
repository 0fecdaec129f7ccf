//! What can be read now.

use super::auth::Caller;
use super::extract::{Asked, Named};
use super::{Answered, Refused, broken, render};
use crate::app::App;
use crate::clock;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use tidegate_api as api;
use tidegate_api::words;
use tidegate_api::{ApiError, Code};
use tidegate_controller::Model;
use tidegate_domain::Accused;
use tidegate_xds::server::{NodeStatus, TypeStatus};

#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = api::Status)))]
pub(super) async fn status(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Status> {
    let model = app.model()?;
    Ok(Json(render::status(&app, &model)))
}

#[utoipa::path(get, path = "/v1/verdicts", responses((status = 200, body = api::Verdicts)))]
pub(super) async fn verdicts(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Verdicts> {
    let model = app.model()?;
    Ok(Json(words::verdicts(&model.fleet, &model.verdicts, &model.findings(), clock::mono())))
}

#[utoipa::path(get, path = "/v1/members", responses((status = 200, body = api::Members)))]
pub(super) async fn members(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Members> {
    let model = app.model()?;
    let (gossip, now) = (app.gossip.load_full(), clock::mono());
    let heard: Vec<(&str, bool)> = gossip.members.iter().map(|m| (m.name.as_str(), m.suspect)).collect();
    Ok(Json(words::members(&model.fleet, &heard, &model.reports, |i| model.vantage_state(i, now), now)))
}

#[utoipa::path(get, path = "/v1/edges", responses((status = 200, body = api::Edges)))]
pub(super) async fn edges(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Edges> {
    let model = app.model()?;
    let nodes = app.engine.nodes();
    let edges = nodes.iter().filter(|n| n.connected).map(|n| edge(n, model.generation)).collect();
    Ok(Json(api::Edges { api_version: api::VERSION.to_owned(), generation: model.generation, edges }))
}

fn edge(node: &NodeStatus, generation: u64) -> api::EdgeLine {
    let types: Vec<api::EdgeType> = node.types.iter().map(|t| edge_type(t, generation)).collect();
    let worst = ["nacked", "stale", "not sent", "synced"].into_iter().find(|w| types.iter().any(|t| t.state == *w));
    api::EdgeLine {
        node: node.node.id.clone(),
        group: node.variant.as_str().to_owned(),
        agent: node.node.user_agent.clone(),
        peer: node.node.peer.address.map_or_else(String::new, |a| a.to_string()),
        state: worst.unwrap_or("not sent").to_owned(),
        types,
    }
}

fn edge_type(t: &TypeStatus, generation: u64) -> api::EdgeType {
    let synced = t.synced_tag.unwrap_or(0);
    let state = match (&t.nacked, t.sent, synced >= generation) {
        (Some(_), _, _) => "nacked",
        (None, _, true) => "synced",
        (None, None, false) => "not sent",
        (None, Some(_), false) => "stale",
    };
    let age = t.nacked.as_ref().map(|n| n.mark.age_ms).or(t.acked.map(|a| a.age_ms));
    api::EdgeType {
        kind: t.type_url.short().to_owned(),
        state: state.to_owned(),
        sent: t.sent.map_or(0, |m| m.tag),
        acked: synced.max(t.acked.map_or(0, |m| m.tag)),
        nacked: t.nacked.as_ref().map(|n| n.mark.tag),
        error: t.nacked.as_ref().map(|n| n.message.clone()),
        age_ms: age,
    }
}

#[utoipa::path(get, path = "/v1/splits", responses((status = 200, body = api::Splits)))]
pub(super) async fn splits(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Splits> {
    let model = app.model()?;
    let splits = model.plan.as_ref().map_or_else(Vec::new, |p| words::splits(&model.fleet, p));
    Ok(Json(api::Splits { api_version: api::VERSION.to_owned(), generation: model.generation, splits }))
}

/// The query of `what_if`.
#[derive(serde::Deserialize)]
pub(super) struct Lose {
    lose: String,
}

#[utoipa::path(get, path = "/v1/plan", params(("lose" = String, Query)), responses((status = 200, body = api::WhatIf)))]
pub(super) async fn what_if(
    _: Caller,
    State(app): State<Arc<App>>,
    Asked(Lose { lose }): Asked<Lose>,
) -> Answered<api::WhatIf> {
    let model = app.model()?;
    let lost: Vec<String> = lose.split(',').filter(|l| !l.is_empty()).map(str::to_owned).collect();
    // A whole plan: too long for a thread that serves sockets.
    let planned = move || (model.what_if(&lost, clock::now()), model, lost);
    let (found, model, lost) = tokio::task::spawn_blocking(planned).await.map_err(|e| broken(&e))?;
    let found = found.map_err(|denial| Refused::from(crate::app::refusal(denial)))?;
    Ok(Json(words::what_if(&model.fleet, &lost, Some(&*found.before), found.after.as_ref(), found.gaps)))
}

fn not_found(what: &str, name: &str, known: &[String]) -> ApiError {
    ApiError::new(
        Code::NotFound,
        format!("the fleet has no {what} `{name}`"),
        format!("name one of: {}", known.join(", ")),
    )
}

#[utoipa::path(get, path = "/v1/explain/service/{name}", params(("name" = String, Path)), responses((status = 200, body = api::Explanation)))]
pub(super) async fn explain_service(
    _: Caller,
    State(app): State<Arc<App>>,
    Named(name): Named<String>,
) -> Answered<api::Explanation> {
    let model = app.model()?;
    let fleet = &model.fleet;
    let Some(at) = fleet.services.iter().position(|s| s.name.as_str() == name) else {
        let known: Vec<String> = fleet.services.iter().map(|s| s.name.to_string()).collect();
        return Err(not_found("service", &name, &known).into());
    };
    let service = tidegate_domain::ServiceIx::from(at);
    let places = words::places(
        fleet,
        &model.report,
        |s, f| f.classes[s.class.at()].service == service,
        tidegate_kernel::why::sentence,
    );
    let mut sentences = general(&model);
    let out: Vec<&api::PlaceLine> = places.iter().filter(|p| p.disposition == "excluded").collect();
    if !out.is_empty() {
        sentences.push(format!(
            "{} of {} class and place pairs are excluded; the reasons stand below",
            out.len(),
            places.len()
        ));
    }
    Ok(Json(explanation(&model, format!("service {name}"), sentences, places, |_| true)))
}

#[utoipa::path(get, path = "/v1/explain/region/{provider}/{region}", params(("provider" = String, Path), ("region" = String, Path)), responses((status = 200, body = api::Explanation)))]
pub(super) async fn explain_region(
    _: Caller,
    State(app): State<Arc<App>>,
    Named((provider, region)): Named<(String, String)>,
) -> Answered<api::Explanation> {
    let model = app.model()?;
    let fleet = &model.fleet;
    let name = format!("{provider}/{region}");
    let Some(at) = fleet.regions.iter().position(|r| r.name.to_string() == name) else {
        let known: Vec<String> = fleet.regions.iter().map(|r| r.name.to_string()).collect();
        return Err(not_found("region", &name, &known).into());
    };
    let ix = tidegate_domain::RegionIx::from(at);
    let provider = fleet.provider_of(ix);
    let mut places = words::places(fleet, &model.report, |_, _| true, tidegate_kernel::why::sentence);
    places.retain(|p| p.region == name);
    let mut sentences = general(&model);
    for drain in model.intents.drains.iter().filter(|d| match d.scope {
        tidegate_domain::Scope::Provider(p) => p == provider,
        tidegate_domain::Scope::Region(r) => r == ix,
    }) {
        sentences.push(format!("drain #{} by {}: {}", drain.id, drain.by.0, drain.reason));
    }
    let about = |a: Accused| match a {
        Accused::Provider(p) => p == provider,
        Accused::Region(r) => r == ix,
        Accused::Endpoint(e) => fleet.endpoints[e.at()].region == ix,
    };
    Ok(Json(explanation(&model, format!("region {name}"), sentences, places, about)))
}

fn general(model: &Model) -> Vec<String> {
    let mut sentences: Vec<String> = model.alarms.iter().map(|a| format!("alarm: {}", a.text)).collect();
    sentences.extend(words::found(&model.findings()));
    sentences.extend(model.decision.as_ref().map(|d| format!("last decision #{}: {}", d.id, d.summary)));
    sentences.extend(model.waits().into_iter().map(|w| format!("waiting: {w}")));
    sentences
}

fn explanation(
    model: &Model,
    about: String,
    sentences: Vec<String>,
    places: Vec<api::PlaceLine>,
    concerns: impl Fn(Accused) -> bool,
) -> api::Explanation {
    let now = clock::mono();
    let verdicts = model.verdicts.iter().filter(|v| concerns(v.accused)).map(|v| words::verdict(&model.fleet, v, now));
    api::Explanation { api_version: api::VERSION.to_owned(), about, sentences, places, verdicts: verdicts.collect() }
}
