//! The client against the server, over loopback.

use std::time::Duration;

use tidegate_xds::TypeUrl::{self, Cds, Eds};
use tidegate_xds::client::{AdsClient, ClientConfig, ClientError, ClientEvent, NodeIdentity, Update};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::*;

fn client_config(servers: &[&Server], id: &str) -> ClientConfig {
    let addresses = servers.iter().map(|s| format!("http://{}", s.address)).collect();
    let mut config = ClientConfig::new(addresses, NodeIdentity { id: id.into(), ..NodeIdentity::default() });
    (config.backoff_min, config.backoff_max) = (Duration::from_millis(10), Duration::from_millis(50));
    config.subscriptions = vec![(Cds, vec!["*".into()])];
    config
}

async fn next(events: &mut mpsc::Receiver<ClientEvent>) -> ClientEvent {
    timeout(SOON, events.recv()).await.expect("no event came").expect("the client ended")
}

async fn update(events: &mut mpsc::Receiver<ClientEvent>) -> Update {
    loop {
        if let ClientEvent::Update(update) = next(events).await {
            return update;
        }
    }
}

fn added(update: &Update) -> Vec<(&str, &[u8])> {
    update.added.iter().map(|r| (r.name.as_str(), &r.value[..])).collect()
}

#[tokio::test]
async fn updates_are_answered_by_the_caller_and_names_change_at_run_time() {
    let server = server(&[(Cds, "a", "ca"), (Eds, "a", "ea"), (Eds, "b", "eb")]).await;
    let (client, mut events, task) = AdsClient::spawn(client_config(&[&server], "edge")).unwrap();
    assert!(matches!(next(&mut events).await, ClientEvent::Connected { connection: 1, .. }));
    let clusters = update(&mut events).await;
    assert_eq!((added(&clusters), clusters.tag), (vec![("a", &b"ca"[..])], Some(1)));
    assert_eq!(clusters.control_plane, "gate-1");
    client.nack(&clusters.token, "not today").await.unwrap();
    until("the refusal is shown", || {
        let nodes = server.engine.nodes();
        nodes.iter().flat_map(|n| &n.types).any(|t| t.nacked.as_ref().is_some_and(|n| n.message == "not today"))
    })
    .await;

    client.subscribe(Eds, vec!["a".into()]).await.unwrap();
    let endpoints = update(&mut events).await;
    assert_eq!(added(&endpoints), [("a", &b"ea"[..])]);
    client.ack(&endpoints.token).await.unwrap();
    client.unsubscribe(Eds, vec!["a".into()]).await.unwrap();
    client.subscribe(Eds, vec!["b".into()]).await.unwrap();
    assert_eq!(added(&update(&mut events).await), [("b", &b"eb"[..])]);

    drop(client);
    timeout(SOON, task).await.expect("the client ends with its handle").unwrap();
}

#[tokio::test]
async fn failover_resumes_with_the_known_versions() {
    let items = [(Cds, "a", "ca"), (Cds, "b", "cb")];
    let (one, two) = (server(&items).await, server(&[items[0], (Cds, "b", "newer")]).await);
    let config = client_config(&[&one, &two], "edge");
    let (client, mut events, _task) = AdsClient::spawn(config).unwrap();
    let all = update(&mut events).await;
    assert_eq!(all.added.len(), 2);
    client.ack(&all.token).await.unwrap();
    until("acked", || one.engine.acked_by_all(1).acked == 1).await;
    one.engine.shutdown(Duration::ZERO);
    let difference = update(&mut events).await;
    assert_eq!(added(&difference), [("b", &b"newer"[..])], "only what differs on the other server");
    client.ack(&difference.token).await.unwrap();
    until("acked there", || two.engine.acked_by_all(1).acked == 1).await;
}

