//! I9, I10, I16: what changed against the plan before, whether it was named, and whether it was allowed now.

use super::{Lint, Rule, demand_share, shed};
use tidegate_domain::{Bps, ClassSplit, Move, MoveKind, RegionIx, Serving};

/// Rounding of shares into basis points of demand, per split.
const ROUNDING: u32 = 40;

pub(super) fn check(lint: &mut Lint) {
    let causes = safety_causes(lint);
    for s in &lint.plan.splits {
        let Some(old) = lint.old(s) else { continue };
        if old.weights == s.weights && old.serving == s.serving {
            continue;
        }
        let Some(m) = lint.moves.get(&(s.class, s.group)).copied() else {
            lint.blame(Rule::Unexplained, Some(s), None, "changed without a move on record");
            continue;
        };
        match m.kind {
            MoveKind::Safety if !causes => {
                lint.blame(
                    Rule::Unexplained,
                    Some(s),
                    None,
                    "a safety move without anything Down, shed or over a limit",
                );
            }
            MoveKind::Safety => {}
            MoveKind::Voluntary | MoveKind::Economic => paced(lint, s, old, m),
        }
    }
}

fn paced(lint: &mut Lint, s: &ClassSplit, old: &ClassSplit, m: &Move) {
    let (input, rules) = (lint.input, &lint.fleet.rules);
    let (now, wall, intents) = (input.now, input.view.wall, &input.view.intents);
    let regions = || (0..lint.fleet.regions.len()).map(RegionIx::from);
    let shifted: u32 = regions().map(|r| demand_share(Some(s), r).saturating_sub(demand_share(Some(old), r))).sum();
    // the shed part may be rounded; without shedding the cap is exact
    let slack = if shed(s) + shed(old) > 0 { ROUNDING } else { 0 };
    let moved = input.state.moved.get(s.class.at()).copied().flatten();
    let mut faults = Vec::new();
    if shifted > u32::from(rules.share_cap.get()) + slack {
        faults.push((Rule::ShareCap, format!("shifts {} at once", Bps::clamped(u64::from(shifted)))));
    }
    if moved.is_some_and(|t| t + rules.settle > now) {
        faults.push((Rule::ShareCap, "steps before the settle time is over".to_owned()));
    }
    let ramping =
        input.state.ramps.iter().any(|r| (r.class, r.group, r.kind) == (s.class, s.group, MoveKind::Economic));
    if m.kind == MoveKind::Economic {
        if !ramping && moved.is_some_and(|t| t + rules.min_residency > now) {
            faults.push((Rule::Residency, "an economic move within minimum residency".to_owned()));
        }
        if !intents.automation.economic.is_on(wall) {
            faults.push((Rule::Frozen, "an economic move while automation is off for it".to_owned()));
        }
    }
    if rules.freeze.iter().any(|f| f.from <= wall && wall < f.until) {
        faults.push((Rule::Frozen, "a paced move in a freeze window".to_owned()));
    }
    if intents.ramps_paused || intents.ramps_aborted_until.is_some_and(|u| u > wall) {
        faults.push((Rule::Frozen, "a step of a ramp that a person holds".to_owned()));
    }
    let places = regions().filter(|r| lint.is_place(s.class, *r)).count();
    let keep = usize::from(rules.min_regions_on).min(places).min(old.weights.len());
    if s.weights.len() < keep {
        faults.push((Rule::Assertion, format!("{} regions stay on, {keep} must", s.weights.len())));
    }
    for (rule, what) in faults {
        lint.blame(rule, Some(s), None, &what);
    }
}

/// Whether anything at all asks for the safety tier: a place lost, a region over its limit, something shed before or now.
fn safety_causes(lint: &Lint) -> bool {
    let Some(before) = &lint.input.state.plan else { return true };
    let f = lint.fleet;
    let mut load = vec![0_u128; f.regions.len()];
    let mut own = vec![0_u128; lint.sites.len()];
    let demand = |s: &ClassSplit| {
        let seen = lint.input.view.measured_demand.iter().filter(|(c, g, _)| (*c, *g) == (s.class, s.group));
        let seen = seen.map(|(_, _, load)| load.0).max().unwrap_or(0);
        u128::from(f.demand(s.class, s.group).0.max(seen))
    };
    for s in before.splits.iter().filter(|s| s.class.at() < f.classes.len() && s.group.at() < f.groups.len()) {
        if s.serving != (Serving::Routed { shed: Bps::ZERO }) && !s.weights.is_empty()
            || lint.all_down.contains(&s.class)
        {
            return true;
        }
        for w in &s.weights {
            let site = lint.site(s.class, w.region);
            if site.down == site.total || !lint.is_place(s.class, w.region) {
                return true;
            }
            let here = demand(s) * 10_000 * u128::from(w.share.get());
            load[w.region.at()] += here;
            own[lint.service(s.class).at() * f.regions.len() + w.region.at()] += here;
        }
    }
    let fresh = lint.plan.splits.len() != before.splits.len();
    fresh
        || f.regions.iter().enumerate().any(|(r, region)| {
            let limit = u128::from(region.capacity.0) * u128::from(region.safe_utilisation.get()) * 10_000;
            load[r] > limit
                || (0..f.services.len()).any(|s| {
                    let site = lint.sites[s * f.regions.len() + r];
                    let alive = u128::from(site.total - site.down);
                    own[s * f.regions.len() + r] > limit * alive / u128::from(site.total.max(1))
                })
        })
}
