//! The last resort before shedding: others make way. A class that fits nowhere may fit if another moves on to a third
//! place, and that one perhaps to a fourth.
//!
//! Owns the search for such chains, the shortest first: they end where there is room, else with the lowest class on the
//! way, which is then loose itself. Refuses to shed for the sake of an equal or lower class.

use crate::cycle::Work;
use crate::place::{Case, Ground, Load, Stand};
use crate::weigh::{Ledger, Pass, Receivers, pinned, quantum, receives};
use std::collections::BTreeSet;
use tidegate_domain::{MoveKind, RegionIx, ServiceIx};

/// Searches of one cycle at most: a fleet that sheds in more places than this is planned by the plain order alone.
const SEARCHES_MAX: usize = 128;
/// A chain must carry this much of the shed split, in basis points: less is rounding.
const WORTH_A_CHAIN: u16 = 20;
/// And this much where nothing has just happened to the split.
const WORTH_A_CHANGE: u16 = 100;

const PASS: Pass = Pass { kind: MoveKind::Safety, capped: false, to: Receivers::Fit };

/// One link of a chain: `split` comes to `region`; what it displaces there is the next link's.
#[derive(Debug, Clone, Copy)]
struct Link {
    split: usize,
    /// Where it leaves; none: it is loose.
    from: Option<RegionIx>,
    region: RegionIx,
    before: Option<usize>,
}

/// How a chain ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// In room.
    Room(usize),
    /// With a lower class that is shed instead, on the region of that link.
    Shed(usize, usize),
}

/// Tries chains for every split that would be shed, the highest class first.
pub(crate) fn run(g: &Ground, work: &mut Work, noise: &[Load]) {
    let noise = noise.iter().copied().max().unwrap_or(0);
    let mut searches = SEARCHES_MAX;
    for split in g.sequence.iter().copied() {
        let movable = g.case[split] == Case::Open && !g.is_held(g.service_of(split)) && quantum(g, split) > 0;
        if !movable || work.now.loose[split] == 0 {
            continue;
        }
        let loose = work.now.loose[split];
        // what an earlier chain has shed may fit elsewhere by itself
        if work.touched[split] {
            work.now.loose[split] -= work.now.fill(g, split, loose, PASS);
        }
        // first every chain worth it where something happened, then those that the same view would ask for again
        let small = work.touched[split].then_some((WORTH_A_CHAIN, 0));
        for (worth, floor) in small.into_iter().chain([(WORTH_A_CHANGE, 2 * noise + 1)]) {
            while searches > 0 && work.now.loose[split] >= worth {
                searches -= 1;
                let least = floor.max(quantum(g, split) * Load::from(worth));
                let Some((links, end)) = search(g, &work.now, split, least) else { break };
                if !pull(g, work, split, &links, end, worth) {
                    break;
                }
            }
        }
    }
}

/// Weight that may not be moved by others' need.
fn stays(g: &Ground, split: usize, region: RegionIx) -> bool {
    let place = g.place(split, region);
    g.case[split] != Case::Open || g.is_held(g.service_of(split)) || pinned(place) || place.stand == Stand::Empty
}

/// What is in the way of `split` on `region`: the region as a whole, or its own service's living endpoints.
fn obstacle(g: &Ground, now: &Ledger, split: usize, region: RegionIx, least: Load) -> (RegionIx, Option<ServiceIx>) {
    let service = g.service_of(split);
    let own = g.service_limit(service, region).saturating_sub(now.service_load(g, split, region));
    (region, (own < least).then_some(service))
}

