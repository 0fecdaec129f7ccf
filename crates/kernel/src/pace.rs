//! The paced tiers: drains (voluntary) and the way to the static cost order (economic, failback included), step by step.
//!
//! Owns pacing: share cap, settle time, minimum residency, freeze, the switches. Refuses to touch a split that the safety
//! tier has just moved, and everything that safety rules forbid.

use crate::cycle::Work;
use crate::failback::is_displaced;
use crate::follow::follows;
use crate::place::{Case, Ground, Place, Stand};
use crate::unrest::Unrest;
use crate::weigh::{Ledger, Pass, Receivers, pinned, target, thawed_target};
use tidegate_domain::{Millis, Mono, MoveKind, Reason, RegionIx, Switch, Wall};

/// A step that stops short must move this much, in basis points: less is rounding, and would twitch.
const WORTH_STEPPING: u16 = 100;

/// Runs drains, returns and economic moves. A step may free the room that another waited for: they are asked again until
/// nothing moves, each split at most once.
pub(crate) fn run(g: &Ground, work: &mut Work) {
    wake_for_intents(g, work);
    let unrest = Unrest::of(g, work);
    loop {
        let goal = target(g, &work.now);
        let before = work.step_count();
        for split in g.sequence.iter().copied().filter(|s| g.case[*s] == Case::Open) {
            if work.has_stepped(split) {
                towards(g, work, split, &goal, &unrest);
                continue;
            }
            work.waits[split].clear();
            if drained(g, &work.now, split) > 0 {
                leave(g, work, split, &unrest, |p| p.drain.is_some());
            } else if on(g, &work.now, split, |p| p.gray) > 0 {
                leave(g, work, split, &unrest, |p| p.gray);
            } else if !work.fresh[split] {
                towards(g, work, split, &goal, &unrest);
            }
        }
        if work.step_count() == before {
            tell_frozen(g, work);
            work.goal = Some(goal);
            return;
        }
    }
}

/// What the split still has on drained places.
pub(crate) fn drained(g: &Ground, now: &Ledger, split: usize) -> u16 {
    on(g, now, split, |p| p.drain.is_some())
}

/// What the split has on such places.
fn on(g: &Ground, now: &Ledger, split: usize, such: impl Fn(&Place) -> bool) -> u16 {
    (0..g.regions).filter(|r| such(g.place(split, RegionIx::from(*r)))).map(|r| now.row(split)[r]).sum()
}

/// The freeze window that is open, and when it ends.
fn frozen<'a>(g: &'a Ground) -> Option<(&'a str, Wall)> {
    let open = |f: &&tidegate_domain::FreezeWindow| f.from <= g.q.view.wall && g.q.view.wall < f.until;
    g.q.fleet.rules.freeze.iter().find(open).map(|f| (f.reason.as_str(), f.until))
}

/// What holds every step that is not for safety.
fn held(g: &Ground, split: usize) -> Option<(Reason, Option<Mono>)> {
    let (rules, view) = (&g.q.fleet.rules, g.q.view);
    if view.intents.ramps_paused {
        return Some((Reason::RampHeld, None));
    }
    if let Some(until) = view.intents.ramps_aborted_until.filter(|u| *u > view.wall) {
        return Some((Reason::RampHeld, Some(g.q.now + (until - view.wall))));
    }
    if let Some((reason, until)) = frozen(g) {
        return Some((Reason::Frozen { reason: reason.to_owned() }, Some(g.q.now + (until - view.wall))));
    }
    let next = g.next_step(split)?;
    Some((Reason::ShareCap { cap: rules.share_cap, left: next.since(g.q.now) }, Some(next)))
}

/// The first of these places, in the split's order, whose provider's API keeps it from changing.
fn frozen_at(g: &Ground, split: usize, such: impl Fn(RegionIx) -> bool) -> Option<Reason> {
    let frozen = g.ranked(split).iter().copied().find(|r| g.place(split, *r).frozen && such(*r))?;
    Some(Reason::ApiTrouble { provider: g.q.fleet.provider_of(frozen) })
}

/// Says what would go on by now if no provider's API were in trouble.
fn tell_frozen(g: &Ground, work: &mut Work) {
    if !g.any_frozen {
        return;
    }
    let free = thawed_target(g, &work.now);
    for split in g.sequence.iter().copied().filter(|s| g.case[*s] == Case::Open) {
        let (row, want) = (work.now.row(split), free.row(split));
        let differs = |r: RegionIx| row[r.at()] != want[r.at()];
        let owed = |r: &RegionIx| {
            let asked = g.place(split, *r).restored.is_some() || g.returning[r.at()] || is_displaced(g, split, *r);
            want[r.at()] > row[r.at()] && asked
        };
        let ramping = [MoveKind::Voluntary, MoveKind::Economic].iter().any(|k| is_ramping(g, split, *k));
        let wanted = ramping || g.ranked(split).iter().any(owed) || worth(g, split, row, want);
        let Some(reason) = frozen_at(g, split, differs).filter(|_| wanted) else { continue };
        if !work.waits[split].contains(&reason) {
            work.wait(split, reason, None);
        }
    }
}

