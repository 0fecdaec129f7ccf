//! Load reports: `envoy.service.load_stats.v3.LoadReportingService`, the receiving end.
//!
//! Owns the protocol and its bounds: every cluster is asked for, priorities of one locality are summed. Refuses to know
//! what a cluster or a locality means. Note what Envoy does not say: a locality without any count in the period, and a
//! locality that is no longer in the cluster's assignment, are both left out of a report.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, EndpointLoadMetricStats};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::{
    LoadReportingService, LoadReportingServiceServer,
};
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf::Duration as WireDuration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admission::{Admission, Denied, NodeInfo};
use super::body::peer_of;
use super::resource::NAME_BYTES_MAX;

/// How long a new stream may wait with its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Measures of one locality that are taken of a report.
pub const METRICS_MAX: usize = 32;

/// Counts of one locality of one cluster over a report's interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalityLoad {
    /// `locality.region`
    pub region: String,
    /// `locality.zone`
    pub zone: String,
    /// Requests issued in the interval.
    pub issued: u64,
    /// Requests that ended well in the interval.
    pub successful: u64,
    /// Requests that ended with an error of the endpoint in the interval.
    pub errors: u64,
    /// Requests and streams unfinished at the end of the interval.
    pub in_progress: u64,
    /// What was measured of requests that ended in the interval, by name; [`METRICS_MAX`] at the most, those that came first.
    pub metrics: Vec<MetricLoad>,
}

/// One named measure of a locality's requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricLoad {
    /// `load_metric_stats.metric_name`
    pub name: String,
    /// Requests that it was measured of.
    pub finished: u64,
    /// The sum over them: never below zero, never infinite.
    pub total: f64,
}

/// One cluster of a report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterLoad {
    /// Its name.
    pub cluster: String,
    /// In order of region and zone; each once, priorities summed.
    pub localities: Vec<LocalityLoad>,
    /// Requests that the edge dropped in the interval; the protocol counts them per cluster.
    pub dropped: u64,
    /// The period that the counts cover.
    pub interval: Duration,
}

/// Is told what edges report. Called on the stream's own task: it must not block.
pub trait LoadObserver: Send + Sync + 'static {
    /// A stream was admitted; nothing is reported yet.
    fn opened(&self, _node: &Arc<NodeInfo>, _stream: u64) {}
    /// One report: clusters with any count.
    fn reported(&self, node: &Arc<NodeInfo>, stream: u64, clusters: Vec<ClusterLoad>);
    /// An admitted stream ended.
    fn gone(&self, _node: &Arc<NodeInfo>, _stream: u64) {}
}

/// What a reporter may cost. Every limit ends the stream that breaks it, and no other.
#[derive(Debug, Clone)]
pub struct LoadLimits {
    /// A report message, in bytes.
    pub report_bytes_max: usize,
    /// Clusters in one report.
    pub clusters_max: usize,
    /// Localities (times priorities) in one cluster of a report.
    pub localities_max: usize,
    /// Reports within one second.
    pub reports_per_second: u32,
    /// Streams at one time.
    pub streams_max: usize,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            report_bytes_max: 4 << 20,
            clusters_max: 10_000,
            localities_max: 1_024,
            reports_per_second: 20,
            streams_max: 20_000,
        }
    }
}

/// How to make the service.
pub struct LoadConfig {
    /// How often edges are asked to report.
    pub interval: Duration,
    /// Limits.
    pub limits: LoadLimits,
    /// Who may report: the same decision as for subscribers.
    pub admission: Arc<dyn Admission>,
    /// Who is told.
    pub observer: Arc<dyn LoadObserver>,
}

impl LoadConfig {
    /// Reports every second, within the default limits.
    #[must_use]
    pub fn new(admission: Arc<dyn Admission>, observer: Arc<dyn LoadObserver>) -> Self {
        Self { interval: Duration::from_secs(1), limits: LoadLimits::default(), admission, observer }
    }
}

impl fmt::Debug for LoadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadConfig")
            .field("interval", &self.interval)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The gRPC service, for `tonic::transport::Server::builder().add_service(..)`.
