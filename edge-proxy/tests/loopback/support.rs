//! A control plane, backends and an edge on loopback.

use crate::resources as of;
use bytes::Bytes;
use edge_proxy::{Args, Edge, LogFormat};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_xds::TypeUrl;
use tidegate_xds::server::lrs::{self, ClusterLoad, LoadConfig, LoadObserver};
use tidegate_xds::server::{
    AdmitAll, Engine, EngineConfig, Limits, NoObserver, NodeInfo, Resource, Snapshot, TokioClock, Variant,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
pub(crate) const EU: &str = "payroll/eu";

/// Waits until `holds`, and says what was waited for if it never does.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(SOON, waiting).await.is_ok(), "never happened: {what}");
}

/// What a backend does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Answer,
    Status(u16),
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and ends the connection.
    Close,
    /// Answers after this many milliseconds.
    Slow(u64),
}

pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) gets: Arc<AtomicU64>,
    pub(crate) posts: Arc<AtomicU64>,
    pub(crate) last_headers: Arc<Mutex<hyper::HeaderMap>>,
    does: Arc<Mutex<Does>>,
    task: tokio::task::JoinHandle<()>,
}

impl Backend {
    pub(crate) async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut backend = Self {
            address,
            gets: Arc::default(),
            posts: Arc::default(),
            last_headers: Arc::default(),
            does: Arc::new(Mutex::new(does)),
            task: tokio::spawn(async {}),
        };
        let (gets, posts, does) = (Arc::clone(&backend.gets), Arc::clone(&backend.posts), Arc::clone(&backend.does));
        let headers = Arc::clone(&backend.last_headers);
        let accept = async move {
            // Aborting this task ends its connections too: a killed process.
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (gets, posts, does, headers) = (gets.clone(), posts.clone(), does.clone(), headers.clone());
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let count = if request.method() == "POST" { &posts } else { &gets };
                    count.fetch_add(1, Ordering::SeqCst);
                    headers.lock().unwrap().clone_from(request.headers());
                    serve(request, *does.lock().unwrap(), address)
                });
                connections.spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        };
        backend.task = tokio::spawn(accept);
        backend
    }

    pub(crate) fn count(&self) -> u64 {
        self.gets.load(Ordering::SeqCst)
    }

    pub(crate) fn now_does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// The listening socket and every connection go.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    request: Request<Incoming>,
    does: Does,
    me: SocketAddr,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let answer = |status: u16| {
        let text = format!("{me} {path} {}", body.len());
        Ok(Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap())
    };
    match does {
        Does::Answer => answer(200),
        Does::Status(status) => answer(status),
        Does::Hang => std::future::pending().await,
        Does::Close => Err(std::io::Error::other("closed on purpose")),
        Does::Slow(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            answer(200)
        }
    }
}

/// Sums of load reports.
#[derive(Default)]
pub(crate) struct Loads(Mutex<(BTreeMap<String, Told>, u64)>);

/// What was told of one region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) issued: u64,
    pub(crate) successful: u64,
    pub(crate) errors: u64,
    /// As in the newest row.
    pub(crate) open: u64,
    /// Good answers with a time, and these times together.
    pub(crate) timed: u64,
    pub(crate) took_ms: u64,
}

impl LoadObserver for Loads {
    fn reported(&self, node: &Arc<NodeInfo>, _: u64, clusters: Vec<ClusterLoad>) {
        assert_eq!(node.region, "edge-de");
        let mut all = self.0.lock().unwrap();
        for cluster in clusters {
            assert_eq!(cluster.cluster, EU);
            all.1 += cluster.dropped;
            for of in cluster.localities {
                let told = all.0.entry(of.region).or_default();
                told.issued += of.issued;
                told.successful += of.successful;
                told.errors += of.errors;
                told.open = of.in_progress;
                for metric in of.metrics {
                    assert_eq!(metric.name, tidegate_proto::load::RESPONSE_MS);
                    told.timed += metric.finished;
                    told.took_ms += metric.total as u64;
                }
            }
        }
    }
}

impl Loads {
    pub(crate) fn of(&self, region: &str) -> Told {
        self.0.lock().unwrap().0.get(region).copied().unwrap_or_default()
    }
    pub(crate) fn dropped(&self) -> u64 {
        self.0.lock().unwrap().1
    }
}

