//! The simulator itself: same seed, same bytes; files that do not fit are refused with their mend; the shipped scenarios
//! hold, and watchers trip on what they watch for.

use crate::run::{self, Outcome};
use crate::scenario::Scenario;
use crate::units::{MILLI, SECOND};
use crate::world::World;
use std::path::Path;
use tidegate_controller::ReportIn;
use tidegate_domain::{Accused, Health, Mono, Name, TargetState, VantageSelf, Verdict};

fn shipped(name: &str) -> Scenario {
    Scenario::read(&Path::new(crate::SHIPPED).join(format!("{name}.yaml"))).unwrap()
}

fn play(scenario: &Scenario, seed: u64) -> Outcome {
    run::run(scenario, &run::fleet(scenario).unwrap(), seed, false).unwrap()
}

const SHORT: &str = "apiVersion: tidegate/v1
kind: Scenario
name: short
spec:
  about: for tests
  lasts: 90s
  network: { delay: 1ms..2ms, jitter: 1ms, loss: 1 % }
  faults:
    - { at: 35s, lasts: 40s, what: down, of: aws, how: refuse }
  expect: { falseVerdicts: 0, verdictWithin: 4s, movedWithin: 4s }
";

fn short(changes: &[(&str, &str)]) -> anyhow::Result<Scenario> {
    let mut text = SHORT.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    Scenario::parse(&text, Path::new("short.yaml"))
}

#[test]
fn one_seed_gives_one_trace() {
    let scenario = short(&[]).unwrap();
    let (first, again, other) = (play(&scenario, 7), play(&scenario, 7), play(&scenario, 8));
    assert_eq!((first.hash, first.events), (again.hash, again.events));
    assert_ne!(first.hash, other.hash);
    assert_eq!(first.broken, Vec::<String>::new());
    assert!(first.events > 10_000 && first.verdicts > 0 && first.replayed > 0, "{first:?}");
    assert!(first.losses.len() == 1 && first.losses[0].found.is_some(), "{:?}", first.losses);
}

#[test]
fn an_expectation_that_cannot_be_met_is_reported() {
    let scenario = short(&[("verdictWithin: 4s", "verdictWithin: 300ms"), ("movedWithin: 4s", "moves: 0")]).unwrap();
    let broken = play(&scenario, 1).broken;
    assert!(broken.iter().any(|b| b.contains("aws") && b.contains("its verdict came after")), "{broken:?}");
    assert!(broken.iter().any(|b| b.contains("moves, expected at most 0")), "{broken:?}");
}

#[test]
fn a_verdict_on_what_is_well_counts_as_false() {
    let scenario = short(&[]).unwrap();
    let candidate = run::fleet(&scenario).unwrap();
    let fleet = candidate.fleet.clone();
    let mut world = World::new(&scenario, candidate, 1, false).unwrap();
    let down = |name: &str| Verdict {
        accused: Accused::Provider(fleet.provider(&Name::new(name).unwrap()).unwrap()),
        health: Health::Down,
        since: Mono(0),
        electorate: 6,
        eligible: 6,
        agreeing: 6,
        agreeing_providers: 3,
        votes: Vec::new(),
    };
    // In the middle of the fault: AWS is down, Azure is well.
    world.run_until(50 * SECOND).unwrap();
    assert_eq!(world.watch.false_verdicts, 0);
    world.watch.verdict(&fleet, &down("aws"), Mono(u64::MAX), 50 * SECOND);
    assert_eq!(world.watch.false_verdicts, 0);
    assert!(
        world.watch.faults.iter().all(|f| f.contains("I15: aws")),
        "no report bears it out: {:?}",
        world.watch.faults
    );
    world.watch.verdict(&fleet, &down("azure"), Mono(u64::MAX), 50 * SECOND);
    assert_eq!((world.watch.false_verdicts, world.watch.false_region_verdicts), (1, 1));
    let unmet = world.watch.unmet(&fleet, 0);
    assert!(unmet.iter().any(|u| u.contains("1 Down verdicts on what was well")), "{unmet:?}");
}

