//! A region's backends: one process, one address per endpoint, real limits.
//!
//! Owns what a backend does with a request: work for a fixed time on one of a few workers, queue above that, 503 above
//! the queue, refuse and record what may not be here. Refuses to know of faults but those that a deployment can have by
//! itself: answering errors, to all or to data alone, being gray, and a health path that moved.

use crate::clock::now_ns;
use crate::raw::{BackendLine, Lines, Served};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Header that names the class.
pub(crate) const CLASS_HEADER: &str = "x-residency-class";
/// Header that carries the unique id of a request.
pub(crate) const ID_HEADER: &str = "x-stage-id";
/// Header that names the proxy through which a request was sent; each proxy of `anchor` kind has its own workers.
pub(crate) const PROXY_HEADER: &str = "x-stage-proxy";
/// Header in the answer that names the endpoint.
pub(crate) const ENDPOINT_HEADER: &str = "x-stage-endpoint";
/// The slow answer's time.
const SLOW: Duration = Duration::from_millis(120);
/// What a gray place fails: so many of a hundred data requests, evenly spread.
const GRAY_FAILS: u64 = 12;
/// One data request in so many is slow at a gray place. A safe one is given up after the 250 ms of a try and is answered
/// elsewhere; of what is answered there, mostly by POST, more than a hundredth is slow, so that its p99 is this time.
const GRAY_SLOW_EVERY: u64 = 12;
/// And takes so long: some 20 × the p99 of a well place.
const GRAY_SLOW: Duration = Duration::from_millis(420);
/// The longest a request waits for a worker before it is answered 503.
const QUEUE_WAIT: Duration = Duration::from_millis(500);
/// Proxies with this prefix live in a world of their own: they share no worker with the others.
pub(crate) const ANCHOR: &str = "anchor";

/// What a backend process is told, as a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BackendSpec {
    /// `aws/us-east-1`.
    pub region: String,
    /// `US`.
    pub jurisdiction: String,
    /// Name and address of each endpoint.
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// Per class the permitted jurisdictions; an empty set permits anywhere.
    pub classes: BTreeMap<String, BTreeSet<String>>,
    /// How many requests are worked on at once.
    pub workers: usize,
    /// How long each takes.
    pub service_ms: u64,
    /// Where raw lines go.
    pub raw: PathBuf,
    /// Where orders come from.
    pub control: PathBuf,
}

impl BackendSpec {
    /// Whether `class` may be here. A request without a known class may be where every class may be.
    pub(crate) fn permits(&self, class: &str) -> bool {
        let holds = |set: &BTreeSet<String>| set.is_empty() || set.contains(&self.jurisdiction);
        self.classes.get(class).map_or_else(|| self.classes.values().all(holds), holds)
    }
}

struct World {
    workers: Semaphore,
    waiting: AtomicU64,
}

struct Shared {
    spec: BackendSpec,
    lines: Lines,
    erring: AtomicBool,
    /// Data alone is answered 503; the health path is well.
    shallow: AtomicBool,
    gray: AtomicBool,
    /// Data requests since it became gray.
    grayed: AtomicU64,
    health: Mutex<String>,
    ours: World,
    anchor: World,
    connections: BTreeMap<String, AtomicU64>,
    health_seen: BTreeMap<String, AtomicU64>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves until SIGTERM.
pub(crate) async fn serve(spec: BackendSpec) -> anyhow::Result<()> {
    let lines = Lines::append(&spec.raw)?;
    lines.write(&BackendLine::Started {
        t_ns: now_ns(),
        region: spec.region.clone(),
        jurisdiction: spec.jurisdiction.clone(),
        pid: std::process::id(),
    });
    let counters = || spec.endpoints.keys().map(|k| (k.clone(), AtomicU64::new(0))).collect::<BTreeMap<_, _>>();
    let world = || World { workers: Semaphore::new(spec.workers.max(1)), waiting: AtomicU64::new(0) };
    let shared = Arc::new(Shared {
        lines,
        erring: AtomicBool::new(false),
        shallow: AtomicBool::new(false),
        gray: AtomicBool::new(false),
        grayed: AtomicU64::new(0),
        health: Mutex::new("/healthz".to_owned()),
        ours: world(),
        anchor: world(),
        connections: counters(),
        health_seen: counters(),
        spec,
    });
    let mut tasks = tokio::task::JoinSet::new();
    for (endpoint, address) in &shared.spec.endpoints {
        let listener = TcpListener::bind(address).await.map_err(|e| anyhow::anyhow!("{endpoint} on {address}: {e}"))?;
        tasks.spawn(accept(listener, endpoint.clone(), Arc::clone(&shared)));
    }
    let _ = std::fs::remove_file(&shared.spec.control);
    let control = UnixListener::bind(&shared.spec.control)?;
    tasks.spawn(orders(control, Arc::clone(&shared)));
    tasks.spawn(count_connections(Arc::clone(&shared)));
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = tasks.join_next() => {}
    }
    write_counts(&shared, &mut BTreeMap::new());
    Ok(())
}

