//! How long the edges wait for good answers, as evidence: who is blamed for it, what follows, and that it brings nothing down.

mod support;
mod world;

use support::*;
use tidegate_domain::*;
use tidegate_kernel::{cycle, lint, why};
use world::World;

const AWS: &str = "aws/eu-central-1";
const AZURE: &str = "azure/westeurope";

/// What a group's edges measured: 1,000 requests each, 410 ms instead of 20 at those that find it slow.
#[derive(Clone, Copy)]
struct Row {
    group: &'static str,
    place: &'static str,
    edges: u32,
    slow: u32,
    erring: u32,
    failing: u32,
    errors: u64,
}

fn row(place: &'static str, slow: u32) -> Row {
    Row { group: "edge-de", place, edges: 3, slow, erring: 0, failing: 0, errors: 0 }
}

fn traffic(fleet: &Fleet, rows: &[Row]) -> Vec<Traffic> {
    let one = |r: &Row| Traffic {
        service: ServiceIx(0),
        region: region(fleet, r.place),
        group: group(fleet, r.group),
        edges: r.edges,
        erring: r.erring,
        failing: r.failing,
        answered: r.edges - r.failing,
        issued: u64::from(r.edges) * 1_000,
        errors: r.errors,
        slow: r.slow,
        slow_requests: u64::from(r.slow) * 1_000,
        slow_took: Millis(u64::from(r.slow) * 410_000),
        slow_usual: Millis(u64::from(r.slow) * 20_000),
    };
    rows.iter().map(one).collect()
}

fn tick(w: &mut World, ms: u64, rows: &[Row]) -> CycleOutput {
    w.clock += ms;
    let mut input = w.input();
    input.view.traffic = traffic(&w.fleet, rows);
    let output = cycle(&input);
    let faults = lint::check(&input, &output);
    assert!(faults.is_empty(), "{faults:#?}");
    let again = cycle(&CycleInput { state: output.state.clone(), ..input });
    assert_eq!(again.state.plan, output.state.plan, "the same view again changes nothing");
    w.state = output.state.clone();
    output
}

fn health(w: &World, place: &str) -> Health {
    let e = endpoints_in(&w.fleet, region(&w.fleet, place))[0];
    w.state.endpoints[e.at()].health
}

#[test]
fn who_is_slow() {
    let us = |slow| Row { group: "edge-us", ..row(AWS, slow) };
    let quick = row(AZURE, 0);
    let alone = Row { edges: 1, ..row(AWS, 1) };
    let mixed = |errors| Row { erring: 1, errors, ..row(AWS, 1) };
    let (ill, well) = (Health::Degraded, Health::Healthy);
    let cases: [(&str, Vec<Row>, Health); 12] = [
        ("all", vec![row(AWS, 3), quick], ill),
        ("two of three", vec![row(AWS, 2), quick], ill),
        ("one of three", vec![row(AWS, 1), quick], well),
        ("one edge alone", vec![alone, quick], well),
        ("two edges, of whom one finds it slow", vec![Row { edges: 2, ..row(AWS, 1) }, quick], well),
        ("everywhere", vec![row(AWS, 3), row(AZURE, 3)], well),
        ("a sibling errs", vec![row(AWS, 3), Row { erring: 3, errors: 300, ..row(AZURE, 0) }], well),
        ("quick to another group", vec![row(AWS, 3), us(1), quick], well),
        ("slow to both groups", vec![row(AWS, 3), us(2), quick], ill),
        ("nothing else is measured", vec![row(AWS, 3)], ill),
        ("one slow, one erring", vec![mixed(60), quick], ill),
        ("one slow, one with a failure or two", vec![mixed(4), quick], well),
    ];
    for (what, rows, expected) in cases {
        let mut w = World::settled(payroll());
        tick(&mut w, 500, &rows);
        assert_eq!(health(&w, AWS), expected, "{what}");
        assert!(w.state.regions.iter().chain(&w.state.providers).all(|h| h.0 != Health::Down), "{what}");
    }
}

