//! From a committed plan to a snapshot in the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Fleet, Plan};
use tidegate_translate::{Encoder, Resolved};
use tidegate_xds::server::{Engine, Snapshot, Variant};

/// Translates and publishes; the error is for the log and the metrics: what was published before stands.
pub(crate) fn publish(
    engine: &Engine,
    encoder: &mut Encoder,
    fleet: &Fleet,
    plan: &Plan,
    generation: u64,
    resolved: &Resolved,
) -> anyhow::Result<()> {
    let mut builder = Snapshot::builder();
    for group in encoder.encode(fleet, plan, resolved)? {
        let variant = Variant::new(fleet.groups[group.group.at()].name.as_str());
        builder.variant(&variant);
        for resource in group.resources {
            builder.insert_shared(&variant, resource);
        }
    }
    let report = engine.publish(builder.build(), generation)?;
    let encoded = encoder.encoded();
    tracing::debug!(generation, encoded, changed = report.changed, removed = report.removed, "snapshot swapped");
    Ok(())
}

/// One look-up may take so long: a resolver that hangs must not keep the others.
const LOOKUP: Duration = Duration::from_secs(2);

/// Looks all names up at once. Failed, late and empty answers are not in the result: the last set stays.
pub(crate) async fn look_up(hosts: BTreeMap<String, u16>) -> Resolved {
    let each = hosts.into_iter().map(|(host, port)| async move {
        let answer = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), port))).await;
        let answer = answer.map(|a| a.map(|found| found.map(|a| a.ip()).collect::<BTreeSet<IpAddr>>()));
        let why = match answer {
            Ok(Ok(found)) if !found.is_empty() => return Some((host, found.into_iter().collect())),
            Ok(Ok(_)) => "an empty answer".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in 2 s".to_owned(),
        };
        tracing::warn!(host, why, "host name not resolved; the last addresses stay");
        None
    });
    futures::future::join_all(each).await.into_iter().flatten().collect()
}

/// What is published now, to publish it again when addresses change.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) generation: u64,
    pub(crate) decision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_is_not_found_keeps_its_last_addresses_and_holds_up_nobody() {
        let hosts: BTreeMap<String, u16> =
            [("localhost".to_owned(), 80), ("no-such-host.invalid".to_owned(), 80)].into();
        let found = look_up(hosts).await;
        assert!(found.get("localhost").is_some_and(|a| a.iter().all(IpAddr::is_loopback)), "{found:?}");
        assert!(!found.contains_key("no-such-host.invalid"));
    }
}
