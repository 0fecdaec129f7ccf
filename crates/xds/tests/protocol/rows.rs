//! The protocol's rules as seen from the wire. Each test is named by its number in the project's list of rules for an
//! xDS server (delta rows).

use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tidegate_xds::TypeUrl::{Cds, Eds, Lds, Rds};
use tidegate_xds::server::{
    Admission, ChannelObserver, Denied, Event, Limits, NodeInfo, PublishError, Resource, Snapshot, Variant,
};
use tonic::Code;

use crate::support::*;

const AB: [Item<'static>; 4] = [(Cds, "a", "ca"), (Cds, "b", "cb"), (Eds, "a", "ea"), (Eds, "b", "eb")];

#[tokio::test]
async fn row_01_and_16_wildcard_empty_or_star_gets_all_and_quiet_after_ack() {
    let server = server(&AB).await;
    for first in [request(Cds), subscribe(Cds, &["*"])] {
        let mut raw = Raw::open(&server, "n", first).await;
        let all = raw.next_of(Cds).await;
        assert_eq!(names(&all), ["a", "b"]);
        raw.ack(&all).await;
        raw.quiet().await;
    }
}

#[tokio::test]
async fn row_02_and_03_by_name_gets_exactly_that_and_nothing_of_others() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a"])).await;
    let a = raw.next_of(Eds).await;
    assert_eq!(names(&a), ["a"]);
    raw.ack(&a).await;
    server.engine.publish(snapshot(&[AB[0], AB[1], AB[2], (Eds, "b", "new")]), 2).unwrap();
    raw.quiet().await;
    // An empty first request is a wildcard for clusters and listeners only.
    let mut nothing = Raw::open(&server, "m", request(Eds)).await;
    nothing.quiet().await;
}

#[tokio::test]
async fn row_04_13_and_17_only_the_change_is_pushed_with_new_version_nonce_and_identifier() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a", "b"])).await;
    let first = raw.next_of(Eds).await;
    assert_eq!(first.control_plane.as_ref().unwrap().identifier, "gate-1");
    assert_eq!(first.system_version_info, "1");
    raw.ack(&first).await;
    server.engine.publish(snapshot(&[(Eds, "a", "new"), AB[3]]), 2).unwrap();
    let second = raw.next_of(Eds).await;
    assert_eq!(names(&second), ["a"]);
    assert_eq!(second.resources[0].version, version("new"));
    assert_eq!(second.system_version_info, "2");
    assert_ne!(second.nonce, first.nonce);
}

#[tokio::test]
async fn row_05_and_25_nack_is_not_resent_hot_and_the_next_change_is() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a", "b"])).await;
    let first = raw.next_of(Eds).await;
    raw.nack(&first, "bad weights").await;
    raw.quiet().await;
    server.engine.publish(snapshot(&[(Eds, "a", "mended"), AB[3]]), 2).unwrap();
    assert_eq!(names(&raw.next_of(Eds).await), ["a"]);
}

#[tokio::test]
async fn row_07_and_09_added_name_is_served_and_a_missing_one_blocks_nothing() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a", "nope"])).await;
    let first = raw.next_of(Eds).await;
    assert_eq!((names(&first), &first.removed_resources[..]), (vec!["a"], &["nope".to_owned()][..]));
    raw.ack(&first).await;
    raw.send(subscribe(Eds, &["b"])).await;
    assert_eq!(names(&raw.next_of(Eds).await), ["b"]);
}

#[tokio::test]
async fn row_08_and_21_resume_sends_only_the_difference() {
    let server = server(&AB).await;
    let versions = [("a", &*version("ea")), ("b", "of another time")];
    let mut raw = Raw::open(&server, "n", with_versions(subscribe(Eds, &["a", "b"]), &versions)).await;
    assert_eq!(names(&raw.next_of(Eds).await), ["b"]);
    let same = [("a", &*version("ea"))];
    let mut raw = Raw::open(&server, "n", with_versions(subscribe(Eds, &["a"]), &same)).await;
    raw.quiet().await;
}

