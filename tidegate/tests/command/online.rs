//! Verbs that ask a server: how they wait, what they give up on, what programs read.

use crate::server::{Reply, start};
use crate::{code, golden, run, stderr, stdout, tidegate};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use tidegate_api::{
    Audit, CheckLine, Checks, DecisionDetail, DecisionLine, DrainAnswer, DrainState, EventLine, Explanation,
    FindingLine, Members, PlaceLine, RegionShare, Replay, SplitLine, VERSION, VerdictLine, Verdicts, VoteLine, WhatIf,
};

fn json<T: serde::Serialize>(value: &T) -> Reply {
    Reply::Json(200, serde_json::to_string(value).expect("JSON"))
}

fn refusal(code: tidegate_api::Code) -> Reply {
    let error = tidegate_api::ApiError::new(code, "as the test wants it", "nothing");
    Reply::Json(code.status(), serde_json::to_string(&error).expect("JSON"))
}

fn answer() -> DrainAnswer {
    DrainAnswer {
        api_version: VERSION.to_owned(),
        id: 7,
        steps: vec!["aws leaves payroll/eu at edge-de in 2 steps".to_owned()],
        splits: Vec::new(),
        changed: true,
    }
}

fn drain(phase: &str) -> DrainState {
    DrainState {
        id: 7,
        place: "aws".to_owned(),
        service: None,
        by: "anna".to_owned(),
        reason: "maintenance".to_owned(),
        until_ms: None,
        grace_ms: 300_000,
        left: Vec::new(),
        edges_behind: Vec::new(),
        new_requests_milli_rps: Some(0),
        in_progress: Some(0),
        waits: Vec::new(),
        phase: phase.to_owned(),
    }
}

const WAIT: [&str; 5] = ["drain", "aws", "--reason", "maintenance", "--wait"];

/// `drain aws --wait` against `states`, the last of which is repeated; the answer to the POST comes first.
fn waited(more: &[&str], states: Vec<fn() -> Reply>) -> (std::process::Output, Vec<String>) {
    let (server, asked) = start(move |n, request| match request {
        "POST /v1/drains" => json(&answer()),
        _ => states[(n - 1).min(states.len() - 1)](),
    });
    let out = run(&[&WAIT[..], more, &["--server", &server]].concat());
    let asked = asked.lock().expect("no panic").clone();
    (out, asked)
}

#[test]
fn a_drain_is_seen_through_a_restart_of_the_server() {
    let (out, asked) = waited(
        &["-o", "json"],
        vec![
            || json(&drain("stepping")),
            || Reply::Nothing,
            || refusal(tidegate_api::Code::NotReady),
            || json(&drain("emptying")),
            || json(&drain("done")),
        ],
    );
    assert_eq!(code(&out), 0, "{out:?}");
    assert!(stderr(&out).contains("asking again"), "{out:?}");
    // One document, and done was seen twice before it counted.
    golden("drain-wait.json", stdout(&out));
    assert_eq!(asked.len(), 1 + 6, "{asked:?}");
}

#[test]
fn a_dry_run_of_a_restore_says_that_it_would_change_something() {
    let (server, _) = start(|_, _| json(&DrainAnswer { id: 0, changed: false, ..answer() }));
    let restore = ["restore", "aws", "--reason", "done", "--server", &server];
    assert_eq!(code(&run(&[&restore[..], &["--dry-run"]].concat())), 3);
    assert_eq!(code(&run(&restore)), 0);
}

#[test]
fn a_drain_that_ended_is_said_to_have_ended() {
    let (out, _) = waited(&[], vec![|| json(&drain("stepping")), || refusal(tidegate_api::Code::NotFound)]);
    assert_eq!(code(&out), 1, "{out:?}");
    assert!(stderr(&out).contains("drain #7 ended before it was done"), "{out:?}");
}

#[test]
fn a_drain_is_given_up_when_its_time_is_over() {
    let (out, _) = waited(&["--timeout", "300ms"], vec![|| Reply::Nothing]);
    assert_eq!(code(&out), 5, "{out:?}");
    assert!(stderr(&out).contains("tidegate restore aws --reason"), "{out:?}");
}