async fn accept(listener: TcpListener, endpoint: String, shared: Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        if let Some(n) = shared.connections.get(&endpoint) {
            n.fetch_add(1, Ordering::Relaxed);
        }
        let (endpoint, shared) = (endpoint.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let (endpoint, shared) = (endpoint.clone(), Arc::clone(&shared));
                async move { Ok::<_, Infallible>(answer(request, &endpoint, &shared).await) }
            });
            let io = TokioIo::new(socket);
            let mut http = hyper::server::conn::http1::Builder::new();
            let _ = http.timer(TokioTimer::new()).serve_connection(io, service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, endpoint: &str, shared: &Shared) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let erring = shared.erring.load(Ordering::Relaxed);
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let (class, id, proxy) = (header(CLASS_HEADER), header(ID_HEADER), header(PROXY_HEADER));
    let method = request.method().clone();
    if proxy.is_empty() && method == Method::GET && !matches!(path.as_str(), "/" | "/slow" | "/stream") {
        if let Some(n) = shared.health_seen.get(endpoint) {
            n.fetch_add(1, Ordering::Relaxed);
        }
        let known = *shared.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner) == path;
        let status = match (erring, known) {
            (true, _) => StatusCode::SERVICE_UNAVAILABLE,
            (false, true) => StatusCode::OK,
            (false, false) => StatusCode::NOT_FOUND,
        };
        return plain(status, endpoint, "");
    }
    let record = |status: StatusCode, forbidden: bool| {
        shared.lines.write(&BackendLine::Request(Served {
            t_ns: now_ns(),
            endpoint: endpoint.to_owned(),
            class: class.clone(),
            method: method.to_string(),
            id: id.clone(),
            proxy: proxy.clone(),
            status: status.as_u16(),
            forbidden,
        }));
    };
    // Where a class may not be is a matter of the head: what of the body comes makes no difference.
    let permitted = shared.spec.permits(&class);
    if !permitted {
        record(StatusCode::MISDIRECTED_REQUEST, true);
    }
    let finish = |status: StatusCode, text: &'static str| {
        record(status, false);
        plain(status, endpoint, text)
    };
    if request.into_body().collect().await.is_err() {
        return plain(StatusCode::BAD_REQUEST, endpoint, "body cut short\n");
    }
    if !permitted {
        return plain(StatusCode::MISDIRECTED_REQUEST, endpoint, "this class may not be here\n");
    }
    if erring || shared.shallow.load(Ordering::Relaxed) {
        return finish(StatusCode::SERVICE_UNAVAILABLE, "erring\n");
    }
    if let Some((status, wait)) = gray(shared, path != "/stream") {
        // Written down before: a proxy that gives the request up ends this.
        record(status, false);
        tokio::time::sleep(wait).await;
        return plain(status, endpoint, "gray\n");
    }
    if path == "/stream" {
        record(StatusCode::OK, false);
        return stream(endpoint);
    }
    if !work(shared, &proxy).await {
        return finish(StatusCode::SERVICE_UNAVAILABLE, "no worker free\n");
    }
    if path == "/slow" {
        tokio::time::sleep(SLOW).await;
    }
    finish(StatusCode::OK, "ok\n")
}

/// What a gray place answers, and after how long, where that is not what a well one does; `bounded`: may take its time.
fn gray(shared: &Shared, bounded: bool) -> Option<(StatusCode, Duration)> {
    if !shared.gray.load(Ordering::Relaxed) {
        return None;
    }
    let n = shared.grayed.fetch_add(1, Ordering::Relaxed);
    let status = if fails_when_gray(n) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let wait = if bounded && is_slow_when_gray(n) { GRAY_SLOW } else { Duration::ZERO };
    (status != StatusCode::OK || !wait.is_zero()).then_some((status, wait))
}

