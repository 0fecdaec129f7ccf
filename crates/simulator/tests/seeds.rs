//! Many seeds over all shipped scenarios, as `cargo xtask simulate` deals them out.

use std::path::PathBuf;
use tidegate_simulator::run;
use tidegate_simulator::scenario::Scenario;

const TEN_MINUTES: u64 = 600_000_000_000;

/// A hundred where the whole is tested, fewer where a person waits for `cargo test`.
fn seeds() -> u64 {
    if std::env::var_os("TIDEGATE_REAL_PARTS").is_some_and(|v| v == "required") { 100 } else { 20 }
}

#[test]
fn every_scenario_holds_over_its_seeds() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(tidegate_simulator::SHIPPED).unwrap().filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut scenarios: Vec<Scenario> = files.iter().map(|f| Scenario::read(f).unwrap()).collect();
    scenarios.retain(|s| !s.spec.alone);
    for (i, scenario) in scenarios.iter().enumerate() {
        // Seeds that no other test plays.
        let mine: Vec<u64> = (1_000..1_000 + seeds()).filter(|s| *s as usize % scenarios.len() == i).collect();
        let outcomes = run::run_all(scenario, &run::fleet(scenario).unwrap(), &mine).unwrap();
        println!("{}", run::line(&scenario.name, &outcomes));
        assert_eq!(run::over_all(scenario, &outcomes), Vec::<String>::new(), "`{}`", scenario.name);
        for outcome in &outcomes {
            assert_eq!(outcome.broken, Vec::<String>::new(), "`{}`, seed {}", scenario.name, outcome.seed);
            // What went wrong is counted by kind: faults of the file, stalls of single processes, bad times of links.
            let injected = outcome.faults + outcome.stalls + outcome.bad_times;
            assert!(injected >= 3, "`{}`, seed {}: {injected} faults", scenario.name, outcome.seed);
            assert!(scenario.spec.lasts.0 >= TEN_MINUTES, "`{}`", scenario.name);
        }
    }
}
