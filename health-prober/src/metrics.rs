//! What the prober counts, and the page that shows it.

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{
    Counter, Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::sync::Arc;
use tidegate_gossip::shell::Snapshot;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) probes: IntCounterVec,
    pub(crate) lateness: Histogram,
    pub(crate) targets: IntGaugeVec,
    pub(crate) self_doubt: IntGauge,
    pub(crate) self_doubt_seconds: Counter,
    pub(crate) pauses: IntCounter,
    pub(crate) references: IntGauge,
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let made = IntCounter::new(name, help)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}
fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    let made = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}
fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let made = IntGauge::new(name, help)?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
        let about = "Start of probes after their planned time.";
        let lateness =
            Histogram::with_opts(HistogramOpts::new("tidegate_prober_start_lateness_seconds", about).buckets(buckets))?;
        registry.register(Box::new(lateness.clone()))?;
        let targets = IntGaugeVec::new(Opts::new("tidegate_prober_targets", "Targets by state."), &["state"])?;
        registry.register(Box::new(targets.clone()))?;
        let doubted = "Time for which the vantage doubted what it sees.";
        let self_doubt_seconds = Counter::new("tidegate_prober_self_doubt_seconds_total", doubted)?;
        registry.register(Box::new(self_doubt_seconds.clone()))?;
        let r = &registry;
        Ok(Self {
            probes: counters(r, "tidegate_prober_probes_total", "Probes by result.", "result")?,
            lateness,
            targets,
            self_doubt: gauge(r, "tidegate_prober_self_doubt", "1 while the vantage doubts what it sees.")?,
            self_doubt_seconds,
            pauses: counter(r, "tidegate_prober_pauses_total", "Pauses of the probe loop over 500 ms.")?,
            references: gauge(r, "tidegate_prober_references_reached", "References reached.")?,
            registry,
        })
    }

    fn text(&self, gossip: &Snapshot) -> prometheus::Result<String> {
        let mut page = Vec::new();
        let mut families = self.registry.gather();
        families.extend(gossip_page(gossip)?.gather());
        TextEncoder::new().encode(&families, &mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
}

/// The gossip counts for itself: its part of the page is made anew each time.
fn gossip_page(gossip: &Snapshot) -> prometheus::Result<Registry> {
    let registry = Registry::new_custom(Some("tidegate".to_owned()), None)?;
    let members = gauge(&registry, "gossip_members", "Other members, up or suspect.")?;
    members.set(i64::try_from(gossip.members.len()).unwrap_or(i64::MAX));
    let doubt = gauge(&registry, "gossip_doubts_itself", "1 while the node holds its own suspicions back.")?;
    doubt.set(i64::from(gossip.doubts_itself));
    for family in gossip.counters.families() {
        let made = IntCounterVec::new(Opts::new(family.name, family.help), family.label.as_slice())?;
        registry.register(Box::new(made.clone()))?;
        for (value, count) in &family.series {
            made.with_label_values(value.as_slice()).inc_by(*count);
        }
    }
    Ok(registry)
}

type Shared = (Arc<Metrics>, watch::Receiver<Snapshot>);

async fn page(State((metrics, gossip)): State<Shared>) -> Result<String, (StatusCode, String)> {
    let text = metrics.text(&gossip.borrow());
    text.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Serves `/metrics` and `/healthz` until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Shared) -> anyhow::Result<()> {
    let routes = Router::new().route("/metrics", get(page)).route("/healthz", get(async || "ok\n")).with_state(shared);
    axum::serve(listener, routes).await.context("metrics page")
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use tidegate_gossip::shell::Snapshot;

    #[test]
    fn the_page_shows_what_the_gossip_counts_each_time_anew() {
        let metrics = Metrics::new().unwrap();
        let mut snapshot = Snapshot::default();
        snapshot.counters.rejoins = 3;
        snapshot.doubts_itself = true;
        for _ in 0..2 {
            let page = metrics.text(&snapshot).unwrap();
            for line in [
                "# TYPE tidegate_gossip_rejoins_total counter",
                "tidegate_gossip_rejoins_total 3",
                "tidegate_gossip_doubts_itself 1",
                "tidegate_gossip_dropped_total{reason=\"flood\"} 0",
                "tidegate_gossip_datagrams_total{direction=\"sent\"} 0",
                "tidegate_prober_pauses_total 0",
                "tidegate_prober_self_doubt_seconds_total 0",
                "tidegate_gossip_suspicions_total{event=\"confirmed\"} 0",
            ] {
                assert!(page.lines().any(|l| l == line), "{line}: {page}");
            }
        }
    }
}
