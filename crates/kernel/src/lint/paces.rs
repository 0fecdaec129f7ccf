//! I9, I10, I16: what changed against the plan before, whether it was named, and whether it was allowed now.

use super::{Lint, Rule, demand_share, shed};
use tidegate_domain::{Bps, ClassSplit, Move, MoveKind, RegionIx};

/// Rounding of shares into basis points of demand, per split.
const ROUNDING: u32 = 40;

pub(super) fn check(lint: &mut Lint) {
    let causes = safety_causes(lint);
    for (i, s) in lint.plan.splits.iter().enumerate() {
        let Some(old) = lint.old(s) else { continue };
        if old.weights == s.weights && old.serving == s.serving {
            continue;
        }
        let Some(m) = lint.moves.get(&(s.class, s.group)).copied() else {
            lint.blame(Rule::Unexplained, Some(s), None, "changed without a move on record");
            continue;
        };
        match m.kind {
            MoveKind::Safety if !causes[i] => {
                lint.blame(
                    Rule::Unexplained,
                    Some(s),
                    None,
                    "a safety move without anything Down, shed or over a limit that concerns it",
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
    let changed = |r: &RegionIx| demand_share(Some(s), *r).abs_diff(demand_share(Some(old), *r)) > slack;
    for r in regions().filter(|r| lint.frozen[lint.fleet.provider_of(*r).at()] && changed(r)) {
        let name = &lint.fleet.regions[r.at()].name;
        faults.push((Rule::Api, format!("changes {name}, whose provider's API is in trouble")));
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

/// By split: whether anything asks the safety tier to move it. A place of its own is Down, not reached from there or no longer lawful, it was or
/// is shed, or its region is over its limit; or it shares a region with a split that moved for such a cause: one makes
/// room for the other. So it is beside a class that has lost everything or is only coming back: where that one's weights
/// stay, limits and rooms are not what they seem. Where the service is held, Down is no cause; where the switch is off,
/// only what the law asks is.
fn safety_causes(lint: &Lint) -> Vec<bool> {
    let over = over_before(lint);
    let n = lint.fleet.regions.len();
    let mut causes: Vec<bool> = lint.plan.splits.iter().map(|s| is_cause(lint, s, &over)).collect();
    let changed = |s: &ClassSplit| lint.old(s).is_none_or(|o| o.weights != s.weights || o.serving != s.serving);
    let moved: Vec<bool> = lint.plan.splits.iter().map(changed).collect();
    let mut stirred = vec![false; n];
    let stands = |s| lint.old(s).into_iter().chain([s]).flat_map(|x| &x.weights).map(|w| w.region.at());
    for s in lint.plan.splits.iter().filter(|s| !lint.paused && lint.is_all_down(s.class)) {
        stands(s).filter(|r| *r < n).for_each(|r| stirred[r] = true);
    }
    loop {
        let before = stirred.clone();
        for (i, s) in lint.plan.splits.iter().enumerate().filter(|(i, _)| moved[*i]) {
            causes[i] |= stands(s).any(|r| r < n && stirred[r]);
            if causes[i] {
                stands(s).filter(|r| *r < n).for_each(|r| stirred[r] = true);
            }
        }
        // a region is stirred only by a split with a cause, and whoever moves there then has one
        if stirred == before {
            return causes;
        }
    }
}

fn is_cause(lint: &Lint, s: &ClassSplit, over: &[bool]) -> bool {
    let n = lint.fleet.regions.len();
    let Some(old) = lint.old(s) else { return !s.weights.is_empty() };
    let unlawful = old.weights.iter().any(|w| w.region.at() >= n || !lint.is_place(s.class, w.region));
    if unlawful || lint.paused {
        return unlawful;
    }
    let down = |r: RegionIx| {
        let site = lint.site(s.class, r);
        site.down == site.total && !lint.is_held(s.class)
    };
    let service = lint.service(s.class).at();
    lint.is_all_down(s.class)
        || shed(old) + shed(s) > 0
        || old.weights.iter().any(|w| down(w.region) || lint.is_cut(s, w.region) || over[service * n + w.region.at()])
}

/// By service and region: what stood there is over the region's limit, or over what the service's living endpoints hold.
fn over_before(lint: &Lint) -> Vec<bool> {
    let f = lint.fleet;
    let n = f.regions.len();
    let mut load = vec![0_u128; n];
    let mut own = vec![0_u128; lint.sites.len()];
    let demand = super::limits::demands(lint);
    for (i, s) in lint.plan.splits.iter().enumerate() {
        let Some(old) = lint.old(s) else { continue };
        for w in old.weights.iter().filter(|w| w.region.at() < n) {
            let here = demand[i] * u128::from(10_000 - shed(old)) * u128::from(w.share.get());
            load[w.region.at()] += here;
            own[lint.service(s.class).at() * n + w.region.at()] += here;
        }
    }
    let one = |at: usize| {
        let (site, region) = (lint.sites[at], &f.regions[at % n]);
        let limit = u128::from(region.capacity.0) * u128::from(region.safe_utilisation.get()) * 10_000;
        let alive = u128::from(site.total - site.down);
        load[at % n] > limit || own[at] > limit * alive / u128::from(site.total.max(1))
    };
    (0..own.len()).map(one).collect()
}