/// A verdict is told a write after it was made; what it was made of may have grown stale since, and more may have been fresh
/// before.
#[test]
fn a_verdict_is_held_against_what_was_fresh_when_it_was_made() {
    let scenario = short(&[]).unwrap();
    let candidate = run::fleet(&scenario).unwrap();
    let fleet = candidate.fleet.clone();
    let place = fleet.regions.iter().position(|r| r.name.to_string() == "azure/eastus").unwrap();
    let told_at = |ms: u64| {
        let mut world = World::new(&scenario, candidate.clone(), 1, false).unwrap();
        let fresh = fleet.rules.report_fresh.0;
        // Seven may speak of it. Three see it fail; two who see it well are stale from 4.000 s on, one from 4.010 s on, and
        // between these moments four are fresh: three of four, and half of seven.
        let all = [("aws-1", 4_000, true), ("aws-2", 4_000, true), ("gcp-1", 4_010, true)];
        let fail = ["gcp-2", "outside-1", "outside-2"].map(|name| (name, 5_000, false));
        for (sequence, (name, stale, well)) in all.into_iter().chain(fail).enumerate() {
            let sees = |e: &tidegate_domain::Endpoint| match well || e.region.at() != place {
                true => TargetState::Ok,
                false => TargetState::Failing,
            };
            let report = ReportIn {
                vantage: name.to_owned(),
                incarnation: 1,
                sequence: sequence as u64,
                revision: fleet.revision.short(),
                own: VantageSelf { references_reached: 3, reference_networks: 3, self_doubt: false },
                targets: fleet.endpoints.iter().map(sees).collect(),
                rtt: Vec::new(),
            };
            let arrived = (stale - fresh) * MILLI;
            world.watch.reported(&fleet, &report, Mono(arrived), arrived);
        }
        let (electorate, eligible, agreeing, agreeing_providers) = (7, 4, 3, 2);
        let (accused, health, since) = (Accused::Region(place.into()), Health::Down, Mono(0));
        let verdict =
            Verdict { accused, health, since, electorate, eligible, agreeing, agreeing_providers, votes: Vec::new() };
        world.watch.verdict(&fleet, &verdict, Mono(ms * MILLI), ms * MILLI);
        world.watch.faults
    };
    assert!(told_at(3_999)[0].contains("I15: azure/eastus"), "six are fresh, and three of them see it well");
    assert_eq!((told_at(4_005), told_at(4_018)), (vec![], vec![]));
    assert!(told_at(4_200)[0].contains("I15: azure/eastus"), "it was fit to be said, long ago");
}

#[test]
fn a_file_that_does_not_fit_says_where_and_how() {
    let refused = |changes: &[(&str, &str)]| match short(changes) {
        Err(error) => format!("{error:#}"),
        Ok(scenario) => match run::fleet(&scenario).and_then(|f| run::run(&scenario, &f, 0, false)) {
            Err(error) => format!("{error:#}"),
            Ok(_) => String::new(),
        },
    };
    for (changes, words) in [
        ([("lasts: 90s", "lasts: 90")], "is no length of time: write"),
        ([("loss: 1 %", "loss: 1")], "is no share: write"),
        ([("delay: 1ms..2ms", "delay: 2ms..1ms")], "the shorter first"),
        ([("about:", "abuot:")], "abuot"),
        ([("kind: Scenario", "kind: Service")], "kind: write `Scenario`"),
        ([("what: down, of: aws", "what: api, of: aws/us-east-1")], "it is of a provider"),
        ([("what: down, of: aws", "what: api, of: aws")], "give the Provider an `apiStatus`"),
        ([("what: down, of: aws", "what: path, from: edge-fr, of: aws")], "no client group: edge-de, edge-us"),
        ([("falseVerdicts: 0", "falseVerdicts: none")], "`none` is no whole number: write one without a unit"),
        ([("what: down,", "what: slow, times: 2x,")], "`2x` is no whole number: write one without a unit"),
        ([("falseVerdicts: 0", "falseVerdicts: -1")], "`-1` is no whole number"),
        ([("of: aws,", "of: awz,")], "`of: awz` is no provider, region, vantage or endpoint"),
        ([("what: down, of: aws", "what: mute, of: aws")], "does not fit `of: aws`"),
        ([("lasts: 40s,", "")], "say for how long"),
        ([("what: down,", "what: errs,")], "share: write more than"),
        ([("{ falseVerdicts: 0, verdictWithin: 4s, movedWithin: 4s }", "{}")], "at least one expectation"),
        ([("delay: 1ms..2ms", "latency: { matrix: nowhere.csv }, delay: 1ms")], "nowhere.csv"),
        (
            [("what: down,", "what: split, regions: 2,")],
            "spec.faults, number 1 (`what: split`): does not fit `of: aws`: it is of a region",
        ),
        ([("at: 35s", "at: 35s..2min")], "it would begin after the run has ended, which `lasts` 90"),
        ([("what: down, of: aws", "what: split, of: server")], "regions: say how many"),
        ([("what: down, of: aws", "what: split, regions: 9, of: server")], "the other side would be empty"),
        ([("  lasts: 90s", "  gossipOnly: true\n  lasts: 90s")], "no server means no verdicts"),
        ([("  lasts: 90s", "  fleet: 7\n  lasts: 90s")], "a configuration directory, or `{ providers"),
        ([("  lasts: 90s", "  fleet: { providers: 2 }\n  lasts: 90s")], "regionsEach"),
        (
            [("  lasts: 90s", "  fleet: { providers: 2, regionsEach: 1, vantages: 2, endpoints: 1 }\n  lasts: 90s")],
            "2 at least",
        ),
    ] {
        let said = refused(&changes);
        assert!(said.contains(words) && said.contains("short"), "{changes:?}: {said}");
    }
}

