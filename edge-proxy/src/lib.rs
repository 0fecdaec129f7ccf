//! Tidegate's edge proxy on Pingora: takes requests at the border of the network and sends them where the control plane
//! wants them.
//!
//! Owns obeying: the split, the permitted places, the refusals, and going on with the last good state when every server
//! is away. Refuses to decide: no weight, no class and no place is chosen here. [`Edge`] is the whole program without
//! its command line.

mod admin;
mod ads;
mod balance;
mod cli;
#[cfg(test)]
mod corpus;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod listen;
mod lkg;
mod load;
mod metrics;
mod model;
mod proxy;
mod retry;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod upstream;

pub use cli::{Args, LogFormat};

use anyhow::Context;
use listen::Listeners;
use lkg::Writer;
use metrics::Metrics;
use shared::{Shared, TICK_MS};
use state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidegate_xds::client::{AdsClient, LoadReporter};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running edge.
pub struct Edge {
    shared: Arc<Shared>,
    listeners: Arc<Listeners>,
    admin: SocketAddr,
    subscription: JoinHandle<()>,
    client: JoinHandle<()>,
    reporter: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("admin", &self.admin).finish_non_exhaustive()
    }
}

impl Edge {
    /// Starts it on the current runtime: from the disk first, then from the servers.
    ///
    /// # Errors
    /// In words for whoever started the program.
    pub async fn start(args: &Args) -> anyhow::Result<Self> {
        let overrides = args.check()?;
        // Another library may have been first; there is only one provider in this program.
        let _ = rustls::crypto::ring::default_provider().install_default();
        for what in args.in_plain_text() {
            tracing::warn!(what, "plain text beyond this machine: whoever stands between can read and change it");
        }
        let metrics = Arc::new(Metrics::new().context("metrics")?);
        let shared = Arc::new(Shared::new(Arc::clone(&metrics)));
        shared.stall.tick(shared.now_ms());
        let listeners = Arc::new(Listeners::new(Arc::clone(&shared), overrides, args.reuse_port, args.threads()));
        std::fs::create_dir_all(&args.state_dir)
            .with_context(|| format!("--state-dir {}", args.state_dir.display()))?;
        let state = boot(&args.state_dir, &args.group, &shared);
        let writer = Writer::start(args.state_dir.clone(), metrics).context("the writer of the state")?;
        let admin_socket = admin_socket(args.admin).await.with_context(|| format!("--admin {}", args.admin))?;
        let admin = admin_socket.as_ref().map_or(Ok(args.admin), TcpListener::local_addr).context("--admin")?;

        let mut helpers = vec![tokio::spawn(tick(Arc::clone(&shared)))];
        // What cannot be had yet is said and tried again by the subscriber.
        listeners.follow(&state.listeners, listeners.bind(&state.listeners, &[]).0);
        let pages = admin::Admin {
            shared: Arc::clone(&shared),
            listeners: Arc::clone(&listeners),
            node: args.node.clone(),
            group: args.group.clone(),
        };
        helpers.push(tokio::spawn(async move {
            let socket = match admin_socket {
                Some(socket) => socket,
                None => once_free(admin).await,
            };
            if let Err(error) = axum::serve(socket, admin::router(pages)).await {
                tracing::error!(%error, "the admin address is gone");
            }
        }));
        let config = ads::client_config(args.servers.clone(), &args.node, &args.group, &state);
        // Follows the subscription until the subscriber ends.
        let (reports_to, server) = watch::channel(None);
        let reporter = LoadReporter::spawn(config.clone(), Arc::clone(&shared) as _, server)?;
        let (client, events, task) = AdsClient::spawn(config)?;
        let subscriber = ads::Subscriber {
            shared: Arc::clone(&shared),
            listeners: Arc::clone(&listeners),
            state,
            waiting: Vec::new(),
            writer,
            group: args.group.clone(),
            server: String::new(),
            reports_to,
            complaint: Vec::new(),
            answered: BTreeSet::new(),
            accept_older: args.accept_older,
        };
        let subscription = tokio::spawn(subscriber.run(client, events));
        tracing::info!(node = args.node, group = args.group, %admin, "edge started");
        Ok(Self { shared, listeners, admin, subscription, client: task, reporter, helpers })
    }

