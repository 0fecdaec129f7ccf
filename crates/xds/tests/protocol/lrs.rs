//! Load reports over loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, EndpointLoadMetricStats, UpstreamLocalityStats};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use tidegate_xds::client::{
    ClientConfig, ClusterTotals, LoadReporter, LoadSource, MetricTotals, NodeIdentity, PlaceTotals,
};
use tidegate_xds::server::lrs::{
    ClusterLoad, LoadConfig, LoadObserver, LocalityLoad, METRICS_MAX, MetricLoad, service,
};
use tidegate_xds::server::{Admission, AdmitAll, Denied, NodeInfo, Variant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Status, Streaming};

use crate::support::{SOON, variant};

#[derive(Debug, PartialEq)]
enum Told {
    Opened(String),
    Reported(String, Vec<ClusterLoad>),
    Gone(String),
}

struct Tells(mpsc::UnboundedSender<Told>);

impl LoadObserver for Tells {
    fn opened(&self, node: &Arc<NodeInfo>, _: u64) {
        let _ = self.0.send(Told::Opened(node.id.clone()));
    }
    fn reported(&self, node: &Arc<NodeInfo>, _: u64, clusters: Vec<ClusterLoad>) {
        let _ = self.0.send(Told::Reported(node.id.clone(), clusters));
    }
    fn gone(&self, node: &Arc<NodeInfo>, _: u64) {
        let _ = self.0.send(Told::Gone(node.id.clone()));
    }
}

struct Nobody;

impl Admission for Nobody {
    fn admit(&self, _: &NodeInfo) -> Result<Variant, Denied> {
        Err(Denied::Permission("no such group".to_owned()))
    }
}

async fn serve(
    admission: Arc<dyn Admission>,
    change: impl FnOnce(&mut LoadConfig),
) -> (SocketAddr, mpsc::UnboundedReceiver<Told>) {
    let (told, hears) = mpsc::unbounded_channel();
    let mut config = LoadConfig::new(admission, Arc::new(Tells(told)));
    change(&mut config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(service(config));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, hears)
}

type Opened = (mpsc::Sender<LoadStatsRequest>, Result<Streaming<LoadStatsResponse>, Status>);

async fn open(address: SocketAddr, first: LoadStatsRequest) -> Opened {
    let mut client = LoadReportingServiceClient::connect(format!("http://{address}")).await.unwrap();
    let (out, requests) = mpsc::channel(64);
    out.send(first).await.unwrap();
    let answer = timeout(SOON, client.stream_load_stats(ReceiverStream::new(requests))).await.unwrap();
    (out, answer.map(tonic::Response::into_inner))
}

fn hello() -> LoadStatsRequest {
    let node = Node { id: "edge-1".into(), ..Node::default() };
    LoadStatsRequest { node: Some(node), cluster_stats: Vec::new() }
}

fn row(region: &str, priority: u32, issued: u64, open: u64) -> UpstreamLocalityStats {
    UpstreamLocalityStats {
        locality: Some(Locality { region: region.into(), ..Locality::default() }),
        priority,
        total_issued_requests: issued,
        total_requests_in_progress: open,
        ..UpstreamLocalityStats::default()
    }
}

fn report(rows: Vec<UpstreamLocalityStats>) -> LoadStatsRequest {
    let interval = envoy_types::pb::google::protobuf::Duration { seconds: 1, nanos: 500_000_000 };
    let cluster = ClusterStats {
        cluster_name: "pay/eu".into(),
        upstream_locality_stats: rows,
        total_dropped_requests: 3,
        load_report_interval: Some(interval),
        ..ClusterStats::default()
    };
    LoadStatsRequest { node: None, cluster_stats: vec![cluster] }
}

async fn hear(from: &mut mpsc::UnboundedReceiver<Told>) -> Told {
    timeout(SOON, from.recv()).await.expect("in time").expect("is told")
}

