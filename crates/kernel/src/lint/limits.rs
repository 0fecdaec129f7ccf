//! I8 and the order of shedding: every region's load added up anew.

use super::{Lint, Rule, shed};
use tidegate_domain::{ClassSplit, Health, RegionIx, Serving};

/// Rounding that a shed split may leave unused, in basis points of its demand.
const SLACK: u128 = 150;

pub(super) fn check(lint: &mut Lint) {
    let f = lint.fleet;
    let n = f.regions.len();
    let demand = demands(lint);
    let mut load = vec![0_u128; n];
    let mut own = vec![0_u128; f.services.len() * n];
    let mut excused = vec![lint.paused; n];
    let mut slack = vec![0_u128; n];
    for (i, s) in lint.plan.splits.iter().enumerate() {
        let excuse = lint.is_held(s.class) || lint.is_all_down(s.class);
        for w in &s.weights {
            let here = demand[i] * u128::from(10_000 - shed(s)) * u128::from(w.share.get());
            load[w.region.at()] += here;
            own[lint.service(s.class).at() * n + w.region.at()] += here;
            excused[w.region.at()] |= excuse && here > 0;
            // every shed split leaves up to three basis points of its own demand unused there
            slack[w.region.at()] += if shed(s) > 0 { demand[i] * 30_000 } else { 0 };
        }
    }
    let limit: Vec<u128> =
        f.regions.iter().map(|r| u128::from(r.capacity.0) * u128::from(r.safe_utilisation.get()) * 10_000).collect();
    let usable = |service: usize, r: usize| {
        let site = lint.sites[service * n + r];
        limit[r] * u128::from(site.total - site.down) / u128::from(site.total.max(1))
    };
    let before = own_before(lint, &demand);
    // what stood there may stay while endpoints that answer again are still proving it
    let keeps = |service: usize, r: usize| {
        let site = lint.sites[service * n + r];
        let living = site.total - site.down + site.answering;
        own[service * n + r]
            <= before[service * n + r].min(limit[r] * u128::from(living) / u128::from(site.total.max(1)))
    };
    let mut over = Vec::new();
    for r in 0..n {
        let services = (0..f.services.len()).filter(|s| own[s * n + r] > usable(*s, r) && !keeps(*s, r));
        if !excused[r] && (load[r] > limit[r] || services.count() > 0) {
            over.push(r);
        }
    }
    let mut unfair = Vec::new();
    // a paced step of this very cycle may have freed the room after the safety tier had passed
    let unpaced = lint.moves.values().all(|m| m.kind == tidegate_domain::MoveKind::Safety);
    if over.is_empty() && !lint.paused {
        for (i, s) in lint.plan.splits.iter().enumerate() {
            let missing = demand[i] * 10_000 * u128::from(shed(s));
            if missing <= demand[i] * 10_000 * SLACK || lint.is_held(s.class) {
                continue;
            }
            for r in (0..n).filter(|r| open(lint, s, RegionIx::from(*r))) {
                let service = lint.service(s.class).at();
                let (lower, siblings) = lower_load(lint, &demand, s, r);
                let all_room = limit[r].saturating_sub(load[r]) + lower;
                let own_room = usable(service, r).saturating_sub(own[service * n + r]) + siblings;
                if all_room.min(own_room) > demand[i] * 10_000 * SLACK + slack[r] && unpaced {
                    unfair.push((i, r, lower > 0));
                }
            }
        }
    }
    for r in over {
        lint.blame(Rule::Limit, None, Some(RegionIx::from(r)), "carries more than its limit");
    }
    for (i, r, lower) in unfair {
        let what = if lower { "is shed while a lower class stays" } else { "is shed beside room" };
        let s = &lint.plan.splits[i];
        lint.blame(Rule::ShedOrder, Some(s), Some(RegionIx::from(r)), what);
    }
}

/// What each service put on each region by the standing plan, at today's demand and with a basis point of rounding.
fn own_before(lint: &Lint, demand: &[u128]) -> Vec<u128> {
    let n = lint.fleet.regions.len();
    let mut own = vec![0_u128; lint.fleet.services.len() * n];
    for (i, s) in lint.plan.splits.iter().enumerate() {
        for w in lint.old(s).into_iter().flat_map(|old| &old.weights).filter(|w| w.region.at() < n) {
            let carried = u128::from(10_000 - lint.old(s).map_or(0, shed));
            own[lint.service(s.class).at() * n + w.region.at()] +=
                demand[i] * (carried * u128::from(w.share.get()) + 10_000);
        }
    }
    own
}

/// Declared or, where larger, measured demand per split of the plan, in milli-rps.
pub(super) fn demands(lint: &Lint) -> Vec<u128> {
    let groups = lint.fleet.groups.len();
    let mut demand = vec![0; lint.plan.splits.len()];
    for (c, class) in lint.fleet.classes.iter().enumerate() {
        for d in &class.demand {
            demand[c * groups + d.group.at()] = u128::from(d.load.0);
        }
    }
    for (c, g, load) in &lint.input.view.measured_demand {
        if let Some(d) = demand.get_mut(c.at() * groups + g.at()) {
            *d = u128::from(load.0).max(*d);
        }
    }
    demand
}

/// Whether the split could be served there in this very step.
fn open(lint: &Lint, s: &ClassSplit, r: RegionIx) -> bool {
    let site = lint.site(s.class, r);
    let living = site.total - site.down;
    matches!(s.serving, Serving::Routed { .. })
        && lint.is_place(s.class, r)
        && lint.allowed(s.class, r, tidegate_domain::MoveKind::Safety)
        && !lint.is_drained(s.class, r)
        && !lint.is_cut(s, r)
        && site.healthy * 2 > living
        && lint.input.state.regions.get(r.at()).is_none_or(|h| h.0 != Health::Down)
        && !lint.input.view.held_receivers.contains(&r)
}

/// What lower classes that could be moved or shed put on a region: all services, and the split's own.
fn lower_load(lint: &Lint, demand: &[u128], s: &ClassSplit, r: usize) -> (u128, u128) {
    let priority = |c: tidegate_domain::ClassIx| lint.fleet.classes[c.at()].priority;
    let (mut all, mut own) = (0, 0);
    for (i, o) in lint.plan.splits.iter().enumerate() {
        if priority(o.class) > priority(s.class) && !lint.is_held(o.class) && !lint.is_all_down(o.class) {
            let share = u128::from(o.share(RegionIx::from(r)).get());
            let here = demand[i] * u128::from(10_000 - shed(o)) * share;
            all += here;
            own += if lint.service(o.class) == lint.service(s.class) { here } else { 0 };
        }
    }
    (all, own)
}
