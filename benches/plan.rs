//! How long a plan takes: view in, plan, report and linter's word out; and how long a policy takes from its text to the
//! whole mask of a fleet, which is what a reload waits for.
//!
//! `cargo xtask bench plan [--json FILE]`; ends with 1 when a target of `targets.toml` is missed. Run by `cargo test` it
//! does every step once, so that it cannot rot.

#[path = "../crates/kernel/tests/support/mod.rs"]
mod support;

use anyhow::{Context, Result};
use criterion::Criterion;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{all_well, allow_all, at, dead_providers, large, payroll, provider};
use tidegate_config::{DEFAULT_POLICY, example_payroll, load_documents};
use tidegate_domain::{CycleInput, Fleet, State, View};
use tidegate_kernel::{authorize, cycle};
use tidegate_policy::Bundle;

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

/// A step by its id; true when it went well.
type Case = (&'static str, Box<dyn Fn() -> bool>);

fn cases() -> Result<Vec<Case>> {
    let well = |fleet: &Fleet| all_well(fleet, at(50));
    let aws_dead = |fleet: &Fleet| dead_providers(fleet, at(50), &[provider(fleet, "aws")]);
    let first_dead = |fleet: &Fleet| dead_providers(fleet, at(50), &[tidegate_domain::ProviderIx(0)]);
    let planned = |input: CycleInput| -> Box<dyn Fn() -> bool> { Box::new(move || plan(&input)) };
    let fleet = load_documents(example_payroll()).map_err(|f| anyhow::anyhow!("the example has faults: {f}"))?.fleet;
    // Compiled anew each time: a bundle keeps its answers, and a reload has none.
    let policy = move || {
        let texts = vec![("residency.rego".to_owned(), DEFAULT_POLICY.to_owned())];
        Bundle::compile(black_box(texts)).is_ok_and(|bundle| bundle.mask(&fleet, None).faults.is_empty())
    };
    Ok(vec![
        ("payroll", planned(input(payroll(), well))),
        ("payroll.provider_down", planned(input(payroll(), aws_dead))),
        ("services_1000_regions_30", planned(input(large(1_000, 30, 2), well))),
        ("services_1000_regions_30.provider_down", planned(input(large(1_000, 30, 2), first_dead))),
        ("policy_load_payroll", Box::new(policy)),
    ])
}

const SAMPLES: usize = 50;

/// What criterion measured, in milliseconds by sample, in order.
fn samples_ms(id: &str) -> Result<Vec<f64>> {
    let home = std::env::var_os("CRITERION_HOME").map_or_else(|| target().join("criterion"), PathBuf::from);
    let path = home.join("plan").join(id).join("new/sample.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let sample: Value = serde_json::from_str(&text)?;
    let list = |key: &str| sample[key].as_array().cloned().with_context(|| format!("{id}: no {key}"));
    let pairs = list("times")?.into_iter().zip(list("iters")?);
    let mut each: Vec<f64> = pairs.filter_map(|(time, iters)| Some(time.as_f64()? / iters.as_f64()? / 1e6)).collect();
    each.sort_by(f64::total_cmp);
    anyhow::ensure!(!each.is_empty(), "{id}: no sample");
    Ok(each)
}

/// The value that `part` per cent of the samples do not pass.
fn quantile(sorted: &[f64], part: usize) -> f64 {
    sorted[(sorted.len() * part).div_ceil(100).clamp(1, sorted.len()) - 1]
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
    println!("{:<45} {:>10} {:>10}   target", "ms", "p50", "p99");
    let mut rows = Vec::new();
    for id in ids {
        let sorted = samples_ms(id)?;
        let (value, p99) = (quantile(&sorted, 50), quantile(&sorted, 99));
        let target = targets.get("plan").and_then(|t| t.get(*id)).and_then(toml::Value::as_float);
        let met = target.map(|t| value <= t);
        println!(
            "{id:<45} {value:>10.3} {p99:>10.3}   {} {}",
            target.map_or("-".into(), |t| t.to_string()),
            met.map_or("", |m| if m { "met" } else { "MISSED" })
        );
        rows.push(json!({
            "id": id, "value": value, "p50": value, "p99": p99, "unit": "ms", "target": target, "met": met, "peer": null,
            "peer_value": null, "ratio": null, "samples": sorted.len(),
        }));
    }
    Ok(rows)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let cases = cases()?;
    // `cargo test` runs benches without `--bench`: every step once.
    if !args.iter().any(|a| a == "--bench") {
        for (id, step) in &cases {
            anyhow::ensure!(step(), "{id}: the step failed");
        }
        println!("test result: ok. {} passed; 0 failed", cases.len());
        return Ok(());
    }
    let mut criterion = Criterion::default().sample_size(SAMPLES).without_plots();
    let mut group = criterion.benchmark_group("plan");
    for (id, step) in &cases {
        group.bench_function(*id, |b| b.iter(|| assert!(step())));
    }
    group.finish();
    let ids: Vec<&str> = cases.iter().map(|(id, _)| *id).collect();
    let rows = rows(&ids)?;
    if let Some(at) = args.iter().position(|a| a == "--json") {
        let file = args.get(at + 1).context("--json needs a file")?;
        let load: f64 = std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or("0").parse()?;
        let machine = json!({"cpus": std::thread::available_parallelism()?.get(), "load": load});
        let text = serde_json::to_string_pretty(&json!({"bench": "plan", "machine": machine, "rows": rows}))?;
        std::fs::write(file, text).with_context(|| format!("{file} cannot be written"))?;
    }
    let missed: Vec<&str> = rows.iter().filter(|r| r["met"] == false).filter_map(|r| r["id"].as_str()).collect();
    anyhow::ensure!(missed.is_empty(), "targets missed: {}", missed.join(", "));
    Ok(())
}