#[test]
fn a_slow_place_is_left_by_steps_and_says_why() {
    let mut w = World::settled(payroll());
    w.run(30_000);
    let cap = w.fleet.rules.share_cap.get();
    let rows = [row(AWS, 3), row(AZURE, 0)];
    let (mut was, start) = (w.share("payroll/eu", "edge-de", AWS), w.clock);
    assert!(was > cap, "more than a step");
    while was > 0 {
        let out = tick(&mut w, 500, &rows);
        let is = w.share("payroll/eu", "edge-de", AWS);
        assert!(is <= was && was - is <= cap, "{was} to {is}");
        if is < was {
            let m = out.report.moves.iter().find(|m| w.fleet.class_name(m.class) == "payroll/eu").unwrap();
            assert_eq!(m.kind, MoveKind::Voluntary);
            assert_eq!(why::sentence(&m.cause, &w.fleet), "3 of 3 edges see 410 ms instead of 20 ms there");
        }
        was = is;
        assert!(w.clock - start <= 12_000, "{was} left");
    }
    let found = &why::findings(&w.state, &w.fleet)[0];
    assert_eq!((found.kind, found.name.as_str(), found.word), ("place", "payroll in aws/eu-central-1", "slow"));
    assert_eq!(found.evidence, "3 of 3 edges see 410 ms instead of 20 ms");
}

#[test]
fn slowness_neither_brings_down_nor_keeps_down() {
    let mut w = World::settled(payroll());
    let fails = Row { failing: 3, errors: 3_000, ..row(AWS, 0) };
    tick(&mut w, 500, &[fails, row(AZURE, 0)]);
    assert_eq!(health(&w, AWS), Health::Down);
    let seen = w.state.blamed[0].seen;
    for _ in 0..118 {
        tick(&mut w, 500, &[row(AWS, 3), row(AZURE, 0)]);
        assert_eq!((w.state.blamed[0].seen, w.state.blamed[0].health), (seen, Health::Down));
    }
    for _ in 0..4 {
        tick(&mut w, 500, &[row(AWS, 3), row(AZURE, 0)]);
    }
    let blame = w.state.blamed[0];
    assert_eq!((blame.health, blame.relapses), (Health::Degraded, 1), "tried, and slow then");
}

/// Failures are held against siblings that are well by what fails: one that is slow under the load of others is still better.
#[test]
fn what_fails_is_left_for_what_is_slow() {
    let mut w = World::settled(payroll());
    let fails = Row { failing: 3, errors: 3_000, ..row(AWS, 0) };
    tick(&mut w, 500, &[fails, row(AZURE, 3)]);
    assert_eq!(health(&w, AWS), Health::Down);
}

#[test]
fn slowness_that_follows_the_traffic_goes_back() {
    // (of three edges, so many find the others slow once they took a step; it goes on)
    for (slow, goes_on) in [(3, false), (1, true)] {
        let mut w = World::settled(payroll());
        w.run(30_000);
        let places: Vec<&'static str> = w.fleet.regions.iter().map(|r| &*r.name.to_string().leak()).collect();
        let at =
            |others: u32| -> Vec<Row> { places.iter().map(|p| row(p, if *p == AWS { 3 } else { others })).collect() };
        let (start, began) = (w.share("payroll/eu", "edge-de", AWS), w.clock);
        while w.share("payroll/eu", "edge-de", AWS) == start {
            tick(&mut w, 500, &at(0));
            assert!(w.clock < began + 30_000, "no first step");
        }
        let after_one = w.share("payroll/eu", "edge-de", AWS);
        assert!(after_one > 0, "a second step is left to take");
        let mut told = false;
        for _ in 0..80 {
            let out = tick(&mut w, 500, &at(slow));
            let is = w.share("payroll/eu", "edge-de", AWS);
            assert!(goes_on || is >= after_one, "it goes no further");
            told |= out.report.moves.iter().any(|m| matches!(m.cause, Reason::Followed { .. }));
        }
        assert_eq!(told, !goes_on, "and says why");
        assert_eq!(w.share("payroll/eu", "edge-de", AWS), if goes_on { 0 } else { start });
    }
}
