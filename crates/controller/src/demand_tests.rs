//! Counts in, levels out; time is given.

use super::*;
use crate::input::PlaceLoad;

const S: u64 = 1_000_000_000;

fn fleet() -> Fleet {
    tidegate_config::load_documents(tidegate_config::example_payroll()).unwrap_or_else(|f| panic!("{f}")).fleet
}

fn load(class: &str, issued: u64, errors: u64, dropped: u64) -> ClassLoad {
    let places =
        vec![PlaceLoad { region: "aws/us-east-1".to_owned(), issued, errors, open: 0, timed: 0, took: Millis(0) }];
    ClassLoad { class: class.to_owned(), interval: Millis(1_000), dropped, places }
}

/// The levels after each second of the given requests, all of `payroll/eu` at `edge-de`, which declares 90 a second.
fn levels(per_second: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let (fleet, mut demand) = (fleet(), Demand::default());
    let told = per_second.into_iter().zip(100_u64..).map(|(count, second)| {
        // Reports come at no full second.
        let now = Mono(second * S + 337_000_000);
        demand.take(&fleet, "edge-de", &[load("payroll/eu", count, 0, 0)], now);
        demand.settle(&fleet, now);
        demand.measured(&fleet).first().map_or(0, |m| m.2.0)
    });
    told.collect()
}

#[test]
fn what_was_declared_and_a_little_more_is_no_news() {
    assert!(levels([100; 40]).iter().all(|l| *l == 0), "11 % above");
    let far = levels([180; 40]);
    assert_eq!(far[..4], [0; 4], "one window, not one second");
    assert_eq!((far[15], far[39]), (180_224, 180_224));
}

#[test]
fn noise_moves_no_level() {
    // Five per cent up and down, in bursts of whole windows.
    let noisy = (0_u64..400)
        .map(|i| 180 + [0, 9, 4, 0, 7, 3][(i / 12 % 6) as usize] - [0, 0, 5, 9, 2, 0][(i / 7 % 6) as usize]);
    let settled = levels(noisy).split_off(100);
    assert!(settled.iter().all(|l| *l == settled[0]), "{settled:?}");
}

#[test]
fn it_rises_at_once_falls_late_and_ends_with_the_reports() {
    let told =
        levels(std::iter::repeat_n(180, 30).chain(std::iter::repeat_n(360, 20)).chain(std::iter::repeat_n(0, 40)));
    assert!(told[43] >= 360_000, "{told:?}");
    assert_eq!(told[51], told[49], "held at first");
    assert_eq!(told[89], 0, "stale: what was declared stands");
}

#[test]
fn what_was_shed_is_demand_and_what_was_tried_in_vain_is_not() {
    let (fleet, mut demand) = (fleet(), Demand::default());
    for second in 100..120 {
        let now = Mono(second * S);
        let both = [load("payroll/eu", 90, 0, 110), load("payroll/us", 400, 390, 0)];
        demand.take(&fleet, "edge-de", &both, now);
        demand.take(&fleet, "nowhere", &both, now);
        demand.take(&fleet, "edge-de", &[load("no/class", 900, 0, 0)], now);
        demand.settle(&fleet, now);
    }
    let told = demand.measured(&fleet);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((fleet.class_name(told[0].0).as_str(), told[0].2), ("payroll/eu", MilliRps(204_800)));
}

#[test]
fn a_new_declaration_starts_anew() {
    let (old, mut demand) = (fleet(), Demand::default());
    for second in 100..120 {
        demand.take(&old, "edge-de", &[load("payroll/eu", 180, 0, 0)], Mono(second * S));
        demand.settle(&old, Mono(second * S));
    }
    let mut new = fleet();
    demand.turn(&old, &new);
    assert_eq!(demand.measured(&new).len(), 1, "the same declaration");
    let class = super::class(&new, "payroll/eu").map_or(0, ClassIx::at);
    new.classes[class].demand[0].load = MilliRps(200_000);
    demand.turn(&old, &new);
    assert!(demand.measured(&new).is_empty());
}
