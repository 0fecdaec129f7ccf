//! Load reports: `envoy.service.load_stats.v3.LoadReportingService`, the sending end.
//!
//! Owns the protocol: running totals in, what is new since the last report out, at the interval that the server asks
//! for. A report that could not be sent loses nothing: its counts are in the next one, which says over what time.
//! Refuses to know what a cluster or a place means, and to bother a server other than the one the caller names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, EndpointLoadMetricStats, UpstreamLocalityStats};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf::Duration as WireDuration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::machine::NodeIdentity;
use super::shell::{ClientConfig, ClientError, endpoint, error_text, status_text};

/// Bounds on the interval that a server may ask for.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(600);
/// Where a server does not say.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows (a cluster at a place) in one report; those in order beyond it are left out.
const ROWS_MAX: usize = 20_000;

/// Requests of one cluster at one place, counted since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaceTotals {
    /// `locality.region`
    pub region: String,
    /// `locality.zone`
    pub zone: String,
    /// Requests sent there, ever.
    pub issued: u64,
    /// Of those, answered well.
    pub successful: u64,
    /// Of those, failed by the endpoint's doing.
    pub errors: u64,
    /// Requests and streams that are unfinished now.
    pub in_progress: u64,
    /// What was measured of requests, each name once.
    pub metrics: Vec<MetricTotals>,
}

/// One named measure of the requests of a place, summed since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MetricTotals {
    /// Its name.
    pub name: &'static str,
    /// Requests that it was measured of, ever.
    pub finished: u64,
    /// The sum, in the unit that the name says.
    pub total: u64,
}

/// One cluster's places. A place may be here that its assignment no longer lists: it is reported all the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterTotals {
    /// Its name.
    pub cluster: String,
    /// Each place once.
    pub places: Vec<PlaceTotals>,
    /// Requests that were not sent on (shed, or over a limit), ever.
    pub dropped: u64,
}

/// Says how much there is. Called on the reporter's task, once per report: it must not block.
pub trait LoadSource: Send + Sync + 'static {
    /// All clusters as they stand.
    fn totals(&self) -> Vec<ClusterTotals>;
}

/// What was reported last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reported {
    issued: u64,
    successful: u64,
    errors: u64,
    metrics: Vec<MetricTotals>,
    /// The last row said something other than nothing.
    busy: bool,
}

/// Reports without IO: running totals in, messages out.
#[derive(Debug)]
pub struct LoadMachine {
    node: NodeIdentity,
    rows: BTreeMap<(String, String, String), Reported>,
    dropped: BTreeMap<String, u64>,
    /// Clusters that the server asked for; none: all.
    wanted: Option<BTreeSet<String>>,
}

/// A count that began anew (its cluster had been gone) is new as a whole.
fn since(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

impl LoadMachine {
    /// Nothing is reported yet.
    #[must_use]
    pub fn new(node: NodeIdentity) -> Self {
        Self { node, rows: BTreeMap::new(), dropped: BTreeMap::new(), wanted: None }
    }

    /// What opens a stream.
    #[must_use]
    pub fn hello(&self) -> LoadStatsRequest {
        LoadStatsRequest { node: Some(self.node.to_node()), cluster_stats: Vec::new() }
    }

    /// The server's wish; returns how often to report.
    pub fn on_response(&mut self, response: LoadStatsResponse) -> Duration {
        self.wanted = (!response.send_all_clusters).then(|| response.clusters.into_iter().collect());
        let asked = response.load_reporting_interval.and_then(|d| {
            Some(Duration::new(
                u64::try_from(d.seconds).ok()?,
                u32::try_from(d.nanos).ok().filter(|n| *n < 1_000_000_000)?,
            ))
        });
        asked.filter(|d| !d.is_zero()).unwrap_or(INTERVAL).clamp(INTERVAL_MIN, INTERVAL_MAX)
    }

    /// A report of what is new over `period`. Idle places are left out, after one row that says that they are idle:
    /// a server that had read of open requests learns that they ended.
    pub fn report(&mut self, totals: Vec<ClusterTotals>, period: Duration) -> LoadStatsRequest {
        let period = WireDuration {
            seconds: i64::try_from(period.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(period.subsec_nanos()).unwrap_or(0),
        };
        let mut left = ROWS_MAX;
        let (mut rows, dropped) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.dropped));
        let mut cluster_stats = Vec::new();
        for of in totals {
            if self.wanted.as_ref().is_some_and(|w| !w.contains(&of.cluster)) || left == 0 {
                continue;
            }
            let mut stats = ClusterStats {
                total_dropped_requests: since(of.dropped, dropped.get(&of.cluster).copied().unwrap_or(0)),
                load_report_interval: Some(period),
                ..ClusterStats::default()
            };
            self.dropped.insert(of.cluster.clone(), of.dropped);
            for place in of.places.into_iter().take(left) {
                left -= 1;
                let key = (of.cluster.clone(), place.region.clone(), place.zone.clone());
                let (row, now) = new(place, &rows.remove(&key).unwrap_or_default());
                stats.upstream_locality_stats.extend(row);
                self.rows.insert(key, now);
            }
            if stats.total_dropped_requests > 0 || !stats.upstream_locality_stats.is_empty() {
                stats.cluster_name = of.cluster;
                cluster_stats.push(stats);
            }
        }
        LoadStatsRequest { node: None, cluster_stats }
    }
}

