//! A running Envoy whose group has no cluster, served by the real engine: skipped, with a line, on a machine without it.

use super::envoy::{at, params, present};
use super::fixture::{EDGE_US, EU, OPEN, US_CA, fleet, plan};
use super::live::{ask, launch};
use crate::bootstrap::{Source, envoy};
use crate::{Encoder, Resolved};
use std::sync::Arc;
use tidegate_domain::{GroupIx, Serving};
use tidegate_xds::server::{AdmitAll, Engine, EngineConfig, Limits, NoObserver, Snapshot, TokioClock, Variant};

/// Publishes what `group` is told; where the server is.
fn serve(runtime: &tokio::runtime::Runtime, all: &[crate::EncodedGroup], group: GroupIx) -> (Engine, u16) {
    let variant = Variant::new("edge-us");
    let engine = Engine::new(EngineConfig {
        identifier: "gate-1".to_owned(),
        limits: Limits::default(),
        clock: Arc::new(TokioClock::default()),
        admission: Arc::new(AdmitAll(variant.clone())),
        observer: Arc::new(NoObserver),
    });
    let mut builder = Snapshot::builder();
    for resource in &all[group.at()].resources {
        builder.insert_shared(&variant, Arc::clone(resource));
    }
    engine.publish(builder.build(), 1).expect("publishes");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let server = tonic::transport::Server::builder().add_service(engine.service());
    runtime.spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
    (engine, port)
}

/// It opens its listener and says why nothing is served, instead of waiting for clusters for ever.
#[test]
fn an_envoy_without_any_cluster_refuses_in_words() {
    if !present() {
        return;
    }
    let mut fleet = fleet();
    fleet.services[0].listener.port = 0;
    let mut plan = plan(&fleet);
    for split in plan.splits.iter_mut().filter(|s| s.group == EDGE_US) {
        assert!([EU, US_CA, OPEN].contains(&split.class));
        (split.serving, split.weights) = (Serving::WrongJurisdiction, Vec::new());
    }
    let all = Encoder::default().encode(&fleet, &plan, &Resolved::new()).expect("encodes");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    let (engine, port) = serve(&runtime, &all, EDGE_US);
    let dir = tempfile::tempdir().expect("a directory");
    let by_ads = envoy(&params(Source::Servers { servers: vec![at("127.0.0.1", port)], tls: None }));
    let (_running, _, edge) = launch(dir.path(), &by_ads);
    let (head, _) = ask(edge, "GET", "/", "host: payroll.example\r\nx-residency: us-ca\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 451") && head.contains("x-tidegate-refusal: jurisdiction"), "{head}");
    assert!(engine.acked_by_all(1).is_complete(), "{:?}", engine.nodes());
}
