//! Backends that fail in each of the ways that matter.

use crate::resources::{self as of, At, at};
use crate::support::*;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two places of equal weight, of two providers, and an edge before them.
async fn two(first: Does) -> (Backend, Backend, Server, tempfile::TempDir, edge_proxy::Edge) {
    let (a, b) = (Backend::start(first).await, Backend::start(Does::Answer).await);
    let server = Server::start().await;
    server.payroll(&[
        at("aws/eu-central-1", "DE", 5_000, &[a.address]),
        at("azure/westeurope", "NL", 5_000, &[b.address]),
    ]);
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    (a, b, server, state, edge)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_costs_no_get_and_is_soon_left_alone() {
    let (a, b, _server, _state, edge) = two(Does::Answer).await;
    for _ in 0..20 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    a.kill();
    for _ in 0..100 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    assert_eq!(b.count() + a.count(), 120, "each request was answered once");
    assert!(metric(&edge, &["ejections_total", "aws/eu-central-1"]).await >= 1);
    let retries = metric(&edge, &["retries_total"]).await;
    assert!((1..=6).contains(&retries), "{retries} retries: three failures take an endpoint out");
    assert_eq!(metric(&edge, &["ejected_endpoints", "aws/eu-central-1"]).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_may_have_been_executed_is_not_sent_again() {
    for does in [Does::Close, Does::Status(503)] {
        let (a, b, _server, _state, edge) = two(does).await;
        let mut failed = 0;
        for _ in 0..20 {
            let got = send(public(&edge), "POST", "/x", &[CLAIM], "body").await;
            failed += u64::from(got.status != 200);
        }
        let (at_a, at_b) = (a.posts.load(Ordering::SeqCst), b.posts.load(Ordering::SeqCst));
        assert!(at_a >= 1, "{does:?}");
        assert_eq!((at_a, at_a + at_b), (failed, 20), "{does:?}: what A received failed, and went nowhere else");
        assert_eq!(metric(&edge, &["retries_total"]).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_goes_elsewhere_when_no_connection_was_made() {
    let (a, b, _server, _state, edge) = two(Does::Answer).await;
    a.kill();
    for _ in 0..20 {
        assert_eq!(send(public(&edge), "POST", "/x", &[CLAIM], "body").await.status, 200);
    }
    assert_eq!(b.posts.load(Ordering::SeqCst), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_erring_and_closing_backends_cost_no_get() {
    for (does, kind) in [(Does::Hang, "per_try_timeout"), (Does::Status(503), "status"), (Does::Close, "reset")] {
        let (a, b, _server, _state, edge) = two(does).await;
        let began = Instant::now();
        for _ in 0..40 {
            assert_eq!(get_eu(&edge).await.status, 200, "{does:?}");
        }
        assert_eq!(b.count(), 40);
        assert!(a.count() <= 3, "{does:?}: {} tries before it was taken out", a.count());
        assert_eq!(metric(&edge, &["retries_total", kind]).await, a.count(), "{does:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{does:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_costs_the_connect_time_and_no_request() {
    // A listening socket with a full queue answers no SYN: what a dropped packet looks like.
    let hole = tokio::net::TcpSocket::new_v4().unwrap();
    hole.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let hole = hole.listen(0).unwrap();
    let address = hole.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(filler)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        fillers.push(filler);
    }
    let b = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server
        .payroll(&[at("aws/eu-central-1", "DE", 9_000, &[address]), at("azure/westeurope", "NL", 1_000, &[b.address])]);
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    for n in 0..30 {
        let began = Instant::now();
        let method = if n % 2 == 0 { "GET" } else { "POST" };
        assert_eq!(send(public(&edge), method, "/x", &[CLAIM], "").await.status, 200);
        assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    }
    assert!(metric(&edge, &["retries_total", "connect"]).await <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_leaves_the_failed_provider_and_the_spill_ring_takes_what_is_left() {
    let (a1, a2, b) = (
        Backend::start(Does::Status(503)).await,
        Backend::start(Does::Status(503)).await,
        Backend::start(Does::Answer).await,
    );
    let server = Server::start().await;
    let ring = At { priority: 1, ..at("azure/westeurope", "NL", 10_000, &[b.address]) };
    server.payroll(&[
        at("aws/eu-central-1", "DE", 5_000, &[a1.address]),
        at("aws/eu-west-9", "NL", 5_000, &[a2.address]),
        ring,
    ]);
    server.set("public", &of::routes("public", &[EU], &[], of::Times { retries: 1, ..of::TIMES }));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    for _ in 0..30 {
        assert_eq!(get_eu(&edge).await.status, 200, "one retry is enough, for it goes to another provider");
    }
    assert_eq!(b.count(), 30);
    assert!(a1.count() + a2.count() <= 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_everything_permitted_is_out_everything_permitted_is_tried() {
    let (a, b, _server, _state, edge) = two(Does::Status(503)).await;
    b.now_does(Does::Status(503));
    for _ in 0..20 {
        assert_eq!(get_eu(&edge).await.status, 503);
    }
    assert_eq!(metric(&edge, &["ejected_endpoints"]).await, 2);
    a.now_does(Does::Answer);
    b.now_does(Does::Answer);
    assert_eq!(get_eu(&edge).await.status, 200, "they are tried although their time is not over");
}

/// A backend that stopped reading in the middle of an upload: no clock of the answer runs yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_to_a_backend_that_does_not_read_ends_in_the_routes_time() {
    // Connections wait in its queue, and take what their buffers hold.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start().await;
    server.payroll(&[at("aws/eu-central-1", "DE", 10_000, &[mute.local_addr().unwrap()])]);
    server.set("public", &of::routes("public", &[EU], &[], of::Times { timeout_ms: 1_000, ..of::TIMES }));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    let (mut reads, mut writes) = tokio::net::TcpStream::connect(public(&edge)).await.unwrap().into_split();
    let began = Instant::now();
    let upload = tokio::spawn(async move {
        let length = 16 << 20;
        let head = format!(
            "POST /x HTTP/1.1\r\nHost: payroll.example\r\nX-Residency-Class: eu\r\nContent-Length: {length}\r\n\r\n"
        );
        writes.write_all(head.as_bytes()).await.unwrap();
        let written = writes.write_all(&vec![b'x'; length]).await;
        assert!(written.is_err(), "nobody read all of it");
    });
    let mut answer = vec![0; 64];
    let read = tokio::time::timeout(SOON, reads.read(&mut answer)).await.expect("an end").unwrap();
    let (answer, took) = (String::from_utf8_lossy(&answer[..read]).into_owned(), began.elapsed());
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{took:?}");
    tokio::time::timeout(SOON, upload).await.expect("the client is told to stop").unwrap();
    assert_eq!(metric(&edge, &["retries_total"]).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_request_has_a_time_and_a_stream_has_none() {
    let a = Backend::start(Does::Slow(1_200)).await;
    let server = Server::start().await;
    server.payroll(&[at("aws/eu-central-1", "DE", 10_000, &[a.address])]);
    let times = of::Times { timeout_ms: 400, per_try_ms: 0, retries: 1 };
    server.set("public", &of::routes("public", &[EU], &[], times));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    let began = Instant::now();
    for method in ["GET", "POST"] {
        assert_eq!(send(public(&edge), method, "/x", &[CLAIM], "a body").await.status, 504, "{method}");
    }
    assert!(began.elapsed() >= Duration::from_millis(800));
    assert_eq!(get(public(&edge), "/stream", &[CLAIM]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_goes_silent_is_passed_over_before_its_first_time_out() {
    let (a, b, server, _state, edge) = two(Does::Answer).await;
    let split = [at("aws/eu-central-1", "DE", 6_000, &[a.address]), at("azure/westeurope", "NL", 4_000, &[b.address])];
    server.set(EU, &of::assignment(EU, &split, 0));
    server.set("public", &of::routes("public", &[EU], &[], of::Times { per_try_ms: 1_000, ..of::TIMES }));
    server.publish_and_wait().await;
    for _ in 0..30 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    a.now_does(Does::Hang);
    let before = a.count();
    let to = public(&edge);
    let mut every = tokio::time::interval(Duration::from_millis(5));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..180 {
        every.tick().await;
        requests.spawn(async move { get(to, "/x", &[CLAIM]).await.status });
    }
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|s| *s == 200), "{statuses:?}");
    // 108 of 180 are its share; all of them are sent within its first second.
    let reached = a.count() - before;
    println!("{reached} of 108 reached the silent place");
    assert!(reached <= 54, "{reached} of 108 followed into the silence");
}