#[tokio::test]
async fn row_10_and_20_unsubscribe_stops_pushes_and_is_no_wildcard() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Cds, &["a"])).await;
    let first = raw.next_of(Cds).await;
    raw.ack(&first).await;
    raw.send(unsubscribe(Cds, &["a", "phantom"])).await;
    raw.quiet().await;
    server.engine.publish(snapshot(&[(Cds, "a", "new"), AB[1]]), 2).unwrap();
    raw.quiet().await;
    raw.send(subscribe(Cds, &["b"])).await;
    assert_eq!(names(&raw.next_of(Cds).await), ["b"]);
}

#[tokio::test]
async fn row_11_star_then_a_leaves_the_wildcard() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Cds, &["*"])).await;
    let all = raw.next_of(Cds).await;
    raw.ack(&all).await;
    let mut only_a = subscribe(Cds, &["a"]);
    only_a.resource_names_unsubscribe = vec!["*".into()];
    raw.send(only_a).await;
    server.engine.publish(snapshot(&[(Cds, "a", "new"), (Cds, "b", "new")]), 2).unwrap();
    let mut seen = Vec::new();
    loop {
        let response = raw.next_of(Cds).await;
        seen.extend(names(&response).into_iter().map(str::to_owned));
        raw.ack(&response).await;
        if response.resources.iter().any(|r| r.version == version("new")) {
            break;
        }
    }
    assert!(!seen.contains(&"b".to_owned()), "{seen:?}");
    raw.quiet().await;
}

#[tokio::test]
async fn row_12_unknown_type_does_not_kill_the_stream() {
    let server = server(&AB).await;
    let mut unknown = subscribe(Eds, &["x"]);
    unknown.type_url = "type.googleapis.com/no.such.Type".into();
    let mut raw = Raw::open(&server, "n", unknown).await;
    raw.quiet().await;
    raw.send(subscribe(Eds, &["a"])).await;
    assert_eq!(names(&raw.next_of(Eds).await), ["a"]);
}

#[tokio::test]
async fn row_14_first_request_without_node_is_refused() {
    let server = server(&AB).await;
    for node in [None, Some(Node::default())] {
        let mut raw = Raw::open_bare(&server).await.unwrap();
        let mut first = request(Cds);
        first.node = node;
        raw.send(first).await;
        assert_eq!(raw.end().await.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn row_15_node_only_once_and_never_another() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", request(Cds)).await;
    let all = raw.next_of(Cds).await;
    raw.ack(&all).await;
    raw.send(subscribe(Eds, &["a"])).await;
    assert_eq!(names(&raw.next_of(Eds).await), ["a"]);
    let mut other = subscribe(Eds, &["b"]);
    other.node = Some(Node { id: "other".into(), ..Node::default() });
    raw.send(other).await;
    assert_eq!(raw.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn row_18_missing_name_is_answered_by_removed_resources() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["nope"])).await;
    let response = raw.next_of(Eds).await;
    assert_eq!((response.resources.len(), &response.removed_resources[..]), (0, &["nope".to_owned()][..]));
    raw.ack(&response).await;
    raw.quiet().await;
}

#[tokio::test]
async fn row_19_resubscribe_is_resent_though_unchanged() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a"])).await;
    let first = raw.next_of(Eds).await;
    raw.ack(&first).await;
    raw.send(subscribe(Eds, &["a"])).await;
    let again = raw.next_of(Eds).await;
    assert_eq!(again.resources, first.resources);
}

#[tokio::test]
async fn row_22_initial_version_of_a_gone_resource_is_removed() {
    let server = server(&AB).await;
    let known = [("a", &*version("ca")), ("b", &*version("cb")), ("gone", "1")];
    let mut raw = Raw::open(&server, "n", with_versions(request(Cds), &known)).await;
    let response = raw.next_of(Cds).await;
    assert_eq!((response.resources.len(), &response.removed_resources[..]), (0, &["gone".to_owned()][..]));
}

