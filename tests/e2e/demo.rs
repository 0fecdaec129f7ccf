//! The short demo, headless: it holds, and its files alone give the same summary.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tidegate_e2e::parts::alone;
use tidegate_e2e::process::envoy;
use tidegate_e2e::{Process, program, real_parts_required};

const LIMIT: Duration = Duration::from_secs(240);

fn json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// `4 stories in 99 s`.
fn took(printed: &str) -> Option<u64> {
    let line = printed.lines().rev().find(|l| l.contains(" stories in "))?;
    line.split(" stories in ").nth(1)?.split_whitespace().next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_short_demo_holds_and_its_files_give_the_same_summary() -> Result<()> {
    if envoy().is_none() {
        if real_parts_required() {
            bail!("no Envoy on PATH nor in target/tools: run `cargo xtask setup`");
        }
        eprintln!("skipped: no Envoy here; `cargo xtask test` brings it");
        return Ok(());
    }
    let _machine = alone().await;
    let dir = tempfile::tempdir()?;
    let file = |name: &str| dir.path().join(name);
    let text = |name: &str| file(name).display().to_string();
    let stage = program("tidegate-stage")?;
    let args = ["demo", "--headless", "--json", &text("demo.json"), "--runs", &text("runs")].map(str::to_owned);
    let mut demo = Process::start(&stage, &args, &file("demo.log"))?;
    let ended = demo.end(LIMIT).await;
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // SIGTERM lets it take its own parts down.
            demo.signal(nix::sys::signal::Signal::SIGTERM)?;
            let _ = demo.end(Duration::from_secs(10)).await;
            return Err(error.context(demo.printed()));
        }
    };
    eprintln!("{}", demo.printed());
    ensure!(ended.success(), "{ended}");
    let seconds = took(&demo.printed()).context("the demo does not say how long it took")?;
    // Two minutes on an idle machine; one with a busy neighbour is no defect.
    ensure!(seconds < 200, "the short story took {seconds} s: far more than two minutes");
    let args = ["verify-run", &text("runs"), "--json", &text("again.json")].map(str::to_owned);
    let mut again = Process::start(&stage, &args, &file("verify.log"))?;
    let ended = again.end(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "{ended}: {}", again.printed());
    let (first, second) = (json(&file("demo.json"))?, json(&file("again.json"))?);
    ensure!(first == second, "the files say another thing:\n{first:#}\n{second:#}");
    let stories = first["stories"].as_array().context("no stories")?;
    ensure!(stories.len() >= 4 && first["ok"] == true, "{first:#}");
    ensure!(first["faults"] == serde_json::json!([]), "{first:#}");
    for story in stories {
        ensure!(story["skipped"].is_null(), "a story of the short demo was not played: {story:#}");
        ensure!(story["requests"].as_u64().unwrap_or(0) > 0, "a story without requests: {story:#}");
        ensure!(story["forbidden_requests"] == 0 && story["double_posts"] == 0, "{story:#}");
    }
    Ok(())
}
