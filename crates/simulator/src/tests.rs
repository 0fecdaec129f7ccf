//! The simulator itself: same seed, same bytes; files that do not fit are refused with their mend; the shipped scenarios
//! hold, and watchers trip on what they watch for.

use crate::run::{self, Outcome};
use crate::scenario::Scenario;
use crate::units::SECOND;
use crate::world::World;
use std::path::Path;
use tidegate_domain::{Accused, Health, Mono, Name, Verdict};

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
        ([("of: aws,", "of: awz,")], "`of: awz` is no provider, region, vantage or endpoint"),
        ([("what: down, of: aws", "what: mute, of: aws")], "does not fit `of: aws`"),
        ([("lasts: 40s,", "")], "say for how long"),
        ([("what: down,", "what: errs,")], "share: write more than"),
        ([("{ falseVerdicts: 0, verdictWithin: 4s, movedWithin: 4s }", "{}")], "at least one expectation"),
        ([("delay: 1ms..2ms", "latency: { matrix: nowhere.csv }, delay: 1ms")], "nowhere.csv"),
        ([("what: down,", "what: split, regions: 2,")], "`what: split`: does not fit `of: aws`: it is of a region"),
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
