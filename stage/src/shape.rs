//! The JSON that the demo writes. Fields may be added here, none renamed or removed: other tools read them.
//!
//! Owns the shape; refuses to compute: `summary` fills it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DemoJson {
    /// No invariant broke and every story held.
    pub ok: bool,
    /// Version of the real Envoy, or empty where none was found.
    pub envoy_version: String,
    /// `namespaces`, `namespaces with late links` or `loopback`.
    pub network: String,
    /// A row per story.
    pub stories: Vec<StoryRow>,
    /// What does not fit together in the run's files, in sentences.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// One story.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoryRow {
    /// `provider-refused`.
    pub name: String,
    /// Our proxies together.
    #[serde(flatten)]
    pub measures: Measures,
    /// The static Envoy beside them, where it stood.
    pub anchor: Option<Measures>,
    /// Why it could not be played, or null.
    pub skipped: Option<String>,
    /// Invariants and claims that did not hold, in sentences.
    pub broken: Vec<String>,
}

impl StoryRow {
    /// Something dies in it, and a verdict has to come.
    pub(crate) fn is_outage(&self) -> bool {
        self.name.starts_with("provider-")
            || ["capacity-cascade", "two-providers", "control-plane-death", crate::stories::FAR]
                .contains(&self.name.as_str())
    }
}

/// What is measured of one set of proxies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measures {
    /// From the fault to the verdict on all that died.
    pub fault_to_verdict_ms: Option<i64>,
    /// From the fault to the last acknowledgement of all proxies and subscribers.
    pub fault_to_all_acked_ms: Option<i64>,
    /// From the fault to the due time of the last request that failed; 0 where none did.
    pub fault_to_last_failed_request_ms: LastFailed,
    /// Requests due from the fault to the end of the story.
    pub requests: u64,
    /// GETs of these that failed.
    pub failed_get: u64,
    /// POSTs of these that failed.
    pub failed_post: u64,
    /// POST ids that backends executed more than once.
    pub double_posts: u64,
    /// Requests that reached, or were answered from, where their class may not be.
    pub forbidden_requests: u64,
    /// Time in which a region carried more than its limit.
    pub over_limit_ms: u64,
    /// Requests refused on purpose for want of room.
    pub shed: u64,
    /// Requests of the highest class that failed or were shed: what it lost in all. The parts are `failed_high_get`,
    /// `failed_high_post` and `shed_high`.
    pub failed_high: u64,
    /// GETs whose answer, or failure, came later than 200 ms after they were due.
    pub over_200ms_get: u64,
    /// Tries at endpoints of the dead providers before a proxy's acknowledgement.
    pub reached_dead_before_ack: u64,
    /// The same after it.
    pub reached_dead_after_ack: u64,
    /// GETs due within 10 s from the fault that may be answered where they were sent, and of these failed, and late.
    pub get_10s: u64,
    /// Failed GETs of these.
    pub failed_get_10s: u64,
    /// Late GETs of these.
    pub over_200ms_get_10s: u64,
    /// Requests due within 10 s from the fault that may be answered, and of these failed (shed is no failure).
    pub requests_10s: u64,
    /// Failed ones of these.
    pub failed_10s: u64,
    /// GETs of the highest class that failed.
    pub failed_high_get: u64,
    /// POSTs of the highest class that failed: one in flight when its backend dies cannot be saved.
    pub failed_high_post: u64,
    /// Requests of the highest class that were shed.
    pub shed_high: u64,
    /// Requests of the highest class that failed though they were due after all had acknowledged: not in flight.
    pub failed_high_after_ack: u64,
    /// Requests due before the fault and without an answer when it came, of these failed. They are in no other count: a
    /// POST that a backend has in hand when it dies cannot be saved.
    pub failed_in_flight: u64,
    /// Requests that backends of a drained provider saw after it was said to be empty.
    pub reached_drained: u64,
    /// Responses of a server that came back which were older than the last before its death, or empty.
    pub empty_or_older: u64,
    /// Seconds in which the forbidden place served nothing of the class that may be there.
    pub idle_forbidden_s: u64,
    /// With the server dead and nothing else wrong yet.
    pub server_dead_alone: Option<ProxyCount>,
    /// From the fault to the return of a server that was dead before it.
    pub server_dead_and_fault: Option<ProxyCount>,
    /// Endpoints that served just before the fault and nothing in the last seconds of the story.
    pub endpoints_not_back: u64,
    /// 451 for classes that may not be asked for where the proxy stands.
    pub refused_451: u64,
    /// Long streams that ended.
    pub streams_ended: u64,
    /// Arrivals that the generator left out because it stood still itself.
    pub left_out: u64,
    /// Forbidden requests of the control run, where the story has one.
    pub control_forbidden_requests: Option<u64>,
    /// What a place that ails behind a well health path did to them, in the stories that have one.
    #[serde(default)]
    pub ailing: Option<Ailing>,
    /// Requests and failures by proxy.
    pub by_proxy: BTreeMap<String, ProxyCount>,
}