#[must_use]
pub fn service(config: LoadConfig) -> LoadReportingServiceServer<LoadReports> {
    let bytes = config.limits.report_bytes_max;
    let shared = Shared { config, open: AtomicUsize::new(0), opened: AtomicUsize::new(0) };
    LoadReportingServiceServer::new(LoadReports { shared: Arc::new(shared) }).max_decoding_message_size(bytes)
}

struct Shared {
    config: LoadConfig,
    open: AtomicUsize,
    opened: AtomicUsize,
}

/// `envoy.service.load_stats.v3.LoadReportingService`; see [`service`].
pub struct LoadReports {
    shared: Arc<Shared>,
}

impl fmt::Debug for LoadReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadReports").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// One place among the streams; given back when dropped.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>) -> Result<Self, Status> {
        let slot = Self(Arc::clone(shared));
        if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.config.limits.streams_max {
            return Err(Status::resource_exhausted("too many load report streams"));
        }
        Ok(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An admitted stream.
struct Reporter {
    slot: Slot,
    node: Arc<NodeInfo>,
    stream: u64,
    /// Start of the second that is counted, and reports in it.
    second: (Instant, u32),
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.slot.0.config.observer.gone(&self.node, self.stream);
    }
}

impl Reporter {
    fn take(&mut self, report: LoadStatsRequest) -> Result<(), Status> {
        let config = &self.slot.0.config;
        if let Some(node) = &report.node
            && !node.id.is_empty()
            && node.id != self.node.id
        {
            return Err(Status::invalid_argument("node.id changed on an open stream"));
        }
        if self.second.0.elapsed() >= Duration::from_secs(1) {
            self.second = (Instant::now(), 0);
        }
        self.second.1 += 1;
        if self.second.1 > config.limits.reports_per_second {
            return Err(Status::resource_exhausted("too many load reports within a second"));
        }
        let clusters = read(report.cluster_stats, &config.limits)?;
        config.observer.reported(&self.node, self.stream, clusters);
        Ok(())
    }
}

pub(super) fn read(stats: Vec<ClusterStats>, limits: &LoadLimits) -> Result<Vec<ClusterLoad>, Status> {
    let (count, max) = (stats.len(), limits.clusters_max);
    if count > max {
        return Err(Status::invalid_argument(format!("{count} clusters in a report; at most {max} are taken")));
    }
    stats.into_iter().map(|of| cluster(of, limits)).collect()
}

fn cluster(of: ClusterStats, limits: &LoadLimits) -> Result<ClusterLoad, Status> {
    let (count, max) = (of.upstream_locality_stats.len(), limits.localities_max);
    if count > max || of.cluster_name.len() > NAME_BYTES_MAX {
        let text =
            format!("a cluster with {count} localities or a name of {} bytes is not taken", of.cluster_name.len());
        return Err(Status::invalid_argument(text));
    }
    let mut by_place: BTreeMap<(String, String), LocalityLoad> = BTreeMap::new();
    for row in of.upstream_locality_stats {
        let place = row.locality.unwrap_or_default();
        if place.region.len() > NAME_BYTES_MAX || place.zone.len() > NAME_BYTES_MAX {
            return Err(Status::invalid_argument("the name of a locality is too long"));
        }
        let sum = by_place.entry((place.region, place.zone)).or_default();
        sum.issued = sum.issued.saturating_add(row.total_issued_requests);
        sum.successful = sum.successful.saturating_add(row.total_successful_requests);
        sum.errors = sum.errors.saturating_add(row.total_error_requests);
        sum.in_progress = sum.in_progress.saturating_add(row.total_requests_in_progress);
        add_metrics(&mut sum.metrics, row.load_metric_stats);
    }
    let localities = by_place.into_iter().map(|((region, zone), sum)| LocalityLoad { region, zone, ..sum }).collect();
    let interval = of.load_report_interval.map(period).unwrap_or_default();
    Ok(ClusterLoad { cluster: of.cluster_name, localities, dropped: of.total_dropped_requests, interval })
}

