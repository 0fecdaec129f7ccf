//! What the loop knows besides verdicts: words and probes of providers' APIs, and members that the gossip has lost.

mod world;

use tidegate_controller::*;
use tidegate_domain::*;
use world::*;

fn settled() -> World {
    World::settled(payroll(&[]))
}
fn say(trouble: Option<bool>, lasting: u64) -> Ask {
    Ask::ProviderApi { provider: "aws".to_owned(), trouble, lasting: Millis(lasting) }
}
fn findings(w: &World) -> Vec<String> {
    w.model().findings().into_iter().map(|f| format!("{} {} {}", f.kind, f.name, f.word)).collect()
}

#[test]
fn a_word_on_an_api_holds_what_is_asked_for_and_ends_by_itself() {
    let mut w = settled();
    w.run(40_000);
    let stood = w.carried("aws");
    assert!(stood > 0 && w.ask(say(Some(true), 60_000)).unwrap().changed);
    w.run(1_000);
    assert_eq!(findings(&w), ["api aws in trouble"]);
    let denial = w.ask(drain("aws")).unwrap_err();
    assert!(denial.kind == DenialKind::Unsafe && denial.why.contains("the API of aws is in trouble"), "{denial:?}");
    w.run(56_000);
    assert_eq!(w.told_of("alarm").iter().filter(|t| t.text.contains("word on the API of aws ends in")).count(), 1);
    assert_eq!(w.model().override_ends(w.now().wall)["api_word"].map(|e| (e - w.now().wall).0 > 0), Some(true));
    w.run(6_000);
    assert!(findings(&w).is_empty());
    let (said, told) = (w.told_of("api"), w.told_of("finding"));
    let texts: Vec<&str> = said.iter().map(|t| t.text.as_str()).collect();
    assert!(texts[0].starts_with("ann said that the API of aws is in trouble until"), "{texts:?}");
    assert!(texts[1].starts_with("expiry ended the word on the API of aws"), "{texts:?}");
    assert_eq!(told.len(), 2, "begun and over");
    w.ask(drain("aws")).unwrap();
    w.until(60_000, "aws empty", |w| w.carried("aws") == 0);
    checks::whole(&w).unwrap();
}

#[test]
fn a_word_outlives_a_restart_and_is_taken_back() {
    let mut w = settled();
    w.ask(say(Some(true), 3_600_000)).unwrap();
    w.restart();
    w.run(10_000);
    assert_eq!(findings(&w), ["api aws in trouble"]);
    assert!(w.ask(say(None, 1)).unwrap().changed);
    w.run(1_000);
    assert!(findings(&w).is_empty());
    assert!(!w.ask(say(None, 1)).unwrap().changed, "nothing to take back");
    checks::whole(&w).unwrap();
}

#[test]
fn words_that_make_no_sense_are_refused() {
    let mut w = settled();
    let unknown = Ask::ProviderApi { provider: "awz".to_owned(), trouble: Some(true), lasting: Millis(60_000) };
    assert_eq!(w.ask(unknown).unwrap_err().kind, DenialKind::NotFound);
    for lasting in [0, 8 * 86_400_000] {
        let denial = w.ask(say(Some(true), lasting)).unwrap_err();
        assert!(denial.kind == DenialKind::BadRequest && denial.lift.contains("1s to 7d"), "{denial:?}");
    }
}

#[test]
fn probed_apis_are_heard_over_a_reload_and_by_a_quorum() {
    let probed = payroll(&[(
        "name: aws\nspec: {}",
        "name: aws\nspec: { apiStatus: { url: \"https://api.aws.example/ping\" } }",
    )]);
    let mut w = World::settled(probed);
    let at = w.fleet().endpoints.len();
    for v in 2..8 {
        let mut report = w.report(v);
        report.sequence += 1_000;
        report.targets.push(TargetState::Failing);
        report.rtt.push(RttClass(15));
        assert_eq!(report.targets.len(), at + 1);
        w.feed(vec![Input::Report(report)]);
    }
    w.run(200);
    assert_eq!(findings(&w), ["api aws in trouble"]);
    let evidence = &w.model().findings()[0].evidence;
    assert!(evidence.starts_with("6 of 6 eligible probers outside it"), "{evidence}");
}

