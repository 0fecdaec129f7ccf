//! Streaks, time-outs, the schedule, and doubt: each part alone.

use crate::judge::{Judge, Outcome, Tuning};
use crate::schedule::Schedule;
use crate::selfcheck::{Reached, SelfCheck};
use tidegate_domain::{Check, CheckKind, Millis, Mono, RttClass, TargetState};

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
fn streaks_decide_and_the_first_answer_alone() {
    use TargetState::{Failing, Ok, Slow, Unseen};
    assert_eq!(states(&[OK, BAD, BAD, OK, BAD, BAD, BAD]), [Ok, Ok, Ok, Ok, Ok, Ok, Failing]);
    assert_eq!(states(&[BAD, OK, BAD, BAD, BAD, OK, OK]), [Unseen, Ok, Ok, Ok, Failing, Failing, Ok]);
    // At a start, too, one lost probe accuses nobody; dead is dead after the whole streak, not later.
    assert_eq!(states(&[BAD, BAD, BAD, BAD]), [Unseen, Unseen, Failing, Failing]);
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
fn the_way_there_is_not_the_endpoints_fault() {
    let tuning = Tuning::default();
    let tight = |kind: CheckKind| Check { kind, timeout: Millis(400), ..check() };
    let http = |tls| tight(CheckKind::Http { path: "/up".to_owned(), tls, host: None });
    let far = |check: &Check, opened_us| {
        let mut judge = Judge::default();
        (judge.reached(opened_us, check, &tuning), judge.timeout(check, &tuning))
    };
    // Two round trips of 210 ms leave no time in 400 ms; the margin is added to them.
    assert_eq!(far(&http(false), 210_000), (true, Millis(670)));
    assert_eq!(far(&http(true), 210_000), (true, Millis(880)));
    assert_eq!(far(&tight(CheckKind::Tcp), 210_000), (true, Millis(460)));
    assert_eq!(far(&http(false), 300), (false, Millis(400)), "what is near has the check's own limit");
    let hasty = Check { timeout: Millis(20), ..http(false) };
    assert_eq!(far(&hasty, 300), (false, Millis(20)), "the margin does not lengthen a short limit");
    // What was near and has got far is learned, although it does not answer in its time any more.
    let mut judge = Judge::default();
    let (check, mut probes) = (http(false), 0);
    judge.reached(1_000, &check, &tuning);
    (0..50).for_each(|_| _ = judge.take(Outcome::Answered { rtt_us: 2_500 }, &check, &tuning));
    assert_eq!(judge.timeout(&check, &tuning), Millis(257));
    while judge.timeout(&check, &tuning) < Millis(430) {
        assert!(!judge.reached(210_000, &check, &tuning), "only the first probe says nothing");
        probes += 1;
        assert!(probes < 30, "not learned");
    }
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
fn a_cut_is_over_when_enough_is_reached_by_the_electorates_rule() {
    use Reached::{Again, AsBefore, First};
    let mut own = SelfCheck::default();
    own.set_references(vec!["a".to_owned(), "a".to_owned(), "b".to_owned()]);
    let mut told = |index, reached| own.reference(index, reached);
    // Two of one network are not enough.
    assert_eq!([told(0, true), told(1, true), told(2, true), told(2, true)], [AsBefore, AsBefore, First, AsBefore]);
    assert_eq!([told(2, false), told(2, true)], [AsBefore; 2], "one failure is no cut");
    assert_eq!([told(2, false), told(2, false), told(2, true)], [AsBefore, AsBefore, Again]);
    // One of the two of a network is enough beside the other.
    assert_eq!([told(0, false), told(0, false), told(0, true)], [AsBefore; 3]);
    // New references: whether enough of them were ever reached is asked anew.
    own.reference(2, false);
    own.reference(2, false);
    own.set_references(vec!["c".to_owned()]);
    assert_eq!([own.reference(0, true), own.reference(0, true)], [First, AsBefore]);
    // But who reaches enough, and is given others, was not cut off; unless one of these fails first.
    own.set_references(vec!["d".to_owned()]);
    assert_eq!([own.reference(0, true), own.reference(0, true)], [AsBefore; 2]);
    own.set_references(vec!["e".to_owned()]);
    assert_eq!([own.reference(0, false), own.reference(0, true)], [AsBefore, First]);
}

#[test]
fn references_count_by_network_and_one_lost_packet_is_no_cut() {
    let mut own = SelfCheck::default();
    own.set_references(vec!["a".to_owned(), "a".to_owned(), "b".to_owned()]);
    let said = |own: &SelfCheck| (own.own().references_reached, own.own().reference_networks);
    assert_eq!(said(&own), (0, 0));
    assert!(own.own().self_doubt, "not asked yet");
    (0..3).for_each(|i| _ = own.reference(i, true));
    assert_eq!(said(&own), (3, 2));
    assert!(!own.own().self_doubt);
    own.reference(2, false);
    assert_eq!(said(&own), (3, 2));
    own.reference(2, false);
    assert_eq!(said(&own), (2, 1));
    own.reference(9, true);
    // The first answer decides alone.
    own.set_references(vec!["a".to_owned()]);
    own.reference(0, false);
    assert_eq!((said(&own), own.own().self_doubt), ((0, 0), false));
}
