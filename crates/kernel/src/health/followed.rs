//! Whether what failed at a place came along when its traffic left: then the fault is the requests' or the load's, and
//! to move on would carry it from place to place.
//!
//! Owns that judgement and its memory (decision 0068). Refuses to move: `pace` takes what left back.

use super::traffic::{ERRORS_MIN, Sum, Sums, hold};
use tidegate_domain::{Blame, Followed, Health, Millis, Mono, Received, RegionIx, ServiceIx, State, Traffic};

/// What a receiver shows is believed when the window holds nothing from before it received, and a report has come since.
const SHOWN: Millis = Millis(Traffic::WINDOW.0 + 1_000);
/// Nobody of the service is blamed anew so long after it was last seen to follow.
const QUIET: Millis = Millis(60_000);
/// A receiver that shows less than this part of what the origin had too much is well.
const WELL_PART: u64 = 8;

/// What one receiver shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Half of the origin's excess or more.
    Came,
    /// Next to nothing of it.
    Well,
    /// Nothing yet, or neither.
    Open,
}

/// Which services the problem follows now, and when time alone would change it.
pub(super) fn judge(sums: &Sums, before: &State, now: Mono) -> (Vec<Followed>, Option<Mono>) {
    let mut found: Vec<Followed> = Vec::new();
    // An origin that carries again and is well: what its receivers show is their own.
    let is_well = |service, from, slow| sums.get(&(service, from)).is_some_and(|s| s.is_well(slow));
    for f in before.followed.iter().filter(|f| f.until > now) {
        if is_well(f.service, f.from, f.slow) {
            continue;
        }
        let (service, region, rate) = (f.service, f.from, u64::from(f.origin.get()));
        let origin = Origin { service, region, since: None, rate, slow: f.slow };
        match origin.worst(sums, &before.received, now) {
            Some((to, sum)) => found.push(Followed { to, rate: sum.rate(), until: f.until.max(now + QUIET), ..*f }),
            None => found.push(*f),
        }
    }
    for b in before.blamed.iter().filter(|b| matches!(b.health, Health::Degraded | Health::Down)) {
        let known = found.iter().any(|f| (f.service, f.from) == (b.service, b.region));
        let origin = Origin::of(b, sums);
        if known || is_well(b.service, b.region, origin.slow) {
            continue;
        }
        let Some((to, sum)) = origin.worst(sums, &before.received, now) else { continue };
        let (service, from, slow) = (b.service, b.region, origin.slow);
        found.push(Followed {
            service,
            from,
            to,
            since: now,
            until: now + hold(b),
            origin: b.rate,
            rate: sum.rate(),
            slow,
        });
    }
    found.sort_unstable();
    let shown = before.received.iter().flat_map(|r| [r.since + SHOWN, r.at + SHOWN]);
    let wake = found.iter().map(|f| f.until).chain(shown).filter(|at| *at > now).min();
    (found, wake)
}

/// Whether what these edges find of the place is no reason to blame it anew: it took what left a blamed place and has not
/// had time to show itself, or the problem is known to follow the service.
pub(super) fn excuses(
    followed: &[Followed],
    received: &[Received],
    (service, region): (ServiceIx, RegionIx),
    health: Health,
    now: Mono,
) -> bool {
    let mut took = received.iter().filter(|r| (r.service, r.to) == (service, region)).peekable();
    let follows = followed.iter().any(|f| f.service == service);
    // One that took nothing and fails outright has a fault of its own.
    let own = health == Health::Down && took.peek().is_none();
    (follows && !own) || took.any(|r| r.at + SHOWN > now)
}

/// The place that was left.
struct Origin {
    service: ServiceIx,
    region: RegionIx,
    /// Since when it is blamed: what took something before that has nothing to do with it.
    since: Option<Mono>,
    /// Basis points that failed there.
    rate: u64,
    slow: bool,
}

impl Origin {
    /// By what fails there now, where that is measured: the blame is renewed by it in this very judgement.
    fn of(b: &Blame, sums: &Sums) -> Self {
        let now = sums.get(&(b.service, b.region)).map(Sum::rate).filter(|rate| *rate >= Traffic::ERRING);
        let (service, region, rate) = (b.service, b.region, u64::from(now.unwrap_or(b.rate).get()));
        Self { service, region, since: Some(b.since), rate, slow: b.slowness.is_some() }
    }

    /// The receiver that shows it most; none where one of them is well: then what another shows is its own.
    fn worst<'a>(&self, sums: &'a Sums, received: &[Received], now: Mono) -> Option<(RegionIx, &'a Sum)> {
        let mut worst: Option<(RegionIx, &Sum)> = None;
        for r in received.iter().filter(|r| {
            (r.service, r.from) == (self.service, self.region) && self.since.is_none_or(|since| r.at >= since)
        }) {
            let Some(sum) = sums.get(&(r.service, r.to)) else { continue };
            match self.shows(r, sum, now) {
                Shown::Came if worst.is_none_or(|(_, w)| w.rate() < sum.rate()) => worst = Some((r.to, sum)),
                Shown::Came | Shown::Open => {}
                Shown::Well => return None,
            }
        }
        worst
    }

    fn shows(&self, r: &Received, sum: &Sum, now: Mono) -> Shown {
        if sum.edges == 0 || self.since.map_or(r.since, |s| s.max(r.since)) + SHOWN > now {
            return Shown::Open;
        }
        if self.slow {
            return if sum.is_slow() { Shown::Came } else { Shown::Well };
        }
        let usual = u64::from(r.usual.get());
        let (excess, origin) = (u64::from(sum.rate().get()).saturating_sub(usual), self.rate.saturating_sub(usual));
        if origin > 0 && sum.errors >= ERRORS_MIN && excess * 2 >= origin {
            Shown::Came
        } else if excess * WELL_PART < origin {
            Shown::Well
        } else {
            Shown::Open
        }
    }
}
