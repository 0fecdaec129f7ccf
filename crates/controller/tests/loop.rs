//! The loop against a store that may fail: what is published, kept, refused, told, and what never is.

mod world;

use std::sync::Arc;
use tidegate_controller::*;
use tidegate_domain::*;
use tidegate_record::*;
use world::shell::Fault;
use world::*;

fn settled() -> World {
    World::settled(payroll(&[]))
}
fn pause(safety: bool, lasting: Option<Millis>) -> Ask {
    Ask::Automation { pause: true, safety, economic: !safety, lasting }
}

#[test]
fn the_first_plan_is_published_once_kept_and_never_before() {
    let mut w = World::new(payroll(&[]));
    w.start();
    assert!(w.published.is_empty() && w.shelf.writes == 1, "written, not yet answered");
    let took = w.until(1_000, "first plan", |w| !w.published.is_empty());
    assert_eq!((took, w.published[0].generation, w.shelf.committed().unwrap().generation), (STEP_MS, 1, 1));
    assert!(w.shelf.load(w.candidate.clone()).documents.is_some());
    w.run(20_000);
    assert_eq!(w.published.last().unwrap().generation, w.shelf.committed().unwrap().generation);
    checks::whole(&w).unwrap();
}

#[test]
fn a_restart_publishes_the_committed_plan_at_once() {
    let mut w = settled();
    let (before, stood) = (w.published.len(), w.plan());
    w.restart();
    assert_eq!(w.published.len(), before + 1, "before any write");
    assert_eq!((w.plan(), w.model().term), (stood.clone(), 2));
    w.run(40_000);
    assert_eq!(w.plan(), stood, "a restart moves nothing");
    // Minimum residency starts again in full: the clock of moves did not survive.
    assert!(w.model().state.moved.iter().all(Option::is_some));
    checks::whole(&w).unwrap();
}

#[test]
fn decisions_share_the_fleet_and_the_mask_they_were_made_under() {
    let mut w = settled();
    w.kill("aws");
    w.run(5_000);
    let decisions: Vec<Decision> = w.shelf.entries().into_iter().filter_map(decided).collect();
    assert!(decisions.len() >= 2, "{}", decisions.len());
    let parts = |d: &Decision| decode_input_parts(&w.shelf.body(d.input)).unwrap();
    let first = parts(&decisions[0]);
    for decision in &decisions {
        let (own, blob) = (w.shelf.body(decision.input), |h| w.shelf.store.get_blob(h).unwrap());
        let whole = encode_cycle_input(&read_input(decision.input, blob).unwrap());
        println!("decision {}: {} bytes of its own, {} with what it shares", decision.id, own.len(), whole.len());
        let parts = parts(decision);
        assert_eq!((parts.fleet, parts.mask), (first.fleet, first.mask));
        assert!(own.len() < whole.len());
    }
    assert_eq!(w.shelf.committed().unwrap().fleet_blob, first.fleet, "the committed plan names the same fleet");
    checks::whole(&w).unwrap();
}
fn decided(entry: Entry) -> Option<Decision> {
    match entry.body {
        EntryBody::Decision(decision) => Some(decision),
        EntryBody::Event(_) => None,
    }
}

#[test]
fn waits_start_again_in_full_after_a_restart() {
    let mut w = World::settled(payroll(&[("minResidency: 30min", "minResidency: 20s")]));
    w.ask(drain("aws")).unwrap();
    w.run(8_000);
    w.restart();
    w.run(9_500);
    assert_eq!(w.share("payroll/eu", "edge-de", "aws"), 2600, "the settle time between two steps (I9)");
    w.until(2_000, "second step", |w| w.share("payroll/eu", "edge-de", "aws") == 0);
    let mut w = World::settled(payroll(&[("minResidency: 30min", "minResidency: 20s")]));
    w.kill("aws");
    w.until(3_000, "aws empty", |w| w.carried("aws") == 0);
    w.dead.clear();
    w.run(15_000);
    w.restart();
    w.run(19_500);
    assert_eq!(w.carried("aws"), 0, "minimum residency (I10)");
    w.until(40_000, "back", |w| w.share("payroll/eu", "edge-de", "aws") == 6000);
    checks::whole(&w).unwrap();
}

