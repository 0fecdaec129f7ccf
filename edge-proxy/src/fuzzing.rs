//! Doors for fuzzers, and for the tests that run over the fuzzers' corpus. Behind the feature `fuzzing`: no program has it.
//!
//! Each takes any bytes, says whether they were taken, and fails by a panic alone.

use crate::balance::{Cluster, Memory, Tried};
use crate::lkg::{self, Saved};
use crate::metrics::Metrics;
use crate::model::{self, Assignment, Budget, ClusterSpec, Host};
use crate::shared::Shared;
use crate::state::{Incoming, State};
use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3::Cluster as WireCluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tidegate_xds::TypeUrl;
use tidegate_xds::client::{ClientMachine, NodeIdentity};

const GROUP: &str = "edge-de";

/// By the first byte: 0 a cluster, 1 an assignment, 2 a listener, 3 routes, 4 a server's response, 5 the file of the last
/// known good state, 6 the content of such a file.
pub fn model(data: &[u8]) -> bool {
    let Some((kind, data)) = data.split_first() else { return false };
    match kind {
        0 => WireCluster::decode(data).is_ok_and(|of| cluster(&of.name, data)),
        1 => ClusterLoadAssignment::decode(data).is_ok_and(|of| assignment(&of.cluster_name, data)),
        2 => Listener::decode(data).is_ok_and(|of| model::listener(&of.name, data).is_ok()),
        3 => RouteConfiguration::decode(data).is_ok_and(|of| routes(&of.name, data)),
        4 => response(data),
        5 => lkg::decode(data, GROUP).is_ok_and(|saved| restored(&saved)),
        6 => saved(data),
        _ => false,
    }
}

fn cluster(name: &str, data: &[u8]) -> bool {
    let Ok(spec) = model::cluster(name, data) else { return false };
    assert_eq!(spec.name, name);
    assert!(!spec.connect_timeout.is_zero() && !spec.assignment.is_empty() || name.is_empty());
    assert!(spec.ejection.as_ref().is_none_or(|e| e.longest >= e.base && !e.interval.is_zero()));
    assert!(spec.permitted.is_none() || !spec.permits(""), "nowhere is permitted only where anywhere is");
    true
}

fn assignment(name: &str, data: &[u8]) -> bool {
    let Ok(assignment) = model::assignment(name, data) else { return false };
    for permitted in [None, Some(BTreeSet::from(["DE".to_owned()]))] {
        picks_are_permitted(name, permitted, &assignment);
    }
    true
}

/// No request goes where the law does not let it, nor to an endpoint that drains.
fn picks_are_permitted(name: &str, permitted: Option<BTreeSet<String>>, assignment: &Assignment) {
    let spec = ClusterSpec {
        name: name.to_owned(),
        class: name.to_owned(),
        permitted,
        connect_timeout: Duration::from_millis(300),
        ejection: None,
        requests_max: 8,
        per_host_max: 8,
        budget: Budget::Fixed(3),
        assignment: name.to_owned(),
    };
    let Ok(metrics) = Metrics::new() else { return };
    let spec = Arc::new(spec);
    let cluster = Cluster::build(Arc::clone(&spec), assignment, None, &Memory::default(), &metrics, Default::default());
    let _ = (cluster.sheds(), cluster.wanted_bps());
    let mut tried = Tried::default();
    for _ in 0..8 {
        let Ok((place, host)) = cluster.pick(&tried, 0) else { continue };
        let place = &cluster.places[place];
        assert!(spec.permits(&place.jurisdiction), "{} in {}", host.address, place.jurisdiction);
        let sent = |l: &&model::Locality| *l.region == *place.region && l.priority == place.priority;
        assert!(assignment.localities.iter().filter(sent).any(|l| l.endpoints.contains(&host.address)));
        tried.hosts.push(host.address);
        tried.providers.push(Arc::clone(&place.provider));
    }
}

/// A request with one header of each kind that routes look at.
struct Asked;

impl Host for Asked {
    fn any_value(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        match name {
            ":method" => Some(holds(b"GET")),
            ":path" => Some(holds(b"/a?b")),
            "x-residency-class" => Some(holds(b"eu") || holds(b"\xff")),
            _ => None,
        }
    }
}

fn routes(name: &str, data: &[u8]) -> bool {
    let Ok(table) = model::route_table(name, data) else { return false };
    for host in ["payroll.example:443", "a.wide.example", "[::1]:80", "", ":", "\u{e9}"] {
        for path in ["/", "/stream/a?b#c", "", "\u{e9}"] {
            let action = table.find(host, path, &Asked);
            let to = table.clusters().collect::<BTreeSet<_>>();
            if let Some(model::Action::Forward(forward)) = action {
                assert!(to.contains(forward.cluster.as_str()), "where it leads is known beforehand");
            }
        }
    }
    true
}

/// As the subscription hears it: taken is a response of which something was taken and nothing refused.
fn response(data: &[u8]) -> bool {
    let Ok(response) = DeltaDiscoveryResponse::decode(data) else { return false };
    let mut machine = ClientMachine::new(NodeIdentity { id: "edge-1".into(), ..NodeIdentity::default() });
    for type_url in TypeUrl::ALL {
        machine.subscribe(type_url, &["*".to_owned()]);
    }
    machine.on_connected();
    let Some(update) = machine.on_response(response, true) else { return false };
    let added = update.added.iter();
    let added: Vec<Incoming> =
        added.map(|r| Incoming { name: r.name.clone(), version: r.version.clone(), value: r.value.clone() }).collect();
    let change = State::default().judge(update.token.type_url, &added, &update.removed);
    let refused: BTreeSet<String> = change.refused.keys().cloned().collect();
    let clean = refused.is_empty();
    machine.answer_in_part(&update.token, &refused, "no".to_owned());
    let known = machine.known(update.token.type_url);
    assert!(known.is_none_or(|known| known.keys().all(|name| added.iter().any(|r| r.name == *name))));
    clean && !added.is_empty()
}

fn saved(data: &[u8]) -> bool {
    let Ok(saved) = Saved::decode(data) else { return false };
    let again = lkg::decode(&lkg::encode(&saved), &saved.group);
    assert_eq!(again.ok().as_ref(), Some(&saved), "what is stored is loaded");
    restored(&saved)
}

/// Read as at a start. What is good is put to use, and saved again it is good again.
fn restored(saved: &Saved) -> bool {
    let Ok(change) = State::restore(saved) else { return false };
    let Ok(metrics) = Metrics::new() else { return false };
    let (mut state, shared) = (State::default(), Shared::new(Arc::new(metrics)));
    state.commit_all(change, &shared);
    assert!(state.is_whole());
    let table = shared.table.load();
    for slot in table.clusters.values() {
        let cluster = slot.load();
        if let Ok((place, _)) = cluster.pick(&Tried::default(), 0) {
            assert!(cluster.spec.permits(&cluster.places[place].jurisdiction));
        }
    }
    let kept = state.save(&saved.group, &saved.server, saved.generation);
    let file = Bytes::from(lkg::encode(&kept));
    assert!(lkg::decode(&file, &saved.group).is_ok_and(|kept| State::restore(&kept).is_ok()), "good once, good again");
    true
}
