//! Times in, slowness out; the clock is given.

use super::*;

const PLACE: (ServiceIx, RegionIx) = (ServiceIx(0), RegionIx(2));
const S: u64 = 1_000;

fn at(ms: u64) -> Mono {
    Mono(1_000_000_000_000) + Millis(ms)
}

/// Every second from `from` to `to`, in seconds, two edges say of 20 answers each that they took `ms`; learned as the loop does.
fn seconds(times: &mut Times, from: u64, to: u64, ms: u64, blamed: &BTreeSet<(ServiceIx, RegionIx)>) {
    for s in from..to {
        for edge in ["a", "b"] {
            times.take(edge, GroupIx(0), Timed::from([(PLACE, (20, 20 * ms))]), at(s * S));
        }
        times.forget(at(s * S));
        times.learn(blamed, at(s * S));
    }
}

fn usual(times: &Times) -> u64 {
    times.usual[&(GroupIx(0), PLACE.0, PLACE.1)].us / 1_000
}

#[test]
fn slow_is_three_times_the_usual_and_fifty_ms_more() {
    // what is usual, what it takes now, whether that is slow
    let cases = [
        (20, 71, true),
        (20, 70, false),
        (20, 61, false),
        (100, 301, true),
        (100, 300, false),
        (1, 52, true),
        (1, 51, false),
    ];
    for (usual, now, slow) in cases {
        let mut times = Times::default();
        seconds(&mut times, 0, 40, usual, &BTreeSet::new());
        // nothing of the time before is in the window
        seconds(&mut times, 50, 51, now, &BTreeSet::from([PLACE]));
        let found = times.slow("a", PLACE, at(50 * S));
        let told = Slow { requests: 20, took: Millis(20 * now), usual: Millis(20 * usual) };
        assert_eq!(found, slow.then_some(told), "{usual} {now}");
        assert_eq!(times.slow("c", PLACE, at(50 * S)), None, "an edge that said nothing");
        assert_eq!(times.slow("a", (PLACE.0, RegionIx(3)), at(50 * S)), None, "another place");
    }
}

#[test]
fn few_answers_and_few_windows_say_nothing() {
    let mut times = Times::default();
    // windows are learned at 0, 5, 10, 15, 20 s: one less than is asked for
    seconds(&mut times, 0, 25, 20, &BTreeSet::new());
    let later = |times: &Times, n: u64| {
        let mut times = times.clone();
        times.take("a", GroupIx(0), Timed::from([(PLACE, (n, n * 900))]), at(40 * S));
        times.slow("a", PLACE, at(40 * S)).is_some()
    };
    assert!(!later(&times, 20));
    seconds(&mut times, 25, 26, 20, &BTreeSet::new());
    assert!(later(&times, 20) && !later(&times, 19));
}

#[test]
fn what_is_blamed_is_not_learned_and_what_lasts_is() {
    let mut times = Times::default();
    seconds(&mut times, 0, 400, 20, &BTreeSet::new());
    seconds(&mut times, 400, 2_000, 400, &BTreeSet::from([PLACE]));
    assert_eq!(usual(&times), 20);
    assert!(times.slow("a", PLACE, at(1_999 * S)).is_some());
    // Nobody blames it: the same everywhere, it may be. After a while that is what is usual.
    seconds(&mut times, 2_000, 2_060, 400, &BTreeSet::new());
    assert!((20..40).contains(&usual(&times)), "{}", usual(&times));
    assert!(times.slow("a", PLACE, at(2_059 * S)).is_some());
    seconds(&mut times, 2_060, 2_700, 400, &BTreeSet::new());
    assert_eq!(times.slow("a", PLACE, at(2_699 * S)), None, "{}", usual(&times));
}

#[test]
fn a_moment_just_after_the_beginning_pulls_little() {
    let mut times = Times::default();
    seconds(&mut times, 0, 30, 20, &BTreeSet::new());
    seconds(&mut times, 30, 36, 2_000, &BTreeSet::new());
    assert!(usual(&times) < 40, "{}", usual(&times));
}

#[test]
fn what_is_usual_goes_with_the_names() {
    let old = tidegate_config::load_documents(tidegate_config::example_payroll()).unwrap().fleet;
    let mut new = old.clone();
    new.regions.swap(2, 3);
    let mut times = Times::default();
    seconds(&mut times, 0, 40, 20, &BTreeSet::new());
    times.turn(&old, &new);
    let keys: Vec<_> = times.usual.keys().copied().collect();
    assert_eq!(keys, [(GroupIx(0), PLACE.0, RegionIx(3))]);
    assert!(times.edges.is_empty());
}
