//! A small run, written by hand: each count has a line that makes it.

use super::*;
use crate::raw::{Lines, ServerLine};
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

/// What the server says of the outage: an old verdict, a plan that still holds the dead, and at last the answer.
fn said(dir: &Path) {
    let server = Lines::append(&dir.join("server.jsonl")).expect("server");
    let names = |of: &[&str]| of.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let verdict = |t_ms: u64, down| ServerLine::Verdict { t_ns: t_ms * MS, provider: "aws".into(), down };
    let plan = |t_ms: u64, carries| ServerLine::Plan { t_ns: t_ms * MS, generation: 2, carries: names(carries) };
    let edges = |t_ms: u64, synced, all| ServerLine::Edges { t_ns: t_ms * MS, synced: names(synced), all };
    for line in [
        verdict(4_000, true),
        verdict(4_500, false),
        verdict(6_400, true),
        plan(6_410, &["aws/eu-central-1", "azure/westeurope"]),
        edges(6_415, &["envoy", "edge"], 203),
        plan(6_420, &["azure/westeurope"]),
        edges(6_500, &["envoy"], 100),
        edges(6_600, &["edge"], 202),
        edges(6_700, &["envoy", "edge"], 203),
    ] {
        server.write(&line);
    }
}

fn write(dir: &Path) {
    let facts = RunFacts {
        version: 2,
        envoy_version: "1.40.0".into(),
        topology: topology(),
        proxies: ["envoy", "edge", "anchor"].map(str::to_owned).to_vec(),
        subscribers: 203,
        stories: vec!["provider-refused".into()],
    };
    std::fs::write(dir.join(RUN_FILE), serde_json::to_vec(&facts).expect("json")).expect("write");
    let marks = Lines::append(&dir.join("marks.jsonl")).expect("marks");
    let mark = |t_ms: u64, what: MarkKind| {
        marks.write(&Mark { t_ns: t_ms * MS, story: "provider-refused".into(), what });
    };
    mark(1_000, MarkKind::Begin);
    mark(5_000, MarkKind::Fault { providers: vec!["aws".into()] });
    // The player's own notes of these are believed by nobody.
    mark(5_001, MarkKind::Verdict);
    mark(5_002, MarkKind::AllAcked { subscribers: 203 });
    mark(25_000, MarkKind::End);
    said(dir);
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
    assert_eq!((m.get_10s, m.failed_get_10s, m.over_200ms_get, m.over_200ms_get_10s), (4, 1, 1, 1), "one is a 451");
    assert_eq!(m.double_posts, 1);
    assert_eq!(m.forbidden_requests, 2, "one refused in Belgium, one answered through a proxy in DE");
    assert_eq!(m.failed_high, 1, "eu is the highest class");
    assert_eq!(m.over_limit_ms, 1_000);
    assert_eq!((m.reached_dead_before_ack, m.reached_dead_after_ack), (30, 1));
    assert_eq!(m.left_out, 7);
    let anchor = row.anchor.as_ref().expect("anchor");
    assert_eq!((anchor.requests, anchor.failed_get, anchor.reached_dead_before_ack), (1, 1, 25));
    for (fault, word) in
        row.broken.iter().zip(["may not be", "executed twice", "over its limit", "were shed", "the run is void"])
    {
        assert!(fault.contains(word), "{fault}");
    }
    assert!(!json.ok && row.broken.len() == 5, "{:?}", row.broken);
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

/// A run in which everything fits: every region came up, each answer was given by a backend.
fn whole(dir: &Path) {
    let topology = topology();
    let facts = RunFacts {
        version: 2,
        envoy_version: "1.40.0".into(),
        topology: topology.clone(),
        proxies: vec!["edge".into()],
        subscribers: 1,
        stories: vec!["recovery".into()],
    };
    std::fs::write(dir.join(RUN_FILE), serde_json::to_vec(&facts).expect("json")).expect("write");
    let marks = Lines::append(&dir.join("marks.jsonl")).expect("marks");
    for (t_ms, what) in [(1_000, MarkKind::Begin), (20_000, MarkKind::End)] {
        marks.write(&Mark { t_ns: t_ms * MS, story: "recovery".into(), what });
    }
    let load = Lines::append(&dir.join("load.jsonl")).expect("load");
    let backend = Lines::append(&dir.join("backend-all.jsonl")).expect("backend");
    for region in &topology.regions {
        let (region, jurisdiction) = (region.name.clone(), region.jurisdiction.clone());
        backend.write(&BackendLine::Started { t_ns: MS, region, jurisdiction, pid: 1 });
    }
    for n in 0..5 {
        let id = format!("edge-{n}");
        load.write(&sent("edge", 2_000 + n, 5, "eu", "POST", &id, Outcome::Ok));
        backend.write(&served(2_001 + n, "payroll-azure-westeurope-0", &id, false));
    }
}

#[test]
fn files_that_were_changed_or_lost_are_not_believed() {
    let judged = |tamper: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().expect("dir");
        whole(dir.path());
        tamper(dir.path());
        Run::read(dir.path()).expect("run").summarise()
    };
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let text = std::fs::read_to_string(dir.join(file)).expect("read");
            assert!(text.contains(from), "{file} has no {from}");
            std::fs::write(dir.join(file), text.replace(from, to)).expect("write");
        }
    };
    let untouched = judged(&|_| {});
    assert!(untouched.ok && untouched.faults.is_empty(), "{:?} {:?}", untouched.faults, untouched.stories);
    type Tamper = Box<dyn Fn(&Path)>;
    let cases: [(&str, Tamper); 6] = [
        ("came up", Box::new(|dir| std::fs::remove_file(dir.join("backend-all.jsonl")).expect("remove"))),
        ("has no end", Box::new(|dir| std::fs::write(dir.join("marks.jsonl"), "").expect("write"))),
        ("outcome is not", Box::new(edit("load.jsonl", "\"status\":200", "\"status\":503"))),
        (
            "call forbidden",
            Box::new(edit("backend-all.jsonl", "payroll-azure-westeurope-0", "payroll-gcp-europe-west1-0")),
        ),
        ("no backend has given", Box::new(edit("load.jsonl", "\"id\":\"edge-3\"", "\"id\":\"edge-33\""))),
        ("which stories", Box::new(edit(RUN_FILE, "[\"recovery\"]", "[]"))),
    ];
    for (word, tamper) in cases {
        let json = judged(&tamper);
        assert!(!json.ok && json.faults.iter().any(|f| f.contains(word)), "{word}: {:?}", json.faults);
    }
}

