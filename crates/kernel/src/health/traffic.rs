//! What the edges' own requests say of a service in a region, whatever its health path answers.
//!
//! Owns that rule (decisions 0049, 0061) and its memory. Refuses verdicts on regions and providers: the edges speak of one service.

use super::electorate::{Count, Finding};
use super::followed;
use std::collections::BTreeMap;
use tidegate_domain::{
    Blame, Bps, Fleet, Followed, Health, Millis, Mono, PathFrom, RegionIx, ServiceIx, Slowness, State, Traffic, View,
};

/// One edge's word alone moves nothing.
const EDGES_MIN: u32 = 2;
/// So many requests must have failed: a few failures among few requests are noise.
pub(crate) const ERRORS_MIN: u64 = 5;
/// A place that lost its requests cannot be seen well by them: it is tried again after so long.
const HOLD: Millis = Millis(60_000);
/// Each relapse doubles that, so many times at most.
const RELAPSES_MAX: u8 = 5;

/// What all edges together measured of each place.
pub(super) type Sums = BTreeMap<(ServiceIx, RegionIx), Sum>;

/// What all edges together measured of one place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) edges: u32,
    erring: u32,
    failing: u32,
    answered: u32,
    slow: u32,
    issued: u64,
    pub(super) errors: u64,
    slow_requests: u64,
    slow_took: u64,
    slow_usual: u64,
    /// Some group's edges, most of them, see nothing fail: then what fails is no fault of the place.
    spared: bool,
    /// Some group's edges, most of them, see it well and quick: then it is not slow either.
    contradicted: bool,
}

/// What a place is accused of, and by how many edges.
struct Accusation {
    health: Health,
    against: u32,
    slowness: Option<Slowness>,
}

impl Sum {
    fn add(&mut self, t: &Traffic) {
        self.edges = self.edges.saturating_add(t.edges);
        self.erring = self.erring.saturating_add(t.erring);
        self.failing = self.failing.saturating_add(t.failing);
        self.answered = self.answered.saturating_add(t.answered);
        self.issued = self.issued.saturating_add(t.issued);
        self.errors = self.errors.saturating_add(t.errors);
        self.slow = self.slow.saturating_add(t.slow);
        self.slow_requests = self.slow_requests.saturating_add(t.slow_requests);
        self.slow_took = self.slow_took.saturating_add(t.slow_took.0);
        self.slow_usual = self.slow_usual.saturating_add(t.slow_usual.0);
        let erring = t.erring.saturating_add(t.failing);
        self.spared |= t.edges > 0 && !most(erring, t.edges);
        self.contradicted |= t.edges > 0 && !most(erring.saturating_add(t.slow), t.edges);
    }
    pub(super) fn rate(&self) -> Bps {
        Traffic::rate(self.issued, self.errors)
    }
    /// Its requests get through, all in all: it errs, at the worst, and does not fail.
    fn gets_through(&self) -> bool {
        self.edges >= EDGES_MIN && self.rate() < Traffic::FAILING && !self.admits_down()
    }
    /// Of the edges that sent enough there, not most get answers now: they see failures, ejected it, or none did send.
    pub(super) fn admits_down(&self) -> bool {
        !most(self.answered, self.edges)
    }
    /// Most edges find it slow.
    pub(super) fn is_slow(&self) -> bool {
        most(self.slow, self.edges)
    }
    /// Whether it can be left for: by what fails, and where the question is of time, by that too.
    pub(super) fn is_well(&self, in_time: bool) -> bool {
        self.edges > 0 && self.rate() < Traffic::ERRING && !(in_time && self.is_slow())
    }
    /// What it amounts to by itself. Slowness makes nothing Down.
    fn against(&self) -> Option<Accusation> {
        let enough = self.errors >= ERRORS_MIN;
        let all = self.erring.saturating_add(self.failing);
        let complaining = self.slow.saturating_add(if enough { all } else { 0 });
        let fails = |health, against| Some(Accusation { health, against, slowness: None });
        if self.edges < EDGES_MIN {
            None
        } else if enough && !self.spared && most(self.failing, self.edges) && self.rate() >= Traffic::FAILING {
            fails(Health::Down, self.failing)
        } else if enough && !self.spared && most(all, self.edges) && self.rate() >= Traffic::ERRING {
            fails(Health::Degraded, all)
        } else if self.slow > 0 && !self.contradicted && most(complaining, self.edges) {
            Some(Accusation { health: Health::Degraded, against: self.slow, slowness: Some(self.slowness()) })
        } else {
            None
        }
    }
    fn slowness(&self) -> Slowness {
        let requests = self.slow_requests.max(1);
        Slowness { took: Millis(self.slow_took / requests), usual: Millis(self.slow_usual.div_ceil(requests)) }
    }
}

