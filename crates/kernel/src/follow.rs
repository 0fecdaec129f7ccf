//! Does the problem follow the traffic? Before each step away from a gray place what the edges find failing at the
//! receivers is held against what they found failing where the traffic came from; and who received is remembered, by which
//! `health::followed` tells afterwards whether it came along.
//!
//! Owns that comparison and that memory. Refuses to blame: `health::traffic` does, and where all that is measured errs it
//! blames nobody anew.

use crate::cycle::Work;
use crate::health::ERRORS_MIN;
use crate::pace::changed;
use crate::place::Ground;
use tidegate_domain::{Blame, Bps, Health, Received, RegionIx, ServiceIx, Traffic};

/// The receiver at which at least half of the origin's excess is seen, or that is slow as the origin is, in words.
///
/// INVARIANT: no step of a drain or away from a gray place goes there while the origin is blamed or was so lately
/// (`tests/traffic.rs`, `no_step_goes_where_half_as_much_fails`).
pub(crate) fn follows(g: &Ground, split: usize, losses: &[RegionIx], gains: &[RegionIx]) -> Option<String> {
    let service = g.service_of(split);
    // One that is over counts too while it is remembered: its endpoints rise later than that.
    let is_origin = |b: &&Blame| b.service == service && b.health != Health::Down && losses.contains(&b.region);
    let origins = || g.q.judged.blamed.iter().filter(is_origin);
    let (slow, erring): (Vec<&Blame>, Vec<&Blame>) = origins().partition(|b| b.slowness.is_some());
    errors_follow(g, service, &erring, gains).or_else(|| slowness_follows(g, service, slow.first()?, gains))
}

/// Who took what left the places that are blamed, this time and before. Forgotten with the blame, and with what followed.
pub(crate) fn received(g: &Ground, work: &Work) -> Vec<Received> {
    let judged = g.q.judged;
    let blamed = |r: &Received| judged.blamed.iter().any(|b| (b.service, b.region) == (r.service, r.from));
    let followed = |r: &Received| judged.followed.iter().any(|f| (f.service, f.from) == (r.service, r.from));
    let mut all: Vec<Received> = g.q.state.received.iter().filter(|r| blamed(r) || followed(r)).copied().collect();
    for split in g.sequence.iter().copied().filter(|s| work.changed(*s) && !work.fresh[*s]) {
        let service = g.service_of(split);
        let (gains, losses) = changed(work.before.row(split), work.now.row(split));
        let ails = |b: &&Blame| b.service == service && b.health != Health::Healthy && losses.contains(&b.region);
        for from in judged.blamed.iter().filter(ails).map(|b| b.region) {
            for to in gains.iter().copied() {
                let known = all.iter_mut().find(|r| (r.service, r.from, r.to) == (service, from, to));
                match known {
                    Some(r) => r.at = g.q.now,
                    None => {
                        let (since, usual) = (g.q.now, failing(g, service, to));
                        all.push(Received { service, from, to, since, at: since, usual });
                    }
                }
            }
        }
    }
    all.sort_unstable();
    all
}

/// What part of the requests the edges see failing there.
fn failing(g: &Ground, service: ServiceIx, region: RegionIx) -> Bps {
    let (issued, errors) = measured(g, service, region);
    if issued == 0 { Bps::ZERO } else { Traffic::rate(issued, errors) }
}

/// Requests that the edges sent there, and of these, failures.
fn measured(g: &Ground, service: ServiceIx, region: RegionIx) -> (u64, u64) {
    let of = g.q.view.traffic.iter().filter(|t| (t.service, t.region) == (service, region));
    of.fold((0, 0), |sum: (u64, u64), t| (sum.0.saturating_add(t.issued), sum.1.saturating_add(t.errors)))
}

/// The receiver that errs at least half as much as the worst origin.
fn errors_follow(g: &Ground, service: ServiceIx, origins: &[&Blame], gains: &[RegionIx]) -> Option<String> {
    let f = g.q.fleet;
    let origin = origins.iter().max_by_key(|b| b.rate)?;
    let rates = gains.iter().map(|r| (*r, measured(g, service, *r))).filter(|(_, (_, errors))| *errors >= ERRORS_MIN);
    let worst = rates.map(|(r, (issued, errors))| (r, Traffic::rate(issued, errors))).max_by_key(|(_, rate)| *rate);
    let (receiver, rate) = worst.filter(|(_, rate)| rate.get().saturating_mul(2) >= origin.rate.get())?;
    Some(format!(
        "the problem follows the traffic: {} of the requests fail in {}, {} failed in {}",
        per_cent(rate),
        f.regions[receiver.at()].name,
        per_cent(origin.rate),
        f.regions[origin.region.at()].name
    ))
}

/// The receiver that most of its edges find slow too.
fn slowness_follows(g: &Ground, service: ServiceIx, origin: &Blame, gains: &[RegionIx]) -> Option<String> {
    let f = g.q.fleet;
    let measured = |r: RegionIx| {
        let of = g.q.view.traffic.iter().filter(|t| t.service == service && t.region == r);
        of.fold((0_u32, 0_u32), |sum, t| (sum.0.saturating_add(t.slow), sum.1.saturating_add(t.edges)))
    };
    let all = gains.iter().map(|r| (*r, measured(*r)));
    let mut slow = all.filter(|(_, (slow, edges))| u64::from(*slow) * 2 > u64::from(*edges));
    let (receiver, (slow, edges)) = slow.next()?;
    Some(format!(
        "the problem follows the traffic: {slow} of {edges} edges find {} slow, as {} is",
        f.regions[receiver.at()].name,
        f.regions[origin.region.at()].name
    ))
}

/// `12.34 %`.
fn per_cent(part: Bps) -> String {
    format!("{}.{:02} %", part.get() / 100, part.get() % 100)
}
