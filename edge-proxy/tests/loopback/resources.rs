//! Resources as the control plane's translation makes them, by hand: what an edge must be able to read.

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection,
    circuit_breakers::{Thresholds, thresholds::RetryBudget},
    cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
};
use envoy_types::pb::envoy::config::core::v3::{
    Address, DataSource, HeaderValue, HeaderValueOption, HealthStatus, Locality, Metadata, SocketAddress, address,
    data_source, socket_address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
    cluster_load_assignment::{Policy, policy::DropOverload},
    lb_endpoint::HostIdentifier,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    header_matcher::HeaderMatchSpecifier,
    route::Action,
    route_action::{ClusterSpecifier, UpgradeConfig},
    route_match::PathSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Percent, fractional_percent::DenominatorType};
use envoy_types::pb::google::protobuf::{Any, Duration, ListValue, Struct, UInt32Value, Value, value::Kind};
use prost::{Message, Name};
use std::collections::HashMap;
use std::net::SocketAddr;
use tidegate_proto::metadata;

fn millis(ms: u64) -> Option<Duration> {
    Some(Duration { seconds: (ms / 1000) as i64, nanos: (ms % 1000) as i32 * 1_000_000 })
}

fn uint(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn tidegate(fields: Vec<(&str, Value)>) -> Option<Metadata> {
    let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let filter_metadata = HashMap::from([(metadata::NAMESPACE.to_owned(), Struct { fields })]);
    Some(Metadata { filter_metadata, ..Metadata::default() })
}

fn socket(of: SocketAddr) -> Option<Address> {
    let socket = SocketAddress {
        address: of.ip().to_string(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(of.port()))),
        ..SocketAddress::default()
    };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}

/// A cluster of a class; `*`: anywhere; no country: it does not say.
pub(crate) fn cluster(name: &str, permitted: &[&str]) -> Cluster {
    let mut fields = vec![(metadata::CLASS, text(name))];
    if !permitted.is_empty() {
        let values = permitted.iter().map(|p| text(p)).collect();
        fields.push((metadata::PERMITTED, Value { kind: Some(Kind::ListValue(ListValue { values })) }));
    }
    let budget = RetryBudget {
        budget_percent: Some(Percent { value: 50.0 }),
        min_retry_concurrency: uint(64),
        budget_interval: None,
    };
    Cluster {
        name: name.to_owned(),
        metadata: tidegate(fields),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig::default()),
        connect_timeout: millis(300),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_requests: uint(1024),
                retry_budget: Some(budget),
                ..Thresholds::default()
            }],
            per_host_thresholds: vec![Thresholds { max_connections: uint(256), ..Thresholds::default() }],
        }),
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: uint(3),
            enforcing_consecutive_5xx: uint(100),
            consecutive_gateway_failure: uint(3),
            enforcing_consecutive_gateway_failure: uint(100),
            interval: millis(500),
            base_ejection_time: millis(5_000),
            max_ejection_time: millis(10_000),
            max_ejection_percent: uint(100),
            ..OutlierDetection::default()
        }),
        ..Cluster::default()
    }
}

/// One region of an assignment.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) region: &'static str,
    pub(crate) jurisdiction: &'static str,
    /// 0: its endpoints are draining.
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) endpoints: Vec<SocketAddr>,
}

pub(crate) fn at(region: &'static str, jurisdiction: &'static str, weight: u32, endpoints: &[SocketAddr]) -> At {
    At { region, jurisdiction, weight, priority: 0, endpoints: endpoints.to_vec() }
}

/// An assignment that sheds `shed_bps`.
pub(crate) fn assignment(name: &str, places: &[At], shed_bps: u32) -> ClusterLoadAssignment {
    let endpoints = places.iter().map(|place| {
        let jurisdiction = || (metadata::JURISDICTION, text(place.jurisdiction));
        let provider = place.region.split('/').next().unwrap_or_default();
        let of_endpoint = || {
            tidegate(vec![jurisdiction(), (metadata::PROVIDER, text(provider)), (metadata::REGION, text(place.region))])
        };
        let endpoint = |address: &SocketAddr| LbEndpoint {
            metadata: of_endpoint(),
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
                address: socket(*address),
                ..Endpoint::default()
            })),
            health_status: if place.weight == 0 { HealthStatus::Draining as i32 } else { 0 },
            ..LbEndpoint::default()
        };
        LocalityLbEndpoints {
            locality: Some(Locality { region: place.region.to_owned(), ..Locality::default() }),
            metadata: tidegate(vec![jurisdiction()]),
            lb_endpoints: place.endpoints.iter().map(endpoint).collect(),
            load_balancing_weight: uint(place.weight).filter(|w| w.value > 0),
            priority: place.priority,
            ..LocalityLbEndpoints::default()
        }
    });
    let drop = DropOverload {
        category: "shed".to_owned(),
        drop_percentage: Some(FractionalPercent {
            numerator: shed_bps,
            denominator: DenominatorType::TenThousand as i32,
        }),
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: endpoints.collect(),
        policy: Some(Policy {
            drop_overloads: if shed_bps > 0 { vec![drop] } else { Vec::new() },
            overprovisioning_factor: uint(140),
            ..Policy::default()
        }),
        ..ClusterLoadAssignment::default()
    }
}

