//! Who may subscribe, and who is told what happened. Owns the words for a node and an event; refuses to decide: the
//! decision is the embedder's [`Admission`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use tokio::sync::mpsc;

use super::snapshot::Variant;
use crate::TypeUrl;

/// What the transport knows of the peer. Put one into the request's extensions to hand in a certificate's identity;
/// without it the address alone is taken from tonic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer's address.
    pub address: Option<SocketAddr>,
    /// Identity proven by its certificate (a SAN), if the connection was mutually authenticated.
    pub identity: Option<String>,
}

/// What a subscriber says of itself in its first request, and what is known of its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// `node.id`
    pub id: String,
    /// `node.cluster`
    pub cluster: String,
    /// `node.locality.region`
    pub region: String,
    /// `node.locality.zone`
    pub zone: String,
    /// User agent name and version, joined by a slash.
    pub user_agent: String,
    /// `node.client_features`, at most 64 of them.
    pub client_features: Vec<String>,
    /// The connection.
    pub peer: PeerInfo,
}

impl NodeInfo {
    pub(crate) fn of(node: &Node, peer: PeerInfo) -> Self {
        let short = |s: &str| s.chars().take(256).collect::<String>();
        let (region, zone) = node.locality.as_ref().map(|l| (short(&l.region), short(&l.zone))).unwrap_or_default();
        let version = match &node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(v)) => short(v),
            Some(UserAgentVersionType::UserAgentBuildVersion(b)) => b
                .version
                .as_ref()
                .map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
                .unwrap_or_default(),
            None => String::new(),
        };
        let user_agent = format!("{}/{version}", short(&node.user_agent_name));
        Self {
            id: node.id.clone(),
            cluster: short(&node.cluster),
            region,
            zone,
            user_agent: user_agent.trim_matches('/').to_owned(),
            client_features: node.client_features.iter().take(64).map(|s| short(s)).collect(),
            peer,
        }
    }
}

/// A refused subscriber. Nothing of the configuration was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not known who this is (`UNAUTHENTICATED`).
    #[error("{0}")]
    Unauthenticated(String),
    /// It is known, and may not (`PERMISSION_DENIED`).
    #[error("{0}")]
    Permission(String),
    /// Not now; it may come again (`UNAVAILABLE`).
    #[error("{0}")]
    NotNow(String),
}

/// Decides whether a subscriber is served, and which variant.
pub trait Admission: Send + Sync + 'static {
    /// Called once per stream, on its first request, before anything is sent.
    ///
    /// # Errors
    /// [`Denied`] ends the stream.
    fn admit(&self, node: &NodeInfo) -> Result<Variant, Denied>;
}

/// Serves one variant to everybody.
#[derive(Debug, Clone)]
pub struct AdmitAll(pub Variant);

impl Admission for AdmitAll {
    fn admit(&self, _: &NodeInfo) -> Result<Variant, Denied> {
        Ok(self.0.clone())
    }
}

/// A response was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckEvent {
    /// Who.
    pub node: Arc<NodeInfo>,
    /// Which of its streams, unique in this process.
    pub stream: u64,
    /// Of which type.
    pub type_url: TypeUrl,
    /// The generation that the response was made from.
    pub tag: u64,
    /// By the engine's clock, in milliseconds.
    pub at_ms: u64,
}

/// A response was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NackEvent {
    /// Who, what, when.
    pub answer: AckEvent,
    /// The client's words, at most 1,024 bytes.
    pub message: String,
    /// (name, version) of what was refused, at most 16.
    pub resources: Vec<(Arc<str>, Arc<str>)>,
}

/// Is told what happens on streams. Called on the stream's own task: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A response was accepted.
    fn acked(&self, _event: AckEvent) {}
    /// A response was refused.
    fn nacked(&self, _event: NackEvent) {}
    /// A stream was admitted.
    fn connected(&self, _node: &Arc<NodeInfo>, _stream: u64) {}
    /// An admitted stream ended.
    fn gone(&self, _node: &Arc<NodeInfo>, _stream: u64) {}
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}

/// What a [`ChannelObserver`] sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A response was accepted.
    Acked(AckEvent),
    /// A response was refused.
    Nacked(NackEvent),
    /// A stream was admitted.
    Connected(Arc<NodeInfo>, u64),
    /// An admitted stream ended.
    Gone(Arc<NodeInfo>, u64),
}

/// Sends events into a bounded channel. When it is full the event is dropped and counted; the state behind it can
/// always be read from the engine.
#[derive(Debug)]
pub struct ChannelObserver {
    sender: mpsc::Sender<Event>,
    dropped: AtomicU64,
}

impl ChannelObserver {
    /// An observer and the receiving end of its channel of `capacity` events.
    #[must_use]
    pub fn new(capacity: usize) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Arc::new(Self { sender, dropped: AtomicU64::new(0) }), receiver)
    }

    /// Events that found the channel full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn send(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Observer for ChannelObserver {
    fn acked(&self, event: AckEvent) {
        self.send(Event::Acked(event));
    }

    fn nacked(&self, event: NackEvent) {
        self.send(Event::Nacked(event));
    }

    fn connected(&self, node: &Arc<NodeInfo>, stream: u64) {
        self.send(Event::Connected(Arc::clone(node), stream));
    }

    fn gone(&self, node: &Arc<NodeInfo>, stream: u64) {
        self.send(Event::Gone(Arc::clone(node), stream));
    }
}
