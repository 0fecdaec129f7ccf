//! Servers that go, states on disk, listeners that move, and the end of an edge.

use crate::resources::{self as of, at};
use crate::support::*;
use edge_proxy::Edge;
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tidegate_xds::TypeUrl;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

fn one(backend: &Backend) -> Vec<of::At> {
    vec![at("aws/eu-central-1", "DE", 10_000, &[backend.address])]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_changes_nothing_and_the_disk_carries_over_a_restart() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let first = edge(&server, state.path()).await;
    let address = server.address;
    drop(server);
    until("the edge notices", || async { dump(&first).await["connected"] == false }).await;
    assert_eq!(get_eu(&first).await.status, 200);
    assert!(first.shutdown(Duration::from_secs(5)).await);

    // Nobody listens at the server's address: the state on disk is all there is.
    let second = Edge::start(&args(address, state.path())).await.unwrap();
    assert_eq!(get(second.admin_addr(), "/ready", &[]).await.status, 200);
    assert_eq!(get_eu(&second).await.status, 200);
    let dumped = dump(&second).await;
    assert_eq!(dumped["booted_from_disk"], true);
    assert!(dumped["disk_state_age_seconds"].as_f64().unwrap() < 60.0);
    assert_eq!(metric(&second, &["booted_from_disk "]).await, 1);
    assert_eq!(
        get(public(&second), "/x", &[("x-residency-class", "us")]).await.status,
        451,
        "the refusals are kept too"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_edge_resumes_with_what_it_knows() {
    let (a, b) = (Backend::start(Does::Answer).await, Backend::start(Does::Answer).await);
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let first = edge(&server, state.path()).await;
    assert!(first.shutdown(Duration::from_secs(5)).await);
    server.set(EU, &of::assignment(EU, &one(&b), 0));
    server.publish();
    let second = edge(&server, state.path()).await;
    until("the difference came", || async { dump(&second).await["booted_from_disk"] == false }).await;
    assert_eq!(metric(&second, &["ads_updates_total", "\"EDS\"", "\"ack\""]).await, 1);
    let clusters = &dump(&second).await["clusters"][EU];
    assert!(clusters["age_seconds"].as_f64().is_some());
    assert_eq!(metric(&second, &["ads_updates_total", "\"RDS\""]).await, 0, "what it held was not sent again");
    assert_eq!(get_eu(&second).await.status, 200);
    assert_eq!((a.count(), b.count()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_state_is_refused_and_set_aside() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    assert!(edge(&server, state.path()).await.shutdown(Duration::from_secs(5)).await);
    let file = state.path().join("last-known-good");
    let mut content = std::fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0x40;
    std::fs::write(&file, &content).unwrap();
    let address = server.address;
    drop(server);
    let edge = Edge::start(&args(address, state.path())).await.unwrap();
    assert_eq!(get(edge.admin_addr(), "/ready", &[]).await.status, 503);
    assert!(edge.listeners().is_empty());
    let names: Vec<String> =
        std::fs::read_dir(state.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|n| n.starts_with("last-known-good.refused-")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_in_the_wrong_country_is_refused_and_the_last_good_stays() {
    let (a, b) = (Backend::start(Does::Answer).await, Backend::start(Does::Answer).await);
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    let wrong = [at("aws/eu-central-1", "DE", 1, &[a.address]), at("gcp/europe-west1", "BE", 9_999, &[b.address])];
    server.set(EU, &of::assignment(EU, &wrong, 0));
    server.publish();
    let refused = || {
        let nodes = server.engine.nodes();
        let mut nacks = nodes.iter().flat_map(|n| &n.types).filter_map(|t| t.nacked.as_ref());
        nacks.next().map(|n| n.message.clone()).unwrap_or_default()
    };
    until("the refusal reaches the server", || async { !refused().is_empty() }).await;
    assert!(refused().contains("stands in BE; class `payroll/eu` is permitted in DE, NL only"), "{}", refused());
    for _ in 0..50 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    assert_eq!((a.count(), b.count()), (50, 0));
    assert!(dump(&edge).await["last_refusal"].as_str().unwrap().contains("BE"));

    // A narrower law takes effect at once, with the endpoints that are there.
    server.set(EU, &of::assignment(EU, &one(&a), 0));
    server.set(EU, &of::cluster(EU, &["NL"]));
    server.publish();
    until("nothing permitted is left", || async { get_eu(&edge).await.status == 503 }).await;
    let refused = get_eu(&edge).await;
    assert_eq!((refused.status, refused.header("x-tidegate-refusal")), (503, "no-place"));
    assert!(metric(&edge, &["refusals_total", "no-place"]).await >= 1);
    assert_eq!(b.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    let old = public(&edge);
    // Port 0: the system chooses, and the edge says where.
    server.set("other", &of::listener("other", "127.0.0.1:0".parse().unwrap()));
    server.set("other", &of::routes("other", &[EU], &[], of::TIMES));
    server.publish_and_wait().await;
    until("the new listener serves", || async {
        let Some(to) = edge.listeners().get("other").copied() else { return false };
        get(to, "/x", &[CLAIM]).await.status == 200
    })
    .await;
    server.unset(TypeUrl::Lds, "public");
    server.unset(TypeUrl::Rds, "public");
    server.publish_and_wait().await;
    until("the old one is closed", || async { TcpStream::connect(old).await.is_err() }).await;
    assert_eq!(get(edge.listeners()["other"], "/x", &[CLAIM]).await.status, 200);
}

/// The program itself, as it is shipped.
struct Program {
    child: tokio::process::Child,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Program {
    async fn start(server: &Server, state: &Path) -> Self {
        let free = "127.0.0.1:0".parse().unwrap();
        Self::start_at(server, state, free, free).await
    }

    async fn start_at(server: &Server, state: &Path, at: SocketAddr, admin: SocketAddr) -> Self {
        Self::start_with(server, state, at, admin, &[]).await
    }

    async fn start_with(server: &Server, state: &Path, at: SocketAddr, admin: SocketAddr, more: &[&str]) -> Self {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_edge-proxy"))
            .args(["--node", "edge-9", "--group", "edge-de", "--admin", &admin.to_string(), "--drain-grace", "5s"])
            .args(["--log-format", "json", "--worker-threads", "2", "--listen-override", &format!("public={at}")])
            .args(["--server", &format!("http://{}", server.address), "--state-dir"])
            .arg(state)
            .args(more)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut public, mut admin) = (None, None);
        while public.is_none() || admin.is_none() {
            let line = tokio::time::timeout(SOON, log.next_line()).await.expect("a line").unwrap().expect("it runs");
            let fields = serde_json::from_str::<serde_json::Value>(&line).unwrap()["fields"].clone();
            let address = |key: &str| fields[key].as_str().and_then(|a| a.parse::<SocketAddr>().ok());
            match fields["message"].as_str() {
                Some("listening") => public = address("address"),
                Some("edge started") => admin = address("admin"),
                _ => {}
            }
        }
        // A full pipe would stop the program.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { child, public: public.unwrap(), admin: admin.unwrap() }
    }
}

fn signal(child: &tokio::process::Child, signal: Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_blames_nobody() {
    let (a, b) = (Backend::start(Does::Slow(200)).await, Backend::start(Does::Slow(200)).await);
    let server = Server::start().await;
    server.payroll(&[
        at("aws/eu-central-1", "DE", 5_000, &[a.address]),
        at("azure/westeurope", "NL", 5_000, &[b.address]),
    ]);
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = Program::start(&server, state.path()).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..16 {
        requests.spawn(async move { get(edge.public, "/x", &[CLAIM]).await.status });
    }
    until("all are under way", || async { a.count() + b.count() == 16 }).await;
    signal(&edge.child, Signal::SIGSTOP);
    // Longer than the time of a try: every clock has run out when it wakes. The stall is what is tested.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    signal(&edge.child, Signal::SIGCONT);
    assert!(requests.join_all().await.iter().all(|s| *s == 200));
    let text = get(edge.admin, "/metrics", &[]).await.body;
    let sum = |name: &str| {
        let of = text.lines().filter(|l| l.starts_with(name)).filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok());
        of.sum::<u64>()
    };
    assert_eq!((sum("tidegate_edge_stalls_total"), sum("tidegate_edge_ejections_total")), (1, 0), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_is_under_way_and_exits_clean() {
    let a = Backend::start(Does::Slow(600)).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.set("public", &of::routes("public", &[EU], &[], of::Times { per_try_ms: 2_000, ..of::TIMES }));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let Program { mut child, public: to, .. } = Program::start(&server, state.path()).await;
    let mut client = TcpStream::connect(to).await.unwrap();
    let request = "GET /x HTTP/1.1\r\nHost: payroll.example\r\nX-Residency-Class: eu\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    until("the backend has the request", || async { a.count() == 1 }).await;
    signal(&child, Signal::SIGTERM);
    let mut answer = String::new();
    tokio::time::timeout(SOON, client.read_to_string(&mut answer)).await.expect("an end").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    let status = tokio::time::timeout(SOON, child.wait()).await.expect("it exits").unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(TcpStream::connect(to).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_is_reported_and_a_drained_place_until_its_last_stream_ends() {
    let (a, b) = (Backend::start(Does::Answer).await, Backend::start(Does::Answer).await);
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let edge = edge(&server, state.path()).await;
    for _ in 0..5 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    a.now_does(Does::Status(500));
    assert_eq!(get_eu(&edge).await.status, 500);
    let aws = || server.loads.of("aws/eu-central-1");
    until("six requests are reported", || async {
        let Told { issued, successful, errors, open, timed, .. } = aws();
        (issued, successful, errors, open, timed) == (6, 5, 1, 0, 5)
    })
    .await;
    let before = aws().took_ms;
    a.now_does(Does::Slow(80));
    for _ in 0..3 {
        assert_eq!(get_eu(&edge).await.status, 200);
    }
    until("three slow answers are reported", || async { aws().timed == 8 }).await;
    let took = aws().took_ms - before;
    assert!((237..3_000).contains(&took), "three times 80 ms took {took} ms");
    a.now_does(Does::Hang);
    let to = public(&edge);
    let stream = tokio::spawn(async move { get(to, "/stream", &[CLAIM]).await });
    until("the stream is reported", || async { aws().open == 1 }).await;

    // Drained: listed last, without a weight. Then out of the table altogether.
    let carries = at("azure/westeurope", "NL", 10_000, &[b.address]);
    let drained = of::At { priority: 1, ..at("aws/eu-central-1", "DE", 0, &[a.address]) };
    for places in [vec![carries.clone(), drained], vec![carries]] {
        server.set(EU, &of::assignment(EU, &places, 0));
        server.publish_and_wait().await;
        let before = server.loads.of("azure/westeurope").issued;
        assert_eq!(get_eu(&edge).await.status, 200);
        until("the other one carries", || async { server.loads.of("azure/westeurope").issued > before }).await;
        assert_eq!((aws().issued, aws().open), (10, 1), "nothing new, and the stream is still seen");
    }
    assert_eq!(a.count(), 10);
    assert!(!stream.is_finished());
    stream.abort();
    until("its end is reported", || async { aws().open == 0 }).await;
    assert_eq!((aws().issued, aws().timed), (10, 8));

    let everything = of::assignment(EU, &[at("azure/westeurope", "NL", 10_000, &[b.address])], 10_000);
    server.set(EU, &everything);
    server.publish_and_wait().await;
    assert_eq!(get_eu(&edge).await.status, 503);
    until("what was shed is reported", || async { server.loads.dropped() == 1 }).await;
}

/// Whoever is connected when the end is asked for is served, though nobody has accepted the connection yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_resets_nobody_in_the_queue() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let Program { mut child, public: to, .. } = Program::start(&server, state.path()).await;
    // Stopped, it accepts nothing: the connections stand in the queue of its socket, their requests in their buffers.
    signal(&child, Signal::SIGSTOP);
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = TcpStream::connect(to).await.unwrap();
        let request = "GET /x HTTP/1.1\r\nHost: payroll.example\r\nX-Residency-Class: eu\r\n\r\n";
        client.write_all(request.as_bytes()).await.unwrap();
        clients.push(client);
    }
    signal(&child, Signal::SIGTERM);
    signal(&child, Signal::SIGCONT);
    for (n, mut client) in clients.into_iter().enumerate() {
        let mut answer = String::new();
        let read = tokio::time::timeout(SOON, client.read_to_string(&mut answer)).await.expect("an end");
        assert!(read.is_ok() && answer.starts_with("HTTP/1.1 200"), "client {n}: {read:?} {answer}");
    }
    assert!(tokio::time::timeout(SOON, child.wait()).await.expect("it exits").unwrap().success());
}

/// With a shared port a restart has no moment in which nobody listens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_on_a_shared_port_takes_over_without_a_refusal() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let (old_state, new_state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let share = ["--reuse-port"];
    let mut old = Program::start_with(&server, old_state.path(), free, free, &share).await;
    let to = old.public;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking = {
        let stop = std::sync::Arc::clone(&stop);
        tokio::spawn(async move {
            let mut answered = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(get(to, "/x", &[CLAIM]).await.status, 200);
                answered += 1;
            }
            answered
        })
    };
    let new = Program::start_with(&server, new_state.path(), to, free, &share).await;
    signal(&old.child, Signal::SIGTERM);
    assert!(tokio::time::timeout(SOON, old.child.wait()).await.expect("it exits").unwrap().success());
    let served = get(new.admin, "/metrics", &[]).await.body;
    assert_eq!(get(to, "/x", &[CLAIM]).await.status, 200);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let answered: u32 = asking.await.unwrap();
    println!("{answered} requests over the change, none refused");
    assert!(answered > 0 && served.contains("tidegate_edge_requests_total"), "{answered}");
}

/// A restart costs no more than a start, whatever the old process still has open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_serves_while_its_predecessor_ends_its_streams() {
    let a = Backend::start(Does::Answer).await;
    let server = Server::start().await;
    server.payroll(&one(&a));
    server.publish();
    let state = tempfile::tempdir().unwrap();
    let Program { child: mut idle, public: to, admin } = Program::start(&server, state.path()).await;
    // With kept connections alone, the end comes at once.
    let mut kept = connect(to).await;
    assert_eq!(over(&mut kept, "GET", "/x", &[CLAIM], "").await.status, 200);
    let began = std::time::Instant::now();
    signal(&idle, Signal::SIGTERM);
    assert!(tokio::time::timeout(SOON, idle.wait()).await.expect("it exits").unwrap().success());
    let ended = began.elapsed();

    let Program { child: mut old, .. } = Program::start_at(&server, state.path(), to, admin).await;
    a.now_does(Does::Hang);
    let stream = tokio::spawn(async move { get(to, "/stream", &[CLAIM]).await });
    until("the stream stands", || async { a.count() == 2 }).await;
    a.now_does(Does::Answer);
    let began_again = std::time::Instant::now();
    signal(&old, Signal::SIGTERM);
    let new = Program::start_at(&server, state.path(), to, admin).await;
    until("the successor serves", || async { TcpStream::connect(to).await.is_ok() }).await;
    assert_eq!(get(to, "/x", &[CLAIM]).await.status, 200);
    let served = began_again.elapsed();
    println!("idle: ended after {ended:?}; with a stream: served again after {served:?}");
    assert!(old.try_wait().unwrap().is_none() && !stream.is_finished(), "the old one still has its stream");
    assert!(ended < Duration::from_secs(2) && served < Duration::from_secs(4), "{ended:?} {served:?}");
    stream.abort();
    assert!(tokio::time::timeout(SOON, old.wait()).await.expect("it exits").unwrap().success());
    until("the admin pages are back", || async { TcpStream::connect(admin).await.is_ok() }).await;
    assert_eq!(get(new.admin, "/ready", &[]).await.status, 200);
}
