//! Doors for fuzzers, and for the tests that run over the fuzzers' corpus. Behind the feature `fuzzing`: no program has it.
//!
//! Each takes any bytes, says whether they were taken, and fails by a panic alone.

use super::admission::{NodeInfo, PeerInfo};
use super::engine::Limits;
use super::inbound::Inbound;
use super::lrs::{self, LoadLimits, METRICS_MAX};
use super::machine::StreamMachine;
use super::resource::Resource;
use super::snapshot::{Published, Snapshot, Variant};
use crate::TypeUrl;
use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::load_stats::v3::LoadStatsRequest;
use http_body::Frame;
use prost::Message;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tonic::Status;
use tonic::body::Body;

/// The longest request that the door takes: small, so that the bound is met.
const REQUEST_MAX: usize = 2_048;

/// A body that is there already.
struct Chunks(VecDeque<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }
}

/// What is read of `data` when it comes in frames of `size` bytes: the requests, and why there are no more of them.
fn requests(data: &[u8], size: usize) -> (Vec<DeltaDiscoveryRequest>, Option<Status>) {
    let chunks = data.chunks(size.max(1)).map(Bytes::copy_from_slice).collect();
    let mut inbound = Inbound::new(Body::new(Chunks(chunks)), REQUEST_MAX);
    let (mut read, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    loop {
        match inbound.poll_next(&mut cx) {
            Poll::Ready(Some(Ok(request))) => read.push(request),
            Poll::Ready(Some(Err(status))) => return (read, Some(status)),
            Poll::Ready(None) => return (read, None),
            Poll::Pending => panic!("everything is there"),
        }
    }
}

fn published() -> Option<Arc<Published>> {
    let variant = Variant::new("all");
    let mut builder = Snapshot::builder();
    builder.variant(&variant);
    for (type_url, name) in TypeUrl::ALL.into_iter().flat_map(|t| [(t, "a"), (t, "b")]) {
        builder.insert(&variant, Resource::from_any_bytes(type_url, name, name.as_bytes()).ok()?);
    }
    Some(Arc::new(Published { snapshot: builder.build(), tag: 7, seq: 1 }))
}

/// `data` as a subscriber's half of a stream. However it is cut into frames, the same requests come out of it; the machine
/// answers them, and holds to one response of each type until the client has answered.
pub fn inbound(data: &[u8]) -> bool {
    let (read, refused) = requests(data, data.len());
    for size in [1, 7] {
        let (again, status) = requests(data, size);
        assert_eq!(again, read, "frames of {size}");
        assert_eq!(status.map(|s| s.message().to_owned()), refused.as_ref().map(|s| s.message().to_owned()));
    }
    let Some(published) = published() else { return false };
    let Ok(mut machine) = StreamMachine::new(Limits::default(), Variant::new("all"), published, 0) else {
        return false;
    };
    let mut taken = refused.is_none();
    for request in &read {
        let type_url = TypeUrl::parse(&request.type_url);
        assert!(type_url.is_none_or(|t| t.as_str() == request.type_url), "a type has one name");
        if let Some(node) = &request.node {
            let node = NodeInfo::of(node, PeerInfo::default());
            assert!(node.client_features.len() <= 64 && node.region.chars().count() <= 256);
        }
        if machine.on_request(request, 0).is_err() {
            return false;
        }
        taken &= type_url.is_some();
        let answers = std::iter::from_fn(|| machine.next_response(0)).take(5).count();
        assert!(answers <= TypeUrl::ALL.len(), "one of each type at the most");
    }
    taken && !read.is_empty()
}

/// `data` as a load report. What is taken keeps its bounds, and every sum is a number.
pub fn lrs(data: &[u8]) -> bool {
    let Ok(report) = LoadStatsRequest::decode(data) else { return false };
    let limits = LoadLimits { clusters_max: 16, localities_max: 32, ..LoadLimits::default() };
    let Ok(clusters) = lrs::read(report.cluster_stats, &limits) else { return false };
    for cluster in &clusters {
        let places: Vec<_> = cluster.localities.iter().map(|l| (&l.region, &l.zone)).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "each place once");
        for locality in &cluster.localities {
            assert!(locality.metrics.len() <= METRICS_MAX);
            for metric in &locality.metrics {
                assert!(metric.total.is_finite() && metric.total >= 0.0, "{}", metric.total);
            }
        }
    }
    !clusters.is_empty()
}
