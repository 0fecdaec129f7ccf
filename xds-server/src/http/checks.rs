//! `GET /v1/checks`: what `tidegate check` prints.

use super::auth::Caller;
use super::{Answered, render};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use tidegate_api as api;
use tidegate_domain::{Accused, Health};

#[utoipa::path(get, path = "/v1/checks", responses((status = 200, body = api::Checks)))]
pub(super) async fn checks(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Checks> {
    let model = app.model()?;
    let status = render::status(&app, &model);
    let place = |a: Accused| !matches!(a, Accused::Endpoint(_));
    let nodes = app.engine.nodes();
    let seen = api::checks::Seen {
        planned: model.plan.is_some(),
        edges_refusing: nodes.iter().filter(|n| n.connected && n.types.iter().any(|t| t.nacked.is_some())).count(),
        places_down: model.verdicts.iter().filter(|v| v.health == Health::Down && place(v.accused)).count(),
        directory: app.directory.load_full().map(|d| d.to_string()),
    };
    Ok(Json(api::checks::checks(&status, &seen)))
}
