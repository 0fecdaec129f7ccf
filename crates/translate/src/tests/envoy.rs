//! The real Envoy reads what is sent: skipped, with a line, on a machine without it.

use super::fixture::{EDGE_DE, fleet, plan};
use crate::bootstrap::{CLUSTERS_FILE, HostPort, LISTENERS_FILE, Params, Source, envoy, files};
use crate::{GroupResources, translate};
use envoy_types::pb::envoy::config::bootstrap::v3::{Bootstrap, bootstrap};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{ApiConfigSource, Node, api_config_source};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use prost::{Message, Name};
use std::path::Path;
use std::process::Command;

pub(super) fn at(host: &str, port: u16) -> HostPort {
    HostPort { host: host.to_owned(), port }
}

pub(super) fn params(source: Source) -> Params {
    Params {
        node_id: "edge-de-1".to_owned(),
        node_cluster: "tidegate".to_owned(),
        group: "edge-de".to_owned(),
        admin: at("127.0.0.1", 0),
        source,
    }
}

pub(super) fn present() -> bool {
    let found = Command::new("envoy").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        // `cargo xtask test` says that nothing real may be missing.
        assert!(!std::env::var("TIDEGATE_REAL_PARTS").is_ok_and(|v| v == "required"), "no `envoy` on the path");
        println!("skipped: no `envoy` on the path");
    }
    found
}

/// `envoy --mode validate` on a file; its words where it refuses.
fn validate(path: &Path) -> Result<(), String> {
    let out = Command::new("envoy")
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(path)
        .output()
        .map_err(|e| e.to_string())?;
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}

fn resources() -> GroupResources {
    let fleet = fleet();
    let mut plan = plan(&fleet);
    plan.splits[0].serving = tidegate_domain::Serving::Routed { shed: tidegate_domain::Bps::clamped(1250) };
    translate(&fleet, &plan).expect("translates").swap_remove(EDGE_DE.at())
}

fn unpack<M: Message + Name + Default>(file: &[u8]) -> Vec<M> {
    let all = DiscoveryResponse::decode(file).expect("a response");
    assert_eq!(all.type_url, M::type_url());
    all.resources.iter().map(|any| M::decode(any.value.as_slice()).expect("a resource")).collect()
}

fn static_bootstrap(clusters: Vec<Cluster>, listeners: Vec<Listener>) -> Bootstrap {
    Bootstrap {
        node: Some(Node { id: "edge-de-1".to_owned(), cluster: "tidegate".to_owned(), ..Node::default() }),
        static_resources: Some(bootstrap::StaticResources { clusters, listeners, ..Default::default() }),
        ..Bootstrap::default()
    }
}

fn check(name: &str, config: &Bootstrap) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let path = dir.path().join(format!("{name}.pb"));
    std::fs::write(&path, config.encode_to_vec()).map_err(|e| e.to_string())?;
    validate(&path)
}

/// Clusters by EDS and listeners by RDS, exactly as ADS sends them.
#[test]
fn envoy_accepts_the_resources_as_sent() {
    if !present() {
        return;
    }
    let of = resources();
    let clusters = of.clusters.into_iter().map(|(_, c)| c).collect();
    let listeners = of.listeners.into_iter().map(|(_, l)| l).collect();
    let mut config = static_bootstrap(clusters, listeners);
    let ads: Bootstrap = ads_part();
    config.dynamic_resources = ads.dynamic_resources;
    config.static_resources.as_mut().expect("set").clusters.extend(ads.static_resources.expect("set").clusters);
    assert_eq!(check("sent", &config), Ok(()));
}

/// An ADS source and its cluster, the least that validation needs.
fn ads_part() -> Bootstrap {
    use envoy_types::pb::envoy::config::core::v3::{GrpcService, grpc_service};
    let grpc = grpc_service::EnvoyGrpc { cluster_name: "ads".to_owned(), ..Default::default() };
    let source = ApiConfigSource {
        api_type: api_config_source::ApiType::DeltaGrpc as i32,
        transport_api_version: 2,
        grpc_services: vec![GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc)),
            ..GrpcService::default()
        }],
        ..ApiConfigSource::default()
    };
    let cluster = Cluster { name: "ads".to_owned(), ..Cluster::default() };
    let mut all = static_bootstrap(vec![cluster], Vec::new());
    all.dynamic_resources = Some(bootstrap::DynamicResources { ads_config: Some(source), ..Default::default() });
    all
}

/// Assignments and routes inside, as the files hold them; and Envoy does find a fault that is put in.
#[test]
fn envoy_accepts_the_files_and_not_a_broken_one() {
    if !present() {
        return;
    }
    let of = files(&resources());
    let clusters: Vec<Cluster> = unpack(&of[0].1);
    let listeners: Vec<Listener> = unpack(&of[1].1);
    assert_eq!(check("files", &static_bootstrap(clusters.clone(), listeners.clone())), Ok(()));
    // Control: a route to a cluster that is not there must be refused, or the check says nothing.
    let fault = check("broken", &static_bootstrap(clusters[..1].to_vec(), listeners)).expect_err("one cluster is gone");
    assert!(fault.contains("payroll/open"), "{fault}");
}

#[test]
fn envoy_accepts_the_bootstraps() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content) in files(&resources()) {
        std::fs::write(dir.path().join(name), content).expect("written");
    }
    assert!(dir.path().join(CLUSTERS_FILE).exists() && dir.path().join(LISTENERS_FILE).exists());
    let servers = |host: &str| Source::Servers { servers: vec![at(host, 18000), at("127.0.0.2", 18000)], tls: None };
    let by_file = Source::Files(dir.path().display().to_string());
    for (i, source) in [servers("127.0.0.1"), servers("tidegate.example"), by_file].into_iter().enumerate() {
        let text = envoy(&params(source)).to_string();
        assert!(text.contains("\"region\":\"edge-de\""), "{text}");
        assert_eq!(text.contains("load_stats_config"), i < 2, "load is reported to servers only: {text}");
        let path = dir.path().join(format!("bootstrap-{i}.json"));
        std::fs::write(&path, text).expect("written");
        if present() {
            assert_eq!(validate(&path), Ok(()));
        }
    }
}
