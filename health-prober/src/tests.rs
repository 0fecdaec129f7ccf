//! Kept lists, the feed, and probes on loopback.

use crate::engine::{Engine, Outlets};
use crate::feed::{Feed, server};
use crate::join;
use crate::metrics::Metrics;
use crate::probe::{connectors, status};
use crate::targets::{self, FileError};
use prost::Message;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate_domain::{Check, CheckKind, Millis, Mono, Name, Revision, TargetState};
use tidegate_gossip::OwnReport;
use tidegate_gossip::join::{Invitations, JoinRefusal, TOKEN_BYTES};
use tidegate_gossip::shell::Clock;
use tidegate_prober::{Ended, List, Reference, Target, Tuning};
use tidegate_proto::v1;
use tidegate_proto::v1::prober_feed_server::{ProberFeed, ProberFeedServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

fn check() -> Check {
    let kind = CheckKind::Http { path: "/up".to_owned(), tls: false, host: None };
    Check { kind, interval: Millis(50), timeout: Millis(1_000), unhealthy_after: 3, healthy_after: 2 }
}
#[test]
fn status_lines_are_read_as_soon_as_they_are_whole() {
    let read = |text: &str| status(&mut text.as_bytes().to_vec());
    assert_eq!(read("HTTP/1.1 200 OK\r\n"), Some(Ended::Ok));
    assert_eq!(read("HTTP/1.0 204\r\n"), Some(Ended::Ok));
    assert_eq!(read("HTTP/1.1 200 O"), None);
    assert_eq!(read("HTTP/1.1 503 x\r\n"), Some(Ended::Status));
    assert_eq!(read("HTTP/1.1 302 x\r\n"), Some(Ended::Status));
    assert_eq!(read("HTTP/1.1 103 Early Hints\r\nlink: a\r\n"), None);
    assert_eq!(read("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n"), Some(Ended::Ok));
    assert_eq!(status(&mut b"HTTP/1.1 200 Tr\xe8s bien\r\n".to_vec()), Some(Ended::Ok), "a reason may hold any byte");
    let broken =
        ["SSH-2.0-x\r\n", "\r\n", "HTTP/1.1 99\r\n", "HTTP/2 200\r\n", "HTTP/1.1 2000 x\r\n", "HTTP/1.1 +20 x\r\n"];
    for text in broken.into_iter().chain(["HTTP/1.1 099 x\r\n", "HTTP/1.1x 200 OK\r\n", "HTTP/1. 200 OK\r\n"]) {
        assert_eq!(read(text), Some(Ended::Protocol), "{text:?}");
    }
}

fn wire(revision: u8, ports: &[u16]) -> v1::TargetList {
    let target = |(i, port): (usize, &u16)| v1::Target {
        endpoint: format!("e{i}"),
        host: "127.0.0.1".to_owned(),
        port: u32::from(*port),
        assigned: true,
        check: Some(v1::Check {
            kind: Some(v1::check::Kind::Tcp(v1::TcpCheck {})),
            interval_ms: 500,
            timeout_ms: 1_000,
            unhealthy_after: 3,
            healthy_after: 2,
        }),
    };
    let targets = ports.iter().enumerate().map(target).collect();
    v1::TargetList { format: 1, revision: vec![revision; 32], targets, references: vec![], peers: vec![] }
}

#[test]
fn the_kept_list_comes_back_and_a_cut_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(targets::recall(folder.path()).unwrap(), None);
    let list = wire(3, &[80, 81]);
    targets::keep(folder.path(), &list).unwrap();
    assert_eq!(targets::recall(folder.path()).unwrap(), Some(List::try_from(&list).unwrap()));
    let path = folder.path().join("targets.bin");
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 10, 32, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert!(matches!(targets::recall(folder.path()), Err(FileError::Hash(_))), "cut to {cut} bytes");
    }
    let mut changed = whole.clone();
    changed[40] ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert!(matches!(targets::read(&path), Err(FileError::Hash(_))));
}