#[tokio::test]
async fn row_23_subscription_with_a_stale_nonce_is_honoured() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a"])).await;
    let first = raw.next_of(Eds).await;
    raw.ack(&first).await;
    let mut stale = subscribe(Eds, &["b"]);
    stale.response_nonce = "bogus".into();
    raw.send(stale).await;
    assert_eq!(names(&raw.next_of(Eds).await), ["b"]);
}

#[tokio::test]
async fn row_24_unsubscribed_name_under_a_wildcard_is_answered() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Cds, &["*", "a"])).await;
    let all = raw.next_of(Cds).await;
    raw.ack(&all).await;
    raw.send(unsubscribe(Cds, &["a"])).await;
    assert_eq!(names(&raw.next_of(Cds).await), ["a"]);
}

#[tokio::test]
async fn row_27_and_28_removal_recreation_and_late_creation() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a", "late"])).await;
    let first = raw.next_of(Eds).await;
    raw.ack(&first).await;
    let began = Instant::now();
    server.engine.publish(snapshot(&[AB[3]]), 2).unwrap();
    let gone = raw.next_of(Eds).await;
    assert_eq!((gone.resources.len(), &gone.removed_resources[..]), (0, &["a".to_owned()][..]));
    assert!(began.elapsed() < Duration::from_secs(1));
    raw.ack(&gone).await;
    server.engine.publish(snapshot(&[AB[2], (Eds, "late", "here")]), 3).unwrap();
    assert_eq!(names(&raw.next_of(Eds).await), ["a", "late"]);
}

#[tokio::test]
async fn row_29_endpoints_are_resent_when_their_cluster_changed() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", request(Cds)).await;
    let clusters = raw.next_of(Cds).await;
    raw.ack(&clusters).await;
    raw.send(subscribe(Eds, &["a", "b"])).await;
    let endpoints = raw.next_of(Eds).await;
    raw.ack(&endpoints).await;
    server.engine.publish(snapshot(&[(Cds, "a", "new"), AB[1], AB[2], AB[3]]), 2).unwrap();
    assert_eq!(names(&raw.next_of(Cds).await), ["a"]);
    let again = raw.next_of(Eds).await;
    assert_eq!(names(&again), ["a"]);
    assert_eq!(again.resources[0].version, version("ea"));
}

/// A stream that has all four types of [`BASE`].
async fn settled(server: &Server) -> Raw {
    let mut raw = Raw::open(server, "n", request(Cds)).await;
    raw.send(subscribe(Eds, &["a"])).await;
    raw.send(request(Lds)).await;
    raw.send(subscribe(Rds, &["r"])).await;
    for _ in 0..4 {
        let response = raw.next().await;
        raw.ack(&response).await;
    }
    raw.quiet().await;
    raw
}