#[test]
fn a_restart_in_mid_failback_goes_on_where_it_was() {
    let mut w = World::settled(payroll(&[("minResidency: 30min", "minResidency: 20s")]));
    let stood = w.plan();
    w.kill("aws");
    w.until(3_000, "aws empty", |w| w.carried("aws") == 0);
    let kept = w.shelf.committed().unwrap();
    assert!(!kept.returning.is_empty() && !kept.displaced.is_empty());
    w.dead.clear();
    w.until(60_000, "first step", |w| w.share("payroll/eu", "edge-de", "aws") > 0);
    let kept = w.shelf.committed().unwrap();
    assert!(kept.ramps.iter().any(|r| r.kind == MoveKind::Economic), "{:?}", kept.ramps);
    w.restart();
    let state = w.model().state;
    assert_eq!((&state.returning, &state.displaced), (&kept.returning, &kept.displaced));
    w.run(9_000);
    assert!(w.share("payroll/eu", "edge-de", "aws") < 6000, "the settle time starts again in full");
    w.until(5_000, "second step", |w| w.share("payroll/eu", "edge-de", "aws") == 6000);
    w.run(60_000);
    for (now, then) in w.plan().splits.iter().zip(&stood.splits) {
        assert_eq!(now.weights, then.weights);
    }
    checks::whole(&w).unwrap();
}

#[test]
fn a_restart_under_another_fleet_commits_and_publishes_before_anything_happens() {
    let mut w = settled();
    let generation = w.published.last().unwrap().generation;
    w.candidate = payroll(&[("costPerMillion: $0.18", "costPerMillion: $0.19")]);
    w.fault(Fault::Full);
    w.restart();
    assert_eq!(w.published.last().unwrap().generation, generation, "not the old plan under new names");
    w.run(1_000);
    let last = w.published.last().unwrap();
    assert_eq!((last.generation, last.plan.fleet), (generation + 1, w.candidate.fleet.revision), "from the reserve");
    checks::whole(&w).unwrap();
}

#[test]
fn a_changed_policy_alone_is_kept_with_its_documents() {
    let mut w = settled();
    let before = w.shelf.load(w.candidate.clone()).documents;
    w.candidate = payroll(&[("default decision :=", "# a comment\ndefault decision :=")]);
    w.restart();
    w.ask(pause(true, None)).unwrap();
    assert_ne!(w.shelf.load(w.candidate.clone()).documents, before);
}

#[test]
fn an_outage_is_recorded_as_a_safety_move_on_a_full_disk_and_a_drain_is_refused() {
    let mut w = settled();
    w.fault(Fault::Full);
    let denied = w.ask(drain("azure")).unwrap_err();
    assert_eq!(denied.kind, DenialKind::Full);
    assert!(w.model().intents.drains.is_empty() && matches!(w.model().store, StoreState::Full { .. }));
    let stood = w.plan();
    w.run(3_000);
    assert_eq!(w.plan(), stood, "goes on serving");
    w.kill("aws");
    w.until(3_000, "aws empty", |w| w.carried("aws") == 0);
    assert!(matches!(w.model().store, StoreState::Full { .. }), "the reserve does not make a full disk well");
    w.fault(Fault::None);
    w.run(10_000);
    assert_eq!(w.model().store, StoreState::Well);
    // Nothing that happened on the full disk is missing afterwards, and the refusal is on record, not the drain.
    let entries = checks::journal(&w.shelf).unwrap();
    let has =
        |f: &dyn Fn(&EventKind) -> bool| entries.iter().any(|e| matches!(&e.body, EntryBody::Event(e) if f(&e.kind)));
    assert!(
        has(&|k| matches!(k, EventKind::Refused { .. })) && !has(&|k| matches!(k, EventKind::DrainRequested { .. }))
    );
    assert!(has(&|k| matches!(k, EventKind::VerdictChanged { accused, to: Health::Down, .. } if accused == "aws")));
    assert_eq!(w.model().journal_dropped, 0);
    checks::whole(&w).unwrap();
}

