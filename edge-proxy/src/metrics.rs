//! Counters and gauges. Owns their names and the bound on labels. Refuses labels that a client could choose.

use crate::load::Loads;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Pairs of class and region that get labels of their own; more share `other`.
const PLACES_MAX: usize = 4_000;
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is counted for one class at one region. Looked up when a cluster is built, never per request.
#[derive(Debug)]
pub(crate) struct PlaceMeters {
    codes: [IntCounter; 5],
    failed: IntCounter,
    picked: IntCounter,
    tries: IntCounter,
    active: IntGauge,
    streams: IntGauge,
    ejections: IntCounter,
    out: IntGauge,
    pub(crate) wanted: IntGauge,
}

impl PlaceMeters {
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|at| self.codes.get(at)) {
            counter.inc();
        }
    }
    pub(crate) fn failed(&self) {
        self.failed.inc();
    }
    pub(crate) fn pick(&self) {
        self.picked.inc();
    }
    pub(crate) fn picked(&self) -> u64 {
        self.picked.get()
    }
    pub(crate) fn enter(&self, stream: bool) {
        self.tries.inc();
        self.active.inc();
        if stream {
            self.streams.inc();
        }
    }
    pub(crate) fn leave(&self, stream: bool) {
        self.active.dec();
        if stream {
            self.streams.dec();
        }
    }
    pub(crate) fn ejected(&self) {
        self.ejections.inc();
    }
    pub(crate) fn set_out(&self, count: usize) {
        self.out.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// All of them.
pub(crate) struct Metrics {
    registry: Registry,
    upstream: IntCounterVec,
    upstream_failed: IntCounterVec,
    picked: IntCounterVec,
    tries: IntCounterVec,
    active: IntGaugeVec,
    streams: IntGaugeVec,
    ejections: IntCounterVec,
    out: IntGaugeVec,
    wanted: IntGaugeVec,
    places: Mutex<BTreeMap<(String, String), Arc<PlaceMeters>>>,
    /// For load reports; not shown.
    pub(crate) loads: Loads,
    /// Requests answered to clients, by status class.
    pub(crate) requests: IntCounterVec,
    /// By kind: connect, reset, per_try_timeout, status.
    pub(crate) retries: IntCounterVec,
    pub(crate) retries_denied: IntCounterVec,
    /// By reason and class.
    pub(crate) refusals: IntCounterVec,
    pub(crate) shed: IntCounterVec,
    pub(crate) forbidden_endpoints: IntGaugeVec,
    pub(crate) updates: IntCounterVec,
    pub(crate) ads_connected: IntGauge,
    pub(crate) ads_generation: IntGauge,
    pub(crate) last_update: IntGauge,
    pub(crate) lkg_written: IntGauge,
    pub(crate) lkg_errors: IntCounter,
    pub(crate) from_disk: IntGauge,
    pub(crate) older_refused: IntCounter,
    pub(crate) unbound: IntGauge,
    pub(crate) stalls: IntCounter,
    pub(crate) connections: IntGauge,
    pub(crate) connections_refused: IntCounter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        let made = IntCounterVec::new(Opts::new(format!("tidegate_edge_{name}"), help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        let made = IntGaugeVec::new(Opts::new(format!("tidegate_edge_{name}"), help), labels)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let made = IntCounter::new(format!("tidegate_edge_{name}"), help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let made = IntGauge::new(format!("tidegate_edge_{name}"), help)?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let make = Maker(&registry);
        let place = ["class", "region"];
        Ok(Self {
            upstream: make.counters(
                "upstream_responses_total",
                "Answers of backends.",
                &["class", "region", "code"],
            )?,
            upstream_failed: make.counters("upstream_failures_total", "Tries without an answer.", &place)?,
            picked: make.counters("split_picked_total", "First tries, by where the split sent them.", &place)?,
            tries: make.counters("upstream_tries_total", "Tries begun, retries included.", &place)?,
            active: make.gauges("upstream_active_requests", "Tries under way.", &place)?,
            streams: make.gauges("upstream_active_streams", "Tries under way on routes without an end.", &place)?,
            ejections: make.counters("ejections_total", "Times that an endpoint was taken out.", &place)?,
            out: make.gauges("ejected_endpoints", "Endpoints that are out now.", &place)?,
            wanted: make.gauges("split_wanted_bps", "The split as the control plane wants it.", &place)?,
            places: Mutex::default(),
            loads: Loads::default(),
            requests: make.counters("requests_total", "Requests answered.", &["class", "code"])?,
            retries: make.counters("retries_total", "Tries after a failed one.", &["class", "kind"])?,
            retries_denied: make.counters("retries_denied_total", "Retries that were not made.", &["class", "why"])?,
            refusals: make.counters("refusals_total", "Requests that the edge refused.", &["class", "reason"])?,
            shed: make.counters("shed_total", "Requests shed.", &["class"])?,
            forbidden_endpoints: make.gauges(
                "forbidden_endpoints",
                "Endpoints of the assignment that the class does not permit; never used.",
                &["class"],
            )?,
            updates: make.counters("ads_updates_total", "Responses of the control plane.", &["type", "answer"])?,
            ads_connected: make.gauge("ads_connected", "1: a control-plane stream stands.")?,
            ads_generation: make.gauge("ads_generation", "Newest accepted generation.")?,
            last_update: make.gauge("last_update_timestamp_seconds", "When a response was last accepted.")?,
            lkg_written: make.gauge("last_known_good_timestamp_seconds", "When the state on disk was good.")?,
            lkg_errors: make.counter("last_known_good_errors_total", "Failed writes of the state.")?,
            from_disk: make.gauge("booted_from_disk", "1: no server has confirmed the state since the start.")?,
            older_refused: make.counter(
                "older_generation_refused_total",
                "Responses refused because their generation is below the one that is held.",
            )?,
            unbound: make.gauge("listeners_unbound", "Listeners whose address could not be had; tried again.")?,
            stalls: make.counter("stalls_total", "Times that the whole process stood still.")?,
            connections: make.gauge("downstream_connections", "Connections of clients.")?,
            connections_refused: make.counter("downstream_connections_refused_total", "Connections over the limit.")?,
            registry,
        })
    }

    /// The meters of one class at one region.
    pub(crate) fn place(&self, class: &str, region: &str) -> Arc<PlaceMeters> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.contains_key(&(class.to_owned(), region.to_owned()));
        let (class, region) = if known || places.len() < PLACES_MAX { (class, region) } else { ("other", "other") };
        let key = (class.to_owned(), region.to_owned());
        let make = || {
            let labels = [class, region];
            Arc::new(PlaceMeters {
                codes: CODES.map(|code| self.upstream.with_label_values(&[class, region, code])),
                failed: self.upstream_failed.with_label_values(&labels),
                picked: self.picked.with_label_values(&labels),
                tries: self.tries.with_label_values(&labels),
                active: self.active.with_label_values(&labels),
                streams: self.streams.with_label_values(&labels),
                ejections: self.ejections.with_label_values(&labels),
                out: self.out.with_label_values(&labels),
                wanted: self.wanted.with_label_values(&labels),
            })
        };
        Arc::clone(places.entry(key).or_insert_with(make))
    }

    pub(crate) fn answered(&self, class: &str, status: u16) {
        let code = usize::from(status / 100).checked_sub(1).and_then(|at| CODES.get(at)).unwrap_or(&"none");
        self.requests.with_label_values(&[class, code]).inc();
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self) -> String {
        let mut out = Vec::new();
        if TextEncoder::new().encode(&self.registry.gather(), &mut out).is_err() {
            out.clear();
        }
        String::from_utf8(out).unwrap_or_default()
    }
}
