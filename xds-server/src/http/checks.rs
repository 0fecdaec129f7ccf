//! `GET /v1/checks`: what `tidegate check` prints, each graded, with the mend beside it.

use super::auth::Caller;
use super::{Answered, render};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;
use tidegate_api as api;
use tidegate_controller::Model;
use tidegate_domain::{Accused, Health};

#[utoipa::path(get, path = "/v1/checks", responses((status = 200, body = api::Checks)))]
pub(super) async fn checks(_: Caller, State(app): State<Arc<App>>) -> Answered<api::Checks> {
    let model = app.model()?;
    let status = render::status(&app, &model);
    let mut checks = edges(&app, &model, &status);
    checks.extend(fleet(&app, &model, &status));
    Ok(Json(api::Checks { api_version: api::VERSION.to_owned(), checks }))
}

fn line(name: &str, grade: &str, found: String, mend: &str) -> api::CheckLine {
    api::CheckLine {
        name: name.to_owned(),
        grade: grade.to_owned(),
        found,
        mend: if grade == "ok" { String::new() } else { mend.to_owned() },
    }
}

fn graded(bad: bool, worst: &'static str) -> &'static str {
    if bad { worst } else { "ok" }
}

/// Who votes, who follows.
fn edges(app: &App, model: &Model, status: &api::Status) -> Vec<api::CheckLine> {
    let nodes = app.engine.nodes();
    let nacked = nodes.iter().filter(|n| n.connected && n.types.iter().any(|t| t.nacked.is_some())).count();
    let few = status.vantages_eligible * 2 < status.vantages_configured;
    vec![
        line(
            "a plan is committed",
            graded(model.plan.is_none(), "failed"),
            format!("generation {}", model.generation),
            "look at the server's log",
        ),
        line(
            "vantages vote",
            graded(few, "failed"),
            format!("{} of {}", status.vantages_eligible, status.vantages_configured),
            "`tidegate members` says why each does not vote",
        ),
        line(
            "edges are connected",
            graded(status.edges == 0, "warning"),
            status.edges.to_string(),
            "start one; `tidegate bootstrap envoy --node NODE --group GROUP --xds HOST:PORT` writes what an Envoy starts from",
        ),
        line(
            "edges hold the committed plan",
            graded(status.edges_acked < status.edges, "warning"),
            format!("{} of {}", status.edges_acked, status.edges),
            "`tidegate edges` shows who is behind",
        ),
        line(
            "no edge refuses a resource",
            graded(nacked > 0, "failed"),
            format!("{nacked} refuse"),
            "`tidegate edges` shows their words",
        ),
    ]
}

/// What stands, what is at risk.
fn fleet(app: &App, model: &Model, status: &api::Status) -> Vec<api::CheckLine> {
    let place = |a: Accused| !matches!(a, Accused::Endpoint(_));
    let down = model.verdicts.iter().filter(|v| v.health == Health::Down && place(v.accused)).count();
    let differs = app.directory.load_full();
    vec![
        line(
            "nothing is down",
            graded(down > 0, "warning"),
            format!("{down} regions and providers are down"),
            "`tidegate verdicts` shows the evidence",
        ),
        line(
            "every single loss has a plan",
            graded(!status.unprotected.is_empty(), "warning"),
            format!("{} losses have none", status.unprotected.len()),
            "add capacity or a permitted place; `tidegate plan --config DIR --lose PLACE` shows what fails",
        ),
        line(
            "automation acts",
            graded(!status.automation_safety.on, "warning"),
            if status.automation_safety.on { "on" } else { "paused" }.to_owned(),
            "`tidegate automation resume --reason \"...\"`",
        ),
        line(
            "the store keeps writes",
            graded(status.store != "ok", "failed"),
            status.store.clone(),
            "free space; look at the server's log",
        ),
        line(
            "no alarm stands",
            graded(!status.alarms.is_empty(), "failed"),
            status.alarms.first().cloned().unwrap_or_else(|| "none".to_owned()),
            "`tidegate status -o json` lists all",
        ),
        line(
            "the configuration directory is what runs",
            graded(differs.is_some(), "warning"),
            differs.map_or_else(|| "yes".to_owned(), |d| d.to_string()),
            "`tidegate config reload --reason \"...\"` takes the directory, or put back what runs",
        ),
    ]
}