#[tokio::test]
async fn a_server_that_is_left_hears_why_and_the_next_one_is_tried() {
    let (one, two) = (server(&[(Cds, "a", "old")]).await, server(&[(Cds, "a", "new")]).await);
    let (client, mut events, _task) = AdsClient::spawn(client_config(&[&one, &two], "edge")).unwrap();
    let old = update(&mut events).await;
    client.nack(&old.token, "of yesterday").await.unwrap();
    client.leave(&old.token, "of yesterday").await.unwrap();
    let left = next(&mut events).await;
    assert!(matches!(&left, ClientEvent::Disconnected { reason, .. } if reason == "of yesterday"), "{left:?}");
    assert_eq!(added(&update(&mut events).await), [("a", &b"new"[..])]);
    until("the first server lists the refusal", || {
        let nodes = one.engine.nodes();
        !nodes[0].connected && nodes[0].types[0].nacked.as_ref().is_some_and(|n| n.message == "of yesterday")
    })
    .await;
}

#[tokio::test]
async fn versions_seeded_from_disk_are_not_sent_again() {
    let server = server(&[(Cds, "a", "ca"), (Cds, "b", "cb")]).await;
    let mut config = client_config(&[&server], "edge");
    let known = [("a".to_owned(), version("ca")), ("gone".to_owned(), "1".to_owned())];
    config.known = [(Cds, known.into_iter().collect())].into_iter().collect();
    let (_client, mut events, _task) = AdsClient::spawn(config).unwrap();
    let mut seen = Vec::new();
    let first = update(&mut events).await;
    seen.extend(first.added.iter().map(|r| r.name.clone()));
    seen.extend(first.removed.clone());
    assert!(!seen.contains(&"a".to_owned()), "{seen:?}");
    assert!(seen.contains(&"b".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn it_never_gives_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let late = serve(config()).await;
    let mut config = client_config(&[&late], "edge");
    config.servers.insert(0, dead);
    let (_client, mut events, _task) = AdsClient::spawn(config).unwrap();
    let mut failures = 0;
    while failures < 6 {
        let event = next(&mut events).await;
        assert!(matches!(event, ClientEvent::Disconnected { .. }), "{event:?}");
        failures += 1;
    }
    late.engine.publish(snapshot(&[(Cds, "a", "ca")]), 1).unwrap();
    assert_eq!(update(&mut events).await.added.len(), 1);
}

#[tokio::test]
async fn a_server_that_hangs_is_left() {
    // It accepts and never speaks.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = server(&[(Cds, "a", "ca")]).await;
    let mut config = client_config(&[&server], "edge");
    config.servers.insert(0, format!("http://{}", hung.local_addr().unwrap()));
    config.connect_timeout = Duration::from_millis(200);
    let (_client, mut events, _task) = AdsClient::spawn(config).unwrap();
    assert_eq!(update(&mut events).await.added.len(), 1);
}

#[tokio::test]
async fn two_hundred_light_clients_follow_a_change() {
    let items: Vec<(TypeUrl, String)> = (0..20).map(|i| (Cds, format!("c{i}"))).collect();
    let make = |content: &'static str| {
        let items: Vec<Item<'_>> = items.iter().map(|(t, n)| (*t, n.as_str(), content)).collect();
        snapshot(&items)
    };
    let server = serve(config()).await;
    server.engine.publish(make("one"), 1).unwrap();
    let mut clients = Vec::new();
    for n in 0..200 {
        let mut config = client_config(&[&server], &format!("n{n}"));
        config.light = true;
        let (client, mut events, _task) = AdsClient::spawn(config).unwrap();
        let reader = tokio::spawn(async move { while events.recv().await.is_some() {} });
        clients.push((client, reader));
    }
    until("all have 1", || server.engine.acked_by_all(1).acked == 200).await;
    server.engine.publish(make("two"), 2).unwrap();
    until("all have 2", || server.engine.acked_by_all(2).acked == 200).await;
    assert!(server.engine.acked_by_all(2).is_complete());
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_refused() {
    let make = |servers: &[&str]| {
        let servers = servers.iter().map(|s| (*s).to_owned()).collect();
        AdsClient::new(ClientConfig::new(servers, NodeIdentity::default())).err()
    };
    assert!(matches!(make(&[]), Some(ClientError::NoServer)));
    assert!(matches!(make(&["not an address"]), Some(ClientError::Address { .. })));
}
