//! Prometheus metrics. Labels come from the fleet and are bounded by it; nothing a client says becomes a label.
//!
//! What happens in this process is counted as it happens; everything else is made anew from one picture for each scrape,
//! so that two scrapes at once never see each other's half.

use prometheus::{Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{Opts, Registry, TextEncoder};
use tidegate_controller::{Model, StoreState};
use tidegate_domain::{Health, PathFrom, Serving};
use tidegate_gossip::shell::Snapshot;
use tidegate_store::StoreHealth;
use tidegate_xds::server::Engine;

/// More label sets than this are not exported; `tidegate_series_dropped` says how many.
const SERIES_MAX: usize = 5_000;
const LAST_CYCLE: &str = "last_cycle_timestamp_seconds";
const LAST_CYCLE_HELP: &str = "Wall clock of the last cycle.";

/// What is counted as it happens.
pub(crate) struct Metrics {
    counted: Registry,
    pub(crate) step_seconds: Histogram,
    pub(crate) nacks: IntCounter,
    pub(crate) publish_failures: IntCounter,
    pub(crate) decision_to_ack: Histogram,
    pub(crate) detection: HistogramVec,
    pub(crate) widenings_refused: IntCounter,
}

/// What one scrape is made from.
pub(crate) struct Scene<'a> {
    /// None before the store is loaded.
    pub(crate) model: Option<&'a Model>,
    pub(crate) engine: &'a Engine,
    pub(crate) store: &'a StoreHealth,
    /// Places without an address.
    pub(crate) unresolved: usize,
    pub(crate) gossip: &'a Snapshot,
}

fn registry() -> anyhow::Result<Registry> {
    Ok(Registry::new_custom(Some("tidegate".to_owned()), None)?)
}

/// Makes series and registers them.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn gauge(&self, name: &str, help: &str, value: i64) -> anyhow::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(value);
        Ok(self.0.register(Box::new(gauge))?)
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
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> anyhow::Result<IntCounterVec> {
        let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(vec.clone()))?;
        Ok(vec)
    }
    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> anyhow::Result<HistogramVec> {
        let vec = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
        self.0.register(Box::new(vec.clone()))?;
        Ok(vec)
    }
    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> anyhow::Result<Histogram> {
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}

impl Metrics {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let counted = registry()?;
        let make = Maker(&counted);
        Ok(Self {
            step_seconds: make.histogram(
                "step_seconds",
                "One pass of the loop.",
                &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0],
            )?,
            decision_to_ack: make.histogram(
                "decision_to_ack_seconds",
                "From the cycle that decides to the last acknowledgement of all edges.",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0],
            )?,
            detection: make.histograms(
                "detection_seconds",
                "From the first report, of those that stand, that calls one of its endpoints failing to the verdict down.",
                &["kind"],
                &[0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0],
            )?,
            nacks: make.counter("nacks_total", "Resources that a subscriber refused.")?,
            publish_failures: make
                .counter("publish_failures_total", "Committed plans that could not be translated or published.")?,
            widenings_refused: make.counter(
                "policy_widenings_refused_total",
                "Answers of policy that allowed what the configuration forbids; the configuration won.",
            )?,
            counted,
        })
    }

    /// The text page.
    pub(crate) fn page(&self, scene: &Scene<'_>) -> anyhow::Result<String> {
        let shown = registry()?;
        let make = Maker(&shown);
        make.gauge("edges_connected", "Subscribers connected.", int(scene.engine.connected()))?;
        make.gauge("places_unresolved", "Places of services without any resolved address.", int(scene.unresolved))?;
        make.gauge("store_file_bytes", "Bytes of the store's file.", int(scene.store.file_bytes))?;
        make.gauge(
            "store_reserve_bytes",
            "Bytes held back on the disk for safety moves of a full store.",
            int(scene.store.reserve_bytes),
        )?;
        make.gauge(
            "store_reserve_wanted_bytes",
            "Bytes that the reserve should hold.",
            int(scene.store.reserve_wanted),
        )?;
        gossip(&make, scene.gossip)?;
        if scene.model.is_none() {
            // A server that never gets its store loaded has to be seen as silent.
            make.gauge(LAST_CYCLE, LAST_CYCLE_HELP, 0)?;
        }
        if let Some(model) = scene.model {
            picture(&make, model)?;
            counts(&make, model)?;
            overrides(&make, model)?;
            senses(&make, model)?;
            splits(&make, model)?;
            let behind = scene.engine.acked_by_all(model.generation).outstanding.len();
            make.gauge(
                "edges_behind",
                "Subscribers that have not acknowledged the committed generation.",
                int(behind),
            )?;
        }
        let mut page = Vec::new();
        let mut families = self.counted.gather();
        families.extend(shown.gather());
        TextEncoder::new().encode(&families, &mut page)?;
        Ok(String::from_utf8(page)?)
    }
}

