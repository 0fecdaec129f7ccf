//! Prometheus metrics. Labels come from the fleet and are bounded by it; nothing a client says becomes a label.

use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tidegate_controller::{Model, StoreState};
use tidegate_domain::{Health, Serving};
use tidegate_xds::server::Engine;

/// More label sets than this are not exported; `tidegate_series_dropped` says how many.
const SERIES_MAX: usize = 5_000;

pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) step_seconds: Histogram,
    pub(crate) nacks: IntCounter,
    pub(crate) publish_failures: IntCounter,
    pub(crate) decision_to_ack: Histogram,
    generation: IntGauge,
    term: IntGauge,
    last_cycle: IntGauge,
    cycles: IntGauge,
    refused: IntGauge,
    held: IntGauge,
    superseded: IntGauge,
    edges: IntGauge,
    edges_behind: IntGauge,
    journal_dropped: IntGauge,
    pub(crate) places_unresolved: IntGauge,
    provider_down: IntGaugeVec,
    store_well: IntGauge,
    series_dropped: IntGauge,
    automation: IntGaugeVec,
    report_age: IntGaugeVec,
    region_health: IntGaugeVec,
    share: IntGaugeVec,
    shed: IntGaugeVec,
    alarms: IntGaugeVec,
    reports_unused: IntGaugeVec,
    requests_open: IntGaugeVec,
    issued: IntGaugeVec,
}

/// Makes series and registers them.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn gauge(&self, name: &str, help: &str) -> anyhow::Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }
    fn vec(&self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<IntGaugeVec> {
        let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(vec.clone()))?;
        Ok(vec)
    }
    fn counter(&self, name: &str, help: &str) -> anyhow::Result<IntCounter> {
        let counter = IntCounter::new(name, help)?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }
    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> anyhow::Result<Histogram> {
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}