/// How long a blame stands after the edges found it so last.
pub(super) fn hold(b: &Blame) -> Millis {
    Millis(HOLD.0 << b.relapses.min(RELAPSES_MAX))
}

fn most(n: u32, of: u32) -> bool {
    u64::from(n) * 2 > u64::from(of)
}

/// What the edges measured. Who does not get there knows nothing of the place: the path to it is found failing already, or
/// is suspected.
pub(super) fn measured(view: &View, before: &State) -> Sums {
    let lost = |t: &Traffic| {
        let here = (PathFrom::Group(t.group), t.region);
        before.paths.iter().any(|p| (p.from, p.to) == here)
            || before.suspected_paths.iter().any(|p| (p.from, p.to) == here)
    };
    let mut sums = Sums::new();
    for t in view.traffic.iter().filter(|t| !lost(t)) {
        sums.entry((t.service, t.region)).or_default().add(t);
    }
    sums
}

/// Who is blamed now, and when time alone would change it.
///
/// INVARIANT: nobody is blamed anew but by two edges and most of those that sent enough, in every client group that did, and
/// beside a sibling region that serves well (`tests/traffic.rs`, `blame_needs_its_rule`).
pub(super) fn judge(
    fleet: &Fleet,
    sums: &Sums,
    counts: &[Count],
    before: &State,
    (followed, now): (&[Followed], Mono),
) -> (Vec<Blame>, Option<Mono>) {
    let (received, before) = (&before.received, &before.blamed);
    let mut found: BTreeMap<(ServiceIx, RegionIx), Blame> =
        before.iter().map(|b| ((b.service, b.region), *b)).collect();
    // What the probers see failing they will also see well again: there the edges need not wait for a trial.
    let through = |place: &(ServiceIx, RegionIx)| sums.get(place).is_some_and(Sum::gets_through);
    found.retain(|place, _| !is_seen_down(fleet, counts, *place, through(place)));
    for ((service, region), sum) in sums {
        let key = (*service, *region);
        let Some(Accusation { health, against, slowness }) = sum.against() else { continue };
        let stands = before.iter().any(|b| (b.service, b.region) == key && b.health != Health::Healthy);
        if is_seen_down(fleet, counts, key, sum.gets_through())
            || (!stands && followed::excuses(followed, received, key, health, now))
            || !has_well_sibling(fleet, counts, sums, before, key, slowness.is_some())
        {
            continue;
        }
        let mut stood = found.get(&key).copied();
        // What is Down for its failures does not stay so for being slow.
        if let Some(b) = stood.as_mut().filter(|b| slowness.is_some() && b.health == Health::Down) {
            if now < b.seen + hold(b) {
                continue;
            }
            b.health = Health::Healthy;
        }
        let (since, relapses, health) = match stood {
            // what was worse stays so until it is over
            Some(b) if b.health == Health::Down => (b.since, b.relapses, Health::Down),
            Some(b) if b.health == Health::Degraded && health == Health::Degraded => (b.since, b.relapses, health),
            Some(b) if b.health == Health::Degraded => (now, b.relapses, health),
            Some(b) => (now, (b.relapses + 1).min(RELAPSES_MAX), health),
            None => (now, 0, health),
        };
        let (edges, rate) = (sum.edges, sum.rate());
        let (service, region) = key;
        let blame = Blame { service, region, health, since, seen: now, relapses, against, edges, rate, slowness };
        found.insert(key, blame);
    }
    // Where the requests err wherever they go, the place that was left is no worse than others: its share may come back.
    for b in found.values_mut().filter(|b| b.health == Health::Degraded) {
        if followed.iter().any(|f| (f.service, f.from) == (b.service, b.region)) {
            b.health = Health::Healthy;
        }
    }
    let mut wake = None;
    let kept = found.into_values().filter_map(|b| {
        let hold = hold(&b);
        let (over, forgotten) = (b.seen + hold, b.seen + Millis(2 * hold.0));
        if now >= forgotten {
            return None;
        }
        let health = if now >= over { Health::Healthy } else { b.health };
        wake = wake.into_iter().chain([if now >= over { forgotten } else { over }]).min();
        Some(Blame { health, ..b })
    });
    (kept.collect(), wake)
}