async fn end(stream: &mut Streaming<LoadStatsResponse>) -> Code {
    loop {
        match timeout(SOON, stream.message()).await.expect("in time") {
            Ok(Some(_)) => {}
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}

#[tokio::test]
async fn every_cluster_is_asked_for_and_priorities_are_summed() {
    let (address, mut hears) = serve(Arc::new(AdmitAll(variant())), |c| c.interval = Duration::from_millis(250)).await;
    let (out, answer) = open(address, hello()).await;
    let mut answer = answer.unwrap();
    let wish = timeout(SOON, answer.message()).await.unwrap().unwrap().unwrap();
    let every = wish.load_reporting_interval.unwrap();
    assert!(wish.send_all_clusters && wish.clusters.is_empty());
    assert_eq!((every.seconds, every.nanos), (0, 250_000_000));
    assert_eq!(hear(&mut hears).await, Told::Opened("edge-1".into()));
    out.send(report(vec![row("b", 1, 5, 1), row("a", 0, 1, 0), row("b", 0, 2, 3)])).await.unwrap();
    let of = |region: &str, issued, in_progress| LocalityLoad {
        region: region.into(),
        issued,
        in_progress,
        ..LocalityLoad::default()
    };
    let cluster = ClusterLoad {
        cluster: "pay/eu".into(),
        localities: vec![of("a", 1, 0), of("b", 7, 4)],
        dropped: 3,
        interval: Duration::from_millis(1500),
    };
    assert_eq!(hear(&mut hears).await, Told::Reported("edge-1".into(), vec![cluster]));
    drop(out);
    assert_eq!(end(&mut answer).await, Code::Ok);
    assert_eq!(hear(&mut hears).await, Told::Gone("edge-1".into()));
}

#[tokio::test]
async fn metrics_are_summed_by_name_and_bounded() {
    let (address, mut hears) = serve(Arc::new(AdmitAll(variant())), |_| ()).await;
    let (out, _answer) = open(address, hello()).await;
    assert_eq!(hear(&mut hears).await, Told::Opened("edge-1".into()));
    let stat = |name: &str, finished, total| EndpointLoadMetricStats {
        metric_name: name.into(),
        num_requests_finished_with_metric: finished,
        total_metric_value: total,
    };
    let with = |priority, stats| UpstreamLocalityStats { load_metric_stats: stats, ..row("a", priority, 0, 0) };
    let long = "x".repeat(4_000);
    let many = (0..METRICS_MAX).map(|i| stat(&i.to_string(), 1, 0.5)).collect();
    out.send(report(vec![
        with(0, vec![stat("ms", 2, 30.5), stat(&long, 1, 1.0)]),
        with(1, many),
        with(2, vec![stat("ms", 1, f64::NAN), stat("ms", 1, f64::INFINITY), stat("ms", 1, -0.5), stat("ms", 1, 9.5)]),
    ]))
    .await
    .unwrap();
    let Told::Reported(_, clusters) = hear(&mut hears).await else { panic!("no report") };
    let metrics = &clusters[0].localities[0].metrics;
    assert_eq!(metrics[0], MetricLoad { name: "ms".into(), finished: 3, total: 40.0 });
    assert_eq!(metrics.len(), METRICS_MAX, "the last and the long name are left out");
    // What no sum could be is left out too, and two that are too large together are the largest.
    out.send(report(vec![with(0, vec![stat("ms", 1, f64::MAX), stat("ms", 1, f64::MAX)])])).await.unwrap();
    let Told::Reported(_, clusters) = hear(&mut hears).await else { panic!("no report") };
    let largest = MetricLoad { name: "ms".into(), finished: 2, total: f64::MAX };
    assert_eq!(clusters[0].localities[0].metrics, [largest]);
}

/// What the sender measured is what the receiver is told, once.
#[tokio::test]
async fn a_measure_comes_whole_over_the_wire() {
    struct Timed(std::sync::Mutex<(u64, u64)>);
    impl LoadSource for Timed {
        fn totals(&self) -> Vec<ClusterTotals> {
            let (finished, total) = *self.0.lock().unwrap();
            let metrics = vec![MetricTotals { name: "ms", finished, total }];
            let place = PlaceTotals { region: "a".into(), metrics, ..PlaceTotals::default() };
            vec![ClusterTotals { cluster: "pay/eu".into(), places: vec![place], dropped: 0 }]
        }
    }
    let quick = |c: &mut LoadConfig| c.interval = Duration::from_millis(100);
    let (address, mut hears) = serve(Arc::new(AdmitAll(variant())), quick).await;
    let timed = Arc::new(Timed(std::sync::Mutex::new((3, 60))));
    let (to, server) = tokio::sync::watch::channel(Some(format!("http://{address}")));
    let config = ClientConfig::new(vec![], NodeIdentity { id: "edge-1".into(), ..NodeIdentity::default() });
    let task = LoadReporter::spawn(config, Arc::clone(&timed) as _, server).unwrap();
    let mut sums = (0, 0.0);
    for expected in [(3, 60.0), (5, 860.0)] {
        while sums != expected {
            let Told::Reported(_, clusters) = hear(&mut hears).await else { continue };
            for of in clusters.iter().flat_map(|c| &c.localities).flat_map(|l| &l.metrics) {
                assert_eq!(of.name, "ms");
                sums = (sums.0 + of.finished, sums.1 + of.total);
            }
            assert!(sums.0 <= expected.0, "told twice");
        }
        *timed.0.lock().unwrap() = (5, 860);
    }
    drop(to);
    timeout(SOON, task).await.expect("ends with its caller").unwrap();
}

#[tokio::test]
async fn who_is_not_named_or_not_admitted_is_refused() {
    let (address, mut hears) = serve(Arc::new(AdmitAll(variant())), |_| ()).await;
    let (_out, refused) = open(address, report(vec![])).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    assert!(hears.try_recv().is_err());
    let (address, mut hears) = serve(Arc::new(Nobody), |_| ()).await;
    let (_out, refused) = open(address, hello()).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "no such group"));
    assert!(hears.try_recv().is_err());
}