/// Sums by name; what is over the bounds, or no number that a sum could be, is left out.
fn add_metrics(sums: &mut Vec<MetricLoad>, stats: Vec<EndpointLoadMetricStats>) {
    let is_sum = |of: &EndpointLoadMetricStats| of.total_metric_value.is_finite() && of.total_metric_value >= 0.0;
    for of in stats.into_iter().filter(is_sum) {
        if let Some(sum) = sums.iter_mut().find(|m| m.name == of.metric_name) {
            sum.finished = sum.finished.saturating_add(of.num_requests_finished_with_metric);
            sum.total = (sum.total + of.total_metric_value).min(f64::MAX);
        } else if sums.len() < METRICS_MAX && of.metric_name.len() <= NAME_BYTES_MAX {
            let (finished, total) = (of.num_requests_finished_with_metric, of.total_metric_value);
            sums.push(MetricLoad { name: of.metric_name, finished, total });
        }
    }
}

/// Zero where the field holds nonsense.
fn period(of: WireDuration) -> Duration {
    let (seconds, nanos) = (u64::try_from(of.seconds).unwrap_or(0), u32::try_from(of.nanos).unwrap_or(0));
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::from(nanos)))
}

fn status(denied: Denied) -> Status {
    match denied {
        Denied::Unauthenticated(m) => Status::unauthenticated(m),
        Denied::Permission(m) => Status::permission_denied(m),
        Denied::NotNow(m) => Status::unavailable(m),
    }
}

#[tonic::async_trait]
impl LoadReportingService for LoadReports {
    type StreamLoadStatsStream = Answers;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let slot = Slot::take(&self.shared)?;
        let peer = peer_of(request.extensions());
        let mut reports = request.into_inner();
        let first = timeout(FIRST_REQUEST, reports.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no request came on the stream"))??;
        let first = first.ok_or_else(|| Status::invalid_argument("the stream ended without a request"))?;
        let named = first.node.as_ref().filter(|n| !n.id.is_empty() && n.id.len() <= NAME_BYTES_MAX);
        let node = named
            .ok_or_else(|| Status::invalid_argument("the first request on a stream must carry a node with an id"))?;
        let node = Arc::new(NodeInfo::of(node, peer));
        let config = &self.shared.config;
        config.admission.admit(&node).map_err(status)?;
        let stream = self.shared.opened.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        config.observer.opened(&node, stream);
        let mut reporter = Reporter { slot, node, stream, second: (Instant::now(), 0) };
        if !first.cluster_stats.is_empty() {
            reporter.take(first)?;
        }
        let (out, answers) = mpsc::channel(2);
        let nanos = i32::try_from(config.interval.subsec_nanos()).unwrap_or(0);
        let seconds = i64::try_from(config.interval.as_secs()).unwrap_or(i64::MAX);
        let wish = LoadStatsResponse {
            send_all_clusters: true,
            load_reporting_interval: Some(WireDuration { seconds, nanos }),
            ..LoadStatsResponse::default()
        };
        let _ = out.try_send(Ok(wish));
        let listening = tokio::spawn(listen(reporter, reports, out)).abort_handle();
        Ok(Response::new(Answers { answers: ReceiverStream::new(answers), listening }))
    }
}

/// What is sent on one stream. Owns the task that listens on it: both end together.
#[derive(Debug)]
pub struct Answers {
    answers: ReceiverStream<Result<LoadStatsResponse, Status>>,
    listening: AbortHandle,
}

impl Stream for Answers {
    type Item = Result<LoadStatsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.answers).poll_next(cx)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Until the client ends the stream, or a report breaks a limit.
async fn listen(
    mut reporter: Reporter,
    mut reports: Streaming<LoadStatsRequest>,
    out: mpsc::Sender<Result<LoadStatsResponse, Status>>,
) {
    loop {
        let taken = match reports.message().await {
            Ok(None) => return,
            Ok(Some(report)) => reporter.take(report),
            Err(status) => Err(status),
        };
        if let Err(status) = taken {
            let _ = out.try_send(Err(status));
            return;
        }
    }
}