/// As the servers send it, and as it is kept: `golden/target-list.txt`.
#[test]
fn target_lists_keep_their_bytes() {
    let target = |endpoint: &str, host: &str, port, kind, interval_ms, streaks: (u32, u32), assigned| v1::Target {
        endpoint: endpoint.to_owned(),
        host: host.to_owned(),
        port,
        check: Some(v1::Check {
            kind: Some(kind),
            interval_ms,
            timeout_ms: 1_000,
            unhealthy_after: streaks.0,
            healthy_after: streaks.1,
        }),
        assigned,
    };
    let reference = |name: &str, address: &str, network: &str| v1::ReferenceHost {
        name: name.to_owned(),
        address: address.to_owned(),
        network: network.to_owned(),
    };
    let (path, host) = ("/up".to_owned(), "payroll.example".to_owned());
    let http = v1::check::Kind::Http(v1::HttpCheck { path, tls: true, host });
    let (service, host) = ("a.Health".to_owned(), "h.example".to_owned());
    let grpc = v1::check::Kind::Grpc(v1::GrpcCheck { service, tls: true, host });
    let list = v1::TargetList {
        format: 1,
        revision: (0..32).collect(),
        targets: vec![
            target("payroll-aws-1", "192.0.2.1", 443, http, 500, (3, 2), true),
            target("ledger-gcp-1", "ledger.example", 50_051, grpc, 1_000, (3, 2), false),
            target("api/aws", "2001:db8::7", 8080, v1::check::Kind::Tcp(v1::TcpCheck {}), 500, (1, 1), true),
        ],
        references: vec![
            reference("dns", "198.51.100.1:53", "outside-1"),
            reference("v6", "[2001:db8::9]:53", "outside-2"),
        ],
        peers: vec!["192.0.2.7:7946".to_owned(), "[2001:db8::7]:8402".to_owned()],
    };
    let folder = tempfile::tempdir().unwrap();
    targets::keep(folder.path(), &list).unwrap();
    let path = folder.path().join("targets.bin");
    let line = |name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        format!("{name} {hex}\n")
    };
    let made = line("wire", &list.encode_to_vec()) + &line("kept", &std::fs::read(&path).unwrap());
    let golden = include_str!("../golden/target-list.txt");
    assert_eq!(made, golden);
    let kept: Vec<Vec<u8>> = golden.lines().map(|line| unhex(line.split_once(' ').unwrap().1)).collect();
    assert_eq!(v1::TargetList::decode(&kept[0][..]).unwrap(), list);
    std::fs::write(&path, &kept[1]).unwrap();
    assert_eq!(targets::recall(folder.path()).unwrap(), Some(List::try_from(&list).unwrap()));
}
fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[test]
fn json_lists_are_read_and_unknown_keys_refused() {
    let text = r#"{"format":1,"targets":[{"endpoint":"a","host":"127.0.0.1","port":80,"check":{"kind":{"http":{"path":"/up"}},
        "interval_ms":500,"timeout_ms":1000,"unhealthy_after":3,"healthy_after":2}},
        {"endpoint":"b","host":"::1","port":81,"assigned":false,"check":{"kind":{"tcp":{}},
        "interval_ms":500,"timeout_ms":1000,"unhealthy_after":3,"healthy_after":2}}],
        "references":[{"name":"r","address":"127.0.0.1:9","network":"n"}],"peers":["127.0.0.1:7"]}"#;
    let list = targets::from_json(text.as_bytes()).unwrap();
    assert_eq!((list.targets.len(), list.references.len(), list.peers.len()), (2, 1, 1));
    assert!(!list.targets[1].assigned);
    assert!(targets::from_json(text.replace("assigned", "asigned").as_bytes()).is_err());
    let of = |digits: &str| {
        let text = text.replacen("\"format\":1,", &format!("\"format\":1,\"revision\":\"{digits}\","), 1);
        targets::from_json(text.as_bytes()).map(|list| list.revision)
    };
    assert_eq!(of(&"0aF9".repeat(16)).unwrap(), Revision(std::array::from_fn(|i| [0x0a, 0xf9][i % 2])));
    for bad in ["0".repeat(63), "+f".repeat(32), "é".repeat(32), String::new()] {
        assert!(matches!(of(&bad), Err(FileError::Revision)), "{bad}");
    }
}

