//! Automation of the repository: `cargo xtask --help`.
//!
//! Owns what a person types after `git clone`. Depends on no workspace crate, so that it builds on a bare machine and
//! can install what the others need before they build.

mod prober;
mod run;
mod setup;
mod shell;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Builds, checks and shows Tidegate")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Installs what building and testing need beyond Rust, and says what and why.
    Setup {
        /// Only say what is missing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Plays the story: a provider dies, traffic moves, an operator drains. Arguments go to `tidegate-stage demo`.
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// All tests, those with real Envoy and real faults included.
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Formatting, lints, the house rules, documentation, all tests: what must pass before a change lands.
    Ci,
    /// The house rules: arrows between rooms, sizes, left-overs, error pages, licences.
    Tidy,
    /// Runs a benchmark: `failover`, `stories`, `detection`, `plan`, `prober`. Arguments after the name go to it.
    Bench {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Plays scenarios in virtual time over many seeds: `--scenario NAME|FILE|all --seeds A..B`, `--trace`, `--list`.
    Simulate {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Recomputes a demo's summary from its raw files alone.
    VerifyRun { dir: String },
    /// Writes the JSON schema of the configuration and the OpenAPI document anew.
    Schemas,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Setup { dry_run } => setup::setup(dry_run),
        Verb::Demo { args } => run::demo(&args),
        Verb::Test { filter } => run::test(filter.as_deref()),
        Verb::Ci => run::ci(),
        Verb::Tidy => tidy::tidy(),
        Verb::Bench { name, args } => run::bench(&name, &args),
        Verb::Simulate { args } => run::simulate(&args),
        Verb::VerifyRun { dir } => run::verify_run(&dir),
        Verb::Schemas => run::schemas(),
    }
}
