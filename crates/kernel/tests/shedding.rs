//! Who is shed: on small random fleets, no class while an assignment exists that keeps it and everything as high.
//! The check is a maximum flow of its own; the planner's way of filling is not asked.

mod support;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use support::*;
use tidegate_domain::*;
use world::World;

const LAWS: [(&str, &str); 4] = [("DE", "europe"), ("NL", "europe"), ("US", "us"), ("SG", "asia")];

/// Capacity and cost by region; demand at both groups, countries as bits and priority by class; which regions die.
type Small = (Vec<(u64, i128)>, Vec<(u64, u64, u8, u8)>, u8);

fn fleet((regions, classes, _): &Small) -> Fleet {
    let mut b = three_areas();
    for (i, (capacity, cost)) in regions.iter().enumerate() {
        let (law, area) = LAWS[i];
        b = b.region(&format!("{}/r{i}", ["aws", "azure", "gcp", "oci"][i]), law, area, *capacity, *cost);
    }
    b = b.outside("outside/frankfurt", "DE", "europe").outside("elsewhere/zurich", "CH", "europe");
    b = b.group("de", "DE", "europe").group("us", "US", "us");
    for v in 0..3 {
        b = b.vantage(&format!("o{v}"), "outside/frankfurt").vantage(&format!("e{v}"), "elsewhere/zurich");
    }
    b = b.service("s");
    for (i, (de, us, laws, priority)) in classes.iter().enumerate() {
        // both groups' own countries are always in, else the class is not served at them at all
        let mut set = vec!["DE", "US"];
        set.extend((1..4).filter(|l| laws & (1 << l) != 0).map(|l| LAWS[l].0));
        b = b.class(&format!("c{i}"), only(&set), *priority, &[("de", *de), ("us", *us)]);
    }
    let mut fleet = b.endpoints_everywhere(1).build();
    // narrower than by country: the policy's mask in the test decides
    for class in &mut fleet.classes {
        class.provider_share_max = Bps::FULL;
    }
    fleet
}

/// Denies what the class's bits do not name.
fn narrow(w: &mut World, (_, classes, _): &Small) {
    for ((class, law, _), answer) in &mut w.mask.answers {
        let at = LAWS.iter().position(|l| l.0 == law.as_str());
        answer.allow = at.is_some_and(|l| classes[class.at()].2 & (1 << l) != 0);
    }
}

/// Whether all demand of this priority and higher can be placed at 99 % of the limits: the largest flow from classes
/// over regions, by paths that add to it.
fn fits(w: &World, (_, classes, dead): &Small, priority: u8) -> bool {
    let limit = |r: usize| w.fleet.regions[r].safe_utilisation.of(w.fleet.regions[r].capacity.0) * 99 / 100;
    let n = w.fleet.regions.len() - 2;
    let mut room: Vec<u64> = (0..n).map(|r| if dead & (1 << r) == 0 { limit(r) } else { 0 }).collect();
    let wanted: Vec<usize> = (0..classes.len()).filter(|c| classes[*c].3 <= priority).collect();
    let mut on = vec![vec![0_u64; n]; classes.len()];
    for c in &wanted {
        let mut left = 1000 * (classes[*c].0 + classes[*c].1);
        while left > 0 {
            // breadth first over regions: which region was reached from which by moving which class
            let may = |c: usize, r: usize| classes[c].2 & (1 << r) != 0 && dead & (1 << r) == 0;
            let mut from: Vec<Option<(usize, usize)>> = vec![None; n];
            let mut queue: Vec<usize> = (0..n).filter(|r| may(*c, *r)).collect();
            let mut seen: Vec<bool> = (0..n).map(|r| may(*c, r)).collect();
            let mut at = 0;
            let mut end = None;
            while at < queue.len() {
                let r = queue[at];
                at += 1;
                if room[r] > 0 {
                    end = Some(r);
                    break;
                }
                for o in wanted.iter().copied().filter(|o| on[*o][r] > 0) {
                    for to in 0..n {
                        if may(o, to) && !seen[to] {
                            seen[to] = true;
                            from[to] = Some((r, o));
                            queue.push(to);
                        }
                    }
                }
            }
            let Some(end) = end else { return false };
            let (mut amount, mut r) = (left.min(room[end]), end);
            while let Some((before, o)) = from[r] {
                amount = amount.min(on[o][before]);
                r = before;
            }
            room[end] -= amount;
            let mut r = end;
            while let Some((before, o)) = from[r] {
                on[o][before] -= amount;
                on[o][r] += amount;
                r = before;
            }
            on[*c][r] += amount;
            left -= amount;
        }
    }
    true
}

fn smalls() -> impl Strategy<Value = Small> {
    let regions = prop::collection::vec((50_u64..400, 0_i128..200), 2..5);
    let classes = prop::collection::vec((0_u64..150, 0_u64..150, 1_u8..16, 0_u8..3), 1..5);
    (regions, classes, 0_u8..16)
}

/// None: nothing to judge there. Else the classes that are shed though they need not be.
fn wrongly_shed(small: &Small) -> Result<Option<Vec<String>>, TestCaseError> {
    let mut w = World::new(fleet(small));
    narrow(&mut w, small);
    let regions = small.0.len();
    let dead = |e: usize| small.2 & (1 << e) != 0;
    for (ms, failing) in [(500, false); 14].into_iter().chain([(500, true); 12]) {
        let faults = w.look(ms, |e| failing && dead(e));
        if let Some(fault) = faults.first() {
            return Err(TestCaseError::fail(format!("{fault} at {} ms", w.clock)));
        }
    }
    let unsure = |a: &Alarm| matches!(a, Alarm::AllDown { .. } | Alarm::Doubt { .. });
    if w.report().alarms.iter().any(unsure) || (0..regions).all(dead) {
        return Ok(None);
    }
    let part = |s: &ClassSplit| if let Serving::Routed { shed } = s.serving { shed.get() } else { 0 };
    let (demand, mut wrong) = (|s: &ClassSplit| w.fleet.demand(s.class, s.group).0, Vec::new());
    for s in w.plan().splits.iter().filter(|s| part(s) > 60 && demand(s) > 0) {
        if fits(&w, small, w.fleet.classes[s.class.at()].priority) {
            wrong.push(format!("{} for {}: {} bps", w.fleet.class_name(s.class), s.group.0, part(s)));
        }
    }
    Ok(Some(wrong))
}

#[test]
fn nobody_is_shed_whom_some_assignment_would_keep() {
    let config = Config { cases: 600, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    let judged = std::cell::Cell::new(0);
    let result = runner.run(&smalls(), |small| {
        if let Some(wrong) = wrongly_shed(&small)? {
            judged.set(judged.get() + 1);
            if !wrong.is_empty() {
                return Err(TestCaseError::fail(format!("{wrong:?}")));
            }
        }
        Ok(())
    });
    result.unwrap();
    assert!(judged.get() > 200, "too few fleets were judged: {}", judged.get());
}