#[test]
fn a_store_without_even_a_reserve_is_asked_at_a_measured_pace() {
    let mut w = settled();
    let stood = w.plan();
    w.fault(Fault::FullForAll);
    w.kill("aws");
    w.run(4_000);
    let writes = w.shelf.writes;
    w.run(10_000);
    assert!((10..=25).contains(&(w.shelf.writes - writes)), "{} tries in 10 s", w.shelf.writes - writes);
    assert_eq!(w.plan(), stood, "what cannot be recorded is not published");
    assert!(w.model().verdicts.iter().any(|v| v.health == Health::Down), "the senses go on");
    w.fault(Fault::None);
    w.until(1_000, "aws empty", |w| w.carried("aws") == 0);
    checks::whole(&w).unwrap();
}

#[test]
fn a_lost_answer_is_settled_by_the_head_before_anything_else_is_written() {
    for kept in [true, false] {
        let mut w = settled();
        w.fault(Fault::Away { kept, head: false });
        let denied = w.ask(drain("azure")).unwrap_err();
        assert_eq!(denied.kind, DenialKind::Unavailable);
        let writes = w.shelf.writes;
        w.kill("aws");
        w.run(5_000);
        assert_eq!(w.shelf.writes, writes, "nothing is written in doubt");
        assert!(w.model().verdicts.iter().any(|v| v.health == Health::Down), "the senses go on");
        assert_eq!(w.ask(drain("gcp")).unwrap_err().kind, DenialKind::Unavailable);
        w.fault(Fault::None);
        w.until(8_000, "aws empty", |w| w.carried("aws") == 0);
        assert!(!w.stopped);
        assert_eq!(w.model().intents.drains.len(), usize::from(kept), "kept: {kept}");
        w.run(6_000);
        assert_eq!(w.model().store, StoreState::Well);
        checks::whole(&w).unwrap();
    }
}

#[test]
fn another_server_s_write_stops_this_one_for_good() {
    for away in [false, true] {
        let mut w = settled();
        if away {
            w.fault(Fault::Away { kept: false, head: true });
        }
        w.shelf.usurp();
        let first = w.ask_only(drain("azure"));
        let second = w.ask_only(drain("gcp"));
        w.run(200);
        assert!(w.stopped);
        for ticket in [first, second] {
            assert_eq!(w.answers[&ticket].clone().unwrap_err().kind, DenialKind::Unavailable, "nobody waits for ever");
        }
        let (writes, published) = (w.shelf.writes, w.published.len());
        w.kill("aws");
        w.run(5_000);
        assert_eq!((w.shelf.writes, w.published.len()), (writes, published));
        assert_eq!(w.ask(drain("gcp")).unwrap_err().kind, DenialKind::Unavailable);
    }
}

#[test]
fn a_paused_automation_holds_until_it_is_resumed_or_expires() {
    let mut w = settled();
    let stood = w.plan();
    assert!(w.ask(pause(true, Some(Millis(20_000)))).unwrap().changed);
    w.kill("aws");
    w.run(10_000);
    assert_eq!(w.plan(), stood);
    w.until(12_000, "aws empty", |w| w.carried("aws") == 0);
    let resumed = checks::journal(&w.shelf)
        .unwrap()
        .into_iter()
        .filter(|e| matches!(&e.body, EntryBody::Event(e) if matches!(e.kind, EventKind::AutomationResumed { .. })));
    assert_eq!(resumed.count(), 1);
    assert_eq!(w.model().intents.automation, Automation::default());
    let neither = Ask::Automation { pause: true, safety: false, economic: false, lasting: None };
    assert_eq!(w.ask(neither).unwrap_err().kind, DenialKind::BadRequest);
    checks::whole(&w).unwrap();
}

