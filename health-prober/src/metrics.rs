//! What the prober counts, and the page that shows it.

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::Arc;
use tidegate_gossip::DropReason;
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
    pub(crate) pauses: IntCounter,
    pub(crate) references: IntGauge,
    members: IntGauge,
    dropped: IntCounterVec,
    rejoins: IntCounter,
    datagrams: IntCounterVec,
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
        let r = &registry;
        Ok(Self {
            probes: counters(r, "tidegate_prober_probes_total", "Probes by result.", "result")?,
            lateness,
            targets,
            self_doubt: gauge(r, "tidegate_prober_self_doubt", "1 while the vantage doubts what it sees.")?,
            pauses: counter(r, "tidegate_prober_pauses_total", "Pauses of the probe loop over 500 ms.")?,
            references: gauge(r, "tidegate_prober_references_reached", "References reached.")?,
            members: gauge(r, "tidegate_gossip_members", "Other members, up or suspect.")?,
            dropped: counters(r, "tidegate_gossip_dropped_total", "Datagrams dropped by reason.", "reason")?,
            rejoins: counter(r, "tidegate_gossip_rejoins_total", "Times it was called down and came back.")?,
            datagrams: counters(r, "tidegate_gossip_datagrams_total", "Datagrams by direction.", "direction")?,
            registry,
        })
    }

    fn text(&self, gossip: &Snapshot) -> prometheus::Result<String> {
        // The gossip counts for itself; only this page moves these on, by what came since.
        let catch_up = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        self.members.set(i64::try_from(gossip.members.len()).unwrap_or(i64::MAX));
        for reason in DropReason::ALL {
            catch_up(&self.dropped.with_label_values(&[reason.as_str()]), gossip.counters.dropped(reason));
        }
        catch_up(&self.rejoins, gossip.counters.rejoins);
        catch_up(&self.datagrams.with_label_values(&["sent"]), gossip.counters.sent);
        catch_up(&self.datagrams.with_label_values(&["received"]), gossip.counters.received);
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
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
