//! The command line. Owns flags and exit codes; each verb does its work in its own file.

use crate::bench::BenchOptions;
use crate::cast::{Links, Options};
use crate::demo::DemoOptions;
use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "tidegate-stage", version, about = "Plays outages on real processes, and measures what they cost")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Plays the story: a cloud dies, traffic moves, an operator drains.
    Demo(Demo),
    /// Recomputes the summary of a run from its raw files alone.
    VerifyRun {
        /// Directory that `demo --runs` wrote.
        dir: PathBuf,
        /// Write the JSON here as well.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Measures.
    Bench {
        /// `failover`, `stories` or `detection`.
        name: String,
        /// Runs of each story, or kills at each loss; 20 for `failover`, 3 for `stories`, 12 for `detection`.
        #[arg(long)]
        runs: Option<u32>,
        /// Keep the raw files of every run here, a directory each, for `verify-run`.
        #[arg(long)]
        runs_dir: Option<PathBuf>,
        #[arg(long)]
        json: Option<PathBuf>,
        /// Draw pictures into this folder.
        #[arg(long)]
        plots: Option<PathBuf>,
        /// Targets, `benches/targets.toml`.
        #[arg(long, default_value = "benches/targets.toml")]
        targets: PathBuf,
    },
    /// The static Envoy alone under the four outages: proves the stage, and gives the number to beat.
    Rehearse {
        #[arg(long)]
        runs: PathBuf,
        #[arg(long)]
        loopback: bool,
    },
    /// A region's backends.
    #[command(hide = true)]
    Backend { spec: PathBuf },
    /// The load generator.
    #[command(hide = true)]
    Load { spec: PathBuf },
    /// A reference host.
    #[command(hide = true)]
    Reference { address: SocketAddr },
    /// Synthetic subscribers.
    #[command(hide = true)]
    Subscribers { spec: PathBuf },
}

#[derive(Debug, Args)]
struct Demo {
    /// Every story instead of the short one.
    #[arg(long)]
    all: bool,
    /// Only this story; may be repeated.
    #[arg(long)]
    story: Vec<String>,
    /// Stay up afterwards and print commands to try.
    #[arg(long)]
    stay: bool,
    /// No timeline, only results.
    #[arg(long)]
    headless: bool,
    /// Write the measurements here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Keep the raw files here.
    #[arg(long)]
    runs: Option<PathBuf>,
    /// Loopback addresses even where namespaces would do.
    #[arg(long)]
    loopback: bool,
    /// Links as late as this CSV of round trips says, each region a site of its own. Needs root.
    #[arg(long, value_name = "FILE", conflicts_with = "loopback")]
    links: Option<PathBuf>,
    /// Region of the fleet that has another name in the CSV: REGION=ROW; may be repeated.
    #[arg(long, value_name = "REGION=ROW", requires = "links", value_parser = link_name)]
    link_name: Vec<(String, String)>,
    /// UDP packets that are lost on every link, in per cent.
    #[arg(long, value_name = "PERCENT", requires = "links", default_value = "0", value_parser = per_cent)]
    loss: u32,
    /// A static Envoy beside, under the same load and faults.
    #[arg(long)]
    anchor: bool,
    /// Without our own edges: the real Envoy alone is steered.
    #[arg(long)]
    no_edge: bool,
    /// Synthetic subscribers; they write down every response that they get.
    #[arg(long, default_value_t = 2)]
    subscribers: usize,
    /// Requests per second and proxy.
    #[arg(long, default_value_t = 200)]
    rate: u64,
}

fn link_name(text: &str) -> Result<(String, String), String> {
    let (region, row) = text.split_once('=').ok_or("say REGION=ROW, like aws/us-east-1=US-EAST")?;
    Ok((region.to_owned(), row.to_owned()))
}

/// Basis points of a number in per cent.
fn per_cent(text: &str) -> Result<u32, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.0..=100.0).contains(share));
    share.map(|share| (share * 100.0).round() as u32).ok_or_else(|| format!("`{text}` is not 0 to 100 per cent"))
}

/// Runs the program. 0: all held; 1: an invariant broke or something failed; 2: usage.
pub fn main() -> ExitCode {
    crate::install_crypto();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else {
        eprintln!("no runtime: the machine gives no threads");
        return ExitCode::FAILURE;
    };
    let done = runtime.block_on(async {
        let parts = matches!(
            cli.verb,
            Verb::Backend { .. } | Verb::Load { .. } | Verb::Subscribers { .. } | Verb::Reference { .. }
        );
        tokio::select! {
            // The parts are ended by the stage, in its own order: a Ctrl-C reaches the whole group at once.
            stop = interrupted(), if !parts => match crate::demo::STAYS.get() {
                Some(held) => Ok(*held),
                None => Err(anyhow::anyhow!("interrupted ({stop}); everything is taken down")),
            },
            done = run(cli.verb) => done,
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("tidegate-stage: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    let Ok(mut hup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        _ = term.recv() => "SIGTERM",
        _ = hup.recv() => "SIGHUP",
    }
}

async fn run(verb: Verb) -> anyhow::Result<bool> {
    match verb {
        Verb::Demo(demo) => crate::demo::demo(demo_options(demo)).await,
        Verb::VerifyRun { dir, json } => crate::demo::verify_run(&dir, json.as_deref()),
        Verb::Bench { name, runs, runs_dir, json, plots, targets } => {
            let runs = runs.unwrap_or(match name.as_str() {
                "stories" => 3,
                "detection" => 12,
                _ => 20,
            });
            crate::bench::bench(BenchOptions { name, runs, json, targets, plots, keep: runs_dir }).await
        }
        Verb::Rehearse { runs, loopback } => crate::demo::rehearse(runs, loopback).await,
        Verb::Backend { spec } => crate::backend::serve(read(&spec)?).await.map(|()| true),
        Verb::Load { spec } => crate::load::run(read(&spec)?).await.map(|()| true),
        Verb::Reference { address } => crate::reference::serve(address).await.map(|()| true),
        Verb::Subscribers { spec } => crate::subscribers::run(read(&spec)?).await.map(|()| true),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

fn demo_options(demo: Demo) -> DemoOptions {
    let kept = demo.runs.is_some();
    let runs = demo.runs.unwrap_or_else(|| crate::ledger::home().join(format!("run-{}", std::process::id())));
    let names = demo.link_name.into_iter().collect();
    let links = demo.links.map(|matrix| Links { matrix, names, loss_bps: demo.loss });
    DemoOptions {
        cast: Options {
            runs,
            loopback: demo.loopback,
            control: true,
            anchor: demo.anchor,
            edges: !demo.no_edge,
            subscribers: demo.subscribers,
            rate: demo.rate,
            links,
            hasty: false,
        },
        all: demo.all,
        stories: demo.story,
        stay: demo.stay,
        headless: demo.headless,
        json: demo.json,
        keep_runs: kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
    #[test]
    fn a_share_is_read_in_per_cent() {
        assert_eq!((per_cent("1"), per_cent("0.5"), per_cent("100")), (Ok(100), Ok(50), Ok(10_000)));
        for bad in ["-1", "101", "nan", "x"] {
            assert!(per_cent(bad).is_err(), "{bad}");
        }
        assert!(link_name("aws/x").is_err());
    }
}
