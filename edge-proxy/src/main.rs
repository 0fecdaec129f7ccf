//! The program: command line, log, runtime, signals. Owns nothing else.

use clap::Parser;
use edge_proxy::{Args, Edge, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    args.check()?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,pingora=error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads()).enable_all().build()?;
    let done = runtime.block_on(run(&args));
    // Requests that outlived the grace are cut here.
    runtime.shutdown_background();
    done
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let edge = Edge::start(args).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(grace = ?args.drain_grace, "draining");
    if edge.shutdown(args.drain_grace).await {
        tracing::info!("every request finished");
    } else {
        tracing::warn!("the grace is over; what is left is cut");
    }
    Ok(())
}
