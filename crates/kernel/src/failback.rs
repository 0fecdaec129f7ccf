//! What is owed a return: places that were lost and have to be filled again, and shares that splits lost with them.
//!
//! Owns that memory. Refuses to move anything: the paced tiers ask it.

use crate::cycle::Work;
use crate::place::{Case, Ground, Stand};
use tidegate_domain::{Bps, Displaced, MoveKind, RegionIx};

/// What the tiers have taken from splits and the splits have not got back: everything that the safety tier moved, and
/// what left a drained or Degraded place. It is over when the share is there again, or when nothing is lost anywhere and the split's
/// goal does not want it though there is room.
pub(crate) fn displaced(g: &Ground, work: &Work) -> Vec<Displaced> {
    let mut owed: Vec<Displaced> = g.q.state.displaced.iter().copied().filter(|d| is_owed(g, work, d)).collect();
    for split in g.sequence.iter().copied() {
        let forced = work.was_moved(split) && !work.fresh[split];
        if !forced && work.step_of(split) != Some(MoveKind::Voluntary) {
            continue;
        }
        for (r, (before, now)) in work.before.row(split).iter().zip(work.now.row(split)).enumerate() {
            let region = RegionIx::from(r);
            let place = g.place(split, region);
            if before > now && g.lawful(split, region) && (forced || place.drain.is_some() || place.gray) {
                let (class, group) = (g.class_of(split), g.group_of(split));
                owed.push(Displaced { class, group, region, share: Bps::clamped(u64::from(*before)) });
            }
        }
    }
    let key = |d: &Displaced| (d.class, d.group, d.region);
    owed.sort_by_key(|d| (key(d), std::cmp::Reverse(d.share)));
    owed.dedup_by_key(|d| key(d));
    owed
}

fn is_owed(g: &Ground, work: &Work, d: &Displaced) -> bool {
    let split = d.class.at() * g.groups + d.group.at();
    let known = d.group.at() < g.groups && d.region.at() < g.regions && split < g.splits();
    if !known || !matches!(g.case[split], Case::Open | Case::AllDown) || !g.lawful(split, d.region) {
        return false;
    }
    let has = work.now.get(split, d.region);
    let wanted = work.goal.as_ref().is_some_and(|goal| goal.get(split, d.region) > has);
    let room = || work.now.room(g, split, d.region, 1) > 0;
    // A gray place wants nothing while it is so.
    let ails = || g.place(split, d.region).stand == Stand::Slow;
    has < d.share.get() && (wanted || g.any_away || ails() || !room())
}

/// Whether the split lost a share of this region that it has not got back.
pub(crate) fn is_displaced(g: &Ground, split: usize, region: RegionIx) -> bool {
    let key = (g.class_of(split), g.group_of(split), region);
    g.q.state.displaced.binary_search_by_key(&key, |d| (d.class, d.group, d.region)).is_ok()
}

/// Regions that are Down or drained and carry nothing fill by ramp later, as do those that a drain of one service has
/// emptied of it; those that a ramp has filled do so no longer.
pub(crate) fn returning(g: &Ground, work: &Work) -> Vec<RegionIx> {
    let f = g.q.fleet;
    let mut carried = vec![false; g.regions];
    // a split that is still being refused something goes on filling its returning places step by step
    let mut filling = vec![false; g.regions];
    for split in &g.sequence {
        for (r, b) in work.now.row(*split).iter().enumerate() {
            carried[r] |= *b > 0;
            filling[r] |= *b > 0 && work.now.loose[*split] > 0;
        }
    }
    let mut used = vec![(0_usize, 0_usize); g.regions];
    // nobody can tell yet what a place will take that is frozen, or of which nothing is known: after a restart that is every one
    let mut untold = vec![true; g.regions];
    let mut emptied = vec![false; g.regions];
    let mut kept = vec![false; f.services.len() * g.regions];
    for split in g.sequence.iter().filter(|_| !g.q.view.intents.drains.is_empty()) {
        for (r, b) in work.now.row(*split).iter().enumerate() {
            kept[g.service_of(*split).at() * g.regions + r] |= *b > 0;
        }
    }
    for service in (0..f.services.len()).map(tidegate_domain::ServiceIx::from) {
        for (r, count) in used.iter_mut().enumerate() {
            let place = g.place_of(service, RegionIx::from(r));
            if place.stand != Stand::Empty {
                count.0 += 1;
                emptied[r] |= place.drain.is_some() && !kept[service.at() * g.regions + r];
                untold[r] &= place.stand == Stand::Unsure || place.frozen;
                count.1 += usize::from(place.drain.is_some() || matches!(place.stand, Stand::Out | Stand::Held));
            }
        }
    }
    (0..g.regions)
        .map(RegionIx::from)
        .filter(|r| {
            let (places, away) = used[r.at()];
            let gone = places > 0 && away == places;
            let was = g.returning[r.at()] && !gone;
            let open = work.pending[r.at()] || filling[r.at()] || untold[r.at()];
            (gone && !carried[r.at()]) || emptied[r.at()] || (was && open)
        })
        .collect()
}
