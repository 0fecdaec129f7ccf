//! Who is connected, what each was sent, what each took and refused. Bounded: one entry per live stream, and a fixed
//! number of nodes that have gone. Refuses to hold content; versions are the refused resources' only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::admission::NodeInfo;
use super::snapshot::Variant;
use crate::TypeUrl;

/// A generation, and how long ago it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The generation.
    pub tag: u64,
    /// Milliseconds since, by the engine's clock.
    pub age_ms: u64,
}

/// A refusal that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NackStatus {
    /// The generation and age of the refused response.
    pub mark: Mark,
    /// The client's words, at most 1,024 bytes.
    pub message: String,
    /// (name, version) of what was in the refused response, at most 16.
    pub resources: Vec<(Arc<str>, Arc<str>)>,
}

/// One type of one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeStatus {
    /// The type.
    pub type_url: TypeUrl,
    /// Subscribed to everything, or by names.
    pub wildcard: bool,
    /// The newest response.
    pub sent: Option<Mark>,
    /// The newest accepted response.
    pub acked: Option<Mark>,
    /// The newest generation whose whole content (as far as it is subscribed) the client accepted.
    pub synced_tag: Option<u64>,
    /// The standing refusal; a later ACK lifts it.
    pub nacked: Option<NackStatus>,
    /// Responses sent on this stream.
    pub sent_count: u64,
    /// ACKs on this stream.
    pub acked_count: u64,
    /// NACKs on this stream.
    pub nacked_count: u64,
}

/// One stream of a node; a node with two streams has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// What the node said of itself.
    pub node: Arc<NodeInfo>,
    /// Unique in this process.
    pub stream: u64,
    /// What it is served.
    pub variant: Variant,
    /// False: this is the last that was known of a node with no stream left.
    pub connected: bool,
    /// Milliseconds since it connected, or since it went.
    pub age_ms: u64,
    /// Its subscribed types, in make-before-break order.
    pub types: Vec<TypeStatus>,
}

#[derive(Debug, Clone, Copy)]
struct At {
    tag: u64,
    at_ms: u64,
}

impl At {
    fn mark(self, now_ms: u64) -> Mark {
        Mark { tag: self.tag, age_ms: now_ms.saturating_sub(self.at_ms) }
    }
}

#[derive(Debug)]
struct Nack {
    at: At,
    message: String,
    resources: Vec<(Arc<str>, Arc<str>)>,
}

/// What a session writes down of one type.
#[derive(Debug, Default)]
pub(crate) struct TypeBook {
    wildcard: Option<bool>,
    sent: Option<At>,
    acked: Option<At>,
    synced: Option<(u64, u64)>,
    nacked: Option<Box<Nack>>,
    counts: [u64; 3],
}

impl TypeBook {
    pub(crate) fn sent(&mut self, tag: u64, at_ms: u64) {
        self.sent = Some(At { tag, at_ms });
        self.counts[0] += 1;
    }

    pub(crate) fn acked(&mut self, tag: u64, at_ms: u64, clean: bool) {
        self.acked = Some(At { tag, at_ms });
        self.counts[1] += 1;
        if clean {
            self.nacked = None;
        }
    }

    pub(crate) fn nacked(&mut self, tag: u64, at_ms: u64, message: String, resources: Vec<(Arc<str>, Arc<str>)>) {
        self.nacked = Some(Box::new(Nack { at: At { tag, at_ms }, message, resources }));
        self.counts[2] += 1;
    }

    pub(crate) fn state(&mut self, wildcard: Option<bool>, synced: Option<(u64, u64)>) {
        (self.wildcard, self.synced) = (wildcard, synced);
    }

