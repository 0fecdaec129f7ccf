//! A running Envoy and a place that drains: what it gets (nothing new), what it keeps (open streams), what is reported.
//! Skipped, with a line, on a machine without Envoy.

use super::envoy::{at, params, present};
use super::fixture::{AWS_DE, AZURE_NL, EDGE_DE, EU, PER_REGION, fleet, plan, routed};
use super::live::{Running, ask, launch, until};
use crate::bootstrap::{Source, envoy, files};
use crate::translate;
use envoy_types::pb::envoy::config::cluster::v3::cluster::EdsClusterConfig;
use envoy_types::pb::envoy::config::core::v3::{ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::{
    LoadReportingService, LoadReportingServiceServer,
};
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf::{Any, Duration as WireDuration};
use prost::{Message, Name};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_domain::{ClassSplit, Fleet};
use tonic::{Request, Response, Status, Streaming};

const HOST: &str = "host: payroll.example\r\nx-residency: eu\r\n";

/// A region's backend: counts requests, holds `/stream` open until `end`, and hangs up on everybody when `dead`.
#[derive(Default)]
struct Place {
    requests: AtomicUsize,
    end: AtomicBool,
    dead: AtomicBool,
}

impl Place {
    fn start(self: &Arc<Self>, region: usize) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let place = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let place = Arc::clone(&place);
                std::thread::spawn(move || place.serve(stream, region));
            }
        });
        port
    }

    fn serve(&self, mut stream: TcpStream, region: usize) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return None;
                }
            }
            self.requests.fetch_add(1, Ordering::SeqCst);
            if self.dead.load(Ordering::SeqCst) {
                return None;
            }
            if head.starts_with("GET /stream") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
                while !self.end.load(Ordering::SeqCst) {
                    stream.write_all(format!("1\r\n{region}\r\n").as_bytes()).ok()?;
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                stream.write_all(b"0\r\n\r\n").ok()?;
            } else {
                stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{region}").as_bytes()).ok()?;
            }
        }
    }
}

/// The newest report: number, and by region (issued, in progress) of class eu.
type Report = (usize, BTreeMap<String, (u64, u64)>);

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Report>>);

#[tonic::async_trait]
impl LoadReportingService for Reports {
    type StreamLoadStatsStream = tokio_stream::wrappers::ReceiverStream<Result<LoadStatsResponse, Status>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let (out, answers) = tokio::sync::mpsc::channel(1);
        let every = WireDuration { seconds: 0, nanos: 100_000_000 };
        let wish =
            LoadStatsResponse { send_all_clusters: true, load_reporting_interval: Some(every), ..Default::default() };
        out.try_send(Ok(wish)).map_err(|_| Status::internal("full"))?;
        let (mut requests, reports) = (request.into_inner(), self.clone());
        tokio::spawn(async move {
            while let Ok(Some(report)) = requests.message().await {
                let of = report.cluster_stats.iter().filter(|c| c.cluster_name == "payroll/eu");
                let mut seen = BTreeMap::new();
                for row in of.flat_map(|c| &c.upstream_locality_stats) {
                    let region = row.locality.clone().unwrap_or_default().region;
                    let sum: &mut (u64, u64) = seen.entry(region).or_default();
                    *sum = (sum.0 + row.total_issued_requests, sum.1 + row.total_requests_in_progress);
                }
                let mut newest = reports.0.lock().expect("not poisoned");
                *newest = (newest.0 + 1, seen);
            }
            drop(out);
        });
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(answers)))
    }
}

impl Reports {
    /// What the report after next says of a region: all of its period lies after this call.
    fn next(&self, region: &str) -> (u64, u64) {
        let read = || self.0.lock().expect("not poisoned").clone();
        let now = read().0;
        let (_, rows) = until("two reports", || Some(read()).filter(|r| r.0 >= now + 2));
        rows.get(region).copied().unwrap_or_default()
    }
}

fn serve_reports() -> (tokio::runtime::Runtime, Reports, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    let reports = Reports::default();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tonic::transport::Server::builder().add_service(LoadReportingServiceServer::new(reports.clone()));
    runtime.spawn(server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener)));
    (runtime, reports, address)
}

fn place_file(dir: &Path, name: &str, all: Vec<Any>) {
    let type_url = all[0].type_url.clone();
    let of =
        DiscoveryResponse { version_info: "1".to_owned(), resources: all, type_url, ..DiscoveryResponse::default() };
    let new = dir.join("new");
    std::fs::write(&new, of.encode_to_vec()).expect("written");
    std::fs::rename(new, dir.join(name)).expect("moved");
}

fn any<M: Message + Name>(of: &M) -> Any {
    Any { type_url: M::type_url(), value: of.encode_to_vec() }
}

/// Puts the plan's assignments where Envoy watches, one file each.
fn publish(dir: &Path, fleet: &Fleet, eu: ClassSplit) {
    let mut plan = plan(fleet);
    plan.splits[0] = eu;
    for (i, (_, assignment)) in translate(fleet, &plan).expect("translates")[EDGE_DE.at()].endpoints.iter().enumerate()
    {
        place_file(dir, &format!("eds-{i}.pb"), vec![any(assignment)]);
    }
}