#[test]
fn counters_that_start_anew_go_on_and_what_was_in_flight_is_told_apart() {
    let dir = tempfile::tempdir().expect("dir");
    write(dir.path());
    let load = Lines::append(&dir.path().join("load.jsonl")).expect("load");
    load.write(&sent("envoy", 4_990, 40, "eu", "POST", "in flight", Outcome::Failed));
    let proxies = Lines::append(&dir.path().join("proxies.jsonl")).expect("proxies");
    for (t_ms, tries) in [(4_950, 70), (5_500, 80), (7_000, 3), (9_000, 4)] {
        proxies.write(&Tries { t_ns: t_ms * MS, proxy: "edge".into(), provider: "aws".into(), tries, begun: tries });
    }
    let m = &Run::read(dir.path()).expect("run").summarise().stories[0].measures;
    assert_eq!(m.failed_in_flight, 1);
    assert_eq!(m.failed_post, 1, "the one of long after");
    // 10 and then 3 after the restart before the edge acknowledged, 1 after it.
    assert_eq!(m.by_proxy["edge"].reached_dead_before_ack, 13);
    assert_eq!(m.by_proxy["edge"].reached_dead_after_ack, 1);
}

/// A gray place: its weight falls after 4 s, is gone after 14 s, comes back after the repair; `relapse` makes it fall again.
fn ailing(dir: &Path, late: bool, relapse: bool) -> StoryRow {
    write(dir);
    std::fs::remove_file(dir.join("marks.jsonl")).expect("remove");
    std::fs::remove_file(dir.join("load.jsonl")).expect("remove");
    let marks = Lines::append(&dir.join("marks.jsonl")).expect("marks");
    let mark = |t_ms: u64, what: MarkKind| marks.write(&Mark { t_ns: t_ms * MS, story: "gray".into(), what });
    mark(1_000, MarkKind::Begin);
    mark(5_000, MarkKind::Fault { providers: Vec::new() });
    mark(5_000, MarkKind::Ailing { region: "aws/eu-central-1".into() });
    mark(60_000, MarkKind::Repaired);
    mark(160_000, MarkKind::End);
    let server = Lines::append(&dir.join("server.jsonl")).expect("server");
    let first = if late { 16_000 } else { 9_000 };
    let mut weights = vec![(4_900, 6_000), (first, 2_600), (19_000, 0), (121_000, 3_400), (131_000, 6_000)];
    if relapse {
        weights.insert(4, (125_000, 0));
    }
    for (t_ms, bps) in weights {
        server.write(&ServerLine::Weight { t_ns: t_ms * MS, region: "aws/eu-central-1".into(), bps });
    }
    let load = Lines::append(&dir.join("load.jsonl")).expect("load");
    for n in 0..2_000 {
        load.write(&sent("envoy", 5_000 + n, 5, "eu", "GET", &format!("g-{n}"), Outcome::Ok));
    }
    for (at_ms, method, id) in [(5_100, "GET", "one"), (5_200, "POST", "two"), (49_500, "POST", "after the window")] {
        load.write(&sent("envoy", at_ms, 5, "eu", method, id, Outcome::Failed));
    }
    let backend = Lines::append(&dir.join("backend-aws.jsonl")).expect("backend");
    for (at_ms, status) in [(5_100, 500), (19_900, 200), (20_100, 200)] {
        let mut line = served(at_ms, "payroll-aws-eu-central-1-0", "x", false);
        if let BackendLine::Request(s) = &mut line {
            s.status = status;
        }
        backend.write(&line);
    }
    Run::read(dir).expect("run").summarise().stories.remove(0)
}