#[test]
fn plain_text_is_for_loopback() {
    assert!(server("http://127.0.0.1:1", false).is_ok() && server("http://[::1]:1", false).is_ok());
    assert!(server("http://10.0.0.1:1", false).unwrap_err().to_string().contains("--insecure-plaintext"));
    assert!(server("http://10.0.0.1:1", true).is_ok());
    assert!(server("https://127.0.0.1:1", true).is_err());
}

/// Answers every connection with what `answer` holds; nothing when it is empty (and the connection stays open).
async fn backend(answer: watch::Receiver<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let text = *answer.borrow();
            let _ = stream.read(&mut [0; 1024]).await;
            if text.is_empty() {
                held.push(stream);
            } else {
                let _ = stream.write_all(text.as_bytes()).await;
            }
        }
    });
    port
}

async fn until(
    reports: &mut mpsc::UnboundedReceiver<OwnReport>,
    what: &str,
    holds: impl Fn(&OwnReport) -> bool,
) -> OwnReport {
    let wait = async {
        loop {
            let report = reports.recv().await.expect("the engine lives");
            if holds(&report) {
                return report;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("never: {what}"))
}

fn engine() -> (Engine, mpsc::UnboundedReceiver<OwnReport>) {
    let (tell, told) = mpsc::unbounded_channel();
    let report = Box::new(move |report| {
        let _ = tell.send(report);
    });
    let outlets = Outlets { report, lateness: Box::new(|_| {}) };
    let metrics = Arc::new(Metrics::new().unwrap());
    (Engine::new(Clock::start(), Tuning::default(), metrics, connectors().unwrap(), outlets), told)
}

#[tokio::test]
async fn refused_hung_and_erring_targets_fail_and_come_back() {
    const UP: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (first, first_in) = watch::channel(UP);
    let (second, second_in) = watch::channel(UP);
    let (first_port, second_port) = (backend(first_in).await, backend(second_in).await);
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let target = |host: &str, port| Target {
        endpoint: format!("e{port}"),
        host: host.to_owned(),
        port,
        check: check(),
        assigned: true,
    };
    // The second one by name.
    let targets = vec![target("127.0.0.1", first_port), target("localhost", second_port), target("127.0.0.1", refused)];
    let references = vec![Reference { host: "127.0.0.1".to_owned(), port: first_port, network: "n".to_owned() }];
    let list = List { revision: Revision([9; 32]), targets, references, peers: vec![] };
    let (lists, lists_in) = watch::channel(Some(Arc::new(list.clone())));
    let (engine, mut reports) = engine();
    let running = tokio::spawn(engine.run(lists_in));
    use TargetState::{Failing, Ok, Unseen};
    let seen = until(&mut reports, "all seen", |r| r.states == [Ok, Ok, Failing]).await;
    assert_eq!(seen.revision_short, list.revision.short());
    until(&mut reports, "the reference", |r| r.own.references_reached == 1).await;
    first.send_replace("HTTP/1.1 503 x\r\n\r\n");
    second.send_replace("");
    until(&mut reports, "erring and hung", |r| r.states == [Failing, Failing, Failing]).await;
    first.send_replace(UP);
    second.send_replace(UP);
    until(&mut reports, "back", |r| r.states == [Ok, Ok, Failing]).await;
    // A new list: what stands in both keeps its state, what is new is unseen.
    let mut next = list.clone();
    next.revision = Revision([10; 32]);
    next.targets.swap(0, 2);
    next.targets[1].assigned = false;
    lists.send_replace(Some(Arc::new(next)));
    let switched = until(&mut reports, "the new list", |r| r.revision_short == Revision([10; 32]).short()).await;
    assert_eq!(switched.states, [Failing, Unseen, Ok]);
    running.abort();
}

/// A server's feed: its list, its open join tokens and its keyring.
struct Lists(watch::Receiver<v1::TargetList>, Mutex<Invitations>);

const RING: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

#[tonic::async_trait]
impl ProberFeed for Lists {
    type WatchStream = tonic::codegen::BoxStream<v1::TargetList>;
    async fn watch(
        &self,
        request: tonic::Request<v1::WatchTargets>,
    ) -> Result<tonic::Response<Self::WatchStream>, tonic::Status> {
        let list = self.0.borrow().clone();
        let known = request.into_inner().have_revision == list.revision;
        let first = (!known).then_some(Ok(list));
        let stream = tokio_stream::StreamExt::chain(tokio_stream::iter(first), tokio_stream::pending());
        Ok(tonic::Response::new(Box::pin(stream)))
    }
    async fn join(
        &self,
        request: tonic::Request<v1::JoinRequest>,
    ) -> Result<tonic::Response<v1::JoinReply>, tonic::Status> {
        let redeemed = self.1.lock().unwrap().redeem(&request.into_inner(), RING, Mono(1));
        let refused = |e: JoinRefusal| tonic::Status::permission_denied(e.to_string());
        redeemed.map(|(_, reply)| tonic::Response::new(reply)).map_err(refused)
    }
}

/// A server that has given a join token for `v1`: its address and the token.
async fn serve() -> (std::net::SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut open = Invitations::default();
    let token = open.invite(Name::new("v1").unwrap(), Millis(60_000), [3; TOKEN_BYTES], Mono(0)).unwrap();
    let (_, lists) = watch::channel(wire(7, &[80]));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let service = ProberFeedServer::new(Lists(lists, Mutex::new(open)));
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (address, token)
}

#[tokio::test]
async fn a_prober_without_a_keyring_is_let_in_once_by_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (address, token) = serve().await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let servers: Vec<_> = [dead, address].iter().map(|a| server(&format!("http://{a}"), false).unwrap()).collect();
    let write = |name: &str, text: &str, mode: u32| {
        std::fs::write(file(name), text).unwrap();
        std::fs::set_permissions(file(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (v1, v2) = (Name::new("v1").unwrap(), Name::new("v2").unwrap());
    let refusal = async |keyring: &str, token: &str, vantage: &Name| {
        let asked = join::keyring(&file(keyring), &file(token), vantage, &servers[1..]).await;
        assert!(!file(keyring).exists(), "nothing is written");
        format!("{:#}", asked.expect_err("nobody is let in"))
    };
    write("open", &token, 0o644);
    assert!(refusal("a", "open", &v1).await.contains("chmod 600"));
    write("cut", &token[..40], 0o600);
    assert!(refusal("a", "cut", &v1).await.contains("no join token"));
    write("token", &format!("{token}\n"), 0o600);
    assert!(refusal("a", "token", &v2).await.contains("does not prove vantage `v2`"));

    join::keyring(&file("a"), &file("token"), &v1, &servers).await.expect("let in, past the server that is dead");
    assert_eq!(std::fs::read_to_string(file("a")).unwrap(), RING);
    assert_eq!(std::fs::metadata(file("a")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(refusal("b", "token", &v1).await.contains("used already"));
    join::keyring(&file("a"), &file("token"), &v1, &servers).await.expect("a keyring that is there needs no token");
}

#[tokio::test]
async fn the_feed_takes_the_server_that_answers_and_keeps_its_list() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_lists, lists_in) = watch::channel(wire(7, &[80]));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let service = ProberFeedServer::new(Lists(lists_in, Mutex::default()));
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let (out, mut seen) = watch::channel(None);
    let servers = [dead, address].iter().map(|a| server(&format!("http://{a}"), false).unwrap()).collect();
    let vantage = Name::new("v1").unwrap();
    let feed = Feed { vantage, servers, state_dir: Some(folder.path().to_owned()), lists: out };
    let running = tokio::spawn(feed.run());
    let wait = seen.wait_for(Option::is_some);
    let list = tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap().unwrap().clone().unwrap();
    assert_eq!(list.revision, Revision([7; 32]));
    assert_eq!(targets::recall(folder.path()).unwrap().as_ref(), Some(&*list));
    running.abort();
}
