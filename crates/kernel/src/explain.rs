//! Why, and why not: the report of a cycle. Owns no decision; reads what the tiers did.

use crate::cycle::Work;
use crate::failback::is_displaced;
use crate::place::{Case, Ground, Stand};
use crate::weigh::quantum;
use tidegate_domain::{
    Accused, Alarm, Bps, ClassSplit, Disposition, EndpointIx, Health, MilliRps, Mono, Move, MoveKind, PathFailure,
    PathFrom, Plan, Reason, RegionIx, RegionReport, Report, Serving, SplitReport,
};

/// Explains a plan.
pub(crate) fn report(g: &Ground, work: &Work, plan: &Plan) -> Report {
    let coming_up = coming_up(g);
    let mut splits = Vec::with_capacity(plan.splits.len());
    let mut moves = Vec::new();
    for (split, after) in plan.splits.iter().enumerate() {
        let far = after.weights.iter().map(|w| g.ring(after.group, w.region)).max().unwrap_or(0);
        let mut shares = vec![Bps::ZERO; g.regions];
        for w in &after.weights {
            shares[w.region.at()] = w.share;
        }
        let regions = (0..g.regions)
            .map(RegionIx::from)
            .filter(|r| g.place(split, *r).stand != Stand::Empty)
            .map(|r| region_report(g, work, split, r, shares[r.at()], far, &coming_up))
            .collect();
        splits.push(SplitReport { class: after.class, group: after.group, regions, waits: waits(g, work, split) });
        moves.extend(moved(g, work, split, after));
    }
    Report { splits, moves, alarms: alarms(g, plan) }
}

fn waits(g: &Ground, work: &Work, split: usize) -> Vec<Reason> {
    let mut waits = work.waits[split].clone();
    let out = |r: usize| g.place(split, RegionIx::from(r)).stand == Stand::Held && work.now.row(split)[r] > 0;
    if (0..g.regions).any(out) {
        waits.insert(0, held_by(g, split));
    }
    if g.case[split] == Case::WrongJurisdiction {
        let jurisdiction = g.q.fleet.groups[split % g.groups].jurisdiction;
        waits.push(Reason::NotPermitted { jurisdiction });
    }
    waits
}

fn held_by(g: &Ground, split: usize) -> Reason {
    if g.doubted.contains(&g.service_of(split)) {
        Reason::Doubted
    } else {
        Reason::AutomationPaused { kind: MoveKind::Safety }
    }
}

/// Per service × region: what is left of the slow way up, where it has begun.
fn coming_up(g: &Ground) -> Vec<Option<Mono>> {
    let f = g.q.fleet;
    let mut up = vec![None; f.services.len() * g.regions];
    for (i, e) in f.endpoints.iter().enumerate() {
        let well = g.q.judged.endpoints.get(i).and_then(|h| h.well_since);
        if let Some(since) = well {
            let at = &mut up[e.service.at() * g.regions + e.region.at()];
            *at = Some(at.map_or(since + f.rules.up_after, |a: Mono| a.min(since + f.rules.up_after)));
        }
    }
    up
}

fn region_report(
    g: &Ground,
    work: &Work,
    split: usize,
    region: RegionIx,
    share: Bps,
    far: u16,
    coming_up: &[Option<Mono>],
) -> RegionReport {
    let mut reasons = match closed(g, split, region) {
        Some(reason) => vec![reason],
        None if share > Bps::ZERO => carries(g, split, region),
        None => vec![idle(g, work, split, region, far)],
    };
    let place = g.place(split, region);
    if place.stand == Stand::Out {
        let up = coming_up[g.service_of(split).at() * g.regions + region.at()];
        reasons.extend(up.filter(|u| *u > g.q.now).map(|u| Reason::ComingUp { left: u.since(g.q.now) }));
    }
    let disposition = match share {
        Bps::ZERO if closed(g, split, region).is_some() => Disposition::Excluded,
        Bps::ZERO => Disposition::Idle,
        share => Disposition::Carries(share),
    };
    RegionReport { region, disposition, reasons }
}

