//! Reports in, phases out; time is given.

use super::*;
use crate::input::PlaceLoad;

const S: u64 = 1_000_000_000;

fn report(region: &str, issued: u64, open: u64) -> Vec<ClassLoad> {
    let load = PlaceLoad { region: region.to_owned(), issued, errors: 0, open, timed: 0, took: Millis(0) };
    vec![ClassLoad { class: "pay/eu".to_owned(), interval: Millis(2_000), dropped: 0, places: vec![load] }]
}

fn opened(loads: &mut Loads, stream: u64) {
    loads.take(&LoadIn::Opened { edge: "e1".to_owned(), stream }, Mono(S));
}

fn taken(loads: &mut Loads, stream: u64, classes: Vec<ClassLoad>, now: Mono) {
    let group = "edge-de".to_owned();
    loads.take(&LoadIn::Reported { edge: "e1".to_owned(), group, stream, classes }, now);
}

fn list(loads: &mut Loads, listed: &[&str]) {
    let both = ["aws/a", "gcp/b"].map(str::to_owned);
    let places = listed.iter().map(|r| ("pay/eu".to_owned(), (*r).to_owned())).collect();
    loads.listed = Arc::new(Listed {
        classes: BTreeSet::from(["pay/eu".to_owned()]),
        regions: BTreeSet::from(both),
        by_group: BTreeMap::from([("edge-de".to_owned(), places)]),
    });
}

fn aws(place: &Place) -> bool {
    place.1 == "aws/a"
}

/// One edge that is connected and has reported at 1 s, of a place that is listed.
fn one(issued: u64, open: u64) -> (Loads, BTreeSet<String>) {
    let mut loads = Loads::default();
    list(&mut loads, &["aws/a", "gcp/b"]);
    opened(&mut loads, 1);
    taken(&mut loads, 1, report("aws/a", issued, open), Mono(S));
    (loads, BTreeSet::from(["e1".to_owned()]))
}

fn judge(loads: &Loads, connected: &BTreeSet<String>, now: u64, longest: Option<Millis>) -> Emptying {
    let since = Mono(2 * S);
    let seen = loads.seen(connected, Some(since), Mono(now * S), &aws);
    emptying(&seen, since, Mono(now * S), Millis(20_000), longest)
}

#[test]
fn rates_are_per_second_and_unknown_names_are_not_kept() {
    let (mut loads, connected) = one(7, 2);
    taken(&mut loads, 1, [report("aws/a", 7, 2), report("mars/x", 9, 9)].concat(), Mono(S));
    let seen = loads.seen(&connected, None, Mono(S), &aws);
    assert_eq!((seen.milli_rps, seen.open, seen.reporting), (3_500, 2, 1));
    assert_eq!(loads.by_region(Mono(S)), BTreeMap::from([("aws/a".into(), (3_500, 2)), ("gcp/b".into(), (0, 0))]));
    assert_eq!(loads.seen(&connected, None, Mono(9 * S), &aws).silent, ["e1"], "an old report is none");
}

#[test]
fn a_reported_stream_is_waited_for_until_it_ends() {
    let (mut loads, connected) = one(4, 1);
    taken(&mut loads, 1, report("aws/a", 0, 1), Mono(3 * S));
    assert_eq!((judge(&loads, &connected, 4, None).done, judge(&loads, &connected, 4, None).open), (false, 1));
    taken(&mut loads, 1, report("aws/a", 1, 0), Mono(4 * S));
    assert!(!judge(&loads, &connected, 4, None).done, "a new request came");
    taken(&mut loads, 1, Vec::new(), Mono(5 * S));
    assert_eq!(judge(&loads, &connected, 5, None), Emptying { done: true, open: 0, waits: vec![] });
}

#[test]
fn what_was_open_when_the_place_left_the_list_is_waited_for() {
    let (mut loads, connected) = one(4, 3);
    list(&mut loads, &["gcp/b"]);
    taken(&mut loads, 1, Vec::new(), Mono(3 * S));
    let waits = judge(&loads, &connected, 4, None);
    assert_eq!((waits.done, waits.open), (false, 3));
    assert!(waits.waits[0].contains("e1 (3 open)"), "{waits:?}");
    assert_eq!(waits.waits[1], "the grace for what is open ends in 18 s");
    // Routes with a timeout bound it.
    taken(&mut loads, 1, Vec::new(), Mono(6 * S));
    assert!(!judge(&loads, &connected, 7, Some(Millis(5_000))).done);
    assert!(judge(&loads, &connected, 8, Some(Millis(5_000))).done);
    // Without one the grace does.
    taken(&mut loads, 1, Vec::new(), Mono(21 * S));
    assert!(!judge(&loads, &connected, 21, None).done);
    let over = judge(&loads, &connected, 22, None);
    assert!(over.done && over.open == 3 && over.waits.iter().any(|w| w.contains("has passed")), "{over:?}");
    // Listed again: what Envoy does not report is idle.
    list(&mut loads, &["aws/a", "gcp/b"]);
    taken(&mut loads, 1, Vec::new(), Mono(23 * S));
    assert_eq!(judge(&loads, &connected, 23, None).open, 0);
}

#[test]
fn an_idle_place_is_done_with_the_first_report_after_all_left() {
    let (mut loads, connected) = one(0, 0);
    let before = judge(&loads, &connected, 3, None);
    assert!(!before.done && before.waits[0].contains("next load report of e1"), "{before:?}");
    taken(&mut loads, 1, Vec::new(), Mono(3 * S));
    assert!(judge(&loads, &connected, 3, None).done);
}