/// One step away from such places: drained or Degraded ones.
fn leave(g: &Ground, work: &mut Work, split: usize, unrest: &Unrest, such: impl Fn(&Place) -> bool) {
    if work.was_moved(split) {
        return;
    }
    // whatever holds it, it goes on where it was
    work.keep_ramp(g, split, MoveKind::Voluntary);
    if let Some((reason, until)) = held(g, split) {
        return work.wait(split, reason, until);
    }
    let trial = work.now.row(split).to_vec();
    if let Some(reason) = frozen_at(g, split, |r| such(g.place(split, r)) && trial[r.at()] > 0) {
        work.wait(split, reason, None);
    }
    let such = |p: &Place| such(p) && !p.frozen;
    let all = on(g, &work.now, split, such);
    if all == 0 {
        return;
    }
    let step = all.min(g.q.fleet.rules.share_cap.get());
    let pass = |capped, to| Pass { kind: MoveKind::Voluntary, capped, to };
    let mut placed = 0;
    for p in [pass(true, Receivers::Settled), pass(false, Receivers::Settled), pass(false, Receivers::Fit)] {
        placed += work.now.fill(g, split, step - placed, p);
    }
    let mut left = placed;
    for region in g.ranked(split).iter().rev() {
        if such(g.place(split, *region)) {
            left -= work.now.take(g, split, *region, left);
        }
    }
    let (gains, losses) = changed(&trial, work.now.row(split));
    if let Some(until) = unrest.delays(g, split, &gains, drained_since(g, split, &trial)) {
        // a drain begins when what moved before has settled: the room that it needs may still be changing hands
        undo(g, &mut work.now, split, &trial);
        return work.wait(split, Reason::Unsettled { left: until.since(g.q.now) }, Some(until));
    }
    if let Some(rule) = follows(g, split, &losses, &gains) {
        undo(g, &mut work.now, split, &trial);
        return work.wait(split, Reason::Assertion { rule }, None);
    }
    if placed < step && placed < WORTH_STEPPING {
        undo(g, &mut work.now, split, &trial);
        return work.wait(split, Reason::Assertion { rule: "the other places cannot hold the rest".to_owned() }, None);
    }
    if let Some(rule) = too_few(g, split, &trial, &work.now) {
        undo(g, &mut work.now, split, &trial);
        return work.wait(split, Reason::Assertion { rule }, None);
    }
    if placed < step {
        work.wait(split, Reason::Assertion { rule: "the other places cannot hold the rest".to_owned() }, None);
    } else if all > step {
        let (cap, left) = (g.q.fleet.rules.share_cap, g.q.fleet.rules.settle);
        work.wait(split, Reason::ShareCap { cap, left }, Some(g.q.now + left));
    }
    if placed > 0 {
        work.stepped(g, split, MoveKind::Voluntary, all > placed);
    }
}

/// Who gained and who lost.
pub(crate) fn changed(before: &[u16], after: &[u16]) -> (Vec<RegionIx>, Vec<RegionIx>) {
    let all = || before.iter().zip(after).enumerate();
    let gained = all().filter(|(_, (b, a))| a > b).map(|(r, _)| RegionIx::from(r));
    let lost = all().filter(|(_, (b, a))| a < b).map(|(r, _)| RegionIx::from(r));
    (gained.collect(), lost.collect())
}

fn undo(g: &Ground, now: &mut Ledger, split: usize, row: &[u16]) {
    for region in (0..g.regions).map(RegionIx::from) {
        now.take(g, split, region, 10_000);
        now.put(g, split, region, row[region.at()]);
    }
}

/// The assertion, in words, where a step would leave too few serving regions.
fn too_few(g: &Ground, split: usize, before: &[u16], after: &Ledger) -> Option<String> {
    let on = |row: &[u16], above: u16| row.iter().filter(|b| **b > above).count();
    let keep = g.keep_on(split).min(on(before, 0));
    // a shed split gives up a basis point per region to rounding
    let left = on(after.row(split), u16::from(after.loose[split] > 0));
    (left < keep).then(|| format!("at least {keep} regions stay on, {left} would be left"))
}

