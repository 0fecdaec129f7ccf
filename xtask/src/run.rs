//! The verbs that build and run: test, ci, demo, bench.

use crate::shell::{run, run_with, succeeds};
use crate::{prober, setup, tidy};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Programs, edge included, as tests and the demo run them.
fn build() -> Result<()> {
    run("cargo", &["build", "--workspace", "--all-targets"]).context("the workspace does not build")
}

/// The programs alone.
fn build_programs() -> Result<()> {
    run("cargo", &["build", "--workspace", "--bins"]).context("the programs do not build")
}

fn stage(args: &[&str]) -> Result<()> {
    let mut all = vec!["run", "--quiet", "--package", "tidegate-stage", "--bin", "tidegate-stage", "--"];
    all.extend(args);
    run("cargo", &all)
}

/// Flags of the demo that name a file or folder.
const DEMO_PATHS: &[&str] = &["--json", "--runs", "--links"];
/// The same of benches, where `--runs` is a number.
const BENCH_PATHS: &[&str] = &["--json", "--runs-dir", "--targets", "--plots"];

/// Programs run elsewhere than where the person stands (`cargo bench` in its package): paths are made whole first.
fn whole(args: &[String], paths: &[&str]) -> Result<Vec<String>> {
    let whole = |path: &str| -> Result<String> {
        Ok(std::path::absolute(Path::new(path)).with_context(|| path.to_owned())?.display().to_string())
    };
    let mut all = Vec::new();
    let mut path_next = false;
    for arg in args {
        let joined = arg.split_once('=').filter(|(flag, _)| paths.contains(flag));
        all.push(match joined {
            Some((flag, path)) => format!("{flag}={}", whole(path)?),
            None if path_next => whole(arg)?,
            None => arg.clone(),
        });
        path_next = paths.contains(&arg.as_str());
    }
    Ok(all)
}

pub(crate) fn demo(args: &[String]) -> Result<()> {
    setup::setup(false)?;
    let args = whole(args, DEMO_PATHS)?;
    build_programs()?;
    let mut all = vec!["demo"];
    all.extend(args.iter().map(String::as_str));
    stage(&all)
}

/// Needs nothing but Rust: virtual time has no parts.
pub(crate) fn simulate(args: &[String]) -> Result<()> {
    let mut all = vec![
        "run",
        "--quiet",
        "--profile",
        "simulate",
        "--package",
        "tidegate-simulator",
        "--bin",
        "tidegate-simulate",
        "--",
    ];
    all.extend(args.iter().map(String::as_str));
    run("cargo", &all)
}

pub(crate) fn verify_run(dir: &str) -> Result<()> {
    let dir = std::path::absolute(dir).with_context(|| dir.to_owned())?;
    stage(&["verify-run", &dir.to_string_lossy()])
}

pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    setup::setup(false)?;
    build()?;
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    args.extend(filter);
    // The tests that need real parts refuse to pass silently when these are missing.
    run_with("cargo", &args, &[("TIDEGATE_REAL_PARTS", "required")])
}

pub(crate) fn ci() -> Result<()> {
    setup::setup(false)?;
    run("cargo", &["fmt", "--all", "--", "--check"])?;
    tidy::tidy()?;
    test(None)?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    run_with("cargo", &["doc", "--workspace", "--no-deps", "--quiet"], &[("RUSTDOCFLAGS", "-D warnings")])
}

pub(crate) fn bench(name: &str, args: &[String]) -> Result<()> {
    setup::setup(false)?;
    let args = whole(args, BENCH_PATHS)?;
    let rest: Vec<&str> = args.iter().map(String::as_str).collect();
    match name {
        "failover" | "stories" => {
            build_programs()?;
            let mut all = vec!["bench", name];
            all.extend(rest);
            stage(&all)
        }
        "detection" => {
            setup::serf()?;
            detection(&rest)
        }
        "plan" => {
            let mut all = vec!["bench", "--package", "tidegate-benches", "--bench", "plan", "--"];
            all.extend(rest);
            run("cargo", &all)
        }
        "prober" => prober::bench(&args),
        other => {
            bail!("no bench is called `{other}`; there are `failover`, `stories`, `detection`, `plan` and `prober`")
        }
    }
}

/// As shipped: it tells what a member costs.
fn detection(args: &[&str]) -> Result<()> {
    let built = ["--package", "health-prober", "--package", "tidegate-stage", "--bins"];
    run("cargo", &[&["build", "--release"], built.as_slice()].concat()).context("the programs do not build")?;
    let stage = ["run", "--release", "--quiet", "--package", "tidegate-stage", "--bin", "tidegate-stage"];
    run("cargo", &[stage.as_slice(), &["--", "bench", "detection"], args].concat())
}

pub(crate) fn schemas() -> Result<()> {
    if !succeeds("cargo", &["build", "--quiet", "--package", "tidegate", "--package", "xds-server"]) {
        bail!("the programs that write the schemas do not build: run `cargo build`");
    }
    run("sh", &["-c", "target/debug/tidegate config schema > config/schemas/tidegate-v1.json"])?;
    run("sh", &["-c", "target/debug/xds-server openapi > docs/openapi.json"])
}

#[cfg(test)]
mod tests {
    use super::{BENCH_PATHS, DEMO_PATHS, whole};

    #[test]
    fn paths_are_whole_wherever_a_program_runs() {
        let args = ["--json", "out.json", "--runs=raw", "--all", "--json"].map(str::to_owned);
        let here = std::env::current_dir().expect("a folder");
        let here = here.display();
        let want = ["--json", &format!("{here}/out.json"), &format!("--runs={here}/raw"), "--all", "--json"];
        assert_eq!(whole(&args, DEMO_PATHS).expect("whole"), want);
        let count = ["--runs", "3"].map(str::to_owned);
        assert_eq!(whole(&count, BENCH_PATHS).expect("whole"), count);
    }
}