/// A control plane: the real protocol engine with resources made by hand.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    /// What the edges' load reports said, by region.
    pub(crate) loads: Arc<Loads>,
    tag: AtomicU64,
    resources: Mutex<BTreeMap<(TypeUrl, String), Resource>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.engine.shutdown(Duration::ZERO);
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let engine = Engine::new(EngineConfig {
            identifier: "gate-1".into(),
            limits: Limits::default(),
            clock: Arc::new(TokioClock::default()),
            admission: Arc::new(AdmitAll(Variant::new("all"))),
            observer: Arc::new(NoObserver),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = engine.service();
        let loads = Arc::new(Loads::default());
        let mut config = LoadConfig::new(Arc::new(AdmitAll(Variant::new("all"))), Arc::clone(&loads) as _);
        config.interval = Duration::from_millis(100);
        let reports = lrs::service(config);
        let task = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service).add_service(reports);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { engine, address, loads, tag: AtomicU64::new(0), resources: Mutex::default(), task }
    }

    pub(crate) fn set<M: prost::Message + prost::Name>(&self, name: &str, message: &M) {
        let resource = Resource::from_message(name, message).unwrap();
        self.resources.lock().unwrap().insert((resource.type_url(), name.to_owned()), resource);
    }

    pub(crate) fn unset(&self, type_url: TypeUrl, name: &str) {
        self.resources.lock().unwrap().remove(&(type_url, name.to_owned()));
    }

    pub(crate) fn publish(&self) -> u64 {
        let variant = Variant::new("all");
        let mut builder = Snapshot::builder();
        builder.variant(&variant);
        for resource in self.resources.lock().unwrap().values() {
            builder.insert(&variant, resource.clone());
        }
        let tag = self.tag.fetch_add(1, Ordering::SeqCst) + 1;
        self.engine.publish(builder.build(), tag).unwrap();
        tag
    }

    /// Publishes, and waits until the edge has accepted it.
    pub(crate) async fn publish_and_wait(&self) {
        let tag = self.publish();
        until("the edge accepts the publication", || async {
            let progress = self.engine.acked_by_all(tag);
            progress.acked == 1 && progress.is_complete()
        })
        .await;
    }

    /// The usual fleet: class eu, permitted in DE and NL, over these places.
    pub(crate) fn payroll(&self, places: &[of::At]) {
        self.set(EU, &of::cluster(EU, &["DE", "NL"]));
        self.set(EU, &of::assignment(EU, places, 0));
        self.set("public", &of::listener("public", "127.0.0.1:9".parse().unwrap()));
        self.set("public", &of::routes("public", &[EU], &["payroll/us"], of::TIMES));
    }
}

pub(crate) fn args(server: SocketAddr, state: &Path) -> Args {
    Args {
        node: "edge-1".into(),
        group: "edge-de".into(),
        insecure_plaintext: false,
        accept_older: false,
        reuse_port: false,
        servers: vec![format!("http://{server}")],
        state_dir: state.to_owned(),
        admin: "127.0.0.1:0".parse().unwrap(),
        listen_overrides: vec![("public".into(), "127.0.0.1:0".parse().unwrap())],
        log_format: LogFormat::Text,
        worker_threads: Some(2),
        drain_grace: Duration::from_secs(5),
    }
}

/// An edge that serves.
pub(crate) async fn edge(server: &Server, state: &Path) -> Edge {
    let edge = Edge::start(&args(server.address, state)).await.unwrap();
    until("the edge is ready", || async { get(edge.admin_addr(), "/ready", &[]).await.status == 200 }).await;
    until("the edge listens", || async { edge.listeners().contains_key("public") }).await;
    edge
}

pub(crate) fn public(edge: &Edge) -> SocketAddr {
    edge.listeners()["public"]
}

#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

pub(crate) async fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let socket = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    let driver = tokio::spawn(connection);
    let got = over(&mut sender, method, path, headers, body).await;
    driver.abort();
    got
}

pub(crate) type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

/// A kept connection.
pub(crate) async fn connect(to: SocketAddr) -> Sender {
    let socket = TcpStream::connect(to).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn over(sender: &mut Sender, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(k, _)| *k == "host") {
        request = request.header("host", "payroll.example");
    }
    for (key, value) in headers {
        request = request.header(*key, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
    timeout(SOON, sender.ready()).await.expect("never ready").unwrap();
    let response = timeout(SOON, sender.send_request(request)).await.expect("no answer").unwrap();
    let (head, body) = response.into_parts();
    let body = timeout(SOON, body.collect()).await.expect("no whole answer").unwrap().to_bytes();
    Got { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

pub(crate) async fn get(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Got {
    send(to, "GET", path, headers, "").await
}

pub(crate) const CLAIM: (&str, &str) = ("x-residency-class", "eu");

/// A GET of class eu.
pub(crate) async fn get_eu(edge: &Edge) -> Got {
    get(public(edge), "/x", &[CLAIM]).await
}

pub(crate) async fn metrics(edge: &Edge) -> String {
    get(edge.admin_addr(), "/metrics", &[]).await.body
}

/// Sum of the samples of a metric whose line contains every one of `parts`.
pub(crate) async fn metric(edge: &Edge, parts: &[&str]) -> u64 {
    let text = metrics(edge).await;
    let lines = text.lines().filter(|l| !l.starts_with('#') && parts.iter().all(|p| l.contains(p)));
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

pub(crate) async fn dump(edge: &Edge) -> Value {
    serde_json::from_str(&get(edge.admin_addr(), "/config_dump", &[]).await.body).unwrap()
}