/// When the newest drain under the split's weights was asked for.
fn drained_since(g: &Ground, split: usize, row: &[u16]) -> Option<Wall> {
    let on = (0..g.regions).filter(|r| row[*r] > 0).filter_map(|r| g.place(split, RegionIx::from(r)).drain);
    let asked = |id: u64| g.q.view.intents.drains.iter().find(|d| d.id == id).map(|d| d.at);
    on.filter_map(asked).max()
}

/// One step towards the goal: a return that a person asked for, or an economic move.
fn towards(g: &Ground, work: &mut Work, split: usize, goal: &Ledger, unrest: &Unrest) {
    let (row, want) = (work.now.row(split).to_vec(), goal.row(split));
    let gains: Vec<RegionIx> = g.ranked(split).iter().copied().filter(|r| want[r.at()] > row[r.at()]).collect();
    for region in &gains {
        work.pending[region.at()] = true;
    }
    let unsure = |r: &RegionIx| g.lawful(split, *r) && g.place(split, *r).stand == Stand::Unsure;
    let frozen = |r: &RegionIx| g.place(split, *r).frozen;
    if gains.is_empty() && !work.was_moved(split) && g.ranked(split).iter().any(|r| unsure(r) || frozen(r)) {
        // its goal is not known, as in the first moments after a restart, or may not be sought: that ends no ramp
        work.keep_ramp(g, split, MoveKind::Economic);
        work.keep_ramp(g, split, MoveKind::Voluntary);
    }
    if gains.is_empty() || work.was_moved(split) || work.has_stepped(split) || drained(g, &work.now, split) > 0 {
        return;
    }
    let back = |r: &RegionIx| g.place(split, *r).restored.is_some() || comes_back(g, split, *r);
    let asked: Vec<RegionIx> = gains.iter().copied().filter(back).collect();
    let (kind, gains) = if asked.is_empty() { (MoveKind::Economic, gains) } else { (MoveKind::Voluntary, asked) };
    // whatever holds it, a ramp goes on where it was
    work.keep_ramp(g, split, kind);
    let gate = match kind {
        MoveKind::Economic => economic_gate(g, split, &row, want, &gains, unrest),
        MoveKind::Safety | MoveKind::Voluntary => {
            // a return begins when what moved before has settled: its goal may still change
            let since = gains.iter().filter_map(|r| g.place(split, *r).restored).max();
            let until = unrest.delays(g, split, &gains, since);
            until.map(|until| (Reason::Unsettled { left: until.since(g.q.now) }, Some(until)))
        }
    };
    match gate.or_else(|| held(g, split)) {
        Some((reason, until)) => work.wait(split, reason, until),
        None => step(g, work, split, goal, kind, &gains),
    }
}

/// What left it found the same elsewhere: its share comes back without waiting for what an economic move waits for.
pub(crate) fn comes_back(g: &Ground, split: usize, region: RegionIx) -> bool {
    let service = g.service_of(split);
    let left = g.q.judged.followed.iter().any(|f| (f.service, f.from) == (service, region));
    left && is_displaced(g, split, region)
}

pub(crate) fn is_ramping(g: &Ground, split: usize, kind: MoveKind) -> bool {
    let (class, group) = (g.class_of(split), g.group_of(split));
    g.q.state.ramps.iter().any(|r| (r.class, r.group, r.kind) == (class, group, kind))
}

/// Moves at most the share cap from the worst places above their goal to the best below theirs.
fn step(g: &Ground, work: &mut Work, split: usize, goal: &Ledger, kind: MoveKind, gains: &[RegionIx]) {
    let row = work.now.row(split).to_vec();
    let want = goal.row(split);
    let spare = |r: RegionIx| match pinned(g.place(split, r)) {
        true => 0,
        false => row[r.at()].saturating_sub(want[r.at()]),
    };
    let on_offer: u16 = (0..g.regions).map(|r| spare(RegionIx::from(r))).sum();
    let mut left = on_offer.min(g.q.fleet.rules.share_cap.get());
    let mut placed = 0;
    for region in gains {
        if !g.may(split, *region, kind) || g.q.view.held_receivers.contains(region) {
            continue;
        }
        let fits = work.now.room(g, split, *region, left.min(want[region.at()] - row[region.at()]));
        work.now.put(g, split, *region, fits);
        left -= fits;
        placed += fits;
    }
    let mut owed = placed;
    for region in g.ranked(split).iter().rev() {
        owed -= work.now.take(g, split, *region, spare(*region).min(owed));
    }
    let wished: u16 = gains.iter().map(|r| want[r.at()] - row[r.at()]).sum();
    if placed < wished.min(on_offer) && placed < WORTH_STEPPING {
        return undo(g, &mut work.now, split, &row);
    }
    if let Some(rule) = too_few(g, split, &row, &work.now) {
        undo(g, &mut work.now, split, &row);
        return work.wait(split, Reason::Assertion { rule }, None);
    }
    if placed > 0 {
        let more = on_offer > placed && gains.iter().any(|r| want[r.at()] > work.now.get(split, *r));
        if more {
            let (cap, left) = (g.q.fleet.rules.share_cap, g.q.fleet.rules.settle);
            work.wait(split, Reason::ShareCap { cap, left }, Some(g.q.now + left));
        }
        work.stepped(g, split, kind, more);
    }
}

