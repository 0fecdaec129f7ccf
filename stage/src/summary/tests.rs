//! A small run, written by hand: each count has a line that makes it.

use super::*;
use crate::raw::Lines;
use crate::topology::tests::topology;

const MS: u64 = 1_000_000;
const FAULT: u64 = 5_000 * MS;

fn sent(proxy: &str, at_ms: u64, took_ms: u64, class: &str, method: &str, id: &str, outcome: Outcome) -> LoadLine {
    LoadLine::Request(Sent {
        proxy: proxy.into(),
        t_sched_ns: at_ms * MS,
        t_done_ns: (at_ms + took_ms) * MS,
        class: class.into(),
        method: method.into(),
        id: id.into(),
        slow: false,
        status: if outcome == Outcome::Ok { 200 } else { 503 },
        error: String::new(),
        refusal: String::new(),
        endpoint: if outcome == Outcome::Ok { "payroll-azure-westeurope-0".into() } else { String::new() },
        outcome,
    })
}

fn served(at_ms: u64, endpoint: &str, id: &str, forbidden: bool) -> BackendLine {
    BackendLine::Request(Served {
        t_ns: at_ms * MS,
        endpoint: endpoint.into(),
        class: "eu".into(),
        method: "POST".into(),
        id: id.into(),
        proxy: "envoy".into(),
        status: if forbidden { 421 } else { 200 },
        forbidden,
    })
}

fn write(dir: &Path) {
    let facts = RunFacts {
        version: 1,
        envoy_version: "1.40.0".into(),
        topology: topology(),
        proxies: ["envoy", "edge", "anchor"].map(str::to_owned).to_vec(),
    };
    std::fs::write(dir.join(RUN_FILE), serde_json::to_vec(&facts).expect("json")).expect("write");
    let marks = Lines::append(&dir.join("marks.jsonl")).expect("marks");
    let mark = |t_ms: u64, what: MarkKind| {
        marks.write(&Mark { t_ns: t_ms * MS, story: "provider-refused".into(), what });
    };
    mark(1_000, MarkKind::Begin);
    mark(5_000, MarkKind::Fault { providers: vec!["aws".into()] });
    mark(6_400, MarkKind::Verdict);
    mark(6_500, MarkKind::ProxyAcked { proxy: "envoy".into() });
    mark(6_700, MarkKind::AllAcked { subscribers: 203 });
    mark(25_000, MarkKind::End);
    let load = Lines::append(&dir.join("load.jsonl")).expect("load");
    for line in [
        sent("envoy", 4_000, 5, "eu", "GET", "before", Outcome::Failed),
        sent("envoy", 5_100, 300, "eu", "GET", "late", Outcome::Ok),
        sent("envoy", 5_200, 5, "eu", "GET", "failed", Outcome::Failed),
        sent("envoy", 20_000, 5, "open", "POST", "long after", Outcome::Failed),
        sent("edge", 5_300, 5, "open", "GET", "shed", Outcome::Shed),
        sent("edge", 5_400, 5, "us-ca", "GET", "451", Outcome::Refused451),
        sent("edge", 5_450, 5, "us-ca", "GET", "answered in DE", Outcome::Ok),
        sent("anchor", 5_500, 5, "eu", "GET", "anchor", Outcome::Failed),
        LoadLine::Stalled { proxy: "edge".into(), t_ns: 6_000 * MS, left_out: 7 },
    ] {
        load.write(&line);
    }
    let backend = Lines::append(&dir.join("backend-azure.jsonl")).expect("backend");
    backend.write(&served(5_050, "payroll-azure-westeurope-0", "once", false));
    backend.write(&served(5_060, "payroll-azure-westeurope-0", "twice", false));
    backend.write(&served(5_070, "payroll-gcp-europe-west4-0", "twice", false));
    backend.write(&served(5_080, "payroll-gcp-europe-west1-0", "belgium", true));
    // 300 in one second at a place with a limit of 280.
    for n in 0..300 {
        backend.write(&served(8_000 + n, "payroll-azure-westeurope-1", &format!("rush-{n}"), false));
    }
    let proxies = Lines::append(&dir.join("proxies.jsonl")).expect("proxies");
    for (t_ms, proxy, tries) in [
        (4_900, "envoy", 100),
        (6_000, "envoy", 120),
        (6_510, "envoy", 130),
        (9_000, "envoy", 131),
        (4_900, "anchor", 50),
        (9_000, "anchor", 75),
    ] {
        proxies.write(&Tries { t_ns: t_ms * MS, proxy: proxy.into(), provider: "aws".into(), tries, begun: tries });
    }
}

#[test]
fn a_recorded_run_is_counted_from_its_lines_alone() {
    let dir = tempfile::tempdir().expect("dir");
    write(dir.path());
    let json = Run::read(dir.path()).expect("run").summarise();
    assert_eq!(json.stories.len(), 1);
    let row = &json.stories[0];
    let m = &row.measures;
    assert_eq!((m.fault_to_verdict_ms, m.fault_to_all_acked_ms), (Some(1_400), Some(1_700)));
    assert_eq!(m.fault_to_last_failed_request_ms, LastFailed { envoy: Some(15_000), edge: Some(0) });
    assert_eq!((m.requests, m.failed_get, m.failed_post, m.shed, m.refused_451), (6, 1, 1, 1, 1));
    assert_eq!((m.get_10s, m.failed_get_10s, m.over_200ms_get, m.over_200ms_get_10s), (5, 1, 1, 1));
    assert_eq!(m.double_posts, 1);
    assert_eq!(m.forbidden_requests, 2, "one refused in Belgium, one answered through a proxy in DE");
    assert_eq!(m.failed_high, 1, "eu is the highest class");
    assert_eq!(m.over_limit_ms, 1_000);
    assert_eq!((m.reached_dead_before_ack, m.reached_dead_after_ack), (30, 1));
    assert_eq!(m.left_out, 7);
    let anchor = row.anchor.as_ref().expect("anchor");
    assert_eq!((anchor.requests, anchor.failed_get, anchor.reached_dead_before_ack), (1, 1, 25));
    for (fault, word) in row.broken.iter().zip(["may not be", "executed twice", "the run is void"]) {
        assert!(fault.contains(word), "{fault}");
    }
    assert!(!json.ok && row.broken.len() == 3, "{:?}", row.broken);
    assert_eq!(FAULT, 5_000 * MS);
}

#[test]
fn a_run_that_is_cut_short_says_so() {
    let dir = tempfile::tempdir().expect("dir");
    write(dir.path());
    let marks = std::fs::read_to_string(dir.path().join("marks.jsonl")).expect("read");
    let cut: Vec<&str> = marks.lines().filter(|l| !l.contains("\"end\"")).collect();
    std::fs::write(dir.path().join("marks.jsonl"), cut.join("\n")).expect("write");
    let json = Run::read(dir.path()).expect("run").summarise();
    assert!(json.stories[0].broken.iter().any(|b| b.contains("not played to its end")));
}
