//! Reports in, counts out; time is given.

use super::*;
use crate::input::{ClassLoad, PlaceLoad};
use tidegate_domain::Millis;

fn fleet() -> Fleet {
    tidegate_config::load_documents(tidegate_config::example_payroll()).unwrap().fleet
}

fn at(ms: u64) -> Mono {
    Mono(1_000_000_000_000) + Millis(ms)
}

fn report(edge: &str, region: &str, issued: u64, errors: u64) -> LoadIn {
    let places = vec![PlaceLoad { region: region.to_owned(), issued, errors, open: 0, timed: 0, took: Millis(0) }];
    let class =
        |name: &str| ClassLoad { class: name.to_owned(), interval: Millis(1_000), dropped: 0, places: places.clone() };
    // two classes of one service are one place
    let classes = vec![class("payroll/eu"), class("payroll/open"), class("nothing/known")];
    LoadIn::Reported { edge: edge.to_owned(), group: "edge-de".to_owned(), stream: 1, classes }
}

#[test]
fn edges_count_by_what_they_saw_and_only_with_enough() {
    let fleet = fleet();
    let mut window = Window::default();
    for (edge, issued, errors) in [("a", 10, 10), ("b", 100, 5), ("c", 100, 4), ("d", 9, 9), ("e", 0, 10)] {
        window.take(&fleet, &report(edge, "aws/eu-central-1", issued, errors), at(0));
    }
    window.take(&fleet, &report("a", "mars/x", 100, 100), at(0));
    let traffic = window.traffic(at(5_000));
    assert_eq!(traffic.len(), 1);
    let t = traffic[0];
    // `d` sent 18; `e` told of failures alone, which it must have sent before
    assert_eq!((t.edges, t.failing, t.erring), (4, 2, 1));
    assert_eq!((t.issued, t.errors), (20 + 200 + 200 + 20, 20 + 10 + 8 + 20));
}

#[test]
fn what_is_old_is_forgotten() {
    let fleet = fleet();
    let mut window = Window::default();
    window.take(&fleet, &report("a", "aws/eu-central-1", 50, 50), at(0));
    window.take(&fleet, &report("a", "aws/eu-central-1", 50, 0), at(3_000));
    assert_eq!(window.traffic(at(5_000))[0].errors, 100);
    assert_eq!(window.traffic(at(5_001))[0].errors, 0);
    window.forget(at(8_001));
    assert!(window.edges.is_empty() && window.traffic(at(8_001)).is_empty());
}

/// An edge that ejects a place after its first failures sends nothing more there: what it found must not drown in what went
/// well before.
#[test]
fn what_an_edge_found_last_speaks_once_it_has_stood() {
    let fleet = fleet();
    let place = "aws/eu-central-1";
    let told = |last: &[(u64, u64)], asked: u64| {
        let mut window = Window::default();
        for second in 0..4 {
            window.take(&fleet, &report("a", place, 200, 0), at(second * 1_000));
        }
        for (i, (issued, errors)) in last.iter().enumerate() {
            window.take(&fleet, &report("a", place, *issued, *errors), at(4_000 + i as u64 * 1_000));
        }
        let t = window.traffic(at(asked))[0];
        (t.erring, t.failing, t.errors)
    };
    // Two classes of one service: all counts twice. 18 of 60 failed, then nothing was sent.
    assert_eq!(told(&[(60, 18), (0, 0)], 5_000), (0, 0, 36), "it has not stood for two seconds");
    assert_eq!(told(&[(60, 18), (0, 0), (0, 0)], 6_000), (1, 0, 36));
    assert_eq!(told(&[(60, 40), (0, 0), (0, 0)], 6_000), (0, 1, 80));
    // What goes well again ends it; a few requests say nothing.
    assert_eq!(told(&[(60, 18), (60, 0), (0, 0)], 6_000).0, 0);
    assert_eq!(told(&[(9, 9), (0, 0), (0, 0)], 6_000), (0, 0, 18));
}

/// One that has ejected a place, or has fallen silent itself, gets no answers there, whatever it got just before.
#[test]
fn an_edge_gets_answers_by_its_newest_report_alone() {
    let fleet = fleet();
    let place = "aws/eu-central-1";
    let told = |last: Option<(u64, u64)>, asked: u64| {
        let mut window = Window::default();
        for second in 0..4 {
            window.take(&fleet, &report("a", place, 200, 0), at(second * 1_000));
        }
        if let Some((issued, errors)) = last {
            window.take(&fleet, &report("a", place, issued, errors), at(4_000));
        }
        let t = window.traffic(at(asked))[0];
        (t.edges, t.answered)
    };
    assert_eq!(told(None, 4_500), (1, 1));
    assert_eq!(told(None, 4_501), (1, 0), "it is silent");
    assert_eq!(told(Some((10, 4)), 4_000), (1, 1));
    assert_eq!(told(Some((10, 5)), 4_000), (1, 0));
    assert_eq!(told(Some((0, 0)), 4_000), (1, 0), "it sent nothing there");
}

#[test]
fn a_slow_edge_is_one_that_does_not_err_and_blame_stops_the_learning() {
    let fleet = fleet();
    let told = |edge: &str, errors: u64, ms: u64| {
        let mut load = report(edge, "aws/eu-central-1", 50, errors);
        let LoadIn::Reported { classes, .. } = &mut load else { unreachable!() };
        for place in classes.iter_mut().flat_map(|c| &mut c.places) {
            (place.timed, place.took) = (50, Millis(50 * ms));
        }
        load
    };
    let mut window = Window::default();
    let mut second = |s: u64, ms: u64, blamed: &[Blame]| {
        for (edge, errors) in [("a", 0), ("b", 0), ("c", 5)] {
            window.take(&fleet, &told(edge, errors, ms), at(s * 1_000));
        }
        window.forget(at(s * 1_000));
        window.learn(blamed, at(s * 1_000));
        window.traffic(at(s * 1_000))[0]
    };
    let mut last = (0..40).map(|s| second(s, 20, &[])).last().unwrap();
    assert_eq!((last.edges, last.erring, last.slow, last.slow_requests), (3, 1, 0, 0));
    let blame = Blame {
        service: last.service,
        region: last.region,
        health: Health::Degraded,
        since: at(0),
        seen: at(0),
        relapses: 0,
        against: 2,
        edges: 3,
        rate: tidegate_domain::Bps::ZERO,
        slowness: None,
    };
    for s in 40..1_000 {
        last = second(s, 400, &[blame]);
    }
    assert_eq!((last.edges, last.erring, last.slow), (3, 1, 2), "the third errs");
    assert_eq!((last.slow_requests, last.slow_took, last.slow_usual), (1_200, Millis(480_000), Millis(24_000)));
    // Once it is over, what lasts becomes what is usual.
    let over = Blame { health: Health::Healthy, ..blame };
    for s in 1_000..2_000 {
        last = second(s, 400, &[over]);
    }
    assert_eq!(last.slow, 0);
}