#[test]
fn lost_members_whose_places_are_well_are_a_cut_and_no_verdict() {
    let mut w = settled();
    w.run(20_000);
    let names = |w: &World, but: &[&str]| {
        let all = w.fleet().vantages.iter().map(|v| v.name.to_string()).collect::<Vec<_>>();
        Input::Members(all.into_iter().filter(|n| !but.contains(&n.as_str())).collect())
    };
    let (stood, all) = (w.plan(), names(&w, &[]));
    w.feed(vec![all]);
    let one = names(&w, &["gcp-1"]);
    w.feed(vec![one]);
    w.run(2_000);
    assert!(findings(&w).is_empty(), "one may have died");
    let two = names(&w, &["gcp-1", "azure-1"]);
    w.feed(vec![two]);
    w.run(2_000);
    assert_eq!(findings(&w), ["gossip of this server cut"]);
    let evidence = w.model().findings()[0].evidence.clone();
    assert_eq!(evidence, "2 of 8 probers are lost to it while their places are seen well: azure-1, gcp-1");
    assert_eq!(w.plan(), stood, "nothing moves");
    w.run(61_000);
    assert!(w.model().alarms.iter().any(|a| a.alarm == Alarm::Partition), "{:?}", w.model().alarms);
    let all = names(&w, &[]);
    w.feed(vec![all]);
    w.run(2_000);
    assert!(findings(&w).is_empty());
    checks::whole(&w).unwrap();
}

#[test]
fn an_outage_is_no_cut() {
    let mut w = settled();
    w.run(20_000);
    let heard = |w: &World, cloud: &str| {
        let all = w.fleet().vantages.iter().map(|v| v.name.to_string()).collect::<Vec<_>>();
        Input::Members(all.into_iter().filter(|n| cloud.is_empty() || !n.starts_with(cloud)).collect())
    };
    let all = heard(&w, "");
    w.feed(vec![all]);
    w.kill("aws");
    w.run(3_000);
    let fewer = heard(&w, "aws");
    w.feed(vec![fewer]);
    let cut = |w: &World| findings(w).iter().any(|f| f.starts_with("gossip"));
    for _ in 0..20 {
        w.run(1_000);
        assert!(!cut(&w), "{:?}", findings(&w));
    }
    // it comes back, and its probers are heard again some seconds after the place is well
    w.dead.clear();
    for _ in 0..12 {
        w.run(1_000);
        assert!(!cut(&w), "{:?}", findings(&w));
    }
}

#[test]
fn how_long_a_down_took_is_counted_from_the_first_report_against_it() {
    let mut w = settled();
    w.run(20_000);
    assert!(w.detected.is_empty(), "nothing was called down that lived: {:?}", w.detected);
    w.kill("aws");
    let died = w.clock;
    w.until(4_000, "aws down", |w| w.carried("aws") == 0);
    let took = Millis(w.clock - died);
    let of = |what: &str| w.detected.iter().filter(|d| d.0 == what).map(|d| d.1).max();
    for what in ["provider", "region", "endpoint"] {
        let after = of(what).unwrap_or_else(|| panic!("no {what}: {:?}", w.detected));
        assert!(after > Millis(0) && after < took, "{what} {after} of {took}");
    }
    // it comes back, is called well, and its next loss is counted anew
    let (first, regions) = (w.detected.len(), w.detected.iter().filter(|d| d.0 == "region").count());
    w.dead.clear();
    w.run(30_000);
    assert_eq!(w.detected.len(), first);
    w.kill("aws");
    w.run(5_000);
    assert_eq!(w.detected.iter().filter(|d| d.0 == "region").count(), 2 * regions);
}