#[test]
fn a_drain_goes_on_when_nobody_reads() {
    let states: Vec<fn() -> Reply> = vec![|| json(&drain("stepping")), || json(&drain("done"))];
    let (server, asked) = start(move |n, request| match request {
        "POST /v1/drains" => json(&answer()),
        _ => states[(n - 1).min(states.len() - 1)](),
    });
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let out = tidegate(&WAIT).args(["--server", &server]).stdout(writer).output().expect("the program starts");
    assert_eq!(code(&out), 0, "{out:?}");
    assert_eq!(asked.lock().expect("no panic").len(), 1 + 3);
    // A full disk is told, but not before the drain is done.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let out = tidegate(&WAIT).args(["--server", &server]).stdout(full).output().expect("the program starts");
    assert_eq!(code(&out), 1, "{out:?}");
    assert!(stderr(&out).contains("drain #7 of aws: done"), "{out:?}");
}

#[test]
fn a_check_waits_for_what_may_come_and_for_nothing_else() {
    let (server, asked) = start(|_, _| refusal(tidegate_api::Code::Unauthenticated));
    let out = run(&["check", "--wait", "1h", "--server", &server]);
    assert_eq!(code(&out), 1, "{out:?}");
    assert_eq!(asked.lock().expect("no panic").len(), 1);

    let (server, _) = start(|_, _| refusal(tidegate_api::Code::NotReady));
    let out = run(&["check", "--wait", "300ms", "--server", &server]);
    assert_eq!(code(&out), 5, "{out:?}");

    let checks = |grade: &str| {
        let line = |name: &str, grade: &str| CheckLine {
            name: name.to_owned(),
            grade: grade.to_owned(),
            found: "3 of 8".to_owned(),
            mend: "`tidegate members` says why each does not vote".to_owned(),
        };
        json(&Checks { api_version: VERSION.to_owned(), checks: vec![line("vantages vote", grade)] })
    };
    let (server, _) = start(move |n, _| match n {
        0 => Reply::Nothing,
        1 => checks("failed"),
        _ => checks("ok"),
    });
    let out = run(&["check", "--wait", "1h", "--server", &server]);
    assert_eq!(code(&out), 0, "{out:?}");
    let (server, _) = start(move |_, _| checks("failed"));
    let out = run(&["check", "--server", &server]);
    assert!(code(&out) == 1 && stdout(&out).contains("docs/runbooks/prober-not-eligible.md"), "{out:?}");
}

fn event(sequence: u64, kind: &str) -> String {
    let event = EventLine {
        sequence,
        at_ms: 1_000 * i64::try_from(sequence).expect("small"),
        mono_ns: 0,
        kind: kind.to_owned(),
        decision: None,
        about: "aws".to_owned(),
        by: None,
        text: format!("event {sequence}"),
    };
    serde_json::to_string(&event).expect("JSON") + "\n"
}

#[test]
fn followed_events_are_taken_up_where_they_broke_off() {
    let (server, asked) = start(|n, _| match n {
        0 => Reply::Stream(event(4, "verdict") + &event(5, "decision")),
        1 => Reply::Nothing,
        2 => Reply::Stream(event(6, "verdict")),
        _ => refusal(tidegate_api::Code::Unauthenticated),
    });
    let out = run(&["events", "--follow", "-o", "json", "--server", &server]);
    // It would follow for ever; the token's end ends it, and as a failure.
    assert_eq!(code(&out), 1, "{out:?}");
    golden("events.json", stdout(&out));
    assert!(
        stderr(&out).contains("cut off after event 5") && stderr(&out).contains("cut off after event 6"),
        "{out:?}"
    );
    let asked = asked.lock().expect("no panic").clone();
    assert!(asked[0].ends_with("/v1/events?last=50&follow=true"), "{asked:?}");
    assert!(asked[1].contains("from=5") && asked[2].contains("from=5") && asked[3].contains("from=6"), "{asked:?}");
}