#[test]
fn a_drain_is_answered_steps_ends_and_is_announced() {
    let mut w = settled();
    let quarter = Millis(16 * 60_000);
    let answer = w.ask(drain_for("aws", Some(quarter))).unwrap();
    assert!(answer.changed && answer.id > 0 && answer.plans.is_some());
    assert!(answer.sentences.len() >= 2 && answer.sentences[0].starts_with("step 1 after 0 ms"), "{answer:?}");
    let half = w.share("payroll/eu", "edge-de", "aws");
    assert!(half > 0 && half < 6000, "one step was taken, {half} left");
    assert_eq!(w.share("payroll/eu", "edge-de", "aws"), half);
    w.until(40_000, "drained", |w| w.carried("aws") == 0);
    assert!(!w.ask(drain_for("aws", None)).is_err_and(|d| d.kind != DenialKind::Unsafe));
    let longer = w.ask(drain_for("aws", Some(quarter))).unwrap();
    assert_eq!(longer.id, answer.id, "asked again, the same drain lasts longer");
    assert!(!w.ask(restore("aws/us-east-1")).unwrap_err().why.is_empty(), "a region of a drained provider");
    w.run(30_000);
    assert_eq!(w.told_of("alarm").iter().filter(|t| t.text.contains("drain of aws ends")).count(), 0);
    w.run(60_000);
    assert_eq!(w.told_of("alarm").iter().filter(|t| t.text.contains("drain of aws ends")).count(), 1);
    w.fault(Fault::Full);
    w.run(15 * 60_000);
    assert_eq!(w.model().intents.drains.len(), 1, "its end could not be recorded yet");
    w.kill("azure");
    w.until(4_000, "azure empty", |w| w.carried("azure") == 0);
    w.fault(Fault::None);
    w.run(10_000);
    assert!(w.model().intents.drains.is_empty());
    assert_eq!(w.told_of("expiry").len(), 1);
    checks::whole(&w).unwrap();
}

#[test]
fn the_first_end_of_each_kind_of_override_is_shown() {
    let mut w = settled();
    let ends = |w: &World| w.model().override_ends(w.now().wall);
    let none =
        [("api_word", None), ("drain", None), ("economic_pause", None), ("ramp_abort", None), ("safety_pause", None)];
    assert_eq!(ends(&w), none.into());
    let start = w.now().wall;
    w.ask(drain_for("azure/eastus", Some(Millis(90 * 60_000)))).unwrap();
    w.ask(drain_for("gcp/us-east4", Some(Millis(60 * 60_000)))).unwrap();
    w.ask(pause(false, Some(Millis(5 * 60_000)))).unwrap();
    w.ask(Ask::Ramp(RampAsk::Abort)).unwrap();
    let minutes = |w: &World| -> Vec<(&str, Option<u64>)> {
        ends(w).into_iter().map(|(kind, end)| (kind, end.map(|e| (e - start).0 / 60_000))).collect()
    };
    let shown = [
        ("api_word", None),
        ("drain", Some(60)),
        ("economic_pause", Some(5)),
        ("ramp_abort", Some(60)),
        ("safety_pause", None),
    ];
    assert_eq!(minutes(&w), shown);
    w.run(5 * 60_000);
    assert_eq!(minutes(&w)[2], ("economic_pause", None), "it has ended");
}

