//! Unit tests of the room's parts; the rule as a whole is held by `tests/electorate.rs`.

use super::electorate::Finding;
use super::memory::{Census, PRESUMED_WELL, provider_health, step};
use tidegate_domain::{EndpointHealth, Health, Millis, Mono, ServiceIx};

const DOWN: Finding = Finding::Down { strong: false };
const UP_AFTER: Millis = Millis(4_500);

fn at(ms: u64) -> Mono {
    Mono(1_000_000_000_000) + Millis(ms)
}
fn was(health: Health, since: u64, well_since: Option<Mono>) -> EndpointHealth {
    EndpointHealth { health, since: at(since), well_since }
}

#[test]
fn the_first_judgement_needs_no_wait() {
    for (finding, health) in [
        (Finding::Well, Health::Healthy),
        (Finding::Slow, Health::Degraded),
        (DOWN, Health::Down),
        (Finding::Open, Health::Unknown),
    ] {
        assert_eq!(step(&EndpointHealth::default(), finding, at(0), UP_AFTER).health, health);
    }
}

#[test]
fn unknown_does_not_wash_a_down_clean() {
    let unknown = step(&was(Health::Down, 0, None), Finding::Open, at(1), UP_AFTER);
    assert_eq!((unknown.health, unknown.well_since), (Health::Unknown, None));
    let back = step(&was(Health::Unknown, 1, None), Finding::Well, at(2), UP_AFTER);
    assert_eq!((back.health, back.well_since, back.wake), (Health::Unknown, Some(at(2)), Some(at(4_502))));
    let well = step(&was(Health::Unknown, 1, Some(at(2))), Finding::Well, at(4_502), UP_AFTER);
    assert_eq!(well.health, Health::Healthy);
}

#[test]
fn silence_about_the_healthy_is_forgiven_at_once() {
    let unknown = step(&was(Health::Healthy, 0, None), Finding::Open, at(1), UP_AFTER);
    assert_eq!((unknown.health, unknown.well_since), (Health::Unknown, Some(PRESUMED_WELL)));
    let back = step(&was(Health::Unknown, 1, Some(PRESUMED_WELL)), Finding::Well, at(2), UP_AFTER);
    assert_eq!(back.health, Health::Healthy);
}

#[test]
fn few_voices_keep_what_was_well_and_raise_nothing() {
    assert_eq!(step(&was(Health::Healthy, 0, None), Finding::Thin, at(1), UP_AFTER).health, Health::Healthy);
    let down = step(&was(Health::Down, 0, Some(at(0))), Finding::Thin, at(9_000), UP_AFTER);
    assert_eq!((down.health, down.well_since), (Health::Unknown, None));
}

#[test]
fn few_voices_make_nothing_healthy_that_was_never_judged() {
    let mut was = EndpointHealth::default();
    for ms in [0, 500, 1_000] {
        let thin = step(&was, Finding::Thin, at(ms), UP_AFTER);
        assert_eq!(thin.health, Health::Unknown);
        was = EndpointHealth { health: thin.health, since: at(0), well_since: thin.well_since };
    }
    // the first word of a quorum still counts at once
    assert_eq!(step(&was, Finding::Well, at(1_500), UP_AFTER).health, Health::Healthy);
    assert_eq!(step(&was, Finding::Slow, at(1_500), UP_AFTER).health, Health::Degraded);
}

#[test]
fn a_break_starts_the_way_up_anew() {
    let down = was(Health::Down, 0, Some(at(100)));
    assert_eq!(step(&down, DOWN, at(200), UP_AFTER).well_since, None);
    assert_eq!(step(&down, Finding::Slow, at(200), UP_AFTER).well_since, None);
    assert_eq!(step(&down, Finding::Slow, at(4_500), UP_AFTER).health, Health::Degraded);
}

#[test]
fn a_region_falls_over_two_services() {
    let census = |healths: &[(u32, Health)]| {
        let mut c = Census::default();
        for (s, h) in healths {
            c.add(ServiceIx(*s), *h);
        }
        c.health()
    };
    use Health::{Degraded, Down, Healthy, Unknown};
    for (healths, expected) in [
        (vec![], Healthy),
        (vec![(0, Down), (0, Down)], Down),
        (vec![(0, Down), (0, Healthy)], Healthy),
        (vec![(0, Down), (0, Unknown)], Unknown),
        (vec![(0, Down), (0, Degraded)], Degraded),
        (vec![(0, Down), (0, Down), (0, Down), (0, Healthy), (0, Healthy)], Down),
        // Service 0 is broken there; the region is not, for service 1 is well.
        (vec![(0, Down), (0, Down), (0, Down), (1, Healthy), (1, Healthy)], Healthy),
        (vec![(0, Down), (0, Down), (0, Down), (1, Down), (1, Healthy)], Down),
        (vec![(0, Unknown), (0, Unknown), (0, Healthy)], Unknown),
    ] {
        assert_eq!(census(&healths), expected, "{healths:?}");
    }
}

#[test]
fn a_provider_falls_with_two_regions_or_all() {
    use Health::{Degraded, Down, Healthy, Unknown};
    for (regions, expected) in [
        (vec![], Healthy),
        (vec![Down], Down),
        (vec![Down, Healthy], Healthy),
        (vec![Down, Down, Healthy, Healthy], Down),
        (vec![Down, Unknown], Unknown),
        (vec![Unknown, Healthy, Healthy], Healthy),
        (vec![Degraded, Down], Degraded),
    ] {
        assert_eq!(provider_health(regions.iter().copied()), expected, "{regions:?}");
    }
}