/// Whether a gray place fails its `n`-th data request: [`GRAY_FAILS`] of each hundred.
fn fails_when_gray(n: u64) -> bool {
    (n % 100) * GRAY_FAILS % 100 < GRAY_FAILS
}

fn is_slow_when_gray(n: u64) -> bool {
    n % GRAY_SLOW_EVERY == GRAY_SLOW_EVERY / 2
}

/// Takes a worker for the service time; false where none came free in time or too many wait already.
async fn work(shared: &Shared, proxy: &str) -> bool {
    let world = if proxy.starts_with(ANCHOR) { &shared.anchor } else { &shared.ours };
    let service = shared.spec.service_ms.max(1);
    let most = (shared.spec.workers.max(1) as u64) * 500 / service;
    if world.waiting.fetch_add(1, Ordering::Relaxed) >= most {
        world.waiting.fetch_sub(1, Ordering::Relaxed);
        return false;
    }
    let permit = tokio::time::timeout(QUEUE_WAIT, world.workers.acquire()).await;
    world.waiting.fetch_sub(1, Ordering::Relaxed);
    let Ok(Ok(_permit)) = permit else { return false };
    tokio::time::sleep(Duration::from_millis(service)).await;
    true
}

fn plain(status: StatusCode, endpoint: &str, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed_unsync());
    *response.status_mut() = status;
    name(&mut response, endpoint);
    response
}

fn name(response: &mut Response<Body>, endpoint: &str) {
    if let Ok(value) = http::HeaderValue::from_str(endpoint) {
        response.headers_mut().insert(ENDPOINT_HEADER, value);
    }
}

/// A byte a second until the peer goes away.
fn stream(endpoint: &str) -> Response<Body> {
    let ticks = tokio::time::interval(Duration::from_secs(1));
    let bytes = futures::stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"."))), ticks))
    });
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(bytes)));
    name(&mut response, endpoint);
    response
}

async fn count_connections(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut last = BTreeMap::new();
    loop {
        ticks.tick().await;
        write_counts(&shared, &mut last);
    }
}

fn write_counts(shared: &Shared, last: &mut BTreeMap<String, (u64, u64)>) {
    for (endpoint, n) in &shared.connections {
        let seen = shared.health_seen.get(endpoint).map_or(0, |h| h.load(Ordering::Relaxed));
        let now = (n.load(Ordering::Relaxed), seen);
        // Health requests alone come all the time; only a new connection is worth a line.
        if last.get(endpoint).is_none_or(|l| l.0 != now.0) {
            last.insert(endpoint.clone(), now);
            let (connections, health) = now;
            let line = BackendLine::Accepted { t_ns: now_ns(), endpoint: endpoint.clone(), connections, health };
            shared.lines.write(&line);
        }
    }
}

async fn orders(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (read, mut write) = socket.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(order)) = lines.next_line().await {
            let answer = obey(&shared, order.trim());
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    }
}

fn obey(shared: &Shared, order: &str) -> &'static str {
    match order.split_once(' ') {
        Some(("erring", on)) => shared.erring.store(on == "on", Ordering::Relaxed),
        Some(("shallow", on)) => shared.shallow.store(on == "on", Ordering::Relaxed),
        Some(("gray", on)) => shared.gray.store(on == "on", Ordering::Relaxed),
        Some(("health", path)) => {
            path.clone_into(&mut shared.health.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
        _ => return "unknown\n",
    }
    "done\n"
}

/// Sends one order to a running backend and waits for its answer.
pub(crate) async fn order(control: &Path, text: &str) -> anyhow::Result<()> {
    let give_up = Duration::from_secs(2);
    let talk = async {
        let socket = UnixStream::connect(control).await?;
        let (read, mut write) = socket.into_split();
        write.write_all(format!("{text}\n").as_bytes()).await?;
        let answer = BufReader::new(read).lines().next_line().await?;
        anyhow::ensure!(answer.as_deref() == Some("done"), "{} answered {answer:?} to `{text}`", control.display());
        Ok(())
    };
    tokio::time::timeout(give_up, talk).await.map_err(|_| anyhow::anyhow!("{}: no answer", control.display()))?
}

#[cfg(test)]
mod tests;
