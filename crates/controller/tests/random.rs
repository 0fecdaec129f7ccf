//! Random histories: reports, drains, restores, pauses, reloads, faults of the store and restarts in any order. After
//! every step the checks of `world::checks` hold; publication itself is checked at the moment it happens.

mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use tidegate_controller::*;
use tidegate_domain::*;
use world::shell::Fault;
use world::*;

/// What happens, where, and how long it then lasts.
type Deed = (u8, u8, u16);

const PLACES: [&str; 6] = ["aws", "azure", "gcp", "aws/eu-central-1", "azure/westeurope", "gcp/europe-west4"];

fn apply(w: &mut World, (what, place, _): Deed) {
    let at = usize::from(place);
    let name = PLACES[at % PLACES.len()];
    let lasting = (place % 2 == 0).then_some(Millis(4_000 + 100 * u64::from(place)));
    match what {
        0 => w.kill(["aws", "azure", "gcp"][at % 3]),
        1 => _ = w.dead.insert(w.region(PLACES[3 + at % 3])),
        2 | 3 => w.dead.clear(),
        4 | 5 => _ = w.ask_only(drain_for(name, lasting)),
        6 => _ = w.ask_only(restore(name)),
        7 => {
            let (pause, safety) = (place % 3 > 0, place % 2 == 0);
            w.ask_only(Ask::Automation { pause, safety, economic: !safety, lasting });
        }
        8 => _ = w.ask_only(Ask::Ramp([RampAsk::Pause, RampAsk::Resume, RampAsk::Abort][at % 3])),
        9 => {
            let faults = [
                Fault::Full,
                Fault::FullForAll,
                Fault::Away { kept: true, head: true },
                Fault::Away { kept: false, head: true },
                Fault::Away { kept: true, head: false },
                Fault::Away { kept: false, head: false },
            ];
            w.fault(faults[at % faults.len()]);
        }
        10 | 11 => w.fault(Fault::None),
        12 => w.restart(),
        13 => {
            let new = if w.candidate.fleet.rules.settle == Millis(10_000) {
                payroll(&[("settle: 10s", "settle: 5s"), ("minResidency: 30min", "minResidency: 20s")])
            } else {
                payroll(&[])
            };
            // The directory has changed whatever the server says to it; a later restart takes it up.
            let from = w.model().fleet.revision;
            let ask = match reload(&new, from) {
                Ask::Reload { candidate, from, removals, yes_remove, dry_run, .. } => {
                    Ask::Reload { candidate, from, removals, yes_remove, accept_gap: true, dry_run }
                }
                other => other,
            };
            w.ask_only(ask);
            w.candidate = new;
        }
        14 => w.wrong_path = !w.wrong_path,
        _ => _ = w.silent.insert(at % 8),
    }
}

fn history(deeds: &[Deed], breaks: fn(&mut World)) -> Result<(), TestCaseError> {
    let mut w = World::settled(payroll(&[]));
    breaks(&mut w);
    let mut asked = 0;
    for deed in deeds {
        apply(&mut w, *deed);
        asked += usize::from((4..=8).contains(&deed.0) || deed.0 == 13);
        w.run(u64::from(deed.2));
        checks::journal(&w.shelf).map_err(TestCaseError::fail)?;
        prop_assert!(!w.stopped, "only another server stops this one");
    }
    // In the end all is well: everything is recorded, published and answered.
    if w.shelf.fault != Fault::Torn {
        w.fault(Fault::None);
    }
    w.wrong_path = false;
    w.dead.clear();
    w.silent.clear();
    w.run(8_000);
    checks::whole(&w).map_err(TestCaseError::fail)?;
    let (last, committed) = (w.published.last().unwrap(), w.shelf.committed().unwrap());
    prop_assert_eq!((last.generation, &*last.plan), (committed.generation, &committed.plan));
    prop_assert_eq!(w.model().store, StoreState::Well);
    let restarts = deeds.iter().filter(|d| d.0 == 12).count();
    prop_assert!(restarts > 0 || w.answers.len() == asked, "{} of {} were answered", w.answers.len(), asked);
    let stored = w.shelf.intents().unwrap_or_default();
    let named = tidegate_record::NamedIntents::of(&w.model().intents, &w.model().fleet);
    prop_assert_eq!(stored, named, "what people asked for is what is kept");
    Ok(())
}

fn run(cases: u32, breaks: fn(&mut World)) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let deeds = prop::collection::vec((0_u8..16, any::<u8>(), 20_u16..6_000), 5..25);
    let mut runner = TestRunner::new_with_rng(config, rng);
    runner.run(&deeds, |deeds| history(&deeds, breaks)).map_err(|e| e.to_string())
}

#[test]
fn whatever_happens_what_is_published_is_recorded_and_permitted() {
    run(64, |_| {}).unwrap();
}

#[test]
fn a_server_that_forgets_wishes_at_a_restart_is_found_out() {
    let found = run(64, |w| w.forgetful = true).unwrap_err();
    assert!(found.contains("what people asked for is what is kept"), "{found}");
}

#[test]
fn a_store_that_tears_a_write_is_found_out() {
    let found = run(64, |w| w.fault(Fault::Torn)).unwrap_err();
    assert!(found.contains("committed is"), "{found}");
}