/// Why the class can never be there, as things are configured and judged by policy.
fn closed(g: &Ground, split: usize, region: RegionIx) -> Option<Reason> {
    let f = g.q.fleet;
    if g.case[split] == Case::WrongJurisdiction {
        return Some(Reason::NotPermitted { jurisdiction: f.groups[split % g.groups].jurisdiction });
    }
    let jurisdiction = f.regions[region.at()].jurisdiction;
    if !g.configured(split, region) {
        return Some(Reason::NotPermitted { jurisdiction });
    }
    (!g.lawful(split, region)).then(|| denied(g, split, region, MoveKind::Safety))
}

fn denied(g: &Ground, split: usize, region: RegionIx, kind: MoveKind) -> Reason {
    let jurisdiction = g.q.fleet.regions[region.at()].jurisdiction;
    let reason = g.q.mask.reason(g.class_of(split), jurisdiction, kind).to_owned();
    Reason::DeniedByPolicy { kind, reason }
}

/// Why a region carries what it carries.
fn carries(g: &Ground, split: usize, region: RegionIx) -> Vec<Reason> {
    let place = g.place(split, region);
    let mut reasons = Vec::with_capacity(1);
    if g.case[split] == Case::AllDown {
        reasons.push(Reason::AllDownHeld);
    }
    match place.stand {
        Stand::Held => reasons.extend([held_by(g, split), unfit(g, split, region, Health::Down)]),
        Stand::Out => reasons.push(unfit(g, split, region, Health::Down)),
        Stand::Unsure => reasons.push(unfit(g, split, region, Health::Unknown)),
        Stand::Slow => reasons.push(unfit(g, split, region, Health::Degraded)),
        Stand::Cut => reasons.push(not_reached(g, split, region)),
        Stand::Fit | Stand::Empty => {}
    }
    reasons.extend(place.drain.map(|id| Reason::Drained { id }));
    if reasons.is_empty() {
        reasons.push(Reason::Chosen);
    }
    if place.frozen {
        reasons.push(Reason::ApiTrouble { provider: g.q.fleet.provider_of(region) });
    }
    reasons
}

/// Why a region that could carry does not.
fn idle(g: &Ground, work: &Work, split: usize, region: RegionIx, far: u16) -> Reason {
    let place = g.place(split, region);
    let class = &g.q.fleet.classes[split / g.groups];
    match place.stand {
        Stand::Out | Stand::Held => return unfit(g, split, region, Health::Down),
        Stand::Unsure => return unfit(g, split, region, Health::Unknown),
        Stand::Slow => return unfit(g, split, region, Health::Degraded),
        Stand::Cut => return not_reached(g, split, region),
        Stand::Fit | Stand::Empty => {}
    }
    if let Some(id) = place.drain {
        return Reason::Drained { id };
    }
    for kind in [MoveKind::Economic, MoveKind::Safety] {
        if !g.may(split, region, kind) {
            return denied(g, split, region, kind);
        }
    }
    if quantum(g, split) > 0 && work.now.room(g, split, region, 1) == 0 {
        return Reason::Full { limit: MilliRps(limit(g, split, region)) };
    }
    if place.frozen {
        return Reason::ApiTrouble { provider: g.q.fleet.provider_of(region) };
    }
    if let Some(reason) = work.waits[split].first().filter(|_| work.pending[region.at()]) {
        return reason.clone();
    }
    let ring = g.ring(g.group_of(split), region);
    if ring > far {
        return Reason::FartherRing { ring };
    }
    let max = class.provider_share_max;
    if work.now.provider_share(g, split, region) >= max.get() {
        return Reason::ProviderShare { max };
    }
    if ring > 0
        && work.now.row(split).iter().zip(0..).any(|(b, r)| *b > 0 && g.ring(g.group_of(split), RegionIx(r)) < ring)
    {
        return Reason::FartherRing { ring };
    }
    Reason::Dearer
}

/// Usable capacity of the split's service there, in milli-rps.
fn limit(g: &Ground, split: usize, region: RegionIx) -> u64 {
    u64::try_from(g.service_limit(g.service_of(split), region) / 100_000_000).unwrap_or(u64::MAX)
}