/// What an economic move waits for.
fn economic_gate(
    g: &Ground,
    split: usize,
    row: &[u16],
    want: &[u16],
    gains: &[RegionIx],
    unrest: &Unrest,
) -> Option<(Reason, Option<Mono>)> {
    let (rules, view) = (&g.q.fleet.rules, g.q.view);
    let automation = &view.intents.automation.economic;
    if !automation.is_on(view.wall) {
        let until = match automation {
            Switch::Paused { until: Some(until), .. } => Some(g.q.now + (*until - view.wall)),
            Switch::On | Switch::Paused { .. } => None,
        };
        return Some((Reason::AutomationPaused { kind: MoveKind::Economic }, until));
    }
    let until = unrest.until(g, split, gains);
    if until.is_some() || unrest.forbids(g, split, gains) {
        return Some((Reason::SafetyFirst, until));
    }
    if is_ramping(g, split, MoveKind::Economic) {
        return None;
    }
    let owed = |r: &RegionIx| g.returning[r.at()] || is_displaced(g, split, *r);
    if !worth(g, split, row, want) && !gains.iter().any(owed) {
        return Some((Reason::NotWorthIt { margin: rules.economic_margin }, None));
    }
    let moved = g.q.state.moved.get(split / g.groups).copied().flatten()?;
    let free = moved + rules.min_residency;
    (free > g.q.now).then(|| (Reason::MinResidency { left: free.since(g.q.now) }, Some(free)))
}

/// Worth a move: as many regions serve again as the assertion asks, the provider's share comes back under its maximum,
/// clients are served from nearer, or it is cheaper by the margin, in this order.
fn worth(g: &Ground, split: usize, row: &[u16], want: &[u16]) -> bool {
    let margin = i128::from(g.q.fleet.rules.economic_margin.get());
    let f = g.q.fleet;
    let max = f.classes[split / g.groups].provider_share_max.get();
    let excess = |row: &[u16]| {
        let mut by = vec![0_u16; f.providers.len()];
        for (r, b) in row.iter().enumerate() {
            by[f.regions[r].provider.at()] += b;
        }
        by.into_iter().map(|b| i128::from(b.saturating_sub(max))).sum::<i128>()
    };
    let far = |row: &[u16]| -> i128 {
        let each = row.iter().enumerate();
        each.map(|(r, b)| i128::from(*b) * i128::from(g.ring(g.group_of(split), RegionIx::from(r)))).sum()
    };
    let cost = |row: &[u16]| -> i128 {
        row.iter().enumerate().map(|(r, b)| i128::from(*b) * f.regions[r].cost_per_million.0).sum()
    };
    let on = |row: &[u16]| row.iter().filter(|b| **b > 0).count();
    if on(row) < g.keep_on(split) && on(want) > on(row) {
        return true;
    }
    // a tenth of the margin in shares is noise of rounding and demand
    if excess(want) + margin / 10 < excess(row) {
        return true;
    }
    let nearer = far(row) - far(want);
    if nearer >= margin {
        return true;
    }
    nearer > -margin && (cost(row) - cost(want)) * 10_000 >= cost(row) * margin && cost(want) < cost(row)
}

/// Moments at which an intent or a freeze window changes by itself.
fn wake_for_intents(g: &Ground, work: &mut Work) {
    let view = g.q.view;
    let switches = [&view.intents.automation.safety, &view.intents.automation.economic];
    let paused = switches.into_iter().filter_map(|s| match s {
        Switch::Paused { until, .. } => *until,
        Switch::On => None,
    });
    let drains = view.intents.drains.iter().filter_map(|d| d.until);
    let restores = view.intents.restores.iter().map(|r| r.ends());
    let freeze = g.q.fleet.rules.freeze.iter().flat_map(|f| [f.from, f.until]);
    let words = view.intents.api_words.iter().map(|w| w.until);
    let moments = paused.chain(drains).chain(restores).chain(freeze).chain(words);
    for moment in moments.chain(view.intents.ramps_aborted_until) {
        if moment > view.wall {
            work.wake_at(Some(g.q.now + (moment - view.wall).max(Millis(1))));
        }
    }
}
