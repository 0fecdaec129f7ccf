//! A real Envoy follows: a drain, an outage, a refusal of its own.

use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use tidegate_e2e::stand::{PATIENCE, client};
use tidegate_e2e::{Load, Stand, until};

fn counts(stand: &Stand) -> (u64, u64) {
    let sum = |list: &[tidegate_e2e::Backend]| list.iter().map(tidegate_e2e::Backend::count).sum();
    (sum(&stand.one), sum(&stand.two))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_reweights_a_real_envoy_and_loses_nothing() -> Result<()> {
    let stand = Stand::start().await?;
    let Some((_envoy, admin)) = stand.envoy().await? else { return Ok(()) };
    let load = Load::start(stand.at.listener)?;
    until("the split shows in requests", PATIENCE, || async {
        let (one, two) = counts(&stand);
        ensure!(one + two >= 200, "{one} and {two} requests");
        ensure!(one > two && two > 0, "60 to 40 should show: {one} and {two}");
        Ok(())
    })
    .await?;
    weights_agree(&stand, admin, 2).await?;
    let dry = stand.cli(&["drain", "one", "--reason", "practice", "--dry-run"])?;
    ensure!(dry.status.code() == Some(3), "a dry run with steps ahead says 3: {dry:?}");
    stand.tidegate(&["drain", "one", "--reason", "practice", "--wait", "--grace", "1s", "--timeout", "30s"])?;
    ensure!(stand.share("one/a").await? == 0);
    let (before, _) = counts(&stand);
    until("200 more requests", PATIENCE, || async {
        let (one, two) = counts(&stand);
        ensure!(one == before, "the drained place saw a new request");
        ensure!(two >= 200, "{two}");
        Ok(())
    })
    .await?;
    agrees_with_envoy(&stand, admin).await?;
    weights_agree(&stand, admin, 1).await?;
    stand.tidegate(&["restore", "one", "--reason", "practice is over"])?;
    until("the place carries again", PATIENCE, || async {
        ensure!(stand.share("one/a").await? >= 5000);
        Ok(())
    })
    .await?;
    let (sent, failed) = load.end().await?;
    ensure!(failed == 0, "{failed} of {sent} requests failed");
    let audit = stand.tidegate(&["audit"])?;
    ensure!(audit.contains("practice is over") && audit.contains("admin-person"), "{audit}");
    ensure!(stand.tidegate(&["replay", "all"])?.lines().all(|l| l.starts_with("+ ok")));
    Ok(())
}

/// Envoy's own pages say what `tidegate edges` and `splits` say.
async fn agrees_with_envoy(stand: &Stand, admin: std::net::SocketAddr) -> Result<()> {
    let clusters = client()?.get(format!("http://{admin}/clusters?format=json")).send().await?.text().await?;
    let clusters: serde_json::Value = serde_json::from_str(&clusters)?;
    let clusters = clusters["cluster_statuses"].as_array().context("no clusters")?;
    let shop = clusters.iter().find(|c| c["name"] == "shop/eu").context("no cluster shop/eu")?;
    // A drained host may stay listed, but never as one that takes new requests.
    let hosts = shop["host_statuses"].as_array().context("no hosts")?;
    let taking: Vec<_> = hosts.iter().filter(|h| h["health_status"]["eds_health_status"] == "HEALTHY").collect();
    ensure!(taking.iter().all(|h| h["locality"]["region"] == "two/b"), "the drained place takes requests: {taking:?}");
    ensure!(taking.len() == stand.two.len(), "{taking:?} in Envoy");
    let edges = stand.edges().await?;
    let edge = edges.edges.iter().find(|e| e.node == "envoy-1").context("the Envoy is not listed")?;
    ensure!(edge.state == "synced", "{edge:?}");
    ensure!(edge.types.iter().all(|t| t.acked >= edges.generation), "{edge:?}");
    Ok(())
}

/// What Envoy holds (`/config_dump`), place by place, is what `splits` says to the basis point, in `places` places; and
/// every class has its cluster and is led to by a route.
async fn weights_agree(stand: &Stand, admin: std::net::SocketAddr, places: usize) -> Result<()> {
    let dump = client()?.get(format!("http://{admin}/config_dump?include_eds")).send().await?.text().await?;
    let dump: serde_json::Value = serde_json::from_str(&dump)?;
    let of = |kind: &str| {
        let all = dump["configs"].as_array().into_iter().flatten();
        all.clone()
            .find(|c| c["@type"].as_str().is_some_and(|t| t.ends_with(&format!(".{kind}"))))
            .cloned()
            .unwrap_or_default()
    };
    let (endpoints, clusters, routes) =
        (of("EndpointsConfigDump"), of("ClustersConfigDump"), of("RoutesConfigDump").to_string());
    let assignments: Vec<_> =
        endpoints["dynamic_endpoint_configs"].as_array().into_iter().flatten().map(|e| &e["endpoint_config"]).collect();
    let active: Vec<_> = clusters["dynamic_active_clusters"].as_array().into_iter().flatten().collect();
    let splits = stand.splits().await?;
    let group = stand.edges().await?.edges.into_iter().find(|e| e.node == "envoy-1").context("no Envoy")?.group;
    let mine: Vec<_> = splits.splits.iter().filter(|s| s.group == group && s.serving == "routed").collect();
    ensure!(!mine.is_empty(), "{splits:?}");
    for split in mine {
        let found = assignments.iter().find(|a| a["cluster_name"] == split.class.as_str());
        let found = found.with_context(|| format!("Envoy has no assignment of {}", split.class))?;
        let held: std::collections::BTreeMap<String, u64> = found["endpoints"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|place| place["priority"].as_u64().unwrap_or(0) == 0)
            .filter_map(|p| Some((p["locality"]["region"].as_str()?.to_owned(), p["load_balancing_weight"].as_u64()?)))
            .collect();
        let wanted: std::collections::BTreeMap<String, u64> =
            split.weights.iter().map(|w| (w.region.clone(), u64::from(w.share_bps))).filter(|w| w.1 > 0).collect();
        ensure!(held == wanted && held.len() == places, "{}: Envoy {held:?}, splits {wanted:?}", split.class);
        ensure!(active.iter().any(|c| c["cluster"]["name"] == split.class.as_str()), "{} is not active", split.class);
        ensure!(routes.contains(&format!("\"cluster\":\"{}\"", split.class)), "no route leads to {}", split.class);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_cloud_loses_its_traffic_within_seconds() -> Result<()> {
    let mut stand = Stand::start().await?;
    let Some((_envoy, _)) = stand.envoy().await? else { return Ok(()) };
    let load = Load::start(stand.at.listener)?;
    stand.one.clear();
    stand.probers[0].kill_nine()?;
    let died = Instant::now();
    until("nothing goes to the dead place", PATIENCE, || async {
        ensure!(stand.share("one/a").await? == 0);
        let status = stand.status().await?;
        ensure!(status.edges == 1 && status.edges_acked == 1, "the Envoy has not acknowledged");
        Ok(())
    })
    .await?;
    let took = died.elapsed();
    let (sent, failed) = load.end().await?;
    let verdicts = stand.tidegate(&["verdicts"])?;
    ensure!(verdicts.lines().any(|l| l.contains("one") && l.contains("down")), "{verdicts}");
    eprintln!("moved {} ms after the death; {failed} of {sent} GETs failed", took.as_millis());
    ensure!(took < Duration::from_secs(4), "{took:?}");
    ensure!(failed * 100 <= sent, "{failed} of {sent} failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_envoy_refuses_is_shown_in_its_words_and_the_last_good_stays() -> Result<()> {
    let stand = Stand::start().await?;
    let Some((_envoy, _)) = stand.envoy().await? else { return Ok(()) };
    let good = stand.file("fleet/service.yaml");
    let text = std::fs::read_to_string(&good)?;
    // An address that no machine has (RFC 5737): our checks cannot know, but Envoy cannot listen there.
    let (ip, port) = (stand.at.listener.ip(), stand.at.listener.port());
    let bad = text.replace(&format!("address: {ip}, port: {port}"), &format!("address: 192.0.2.1, port: {port}"));
    ensure!(bad != text);
    std::fs::write(&good, bad)?;
    stand.tidegate(&["config", "reload", "--reason", "a listener elsewhere"])?;
    let words = until("the refusal shows", PATIENCE, || async {
        let edges = stand.edges().await?;
        let lds = edges.edges.iter().flat_map(|e| &e.types).find(|t| t.kind == "LDS" && t.state == "nacked");
        lds.and_then(|t| t.error.clone()).context("no refusal yet")
    })
    .await?;
    ensure!(words.contains("192.0.2.1"), "{words}");
    let shown = stand.tidegate(&["edges"])?;
    ensure!(shown.contains("192.0.2.1"), "{shown}");
    let (status, _) = stand.request("eu").await?;
    ensure!(status == 200, "the last good listener must stay");
    std::fs::write(&good, text)?;
    stand.tidegate(&["config", "reload", "--reason", "back"])?;
    until("the refusal is gone", PATIENCE, || async {
        let edges = stand.edges().await?;
        ensure!(edges.edges.iter().all(|e| e.state == "synced"), "{edges:?}");
        Ok(())
    })
    .await
}
