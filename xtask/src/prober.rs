//! `cargo xtask bench prober`: 500 targets at 500 ms on one prober: how late probes start, what they cost.
//!
//! Owns the reading of what `health-prober measure` prints, and the row shape that all benches share. Refuses to measure:
//! the program does that, its targets in a process of their own.

use crate::shell::{output, root, run};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;

/// How long it is measured, in seconds, after the warm-up.
const SECONDS: &str = "20";
const TARGETS: &str = "500";

/// What `health-prober measure` found.
#[derive(Debug, PartialEq)]
struct Found {
    probes: u64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_percent: f64,
}

pub(crate) fn bench(args: &[String]) -> Result<()> {
    let json_file = match args {
        [] => None,
        [flag, file] if flag == "--json" => Some(file),
        _ => bail!("`cargo xtask bench prober` takes --json FILE and nothing else"),
    };
    run("cargo", &["build", "--package", "health-prober"])?;
    let load = load()?;
    let said = output("target/debug/health-prober", &["measure", "--targets", TARGETS, "--seconds", SECONDS])?;
    print!("{said}");
    let found = read(&said).context("what `health-prober measure` printed cannot be read")?;
    let text = std::fs::read_to_string(root().join("benches/targets.toml"))?;
    let rows = rows(&found, &text.parse()?);
    println!("{:<30} {:>8} {:>8}   target", "", "p50", "p99");
    for row in &rows {
        let p50 = row["p50"].as_f64().map_or("-".to_owned(), |v| format!("{v:.1}"));
        let (id, value, unit) = (row["id"].as_str().unwrap_or_default(), &row["value"], row["unit"].as_str());
        let word = if row["met"] == true { "met" } else { "MISSED" };
        println!("{id:<30} {p50:>8} {value:>8}   {} {} {word}", row["target"], unit.unwrap_or_default());
    }
    if let Some(file) = json_file {
        let machine = json!({"cpus": std::thread::available_parallelism()?.get(), "load": load});
        let text = serde_json::to_string_pretty(&json!({"bench": "prober", "machine": machine, "rows": rows}))?;
        std::fs::write(Path::new(file), text).with_context(|| format!("{file} cannot be written"))?;
    }
    ensure!(rows.iter().all(|row| row["met"] == true), "a target is missed");
    Ok(())
}

fn load() -> Result<f64> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().parse()?)
}

/// `met` by the targets; a row without a target is not met, so that no gate is lost by a slip of the pen.
fn rows(found: &Found, targets: &toml::Table) -> Vec<Value> {
    let row = |id: &str, value: f64, p50: Option<f64>, unit: &str| {
        let target = targets.get("prober").and_then(|t| t.get(id)).and_then(toml::Value::as_float);
        json!({
            "id": id, "value": value, "p50": p50, "unit": unit, "target": target,
            "met": target.is_some_and(|t| value <= t), "peer": null, "peer_value": null, "ratio": null,
            "samples": found.probes,
        })
    };
    vec![
        row("start_lateness_ms.p99", found.p99_ms, Some(found.p50_ms), "ms"),
        row("cpu_percent_of_a_core", found.cpu_percent, None, "%"),
    ]
}

fn read(said: &str) -> Option<Found> {
    let line = |begin: &str| said.lines().find(|l| l.starts_with(begin));
    let after = |line: &str, word: &str| -> Option<f64> {
        let mut words = line.split_whitespace().skip_while(|w| *w != word).skip(1);
        words.next()?.parse().ok()
    };
    let lateness = line("start lateness")?;
    let probes = line("targets ")?.split(" · ").find_map(|part| part.strip_suffix(" probes started"))?;
    Some(Found {
        probes: probes.trim().parse().ok().filter(|n| *n > 0)?,
        p50_ms: after(lateness, "p50")?,
        p99_ms: after(lateness, "p99")?,
        cpu_percent: after(line("cpu ")?, "cpu")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "targets 500 · interval 500 ms · 20 s · 20000 probes started\n\
                        start lateness  p50 0.3 ms  p99 1.9 ms  max 4.0 ms\ncpu  6.1 % of one core\n  ok  20000\n";

    #[test]
    fn what_is_printed_is_read() {
        let found = Found { probes: 20_000, p50_ms: 0.3, p99_ms: 1.9, cpu_percent: 6.1 };
        assert_eq!(read(SAID), Some(found));
        assert_eq!(read(&SAID.replace("20000 probes", "0 probes")), None);
        assert_eq!(read("nothing"), None);
    }

    #[test]
    fn the_shipped_targets_gate_every_row() {
        let path = root().join("benches/targets.toml");
        let targets: toml::Table = std::fs::read_to_string(path).expect("targets").parse().expect("TOML");
        let well = read(SAID).expect("readable");
        assert!(rows(&well, &targets).iter().all(|r| r["met"] == true));
        let late = Found { p99_ms: 51.0, ..read(SAID).expect("readable") };
        let dear = Found { cpu_percent: 10.1, ..read(SAID).expect("readable") };
        for bad in [late, dear] {
            assert_eq!(rows(&bad, &targets).iter().filter(|r| r["met"] == false).count(), 1, "{bad:?}");
        }
        assert!(rows(&well, &toml::Table::new()).iter().all(|r| r["met"] == false));
    }
}
