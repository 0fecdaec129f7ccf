//! The whole cast over links that are as late as the shipped, invented matrix says, with 1 % of the UDP packets lost:
//! nothing is accused for being far, and a dead provider is seen and left within bounds that follow from the matrix.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tidegate_e2e::parts::alone;
use tidegate_e2e::process::envoy;
use tidegate_e2e::{Process, program, real_parts_required};

const MATRIX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/simulator/scenarios/latency/invented.csv");
const LIMIT: Duration = Duration::from_secs(180);

/// The longest round trip of the matrix, in milliseconds.
fn farthest(path: &Path) -> Result<i64> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let cells = text.lines().filter(|l| !l.starts_with('#')).flat_map(|l| l.split(',').skip(1));
    cells.filter_map(|cell| cell.parse().ok()).max().context("no round trip in the matrix")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accused_for_being_far_and_a_dead_provider_is_left() -> Result<()> {
    if envoy().is_none() {
        if real_parts_required() {
            bail!("no Envoy on PATH nor in target/tools: run `cargo xtask setup`");
        }
        eprintln!("skipped: no Envoy here; `cargo xtask test` brings it");
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
        // No setup brings these, but where all is to be tested their want must show.
        if real_parts_required() {
            bail!("late links need root and /dev/net/tun");
        }
        eprintln!("skipped: late links need root and /dev/net/tun");
        return Ok(());
    }
    let _machine = alone().await;
    let dir = tempfile::tempdir()?;
    let text = |name: &str| dir.path().join(name).display().to_string();
    let args = ["demo", "--headless", "--links", MATRIX, "--loss", "1", "--story", "far-places"];
    let files = ["--json".to_owned(), text("far.json"), "--runs".to_owned(), text("runs")];
    let args: Vec<String> = args.into_iter().map(str::to_owned).chain(files).collect();
    let mut demo = Process::start(&program("tidegate-stage")?, &args, &dir.path().join("far.log"))?;
    let ended = match demo.end(LIMIT).await {
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
    let said: Value = serde_json::from_str(&std::fs::read_to_string(text("far.json"))?)?;
    ensure!(said["network"] == "namespaces with late links", "{said:#}");
    let story = said["stories"].as_array().and_then(|s| s.first()).context("no story")?;
    ensure!(story["broken"] == serde_json::json!([]) && story["skipped"].is_null(), "{story:#}");
    // The story's own claims: 30 s in which no probe failed, nothing was accused and no member was called lost; after
    // the death nothing but the dead was. They must have been made at all.
    let marks = std::fs::read_to_string(text("runs/marks.jsonl"))?;
    for claim in ["none failed", "nothing is accused while all is well", "no member that lives is called lost"] {
        ensure!(marks.contains(claim), "the story does not claim that {claim}");
    }
    let far = farthest(Path::new(MATRIX))?;
    ensure!(far >= 200, "the matrix holds nothing that is far");
    // Two probes, 500 ms apart at most, whose refusals come a round trip late; a probe period of doubt before a mass
    // loss; a report three hops long. The rest is for a busy machine.
    let verdict_within = 3 * 500 + far + 3 * far / 2 + 500;
    // A plan is one way to an edge, its acknowledgement another.
    let acked_within = verdict_within + 2 * far + 500;
    let ms = |name: &str| story[name].as_i64().with_context(|| format!("{name} is not there: {story:#}"));
    let (verdict, acked) = (ms("fault_to_verdict_ms")?, ms("fault_to_all_acked_ms")?);
    eprintln!("verdict {verdict} ms of {verdict_within}, all acked {acked} ms of {acked_within}");
    ensure!(verdict <= verdict_within, "verdict after {verdict} ms, {verdict_within} were to be enough");
    ensure!(acked <= acked_within, "all acked after {acked} ms, {acked_within} were to be enough");
    Ok(())
}