#[test]
fn a_reload_is_taken_whole_or_not_at_all() {
    let mut w = settled();
    let new = payroll(&[
        ("    - { region: aws/ap-southeast-1, host: 127.0.13.12, port: 8080 }\n", ""),
        ("name: outside-2", "name: outside-3"),
    ]);
    let revision = w.candidate.fleet.revision;
    w.fault(Fault::Full);
    assert_eq!(w.reload(&new).unwrap_err().kind, DenialKind::Full);
    assert_eq!((w.model().fleet.revision, w.plan().fleet), (revision, revision));
    let known = w.model().reports.iter().flatten().filter(|r| r.revision == revision).count();
    assert_eq!(known, 8, "no report was lost to the attempt");
    w.fault(Fault::None);
    w.run(6_000);
    // Reports of the old list arrive while the new one is being written.
    let ask = reload(&new, w.model().fleet.revision);
    let ticket = w.ask_only(ask);
    let reports: Vec<Input> = (0..8).map(|v| Input::Report(ReportIn { sequence: 1 << 30, ..w.report(v) })).collect();
    w.feed(reports);
    w.run(100);
    assert!(w.answers[&ticket].as_ref().unwrap().changed);
    assert_eq!((w.model().fleet.revision, w.plan().fleet), (new.fleet.revision, new.fleet.revision));
    assert_eq!(w.targets, 2);
    let unknown = w
        .told_of("verdict")
        .iter()
        .filter(|t| t.text.contains("nknown") && w.clock - 200 < t.at.0 as u64 % 1_700_000_000_000)
        .count();
    assert_eq!(unknown, 0, "what is known of a place goes along");
    // A candidate with a gap, and one whose policy fails.
    let gap = payroll(&[("capacity: 240 rps", "capacity: 30 rps")]);
    assert_eq!(w.reload(&gap).unwrap_err().kind, DenialKind::Gap);
    let nonsense =
        payroll(&[(r#"decision := {"allow": true, "reason": ""} if permitted"#, "decision := 7 if permitted")]);
    assert_eq!(w.reload(&nonsense).unwrap_err().kind, DenialKind::BadRequest);
    assert_eq!(w.model().fleet.revision, new.fleet.revision);
    checks::whole(&w).unwrap();
}

#[test]
fn refusals_of_edges_are_recorded_and_an_acknowledged_generation_is_told_once() {
    let mut w = settled();
    let generation = w.published.last().unwrap().generation;
    let words = "é".repeat(60_000);
    w.feed(vec![Input::Nacked { node: "envoy-1".to_owned(), resource_type: "CDS".to_owned(), generation, words }]);
    for (acked, outstanding, of) in [(0, 0, 0), (1, 1, 0), (2, 0, 0), (3, 0, 0), (2, 0, 1)] {
        let outstanding = vec!["envoy-9".to_owned(); outstanding];
        w.feed(vec![Input::Progress { generation: generation - of, acked, outstanding }]);
    }
    w.run(2_000);
    assert_eq!((w.told_of("acked").len(), w.told_of("nacked").len()), (1, 1));
    assert_eq!(w.told_of("acked")[0].decision, w.published.last().map(|p| p.decision));
    let entries = checks::journal(&w.shelf).unwrap();
    let nacked = entries.iter().find_map(|e| match &e.body {
        EntryBody::Event(Event { kind: EventKind::Nacked { words, .. }, .. }) => Some(words.len()),
        _ => None,
    });
    assert!(nacked.is_some_and(|n| n > 1_000 && n <= 1_024), "bounded, so that it fits: {nacked:?}");
}

#[test]
fn what_followers_are_told_stands_in_the_journal_under_that_number() {
    let mut w = settled();
    w.ask(drain("aws/eu-central-1")).unwrap();
    w.kill("azure");
    w.run(5_000);
    w.dead.clear();
    w.run(20_000);
    let entries = checks::journal(&w.shelf).unwrap();
    for told in w.told.iter().map(|t| &t.1) {
        let entry = entries.iter().find(|e| e.sequence == told.sequence).unwrap();
        match &entry.body {
            EntryBody::Event(event) => assert_eq!(event.sentence(), told.text),
            EntryBody::Decision(decision) => assert_eq!(told.decision, Some(decision.id)),
        }
    }
    let numbers: Vec<u64> = w.told.iter().map(|t| t.1.sequence).collect();
    let distinct: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), numbers.len());
}

#[test]
fn questions_beyond_the_limit_are_refused_and_none_is_forgotten() {
    let mut w = settled();
    w.fault(Fault::FullForAll);
    let tickets: Vec<u64> = (0..80).map(|_| w.ask_only(drain("azure"))).collect();
    w.run(5_000);
    let kinds: Vec<DenialKind> = tickets.iter().map(|t| w.answers[t].clone().unwrap_err().kind).collect();
    assert!(kinds.contains(&DenialKind::Full) && kinds.contains(&DenialKind::Unavailable));
    let dry = Ask::Drain { place: "azure".to_owned(), service: None, lasting: None, grace: Millis(0), dry_run: true };
    assert!(!w.ask(dry).unwrap().changed, "a preview needs no store");
    assert_eq!(w.ask(drain("mars")).unwrap_err().kind, DenialKind::NotFound);
    let mut empty = Controller::new();
    let now = w.now();
    let ask = Input::Ask { ticket: Ticket(1), by: String::new(), reason: String::new(), ask: drain("aws") };
    let effects = empty.handle(ask, now);
    assert!(matches!(&effects[..], [Effect::Answer { answer: Err(d), .. }] if d.kind == DenialKind::NotReady));
}

#[test]
fn while_only_the_store_s_answer_helps_the_deadline_is_when_it_is_overdue() {
    let mut w = settled();
    w.ask_only(drain("azure"));
    let overdue = w.now().mono + Millis(2_000);
    assert_eq!(w.controller.next_deadline(), Some(overdue), "a shell that woke up in the past would spin");
    w.run(100);
    assert!(w.controller.next_deadline().is_some());
}

#[test]
fn one_decision_id_leads_from_the_verdict_to_the_acknowledgement() {
    let mut w = settled();
    w.kill("aws");
    w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
    let Published { decision, generation, .. } = w.published.last().unwrap().clone();
    let verdict = w.told_of("verdict").into_iter().find(|t| t.about == "aws").unwrap().decision;
    let decided = w.told_of("decision").last().unwrap().decision;
    w.run(700);
    let words = "no".to_owned();
    w.feed(vec![Input::Nacked { node: "envoy-1".to_owned(), resource_type: "CDS".to_owned(), generation, words }]);
    w.feed(vec![Input::Progress { generation, acked: 2, outstanding: Vec::new() }]);
    let (nacked, acked) = (w.told_of("nacked")[0].decision, w.told_of("acked").last().unwrap().decision);
    assert_eq!([verdict, decided, nacked, acked], [Some(decision); 4]);
    // Measured from the cycle, which was before the store had kept it.
    let (of, after) = *w.acked.last().unwrap();
    assert!(of == decision && after >= Millis(700 + STEP_MS), "{after}");
    // The record says the same after all is forgotten.
    w.run(2_000);
    let kept = checks::journal(&w.shelf).unwrap();
    let told: Vec<Told> = kept.iter().map(told_again).filter(|t| t.decision == Some(decision)).collect();
    let kinds: Vec<&str> = told.iter().map(|t| t.kind).collect();
    assert!(["verdict", "decision", "nacked", "acked"].iter().all(|k| kinds.contains(k)), "{kinds:?}");
    for again in told {
        let first = w.told.iter().find(|t| t.1.sequence == again.sequence).unwrap().1.clone();
        assert_eq!(Told { mono: first.mono, ..again }, first);
    }
}

#[test]
fn a_decision_that_is_followed_before_all_have_it_is_counted_apart() {
    let mut w = settled();
    let before = w.model().superseded;
    w.kill("aws");
    w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
    w.ask(drain("azure")).unwrap();
    assert!(w.model().superseded > before && w.acked.is_empty());
}

#[test]
fn the_last_decision_is_known_after_a_restart_and_not_measured_again() {
    let mut w = settled();
    w.kill("aws");
    w.until(4_000, "aws empty", |w| w.carried("aws") == 0);
    let before = w.model().decision.unwrap();
    w.restart();
    let after = w.model().decision.unwrap();
    assert_eq!((after.id, after.at, after.summary), (before.id, before.at, before.summary));
    let generation = w.published.last().unwrap().generation;
    w.feed(vec![Input::Progress { generation, acked: 2, outstanding: Vec::new() }]);
    assert!(w.acked.is_empty() && w.model().decision.unwrap().acked.is_some());
}

#[test]
fn a_refusal_says_what_was_asked() {
    let mut w = settled();
    w.ask(drain("mars")).unwrap_err();
    w.feed(vec![Input::Refused {
        by: "bob".to_owned(),
        reason: "cheaper".to_owned(),
        asked: "a configuration reload".to_owned(),
        why: "it needs the role admin".to_owned(),
    }]);
    w.run(2_000);
    let entries = checks::journal(&w.shelf).unwrap();
    let said: Vec<String> = entries.iter().map(Entry::sentence).filter(|s| s.contains("was refused")).collect();
    assert!(said[0].starts_with("ann was refused the drain of mars (asked for because: test): the fleet has no place"));
    assert_eq!(
        said[1],
        "bob was refused a configuration reload (asked for because: cheaper): it needs the role admin."
    );
}

#[test]
fn a_reload_is_judged_against_what_stands_when_it_is_taken() {
    let mut w = settled();
    let (old, new) = (w.model().fleet.revision, payroll(&[("costPerMillion: $0.18", "costPerMillion: $0.19")]));
    let ask = |from, yes_remove| Ask::Reload {
        candidate: Box::new(new.clone()),
        from,
        removals: vec!["payroll/open: the reload drops this residency class".to_owned()],
        yes_remove,
        accept_gap: true,
        dry_run: false,
    };
    assert_eq!(w.ask(ask(Revision([3; 32]), true)).unwrap_err().kind, DenialKind::Raced);
    let denied = w.ask(ask(old, false)).unwrap_err();
    assert_eq!((denied.kind, denied.details.len()), (DenialKind::Removes, 1));
    w.ask(ask(old, true)).unwrap();
    let entries = checks::journal(&w.shelf).unwrap();
    let leave = entries.iter().find_map(|e| match &e.body {
        EntryBody::Event(Event { kind: EventKind::ConfigReloaded { yes_remove, accept_gap, .. }, .. }) => {
            Some((*yes_remove, *accept_gap))
        }
        EntryBody::Event(_) | EntryBody::Decision(_) => None,
    });
    assert_eq!(leave, Some((true, true)));
}

#[test]
fn what_is_due_goes_before_questions_and_these_one_at_a_time() {
    let mut w = settled();
    let dry =
        || Ask::Drain { place: "azure".to_owned(), service: None, lasting: None, grace: Millis(0), dry_run: true };
    let asks = |n: u64| {
        (0..n).map(|t| Input::Ask {
            ticket: Ticket(900 + t),
            by: "ann".to_owned(),
            reason: "test".to_owned(),
            ask: dry(),
        })
    };
    let mut controller = std::mem::take(&mut w.controller);
    let now = w.now();
    let mut said = 0;
    for input in asks(3) {
        assert!(controller.handle(input, now).is_empty());
    }
    for left in (0..3).rev() {
        let effects = controller.step(now);
        said += effects.iter().filter(|e| matches!(e, Effect::Answer { .. })).count();
        assert_eq!(said, 3 - left);
        assert_eq!(controller.next_deadline().is_some_and(|d| d <= now.mono), left > 0, "the next comes at once");
    }
    // A pause that has ended is due: it is written first, and the question waits for the store.
    w.controller = controller;
    w.ask(pause(true, Some(Millis(5_000)))).unwrap();
    w.run(200);
    w.clock += 6_000;
    let mut controller = std::mem::take(&mut w.controller);
    for input in asks(1) {
        controller.handle(input, w.now());
    }
    let effects = controller.step(w.now());
    assert!(effects.iter().any(|e| matches!(e, Effect::Persist { .. })));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Answer { .. })));
}