#[test]
fn refused_events_are_shown_alone() {
    let (server, _) = start(|n, _| match n {
        0 => Reply::Lines(event(1, "verdict") + &event(2, "refused")),
        _ => Reply::Stream(event(3, "nacked") + &event(4, "verdict")),
    });
    let mut child = tidegate(&["events", "--follow", "--denied", "--server", &server])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("UTF-8");
    let (first, second) = (next(), next());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(first.contains("event 2") && second.contains("event 3"), "{first}\n{second}");
    let mut rest = String::new();
    let _ = child.stderr.take().map(|mut e| e.read_to_string(&mut rest));
}

#[test]
fn old_refusals_are_found_without_following() {
    let (server, asked) =
        start(|_, _| Reply::Lines((1..=9).map(|n| event(n, "refused")).collect::<String>() + &event(10, "verdict")));
    let out = run(&["events", "--denied", "--last", "2", "--server", &server]);
    assert_eq!(code(&out), 0, "{out:?}");
    let shown = stdout(&out);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("event 8") && shown.contains("event 9"), "{shown}");
    assert!(asked.lock().expect("no panic")[0].contains("from=0&denied=true"));
}

/// A decision of which nothing is known but its id.
fn decision_of(id: u64) -> DecisionDetail {
    DecisionDetail {
        api_version: VERSION.to_owned(),
        line: DecisionLine { id, at_ms: 1_000, generation: id, summary: format!("decision {id} was made") },
        moves: Vec::new(),
        term: 1,
        fleet: String::new(),
        policy: String::new(),
        kernel: String::new(),
        input: String::new(),
        output: String::new(),
        verdicts: Vec::new(),
        places: Vec::new(),
        same_kernel: true,
        acked_after_ms: None,
    }
}

/// Decisions 1 to 5, two a page, and an audit of three pages, the second of which is broken.
fn paged(request: &str) -> Reply {
    if let Some(after) = request.strip_prefix("GET /v1/decisions?after=") {
        let after: u64 = after.parse().expect("a number");
        let page: Vec<DecisionDetail> = (after + 1..=5).take(2).map(decision_of).collect();
        return json(&serde_json::json!({ "api_version": VERSION, "decisions": page }));
    }
    if let Some(id) = request.strip_prefix("POST /v1/decisions/").and_then(|r| r.strip_suffix("/replay")) {
        return json(&Replay {
            api_version: VERSION.to_owned(),
            id: id.parse().expect("a number"),
            same: true,
            expected: "ee".to_owned(),
            got: "ee".to_owned(),
            bytes: 99,
            other_kernel: None,
        });
    }
    let (entries, fault, next) = match request {
        "GET /v1/audit" => (4, None, Some(4)),
        "GET /v1/audit?after=4" => (4, Some("entry 6 does not follow"), Some(8)),
        "GET /v1/audit?after=8" => (1, None, None),
        other => return Reply::Json(404, format!("no {other}")),
    };
    json(&Audit {
        api_version: VERSION.to_owned(),
        chain_intact: fault.is_none(),
        chain_fault: fault.map(str::to_owned),
        entries_checked: entries,
        acts: vec![serde_json::from_str(&event(next.unwrap_or(9), "drain")).expect("an event")],
        next,
    })
}

#[test]
fn verbs_that_list_go_through_all_pages() {
    let (server, _) = start(|_, request| paged(request));
    let out = run(&["decisions", "--server", &server]);
    for id in 1..=5 {
        assert!(stdout(&out).contains(&format!("decision {id} was made")), "{out:?}");
    }
    let out = run(&["replay", "all", "--server", &server]);
    assert_eq!((code(&out), stdout(&out).lines().count()), (0, 5), "{out:?}");
    let out = run(&["audit", "--server", &server]);
    assert_eq!((code(&out), stdout(&out).lines().count()), (1, 3), "{out:?}");
    assert!(stderr(&out).contains("entry 6 does not follow"), "{out:?}");
}

fn verdict(kind: &str, name: &str, health: &str) -> VerdictLine {
    let vote = |vantage: &str| VoteLine {
        vantage: vantage.to_owned(),
        place: "azure/westeurope".to_owned(),
        vote: "up".to_owned(),
        age_ms: Some(250),
    };
    VerdictLine {
        kind: kind.to_owned(),
        name: name.to_owned(),
        health: health.to_owned(),
        for_ms: 61_000,
        electorate: 6,
        eligible: 6,
        agreeing: 6,
        agreeing_providers: 3,
        votes: vec![vote("azure-1"), vote("outside-1")],
    }
}