pub(crate) fn listener(name: &str, address: SocketAddr) -> Listener {
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds { config_source: None, route_config_name: name.to_owned() })),
        http_filters: vec![router],
        ..HttpConnectionManager::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(any(&manager))),
    };
    Listener {
        name: name.to_owned(),
        address: socket(address),
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        ..Listener::default()
    }
}

/// How the routes of one class behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) timeout_ms: u64,
    pub(crate) per_try_ms: u64,
    pub(crate) retries: u32,
}

pub(crate) const TIMES: Times = Times { timeout_ms: 3_000, per_try_ms: 500, retries: 2 };

fn string_match(name: &str, pattern: MatchPattern) -> HeaderMatcher {
    let matcher = StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher)),
        ..HeaderMatcher::default()
    }
}

fn claims(classes: &[&str], class: Option<&str>) -> Vec<HeaderMatcher> {
    let matcher = |of: &&str| {
        let value = of.rsplit('/').next().unwrap_or_default().to_owned();
        let wanted = Some(*of) == class;
        HeaderMatcher {
            invert_match: !wanted,
            treat_missing_header_as_empty: !wanted,
            ..string_match("x-residency-class", MatchPattern::Exact(value))
        }
    };
    classes.iter().map(matcher).collect()
}

fn route(name: String, prefix: &str, headers: Vec<HeaderMatcher>, class: Option<&str>, action: Action) -> Route {
    let path_specifier = Some(PathSpecifier::Prefix(prefix.to_owned()));
    Route {
        name,
        r#match: Some(RouteMatch { path_specifier, headers, ..RouteMatch::default() }),
        metadata: class.and_then(|c| tidegate(vec![(metadata::CLASS, text(c))])),
        action: Some(action),
        ..Route::default()
    }
}

fn websocket() -> UpgradeConfig {
    UpgradeConfig { upgrade_type: "websocket".to_owned(), ..UpgradeConfig::default() }
}

fn forwards(class: &str, select: &[HeaderMatcher], times: Times) -> Vec<Route> {
    let mut all = Vec::new();
    let stream = Times { timeout_ms: 0, per_try_ms: 0, retries: 0 };
    for (prefix, times) in [("/stream", stream), ("/", times)] {
        for (kind, retry_on) in [
            ("safe", "connect-failure,refused-stream,reset,gateway-error"),
            ("other", "connect-failure,refused-stream"),
        ] {
            let mut headers = select.to_vec();
            if kind == "safe" {
                let regex = RegexMatcher { regex: "GET|HEAD|OPTIONS".to_owned(), ..RegexMatcher::default() };
                headers.push(string_match(":method", MatchPattern::SafeRegex(regex)));
            }
            let per_try = (kind == "safe" && times.per_try_ms > 0).then_some(times.per_try_ms);
            let policy = RetryPolicy {
                retry_on: retry_on.to_owned(),
                num_retries: uint(times.retries),
                per_try_timeout: per_try.and_then(millis),
                ..RetryPolicy::default()
            };
            let action = RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(class.to_owned())),
                timeout: millis(times.timeout_ms),
                retry_policy: (times.retries > 0).then_some(policy),
                upgrade_configs: if times.timeout_ms == 0 { vec![websocket()] } else { Vec::new() },
                ..RouteAction::default()
            };
            all.push(route(format!("{class}{prefix}.{kind}"), prefix, headers, Some(class), Action::Route(action)));
        }
    }
    all
}

pub(crate) fn refusal(class: Option<&str>, select: Vec<HeaderMatcher>, status: u32, why: &str) -> Route {
    let header = |key: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned(), ..HeaderValue::default() }),
        ..HeaderValueOption::default()
    };
    let specifier = Some(data_source::Specifier::InlineString(format!("{status}: {why}.\n")));
    let body = Some(DataSource { specifier, ..DataSource::default() });
    let direct = DirectResponseAction { status, body, ..DirectResponseAction::default() };
    let name = format!("{}!{why}", class.unwrap_or("none"));
    Route {
        response_headers_to_add: vec![header("x-tidegate-refusal", why)],
        ..route(name, "/", select, class, Action::DirectResponse(direct))
    }
}

/// Routes of one service at `payroll.example`: `served` classes are routed, `elsewhere` ones answer 451, and what claims
/// none of them, or two, has no class.
pub(crate) fn routes(name: &str, served: &[&str], elsewhere: &[&str], times: Times) -> RouteConfiguration {
    let classes: Vec<&str> = served.iter().chain(elsewhere).copied().collect();
    let mut routes = Vec::new();
    for class in served {
        routes.extend(forwards(class, &claims(&classes, Some(class)), times));
    }
    for class in elsewhere {
        routes.push(refusal(Some(class), claims(&classes, Some(class)), 451, "jurisdiction"));
    }
    routes.push(refusal(None, Vec::new(), 451, "no-class"));
    let own_host = VirtualHost {
        name: "own".to_owned(),
        domains: vec!["own.payroll.example".to_owned()],
        routes: forwards(served[0], &[], times),
        ..VirtualHost::default()
    };
    let shared = VirtualHost {
        name: "payroll".to_owned(),
        domains: vec!["payroll.example".to_owned(), "*.wide.example".to_owned()],
        routes,
        ..VirtualHost::default()
    };
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![shared, own_host],
        ignore_port_in_host_matching: true,
        ..RouteConfiguration::default()
    }
}