#[tokio::test]
async fn limits_end_the_stream_that_breaks_them() {
    let (address, _hears) = serve(Arc::new(AdmitAll(variant())), |c| {
        c.limits.localities_max = 2;
        c.limits.report_bytes_max = 4_096;
        c.limits.reports_per_second = 3;
        c.limits.streams_max = 1;
    })
    .await;
    let big = "x".repeat(900);
    let many = report(vec![row("a", 0, 1, 1), row("b", 0, 1, 1), row("c", 0, 1, 1)]);
    let long = LoadStatsRequest {
        node: None,
        cluster_stats: vec![report(vec![row(&big, 0, 1, 1)]).cluster_stats[0].clone(); 9],
    };
    let other = LoadStatsRequest { node: Some(Node { id: "edge-2".into(), ..Node::default() }), cluster_stats: vec![] };
    let cases = [
        (vec![many], Code::InvalidArgument),
        (vec![long], Code::OutOfRange),
        (vec![other], Code::InvalidArgument),
        (vec![report(vec![]); 4], Code::ResourceExhausted),
    ];
    for (requests, code) in cases {
        let (out, answer) = open_when_free(address).await;
        let mut answer = answer.unwrap();
        let (_second, refused) = open(address, hello()).await;
        assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted, "one stream at a time");
        for request in requests {
            out.send(request).await.unwrap();
        }
        assert_eq!(end(&mut answer).await, code);
    }
}

/// The place of the stream before is given back a moment after its end.
async fn open_when_free(address: SocketAddr) -> Opened {
    timeout(SOON, async {
        loop {
            let opened = open(address, hello()).await;
            if opened.1.is_ok() {
                return opened;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("in time")
}

/// Totals that the test sets.
#[derive(Default)]
struct Counts(std::sync::Mutex<(u64, u64)>);

impl LoadSource for Counts {
    fn totals(&self) -> Vec<ClusterTotals> {
        let (issued, in_progress) = *self.0.lock().unwrap();
        let place = PlaceTotals { region: "a".into(), zone: "1".into(), issued, in_progress, ..PlaceTotals::default() };
        vec![ClusterTotals { cluster: "pay/eu".into(), places: vec![place], dropped: issued }]
    }
}

/// (issued, in progress, dropped) of the next report that says anything.
async fn next_counts(hears: &mut mpsc::UnboundedReceiver<Told>) -> (u64, u64, u64) {
    loop {
        if let Told::Reported(_, clusters) = hear(hears).await
            && let Some(of) = clusters.first()
        {
            assert!(of.interval > Duration::ZERO && of.localities.iter().all(|l| l.zone == "1"), "{of:?}");
            let row = of.localities.first().cloned().unwrap_or_default();
            return (row.issued, row.in_progress, of.dropped);
        }
    }
}

#[tokio::test]
async fn the_sender_follows_its_subscription_and_loses_no_count() {
    let quick = |c: &mut LoadConfig| c.interval = Duration::from_millis(100);
    let (one, mut hears) = serve(Arc::new(AdmitAll(variant())), quick).await;
    let (two, mut hears_two) = serve(Arc::new(AdmitAll(variant())), quick).await;
    let (dead, _) = serve(Arc::new(Nobody), quick).await;
    let counts = Arc::new(Counts::default());
    let address = |a: SocketAddr| Some(format!("http://{a}"));
    let (to, server) = tokio::sync::watch::channel(None);
    let mut config = ClientConfig::new(vec![], NodeIdentity { id: "edge-1".into(), ..NodeIdentity::default() });
    config.backoff_min = Duration::from_millis(5);
    let task = LoadReporter::spawn(config, Arc::clone(&counts) as _, server).unwrap();
    *counts.0.lock().unwrap() = (5, 2);
    to.send_replace(address(one));
    assert_eq!(hear(&mut hears).await, Told::Opened("edge-1".into()));
    assert_eq!(next_counts(&mut hears).await, (5, 2, 5));
    assert_eq!(next_counts(&mut hears).await, (0, 2, 0), "what is open stays");
    // Where it is refused it tries again, until its caller is somewhere else.
    to.send_replace(address(dead));
    while hear(&mut hears).await != Told::Gone("edge-1".into()) {}
    *counts.0.lock().unwrap() = (9, 0);
    to.send_replace(address(two));
    assert_eq!(hear(&mut hears_two).await, Told::Opened("edge-1".into()));
    assert_eq!(next_counts(&mut hears_two).await, (4, 0, 4));
    assert_eq!(next_counts(&mut hears_two).await, (0, 0, 0), "once: idle");
    to.send_replace(None);
    while hear(&mut hears_two).await != Told::Gone("edge-1".into()) {}
    drop(to);
    timeout(SOON, task).await.expect("ends with its caller").unwrap();
}