/// Whether a quorum of probers finds every endpoint of the service there failing; where the edges get through, beyond doubt.
fn is_seen_down(fleet: &Fleet, counts: &[Count], (service, region): (ServiceIx, RegionIx), through: bool) -> bool {
    let all = fleet.endpoints.iter().zip(counts);
    let mut own = all.filter(|(e, _)| (e.service, e.region) == (service, region)).peekable();
    own.peek().is_some()
        && own.all(|(_, c)| if through { c.outside_region.is_strong() } else { c.outside_region.is_down() })
}

/// Whether the service is well somewhere else: measured so by the edges; where they measured nothing else, seen so by the
/// probers, and not blamed; `in_time`: and not slow. Where all that is measured errs, the fault is the service's, or the requests', and follows them.
fn has_well_sibling(
    fleet: &Fleet,
    counts: &[Count],
    sums: &Sums,
    before: &[Blame],
    (service, region): (ServiceIx, RegionIx),
    in_time: bool,
) -> bool {
    let mut others = sums.iter().filter(|((s, r), _)| *s == service && *r != region).peekable();
    if others.peek().is_some() {
        return others.any(|(_, sum)| sum.is_well(in_time));
    }
    let blamed = |r: RegionIx| before.iter().any(|b| (b.service, b.region) == (service, r));
    let seen_well = |(e, c): (&tidegate_domain::Endpoint, &Count)| {
        let elsewhere = e.service == service && e.region != region && !blamed(e.region);
        elsewhere && matches!(c.outside_region, Finding::Well)
    };
    fleet.endpoints.iter().zip(counts).any(seen_well)
}

/// What the edges say of one endpoint's service where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct EdgeWord {
    /// What it is blamed for; Healthy where it was and is over. None: nothing is remembered.
    pub(super) blamed: Option<Health>,
    /// Their requests get through: it errs, at the worst.
    through: bool,
    /// They do not speak against a Down.
    pub(super) admits_down: bool,
}

impl EdgeWord {
    const NONE: Self = Self { blamed: None, through: false, admits_down: true };
}

/// By endpoint.
pub(super) fn by_endpoint(fleet: &Fleet, blamed: &[Blame], sums: &Sums) -> Vec<EdgeWord> {
    if blamed.is_empty() && sums.is_empty() {
        return vec![EdgeWord::NONE; fleet.endpoints.len()];
    }
    let of: BTreeMap<(ServiceIx, RegionIx), Health> =
        blamed.iter().map(|b| ((b.service, b.region), b.health)).collect();
    let word = |e: &tidegate_domain::Endpoint| {
        let (place, sum) = ((e.service, e.region), sums.get(&(e.service, e.region)));
        EdgeWord {
            blamed: of.get(&place).copied(),
            through: sum.is_some_and(Sum::gets_through),
            admits_down: sum.is_none_or(Sum::admits_down),
        }
    };
    fleet.endpoints.iter().map(word).collect()
}

/// The worse of what a quorum finds and what the edges blame it for. Their Down is never beyond doubt: a mass action takes
/// the probers too. Where some requests fail by chance and most get through, so do the probers' votes: a place that errs by a
/// third would else be Down and Unknown in turns.
pub(super) fn worse(finding: Finding, edges: EdgeWord) -> Finding {
    match (edges.blamed, finding) {
        (Some(Health::Degraded), Finding::Down { strong: false } | Finding::Open) if edges.through => Finding::Slow,
        (None | Some(Health::Healthy | Health::Unknown), _) | (Some(_), Finding::Down { .. }) => finding,
        (Some(Health::Down), _) => Finding::Down { strong: false },
        (Some(Health::Degraded), Finding::Well | Finding::Thin | Finding::Slow) => Finding::Slow,
        (Some(Health::Degraded), Finding::Open) => Finding::Open,
    }
}
