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
