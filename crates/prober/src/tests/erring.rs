//! Targets that fail now and then, and targets that die while they do.

use crate::judge::{Judge, Outcome, Tuning};
use tidegate_domain::TargetState::{self, Failing, Ok, Slow};
use tidegate_domain::{Check, CheckKind, Millis};

const OK: Outcome = Outcome::Answered { rtt_us: 2_000 };
const BAD: Outcome = Outcome::Failed;
const LOST: Outcome = Outcome::Silent;

fn check(unhealthy_after: u8) -> Check {
    let kind = CheckKind::Http { path: "/up".to_owned(), tls: false, host: None };
    Check { kind, interval: Millis(500), timeout: Millis(400), unhealthy_after, healthy_after: 3 }
}

/// Marsaglia's xorshift (2003): the same numbers on every machine.
struct Dice(u64);
impl Dice {
    fn of(seed: u64) -> Self {
        let mut dice = Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..20).for_each(|_| _ = dice.below_hundred());
        dice
    }
    fn below_hundred(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % 100
    }
    fn result(&mut self, percent: u64) -> Outcome {
        if self.below_hundred() < percent { BAD } else { OK }
    }
}

struct Target {
    judge: Judge,
    check: Check,
}
impl Target {
    /// One that has answered for a while.
    fn new(unhealthy_after: u8) -> Self {
        let mut new = Self { judge: Judge::default(), check: check(unhealthy_after) };
        (0..64).for_each(|_| _ = new.take(OK));
        new
    }
    fn take(&mut self, outcome: Outcome) -> TargetState {
        self.judge.take(outcome, &self.check, &Tuning::default());
        self.judge.state()
    }
    fn all(&mut self, outcomes: &str) -> Vec<TargetState> {
        let one = |c| match c {
            'x' => BAD,
            '-' => LOST,
            _ => OK,
        };
        outcomes.chars().map(|c| self.take(one(c))).collect()
    }
    /// How many failures in a row it takes from now on.
    fn dies(&mut self) -> usize {
        (1..).find(|_| self.take(BAD) == Failing).unwrap_or(usize::MAX)
    }
}

/// Of 20 × 1,000 results: how often it was called failing, how often the streak alone would have, in how many it was slow.
fn calls(unhealthy_after: u8, percent: u64) -> (u32, u32, u32) {
    let (mut calls, mut streaks, mut slow) = (0, 0, 0);
    for seed in 0..20 {
        let (mut target, mut dice) = (Target::new(unhealthy_after), Dice::of(seed));
        let (mut before, mut streak) = (Ok, 0);
        for _ in 0..1_000 {
            let outcome = dice.result(percent);
            streak = if outcome == BAD { streak + 1 } else { 0 };
            streaks += u32::from(streak == u32::from(unhealthy_after));
            let state = target.take(outcome);
            calls += u32::from(state == Failing && before != Failing);
            slow += u32::from(state == Slow);
            before = state;
        }
    }
    (calls, streaks, slow)
}

#[test]
fn what_errs_now_and_then_is_not_called_failing() {
    for unhealthy_after in [2, 3] {
        for percent in [5, 10, 20, 30, 45] {
            let (calls, streaks, slow) = calls(unhealthy_after, percent);
            println!("{unhealthy_after} in a row, {percent} %: {calls} of {streaks} streaks, slow {slow} of 20000");
            assert!(calls <= 40, "{unhealthy_after}, {percent} %: {calls} calls, {streaks} streaks");
            assert!(percent < 20 || slow > 16_000, "{unhealthy_after}, {percent} %: slow in {slow}");
            assert!(percent > 5 || slow < 5_000, "{unhealthy_after}, {percent} %: slow in {slow}");
        }
    }
    // Without its history the same target is called so hundreds of times.
    assert!(calls(2, 30).1 > 1_000);
}