fn int(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// What the server's own member of the gossip counts.
fn gossip(make: &Maker<'_>, gossip: &Snapshot) -> anyhow::Result<()> {
    make.gauge("gossip_members", "Other members, up or suspect.", int(gossip.members.len()))?;
    for family in gossip.counters.families() {
        let made = make.counters(family.name, family.help, family.label.as_slice())?;
        for (value, count) in &family.series {
            made.with_label_values(value.as_slice()).inc_by(*count);
        }
    }
    Ok(())
}

/// Where the server stands.
fn picture(make: &Maker<'_>, model: &Model) -> anyhow::Result<()> {
    let wall = crate::clock::wall();
    let cycle_age = int(crate::clock::mono().since(model.cycled).0);
    make.gauge("generation", "Generation of the committed plan.", int(model.generation))?;
    make.gauge("term", "Term of this server.", int(model.term))?;
    make.gauge(LAST_CYCLE, LAST_CYCLE_HELP, (wall.0 - cycle_age) / 1000)?;
    make.gauge("store_well", "1 when the store keeps writes.", i64::from(model.store == StoreState::Well))?;
    let automation = make.vec("automation_on", "1 when automation acts.", &["kind"])?;
    let switches = &model.intents.automation;
    automation.with_label_values(&["safety"]).set(i64::from(switches.safety.is_on(wall)));
    automation.with_label_values(&["economic"]).set(i64::from(switches.economic.is_on(wall)));
    let alarms = make.vec("alarms", "Standing alarms by kind.", &["kind"])?;
    for alarm in &model.alarms {
        alarms.with_label_values(&[tidegate_api::words::alarm_kind(&alarm.alarm)]).inc();
    }
    Ok(())
}

/// What the controller has counted since the start.
fn counts(make: &Maker<'_>, model: &Model) -> anyhow::Result<()> {
    let all = [
        ("cycles_total", "Cycles run.", model.cycles),
        ("plans_refused_total", "Plans that the independent checker refused.", model.refused),
        ("plans_held_total", "Plans that the store did not keep.", model.held),
        (
            "decisions_superseded_total",
            "Decisions followed by another before all edges had acknowledged them.",
            model.superseded,
        ),
        ("journal_entries_dropped_total", "Events that the store could not keep.", model.journal_dropped),
    ];
    for (name, help, value) in all {
        make.counter(name, help)?.inc_by(value);
    }
    let unused = make.counters("reports_unused_total", "Vantage reports of no use.", &["reason"])?;
    for (reason, count) in &model.unused {
        unused.with_label_values(&[format!("{reason:?}").as_str()]).inc_by(*count);
    }
    Ok(())
}

/// When what people have set ends by itself.
fn overrides(make: &Maker<'_>, model: &Model) -> anyhow::Result<()> {
    let help = "Wall clock at which the first override of this kind ends by itself; 0: none does.";
    let ends = make.vec("override_ends_timestamp_seconds", help, &["kind"])?;
    for (kind, end) in model.override_ends(crate::clock::wall()) {
        ends.with_label_values(&[kind]).set(end.map_or(0, |e| e.0 / 1000));
    }
    Ok(())
}

/// What vantages and edges report, and what follows for places.
fn senses(make: &Maker<'_>, model: &Model) -> anyhow::Result<()> {
    let (fleet, now) = (&model.fleet, crate::clock::mono());
    let age_help = "Age of the newest report per vantage; -1 for none.";
    let report_age = make.vec("vantage_report_age_milliseconds", age_help, &["vantage"])?;
    for (vantage, report) in fleet.vantages.iter().zip(model.reports.iter()) {
        let age = report.as_ref().map_or(-1, |r| int(now.since(r.arrived).0));
        report_age.with_label_values(&[vantage.name.as_str()]).set(age);
    }
    let region_down = make.vec("region_down", "1 when the region's verdict is down.", &["region"])?;
    for (region, (health, _)) in fleet.regions.iter().zip(&model.state.regions) {
        let down = i64::from(*health == Health::Down);
        region_down.with_label_values(&[region.name.to_string().as_str()]).set(down);
    }
    let provider_down = make.vec("provider_down", "1 when the provider's verdict is down.", &["provider"])?;
    for (provider, (health, _)) in fleet.providers.iter().zip(&model.state.providers) {
        provider_down.with_label_values(&[provider.name.as_str()]).set(i64::from(*health == Health::Down));
    }
    let failing = make.vec("path_failing", "1 while the region is not reached from there.", &["from", "region"])?;
    // From every group at least, so that a rule finds its series also while all is well.
    for (group, region) in fleet.groups.iter().flat_map(|g| fleet.regions.iter().map(move |r| (g, r))) {
        failing.with_label_values(&[group.name.as_str(), region.name.to_string().as_str()]).set(0);
    }
    for path in &model.state.paths {
        let from = match path.from {
            PathFrom::Group(g) => &fleet.groups[g.at()].name,
            PathFrom::Provider(p) => &fleet.providers[p.at()].name,
        };
        failing.with_label_values(&[from.as_str(), fleet.regions[path.to.at()].name.to_string().as_str()]).set(1);
    }
    let troubled = make.vec("provider_api_trouble", "1 while the provider's own API is in trouble.", &["provider"])?;
    for (i, provider) in fleet.providers.iter().enumerate() {
        let trouble = model.state.apis.iter().any(|a| a.provider.at() == i);
        troubled.with_label_values(&[provider.name.as_str()]).set(i64::from(trouble));
    }
    let cut = model.state.partition.as_ref().map_or(0, |p| p.lost.len());
    make.gauge("gossip_cut_members", "Probers lost to the gossip while their places are seen well.", int(cut))?;
    let lost = "Probers that were members of the gossip and are lost to it.";
    make.gauge("gossip_members_lost", lost, int(model.lost_members.len()))?;
    let open_help = "Requests and streams that edges report as unfinished.";
    let open_there = make.vec("region_requests_in_progress", open_help, &["region"])?;
    let rate_help = "New requests per second that edges report, in thousandths.";
    let issued = make.vec("region_issued_rps_milli", rate_help, &["region"])?;
    for (region, (rate, open)) in model.loads.by_region(now).iter().take(SERIES_MAX) {
        open_there.with_label_values(&[region.as_str()]).set(int(*open));
        issued.with_label_values(&[region.as_str()]).set(int(*rate));
    }
    Ok(())
}

/// What every client group is told.
fn splits(make: &Maker<'_>, model: &Model) -> anyhow::Result<()> {
    let fleet = &model.fleet;
    let shares = make.vec(
        "split_share_basis_points",
        "Share of a class per region and client group.",
        &["class", "group", "region"],
    )?;
    let sheds = make.vec("shed_basis_points", "Share of a class that is shed.", &["class", "group"])?;
    let (mut made, mut dropped) = (0, 0);
    for split in model.plan.iter().flat_map(|p| &p.splits) {
        let (class, group) = (fleet.class_name(split.class), fleet.groups[split.group.at()].name.as_str());
        if made >= SERIES_MAX {
            dropped += 1 + int(split.weights.len());
            continue;
        }
        if let Serving::Routed { shed } = split.serving {
            made += 1;
            sheds.with_label_values(&[class.as_str(), group]).set(i64::from(shed.get()));
        }
        for weight in &split.weights {
            if made >= SERIES_MAX {
                dropped += 1;
                continue;
            }
            made += 1;
            let region = fleet.regions[weight.region.at()].name.to_string();
            shares.with_label_values(&[class.as_str(), group, region.as_str()]).set(i64::from(weight.share.get()));
        }
    }
    make.gauge("series_dropped", "Label sets not exported because there are too many.", dropped)
}