const BASE: [Item<'static>; 4] = [(Cds, "a", "c"), (Eds, "a", "e"), (Lds, "l", "l"), (Rds, "r", "to a")];
const GROWN: [Item<'static>; 6] =
    [BASE[0], BASE[1], (Cds, "new", "c"), (Eds, "new", "e"), BASE[2], (Rds, "r", "to new")];

#[tokio::test]
async fn row_30_make_before_break_and_removal_reversed() {
    let server = server(&BASE).await;
    let mut raw = settled(&server).await;
    server.engine.publish(snapshot(&GROWN), 2).unwrap();
    let clusters = raw.next_of(Cds).await;
    raw.quiet().await; // the route waits for the ACK
    raw.send(subscribe(Eds, &["new"])).await;
    raw.ack(&clusters).await;
    let endpoints = raw.next_of(Eds).await;
    assert_eq!(names(&endpoints), ["new"]);
    raw.quiet().await; // and for the new cluster's endpoints
    raw.ack(&endpoints).await;
    let routes = raw.next_of(Rds).await;
    raw.ack(&routes).await;

    server.engine.publish(snapshot(&BASE), 3).unwrap();
    let routes = raw.next_of(Rds).await;
    raw.quiet().await; // the cluster stays while the route that used it may still be in use
    raw.ack(&routes).await;
    let mut removed = Vec::new();
    for _ in 0..2 {
        let response = raw.next().await;
        removed.extend(response.removed_resources.clone());
        raw.ack(&response).await;
    }
    assert_eq!(removed, ["new", "new"]);
}

#[tokio::test]
async fn row_31_route_to_a_refused_cluster_is_never_sent() {
    let server = server(&BASE).await;
    let mut raw = settled(&server).await;
    server.engine.publish(snapshot(&GROWN), 2).unwrap();
    let clusters = raw.next_of(Cds).await;
    raw.nack(&clusters, "Error adding/updating cluster(s) new: no").await;
    raw.quiet().await;
    // A later publication that keeps the refused cluster still holds that route, and only that one.
    let mut third = GROWN.to_vec();
    third[4] = (Lds, "l", "changed");
    server.engine.publish(snapshot(&third), 3).unwrap();
    let listeners = raw.next_of(Lds).await;
    raw.ack(&listeners).await;
    raw.quiet().await;
    assert_eq!(server.engine.acked_by_all(3).outstanding, ["n"]);
    third[2] = (Cds, "new", "mended");
    server.engine.publish(snapshot(&third), 4).unwrap();
    let clusters = raw.next_of(Cds).await;
    raw.quiet().await;
    raw.ack(&clusters).await;
    assert_eq!(names(&raw.next_of(Rds).await), ["r"]);
}

/// Of two assignments in one response a client names one as bad. It may have stopped there: the other is sent again.
#[tokio::test]
async fn what_a_refusal_does_not_name_is_sent_again_alone() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a", "b"])).await;
    let first = raw.next_of(Eds).await;
    raw.ack(&first).await;
    server.engine.publish(snapshot(&[(Eds, "a", "good"), (Eds, "b", "bad")]), 2).unwrap();
    let both = raw.next_of(Eds).await;
    assert_eq!(names(&both), ["a", "b"]);
    raw.nack(&both, "assignment `b`: bad").await;
    let again = raw.next_of(Eds).await;
    assert_eq!((names(&again), &again.resources[0].version), (vec!["a"], &version("good")));
    raw.ack(&again).await;
    raw.quiet().await;
    assert_eq!(server.engine.acked_by_all(2).outstanding, ["n"], "the refused one stands");
    let shown = server.engine.nodes()[0].types[0].nacked.as_ref().map(|n| n.message.clone());
    assert_eq!(shown.as_deref(), Some("assignment `b`: bad"), "the other's ACK does not lift it");
    server.engine.publish(snapshot(&[(Eds, "a", "good"), (Eds, "b", "mended")]), 3).unwrap();
    let mended = raw.next_of(Eds).await;
    assert_eq!(names(&mended), ["b"]);
    raw.ack(&mended).await;
    until("3 is acked by all", || server.engine.acked_by_all(3).acked == 1).await;
}

/// Envoy opens no listener before its clusters are known. Where there is none, only an empty response says so.
#[tokio::test]
async fn a_new_wildcard_is_answered_once_even_if_there_is_nothing() {
    let server = server(&[(Lds, "l", "l")]).await;
    for first in [request(Cds), subscribe(Cds, &["*"])] {
        let mut raw = Raw::open(&server, "n", first).await;
        let nothing = raw.next_of(Cds).await;
        assert_eq!((nothing.resources.len(), nothing.removed_resources.len()), (0, 0));
        assert!(!nothing.nonce.is_empty());
        raw.ack(&nothing).await;
        raw.quiet().await;
        raw.send(request(Lds)).await;
        let listeners = raw.next_of(Lds).await;
        assert_eq!(names(&listeners), ["l"]);
        raw.ack(&listeners).await;
        until("acked", || server.engine.acked_by_all(1).is_complete()).await;
    }
}

/// A fleet shrinks while a client is away: what it held and is gone does not count as asked for in vain.
#[tokio::test]
async fn a_client_that_held_more_than_may_be_unknown_comes_back() {
    let limits = Limits { unknown_names_max: 50, ..Limits::default() };
    let server = server_with(limits, &AB).await;
    let many: Vec<String> = (0..200).map(|i| format!("n{i}")).collect();
    let held: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "1")).collect();
    let mut raw = Raw::open(&server, "n", with_versions(request(Cds), &held)).await;
    let mut by_name = with_versions(request(Eds), &held);
    by_name.resource_names_subscribe.clone_from(&many);
    raw.send(by_name).await;
    let mut removed = 0;
    while removed < 400 {
        let response = raw.next().await;
        removed += response.removed_resources.len();
        raw.ack(&response).await;
    }
    // Names that were never there count as before.
    let mut more = request(Eds);
    more.resource_names_subscribe = (0..51).map(|i| format!("x{i}")).collect();
    raw.send(more).await;
    assert_eq!(raw.end().await.code(), Code::InvalidArgument);
}