#[test]
fn an_ailing_place_is_judged_from_the_servers_words_and_the_backends_lines() {
    let dir = tempfile::tempdir().expect("dir");
    let row = ailing(dir.path(), false, false);
    let a = row.measures.ailing.as_ref().expect("ailing");
    assert_eq!((a.weight_before_bps, a.weight_falls_ms, a.weight_gone_ms), (6_000, Some(4_000), Some(14_000)));
    assert_eq!((a.get, a.failed_get, a.post, a.failed_post), (2_001, 1, 1, 1), "44 s from the fault on");
    assert_eq!((a.answered_there, a.errors_there, a.reached_after_15s), (3, 1, 1));
    assert_eq!((a.back_after_repair_ms, a.falls_after_repair), (Some(71_000), 0));
    let anchor = row.anchor.as_ref().and_then(|m| m.ailing.as_ref()).expect("anchor");
    assert_eq!((anchor.weight_falls_ms, anchor.judged_ms), (None, 44_000), "nobody steers it; judged as long");
    let said = |row: &StoryRow, words: &str| row.broken.iter().any(|b| b.contains(words));
    assert!(said(&row, "1 requests reached aws/eu-central-1 later than 15 s"), "{:?}", row.broken);
    assert!(!said(&row, "flaps") && !said(&row, "not in 10 s") && !said(&row, "as GETs"), "{:?}", row.broken);
}

#[test]
fn an_ailing_place_that_is_left_late_or_flaps_is_held_against_the_story() {
    let dir = tempfile::tempdir().expect("dir");
    let row = ailing(dir.path(), true, true);
    for words in ["fell after 11000 ms, not in 10 s", "fell 1 times after the repair"] {
        assert!(row.broken.iter().any(|b| b.contains(words)), "{words}: {:?}", row.broken);
    }
}