/// Breadth first over regions: the shortest chain that ends in room for `least`, else the one to the lowest class.
fn search(g: &Ground, now: &Ledger, split: usize, least: Load) -> Option<(Vec<Link>, End)> {
    let mut links: Vec<Link> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut lowest: Option<(u8, End)> = None;
    let fits = |l: &Link| {
        let one = quantum(g, l.split);
        one * Load::from(now.room(g, l.split, l.region, 10_000)) >= least
    };
    for region in g.ranked(split).iter().copied().filter(|r| receives(g, split, *r, PASS)) {
        seen.insert(obstacle(g, now, split, region, least));
        links.push(Link { split, from: None, region, before: None });
    }
    let mut at = 0;
    while at < links.len() {
        let link = links[at];
        if fits(&link) {
            return Some((links, End::Room(at)));
        }
        let service = obstacle(g, now, link.split, link.region, least).1;
        for other in g.sequence.iter().rev().copied() {
            let has = quantum(g, other) * Load::from(now.get(other, link.region));
            let helps = service.is_none_or(|s| s == g.service_of(other));
            if has < least || !helps || other == link.split || stays(g, other, link.region) {
                continue;
            }
            let priority = g.priority(other);
            if priority > g.priority(split) && lowest.is_none_or(|(p, _)| priority > p) {
                lowest = Some((priority, End::Shed(at, other)));
            }
            for to in g.ranked(other).iter().copied() {
                let next = Link { split: other, from: Some(link.region), region: to, before: Some(at) };
                if to == link.region || !receives(g, other, to, PASS) {
                    continue;
                }
                if fits(&next) {
                    links.push(next);
                    let end = End::Room(links.len() - 1);
                    return Some((links, end));
                }
                if seen.insert(obstacle(g, now, other, to, least)) {
                    links.push(next);
                }
            }
        }
        at += 1;
    }
    lowest.map(|(_, end)| (links, end))
}

/// One shift of a chain; none: from or to what is loose.
#[derive(Debug, Clone, Copy)]
struct Shift {
    split: usize,
    from: Option<RegionIx>,
    to: Option<RegionIx>,
    amount: u16,
}

fn shift(g: &Ground, now: &mut Ledger, s: Shift) {
    match s.from {
        Some(from) => drop(now.take(g, s.split, from, s.amount)),
        None => now.loose[s.split] -= s.amount,
    }
    match s.to {
        Some(to) => now.put(g, s.split, to, s.amount),
        None => now.loose[s.split] += s.amount,
    }
}

/// Moves along a chain from its end, so that nobody comes before there is room. Where rounding eats what the split would
/// gain, nothing moves; says whether it did.
fn pull(g: &Ground, work: &mut Work, split: usize, links: &[Link], end: End, worth: u16) -> bool {
    let chain = |last: usize| std::iter::successors(Some(last), |l| links[*l].before).map(|l| links[l]);
    let load = |s: usize, amount: u16| quantum(g, s) * Load::from(amount);
    let (End::Room(last) | End::Shed(last, _)) = end;
    let final_link = links[last];
    // what the narrowest part of the chain lets through
    let mut through = load(split, work.now.loose[split]);
    for link in chain(last) {
        let has = link.from.map(|from| load(link.split, work.now.get(link.split, from)));
        through = through.min(has.unwrap_or(through));
    }
    let mut done = Vec::new();
    match end {
        End::Room(_) => {
            let room = work.now.room(g, final_link.split, final_link.region, 10_000);
            through = through.min(load(final_link.split, room));
        }
        End::Shed(_, victim) => {
            let has = work.now.get(victim, final_link.region);
            through = through.min(load(victim, has));
            let amount = through.div_ceil(quantum(g, victim).max(1)).min(u128::from(has)) as u16;
            done.push(Shift { split: victim, from: Some(final_link.region), to: None, amount });
            shift(g, &mut work.now, done[0]);
        }
    }
    let mut gained = 0;
    for link in chain(last) {
        let has = link.from.map_or(work.now.loose[split], |from| work.now.get(link.split, from));
        let wish = through.div_ceil(quantum(g, link.split).max(1)).min(u128::from(has)) as u16;
        let amount = work.now.room(g, link.split, link.region, wish);
        done.push(Shift { split: link.split, from: link.from, to: Some(link.region), amount });
        shift(g, &mut work.now, done[done.len() - 1]);
        gained = amount;
    }
    if gained < worth {
        for s in done.iter().rev() {
            shift(g, &mut work.now, Shift { from: s.to, to: s.from, ..*s });
        }
        return false;
    }
    done.iter().for_each(|s| work.touched[s.split] = true);
    true
}