fn start(dir: &Path, fleet: &Fleet, load: SocketAddr) -> (Running, SocketAddr, SocketAddr) {
    let resources = &translate(fleet, &plan(fleet)).expect("translates")[EDGE_DE.at()];
    for (name, content) in files(resources) {
        std::fs::write(dir.join(name), content).expect("written");
    }
    let by_file = |i: usize| EdsClusterConfig {
        service_name: String::new(),
        eds_config: Some(ConfigSource {
            config_source_specifier: Some(ConfigSourceSpecifier::PathConfigSource(PathConfigSource {
                path: dir.join(format!("eds-{i}.pb")).display().to_string(),
                ..PathConfigSource::default()
            })),
            resource_api_version: 2,
            ..ConfigSource::default()
        }),
    };
    let clusters = resources.clusters.iter().enumerate().map(|(i, (_, cluster))| {
        let mut cluster = cluster.clone();
        cluster.eds_cluster_config = Some(by_file(i));
        any(&cluster)
    });
    place_file(dir, crate::bootstrap::CLUSTERS_FILE, clusters.collect());
    let mut config = envoy(&params(Source::Servers { servers: vec![at("127.0.0.1", load.port())], tls: None }));
    config["dynamic_resources"] = envoy(&params(Source::Files(dir.display().to_string())))["dynamic_resources"].take();
    launch(dir, &config)
}

/// Envoy's own page: the health that it was told of the hosts at a port.
fn told(admin: SocketAddr, port: u16) -> Option<String> {
    let (_, body) = ask(admin, "GET", "/clusters", "host: admin\r\n")?;
    let line = format!("payroll/eu::127.0.0.1:{port}::health_flags::");
    body.lines().find_map(|l| l.strip_prefix(&line).map(str::to_owned))
}

#[test]
fn a_draining_place_gets_nothing_new_keeps_its_streams_and_is_reported() {
    if !present() {
        return;
    }
    let mut fleet = fleet();
    fleet.services[0].listener.port = 0;
    let places: Vec<Arc<Place>> = (0..fleet.regions.len()).map(|_| Arc::default()).collect();
    let ports: Vec<u16> = places.iter().enumerate().map(|(i, p)| p.start(i)).collect();
    for (i, endpoint) in fleet.endpoints.iter_mut().enumerate() {
        (endpoint.host, endpoint.port) = ("127.0.0.1".to_owned(), ports[i / PER_REGION]);
    }
    let (_runtime, reports, load) = serve_reports();
    let dir = tempfile::tempdir().expect("a directory");
    let both = routed(EU, EDGE_DE, &[(AWS_DE, 5000), (AZURE_NL, 5000)], vec![]);
    publish(dir.path(), &fleet, both.clone());
    let (_running, admin, edge) = start(dir.path(), &fleet, load);
    let (aws, azure) = (&places[AWS_DE.at()], &places[AZURE_NL.at()]);
    let count = || aws.requests.load(Ordering::SeqCst);

    let mut streams: Vec<TcpStream> = (0..8).map(|_| open(edge)).collect();
    let there = until("streams at both", || Some(reports.next("aws/eu-central-1").1).filter(|n| *n > 0));
    publish(dir.path(), &fleet, routed(EU, EDGE_DE, &[(AZURE_NL, 10_000)], vec![]));
    until("Envoy drains it", || told(admin, ports[0]).filter(|flags| flags.contains("eds")));
    let before = count();
    for method in ["GET", "POST"].repeat(50) {
        let (head, body) = ask(edge, method, "/", HOST).expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200") && body == "1", "{head} {body}");
    }
    assert_eq!(reports.next("aws/eu-central-1"), (0, there), "the open streams are still reported, and nothing new");
    // Everything else is dead: tries, retries to other priorities, ejection; nothing goes to the draining place.
    azure.dead.store(true, Ordering::SeqCst);
    for method in ["GET", "POST"].repeat(30) {
        assert_eq!(status(edge, method), "HTTP/1.1 503 Service Unavailable", "{method}");
    }
    assert!(azure.requests.load(Ordering::SeqCst) > 53, "100 answered and those that died there");
    publish(dir.path(), &fleet, routed(EU, EDGE_DE, &[], vec![]));
    until("Envoy drains both", || told(admin, ports[1]).filter(|flags| flags.contains("eds")));
    for method in ["GET", "POST"].repeat(10) {
        assert_eq!(status(edge, method), "HTTP/1.1 503 Service Unavailable", "{method}");
    }
    assert_eq!(count(), before, "no request went to the draining place");
    assert!(streams.iter_mut().all(flows), "every stream goes on");
    assert_eq!(reports.next("aws/eu-central-1"), (0, there));
    aws.end.store(true, Ordering::SeqCst);
    until("nothing open is reported", || Some(()).filter(|()| reports.next("aws/eu-central-1") == (0, 0)));
    // Control: a place that is back carries, or the counts above say nothing.
    publish(dir.path(), &fleet, both);
    until("it carries again", || Some(()).filter(|()| ask(edge, "GET", "/", HOST).is_some_and(|a| a.1 == "0")));
    assert!(count() > before);
}

/// The first line of an answer. Envoy keeps a connection that it refused on for a second, which nobody here waits for.
fn status(edge: SocketAddr, method: &str) -> String {
    let mut stream = TcpStream::connect(edge).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    stream.write_all(format!("{method} / HTTP/1.1\r\n{HOST}content-length: 0\r\n\r\n").as_bytes()).expect("sent");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}

fn open(edge: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(edge).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    stream.write_all(format!("GET /stream HTTP/1.1\r\n{HOST}\r\n").as_bytes()).expect("sent");
    assert!(flows(&mut stream));
    stream
}

/// More of the stream comes, more than what may lie in buffers.
fn flows(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    let mut all = [0; 65_536];
    while stream.read(&mut all).is_ok_and(|n| n > 0) {}
    stream.set_nonblocking(false).expect("set");
    stream.read(&mut all).is_ok_and(|n| n > 0)
}
