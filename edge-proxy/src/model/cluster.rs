//! A cluster: one residency class of one service, and how to treat its hosts.
//!
//! Owns the defaults that Envoy documents for absent fields. Refuses clusters that are not EDS by ADS.

use super::{Refused, duration, field, refused, text};
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection,
    cluster::{ClusterDiscoveryType, DiscoveryType},
};
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::google::protobuf::{UInt32Value, value::Kind};
use prost::Message;
use std::collections::BTreeSet;
use std::time::Duration;
use tidegate_proto::metadata;

/// When a host is taken out for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ejection {
    /// So many 5xx in a row; `None`: never for that.
    pub(crate) consecutive_5xx: Option<u32>,
    /// So many of 502 to 504 and failures of the connection in a row.
    pub(crate) consecutive_gateway: Option<u32>,
    pub(crate) interval: Duration,
    pub(crate) base: Duration,
    pub(crate) longest: Duration,
}

/// How many retries may be in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Budget {
    /// A share of what is in flight, in percent, and never below a floor.
    Share { percent: f64, floor: u32 },
    /// A number.
    Fixed(u32),
}

/// A cluster as it was accepted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterSpec {
    pub(crate) name: String,
    /// `service/class`, for metrics.
    pub(crate) class: String,
    /// Countries; `None`: anywhere.
    pub(crate) permitted: Option<BTreeSet<String>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) requests_max: u32,
    pub(crate) per_host_max: u32,
    pub(crate) budget: Budget,
    /// Name of its assignment.
    pub(crate) assignment: String,
}

impl ClusterSpec {
    /// The service that the class belongs to: its endpoints are the same program for every class.
    pub(crate) fn service(&self) -> &str {
        self.class.split_once('/').map_or(self.class.as_str(), |(service, _)| service)
    }

    /// Whether the law of this class lets an endpoint in `jurisdiction` serve it. An endpoint that does not say where
    /// it stands is nowhere.
    pub(crate) fn permits(&self, jurisdiction: &str) -> bool {
        self.permitted.as_ref().is_none_or(|set| set.contains(jurisdiction))
    }
}

pub(crate) fn cluster(name: &str, value: &[u8]) -> Result<ClusterSpec, Refused> {
    let of = Cluster::decode(value).map_err(|e| Refused(format!("cluster `{name}`: not a Cluster: {e}")))?;
    if of.name != name {
        return refused(format!("cluster `{name}` calls itself `{}`", of.name));
    }
    let eds =
        matches!(of.cluster_discovery_type, Some(ClusterDiscoveryType::Type(t)) if t == DiscoveryType::Eds as i32);
    if !eds {
        return refused(format!("cluster `{name}`: only endpoint discovery (EDS) is understood"));
    }
    if of.transport_socket.is_some() || !of.transport_socket_matches.is_empty() {
        return refused(format!("cluster `{name}`: TLS towards endpoints is not understood"));
    }
    let permitted = permitted(name, &of)?;
    let assignment = of.eds_cluster_config.as_ref().map(|e| e.service_name.clone()).filter(|s| !s.is_empty());
    let (requests_max, per_host_max, budget) = limits(of.circuit_breakers.as_ref());
    Ok(ClusterSpec {
        class: text(of.metadata.as_ref(), metadata::CLASS).unwrap_or_else(|| name.to_owned()),
        permitted,
        connect_timeout: duration(of.connect_timeout.as_ref())
            .filter(|d| !d.is_zero())
            .unwrap_or(Duration::from_secs(5)),
        ejection: of.outlier_detection.as_ref().map(ejection),
        requests_max,
        per_host_max,
        budget,
        assignment: assignment.unwrap_or_else(|| name.to_owned()),
        name: of.name,
    })
}

fn permitted(name: &str, of: &Cluster) -> Result<Option<BTreeSet<String>>, Refused> {
    // Silence is not "anywhere": a field that was lost on the way must not open every border.
    let Some(value) = field(of.metadata.as_ref(), metadata::PERMITTED) else {
        return refused(format!("cluster `{name}`: it does not say where its class is permitted (`*` for anywhere)"));
    };
    let Some(Kind::ListValue(list)) = &value.kind else {
        return refused(format!("cluster `{name}`: the permitted countries are not a list"));
    };
    let mut all = BTreeSet::new();
    for value in &list.values {
        match &value.kind {
            Some(Kind::StringValue(country)) => all.insert(country.clone()),
            _ => return refused(format!("cluster `{name}`: a permitted country is not a text")),
        };
    }
    if !all.contains(metadata::ANYWHERE) {
        return Ok(Some(all));
    }
    if all.len() > 1 {
        return refused(format!("cluster `{name}`: it is permitted anywhere and in single countries"));
    }
    Ok(None)
}

fn value(of: Option<&UInt32Value>, default: u32) -> u32 {
    of.map_or(default, |v| v.value)
}

fn ejection(of: &OutlierDetection) -> Ejection {
    let enforced = |enforcing: u32, count: u32| (enforcing > 0 && count > 0).then_some(count);
    let base = duration(of.base_ejection_time.as_ref()).unwrap_or(Duration::from_secs(30));
    Ejection {
        consecutive_5xx: enforced(
            value(of.enforcing_consecutive_5xx.as_ref(), 100),
            value(of.consecutive_5xx.as_ref(), 5),
        ),
        consecutive_gateway: enforced(
            value(of.enforcing_consecutive_gateway_failure.as_ref(), 0),
            value(of.consecutive_gateway_failure.as_ref(), 5),
        ),
        interval: duration(of.interval.as_ref()).filter(|d| !d.is_zero()).unwrap_or(Duration::from_secs(10)),
        base,
        longest: duration(of.max_ejection_time.as_ref()).unwrap_or(Duration::from_secs(300)).max(base),
    }
}

fn limits(of: Option<&CircuitBreakers>) -> (u32, u32, Budget) {
    let default = RoutingPriority::Default as i32;
    let cluster = of.and_then(|b| b.thresholds.iter().find(|t| t.priority == default));
    let per_host = of.and_then(|b| b.per_host_thresholds.iter().find(|t| t.priority == default));
    let budget = match cluster.and_then(|t| t.retry_budget.as_ref()) {
        Some(budget) => Budget::Share {
            percent: budget.budget_percent.as_ref().map_or(20.0, |p| p.value),
            floor: value(budget.min_retry_concurrency.as_ref(), 3),
        },
        None => Budget::Fixed(value(cluster.and_then(|t| t.max_retries.as_ref()), 3)),
    };
    let requests = value(cluster.and_then(|t| t.max_requests.as_ref()), 1024);
    // One request at a time on a connection: a limit on connections is one on requests.
    let host = value(per_host.and_then(|t| t.max_connections.as_ref()), u32::MAX);
    (requests, host, budget)
}
