//! Flags and wiring: sockets, files, signals.

use crate::engine::{Engine, Outlets};
use crate::feed::{Feed, server};
use crate::join;
use crate::measure::By;
use crate::metrics::{self, Metrics};
use crate::probe::connectors;
use crate::targets;
use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_domain::{Millis, Name};
use tidegate_gossip::shell::{self, Clock, Handle, Running, Start};
use tidegate_gossip::{GossipOutput, KeyFile, Role};
use tidegate_prober::{List, Tuning};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Probes a fleet's endpoints from one place and tells the others by gossip.
#[derive(Debug, Parser)]
#[command(version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    run: Option<Run>,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, Args)]
struct Run {
    /// Name of this vantage, as the fleet's configuration has it.
    #[arg(long, value_parser = name)]
    name: Name,
    /// Address of the gossip: UDP, and TCP by which others check that this machine is there.
    #[arg(long)]
    gossip: SocketAddr,
    /// Where others reach it, when that is another address.
    #[arg(long)]
    advertise: Option<SocketAddr>,
    /// Gossip address of another member; repeat it. Members named by the target list are added.
    #[arg(long)]
    seed: Vec<SocketAddr>,
    /// Keys of the gossip, one per line; only the owner may read the file. It is read again when it changes.
    #[arg(long)]
    keyring: PathBuf,
    /// A join token (mode 0600): without a keyring file the keyring is asked for, once, from a --server.
    #[arg(long, value_name = "FILE", requires = "server")]
    join_token: Option<PathBuf>,
    /// Server that hands out targets (http://host:port); repeat it. They are tried in turn.
    #[arg(long)]
    server: Vec<String>,
    /// Speak plain text to servers on other machines.
    #[arg(long)]
    insecure_plaintext: bool,
    /// Folder for the last list and the start count.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Fixed list (JSON, or a kept copy) instead of a server's.
    #[arg(long, conflicts_with = "server")]
    targets: Option<PathBuf>,
    /// Address of /metrics and /healthz.
    #[arg(long)]
    metrics: Option<SocketAddr>,
    /// Least time a target is given beyond three of its own round trips, in milliseconds.
    #[arg(long, default_value_t = 250)]
    timeout_margin_ms: u64,
    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Measures start lateness and CPU against targets on loopback.
    #[command(hide = true)]
    Measure {
        #[arg(long, default_value_t = 500)]
        targets: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long, value_enum, default_value_t = By::Http)]
        by: By,
    },
    #[command(hide = true)]
    ServeTargets {
        #[arg(long)]
        targets: usize,
        #[arg(long, value_enum)]
        by: By,
    },
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

