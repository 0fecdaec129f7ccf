//! One stream from its first request to its end: admission, the machine, the status book, the observer. Still without
//! IO; `body.rs` feeds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::admission::{AckEvent, Denied, NackEvent, NodeInfo, PeerInfo};
use super::engine::Shared;
use super::machine::{Answer, StreamMachine, StreamRefusal, check_shape};
use super::resource::NAME_BYTES_MAX;
use super::status::StreamBook;
use super::wire::Response;
use crate::TypeUrl;

struct Admitted {
    machine: StreamMachine,
    book: Arc<StreamBook>,
}

/// One place among the streams, taken before anything is known of the peer; given back when dropped.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>) -> Result<Self, StreamRefusal> {
        let slot = Self(Arc::clone(shared));
        if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.config.limits.streams_max {
            return Err(StreamRefusal::ResourceExhausted("too many streams".into()));
        }
        Ok(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) struct Session {
    shared: Arc<Shared>,
    peer: PeerInfo,
    pub(crate) stream: u64,
    opened_ms: u64,
    admitted: Option<Box<Admitted>>,
    _slot: Slot,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, peer: PeerInfo) -> Result<Self, StreamRefusal> {
        let _slot = Slot::take(&shared)?;
        let (stream, opened_ms) = (shared.next_stream(), shared.now_ms());
        Ok(Self { shared, peer, stream, opened_ms, admitted: None, _slot })
    }

    pub(crate) fn on_request(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), StreamRefusal> {
        let now_ms = self.shared.now_ms();
        if self.admitted.is_none() {
            self.admitted = Some(Box::new(self.admit(request, now_ms)?));
        }
        let Some(admitted) = self.admitted.as_mut() else { return Ok(()) };
        if let Some(node) = &request.node
            && !node.id.is_empty()
            && node.id != admitted.book.node.id
        {
            return Err(StreamRefusal::InvalidArgument("node.id changed on an open stream".into()));
        }
        let answer = admitted.machine.on_request(request, now_ms)?;
        if let Some(answer) = answer {
            note_answer(&self.shared, &admitted.book, answer, now_ms);
        }
        Ok(())
    }

    fn admit(&self, request: &DeltaDiscoveryRequest, now_ms: u64) -> Result<Admitted, StreamRefusal> {
        let limits = &self.shared.config.limits;
        check_shape(request, limits)?;
        let node =
            request.node.as_ref().filter(|n| !n.id.is_empty() && n.id.len() <= NAME_BYTES_MAX).ok_or_else(|| {
                StreamRefusal::InvalidArgument("the first request on a stream must carry a node with an id".into())
            })?;
        let node = Arc::new(NodeInfo::of(node, self.peer.clone()));
        let variant = self.shared.config.admission.admit(&node).map_err(|denied| match denied {
            Denied::Unauthenticated(m) => StreamRefusal::Unauthenticated(m),
            Denied::Permission(m) => StreamRefusal::Denied(m),
            Denied::NotNow(m) => StreamRefusal::Unavailable(m),
        })?;
        let published = self.shared.current.load_full();
        let published = published.ok_or_else(|| StreamRefusal::Unavailable("not ready".into()))?;
        let machine = StreamMachine::new(limits.clone(), variant.clone(), published, now_ms)?;
        let book = self.shared.book.open(Arc::clone(&node), self.stream, variant, now_ms);
        self.shared.config.observer.connected(&node, self.stream);
        Ok(Admitted { machine, book })
    }

    /// Takes the current publication, if it is newer.
    pub(crate) fn on_signal(&mut self) -> Result<(), StreamRefusal> {
        match (&mut self.admitted, self.shared.current.load_full()) {
            (Some(admitted), Some(published)) => admitted.machine.on_published(&published),
            _ => Ok(()),
        }
    }

    pub(crate) fn next_response(&mut self) -> Option<Response> {
        let now_ms = self.shared.now_ms();
        let admitted = self.admitted.as_mut()?;
        let response = admitted.machine.next_response(now_ms);
        let mut types = admitted.book.types();
        if let Some(response) = &response {
            types[response.type_url.index()].sent(response.tag, now_ms);
        }
        for type_url in TypeUrl::ALL {
            let machine = &admitted.machine;
            types[type_url.index()].state(machine.subscribed(type_url), machine.synced(type_url));
        }
        response
    }

    /// Milliseconds until `next_response`, or [`Session::is_late`], must be asked again.
    pub(crate) fn deadline_in_ms(&self) -> Option<u64> {
        let now_ms = self.shared.now_ms();
        let at = match &self.admitted {
            Some(admitted) => admitted.machine.deadline_ms(now_ms)?,
            None => self.first_request_by_ms(),
        };
        Some(at.saturating_sub(now_ms))
    }

    fn first_request_by_ms(&self) -> u64 {
        self.opened_ms.saturating_add(self.shared.config.limits.first_request_ms)
    }

    /// It has not said who it is, and its time for that is over.
    pub(crate) fn is_late(&self) -> bool {
        self.admitted.is_none() && self.shared.now_ms() >= self.first_request_by_ms()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            self.shared.book.close(self.stream, self.shared.now_ms(), self.shared.config.limits.gone_nodes_max);
            self.shared.config.observer.gone(&admitted.book.node, self.stream);
        }
    }
}

fn note_answer(shared: &Shared, book: &StreamBook, answer: Answer, at_ms: u64) {
    let event = |type_url, tag| AckEvent { node: Arc::clone(&book.node), stream: book.stream, type_url, tag, at_ms };
    match answer {
        Answer::Acked { type_url, tag, clean } => {
            book.types()[type_url.index()].acked(tag, at_ms, clean);
            shared.config.observer.acked(event(type_url, tag));
        }
        Answer::Nacked { type_url, tag, message, resources } => {
            tracing::warn!(node = %book.node.id, %type_url, tag, message, "client refused a response");
            book.types()[type_url.index()].nacked(tag, at_ms, message.clone(), resources.clone());
            shared.config.observer.nacked(NackEvent { answer: event(type_url, tag), message, resources });
        }
    }
}
