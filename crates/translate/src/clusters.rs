//! One cluster per (service, class). Depends on the fleet alone: no plan changes a cluster, so none is ever warmed
//! again by a reweight.
//!
//! Owns Envoy's balancing, time-out, breaker and ejection settings. Refuses active health checks: the servers' verdicts
//! move weights, and Envoy's own ejection covers the seconds before; a wrong check path would empty every cluster.

use crate::names;
use crate::values::{ads, list, millis, text, tidegate, uint};
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection,
    circuit_breakers::{Thresholds, thresholds::RetryBudget},
    cluster::{
        ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy,
        common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig},
    },
};
use envoy_types::pb::envoy::config::core::v3::{Metadata, RoutingPriority};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::BoolValue;
use std::collections::BTreeMap;
use tidegate_domain::{ClassIx, Fleet, Permitted, RegionIx, ServiceIx};
use tidegate_proto::metadata;

/// The longest that a connection may take to open, in milliseconds.
const CONNECT_MS_MAX: u64 = 500;
/// The shortest: below, a far region's own round trip would look like an outage.
const CONNECT_MS_MIN: u64 = 100;

/// All clusters, by class index.
pub(crate) fn all(fleet: &Fleet) -> Vec<Cluster> {
    let mut hosts = Hosts::new();
    for endpoint in &fleet.endpoints {
        *hosts.entry((endpoint.service, endpoint.region)).or_default() += 1;
    }
    (0..fleet.classes.len()).map(|c| cluster(fleet, ClassIx::from(c), &hosts)).collect()
}

/// How many endpoints a service has in a region.
type Hosts = BTreeMap<(ServiceIx, RegionIx), u64>;

fn cluster(fleet: &Fleet, class: ClassIx, hosts: &Hosts) -> Cluster {
    let service = fleet.classes[class.at()].service;
    let name = names::cluster(fleet, class);
    Cluster {
        metadata: class_metadata(fleet, class),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: ads(), service_name: String::new() }),
        connect_timeout: millis(connect_ms(fleet, service)),
        lb_policy: LbPolicy::LeastRequest as i32,
        common_lb_config: Some(balancing()),
        circuit_breakers: Some(breakers(fleet, class, hosts)),
        outlier_detection: Some(ejection()),
        name,
        ..Cluster::default()
    }
}

fn class_metadata(fleet: &Fleet, class: ClassIx) -> Option<Metadata> {
    let name = text(fleet.class_name(class));
    let permitted = match &fleet.classes[class.at()].permitted {
        Permitted::Anywhere => list([metadata::ANYWHERE.to_owned()]),
        Permitted::Only(set) => list(set.iter().map(ToString::to_string)),
    };
    tidegate([(metadata::CLASS, name), (metadata::PERMITTED, permitted)])
}

/// The shortest time that a route of the service gives one try, within bounds: a connection has no use for more.
fn connect_ms(fleet: &Fleet, service: ServiceIx) -> u64 {
    let tries = fleet.services[service.at()].routes.iter().map(|r| r.per_try_timeout.0).filter(|ms| *ms > 0);
    tries.min().unwrap_or(CONNECT_MS_MAX).clamp(CONNECT_MS_MIN, CONNECT_MS_MAX)
}

/// Locality weights decide; no panic (it would send traffic back to the dead); every update applies at once (the default
/// merges those within a second, which delays the second of two verdicts).
fn balancing() -> CommonLbConfig {
    CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value: 0.0 }),
        update_merge_window: millis(0),
        locality_config_specifier: Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})),
        ..CommonLbConfig::default()
    }
}

/// Limits from what the fleet says it can carry. They bound an edge that runs away; they never shed (the plan does).
///
/// Concurrency is counted at two seconds per request (Little's law with a slow backend), and never below Envoy's own
/// default of 1,024. Retries get half of what is in flight, at the least half a second of the class's demand: enough
/// to send every try that a dead provider fails elsewhere, too little to double a load that fails everywhere.
fn breakers(fleet: &Fleet, class: ClassIx, hosts: &Hosts) -> CircuitBreakers {
    let of = &fleet.classes[class.at()];
    let mut cluster_rps = 0_u64;
    let mut host_rps = 0_u64;
    let first = (of.service, RegionIx(0));
    for ((_, region), count) in hosts.range(first..=(of.service, RegionIx(u16::MAX))) {
        if fleet.permits(class, *region) {
            let rps = fleet.regions[region.at()].capacity.0 / 1000;
            cluster_rps = cluster_rps.saturating_add(rps);
            host_rps = host_rps.max(rps.div_ceil((*count).max(1)));
        }
    }
    let demand_rps = of.demand.iter().fold(0_u64, |sum, d| sum.saturating_add(d.load.0)) / 1000;
    let limit = |value: u64, floor: u64| uint(u32::try_from(value.max(floor)).unwrap_or(u32::MAX));
    let in_flight = limit(cluster_rps.saturating_mul(2), 1024);
    let budget = RetryBudget {
        budget_percent: Some(Percent { value: 50.0 }),
        min_retry_concurrency: limit(demand_rps / 2, 64),
        budget_interval: None,
    };
    let thresholds = Thresholds {
        priority: RoutingPriority::Default as i32,
        max_connections: in_flight,
        max_pending_requests: in_flight,
        max_requests: in_flight,
        retry_budget: Some(budget),
        track_remaining: true,
        ..Thresholds::default()
    };
    // Connections only: the one limit that Envoy keeps per host.
    let per_host = Thresholds {
        priority: RoutingPriority::Default as i32,
        max_connections: limit(host_rps.saturating_mul(2), 256),
        ..Thresholds::default()
    };
    CircuitBreakers { thresholds: vec![thresholds], per_host_thresholds: vec![per_host] }
}

/// Three failures in a row take a host out, whatever kind they are. With split errors a host that accepts and never
/// answers would reset its own count by every successful connect. No success rates and no failure percentage: a gray
/// place is the servers' to judge, and a ratio over few requests ejects the healthy when the edge itself stalls.
fn ejection() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: uint(3),
        enforcing_consecutive_5xx: uint(100),
        consecutive_gateway_failure: uint(3),
        enforcing_consecutive_gateway_failure: uint(100),
        interval: millis(500),
        base_ejection_time: millis(5_000),
        max_ejection_time: millis(10_000),
        max_ejection_time_jitter: millis(0),
        max_ejection_percent: uint(100),
        enforcing_success_rate: uint(0),
        enforcing_failure_percentage: uint(0),
        split_external_local_origin_errors: false,
        successful_active_health_check_uneject_host: Some(BoolValue { value: false }),
        ..OutlierDetection::default()
    }
}
