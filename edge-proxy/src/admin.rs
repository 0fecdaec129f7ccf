//! The admin address: metrics, health, readiness, and what is in use now. Read only.

use crate::balance::Cluster;
use crate::listen::Listeners;
use crate::shared::Shared;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// What the admin pages read.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) node: String,
    pub(crate) group: String,
}

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/config_dump", get(config_dump))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], admin.shared.metrics.text())
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.shared.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if admin.shared.source().ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no state yet: neither a server nor the disk has given one\n")
    }
}

fn age_seconds(at: SystemTime) -> f64 {
    SystemTime::now().duration_since(at).map_or(0.0, |d| (d.as_secs_f64() * 1000.0).round() / 1000.0)
}

async fn config_dump(State(admin): State<Admin>) -> Json<Value> {
    let source = admin.shared.source();
    let table = admin.shared.table.load_full();
    let clusters: BTreeMap<&String, Value> =
        table.clusters.iter().map(|(n, slot)| (n, cluster(&slot.load()))).collect();
    let listeners: BTreeMap<String, String> =
        admin.listeners.addresses().into_iter().map(|(n, a)| (n, a.to_string())).collect();
    Json(json!({
        "node": admin.node,
        "group": admin.group,
        "server": source.server,
        "connected": source.server.is_some(),
        "generation": source.generation,
        "accepted_age_seconds": source.accepted_at.map(age_seconds),
        "booted_from_disk": source.disk_good_at.is_some(),
        "disk_state_age_seconds": source.disk_good_at.map(age_seconds),
        "last_refusal": source.last_refusal,
        "ready": source.ready,
        "draining": admin.shared.draining.load(Ordering::Relaxed),
        "listeners": listeners,
        "unbound": source.unbound,
        "routes": table.routes.keys().collect::<Vec<_>>(),
        "clusters": clusters,
    }))
}

fn cluster(of: &Cluster) -> Value {
    let picked: Vec<u64> =
        of.places.iter().zip(&of.baseline).map(|(p, b)| p.meters.picked().saturating_sub(*b)).collect();
    let all: u64 = picked.iter().sum();
    let wanted = of.wanted_bps();
    let places: Vec<Value> = of
        .places
        .iter()
        .zip(&picked)
        .map(|(place, picked)| {
            let endpoints: Vec<Value> = place
                .hosts
                .iter()
                .map(|h| json!({ "address": h.address.to_string(), "in_flight": h.in_flight(), "ejected": h.is_out() }))
                .collect();
            json!({
                "region": &*place.region,
                "provider": &*place.provider,
                "jurisdiction": place.jurisdiction,
                "priority": place.priority,
                "weight": place.weight,
                "wanted_bps": if place.priority == 0 { wanted.get(&*place.region).copied() } else { None },
                "picked": picked,
                "got_bps": picked * 10_000 / all.max(1),
                "endpoints": endpoints,
                "draining": place.draining,
            })
        })
        .collect();
    json!({
        "class": of.spec.class,
        "permitted": of.spec.permitted,
        "cluster_version": of.cluster_version,
        "assignment_version": of.assignment_version,
        "age_seconds": age_seconds(of.since),
        "shed_ppm": of.shed_ppm,
        "forbidden_endpoints": of.forbidden,
        "requests": of.runtime.requests.load(Ordering::Relaxed),
        "places": places,
    })
}