/// A place is taken when a stream opens, and lost when nothing is said on it.
#[tokio::test]
async fn a_stream_counts_before_it_speaks_and_not_for_long() {
    let limits = Limits { streams_max: 2, first_request_ms: 300, ..Limits::default() };
    let server = server_with(limits, &AB).await;
    let mut silent = Raw::open_bare(&server).await.unwrap();
    let mut speaks = Raw::open(&server, "n", request(Cds)).await;
    let all = speaks.next().await;
    assert_eq!(Raw::open_bare(&server).await.err().unwrap().code(), Code::ResourceExhausted);
    assert_eq!(silent.end().await.code(), Code::DeadlineExceeded);
    speaks.ack(&all).await;
    let mut next = Raw::open(&server, "m", request(Cds)).await;
    assert_eq!(names(&next.next().await), ["a", "b"]);
    speaks.quiet().await;
}

#[tokio::test]
async fn row_34_streams_of_one_node_are_independent() {
    let server = server(&AB).await;
    let mut one = Raw::open(&server, "n", request(Cds)).await;
    let mut two = Raw::open(&server, "n", request(Cds)).await;
    let (first, second) = (one.next().await, two.next().await);
    one.nack(&first, "no").await;
    two.ack(&second).await;
    server.engine.publish(snapshot(&[(Cds, "a", "new"), AB[1]]), 2).unwrap();
    assert_eq!(names(&two.next().await), ["a"]);
    drop(one);
    until("the first stream is closed", || server.engine.connected() == 1).await;
    let nodes = server.engine.nodes();
    assert_eq!((nodes.len(), nodes[0].connected), (1, true), "a node with a stream left is not gone");
}

#[tokio::test]
async fn row_38_changes_while_an_ack_is_outstanding_are_sent_once_in_their_latest_form() {
    let server = server(&AB).await;
    let mut raw = Raw::open(&server, "n", subscribe(Eds, &["a"])).await;
    let first = raw.next_of(Eds).await;
    for tag in 2..52 {
        server.engine.publish(snapshot(&[(Eds, "a", &format!("v{tag}"))]), tag).unwrap();
    }
    raw.quiet().await;
    raw.ack(&first).await;
    let last = raw.next_of(Eds).await;
    assert_eq!((&*last.system_version_info, &*last.resources[0].version), ("51", &*version("v51")));
    raw.ack(&last).await;
    raw.quiet().await;
}