/// Each check is turned red by what it is there for.
mod mutations {
    use super::*;

    #[test]
    #[should_panic(expected = "nothing is committed")]
    fn a_shell_that_says_done_before_it_is() {
        let mut w = World::new(payroll(&[]));
        w.fault(Fault::Liar);
        w.start();
        w.run(1_000);
    }

    #[test]
    fn the_checks_find_what_was_broken() {
        let mut w = settled();
        w.ask(drain("aws")).unwrap();
        w.run(30_000);
        assert!(checks::whole(&w).unwrap() >= 3);
        let last = w.published.last().unwrap().clone();
        assert!(checks::rises(Some(last.generation), last.generation - 1).is_err());
        assert!(checks::publish(&w.shelf, last.generation + 1, &last.plan).is_err());
        let (eu, belgium) = (ClassIx(0), w.region("gcp/europe-west1"));
        let mut plan = (*last.plan).clone();
        plan.splits.iter_mut().find(|s| s.class == eu).unwrap().spill = vec![vec![belgium]];
        assert!(checks::permitted(&last.fleet, &plan).unwrap_err().starts_with("I6"));
        assert!(checks::publish(&w.shelf, last.generation, &plan).is_err());
        let other = |input: &CycleInput| CycleOutput { wake: None, ..tidegate_kernel::cycle(input) };
        assert!(checks::replays(&w.shelf, other).unwrap_err().starts_with("I12"));
        for at in [3, w.shelf.end().0.sequence] {
            let w = w.shelf.clone();
            let mut entry = decode_entry(&w.store.get(&keys::journal(at)).unwrap().unwrap().value).unwrap();
            let kept = encode_entry(&entry);
            entry.at = Wall(0);
            let put =
                |bytes| w.store.txn(tidegate_store::Txn::of(vec![tidegate_store::Op::put(keys::journal(at), bytes)]));
            put(encode_entry(&entry)).unwrap();
            assert!(checks::journal(&w).is_err(), "entry {at}");
            put(kept).unwrap();
        }
        checks::whole(&w).unwrap();
        let _ = Arc::clone(&last.plan);
    }
}

