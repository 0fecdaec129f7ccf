//! The operator API over HTTP/JSON, and the page for Prometheus.

mod auth;
mod checks;
mod document;
mod extract;
mod history;
mod reads;
mod render;
mod writes;

use crate::app::App;
use crate::metrics::Scene;
use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use document::Common;
use std::sync::Arc;
use tidegate_api::{ApiError, Code};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

pub(crate) use history::preload as preload_events;

/// A body larger than this is refused: configurations are the largest.
const BODY_MAX: usize = 32 << 20;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Refused(Box<ApiError>);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(Box::new(error))
    }
}

impl From<Box<ApiError>> for Refused {
    fn from(error: Box<ApiError>) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.catalogued().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(*self.0)).into_response()
    }
}

/// Work beside the loop that came to no end.
fn broken(error: &tokio::task::JoinError) -> ApiError {
    ApiError::new(Code::Internal, error.to_string(), "look at the server's log")
}

/// What a handler gives.
pub(crate) type Answered<T> = Result<Json<T>, Refused>;

#[derive(OpenApi)]
#[openapi(
    info(title = "Tidegate operator API", description = "See, explain and steer where traffic goes."),
    paths(
        reads::status,
        reads::verdicts,
        reads::members,
        reads::edges,
        reads::splits,
        reads::what_if,
        checks::checks,
        reads::explain_service,
        reads::explain_region,
        history::events,
        history::audit,
        history::decisions,
        history::decision,
        history::replay,
        writes::drain,
        writes::restore,
        writes::drains,
        writes::drain_state,
        writes::automation,
        writes::ramp,
        writes::provider_api,
        writes::reload,
        writes::join,
    ),
    modifiers(&Common)
)]
struct Document;

/// The OpenAPI document.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Serves until `ending`.
pub(crate) async fn serve(app: Arc<App>, ending: CancellationToken) -> Result<()> {
    let address = app.flags.api;
    let listener =
        tokio::net::TcpListener::bind(address).await.with_context(|| format!("API port {address} cannot be had"))?;
    tracing::info!(%address, tokens = app.tokens.count(), "operator API");
    axum::serve(listener, router(app)).with_graceful_shutdown(ending.cancelled_owned()).await.context("the API ended")
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/status", get(reads::status))
        .route("/v1/verdicts", get(reads::verdicts))
        .route("/v1/members", get(reads::members))
        .route("/v1/edges", get(reads::edges))
        .route("/v1/splits", get(reads::splits))
        .route("/v1/plan", get(reads::what_if))
        .route("/v1/checks", get(checks::checks))
        .route("/v1/explain/service/{name}", get(reads::explain_service))
        .route("/v1/explain/region/{provider}/{region}", get(reads::explain_region))
        .route("/v1/events", get(history::events))
        .route("/v1/audit", get(history::audit))
        .route("/v1/decisions", get(history::decisions))
        .route("/v1/decisions/{id}", get(history::decision))
        .route("/v1/decisions/{id}/replay", post(history::replay))
        .route("/v1/drains", get(writes::drains).post(writes::drain))
        .route("/v1/drains/{id}", get(writes::drain_state))
        .route("/v1/restores", post(writes::restore))
        .route("/v1/automation", post(writes::automation))
        .route("/v1/ramp", post(writes::ramp))
        .route("/v1/providers/{name}/api", post(writes::provider_api))
        .route("/v1/config/reload", post(writes::reload))
        .route("/v1/joins", post(writes::join))
        .route("/v1/openapi.json", get(|| async { Json(openapi()) }))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
}

async fn nothing_here(uri: axum::http::Uri) -> Refused {
    Refused::from(ApiError::new(
        Code::NotFound,
        format!("the API has no {uri}"),
        "GET /v1/openapi.json lists what there is",
    ))
}

async fn not_so(method: axum::http::Method, uri: axum::http::Uri) -> Refused {
    let why = format!("{} does not take {method}", uri.path());
    Refused::from(ApiError::new(Code::MethodNotAllowed, why, "GET /v1/openapi.json lists what there is"))
}

async fn metrics(State(app): State<Arc<App>>) -> Result<String, Refused> {
    let model = app.model.load_full();
    let (store, unresolved, gossip) = (app.store.health(), app.unresolved.load().len(), &app.gossip.load_full());
    app.metrics
        .page(&Scene { model: model.as_deref(), engine: &app.engine, store: &store, unresolved, gossip })
        .map_err(|e| Refused::from(ApiError::new(Code::Internal, e.to_string(), "report it")))
}

async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Refused> {
    app.model()?;
    if app.engine.tag().is_none() {
        let why = "no plan is committed yet";
        return Err(Refused::from(
            ApiError::new(Code::NotReady, why, "the first plan comes with the first cycle").retryable(),
        ));
    }
    Ok("ready\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_shipped_openapi_document_is_current() -> Result<(), serde_json::Error> {
        let shipped: serde_json::Value = serde_json::from_str(include_str!("../../../docs/openapi.json"))?;
        assert!(shipped == serde_json::to_value(super::openapi())?, "run `cargo xtask schemas`");
        Ok(())
    }
}
