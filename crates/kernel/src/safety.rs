//! The safety tier: away from what is Down or forbidden and below every limit, in one step, at once.
//!
//! Owns vacating, trimming, refilling and shedding. Bound by policy's answer for safety moves, by the switch and by
//! doubt; never by share cap, residency or freeze. A returning place receives only what would else be refused.

use crate::cycle::Work;
use crate::place::{Case, Ground, Load, Stand};
use crate::relocate;
use crate::weigh::{Pass, Receivers, Standing, lay_weights, quantum};
use tidegate_domain::{Bps, MoveKind, Plan, RegionIx, Serving, Weight, apportion};

/// Runs the tier over every split.
pub(crate) fn run(g: &Ground, work: &mut Work, before_down: Option<&Plan>) {
    for split in g.sequence.clone() {
        match g.case[split] {
            Case::AllDown => hold_open(g, work, split, before_down),
            Case::Open => vacate(g, work, split),
            Case::WrongJurisdiction | Case::NoPlace => {}
        }
    }
    if g.safety_on {
        trim(g, work);
    }
    let mut noise = work.before.noise(g);
    let mut tail = vec![g.sequence.len(); g.regions];
    for split in g.sequence.clone() {
        if g.case[split] == Case::Open {
            refill(g, work, split, &mut tail, &noise);
            if work.before.loose[split] > 0 && work.now.loose[split] == 0 {
                work.before.quieten(g, split, &mut noise);
            }
        }
    }
    if g.safety_on {
        relocate::run(g, work, &noise);
    }
}

/// Decides what becomes of the splits that come back from an all-down. What lives first can rarely hold everything, and
/// the rest follows within moments: the weights from before stay, over what lives and what is coming, while every place
/// under them answers again at least; then until the living places hold every class without shedding more; and never
/// longer than the time that is given for it. The data plane meanwhile keeps away from what is dead by itself.
pub(crate) fn wake_up(g: &mut Ground, before_down: Option<&Plan>) {
    if g.waking.is_empty() || !g.waits_in_vain() {
        return;
    }
    let outcome = |g: &Ground| {
        let mut work = Work::new(g);
        run(g, &mut work, before_down);
        work.now.loose
    };
    let held = outcome(g);
    g.release();
    let released = outcome(g);
    if released.iter().zip(&held).any(|(r, h)| r > h) {
        g.hold();
    }
}

/// Takes everything off places that are Down, not reached from the split's side, or no longer lawful.
fn vacate(g: &Ground, work: &mut Work, split: usize) {
    if work.fresh[split] {
        let stranded: u16 = work.now.row(split).iter().sum();
        debug_assert_eq!(stranded, 0, "a fresh split stands nowhere");
        work.now.loose[split] = 10_000;
        work.touched[split] = true;
        return;
    }
    for region in standing_regions(g, split) {
        if g.lawful(split, region) && !matches!(g.place(split, region).stand, Stand::Out | Stand::Cut) {
            continue;
        }
        work.now.loose[split] += work.now.take(g, split, region, 10_000);
        work.touched[split] = true;
        work.vacated[split] = true;
    }
}

/// Regions with weight in the standing plan, zero load included.
fn standing_regions(g: &Ground, split: usize) -> Vec<RegionIx> {
    let plan = g.q.state.plan.as_ref();
    let old = plan.and_then(|p| p.split(g.class_of(split), g.group_of(split)));
    old.map(|s| s.weights.iter().map(|w| w.region).collect()).unwrap_or_default()
}

/// Everything permitted is down: the weights from before the first Down stay over the lawful, undrained set.
fn hold_open(g: &Ground, work: &mut Work, split: usize, before_down: Option<&Plan>) {
    let (class, group) = (g.class_of(split), g.group_of(split));
    let weights_of = |p: Option<&Plan>| p.and_then(|p| p.split(class, group)).map(|s| s.weights.clone());
    let earlier = weights_of(before_down).unwrap_or_default();
    let standing = weights_of(g.q.state.plan.as_ref()).unwrap_or_default();
    let lawful = |r: RegionIx| r.at() < g.regions && g.lawful(split, r);
    let undrained = |r: RegionIx| lawful(r) && g.place(split, r).drain.is_none();
    let options = [narrow(&earlier, undrained), narrow(&standing, undrained), narrow(&standing, lawful)];
    let held = options.into_iter().find(|w| !w.is_empty()).unwrap_or_else(|| {
        let all: Vec<RegionIx> = g.ranked(split).iter().copied().filter(|r| lawful(*r)).collect();
        let open = all.iter().find(|r| undrained(**r)).or(all.first());
        open.map(|r| vec![Weight { region: *r, share: Bps::FULL }]).unwrap_or_default()
    });
    let shed = g.q.state.plan.as_ref().and_then(|p| p.split(class, group)).map(|s| s.serving);
    if held == standing && shed == Some(Serving::Routed { shed: Bps::ZERO }) {
        return;
    }
    for region in (0..g.regions).map(RegionIx::from) {
        work.now.take(g, split, region, 10_000);
    }
    lay_weights(g, &mut work.now, split, &held, Bps::ZERO);
    work.touched[split] = true;
}

fn narrow(weights: &[Weight], keep: impl Fn(RegionIx) -> bool) -> Vec<Weight> {
    let kept: Vec<&Weight> = weights.iter().filter(|w| keep(w.region)).collect();
    let shares = apportion(&kept.iter().map(|w| u64::from(w.share.get())).collect::<Vec<_>>());
    kept.iter().zip(shares).map(|(w, share)| Weight { region: w.region, share }).collect()
}

