//! What the control plane says, and what of it an edge takes.

use crate::resources::{self as of, at};
use crate::support::*;
use edge_proxy::{Args, Edge};
use std::time::Duration;
use tokio::net::TcpListener;

const OPEN: &str = "payroll/open";
const CLAIM_OPEN: (&str, &str) = ("x-residency-class", "open");

/// The text of the refusal that stands.
fn refusal(server: &Server) -> Option<String> {
    let nodes = server.engine.nodes();
    nodes.iter().flat_map(|n| &n.types).find_map(|t| t.nacked.as_ref().map(|n| n.message.clone()))
}

/// Two classes are moved by one response, one of them where it may not go: the other moves all the same, and once the
/// first is mended the server counts everything as taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_assignment_keeps_no_other_class_from_its_new_place() {
    let (a, b) = (Backend::start(Does::Answer).await, Backend::start(Does::Answer).await);
    let server = Server::start().await;
    let german = |to: &Backend| [at("aws/eu-central-1", "DE", 10_000, &[to.address])];
    server.payroll(&german(&a));
    server.set(OPEN, &of::cluster(OPEN, &["*"]));
    server.set(OPEN, &of::assignment(OPEN, &german(&a), 0));
    server.set("public", &of::routes("public", &[EU, OPEN], &[], of::TIMES));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    let to = public(&edge);
    assert_eq!(get(to, "/x", &[CLAIM_OPEN]).await.status, 200);

    server.set(EU, &of::assignment(EU, &[at("gcp/europe-west1", "BE", 1, &[b.address])], 0));
    server.set(OPEN, &of::assignment(OPEN, &german(&b), 0));
    let tag = server.publish();
    until("the refusal reaches the server", || async { refusal(&server).is_some() }).await;
    let words = refusal(&server).unwrap();
    assert!(words.contains("assignment `payroll/eu`") && !words.contains("payroll/open"), "{words}");
    until("the other class is at its new place", || async {
        get(to, "/x", &[CLAIM_OPEN]).await.body.starts_with(&b.address.to_string())
    })
    .await;
    assert!(get_eu(&edge).await.body.starts_with(&a.address.to_string()), "the last good stays");
    assert_eq!(server.engine.acked_by_all(tag).outstanding, ["edge-1"]);

    server.set(EU, &of::assignment(EU, &german(&b), 0));
    server.publish_and_wait().await;
    assert_eq!(refusal(&server), None);
    assert!(get_eu(&edge).await.body.starts_with(&b.address.to_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_port_is_taken_listens_when_it_is_free() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&[at("aws/eu-central-1", "DE", 10_000, &[a.address])]);
    server.set("other", &of::listener("other", "127.0.0.1:0".parse().unwrap()));
    server.set("other", &of::routes("other", &[EU], &[], of::TIMES));
    server.publish();
    let squatter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = squatter.local_addr().unwrap();
    let state = tempfile::tempdir().unwrap();
    let args = Args { listen_overrides: vec![("public".into(), taken)], ..args(server.address, state.path()) };
    let edge = Edge::start(&args).await.unwrap();
    until("it says what it cannot have", || async {
        dump(&edge).await["unbound"][0]
            .as_str()
            .is_some_and(|why| why.starts_with(&format!("listener `public` cannot be bound to {taken}: ")))
    })
    .await;
    assert_eq!(metric(&edge, &["listeners_unbound "]).await, 1);
    until("the other listener does not wait for it", || async { edge.listeners().contains_key("other") }).await;
    assert_eq!(get(edge.listeners()["other"], "/x", &[CLAIM]).await.status, 200);
    until("what was sent is in use, and nothing is sent again", || async { server.engine.acked_by_all(1).acked == 1 })
        .await;
    drop(squatter);
    until("it listens", || async { edge.listeners().get("public") == Some(&taken) }).await;
    assert_eq!(get_eu(&edge).await.status, 200);
    until("nothing is left to say", || async { metric(&edge, &["listeners_unbound "]).await == 0 }).await;
    assert_eq!(dump(&edge).await["unbound"].as_array().map(Vec::len), Some(0));
}

/// Nothing changed while the edge was away: the server says so, and the state counts as good from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_nothing_new_confirms_the_state_from_disk() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&[at("aws/eu-central-1", "DE", 10_000, &[a.address])]);
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let first = edge(&server, state.path()).await;
    assert!(first.shutdown(Duration::from_secs(5)).await);
    let file = state.path().join("last-known-good");
    let before = std::fs::read(&file).unwrap();
    let second = Edge::start(&args(server.address, state.path())).await.unwrap();
    until("the server confirms", || async { dump(&second).await["booted_from_disk"] == false }).await;
    assert_eq!(metric(&second, &["booted_from_disk "]).await, 0);
    assert_eq!(metric(&second, &["ads_updates_total", "\"EDS\""]).await, 0, "nothing was sent again");
    until("the state on disk is as good as now", || async { std::fs::read(&file).unwrap() != before }).await;
}

/// A second server whose store is older takes nothing back; unless an operator says that it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_generation_is_refused_unless_that_is_wanted() {
    let (a, b) = (Backend::start(Does::Answer).await, Backend::start(Does::Answer).await);
    let (newer, older) = (Server::start().await, Server::start().await);
    newer.payroll(&[at("aws/eu-central-1", "DE", 10_000, &[a.address])]);
    older.payroll(&[at("azure/westeurope", "NL", 10_000, &[b.address])]);
    newer.publish();
    newer.publish();
    older.publish();
    let state = tempfile::tempdir().unwrap();
    let mut both = args(newer.address, state.path());
    both.servers.push(format!("http://{}", older.address));
    let edge = Edge::start(&both).await.unwrap();
    until("the edge listens", || async { edge.listeners().contains_key("public") }).await;
    assert_eq!(get_eu(&edge).await.status, 200);
    newer.engine.shutdown(Duration::ZERO);
    until("the older server is refused", || async { metric(&edge, &["older_generation_refused_total"]).await >= 1 })
        .await;
    until("and hears why", || async {
        refusal(&older).is_some_and(|w| w.starts_with("generation 1 is older than 2, which this edge holds"))
    })
    .await;
    for _ in 0..20 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    assert_eq!((a.count(), b.count()), (21, 0));
    // It catches up: from then on it is as good as any.
    older.publish();
    until("its state is taken", || async { get_eu(&edge).await.body.starts_with(&b.address.to_string()) }).await;
    assert!(edge.shutdown(Duration::from_secs(5)).await);

    // The store is restored from a backup: what is held on disk is newer, and the operator means it.
    let restored = Server::start().await;
    restored.payroll(&[at("aws/eu-central-1", "DE", 10_000, &[a.address])]);
    restored.publish();
    let edge = Edge::start(&Args { accept_older: true, ..args(restored.address, state.path()) }).await.unwrap();
    until("the older state is taken", || async { get_eu(&edge).await.body.starts_with(&a.address.to_string()) }).await;
    assert_eq!(dump(&edge).await["generation"], 1);
}