/// Names the widest verdict that stands against the place.
fn unfit(g: &Ground, split: usize, region: RegionIx, health: Health) -> Reason {
    let f = g.q.fleet;
    let service = g.service_of(split);
    let blame = g.q.judged.blamed.iter().find(|b| (b.service, b.region) == (service, region));
    if let Some(b) = blame.filter(|b| b.health == health && !g.region_is_down(region)) {
        let (against, edges) = (b.against, b.edges);
        return match b.slowness {
            Some(slowness) => Reason::Slow { against, edges, slowness },
            None => Reason::Erring { against, edges, rate: b.rate },
        };
    }
    let provider = f.provider_of(region);
    let provider_down = g.q.judged.providers.get(provider.at()).is_some_and(|p| p.0 == Health::Down);
    let accused = if health == Health::Down && provider_down {
        Accused::Provider(provider)
    } else if health == Health::Down && !g.region_is_down(region) {
        // only this service's endpoints are: name the first
        let first = f.endpoints.iter().position(|e| e.service == service && e.region == region);
        first.map_or(Accused::Region(region), |i| Accused::Endpoint(EndpointIx::from(i)))
    } else {
        Accused::Region(region)
    };
    Reason::Unfit { accused, health }
}

/// The evidence that the split's clients do not reach the region.
fn not_reached(g: &Ground, split: usize, region: RegionIx) -> Reason {
    let from = PathFrom::Group(g.group_of(split));
    let path = g.q.judged.paths.iter().find(|p| p.from == from && p.to == region);
    let of = |f: fn(&PathFailure) -> u16| path.map_or(0, f);
    Reason::NotReached {
        failing: of(|p| p.failing),
        near: of(|p| p.near),
        well: of(|p| p.well),
        elsewhere: of(|p| p.elsewhere),
    }
}

/// The change of one split, with the reason of the region that loses most.
fn moved(g: &Ground, work: &Work, split: usize, after: &ClassSplit) -> Option<Move> {
    let before = g.q.state.plan.as_ref()?.split(after.class, after.group)?;
    if before.weights.is_empty() || (before.weights == after.weights && before.serving == after.serving) {
        return None;
    }
    let kind = work.kind(split);
    let (old, new) = (work.before.row(split), work.now.row(split));
    let gained: u16 = new.iter().zip(old).map(|(n, o)| n.saturating_sub(*o)).sum();
    let lost: u16 = old.iter().zip(new).map(|(o, n)| o.saturating_sub(*n)).sum();
    let loser = before
        .weights
        .iter()
        .map(|w| w.region)
        .filter(|r| r.at() < g.regions)
        .max_by_key(|r| (old[r.at()].saturating_sub(new[r.at()]), std::cmp::Reverse(r.at())))?;
    // what is newly shed moves too; a paced step sheds nothing but rounding
    let share = if kind == MoveKind::Safety { gained.max(lost) } else { gained };
    let winner = (0..g.regions).max_by_key(|r| (new[*r].saturating_sub(old[*r]), std::cmp::Reverse(*r)));
    let back = winner.map(RegionIx::from).filter(|r| {
        let place = g.place(split, *r);
        g.returning[r.at()] && place.stand == Stand::Fit && place.drain.is_none() && new[r.at()] > old[r.at()]
    });
    let service = g.service_of(split);
    let mut came_along = g.q.judged.followed.iter().filter(|f| {
        let (kept, has) = (old[f.from.at()], new[f.from.at()]);
        kind == MoveKind::Voluntary && f.service == service && has > kept && is_displaced(g, split, f.from)
    });
    let cause = match came_along.next() {
        Some(f) => Reason::Followed { from: f.from, to: f.to },
        None => lost_because(g, split, loser, kind, lost, back),
    };
    Some(Move { class: after.class, group: after.group, kind, share: Bps::clamped(u64::from(share)), cause })
}