#[tokio::test]
async fn row_39_and_41_restart_or_another_replica_keeps_versions() {
    let one = server(&AB).await;
    let mut raw = Raw::open(&one, "n", request(Cds)).await;
    let all = raw.next_of(Cds).await;
    let versions: Vec<(&str, &str)> = all.resources.iter().map(|r| (&*r.name, &*r.version)).collect();
    drop(one);
    let two = server(&AB).await;
    let mut raw = Raw::open(&two, "n", with_versions(request(Cds), &versions)).await;
    let nothing = raw.next_of(Cds).await;
    assert_eq!((nothing.resources.len(), nothing.removed_resources.len()), (0, 0));
    raw.ack(&nothing).await;
    raw.quiet().await;
    until("it counts as acked without content", || two.engine.acked_by_all(1).acked == 1).await;
}

#[tokio::test]
async fn row_40_nothing_is_served_before_the_first_publication() {
    let server = serve(config()).await;
    let refused = Raw::open_bare(&server).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("not ready"));
    assert_eq!(server.engine.publish(Snapshot::builder().build(), 1), Err(PublishError::Empty));
    server.engine.publish(snapshot(&AB), 5).unwrap();
    assert_eq!(server.engine.publish(snapshot(&AB), 4), Err(PublishError::Backwards { offered: 4, published: 5 }));
    let mut raw = Raw::open(&server, "n", request(Cds)).await;
    assert_eq!(raw.next().await.resources.len(), 2);
}

#[tokio::test]
async fn row_42_and_43_answers_are_shown_told_and_cleared() {
    let (observer, mut events) = ChannelObserver::new(16);
    let server = serve(observed(observer)).await;
    server.engine.publish(snapshot(&AB), 7).unwrap();
    let mut raw = Raw::open(&server, "n", request(Cds)).await;
    let all = raw.next().await;
    raw.nack(&all, "cluster a: no such thing").await;
    assert!(matches!(events.recv().await, Some(Event::Connected(node, _)) if node.id == "n"));
    let Some(Event::Nacked(nack)) = events.recv().await else { panic!("no NACK was told") };
    assert_eq!((nack.answer.tag, nack.answer.type_url, &*nack.message), (7, Cds, "cluster a: no such thing"));

    let nodes = server.engine.nodes();
    let status = &nodes[0].types[0];
    let shown = status.nacked.as_ref().unwrap();
    assert_eq!((shown.mark.tag, &*shown.message), (7, "cluster a: no such thing"));
    assert_eq!((&*shown.resources[0].0, &*shown.resources[0].1), ("a", &*version("ca")));
    assert_eq!((status.sent.unwrap().tag, status.acked, status.nacked_count), (7, None, 1));
    assert_eq!(server.engine.acked_by_all(7).outstanding, ["n"]);

    server.engine.publish(snapshot(&[(Cds, "a", "mended"), AB[1]]), 8).unwrap();
    let mended = raw.next().await;
    raw.ack(&mended).await;
    assert!(matches!(events.recv().await, Some(Event::Acked(ack)) if ack.tag == 8));
    until("8 is acked by all", || server.engine.acked_by_all(8).is_complete()).await;
    let status = server.engine.nodes()[0].types[0].clone();
    assert_eq!((status.acked.unwrap().tag, status.synced_tag, status.nacked), (8, Some(8), None));

    // Nothing changes for this subscriber: it counts all the same.
    server.engine.publish(snapshot(&[(Cds, "a", "mended"), AB[1], (Rds, "r", "x")]), 9).unwrap();
    until("9 is acked by all", || server.engine.acked_by_all(9).acked == 1).await;
    drop(raw);
    assert!(matches!(events.recv().await, Some(Event::Gone(..))));
    assert!(!server.engine.nodes()[0].connected);
    assert_eq!(server.engine.acked_by_all(9).acked, 0);
}

