//! What all streams share: the current publication, the status book, the limits. Owns publishing; refuses to serve
//! anything before the first publication.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::admission::{Admission, Observer};
use super::body::AdsService;
use super::snapshot::{Published, Snapshot};
use super::status::{NodeStatus, StatusBook};

/// What a client may cost. Every limit ends the stream that breaks it, and no other.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A request message, in bytes.
    pub request_bytes_max: usize,
    /// A response message's resources and removed names, in bytes. More is split into several responses; a single
    /// resource above it cannot be published. The default leaves room below gRPC's usual 4 MiB.
    pub response_bytes_max: usize,
    /// Names and initial versions in one request.
    pub names_max: usize,
    /// Names per stream and type that are subscribed but do not exist.
    pub unknown_names_max: usize,
    /// Requests that may come at once on one stream.
    pub requests_burst: u32,
    /// Requests per second, over time, on one stream.
    pub requests_per_second: u32,
    /// How long a new stream that has not asked for listeners and routes is spared removals of clusters, in
    /// milliseconds: it may still be about to ask.
    pub removal_grace_ms: u64,
    /// Streams at one time, those that have not said who they are included.
    pub streams_max: usize,
    /// How long a new stream may wait with its first request, in milliseconds.
    pub first_request_ms: u64,
    /// Nodes that have gone and are still listed.
    pub gone_nodes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 4 << 20,
            response_bytes_max: (4 << 20) - (64 << 10),
            names_max: 50_000,
            unknown_names_max: 10_000,
            requests_burst: 2_000,
            requests_per_second: 500,
            removal_grace_ms: 250,
            streams_max: 20_000,
            first_request_ms: 10_000,
            gone_nodes_max: 1_024,
        }
    }
}

/// A monotonic clock.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since some fixed moment of this process.
    fn now_ms(&self) -> u64;
}

/// Tokio's clock (which tests can pause).
#[derive(Debug, Clone)]
pub struct TokioClock(tokio::time::Instant);

impl Default for TokioClock {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How to make an [`Engine`].
pub struct EngineConfig {
    /// `control_plane.identifier` in every response: this server's name.
    pub identifier: String,
    /// Limits.
    pub limits: Limits,
    /// The clock for ages and rates.
    pub clock: Arc<dyn Clock>,
    /// Who is served what.
    pub admission: Arc<dyn Admission>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig").field("identifier", &self.identifier).finish_non_exhaustive()
    }
}

/// Why a snapshot was not published. What was published before stands; the same call fails again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The generation is below the published one.
    #[error("generation {offered} is below the published {published}")]
    Backwards {
        /// What was offered.
        offered: u64,
        /// What stands.
        published: u64,
    },
    /// No variant at all: serving it would take everything from everybody.
    #[error("the snapshot has no variant")]
    Empty,
    /// A resource does not fit into a response.
    #[error("resource {name} is {bytes} bytes; a response takes {max}")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// What a publication changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishReport {
    /// Position in this process's order of publications.
    pub seq: u64,
    /// Resources new or changed; what variants share counts once.
    pub changed: usize,
    /// Resources gone.
    pub removed: usize,
}

/// How far a generation has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Connected subscribers that have accepted all of it that they want.
    pub acked: usize,
    /// Ids of the connected subscribers that have not.
    pub outstanding: Vec<String>,
}

impl Progress {
    /// Nobody is outstanding (which is also so when nobody is connected).
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.outstanding.is_empty()
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signal {
    pub(crate) seq: u64,
    pub(crate) draining: Option<Duration>,
}

pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) current: ArcSwapOption<Published>,
    pub(crate) signal: watch::Sender<Signal>,
    pub(crate) book: StatusBook,
    publishing: Mutex<()>,
    streams: AtomicU64,
    /// Streams open now.
    pub(crate) open: AtomicUsize,
}

impl Shared {
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.config.clock.now_ms()
    }

    pub(crate) fn draining(&self) -> bool {
        self.signal.borrow().draining.is_some()
    }
}

/// The server. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.shared.config).field("tag", &self.tag()).finish()
    }
}

impl Engine {
    /// An engine that has nothing to serve yet, and refuses streams until it has.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let shared = Shared {
            config,
            current: ArcSwapOption::empty(),
            signal: watch::Sender::new(Signal::default()),
            book: StatusBook::default(),
            publishing: Mutex::new(()),
            streams: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Swaps in a whole snapshot under the caller's generation `tag`, and wakes the streams.
    ///
    /// Publishing the same tag again (for instance after a change outside the plan) is taken as a newer version of it.
    ///
    /// # Errors
    /// [`PublishError`]; what was published before stands.
    pub fn publish(&self, mut snapshot: Snapshot, tag: u64) -> Result<PublishReport, PublishError> {
        if snapshot.variants.is_empty() {
            return Err(PublishError::Empty);
        }
        let max = self.shared.config.limits.response_bytes_max;
        let resources = snapshot.variants.values().flatten().flat_map(|t| &t.resources);
        if let Some(big) = resources.into_iter().find(|r| r.encoded().len() > max) {
            return Err(PublishError::TooLarge { name: big.name().to_string(), bytes: big.encoded().len(), max });
        }
        let _one_at_a_time = self.shared.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.shared.current.load_full();
        let empty = Snapshot::default();
        let seq = match &old {
            Some(old) if tag < old.tag => return Err(PublishError::Backwards { offered: tag, published: old.tag }),
            Some(old) => old.seq + 1,
            None => 1,
        };
        let (changed, removed) = snapshot.reconcile(old.as_ref().map_or(&empty, |o| &o.snapshot));
        self.shared.current.store(Some(Arc::new(Published { snapshot, tag, seq })));
        self.shared.signal.send_modify(|s| s.seq = seq);
        tracing::debug!(tag, seq, changed, removed, "published");
        Ok(PublishReport { seq, changed, removed })
    }

    /// The gRPC service, for `tonic::transport::Server::builder().add_service(..)`.
    #[must_use]
    pub fn service(&self) -> AdsService {
        AdsService::new(Arc::clone(&self.shared))
    }

    /// What is published.
    #[must_use]
    pub fn published(&self) -> Option<Arc<Published>> {
        self.shared.current.load_full()
    }

    /// The published generation; `None` while not ready.
    #[must_use]
    pub fn tag(&self) -> Option<u64> {
        self.published().map(|p| p.tag)
    }

    /// One entry per stream, and the last that is known of nodes that went.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.shared.book.nodes(self.shared.now_ms())
    }

    /// Streams now open and admitted.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.shared.book.live_count()
    }

    /// How many connected subscribers have accepted, for each of their types, the content that was current at `tag`
    /// or a newer one; also those for which nothing changed.
    #[must_use]
    pub fn acked_by_all(&self, tag: u64) -> Progress {
        let current = self.published();
        let (acked, outstanding) = self.shared.book.progress(|(synced_tag, synced_seq)| match &current {
            Some(p) if p.tag == tag => synced_seq >= p.seq,
            _ => synced_tag >= tag,
        });
        Progress { acked, outstanding }
    }

    /// Refuses new streams and ends the open ones, spread evenly over `spread`, so that the clients do not all come to
    /// another server at one moment. Responses under way are finished first.
    pub fn shutdown(&self, spread: Duration) {
        self.shared.signal.send_modify(|s| s.draining = Some(spread));
    }
}
