//! From a committed plan to a snapshot in the engine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tidegate_domain::{Fleet, Plan};
use tidegate_translate::{Resolved, translate_resolved};
use tidegate_xds::server::{Engine, Resource, Snapshot, Variant};

/// Translates and publishes; the error is for the log and the metrics: what was published before stands.
pub(crate) fn publish(
    engine: &Engine,
    fleet: &Fleet,
    plan: &Plan,
    generation: u64,
    resolved: &Resolved,
) -> anyhow::Result<()> {
    let mut builder = Snapshot::builder();
    for group in translate_resolved(fleet, plan, resolved)? {
        let variant = Variant::new(fleet.groups[group.group.at()].name.as_str());
        builder.variant(&variant);
        for (name, cluster) in &group.clusters {
            builder.insert(&variant, Resource::from_message(name, cluster)?);
        }
        for (name, assignment) in &group.endpoints {
            builder.insert(&variant, Resource::from_message(name, assignment)?);
        }
        for (name, listener) in &group.listeners {
            builder.insert(&variant, Resource::from_message(name, listener)?);
        }
        for (name, route) in &group.routes {
            builder.insert(&variant, Resource::from_message(name, route)?);
        }
    }
    let report = engine.publish(builder.build(), generation)?;
    tracing::debug!(generation, changed = report.changed, removed = report.removed, "snapshot swapped");
    Ok(())
}

/// Host names among the endpoints, looked up; a failed or empty answer keeps the last set.
pub(crate) async fn resolve(fleet: &Fleet, last: &Resolved) -> Resolved {
    let mut names: BTreeMap<String, u16> = BTreeMap::new();
    for endpoint in fleet.endpoints.iter().filter(|e| e.host.parse::<IpAddr>().is_err()) {
        names.entry(endpoint.host.clone()).or_insert(endpoint.port);
    }
    let mut resolved = Resolved::new();
    for (name, port) in names {
        let found: Vec<IpAddr> = match tokio::net::lookup_host((name.as_str(), port)).await {
            Ok(found) => {
                let mut found: Vec<IpAddr> = found.map(|a| a.ip()).collect();
                found.sort();
                found.dedup();
                found
            }
            Err(error) => {
                tracing::warn!(host = name, %error, "host name not resolved; the last addresses stay");
                Vec::new()
            }
        };
        let kept = if found.is_empty() { last.get(&name).cloned().unwrap_or_default() } else { found };
        resolved.insert(name, kept);
    }
    resolved
}

/// What is published now, to publish it again when addresses change.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) generation: u64,
}
