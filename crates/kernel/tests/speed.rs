//! A coarse guard of the cycle's cost: far above the gates, because tests are not optimised. `--nocapture` prints it.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};
use support::*;
use tidegate_domain::*;
use tidegate_kernel::{cycle, lint};

#[allow(clippy::disallowed_methods)] // measures; decides nothing
fn measure(fleet: Fleet, limit: Duration) {
    let (view, mask) = (all_well(&fleet, at(0)), Arc::new(allow_all(&fleet)));
    let mut input = CycleInput { view, mask, fleet: Arc::new(fleet), state: State::default(), now: at(0) };
    let mut best = [Duration::MAX; 2];
    for _ in 0..5 {
        let start = Instant::now();
        let output = cycle(&input);
        best[0] = best[0].min(start.elapsed());
        let start = Instant::now();
        assert!(lint::check(&input, &output).is_empty());
        best[1] = best[1].min(start.elapsed());
        input.state = output.state;
    }
    println!("cycle {:?}, linter {:?}", best[0], best[1]);
    assert!(best[0] + best[1] < limit, "{best:?}");
}

#[test]
fn the_example_fleet_is_planned_quickly() {
    measure(payroll(), Duration::from_millis(50));
}

#[test]
fn a_thousand_services_in_thirty_regions_are_planned_quickly() {
    measure(large(1_000, 30, 2), Duration::from_secs(3));
}