/// The same with what a provider's API takes to be in trouble.
fn apis(changes: &[(&str, &str)]) -> anyhow::Result<Scenario> {
    let fleet = "fleet: { providers: 3, regionsEach: 2, vantages: 8, outside: 2, endpoints: 12, apis: true }";
    let api = "what: api, of: p1, how: refuse }\n    - { at: 90s, lasts: 30s, what: errs, share: 12 %, of: p1/r1 }";
    let changed = [
        ("  lasts: 90s", &*format!("  {fleet}\n  lasts: 210s")),
        ("lasts: 40s", "lasts: 180s"),
        ("what: down, of: aws, how: refuse }", api),
        ("falseVerdicts: 0, verdictWithin: 4s, movedWithin: 4s", "moves: 0, falseApiTroubles: 0, apiToldWithin: 20s"),
    ];
    short(&changed.into_iter().chain(changes.iter().copied()).collect::<Vec<_>>())
}

#[test]
fn what_a_provider_carries_stays_while_its_api_is_in_trouble() {
    let outcome = play(&apis(&[]).unwrap(), 5);
    assert_eq!(outcome.broken, Vec::<String>::new());
    let (told, verdicts) = (outcome.apis[0].found.unwrap(), outcome.verdicts);
    assert!(outcome.apis.len() == 1 && told > 10 * SECOND && verdicts > 0, "three failures in a row: {outcome:?}");
    // It is the API that holds it: another cloud's, or none at all, and the gray place is left.
    for other in [("what: api, of: p1", "what: api, of: p2"), ("what: api, of: p1", "what: mute, of: v1")] {
        let broken = play(&apis(&[other]).unwrap(), 5).broken;
        assert!(broken.iter().any(|b| b.contains("moves, expected at most 0")), "{other:?}: {broken:?}");
    }
    let late = play(&apis(&[("apiToldWithin: 20s", "apiToldWithin: 1s")]).unwrap(), 5).broken;
    assert!(late.iter().any(|b| b.contains("the API of p1, in trouble at 35 s, was found so after")), "{late:?}");
}

#[test]
fn an_api_found_in_trouble_that_is_well_counts_as_false() {
    let scenario = apis(&[]).unwrap();
    let candidate = run::fleet(&scenario).unwrap();
    let provider = |name: &str| candidate.fleet.provider(&Name::new(name).unwrap()).unwrap();
    let mut world = World::new(&scenario, candidate.clone(), 1, false).unwrap();
    for (name, at, words) in [("p1", 100, ""), ("p2", 100, "1 APIs"), ("p1", 240, "2 APIs")] {
        world.watch.apis.look([provider(name)].into(), at * SECOND);
        world.watch.apis.look([].into(), at * SECOND + 1);
        let unmet = world.watch.unmet(&candidate.fleet, 0).join("; ");
        assert_eq!(unmet.contains("APIs that were well were found in trouble"), !words.is_empty(), "{name}: {unmet}");
        assert!(unmet.contains(words), "{name}: {unmet}");
    }
}

