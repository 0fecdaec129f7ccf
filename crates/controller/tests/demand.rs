//! Demand that the edges measure: an overload that nobody declared, noise, and reports that end.

mod world;

use tidegate_controller::*;
use tidegate_domain::*;
use world::*;

/// One edge per group reports, each second, so many per cent of what is declared; for so many seconds.
fn report(w: &mut World, seconds: u64, per_cent: impl Fn(u64) -> u64) {
    let fleet = w.fleet();
    for second in 0..seconds {
        for (g, group) in fleet.groups.iter().enumerate() {
            let load = |c: usize| {
                let declared = fleet.demand(ClassIx::from(c), GroupIx::from(g)).0;
                let issued = declared * per_cent(second) / 100_000;
                let places = vec![PlaceLoad {
                    region: "aws/us-east-1".to_owned(),
                    issued,
                    errors: 0,
                    open: 0,
                    timed: 0,
                    took: Millis(0),
                }];
                ClassLoad { class: fleet.class_name(ClassIx::from(c)), interval: Millis(1_000), dropped: 0, places }
            };
            let classes = (0..fleet.classes.len()).map(load).collect();
            let (edge, group) = (format!("edge-{g}"), group.name.to_string());
            w.feed(vec![Input::Load(LoadIn::Reported { edge, group, stream: 1, classes })]);
        }
        w.run(1_000);
    }
}

fn shed(w: &World, class: &str, group: &str) -> u16 {
    match w.split(class, group).serving {
        Serving::Routed { shed } => shed.get(),
        Serving::WrongJurisdiction | Serving::NoPlace => 0,
    }
}

#[test]
fn an_overload_that_nobody_declared_sheds_the_low_class_only_until_the_reports_end() {
    let mut w = World::settled(payroll(&[]));
    let before = w.plan();
    report(&mut w, 20, |_| 100);
    assert_eq!(w.plan(), before, "as declared");
    report(&mut w, 25, |_| 440);
    assert!(shed(&w, "payroll/open", "edge-de") > 0, "{:?}", w.model().reports.len());
    assert_eq!(shed(&w, "payroll/eu", "edge-de"), 0);
    // What is decided from it replays from its own record.
    checks::whole(&w).unwrap();
    let generation = w.published.last().unwrap().generation;
    report(&mut w, 60, |second| 434 + (second * 7) % 13);
    assert_eq!(w.published.last().unwrap().generation, generation, "noise moves no weight");
    w.run(60_000);
    assert_eq!(shed(&w, "payroll/open", "edge-de"), 0, "stale reports are none: what was declared stands");
    checks::whole(&w).unwrap();
}
