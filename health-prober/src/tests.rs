//! Judging, pace, doubt, lists, the feed, and probes on loopback.

use crate::engine::{Engine, Outlets};
use crate::feed::{Feed, server};
use crate::judge::{Judge, Outcome, Tuning};
use crate::metrics::Metrics;
use crate::probe::{Ended, connector, status};
use crate::schedule::Schedule;
use crate::selfcheck::SelfCheck;
use crate::targets::{self, List, ListError, Reference, Target};
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{Check, CheckKind, Millis, Mono, Name, Revision, RttClass, TargetState};
use tidegate_gossip::OwnReport;
use tidegate_gossip::shell::Clock;
use tidegate_proto::v1;
use tidegate_proto::v1::prober_feed_server::{ProberFeed, ProberFeedServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

fn check() -> Check {
    let kind = CheckKind::Http { path: "/up".to_owned(), tls: false, host: None };
    Check { kind, interval: Millis(50), timeout: Millis(1_000), unhealthy_after: 3, healthy_after: 2 }
}
const OK: Outcome = Outcome::Answered { rtt_us: 2_000 };
const SLOW: Outcome = Outcome::Answered { rtt_us: 90_000 };
const BAD: Outcome = Outcome::Failed;

fn states(outcomes: &[Outcome]) -> Vec<TargetState> {
    let mut judge = Judge::default();
    let tuning = Tuning::default();
    let take = |outcome: &Outcome| {
        judge.take(*outcome, &check(), &tuning);
        judge.state()
    };
    outcomes.iter().map(take).collect()
}

#[test]
fn streaks_decide_and_the_first_result_alone() {
    use TargetState::{Failing, Ok, Slow};
    assert_eq!(states(&[OK, BAD, BAD, OK, BAD, BAD, BAD]), [Ok, Ok, Ok, Ok, Ok, Ok, Failing]);
    assert_eq!(states(&[BAD, OK, BAD, OK, OK]), [Failing, Failing, Failing, Failing, Ok]);
    let mut slow = vec![OK; 10];
    slow.extend([SLOW, SLOW, SLOW, OK, OK]);
    assert_eq!(states(&slow)[9..], [Ok, Ok, Ok, Slow, Slow, Ok]);
    // Not slow before there is a baseline, nor below the floor.
    assert_eq!(states(&[OK, SLOW, SLOW, SLOW]), [Ok; 4]);
    let mut quick = vec![Outcome::Answered { rtt_us: 300 }; 10];
    quick.extend([Outcome::Answered { rtt_us: 40_000 }; 5]);
    assert_eq!(states(&quick).last(), Some(&Ok));
}

fn answers(judge: &mut Judge, count: u32, rtt_us: u64) {
    for _ in 0..count {
        judge.take(Outcome::Answered { rtt_us }, &check(), &Tuning::default());
    }
}

#[test]
fn time_outs_follow_the_targets_own_round_trip() {
    let (mut judge, tuning) = (Judge::default(), Tuning::default());
    assert_eq!(judge.timeout(&check(), &tuning), Millis(1_000));
    assert_eq!(judge.rtt_class(), RttClass(15));
    answers(&mut judge, 50, 40_000);
    assert_eq!(judge.timeout(&check(), &tuning), Millis(370));
    assert_eq!(judge.rtt_class(), RttClass(6), "40 ms lies below 64");
    // A hundred slow answers do not make slow the norm.
    answers(&mut judge, 100, 300_000);
    assert_eq!(judge.state(), TargetState::Slow);
    // Never over the check's own limit.
    answers(&mut judge, 5_000, 900_000);
    assert_eq!(judge.timeout(&check(), &tuning), Millis(1_000));
}

#[test]
fn round_trip_classes_are_powers_of_two() {
    for (rtt_us, class) in
        [(100, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 2), (3_999, 2), (4_000, 3), (60_000_000, 14)]
    {
        let mut judge = Judge::default();
        judge.take(Outcome::Answered { rtt_us }, &check(), &Tuning::default());
        assert_eq!(judge.rtt_class(), RttClass(class), "{rtt_us} us");
    }
}

#[test]
fn starts_are_spread_and_missed_ones_are_skipped() {
    let mut intervals = vec![Some(Millis(500)); 500];
    intervals[7] = None;
    let start = Mono(1_000_000_000);
    let mut schedule = Schedule::new(&intervals, start);
    let mut seen = vec![0; 500];
    for ms in 0..1_000 {
        let due = schedule.due(start + Millis(ms));
        assert!(due.len() <= 2, "{} starts in one millisecond", due.len());
        due.iter().for_each(|s| seen[s.target] += 1);
    }
    assert_eq!(seen[7], 0);
    assert!(seen.iter().enumerate().all(|(i, n)| *n == 2 || i == 7));
    // After a pause of 10 s each target starts once, on its own beat, not twenty times.
    let late = schedule.due(start + Millis(11_000));
    assert_eq!(late.len(), 499);
    assert!(schedule.next() > Some(start + Millis(11_000)));
}

#[test]
fn a_pause_voids_what_straddles_it_and_brings_doubt() {
    let mut own = SelfCheck::default();
    let at = |ms| Mono(1_000_000_000) + Millis(ms);
    assert!(!own.turn(at(0), Millis(500)));
    assert!(!own.turn(at(400), Millis(500)));
    assert!(own.turn(at(1_400), Millis(500)));
    assert!(own.own().self_doubt);
    assert!(!own.counts(at(390)) && own.counts(at(1_400)));
    (0..49).for_each(|i| assert!(!own.turn(at(1_400 + i * 20), Millis(500))));
    assert!(own.own().self_doubt, "two rounds are not over");
    own.turn(at(2_400), Millis(500));
    assert!(!own.own().self_doubt);
    // a target that is probed once in ten minutes keeps nobody in doubt for twenty
    assert!(own.turn(at(4_000), Millis(600_000)));
    (1..=150).for_each(|i| assert!(!own.turn(at(4_000 + i * 20), Millis(600_000))));
    assert!(!own.own().self_doubt);
}

#[test]
fn references_count_by_network_and_one_lost_packet_is_no_cut() {
    let mut own = SelfCheck::default();
    own.set_references(vec!["a".to_owned(), "a".to_owned(), "b".to_owned()]);
    let said = |own: &SelfCheck| (own.own().references_reached, own.own().reference_networks);
    assert_eq!(said(&own), (0, 0));
    (0..3).for_each(|i| own.reference(i, true));
    assert_eq!(said(&own), (3, 2));
    own.reference(2, false);
    assert_eq!(said(&own), (3, 2));
    own.reference(2, false);
    assert_eq!(said(&own), (2, 1));
    own.reference(9, true);
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
    for text in ["SSH-2.0-x\r\n", "\r\n", "HTTP/1.1 99\r\n", "HTTP/2 200\r\n", "HTTP/1.1 2000 x\r\n"] {
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
fn bad_lists_are_refused_whole() {
    let refused = |change: fn(&mut v1::TargetList)| {
        let mut list = wire(1, &[80]);
        change(&mut list);
        List::try_from(&list).unwrap_err().to_string()
    };
    assert!(refused(|l| l.format = 2).contains("format 2"));
    assert!(refused(|l| l.revision = vec![1; 8]).contains("8 bytes"));
    assert!(refused(|l| l.targets[0].port = 70_000).contains("bad port"));
    assert!(refused(|l| l.targets[0].check = None).contains("no check"));
    assert!(refused(|l| l.targets[0].check.as_mut().unwrap().interval_ms = 0).contains("interval"));
    assert!(
        refused(|l| l.references.push(v1::ReferenceHost { address: "x".to_owned(), ..Default::default() }))
            .contains("host:port")
    );
    let path = |l: &mut v1::TargetList| {
        let http = v1::HttpCheck { path: "/a\r\nx: y".to_owned(), ..Default::default() };
        l.targets[0].check.as_mut().unwrap().kind = Some(v1::check::Kind::Http(http));
    };
    assert!(refused(path).contains("path"), "no header can be smuggled in");
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
        assert!(matches!(targets::recall(folder.path()), Err(ListError::Hash(_))), "cut to {cut} bytes");
    }
    let mut changed = whole.clone();
    changed[40] ^= 1;
    std::fs::write(&path, changed).unwrap();
    assert!(matches!(targets::read(&path), Err(ListError::Hash(_))));
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
    (Engine::new(Clock::start(), Tuning::default(), metrics, connector().unwrap(), outlets), told)
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

struct Lists(watch::Receiver<v1::TargetList>);

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
}

#[tokio::test]
async fn the_feed_takes_the_server_that_answers_and_keeps_its_list() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_lists, lists_in) = watch::channel(wire(7, &[80]));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let service = ProberFeedServer::new(Lists(lists_in));
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