#[test]
fn what_mostly_fails_is_called_failing() {
    let (mut target, mut dice) = (Target::new(2), Dice::of(7));
    let failing = (0..2_000).filter(|_| target.take(dice.result(80)) == Failing).count();
    assert!(failing > 1_200, "{failing} of 2,000");
}

#[test]
fn a_clean_target_dies_as_fast_as_its_check_says() {
    for after in [1, 2, 3, 5] {
        assert_eq!(Target::new(after).dies(), usize::from(after));
        // Nor does one outage, long or short, hide the next one,
        for outage in [usize::from(after), 10, 60] {
            let mut target = Target::new(after);
            target.all(&"x".repeat(outage));
            assert_eq!(target.all("......").last(), Some(&Ok), "it returns as one that is well");
            assert_eq!(target.dies(), usize::from(after), "after an outage of {outage}");
        }
        // nor are a few results a rate.
        let mut young = Target { judge: Judge::default(), check: check(after) };
        young.all(".x.x..");
        assert_eq!(young.dies(), usize::from(after));
    }
    // One stray failure takes one result more, where the check asks for two.
    let stray = |after| {
        let mut target = Target::new(after);
        target.all("x..........");
        target.dies()
    };
    assert_eq!((stray(2), stray(3)), (3, 3));
}

#[test]
fn a_death_is_found_while_the_target_errs() {
    for (percent, median, most) in [(10, 4, 8), (30, 7, 10), (45, 10, 10)] {
        let mut took: Vec<usize> = Vec::new();
        for seed in 0..200 {
            let (mut target, mut dice) = (Target::new(2), Dice::of(seed));
            (0..200).for_each(|_| _ = target.take(dice.result(percent)));
            target.take(OK);
            if target.judge.state() != Failing {
                took.push(target.dies());
            }
        }
        took.sort_unstable();
        let (n, found) = (took.len(), (took[took.len() / 2], took[took.len() - 1]));
        println!("{percent} %: of {n} deaths half within {} results, all within {}", found.0, found.1);
        assert!(n > 180 && found.0 <= median && found.1 <= most, "{percent} %: {found:?}, {n}");
    }
}

#[test]
fn erring_begins_at_three_of_twenty_and_ends_at_one() {
    let mut target = Target::new(2);
    assert_eq!(target.all("x...x").last(), Some(&Ok));
    assert_eq!(target.all("...x").last(), Some(&Slow));
    // The last twenty hold two, then one.
    assert_eq!(target.all("...............").last(), Some(&Slow));
    assert_eq!(target.all("....").last(), Some(&Ok));
    // A place that was called failing and answers in part is erring with its first answer, not after three in a row.
    let mut half = Target::new(2);
    assert_eq!(half.all("xx.x.").last(), Some(&Slow), "called failing, and erring since");
    assert!(half.all("x.x.xx.x").iter().all(|s| *s == Slow));
    // Forgotten is forgotten.
    assert!(half.judge.forget());
    assert_eq!(half.all("..........").last(), Some(&Ok));
    assert_eq!(half.dies(), 2);
}

#[test]
fn probes_that_are_lost_on_their_way_make_nobody_erring() {
    let mut target = Target::new(2);
    assert!(target.all(&"-..-.-....".repeat(10)).iter().all(|s| *s == Ok), "one in three is lost");
    // They explain a streak, so that the loss does not accuse it either; a death is found all the same.
    assert_eq!(target.all("--..----.....").last(), Some(&Ok));
    assert!((5..=10).contains(&target.dies()));
    // Silent from the beginning, silent at once: that is no loss.
    let mut hung = Target::new(2);
    assert_eq!(hung.all("--"), [Ok, Failing]);
}

#[test]
fn what_is_kept_of_a_target_does_not_grow() {
    assert!(size_of::<Judge>() <= 64, "{}", size_of::<Judge>());
    let mut target = Target::new(255);
    assert_eq!(target.dies(), 255, "longer than what is kept");
}