/// The row of a place, if there is anything to say.
fn new(place: PlaceTotals, before: &Reported) -> (Option<UpstreamLocalityStats>, Reported) {
    let (load_metric_stats, metrics) = measured(place.metrics, &before.metrics);
    let row = UpstreamLocalityStats {
        total_issued_requests: since(place.issued, before.issued),
        total_successful_requests: since(place.successful, before.successful),
        total_error_requests: since(place.errors, before.errors),
        total_requests_in_progress: place.in_progress,
        load_metric_stats,
        ..UpstreamLocalityStats::default()
    };
    let busy = row != UpstreamLocalityStats::default();
    let now = Reported { issued: place.issued, successful: place.successful, errors: place.errors, metrics, busy };
    let locality = Locality { region: place.region, zone: place.zone, sub_zone: String::new() };
    ((busy || before.busy).then_some(UpstreamLocalityStats { locality: Some(locality), ..row }), now)
}

/// What is new of each measure, and what has been reported of it then. A sum that came without its request waits for it.
fn measured(now: Vec<MetricTotals>, before: &[MetricTotals]) -> (Vec<EndpointLoadMetricStats>, Vec<MetricTotals>) {
    let (mut stats, mut reported) = (Vec::new(), Vec::with_capacity(now.len()));
    for of in now {
        let was = before.iter().find(|b| b.name == of.name).copied().unwrap_or_default();
        let finished = since(of.finished, was.finished);
        if finished == 0 {
            reported.push(MetricTotals { name: of.name, ..was });
            continue;
        }
        stats.push(EndpointLoadMetricStats {
            metric_name: of.name.to_owned(),
            num_requests_finished_with_metric: finished,
            total_metric_value: since(of.total, was.total) as f64,
        });
        reported.push(of);
    }
    (stats, reported)
}

/// The reporter's tokio shell.
///
/// It follows `server`: the address of the server that the caller is subscribed to, so that one server knows of an
/// edge both what it was told and what it carries. Without one it waits. It never gives up.
pub struct LoadReporter {
    config: ClientConfig,
    machine: LoadMachine,
    source: Arc<dyn LoadSource>,
    server: watch::Receiver<Option<String>>,
    reported_at: Instant,
}

impl std::fmt::Debug for LoadReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadReporter").field("config", &self.config).finish_non_exhaustive()
    }
}

impl LoadReporter {
    /// A reporter as its own task; the caller joins or aborts it. Of `config` it takes the node, TLS, time-outs and
    /// pauses. It ends by itself when the sender of `server` is dropped.
    ///
    /// # Errors
    /// [`ClientError`] when a configured address cannot be used.
    pub fn spawn(
        config: ClientConfig,
        source: Arc<dyn LoadSource>,
        server: watch::Receiver<Option<String>>,
    ) -> Result<JoinHandle<()>, ClientError> {
        for address in &config.servers {
            endpoint(address, &config)?;
        }
        let machine = LoadMachine::new(config.node.clone());
        let reporter = Self { config, machine, source, server, reported_at: Instant::now() };
        Ok(tokio::spawn(reporter.run()))
    }