#[test]
fn edges_that_do_not_report_are_named() {
    let (mut loads, mut connected) = one(0, 0);
    connected.insert("e2".to_owned());
    taken(&mut loads, 1, Vec::new(), Mono(19 * S));
    let some = judge(&loads, &connected, 20, None);
    assert!(!some.done && some.waits[0].ends_with("cannot be seen: e2"), "{some:?}");
    taken(&mut loads, 1, Vec::new(), Mono(21 * S));
    assert!(judge(&loads, &connected, 22, None).done, "the grace has passed");
    let nobody = judge(&Loads::default(), &connected, 3, None);
    assert!(nobody.done && nobody.waits[0].starts_with("no edge reports"), "{nobody:?}");
}

#[test]
fn the_moment_is_kept_while_the_place_stays_empty() {
    let mut loads = Loads::default();
    loads.note(&[(7, true)], false, Mono(S));
    assert_eq!(loads.emptied(7), None);
    loads.note(&[(7, true)], true, Mono(2 * S));
    loads.note(&[(7, true), (8, false)], true, Mono(3 * S));
    assert_eq!((loads.emptied(7), loads.emptied(8)), (Some(Mono(2 * S)), None));
    loads.note(&[(7, false)], true, Mono(4 * S));
    assert_eq!(loads.emptied(7), None);
}

#[test]
fn a_stream_that_was_replaced_is_not_heard() {
    let (mut loads, connected) = one(0, 1);
    opened(&mut loads, 2);
    taken(&mut loads, 1, report("aws/a", 0, 9), Mono(S));
    loads.take(&LoadIn::Gone { edge: "e1".to_owned(), stream: 1 }, Mono(S));
    taken(&mut loads, 2, report("aws/a", 0, 2), Mono(2 * S));
    assert_eq!(loads.seen(&connected, None, Mono(2 * S), &aws).open, 2);
}

/// An edge that knows its own counts goes on reporting a place that left its list: its word ends the wait at once.
#[test]
fn who_still_reports_a_place_is_waited_for_no_longer_than_it_says() {
    let (mut loads, connected) = one(4, 3);
    list(&mut loads, &["gcp/b"]);
    taken(&mut loads, 1, report("aws/a", 0, 3), Mono(3 * S));
    let waits = judge(&loads, &connected, 3, None);
    assert_eq!((waits.done, waits.open, waits.waits.len()), (false, 3, 1), "{waits:?}");
    taken(&mut loads, 1, report("aws/a", 0, 0), Mono(4 * S));
    assert_eq!(judge(&loads, &connected, 4, None), Emptying { done: true, open: 0, waits: vec![] });
    taken(&mut loads, 1, Vec::new(), Mono(5 * S));
    assert!(judge(&loads, &connected, 5, None).done);
}

/// What counts as listed is what edges are told, or an idle place would be waited for, or an open stream forgotten.
#[test]
fn what_is_listed_here_is_what_translate_lists() {
    let loaded = tidegate_config::load_documents(tidegate_config::example_payroll());
    let fleet = loaded.unwrap_or_else(|faults| panic!("{faults:?}")).fleet;
    let mut plan = Plan { fleet: fleet.revision, ..Plan::default() };
    for class in (0..fleet.classes.len()).map(tidegate_domain::ClassIx::from) {
        for group in (0..fleet.groups.len()).map(tidegate_domain::GroupIx::from) {
            let first = (0..fleet.regions.len()).map(RegionIx::from).find(|r| fleet.permits(class, *r));
            let share = tidegate_domain::Bps::FULL;
            let serving = match fleet.permits_group(class, group) {
                true if group.at() == 1 => Serving::NoPlace,
                true => Serving::Routed { shed: tidegate_domain::Bps::ZERO },
                false => Serving::WrongJurisdiction,
            };
            let weights = first.map(|region| tidegate_domain::Weight { region, share }).into_iter().collect();
            plan.splits.push(tidegate_domain::ClassSplit { class, group, serving, weights, spill: Vec::new() });
        }
    }
    // One region is out as a whole.
    let gone = fleet.endpoints[0].region;
    let out = fleet.endpoints.iter().enumerate().filter(|(_, e)| e.region == gone).map(|(i, _)| EndpointIx::from(i));
    plan.endpoints_out = out.collect();
    let resolved = fleet.endpoints.iter().map(|e| (e.host.to_ascii_lowercase(), vec![[192, 0, 2, 1].into()])).collect();
    let mut loads = Loads::default();
    loads.set(&fleet, &plan);
    let listed = &loads.listed;
    let mut draining = 0;
    for group in tidegate_translate::translate_resolved(&fleet, &plan, &resolved).expect("translates") {
        let mut told: BTreeSet<Place> = BTreeSet::new();
        for (cluster, assignment) in &group.endpoints {
            draining += assignment.endpoints.iter().filter(|l| l.load_balancing_weight.is_none()).count();
            let regions = assignment.endpoints.iter().filter_map(|l| l.locality.as_ref());
            told.extend(regions.map(|l| (cluster.clone(), l.region.clone())));
        }
        let name = fleet.groups[group.group.at()].name.to_string();
        assert_eq!(listed.by_group.get(&name).cloned().unwrap_or_default(), told, "{name}");
    }
    assert!(draining > 0);
}