/// Takes the overflow off every region above its limit, lowest class first.
fn trim(g: &Ground, work: &mut Work) {
    let mut exact = None;
    let laid_anew = g.sequence.iter().any(|s| g.case[*s] == Case::AllDown && work.touched[*s]);
    for split in g.sequence.iter().rev().copied() {
        if g.case[split] == Case::AllDown || quantum(g, split) == 0 {
            continue;
        }
        for region in (0..g.regions).map(RegionIx::from) {
            if work.now.get(split, region) == 0 || g.place(split, region).stand == Stand::Held {
                continue;
            }
            let over = work.now.over(g, split, region);
            // the ledger rounds what stands up: where the plan itself keeps the limit, nothing has to leave
            let kept = |s: &Standing| !laid_anew && !s.is_over(g, split, region);
            if over > 0 && !kept(exact.get_or_insert_with(|| Standing::of(g))) {
                let amount = over.div_ceil(quantum(g, split)).min(10_000) as u16;
                work.now.loose[split] += work.now.take(g, split, region, amount);
                work.touched[split] = true;
            }
        }
    }
}

/// Finds places for what is loose; what stays loose is shed.
fn refill(g: &Ground, work: &mut Work, split: usize, tail: &mut [usize], noise: &[Load]) {
    let loose = work.now.loose[split];
    let acute = work.touched[split];
    let held = g.is_held(g.service_of(split)) && !work.fresh[split] && !work.vacated[split];
    if loose == 0 || held {
        return;
    }
    if work.fresh[split] {
        return first(g, work, split, tail);
    }
    let pass = |capped, to| Pass { kind: MoveKind::Safety, capped, to };
    let row: Vec<u16> = work.now.row(split).to_vec();
    let mut left = loose;
    for capped in [true, false] {
        left -= work.now.fill(g, split, left, pass(capped, Receivers::Settled));
    }
    left -= evict(g, work, split, left, acute, tail);
    // what would else be refused returns at once: no ramp is slower than a refusal
    left -= work.now.fill(g, split, left, pass(false, Receivers::Returning));
    left -= work.now.fill(g, split, left, pass(false, Receivers::Slow));
    if acute || work.now.worth_filling(g, split, &row, loose, noise) {
        work.now.loose[split] = left;
        work.touched[split] |= left != loose;
        return;
    }
    for region in (0..g.regions).map(RegionIx::from) {
        let gained = work.now.get(split, region) - row[region.at()];
        work.now.take(g, split, region, gained);
    }
}

/// The first weights of a split that stands nowhere yet. Places of which nothing is known yet may take part.
fn first(g: &Ground, work: &mut Work, split: usize, tail: &mut [usize]) {
    let mut left = work.now.loose[split];
    let usual = Pass { kind: MoveKind::Economic, capped: true, to: Receivers::Unjudged };
    for kind in [MoveKind::Economic, MoveKind::Safety] {
        for capped in [true, false] {
            left -= work.now.fill(g, split, left, Pass { kind, capped, to: Receivers::Unjudged });
        }
    }
    left -= evict(g, work, split, left, true, tail);
    left -= work.now.fill(g, split, left, Pass { kind: MoveKind::Safety, capped: false, to: Receivers::Slow });
    work.now.loose[split] = left;
    work.now.spread(g, split, usual);
}

/// Makes room by taking places from lower classes (of the same class number: from wider ones), the lowest first.
/// What these lose is loose again and planned after this split. `tail[r]`: beyond it nobody stands on `r`.
fn evict(g: &Ground, work: &mut Work, split: usize, want: u16, acute: bool, tail: &mut [usize]) -> u16 {
    let one = quantum(g, split);
    let key = |s: usize| (g.priority(s), g.width[s]);
    let mut left = want;
    if want == 0 || one == 0 {
        return 0;
    }
    for region in g.ranked(split) {
        let place = g.place(split, *region);
        let fit = place.stand == Stand::Fit && place.drain.is_none();
        let open = !g.q.view.held_receivers.contains(region);
        if left == 0 || !fit || !open || !g.may(split, *region, MoveKind::Safety) {
            continue;
        }
        // A split that stood still disturbs others only for a gain worth it.
        let wish = left;
        let lower = || {
            let after = g.sequence.iter().rev().take_while(|v| key(**v) > key(split));
            after.map(|v| quantum(g, *v) * u128::from(work.now.get(*v, *region))).sum::<u128>()
        };
        if !acute && (wish < 100 || lower() < one * 100) {
            continue;
        }
        let mut at = tail[region.at()];
        let mut passed_over = false;
        while at > 0 && work.now.room(g, split, *region, wish) < wish {
            let victim = g.sequence[at - 1];
            if key(victim) <= key(split) {
                break;
            }
            let has = work.now.get(victim, *region);
            let stays = g.case[victim] == Case::AllDown || g.place(victim, *region).stand == Stand::Held;
            let weight = quantum(g, victim);
            if has == 0 || stays || weight == 0 {
                at -= 1;
                continue;
            }
            // another service's leaving helps only as far as the service's own living endpoints hold
            let own_room =
                g.service_limit(g.service_of(split), *region).saturating_sub(work.now.service_load(g, split, *region));
            let sibling = g.service_of(victim) == g.service_of(split);
            let most = if sibling { wish } else { (own_room / one).min(u128::from(wish)) as u16 };
            let fits = work.now.room(g, split, *region, wish);
            if most <= fits {
                passed_over = true;
                at -= 1;
                continue;
            }
            let missing = one * u128::from(most - fits);
            let amount = missing.div_ceil(weight).min(u128::from(has)) as u16;
            let taken = work.now.take(g, victim, *region, amount);
            work.now.loose[victim] += taken;
            work.touched[victim] = true;
        }
        if !passed_over {
            tail[region.at()] = at;
        }
        let fits = work.now.room(g, split, *region, wish);
        work.now.put(g, split, *region, fits);
        left -= fits;
    }
    want - left
}
