//! Requests out of an HTTP/2 body. Owns gRPC framing towards us and keeps no buffer between messages (a first request
//! of a real Envoy is tens of kilobytes; a buffer of that size per connection would stay for ever).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http_body::Body as _;
use prost::Message;
use tonic::Status;
use tonic::body::Body;

/// gRPC's message prefix: one byte of flags, four of length.
const PREFIX: usize = 5;

#[derive(Debug)]
pub(crate) struct Inbound {
    body: Body,
    /// What has come of the next message.
    partial: BytesMut,
    /// What is left of the frame that came last.
    rest: Bytes,
    max: usize,
}

impl Inbound {
    pub(crate) fn new(body: Body, max: usize) -> Self {
        Self { body, partial: BytesMut::new(), rest: Bytes::new(), max }
    }

    /// The next request; `None` when the client has closed its side.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<DeltaDiscoveryRequest, Status>>> {
        loop {
            match self.take_message() {
                Ok(Some(message)) => {
                    let decoded = DeltaDiscoveryRequest::decode(message)
                        .map_err(|e| Status::invalid_argument(format!("not a DeltaDiscoveryRequest: {e}")));
                    return Poll::Ready(Some(decoded));
                }
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.rest = data;
                    }
                }
            }
        }
    }

    fn take_message(&mut self) -> Result<Option<Bytes>, Status> {
        self.fill(PREFIX);
        if self.partial.len() < PREFIX {
            return Ok(None);
        }
        if self.partial[0] != 0 {
            return Err(Status::invalid_argument("compressed messages are not taken"));
        }
        let len = u32::from_be_bytes([self.partial[1], self.partial[2], self.partial[3], self.partial[4]]) as usize;
        if len > self.max {
            let max = self.max;
            return Err(Status::invalid_argument(format!("a request of {len} bytes; at most {max} are taken")));
        }
        self.fill(PREFIX + len);
        if self.partial.len() < PREFIX + len {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(PREFIX);
        Ok(Some(message))
    }

    /// Moves bytes over until `partial` holds `len` of them, as far as they have come.
    fn fill(&mut self, len: usize) {
        let want = len.saturating_sub(self.partial.len()).min(self.rest.len());
        self.partial.extend_from_slice(&self.rest.split_to(want));
        if self.rest.is_empty() {
            self.rest = Bytes::new();
        }
    }
}