/// Reads the flags and runs to the end; the exit code is 0 after SIGTERM or SIGINT, 1 after an error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: probing is waiting, and a second thread would cost more than it helps.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match (cli.other, cli.run) {
                (Some(Other::Measure { targets, seconds, by }), _) => crate::measure::run(targets, seconds, by).await,
                (Some(Other::ServeTargets { targets, by }), _) => crate::measure::serve(targets, by).await,
                (None, Some(run)) => serve(run).await,
                (None, None) => bail!("flags are missing; see --help"),
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("health-prober: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Milliseconds since 1970, but always above the last start's: a clock that was set back must not make the
/// others take this process for a replay of the last.
fn incarnation(state_dir: Option<&Path>) -> anyhow::Result<u64> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut start = u64::try_from(wall).unwrap_or(u64::MAX);
    if let Some(folder) = state_dir {
        let path = folder.join("incarnation");
        let last = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        start = start.max(last.map_or(0, |last| last.saturating_add(1)));
        targets::write_atomically(&path, start.to_string().as_bytes())
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(start)
}

async fn start_gossip(run: &Run, clock: Clock) -> anyhow::Result<(Handle, mpsc::Receiver<GossipOutput>, JoinSet<()>)> {
    let start = Start {
        name: run.name.clone(),
        incarnation: incarnation(run.state_dir.as_deref())?,
        bind: run.gossip,
        advertise: run.advertise,
        seeds: run.seed.clone(),
        keys: KeyFile::open(&run.keyring)?,
        role: Role::Prober,
    };
    let Running { handle, outputs, task, advertise } = shell::start(start, clock).await?;
    tracing::info!(name = %run.name, %advertise, "gossip");
    let mut owned = JoinSet::new();
    owned.spawn(async move {
        if let Err(error) = task.await {
            tracing::error!(%error, "gossip ended");
        }
    });
    Ok((handle, outputs, owned))
}

type Lists = watch::Sender<Option<Arc<List>>>;

/// The list to start with, and the feed that renews it.
fn lists(run: &Run) -> anyhow::Result<(Lists, Vec<tonic::transport::Endpoint>)> {
    let servers = run.server.iter().map(|text| server(text, run.insecure_plaintext)).collect::<Result<Vec<_>, _>>()?;
    let first = match (&run.targets, &run.state_dir) {
        (Some(file), _) => Some(targets::read(file)?),
        (None, Some(folder)) => targets::recall(folder).unwrap_or_else(|error| {
            tracing::error!(%error, "the kept list is not used");
            None
        }),
        (None, None) => None,
    };
    if first.is_none() && servers.is_empty() {
        bail!("nothing to probe: pass --server, --targets, or a --state-dir that holds a list");
    }
    Ok((watch::channel(first.map(Arc::new)).0, servers))
}

async fn serve(run: Run) -> anyhow::Result<()> {
    log(run.log_format);
    if let Some(folder) = &run.state_dir {
        std::fs::create_dir_all(folder).with_context(|| format!("--state-dir {}", folder.display()))?;
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (list_out, servers) = lists(&run)?;
    if let Some(token) = &run.join_token {
        tokio::select! {
            let_in = join::keyring(&run.keyring, token, &run.name, &servers) => let_in?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
    let clock = Clock::start();
    let (handle, mut outputs, mut gossip) = start_gossip(&run, clock).await?;
    let handle = Arc::new(handle);
    let metrics = Arc::new(Metrics::new()?);
    let mut services: JoinSet<anyhow::Result<()>> = JoinSet::new();
    if let Some(address) = run.metrics {
        let listener = TcpListener::bind(address).await.with_context(|| format!("--metrics {address}"))?;
        services.spawn(metrics::serve(listener, (Arc::clone(&metrics), handle.snapshot())));
    }
    let to = Arc::clone(&handle);
    let outlets = Outlets { report: Box::new(move |report| to.publish_report(report)), lateness: Box::new(|_| {}) };
    let tuning = Tuning { margin: Millis(run.timeout_margin_ms), ..Tuning::default() };
    let engine = Engine::new(clock, tuning, metrics, connectors()?, outlets);
    let list_in = list_out.subscribe();
    services.spawn(async move {
        engine.run(list_in).await;
        Ok(())
    });
    services.spawn(follow_peers(run.seed.clone(), list_out.subscribe(), Arc::clone(&handle)));
    let keep_open = list_out.clone();
    if !servers.is_empty() {
        let feed = Feed { vantage: run.name, servers, state_dir: run.state_dir, lists: list_out };
        services.spawn(async move {
            feed.run().await;
            Ok(())
        });
    }
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            Some(output) = outputs.recv() => tell(&output),
            _ = gossip.join_next() => break Err(anyhow::anyhow!("the gossip ended by itself")),
            Some(ended) = services.join_next() => {
                break ended.map_err(anyhow::Error::from).flatten().and_then(|()| bail!("a part ended by itself"));
            }
        }
    };
    drop(keep_open);
    services.shutdown().await;
    if let Some(handle) = Arc::into_inner(handle) {
        handle.leave().await;
    }
    tracing::info!("left");
    ended
}

/// Members named by the list are seeds beside those of the flags.
async fn follow_peers(
    flags: Vec<SocketAddr>,
    mut lists: watch::Receiver<Option<Arc<List>>>,
    handle: Arc<Handle>,
) -> anyhow::Result<()> {
    lists.mark_changed();
    while lists.changed().await.is_ok() {
        let peers = lists.borrow_and_update().as_ref().map(|list| list.peers.clone()).unwrap_or_default();
        handle.set_seeds(flags.iter().copied().chain(peers).collect()).await;
    }
    Ok(())
}

fn tell(output: &GossipOutput) {
    match output {
        GossipOutput::MemberUp(name) => tracing::info!(%name, "member up"),
        GossipOutput::MemberDown(name) => tracing::warn!(%name, "no path to member"),
        GossipOutput::Report(report) => {
            let failing = report.states.iter().filter(|s| **s == tidegate_domain::TargetState::Failing).count();
            tracing::debug!(vantage = %report.vantage, sequence = report.sequence, failing, "report");
        }
    }
}