const MESH: &str = "apiVersion: tidegate/v1
kind: Scenario
name: mesh
spec:
  about: for tests
  lasts: 120s
  fleet: { providers: 2, regionsEach: 2, vantages: 8, endpoints: 4 }
  gossipOnly: true
  network: { delay: 1ms..2ms, loss: 1 % }
  faults:
    - { at: 40s, lasts: 20s, what: crash, of: any-vantage }
    - { at: 80s, lasts: 20s, what: split, of: any-region, regions: 2 }
  expect: { falseMemberDowns: 0, allSeeP99: 6s, convergedWithin: 15s, steadyBytes: 5000, lossBytes: 9000 }
";

#[test]
fn gossip_alone_is_judged_by_its_own_expectations() {
    let mesh = |text: &str| Scenario::parse(text, Path::new("mesh.yaml")).unwrap();
    let (scenario, seed) = (mesh(MESH), 3);
    let outcome = play(&scenario, seed);
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert_eq!(run::over_all(&scenario, std::slice::from_ref(&outcome)), Vec::<String>::new());
    assert_eq!((outcome.faults, outcome.deaths.len(), outcome.met.len(), outcome.verdicts), (2, 1, 1, 0));
    // Whoever is told down must be told down, and whoever was split off be found again: neither takes no time at all.
    assert!(outcome.deaths[0].found.is_some_and(|after| after > SECOND), "{outcome:?}");
    assert!(outcome.met[0].is_some_and(|after| after > 0), "{outcome:?}");
    assert!(outcome.steady.is_some_and(|p| p.mean > 50 && p.most >= p.mean), "{outcome:?}");
    for (good, bad, words) in [
        ("allSeeP99: 6s", "allSeeP99: 100ms", "killed probers until all members knew"),
        ("convergedWithin: 15s", "convergedWithin: 1us", "every member had every other"),
        ("steadyBytes: 5000", "steadyBytes: 5", "B/s outside of faults, expected at most 5"),
        ("lossBytes: 9000", "lossBytes: 9", "B/s in the 10 s after a loss, expected at most 9"),
    ] {
        let scenario = mesh(&MESH.replace(good, bad));
        let outcome = play(&scenario, seed);
        let mut said = outcome.broken.clone();
        said.extend(run::over_all(&scenario, &[outcome]));
        assert!(said.iter().any(|s| s.contains(words)), "{bad}: {said:?}");
    }
}

/// The page shows a file that somebody who does not know the simulator can run, and one that holds every key.
#[test]
fn the_files_on_the_page_are_taken_and_the_first_one_holds() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulation.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|b| b.split("```").next()).collect();
    let scenarios: Vec<Scenario> = blocks.iter().map(|b| Scenario::parse(b, Path::new(page)).unwrap()).collect();
    assert_eq!(scenarios.len(), 2, "a first file, and everything");
    for seed in 0..2 {
        let outcome = play(&scenarios[0], seed);
        assert_eq!((outcome.broken, outcome.faults), (Vec::<String>::new(), 5), "seed {seed}");
    }
}

#[test]
fn every_shipped_scenario_is_called_as_its_file() {
    let mut files: Vec<_> = std::fs::read_dir(crate::SHIPPED).unwrap().filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let scenario = Scenario::read(&file).unwrap();
        assert_eq!(Some(scenario.name.as_str()), file.file_stem().and_then(|s| s.to_str()), "a name is its file's");
    }
}

#[test]
fn a_dense_trace_names_faults_and_verdicts() {
    let scenario = shipped("provider-down");
    let outcome = run::run(&scenario, &run::fleet(&scenario).unwrap(), 1, true).unwrap();
    let text = outcome.lines.join("\n");
    assert!(text.contains("FAULT Down") && text.contains("MENDED Down") && text.contains("verdict"), "{text}");
    assert!(outcome.lines.len() > 600, "a line a second");
}