    async fn run(mut self) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.config.backoff_min)
            .with_max_delay(self.config.backoff_max)
            .without_max_times()
            .with_jitter();
        let mut pauses = backoff.build();
        let mut moves = self.server.clone();
        loop {
            let Ok(address) = moves.wait_for(Option::is_some).await.map(|a| a.clone()) else { return };
            let Some(address) = address else { continue };
            let ended = tokio::select! {
                ended = self.connection(&address) => Some(ended),
                moved = moved(&mut moves, &address) => match moved {
                    Ok(()) => None,
                    Err(_) => return,
                },
            };
            let Some((served, reason)) = ended else {
                pauses = backoff.build();
                continue;
            };
            tracing::debug!(server = address, reason, "load reports are not taken");
            if served {
                pauses = backoff.build();
            }
            let pause = pauses.next().unwrap_or(self.config.backoff_max).min(self.config.backoff_max);
            tokio::select! {
                () = sleep(pause) => {}
                moved = moved(&mut moves, &address) => if moved.is_err() { return },
            }
        }
    }

    /// One stream from its making to its end: whether the server ever said what it wants, and why it ended.
    async fn connection(&mut self, address: &str) -> (bool, String) {
        let limit = self.config.connect_timeout;
        let connecting = match endpoint(address, &self.config) {
            Ok(endpoint) => async move { timeout(limit, endpoint.connect()).await },
            Err(error) => return (false, error.to_string()),
        };
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return (false, error_text(&error)),
            Err(_) => return (false, "time-out while connecting".to_owned()),
        };
        let (requests, outgoing) = mpsc::channel(2);
        let _ = requests.try_send(self.machine.hello());
        let mut rpc = LoadReportingServiceClient::new(channel);
        match timeout(limit, rpc.stream_load_stats(ReceiverStream::new(outgoing))).await {
            Err(_) => (false, "time-out while opening the stream".to_owned()),
            Ok(Err(status)) => (false, status_text(&status)),
            Ok(Ok(response)) => self.stream(requests, response.into_inner()).await,
        }
    }

    async fn stream(
        &mut self,
        requests: mpsc::Sender<LoadStatsRequest>,
        mut responses: Streaming<LoadStatsResponse>,
    ) -> (bool, String) {
        let mut every = match responses.message().await {
            Ok(Some(response)) => ticks(self.machine.on_response(response)),
            Ok(None) => return (false, "the server closed the stream".to_owned()),
            Err(status) => return (false, status_text(&status)),
        };
        loop {
            tokio::select! {
                message = responses.message() => match message {
                    Ok(Some(response)) => every = ticks(self.machine.on_response(response)),
                    Ok(None) => return (true, "the server closed the stream".to_owned()),
                    Err(status) => return (true, status_text(&status)),
                },
                now = every.tick() => {
                    // A server that does not read gets the counts with a later report.
                    let Ok(permit) = requests.try_reserve() else { continue };
                    let period = now.saturating_duration_since(self.reported_at);
                    self.reported_at = now;
                    permit.send(self.machine.report(self.source.totals(), period));
                }
            }
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Until the caller is subscribed elsewhere, or nowhere.
async fn moved(server: &mut watch::Receiver<Option<String>>, from: &str) -> Result<(), watch::error::RecvError> {
    server.wait_for(|now| now.as_deref() != Some(from)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(issued: u64, in_progress: u64, dropped: u64) -> Vec<ClusterTotals> {
        let place =
            PlaceTotals { region: "a".into(), issued, successful: issued / 2, in_progress, ..PlaceTotals::default() };
        vec![ClusterTotals { cluster: "c".into(), places: vec![place], dropped }]
    }

    /// (issued, successful, in progress, dropped) of the one row.
    fn read(of: &LoadStatsRequest) -> Option<(u64, u64, u64, u64)> {
        let cluster = of.cluster_stats.first()?;
        assert_eq!(cluster.cluster_name, "c");
        let row = cluster.upstream_locality_stats.first().cloned().unwrap_or_default();
        Some((
            row.total_issued_requests,
            row.total_successful_requests,
            row.total_requests_in_progress,
            cluster.total_dropped_requests,
        ))
    }

    #[test]
    fn what_is_new_is_reported_and_the_end_of_it_once() {
        let mut machine = LoadMachine::new(NodeIdentity { id: "e".into(), ..NodeIdentity::default() });
        assert_eq!(machine.hello().node.unwrap().id, "e");
        let period = Duration::from_millis(1_500);
        let mut next = |issued, open, dropped| machine.report(totals(issued, open, dropped), period);
        let first = next(4, 1, 3);
        let every = first.cluster_stats[0].load_report_interval.unwrap();
        assert_eq!((every.seconds, every.nanos), (1, 500_000_000));
        assert_eq!(read(&first), Some((4, 2, 1, 3)));
        assert_eq!(read(&next(4, 1, 3)), Some((0, 0, 1, 0)), "what is open stays in every report");
        assert_eq!(read(&next(10, 0, 5)), Some((6, 3, 0, 2)));
        assert_eq!(read(&next(10, 0, 5)), Some((0, 0, 0, 0)), "once: idle");
        assert_eq!(read(&next(10, 0, 5)), None);
        assert_eq!(read(&next(2, 0, 0)), Some((2, 1, 0, 0)), "counts that began anew");
    }

    #[test]
    fn a_measure_is_reported_once_and_its_sum_with_its_request() {
        let mut machine = LoadMachine::new(NodeIdentity::default());
        let mut next = |finished, total| {
            let metrics = vec![MetricTotals { name: "ms", finished, total }];
            let place = PlaceTotals { region: "a".into(), metrics, ..PlaceTotals::default() };
            let of = ClusterTotals { cluster: "c".into(), places: vec![place], dropped: 0 };
            let report = machine.report(vec![of], INTERVAL);
            let rows = report.cluster_stats.first().map(|c| c.upstream_locality_stats[0].load_metric_stats.clone());
            rows.unwrap_or_default().first().map(|m| (m.num_requests_finished_with_metric, m.total_metric_value))
        };
        assert_eq!(next(0, 0), None);
        assert_eq!(next(4, 80), Some((4, 80.0)));
        assert_eq!(next(4, 480), None, "the sum came first");
        assert_eq!(next(5, 480), Some((1, 400.0)));
        assert_eq!(next(2, 30), Some((2, 30.0)), "counts that began anew");
    }

    #[test]
    fn the_servers_wish_is_bounded_and_followed() {
        let mut machine = LoadMachine::new(NodeIdentity::default());
        let mut wish = |seconds, nanos, clusters: &[&str]| {
            machine.on_response(LoadStatsResponse {
                clusters: clusters.iter().map(|c| (*c).to_owned()).collect(),
                load_reporting_interval: Some(WireDuration { seconds, nanos }),
                ..LoadStatsResponse::default()
            })
        };
        assert_eq!(wish(2, 0, &[]), Duration::from_secs(2));
        assert_eq!([wish(0, 0, &[]), wish(-1, 0, &[]), wish(1, -5, &[])], [INTERVAL; 3]);
        assert_eq!((wish(0, 1, &[]), wish(i64::MAX, 0, &["d"])), (INTERVAL_MIN, INTERVAL_MAX));
        assert!(machine.report(totals(1, 1, 1), INTERVAL).cluster_stats.is_empty(), "only `d` is asked for");
    }

    #[test]
    fn a_report_is_bounded() {
        let place = |i: usize| PlaceTotals { region: i.to_string(), issued: 1, ..PlaceTotals::default() };
        let of = ClusterTotals { cluster: "c".into(), places: (0..ROWS_MAX + 9).map(place).collect(), dropped: 0 };
        let report = LoadMachine::new(NodeIdentity::default()).report(vec![of], INTERVAL);
        assert_eq!(report.cluster_stats[0].upstream_locality_stats.len(), ROWS_MAX);
    }
}