    fn status(&self, type_url: TypeUrl, now_ms: u64) -> Option<TypeStatus> {
        Some(TypeStatus {
            type_url,
            wildcard: self.wildcard?,
            sent: self.sent.map(|a| a.mark(now_ms)),
            acked: self.acked.map(|a| a.mark(now_ms)),
            synced_tag: self.synced.map(|(tag, _)| tag),
            nacked: self.nacked.as_ref().map(|n| NackStatus {
                mark: n.at.mark(now_ms),
                message: n.message.clone(),
                resources: n.resources.clone(),
            }),
            sent_count: self.counts[0],
            acked_count: self.counts[1],
            nacked_count: self.counts[2],
        })
    }
}

/// One admitted stream.
#[derive(Debug)]
pub(crate) struct StreamBook {
    pub(crate) node: Arc<NodeInfo>,
    pub(crate) stream: u64,
    variant: Variant,
    since_ms: u64,
    types: Mutex<[TypeBook; 4]>,
}

impl StreamBook {
    pub(crate) fn types(&self) -> MutexGuard<'_, [TypeBook; 4]> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, now_ms: u64) -> NodeStatus {
        let types = self.types();
        NodeStatus {
            node: Arc::clone(&self.node),
            stream: self.stream,
            variant: self.variant.clone(),
            connected: true,
            age_ms: now_ms.saturating_sub(self.since_ms),
            types: TypeUrl::ALL.into_iter().filter_map(|t| types[t.index()].status(t, now_ms)).collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Books {
    live: BTreeMap<u64, Arc<StreamBook>>,
    /// (status when it went, when)
    gone: VecDeque<(Arc<StreamBook>, u64)>,
}

/// All streams.
#[derive(Debug, Default)]
pub(crate) struct StatusBook {
    books: Mutex<Books>,
}

impl StatusBook {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an admitted stream.
    pub(crate) fn open(&self, node: Arc<NodeInfo>, stream: u64, variant: Variant, now_ms: u64) -> Arc<StreamBook> {
        let mut books = self.books();
        books.gone.retain(|(b, _)| b.node.id != node.id);
        let book = StreamBook { node, stream, variant, since_ms: now_ms, types: Mutex::default() };
        let book = Arc::new(book);
        books.live.insert(stream, Arc::clone(&book));
        book
    }

    pub(crate) fn close(&self, stream: u64, now_ms: u64, gone_max: usize) {
        let mut books = self.books();
        let Some(book) = books.live.remove(&stream) else { return };
        if books.live.values().any(|b| b.node.id == book.node.id) {
            return;
        }
        books.gone.retain(|(b, _)| b.node.id != book.node.id);
        books.gone.push_back((book, now_ms));
        while books.gone.len() > gone_max {
            books.gone.pop_front();
        }
    }

    pub(crate) fn live_count(&self) -> usize {
        self.books().live.len()
    }

    pub(crate) fn nodes(&self, now_ms: u64) -> Vec<NodeStatus> {
        let books = self.books();
        let live = books.live.values().map(|b| b.status(now_ms));
        let gone = books.gone.iter().map(|(b, at_ms)| NodeStatus {
            connected: false,
            age_ms: now_ms.saturating_sub(*at_ms),
            ..b.status(now_ms)
        });
        let mut nodes: Vec<NodeStatus> = live.chain(gone).collect();
        nodes.sort_by(|a, b| (&a.node.id, a.stream).cmp(&(&b.node.id, b.stream)));
        nodes
    }

    /// Subscribers for which `is_synced` holds on every subscribed type, and the ids of the others.
    pub(crate) fn progress(&self, is_synced: impl Fn((u64, u64)) -> bool) -> (usize, Vec<String>) {
        let mut outstanding = Vec::new();
        let mut acked = 0;
        for book in self.books().live.values() {
            let types = book.types();
            let mut subscribed = types.iter().filter(|t| t.wildcard.is_some()).peekable();
            if subscribed.peek().is_none() {
                continue;
            }
            if subscribed.all(|t| t.synced.is_some_and(&is_synced)) {
                acked += 1;
            } else {
                outstanding.push(book.node.id.clone());
            }
        }
        outstanding.sort();
        outstanding.dedup();
        (acked, outstanding)
    }
}