    /// Where the admin pages are.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Where each listener listens now.
    #[must_use]
    pub fn listeners(&self) -> BTreeMap<String, SocketAddr> {
        self.listeners.addresses()
    }

    /// Stops accepting, lets what is under way finish for at most `grace`, and ends. True: all of it finished.
    pub async fn shutdown(self, grace: Duration) -> bool {
        self.shared.draining.store(true, Ordering::Relaxed);
        // First of all, so that a successor can have the addresses.
        self.listeners.stop_all();
        // Nothing new may open a listener now.
        self.subscription.abort();
        let _ = self.subscription.await;
        self.client.abort();
        // Again: the subscription may have opened one meanwhile.
        self.listeners.stop_all();
        let finished = tokio::time::timeout(grace, self.listeners.tasks.wait()).await.is_ok();
        self.reporter.abort();
        self.helpers.iter().for_each(JoinHandle::abort);
        finished
    }
}

/// The admin socket; none where another process has it. That may be this edge's predecessor, which ends what it has under
/// way and accepts nothing more: requests must not wait for that.
async fn admin_socket(address: SocketAddr) -> std::io::Result<Option<TcpListener>> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(%address, "the admin address is in use; serving without it until it is free");
            Ok(None)
        }
        bound => bound.map(Some),
    }
}

async fn once_free(address: SocketAddr) -> TcpListener {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Ok(socket) = TcpListener::bind(address).await {
            tracing::info!(%address, "the admin address is free");
            return socket;
        }
    }
}

/// The state on disk, put to use before any server has answered.
fn boot(directory: &Path, group: &str, shared: &Shared) -> State {
    let mut state = State::default();
    let saved = match lkg::load(directory, group) {
        Ok(None) => {
            tracing::info!(directory = %directory.display(), "no state on disk; waiting for a server");
            return state;
        }
        Ok(Some(saved)) => saved,
        Err(error) => {
            refuse_saved(directory, &error.to_string());
            return state;
        }
    };
    match State::restore(&saved) {
        Ok(change) => state.commit_all(change, shared),
        Err(error) => {
            refuse_saved(directory, &error.to_string());
            return state;
        }
    }
    let good_at = saved.good_at();
    shared.metrics.lkg_written.set(ads::unix_seconds(good_at));
    shared.metrics.from_disk.set(1);
    shared.note(|s| {
        (s.disk_good_at, s.generation, s.ready) = (Some(good_at), saved.generation, true);
    });
    tracing::warn!(
        generation = saved.generation,
        server = saved.server,
        "serving the state on disk until a server speaks"
    );
    state
}

fn refuse_saved(directory: &Path, why: &str) {
    match lkg::set_aside(directory) {
        Ok(aside) => {
            tracing::error!(why, moved_to = %aside.display(), "the state on disk is refused; waiting for a server")
        }
        Err(error) => tracing::error!(why, %error, "the state on disk is refused and could not be moved aside"),
    }
}

/// Lets back in who was out for long enough, and notices when this process stood still.
async fn tick(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = shared.now_ms();
        if shared.stall.tick(now_ms) {
            shared.metrics.stalls.inc();
            tracing::warn!("this process stood still; failures of that time count for nobody");
        }
        let table = shared.table.load_full();
        table.clusters.values().for_each(|slot| slot.load().tick(now_ms));
        for slot in table.clusters.values() {
            let cluster = slot.load_full();
            cluster.refresh_if_stale();
            for place in &cluster.places {
                place.meters.set_out(place.hosts.iter().filter(|h| h.is_out()).count());
            }
        }
        shared.memory.sweep();
    }
}
