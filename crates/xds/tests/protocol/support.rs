//! A server on loopback, and a raw client that can break every rule.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use tidegate_xds::TypeUrl;
use tidegate_xds::server::{
    Admission, AdmitAll, Engine, EngineConfig, Limits, NoObserver, Observer, Resource, Snapshot, TokioClock, Variant,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long a test listens for what must not come.
pub(crate) const QUIET: Duration = Duration::from_millis(120);

pub(crate) fn variant() -> Variant {
    Variant::new("all")
}

/// (type, name, content)
pub(crate) type Item<'a> = (TypeUrl, &'a str, &'a str);

pub(crate) fn snapshot(items: &[Item<'_>]) -> Snapshot {
    let mut builder = Snapshot::builder();
    builder.variant(&variant());
    for (type_url, name, content) in items {
        builder.insert(&variant(), Resource::from_any_bytes(*type_url, name, content.as_bytes()).unwrap());
    }
    builder.build()
}

pub(crate) fn version(content: &str) -> String {
    Resource::from_any_bytes(TypeUrl::Cds, "any", content.as_bytes()).unwrap().version().to_string()
}

pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn config() -> EngineConfig {
    EngineConfig {
        identifier: "gate-1".into(),
        limits: Limits::default(),
        clock: Arc::new(TokioClock::default()),
        admission: Arc::new(AdmitAll(variant())),
        observer: Arc::new(NoObserver),
    }
}

pub(crate) async fn serve(config: EngineConfig) -> Server {
    let engine = Engine::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = engine.service();
    let task = tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(service);
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
    Server { engine, address, task }
}

pub(crate) async fn server(items: &[Item<'_>]) -> Server {
    let server = serve(config()).await;
    server.engine.publish(snapshot(items), 1).unwrap();
    server
}

pub(crate) async fn server_with(limits: Limits, items: &[Item<'_>]) -> Server {
    let server = serve(EngineConfig { limits, ..config() }).await;
    server.engine.publish(snapshot(items), 1).unwrap();
    server
}

pub(crate) fn admitting(admission: impl Admission) -> EngineConfig {
    EngineConfig { admission: Arc::new(admission), ..config() }
}

pub(crate) fn observed(observer: Arc<dyn Observer>) -> EngineConfig {
    EngineConfig { observer, ..config() }
}

pub(crate) fn request(type_url: TypeUrl) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: type_url.as_str().into(), ..DeltaDiscoveryRequest::default() }
}

pub(crate) fn subscribe(type_url: TypeUrl, names: &[&str]) -> DeltaDiscoveryRequest {
    let names = names.iter().map(|n| (*n).to_owned()).collect();
    DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(type_url) }
}

pub(crate) fn unsubscribe(type_url: TypeUrl, names: &[&str]) -> DeltaDiscoveryRequest {
    let names = names.iter().map(|n| (*n).to_owned()).collect();
    DeltaDiscoveryRequest { resource_names_unsubscribe: names, ..request(type_url) }
}

pub(crate) fn with_versions(mut request: DeltaDiscoveryRequest, versions: &[(&str, &str)]) -> DeltaDiscoveryRequest {
    request.initial_resource_versions = versions.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    request
}

/// A stream that says exactly what a test makes it say.
pub(crate) struct Raw {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Raw {
    pub(crate) async fn open_bare(server: &Server) -> Result<Self, Status> {
        let mut rpc = AggregatedDiscoveryServiceClient::connect(format!("http://{}", server.address))
            .await
            .unwrap()
            .max_decoding_message_size(64 << 20);
        let (requests, outgoing) = mpsc::channel(16_384);
        let responses = rpc.delta_aggregated_resources(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// Opens a stream as node `id` with `first` as its first request.
    pub(crate) async fn open(server: &Server, id: &str, mut first: DeltaDiscoveryRequest) -> Self {
        let mut raw = Self::open_bare(server).await.unwrap();
        first.node = Some(Node { id: id.into(), ..Node::default() });
        raw.send(first).await;
        raw
    }

    pub(crate) async fn send(&mut self, request: DeltaDiscoveryRequest) {
        // A stream that the server has ended takes no more; the test will read why.
        let _ = self.requests.send(request).await;
    }

    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        timeout(SOON, self.responses.message()).await.expect("no response came").unwrap().expect("the stream ended")
    }

    /// The next response, which must be of this type.
    pub(crate) async fn next_of(&mut self, type_url: TypeUrl) -> DeltaDiscoveryResponse {
        let response = self.next().await;
        assert_eq!(response.type_url, type_url.as_str(), "{response:?}");
        response
    }

    pub(crate) async fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        self.send(ack).await;
    }

    pub(crate) async fn nack(&mut self, response: &DeltaDiscoveryResponse, words: &str) {
        let nack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: Some(RpcStatus { code: 3, message: words.into(), ..RpcStatus::default() }),
            ..DeltaDiscoveryRequest::default()
        };
        self.send(nack).await;
    }

    pub(crate) async fn quiet(&mut self) {
        let came = timeout(QUIET, self.responses.message()).await;
        assert!(came.is_err(), "nothing should have come: {came:?}");
    }

    /// How the server ends the stream; responses before that are skipped.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match timeout(SOON, self.responses.message()).await.expect("the stream did not end") {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|r| r.name.as_str()).collect()
}

/// Waits until `holds`, and says what was waited for if it never does.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(SOON, waiting).await.is_ok(), "never happened: {what}");
}