/// A place that answers its data badly and its health path well. Counts of failures run from the fault until the place
/// has no weight, and 30 s after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ailing {
    /// `aws/eu-central-1`.
    pub place: String,
    /// Its weight before the fault, in basis points, all classes and client groups added up.
    pub weight_before_bps: u64,
    /// From the fault until its weight is less; null for a proxy that nobody steers.
    pub weight_falls_ms: Option<i64>,
    /// Until it has none.
    pub weight_gone_ms: Option<i64>,
    /// Requests that it saw later than 15 s after the fault and before the repair; health checks are not requests.
    pub reached_after_15s: u64,
    /// How long requests were judged for.
    pub judged_ms: i64,
    /// GETs due in that time.
    pub get: u64,
    /// Failed ones of these.
    pub failed_get: u64,
    /// POSTs due in that time: they are not tried again once a backend has answered.
    pub post: u64,
    /// Failed ones of these.
    pub failed_post: u64,
    /// Requests that it answered from the fault to the repair.
    pub answered_there: u64,
    /// Answers of 500 and above of these.
    pub errors_there: u64,
    /// 99th percentile of what it answered before the fault, in microseconds from the time when each was due, requests
    /// for the slow answer left out; null under a hundred.
    pub p99_before_us: Option<u64>,
    /// The same from the fault to the repair.
    pub p99_during_us: Option<u64>,
    /// From the repair until it has nine tenths of its weight again.
    pub back_after_repair_ms: Option<i64>,
    /// How often its weight fell again after the repair.
    pub falls_after_repair: u64,
}

/// By kind of proxy, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastFailed {
    /// The Envoy; null where none stood.
    pub envoy: Option<i64>,
    /// The edges; null where none stood.
    pub edge: Option<i64>,
}

/// One proxy's part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProxyCount {
    /// Requests.
    pub requests: u64,
    /// Failed.
    pub failed: u64,
    /// Shed.
    pub shed: u64,
    /// Requests without those for classes that may not be asked for where it stands.
    #[serde(default)]
    pub answerable: u64,
    /// GETs of these due within 10 s from the fault.
    #[serde(default)]
    pub answerable_get_10s: u64,
    /// Failed ones of these.
    #[serde(default)]
    pub failed_get_10s: u64,
    /// GETs due within 10 s from the fault and later than 200 ms.
    #[serde(default)]
    pub over_200ms_get_10s: u64,
    /// Tries at endpoints of the dead providers before this proxy's acknowledgement.
    #[serde(default)]
    pub reached_dead_before_ack: u64,
    /// The same after it.
    #[serde(default)]
    pub reached_dead_after_ack: u64,
}

/// `--json` of a bench.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BenchJson {
    /// `failover`.
    pub bench: String,
    /// Where it ran.
    pub machine: Machine,
    /// Rows.
    pub rows: Vec<BenchRow>,
}

/// The machine and how busy it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processors.
    pub cores: u64,
    /// Kernel release.
    pub kernel: String,
    /// Model of the first processor.
    pub cpu: String,
    /// Load average over a minute when the bench began.
    pub load: f64,
    /// How the places were kept apart.
    pub network: String,
    /// `debug` or `release`.
    pub profile: String,
}

/// One measured value against its target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BenchRow {
    /// `provider-refused.fault_to_verdict_ms.max`.
    pub id: String,
    /// Value.
    pub value: f64,
    /// Unit.
    pub unit: String,
    /// From `benches/targets.toml`; null where it has none.
    pub target: Option<f64>,
    /// Whether the value is within the target; null without one.
    pub met: Option<bool>,
    /// What it is compared with.
    pub peer: Option<String>,
    /// The peer's value.
    pub peer_value: Option<f64>,
    /// Value ÷ peer's value.
    pub ratio: Option<f64>,
    /// Samples behind the value.
    pub samples: u64,
    /// Median of the samples, where there are several.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that others rely on, as text: a rename turns this red.
    #[test]
    fn the_shape_is_the_published_one() {
        let row = StoryRow {
            name: "provider-refused".into(),
            measures: Measures::default(),
            anchor: Some(Measures::default()),
            skipped: None,
            broken: Vec::new(),
        };
        let json = DemoJson {
            ok: true,
            envoy_version: "1.40.0".into(),
            network: "loopback".into(),
            stories: vec![row],
            faults: Vec::new(),
        };
        let text = serde_json::to_string_pretty(&json).expect("json");
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/demo.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(golden, format!("{text}\n")).expect("write");
        }
        assert_eq!(text.trim(), include_str!("../golden/demo.json").trim());
    }
}
