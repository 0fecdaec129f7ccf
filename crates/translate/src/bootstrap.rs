//! What an Envoy is started with: who it is, where its servers are, or which files stand in for them.
//!
//! Owns the bootstrap's text and the files of last good resources. Refuses to mix the two sources: Envoy does not let an
//! update of ADS replace a static cluster or listener of the same name, so a bootstrap that had both would keep the old
//! resources for good.
//!
//! A restarted Envoy without any server therefore waits and listens on nothing (a running one goes on with what it
//! has). Where that is too little, start it with [`Source::Files`] instead: it serves the last good resources, follows
//! the files when they are replaced by rename, and keeps every residency rule that was in them.

use crate::GroupResources;
use crate::listeners::HTTP_CONNECTION_MANAGER;
use crate::values::any;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use prost::{Message, Name};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Name of the cluster that holds the ADS servers; no class can have it, for it has no `/`.
pub const ADS_CLUSTER: &str = "tidegate_ads";
/// File of [`files`] with the clusters, assignments inside.
pub const CLUSTERS_FILE: &str = "cds.pb";
/// File of [`files`] with the listeners, routes inside.
pub const LISTENERS_FILE: &str = "lds.pb";

/// An address as an Envoy is to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// IP address, or a name where the field allows one.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Mutual TLS towards the servers, by files on the Envoy's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that the servers' must chain to.
    pub ca: String,
    /// The Envoy's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// DNS name that the servers' certificate must carry.
    pub server_name: String,
}

/// Where resources come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Delta ADS.
    Servers {
        /// Two are advised: when a connection fails, the next is tried within a second.
        servers: Vec<HostPort>,
        /// Plain text where none.
        tls: Option<Tls>,
    },
    /// A directory, absolute, with what [`files`] gave.
    Files(String),
}

/// Who an Envoy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Unique among all subscribers.
    pub node_id: String,
    /// For people and statistics.
    pub node_cluster: String,
    /// Name of its client group.
    pub group: String,
    /// Its admin interface; keep it on loopback.
    pub admin: HostPort,
    /// Where resources come from.
    pub source: Source,
}

/// The bootstrap, as `envoy -c FILE.json` reads it.
#[must_use]
pub fn envoy(params: &Params) -> Value {
    let mut all = json!({
        "node": {
            "id": params.node_id,
            "cluster": params.node_cluster,
            "locality": { "region": params.group },
        },
        "admin": { "address": address(&params.admin) },
    });
    match &params.source {
        Source::Servers { servers, tls } => {
            all["static_resources"] = json!({ "clusters": [ads_cluster(servers, tls.as_ref())] });
            all["dynamic_resources"] = json!({
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "set_node_on_first_message_only": true,
                    "grpc_services": [{ "envoy_grpc": {
                        "cluster_name": ADS_CLUSTER,
                        // Envoy's own 30 s at the most would outlast many an outage.
                        "retry_policy": { "retry_back_off": { "base_interval": "0.2s", "max_interval": "1s" } },
                    } }],
                },
                "cds_config": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" },
                "lds_config": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s" },
            });
            // Load reports go where the resources come from: they tell the servers when a drained place is empty.
            all["cluster_manager"] = json!({
                "load_stats_config": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": ADS_CLUSTER } }],
                },
            });
        }
        Source::Files(directory) => {
            let file = |name: &str| {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                json!({ "path_config_source": { "path": path }, "resource_api_version": "V3" })
            };
            all["dynamic_resources"] = json!({ "cds_config": file(CLUSTERS_FILE), "lds_config": file(LISTENERS_FILE) });
        }
    }
    all
}

fn ads_cluster(servers: &[HostPort], tls: Option<&Tls>) -> Value {
    let by_name = servers.iter().any(|s| s.host.parse::<IpAddr>().is_err());
    let endpoints: Vec<Value> = servers.iter().map(|s| json!({ "endpoint": { "address": address(s) } })).collect();
    let mut cluster = json!({
        "name": ADS_CLUSTER,
        "type": if by_name { "STRICT_DNS" } else { "STATIC" },
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": { "cluster_name": ADS_CLUSTER, "endpoints": [{ "lb_endpoints": endpoints }] },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    // A server whose machine is gone answers nothing: without this the stream would look alive.
                    "http2_protocol_options": { "connection_keepalive": { "interval": "2s", "timeout": "2s" } },
                },
            },
        },
    });
    if let Some(tls) = tls {
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": tls.server_name,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "tls_certificates": [{
                        "certificate_chain": { "filename": tls.certificate },
                        "private_key": { "filename": tls.key },
                    }],
                    "validation_context": {
                        "trusted_ca": { "filename": tls.ca },
                        "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": tls.server_name } }],
                    },
                },
            },
        });
    }
    cluster
}

fn address(of: &HostPort) -> Value {
    json!({ "socket_address": { "address": of.host, "port_value": of.port } })
}

/// The resources of one group as files for [`Source::Files`]: name and content. Write each to a temporary name and
/// rename it; Envoy reads a file when it is moved into place.
#[must_use]
pub fn files(resources: &GroupResources) -> Vec<(&'static str, Vec<u8>)> {
    vec![(CLUSTERS_FILE, clusters(resources).encode_to_vec()), (LISTENERS_FILE, listeners(resources).encode_to_vec())]
}

fn clusters(resources: &GroupResources) -> DiscoveryResponse {
    let fixed = resources.clusters.iter().map(|(name, cluster)| {
        let mut cluster = cluster.clone();
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32));
        cluster.eds_cluster_config = None;
        cluster.load_assignment = resources.endpoints.iter().find(|(n, _)| n == name).map(|(_, a)| a.clone());
        cluster
    });
    response(fixed)
}

fn listeners(resources: &GroupResources) -> DiscoveryResponse {
    response(resources.listeners.iter().map(|(name, listener)| {
        let routes = resources.routes.iter().find(|(n, _)| n == name).map(|(_, r)| r);
        routes.map_or_else(|| listener.clone(), |routes| with_routes(listener, routes))
    }))
}

/// The listener with its routes inside, instead of by RDS.
fn with_routes(listener: &Listener, routes: &RouteConfiguration) -> Listener {
    let mut listener = listener.clone();
    for filter in listener.filter_chains.iter_mut().flat_map(|chain| &mut chain.filters) {
        let Some(filter::ConfigType::TypedConfig(config)) = &mut filter.config_type else { continue };
        if filter.name != HTTP_CONNECTION_MANAGER {
            continue;
        }
        // Encoded by `listeners`: it decodes.
        if let Ok(mut manager) = HttpConnectionManager::decode(config.value.as_slice()) {
            manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes.clone()));
            *config = any(&manager);
        }
    }
    listener
}

fn response<M: Message + Name>(of: impl Iterator<Item = M>) -> DiscoveryResponse {
    let resources = of.map(|m| any(&m)).collect();
    DiscoveryResponse {
        version_info: "files".to_owned(),
        resources,
        type_url: M::type_url(),
        ..DiscoveryResponse::default()
    }
}