#[test]
fn a_region_is_explained_with_the_votes_on_it_and_its_provider() {
    let explanation = || Explanation {
        api_version: VERSION.to_owned(),
        about: "region aws/us-east-1".to_owned(),
        sentences: Vec::new(),
        places: Vec::new(),
        verdicts: vec![
            verdict("provider", "aws", "healthy"),
            verdict("region", "aws/us-east-1", "healthy"),
            verdict("endpoint", "payroll-aws-us-east-1-0", "healthy"),
        ],
    };
    let (server, asked) = start(move |_, _| json(&explanation()));
    let out = run(&["explain", "region", "aws/us-east-1", "--server", &server]);
    let shown = stdout(&out);
    assert!(shown.contains("votes on provider aws: azure-1 (azure/westeurope) up 250 ms"), "{shown}");
    assert!(shown.contains("votes on region aws/us-east-1: ") && !shown.contains("votes on endpoint"), "{shown}");
    assert_eq!(*asked.lock().expect("no panic"), ["GET /v1/explain/region/aws/us-east-1"]);
    let out = run(&["explain", "service", "payroll", "--server", &server]);
    assert!(!stdout(&out).contains("votes on"), "{out:?}");
}

fn cut_off() -> FindingLine {
    FindingLine {
        kind: "prober".to_owned(),
        name: "aws-1".to_owned(),
        finding: "cut off".to_owned(),
        for_ms: 61_000,
        evidence: "reaches only 1 references".to_owned(),
    }
}

#[test]
fn what_was_found_stands_below_the_verdicts() {
    let (server, _) = start(|_, _| {
        json(&Verdicts { api_version: VERSION.to_owned(), verdicts: Vec::new(), findings: vec![cut_off()] })
    });
    let out = run(&["verdicts", "--server", &server]);
    let found = "prober aws-1 is cut off for 61.0 s: reaches only 1 references";
    assert!(stdout(&out).contains(found), "{out:?}");
}

#[test]
fn json_of_verbs_that_ask_a_server() {
    let line = || DecisionLine { id: 3, at_ms: 1_000, generation: 4, summary: "safety: aws is down".to_owned() };
    let decision = move || DecisionDetail {
        api_version: VERSION.to_owned(),
        line: line(),
        moves: vec!["payroll/eu at edge-de left aws/eu-central-1".to_owned()],
        term: 1,
        fleet: "aa".to_owned(),
        policy: "bb".to_owned(),
        kernel: "0.1.0".to_owned(),
        input: "cc".to_owned(),
        output: "dd".to_owned(),
        verdicts: Vec::new(),
        places: vec![PlaceLine {
            class: "payroll/eu".to_owned(),
            group: "edge-de".to_owned(),
            region: "aws/eu-central-1".to_owned(),
            jurisdiction: "DE".to_owned(),
            share_bps: 0,
            disposition: "excluded".to_owned(),
            reasons: vec!["down".to_owned()],
        }],
        same_kernel: true,
        acked_after_ms: Some(12),
    };
    let replay = || Replay {
        api_version: VERSION.to_owned(),
        id: 3,
        same: true,
        expected: "ee".to_owned(),
        got: "ee".to_owned(),
        bytes: 99,
        other_kernel: None,
    };
    let (server, _) = start(move |_, request| match request {
        "GET /v1/decisions/3" => json(&decision()),
        "POST /v1/decisions/3/replay" => json(&replay()),
        "GET /v1/verdicts" => json(&Verdicts {
            findings: vec![cut_off()],
            api_version: VERSION.to_owned(),
            verdicts: vec![verdict("region", "aws/us-east-1", "down")],
        }),
        "GET /v1/members" => json(&Members { api_version: VERSION.to_owned(), members: Vec::new() }),
        "GET /v1/audit" => json(&Audit {
            api_version: VERSION.to_owned(),
            chain_intact: true,
            chain_fault: None,
            entries_checked: 9,
            acts: Vec::new(),
            next: None,
        }),
        other => Reply::Json(404, format!("no {other}")),
    });
    let cases: &[(&str, &[&str])] = &[
        ("explain-decision.json", &["explain", "decision", "#3"]),
        ("replay.json", &["replay", "#3"]),
        ("verdicts.json", &["verdicts"]),
        ("members.json", &["members"]),
        ("audit.json", &["audit"]),
    ];
    for (name, verb) in cases {
        let out = run(&[*verb, &["-o", "json", "--server", &server]].concat());
        assert_eq!(code(&out), 0, "{verb:?}: {out:?}");
        golden(name, stdout(&out));
    }
}