/// `back`: the place that gains most, where it was Down or drained before.
fn lost_because(
    g: &Ground,
    split: usize,
    loser: RegionIx,
    kind: MoveKind,
    lost: u16,
    back: Option<RegionIx>,
) -> Reason {
    let place = g.place(split, loser);
    if g.case[split] == Case::AllDown {
        return Reason::AllDownHeld;
    }
    if let Some(reason) = closed(g, split, loser) {
        return reason;
    }
    let away = matches!(place.stand, Stand::Out | Stand::Cut) || place.drain.is_some();
    if let Some(to) = back.filter(|_| !away) {
        return Reason::Unfit { accused: Accused::Region(to), health: Health::Healthy };
    }
    match (kind, place.stand, place.drain) {
        (MoveKind::Safety, Stand::Out, _) => unfit(g, split, loser, Health::Down),
        (MoveKind::Safety, Stand::Cut, _) => not_reached(g, split, loser),
        (MoveKind::Voluntary, _, Some(id)) => Reason::Drained { id },
        (MoveKind::Voluntary, Stand::Slow, None) => unfit(g, split, loser, Health::Degraded),
        (MoveKind::Safety, _, _) if lost == 0 => Reason::Chosen,
        (MoveKind::Safety, _, _) => Reason::Full { limit: MilliRps(limit(g, split, loser)) },
        (MoveKind::Voluntary | MoveKind::Economic, _, _) => match g.ring(g.group_of(split), loser) {
            0 => Reason::Dearer,
            ring => Reason::FartherRing { ring },
        },
    }
}

/// Regions that have been Unknown: since when, and when that becomes an alarm.
pub(crate) fn unknown_since(g: &Ground) -> Vec<(RegionIx, Mono)> {
    let alarm = g.q.fleet.rules.unknown_alarm;
    let holds = |r: usize| g.order.first().is_some_and(|o| o.contains(&RegionIx::from(r)));
    let all = g.q.judged.regions.iter().enumerate();
    all.filter(|(r, (health, _))| *health == Health::Unknown && holds(*r))
        .map(|(r, (_, since))| (RegionIx::from(r), *since + alarm))
        .collect()
}

fn alarms(g: &Ground, plan: &Plan) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = g.q.judged.all_down.iter().map(|class| Alarm::AllDown { class: *class }).collect();
    let stood = |class: tidegate_domain::ClassIx| {
        let standing = |group: usize| g.q.state.plan.as_ref().and_then(|p| p.split(class, group.into()));
        (0..g.groups).filter_map(standing).any(|s| !s.weights.is_empty())
    };
    let out_of_sight = g.q.judged.out_of_sight.iter().copied().filter(|class| stood(*class));
    alarms.extend(out_of_sight.map(|class| Alarm::AllDown { class }));
    for (split, s) in plan.splits.iter().enumerate() {
        match (g.case[split], s.serving) {
            (Case::AllDown, _) => alarms.push(Alarm::AllDown { class: s.class }),
            (_, Serving::NoPlace) => alarms.push(Alarm::NoPlace { class: s.class }),
            (_, Serving::Routed { shed }) if shed > Bps::ZERO => {
                alarms.push(Alarm::Shedding { class: s.class, group: s.group, shed });
            }
            (_, Serving::Routed { .. } | Serving::WrongJurisdiction) => {}
        }
    }
    alarms.extend(g.doubted.iter().map(|service| Alarm::Doubt { service: *service }));
    let long = unknown_since(g).into_iter().filter(|(_, at)| *at <= g.q.now);
    alarms.extend(long.map(|(region, _)| Alarm::LongUnknown { region }));
    let rule = g.q.fleet.rules.unknown_alarm;
    let cut = g.q.judged.cut_off.iter().filter(|c| c.since + rule <= g.q.now);
    alarms.extend(cut.map(|c| Alarm::CutOff { vantage: c.vantage }));
    let apis = g.q.judged.apis.iter().filter(|a| a.since + rule <= g.q.now);
    alarms.extend(g.q.judged.partition.iter().filter(|p| p.since + rule <= g.q.now).map(|_| Alarm::Partition));
    alarms.extend(g.q.judged.followed.iter().map(|f| Alarm::Followed { service: f.service }));
    alarms.extend(apis.map(|a| Alarm::ApiTrouble { provider: a.provider }));
    alarms.sort();
    alarms.dedup();
    alarms
}