#[test]
fn a_disk_that_hangs_does_not_stop_the_senses() {
    let mut w = settled();
    let stood = w.plan();
    w.fault(Fault::Hung);
    let ticket = w.ask_only(drain("azure"));
    w.run(1_900);
    assert!(!w.answers.contains_key(&ticket), "not yet late");
    w.until(200, "told", |w| w.answers.contains_key(&ticket));
    assert_eq!(w.answers[&ticket].clone().unwrap_err().kind, DenialKind::Unavailable);
    assert!(matches!(w.model().store, StoreState::Unavailable { .. }));
    w.kill("aws");
    let down = |w: &World| w.told_of("verdict").iter().any(|t| t.about == "aws");
    w.until(4_000, "the verdict", down);
    w.run(10_000);
    let cycled = w.model().cycled;
    assert!(w.now().mono.since(cycled).0 <= 1_000, "cycles go on");
    assert_eq!(w.plan(), stood, "nothing is published that is not kept");
    // The disk wakes up: the drain was kept after all, and the outage is acted on at once.
    w.unhang();
    w.until(200, "aws empty", |w| w.carried("aws") == 0);
    assert_eq!((w.model().store, w.model().intents.drains.len()), (StoreState::Well, 1));
    let downs = w.told_of("verdict").iter().filter(|t| t.about == "aws").count();
    w.run(5_000);
    assert_eq!(w.told_of("verdict").iter().filter(|t| t.about == "aws").count(), downs, "no verdict is told twice");
    checks::whole(&w).unwrap();
}