#[tokio::test]
async fn row_44_large_state_is_split_and_a_resource_too_large_is_refused() {
    let limits = Limits { response_bytes_max: 4096, ..Limits::default() };
    let big = "x".repeat(1000);
    let items: Vec<(String, String)> = (0..20).map(|i| (format!("c{i:02}"), format!("{i}{big}"))).collect();
    let items: Vec<Item<'_>> = items.iter().map(|(n, c)| (Cds, n.as_str(), c.as_str())).collect();
    let server = server_with(limits, &items).await;
    let mut raw = Raw::open(&server, "n", request(Cds)).await;
    let mut got = Vec::new();
    while got.len() < 20 {
        let part = raw.next().await;
        assert!(prost::Message::encoded_len(&part) < 4096 + 256);
        got.extend(names(&part).into_iter().map(str::to_owned));
        assert_eq!(server.engine.acked_by_all(1).acked, 0);
        raw.ack(&part).await;
    }
    got.dedup();
    assert_eq!(got.len(), 20);
    until("all parts are acked", || server.engine.acked_by_all(1).acked == 1).await;
    let huge = "x".repeat(5000);
    let refused = server.engine.publish(snapshot(&[(Cds, "huge", &huge)]), 2).unwrap_err();
    assert!(matches!(refused, PublishError::TooLarge { .. }), "{refused}");
}

struct ByCluster;

impl Admission for ByCluster {
    fn admit(&self, node: &NodeInfo) -> Result<Variant, Denied> {
        assert!(node.peer.address.unwrap().ip().is_loopback());
        match node.cluster.as_str() {
            "stranger" => Err(Denied::Permission("a stranger".into())),
            "nobody" => Err(Denied::Unauthenticated("who?".into())),
            cluster => Ok(Variant::new(cluster)),
        }
    }
}

#[tokio::test]
async fn row_45_admission_decides_before_anything_is_sent() {
    let server = serve(admitting(ByCluster)).await;
    let mut builder = Snapshot::builder();
    for group in ["de", "us"] {
        let name = format!("only-{group}");
        let resource = Resource::from_any_bytes(Cds, &name, b"x").unwrap();
        builder.insert(&Variant::new(group), resource);
    }
    server.engine.publish(builder.build(), 1).unwrap();
    let open = async |cluster: &str| {
        let mut raw = Raw::open_bare(&server).await.unwrap();
        let mut first = request(Cds);
        first.node = Some(Node { id: "n".into(), cluster: cluster.into(), ..Node::default() });
        raw.send(first).await;
        raw
    };
    assert_eq!(names(&open("de").await.next().await), ["only-de"]);
    assert_eq!(names(&open("us").await.next().await), ["only-us"]);
    assert_eq!(open("stranger").await.end().await.code(), Code::PermissionDenied);
    assert_eq!(open("nobody").await.end().await.code(), Code::Unauthenticated);
    assert_eq!(open("no-such-group").await.end().await.code(), Code::Unavailable);
}

#[tokio::test]
async fn row_46_a_flood_of_requests_ends_its_own_stream_only() {
    let limits = Limits { requests_burst: 50, requests_per_second: 10, ..Limits::default() };
    let server = server_with(limits, &AB).await;
    let mut other = Raw::open(&server, "calm", subscribe(Eds, &["a"])).await;
    let first = other.next().await;
    other.ack(&first).await;
    let mut raw = Raw::open(&server, "flood", request(Cds)).await;
    for _ in 0..1000 {
        raw.send(subscribe(Eds, &["a"])).await;
    }
    assert_eq!(raw.end().await.code(), Code::ResourceExhausted);
    server.engine.publish(snapshot(&[(Eds, "a", "new")]), 2).unwrap();
    assert_eq!(names(&other.next().await), ["a"]);
}

#[tokio::test]
async fn row_48_shutdown_ends_streams_spread_and_refuses_new_ones() {
    let server = server(&AB).await;
    let mut raws = Vec::new();
    for n in 0..8 {
        let mut raw = Raw::open(&server, &format!("n{n}"), request(Cds)).await;
        let all = raw.next().await;
        raw.ack(&all).await;
        raws.push(raw);
    }
    server.engine.shutdown(Duration::from_millis(800));
    assert_eq!(Raw::open_bare(&server).await.err().unwrap().code(), Code::Unavailable);
    let began = Instant::now();
    let ends = raws.into_iter().map(|mut raw| {
        tokio::spawn(async move {
            let status = raw.end().await;
            (status.code(), began.elapsed())
        })
    });
    let mut times = Vec::new();
    for end in ends.collect::<Vec<_>>() {
        let (code, at) = end.await.unwrap();
        assert_eq!(code, Code::Unavailable);
        times.push(at);
    }
    times.sort();
    assert!(times[7] - times[0] > Duration::from_millis(300), "all at once: {times:?}");
    until("all are gone", || server.engine.connected() == 0).await;
}

