//! What is shown to Prometheus during an outage, and the alert rules that read it.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use tidegate_e2e::stand::{PATIENCE, client};
use tidegate_e2e::{Stand, real_parts_required, until};

fn rules(name: &str) -> Result<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    Ok(root.join("deploy/prometheus").canonicalize()?.join(name))
}

/// Every word of the rules' expressions that begins like a metric of ours.
fn asked_for() -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(rules("alerts.yml")?)?;
    let words = text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|w| w.starts_with("tidegate_"))
        .map(str::to_owned);
    let found: BTreeSet<String> = words.collect();
    ensure!(found.len() > 10, "the rules ask for {found:?} only");
    Ok(found)
}

async fn page(address: SocketAddr) -> Result<String> {
    Ok(client()?.get(format!("http://{address}/metrics")).send().await?.error_for_status()?.text().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_alert_rules_is_there_during_an_outage() -> Result<()> {
    let mut stand = Stand::start().await?;
    let edge = stand.edge().await?;
    let noise = UdpSocket::bind("127.0.0.1:0")?;
    // All places die: beside the regions' verdicts that raises an alarm.
    stand.one.clear();
    stand.two.clear();
    let shown = until("both regions are shown as down, with an alarm", PATIENCE, || async {
        noise.send_to(&[7; 200], stand.at.gossip[3])?;
        let page = page(stand.api).await?;
        for region in ["one/a", "two/b"] {
            let line = format!("tidegate_region_down{{region=\"{region}\"}} 1");
            ensure!(page.contains(&line), "{line} is not there: {page}");
        }
        ensure!(page.lines().any(|l| l.starts_with("tidegate_alarms{kind=\"all_down\"}")), "no alarm: {page}");
        Ok(page)
    })
    .await?;
    ensure!(shown.contains("tidegate_automation_on{kind=\"safety\"} 1"), "{shown}");
    let pages = shown + &page(stand.prober_metrics[3]).await? + &page(edge.admin).await?;
    let names: BTreeSet<&str> =
        pages.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split(['{', ' ']).next()).collect();
    let missing: Vec<String> = asked_for()?.into_iter().filter(|n| !names.contains(n.as_str())).collect();
    ensure!(missing.is_empty(), "the rules ask for what nobody shows: {missing:?}; there are {names:?}");
    Ok(())
}

#[test]
fn the_alert_rules_pass_promtool() -> Result<()> {
    for (verb, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let out = match Command::new("promtool").args([verb, "rules"]).arg(rules(file)?).output() {
            Ok(out) => out,
            Err(_) if !real_parts_required() => {
                eprintln!("skipped: no promtool here; `cargo xtask test` brings it");
                return Ok(());
            }
            Err(error) => bail!("promtool: {error}: run `cargo xtask setup`"),
        };
        let said = [out.stdout, out.stderr].concat();
        ensure!(out.status.success(), "promtool {verb} rules {file}: {}", String::from_utf8_lossy(&said));
    }
    asked_for().map(|_| ()).context("deploy/prometheus/alerts.yml")
}
