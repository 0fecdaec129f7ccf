//! The verbs that build and run: test, ci, demo, bench.

use crate::shell::{run, run_with, succeeds};
use crate::{setup, tidy};
use anyhow::{Context, Result, bail};

/// Programs, edge included, as tests and the demo run them.
fn build() -> Result<()> {
    run("cargo", &["build", "--workspace", "--all-targets"]).context("the workspace does not build")
}

fn stage(args: &[&str]) -> Result<()> {
    let mut all = vec!["run", "--quiet", "--package", "tidegate-stage", "--bin", "tidegate-stage", "--"];
    all.extend(args);
    run("cargo", &all)
}

pub(crate) fn demo(args: &[String]) -> Result<()> {
    setup::setup(false)?;
    run("cargo", &["build", "--workspace", "--bins"]).context("the programs do not build")?;
    let mut all = vec!["demo"];
    all.extend(args.iter().map(String::as_str));
    stage(&all)
}

pub(crate) fn verify_run(dir: &str) -> Result<()> {
    stage(&["verify-run", dir])
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
    let rest: Vec<&str> = args.iter().map(String::as_str).collect();
    match name {
        "failover" | "stories" => {
            run("cargo", &["build", "--workspace", "--bins"])?;
            let mut all = vec!["bench", name];
            all.extend(rest);
            stage(&all)
        }
        "plan" => {
            let mut all = vec!["bench", "--package", "tidegate-benches", "--bench", "plan", "--"];
            all.extend(rest);
            run("cargo", &all)
        }
        other => bail!("no bench is called `{other}`; there are `failover`, `stories` and `plan`"),
    }
}

pub(crate) fn schemas() -> Result<()> {
    if !succeeds("cargo", &["build", "--quiet", "--package", "tidegate", "--package", "xds-server"]) {
        bail!("the programs that write the schemas do not build: run `cargo build`");
    }
    run("sh", &["-c", "target/debug/tidegate config schema > config/schemas/tidegate-v1.json"])?;
    run("sh", &["-c", "target/debug/xds-server openapi > docs/openapi.json"])
}