#[tokio::test]
async fn row_50_hostile_input_is_refused() {
    let limits = Limits { names_max: 100, unknown_names_max: 50, request_bytes_max: 100_000, ..Limits::default() };
    let server = server_with(limits, &AB).await;
    let many = |n: usize| (0..n).map(|i| format!("n{i}")).collect::<Vec<_>>();
    let long = "x".repeat(2000);
    let mut cases = vec![subscribe(Eds, &[""]), subscribe(Eds, &[&long]), with_versions(request(Cds), &[(&long, "1")])];
    for n in [51, 101, 100_000] {
        let mut huge = request(Eds);
        huge.resource_names_subscribe = many(n);
        cases.push(huge);
    }
    let mut no_type = request(Eds);
    no_type.type_url = String::new();
    cases.push(no_type);
    for case in cases {
        let mut raw = Raw::open(&server, "n", case).await;
        let status = raw.end().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    until("nothing is left of them", || server.engine.connected() == 0).await;
}

#[tokio::test]
async fn row_50_bytes_that_are_no_request_are_refused() {
    // Field 2 (type_url) with a byte that is not UTF-8, and a field cut off.
    for message in [&b"\x12\x01\xff"[..], &b"\x12\x7f"[..]] {
        let server = server(&AB).await;
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        let mut channel = channel.connect().await.unwrap();
        let mut framed = vec![0, 0, 0, 0, message.len() as u8];
        framed.extend_from_slice(message);
        let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        let request = http::Request::post(format!("http://{}{path}", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(http_body_util::Full::new(bytes::Bytes::from(framed))))
            .unwrap();
        tower::ServiceExt::ready(&mut channel).await.unwrap();
        let response = tower::Service::call(&mut channel, request).await.unwrap();
        let collected = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "3");
    }
}

#[tokio::test]
async fn state_of_the_world_is_answered_with_what_to_do() {
    let server = server(&AB).await;
    let mut rpc = AggregatedDiscoveryServiceClient::connect(format!("http://{}", server.address)).await.unwrap();
    let requests = tokio_stream::iter([DiscoveryRequest::default()]);
    let status = rpc.stream_aggregated_resources(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("DELTA_GRPC"));
}

#[tokio::test]
async fn row_37_a_client_that_does_not_read_holds_nothing_but_the_newest_publication() {
    let server = server(&AB).await;
    let mut stuck = Raw::open(&server, "stuck", subscribe(Eds, &["a"])).await;
    let mut reader = Raw::open(&server, "reader", subscribe(Eds, &["a"])).await;
    let first = reader.next().await;
    reader.ack(&first).await;
    // It ACKs blindly, so that only flow control stops the server; 100 publications of 256 KiB overflow its window.
    let mut published = Vec::new();
    for tag in 2..102_u64 {
        let content = format!("{tag}{}", "x".repeat(256 << 10));
        server.engine.publish(snapshot(&[(Eds, "a", &content)]), tag).unwrap();
        published.push(Arc::downgrade(&server.engine.published().unwrap()));
        let update = reader.next().await;
        assert_eq!(update.system_version_info, tag.to_string());
        reader.ack(&update).await;
        let mut blind = request(Eds);
        blind.response_nonce = (tag - 1).to_string();
        stuck.send(blind).await;
    }
    let alive = || published.iter().filter(|p| p.upgrade().is_some()).count();
    until("old publications are let go", || alive() <= 3).await;
    assert_eq!(server.engine.connected(), 2);
}