fn split(weights: &[(&str, u16)]) -> SplitLine {
    let share = |(region, share_bps): &(&str, u16)| RegionShare { region: (*region).to_owned(), share_bps: *share_bps };
    SplitLine {
        class: "payroll/eu".to_owned(),
        group: "edge-de".to_owned(),
        serving: "routed".to_owned(),
        shed_bps: 0,
        weights: weights.iter().map(share).collect(),
    }
}

#[test]
fn what_if_is_asked_of_a_server_where_no_configuration_is_named() {
    let (server, asked) = start(|_, _| {
        let gaps = vec!["payroll/open would shed 12 %".to_owned()];
        let (before, after) =
            (vec![split(&[("aws/eu-central-1", 10_000)])], vec![split(&[("azure/westeurope", 10_000)])]);
        let lost = vec!["aws".to_owned(), "gcp/europe-west4".to_owned()];
        json(&WhatIf { api_version: VERSION.to_owned(), lost, before, after, gaps })
    });
    let verb = ["plan", "--lose", "aws", "--lose", "gcp/europe-west4", "--server", &server];
    let table = run(&verb);
    assert_eq!(code(&table), 6, "a gap is unsafe: {table:?}");
    let shown = stdout(&table);
    for word in ["NOW", "WITHOUT aws, gcp/europe-west4", "azure/westeurope 100", "payroll/open would shed 12 %"] {
        assert!(shown.contains(word), "no `{word}` in\n{shown}");
    }
    golden("plan-live.json", stdout(&run(&[&verb[..], &["-o", "json"]].concat())));
    assert_eq!(asked.lock().expect("no panic").first().expect("one"), "GET /v1/plan?lose=aws,gcp/europe-west4");

    let none = run(&["plan", "--server", &server]);
    assert!(code(&none) == 2 && stderr(&none).contains("--lose"), "{none:?}");
    let bad = run(&["plan", "--lose", "a b&c", "--server", &server]);
    assert!(code(&bad) == 2 && stderr(&bad).contains("PROVIDER/REGION"), "{bad:?}");
    assert_eq!(asked.lock().expect("no panic").len(), 2, "what cannot be a place is not asked");
}

#[test]
fn a_word_on_a_providers_api_is_sent_and_one_of_three() {
    let done = || tidegate_api::Done {
        api_version: VERSION.to_owned(),
        changed: true,
        sentences: vec!["aws keeps its traffic; nothing but safety moves changes what it carries".to_owned()],
    };
    let (server, asked) = start(move |_, _| json(&done()));
    let say = |more: &[&str]| run(&[&["provider", "api", "aws", "--server", &server][..], more].concat());
    let out = say(&["--trouble", "--for", "2h", "--reason", "their status page"]);
    assert_eq!(
        (code(&out), stdout(&out)),
        (0, "+ done aws keeps its traffic; nothing but safety moves changes what it carries\n")
    );
    assert_eq!(*asked.lock().expect("no panic"), ["POST /v1/providers/aws/api"]);
    golden("provider-api.json", stdout(&say(&["--forget", "--reason", "over", "-o", "json"])));
    for wrong in [&["--reason", "x"][..], &["--trouble", "--well", "--reason", "x"], &["--well"]] {
        assert_eq!(code(&say(wrong)), 2, "{wrong:?}");
    }
    let region = run(&["provider", "api", "aws/us-east-1", "--well", "--reason", "x", "--server", &server]);
    assert!(code(&region) == 2 && stderr(&region).contains("name `aws`"), "{region:?}");
    assert_eq!(asked.lock().expect("no panic").len(), 2, "what is wrong is not sent");
}
