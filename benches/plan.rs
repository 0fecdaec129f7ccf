//! How long a plan takes: view in, plan, report and linter's word out; and one question to policy.
//!
//! `cargo xtask bench plan [--json FILE]`. Run by `cargo test` it does every step once, so that it cannot rot.

#[path = "../crates/kernel/tests/support/mod.rs"]
mod support;

use anyhow::{Context, Result};
use criterion::Criterion;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{all_well, allow_all, at, dead_providers, large, payroll, provider};
use tidegate_domain::{CycleInput, Fleet, State, View};
use tidegate_kernel::{authorize, cycle};

/// A standing plan, then the view.
fn input(fleet: Fleet, view: impl Fn(&Fleet) -> View) -> CycleInput {
    let mask = Arc::new(allow_all(&fleet));
    let well = all_well(&fleet, at(0));
    let then = view(&fleet);
    let fleet = Arc::new(fleet);
    let first = CycleInput { fleet, mask, state: State::default(), view: well, now: at(0) };
    let state = cycle(&first).state;
    CycleInput { state, view: then, now: at(100), ..first }
}

/// One full plan: cycle and authorisation.
fn plan(input: &CycleInput) -> bool {
    authorize(black_box(input), cycle(black_box(input))).is_ok()
}

fn cases() -> Vec<(&'static str, CycleInput)> {
    let well = |fleet: &Fleet| all_well(fleet, at(50));
    let aws_dead = |fleet: &Fleet| dead_providers(fleet, at(50), &[provider(fleet, "aws")]);
    let first_dead = |fleet: &Fleet| dead_providers(fleet, at(50), &[tidegate_domain::ProviderIx(0)]);
    vec![
        ("payroll", input(payroll(), well)),
        ("payroll.provider_down", input(payroll(), aws_dead)),
        ("services_1000_regions_30", input(large(1_000, 30, 2), well)),
        ("services_1000_regions_30.provider_down", input(large(1_000, 30, 2), first_dead)),
    ]
}

/// Files that criterion wrote, in milliseconds: median.
fn median_ms(id: &str) -> Result<f64> {
    let home = std::env::var_os("CRITERION_HOME").map_or_else(|| target().join("criterion"), PathBuf::from);
    let path = home.join("plan").join(id).join("new/estimates.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let estimates: Value = serde_json::from_str(&text)?;
    Ok(estimates["median"]["point_estimate"].as_f64().context("no median")? / 1e6)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rows(ids: &[&str]) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(root().join("benches/targets.toml"))?;
    let targets: toml::Table = text.parse()?;
    let mut rows = Vec::new();
    for id in ids {
        let value = median_ms(id)?;
        let target = targets.get("plan").and_then(|t| t.get(id)).and_then(toml::Value::as_float);
        let met = target.map(|t| value <= t);
        println!(
            "{id:<45} {value:>9.3} ms   target {}   {}",
            target.map_or("-".into(), |t| t.to_string()),
            met.map_or("", |m| if m { "met" } else { "MISSED" })
        );
        rows.push(json!({"id": id, "value": value, "unit": "ms", "target": target, "met": met, "peer": null, "peer_value": null, "ratio": null, "samples": 50}));
    }
    Ok(rows)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let cases = cases();
    // `cargo test` runs benches without `--bench`: every step once.
    if !args.iter().any(|a| a == "--bench") {
        for (id, input) in &cases {
            anyhow::ensure!(plan(input), "{id}: the plan is refused");
        }
        println!("test result: ok. {} passed; 0 failed", cases.len());
        return Ok(());
    }
    let mut criterion = Criterion::default().sample_size(50).without_plots();
    let mut group = criterion.benchmark_group("plan");
    for (id, input) in &cases {
        group.bench_function(*id, |b| b.iter(|| assert!(plan(input))));
    }
    group.finish();
    let ids: Vec<&str> = cases.iter().map(|(id, _)| *id).collect();
    let rows = rows(&ids)?;
    if let Some(at) = args.iter().position(|a| a == "--json") {
        let file = args.get(at + 1).context("--json needs a file")?;
        let load: f64 = std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or("0").parse()?;
        let machine = json!({"cpus": std::thread::available_parallelism()?.get(), "load": load});
        std::fs::write(
            file,
            serde_json::to_string_pretty(&json!({"bench": "plan", "machine": machine, "rows": rows}))?,
        )?;
    }
    Ok(())
}