impl Metrics {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let registry = Registry::new_custom(Some("tidegate".to_owned()), None)?;
        let make = Maker(&registry);
        let gauge = |name, help| make.gauge(name, help);
        let vec = |name, help, labels: &[&str]| make.vec(name, help, labels);
        let counter = |name, help| make.counter(name, help);
        let histogram = |name, help, buckets: &[f64]| make.histogram(name, help, buckets);
        Ok(Self {
            step_seconds: histogram(
                "step_seconds",
                "One pass of the loop.",
                &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0],
            )?,
            decision_to_ack: histogram(
                "decision_to_ack_seconds",
                "From the cycle that decides to the last acknowledgement of all edges.",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
            )?,
            nacks: counter("nacks_total", "Resources that a subscriber refused.")?,
            publish_failures: counter(
                "publish_failures_total",
                "Committed plans that could not be translated or published.",
            )?,
            generation: gauge("generation", "Generation of the committed plan.")?,
            term: gauge("term", "Term of this server.")?,
            last_cycle: gauge("last_cycle_timestamp_seconds", "Wall clock of the last cycle.")?,
            cycles: gauge("cycles", "Cycles run since the start.")?,
            refused: gauge("plans_refused", "Plans that the independent checker refused since the start.")?,
            held: gauge("plans_held", "Plans that the store did not keep since the start.")?,
            superseded: gauge(
                "decisions_superseded",
                "Decisions followed by another before all edges had acknowledged them, since the start.",
            )?,
            edges: gauge("edges_connected", "Subscribers connected.")?,
            edges_behind: gauge("edges_behind", "Subscribers that have not acknowledged the committed generation.")?,
            places_unresolved: gauge("places_unresolved", "Places of services without any resolved address.")?,
            provider_down: vec("provider_down", "1 when the provider's verdict is down.", &["provider"])?,
            journal_dropped: gauge("journal_entries_dropped", "Events that the store could not keep.")?,
            store_well: gauge("store_well", "1 when the store keeps writes.")?,
            series_dropped: gauge("series_dropped", "Label sets not exported because there are too many.")?,
            automation: vec("automation_on", "1 when automation acts.", &["kind"])?,
            report_age: vec(
                "vantage_report_age_milliseconds",
                "Age of the newest report per vantage; -1 for none.",
                &["vantage"],
            )?,
            region_health: vec("region_down", "1 when the region's verdict is down.", &["region"])?,
            share: vec(
                "split_share_basis_points",
                "Share of a class per region and client group.",
                &["class", "group", "region"],
            )?,
            shed: vec("shed_basis_points", "Share of a class that is shed.", &["class", "group"])?,
            alarms: vec("alarms", "Standing alarms by kind.", &["kind"])?,
            reports_unused: vec("reports_unused", "Vantage reports of no use since the start.", &["reason"])?,
            requests_open: vec(
                "region_requests_in_progress",
                "Requests and streams that edges report as unfinished.",
                &["region"],
            )?,
            issued: vec(
                "region_issued_rps_milli",
                "New requests per second that edges report, in thousandths.",
                &["region"],
            )?,
            registry,
        })
    }

    /// Renews the gauges from the newest picture.
    pub(crate) fn picture(&self, model: &Model, engine: &Engine) {
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.generation, model.generation);
        set(&self.term, model.term);
        set(&self.cycles, model.cycles);
        set(&self.refused, model.refused);
        set(&self.held, model.held);
        set(&self.superseded, model.superseded);
        set(&self.journal_dropped, model.journal_dropped);
        let cycle_age = crate::clock::mono().since(model.cycled).0;
        self.last_cycle.set((crate::clock::wall().0 - i64::try_from(cycle_age).unwrap_or(0)) / 1000);
        self.store_well.set(i64::from(model.store == StoreState::Well));
        self.edges.set(i64::try_from(engine.connected()).unwrap_or(i64::MAX));
        let wall = crate::clock::wall();
        self.automation.with_label_values(&["safety"]).set(i64::from(model.intents.automation.safety.is_on(wall)));
        self.automation.with_label_values(&["economic"]).set(i64::from(model.intents.automation.economic.is_on(wall)));
        for (reason, count) in &model.unused {
            self.reports_unused
                .with_label_values(&[&format!("{reason:?}")])
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// The text page. The costly series are made here, when somebody asks.
    pub(crate) fn page(&self, model: Option<&Model>, engine: &Engine) -> anyhow::Result<String> {
        if let Some(model) = model {
            self.series(model);
            self.loads(model);
            let behind = engine.acked_by_all(model.generation).outstanding.len();
            self.edges_behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        }
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(String::from_utf8(page)?)
    }

    fn loads(&self, model: &Model) {
        let gauge = |vec: &IntGaugeVec, region: &str, value: u64| {
            vec.with_label_values(&[region]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        self.requests_open.reset();
        self.issued.reset();
        for (region, (rate, open)) in model.loads.by_region(crate::clock::mono()).iter().take(SERIES_MAX) {
            gauge(&self.requests_open, region, *open);
            gauge(&self.issued, region, *rate);
        }
    }

    fn series(&self, model: &Model) {
        for vec in [&self.report_age, &self.region_health, &self.share, &self.shed, &self.alarms] {
            vec.reset();
        }
        let fleet = &model.fleet;
        let now = crate::clock::mono();
        for (vantage, report) in fleet.vantages.iter().zip(model.reports.iter()) {
            let age = report.as_ref().map_or(-1, |r| i64::try_from(now.since(r.arrived).0).unwrap_or(i64::MAX));
            self.report_age.with_label_values(&[vantage.name.as_str()]).set(age);
        }
        for (region, (health, _)) in fleet.regions.iter().zip(&model.state.regions) {
            self.region_health.with_label_values(&[&region.name.to_string()]).set(i64::from(*health == Health::Down));
        }
        self.provider_down.reset();
        for (provider, (health, _)) in fleet.providers.iter().zip(&model.state.providers) {
            self.provider_down.with_label_values(&[provider.name.as_str()]).set(i64::from(*health == Health::Down));
        }
        for alarm in &model.alarms {
            let kind = tidegate_api::words::alarm_kind(&alarm.alarm);
            self.alarms.with_label_values(&[kind]).inc();
        }
        let (mut made, mut dropped) = (0, 0);
        for split in model.plan.iter().flat_map(|p| &p.splits) {
            let (class, group) = (fleet.class_name(split.class), fleet.groups[split.group.at()].name.to_string());
            if made >= SERIES_MAX {
                dropped += 1 + i64::try_from(split.weights.len()).unwrap_or(0);
                continue;
            }
            if let Serving::Routed { shed } = split.serving {
                made += 1;
                self.shed.with_label_values(&[&class, &group]).set(i64::from(shed.get()));
            }
            for weight in &split.weights {
                if made >= SERIES_MAX {
                    dropped += 1;
                    continue;
                }
                made += 1;
                let region = fleet.regions[weight.region.at()].name.to_string();
                self.share.with_label_values(&[&class, &group, &region]).set(i64::from(weight.share.get()));
            }
        }
        self.series_dropped.set(dropped);
    }
}
