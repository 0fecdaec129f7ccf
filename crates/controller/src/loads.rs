//! What edges say of their load: the newest report of each, and when a drained place is empty.
//!
//! Owns the reading of reports and the phase of a drain after its weights are zero. Refuses to decide about traffic.
//!
//! An edge reports a place for as long as its assignment lists it, and every permitted place with an endpoint is listed
//! (a drained one as DRAINING): what is in its newest report is all there is. What was open at the last sight of a place
//! that left the assignment (its endpoints went out one by one, or it is permitted no longer), and that the edge does
//! not report any more, can only be waited for: until the longest route timeout, or the grace where a route has none.

use crate::input::{ClassLoad, LoadIn};
use crate::model::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_domain::{
    Bps, ClassIx, Drain, EndpointIx, Fleet, GroupIx, Millis, Mono, Plan, RegionIx, Scope, ServiceIx, Serving,
};

/// An edge whose newest report is older does not report (it is asked for one every second).
const FRESH: Millis = Millis(5_000);
/// Edges whose stream ended are forgotten after so long.
const KEPT: Millis = Millis(3_600_000);
/// Edges remembered at the most, with or without a stream.
const EDGES_MAX: usize = 20_000;

/// Class and region by name.
type Place = (String, String);

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    issued: u64,
    interval_ms: u64,
    open: u64,
}

/// What was there when an edge stopped listing the place.
#[derive(Debug, Clone, Copy)]
struct Left {
    open: u64,
    at: Mono,
}

#[derive(Debug, Clone, Default)]
struct Edge {
    /// The newest stream: its number rises with every stream of this process.
    stream: u64,
    open: bool,
    /// Last sign of life.
    heard: Mono,
    at: Option<Mono>,
    rows: BTreeMap<Place, Row>,
    left: BTreeMap<Place, Left>,
}

impl Edge {
    fn fresh(&self, now: Mono) -> bool {
        self.at.is_some_and(|at| now.since(at) <= FRESH)
    }

    fn take(&mut self, rows: BTreeMap<Place, Row>, listed: &dyn Fn(&Place) -> bool, now: Mono) {
        for (place, row) in std::mem::take(&mut self.rows) {
            // A place that is listed and not reported is idle; one that is not listed cannot be seen any more.
            if !rows.contains_key(&place) && !listed(&place) && (row.open > 0 || row.issued > 0) {
                self.left.insert(place, Left { open: row.open, at: now });
            }
        }
        self.left.retain(|place, _| !rows.contains_key(place) && !listed(place));
        self.rows = rows;
        self.at = Some(now);
    }
}

/// The published plan by name: which places each group's edges list.
#[derive(Debug, Default)]
struct Listed {
    classes: BTreeSet<String>,
    regions: BTreeSet<String>,
    by_group: BTreeMap<String, BTreeSet<Place>>,
}

/// Newest load of every edge, and the moments at which drained places were left. Readers get a copy: edges are shared.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    edges: BTreeMap<Arc<str>, Arc<Edge>>,
    listed: Arc<Listed>,
    /// By drain: all edges had acknowledged a plan without weight there. After a restart counted anew.
    emptied: BTreeMap<u64, Mono>,
}

/// The load of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    /// New requests per second in thousandths.
    milli_rps: u64,
    /// Unfinished requests and streams that are reported.
    open: u64,
    /// Edges that no longer list the place: name, open at the last sight, when.
    left: Vec<(String, u64, Mono)>,
    /// Edges that report.
    reporting: usize,
    /// Connected edges that do not.
    silent: Vec<String>,
    /// Edges that report, but not yet since the place was left.
    before: Vec<String>,
}

impl Loads {
    /// Before a plan is published: what edges will list.
    pub(crate) fn set(&mut self, fleet: &Fleet, plan: &Plan) {
        let mut listed = Listed {
            classes: (0..fleet.classes.len()).map(|c| fleet.class_name(c.into())).collect(),
            regions: (0..fleet.regions.len()).map(|r| fleet.regions[r].name.to_string()).collect(),
            by_group: BTreeMap::new(),
        };
        let out: BTreeSet<EndpointIx> = plan.endpoints_out.iter().copied().collect();
        let there: BTreeSet<(ServiceIx, RegionIx)> = (fleet.endpoints.iter().enumerate())
            .filter(|(i, _)| !out.contains(&EndpointIx::from(*i)))
            .map(|(_, e)| (e.service, e.region))
            .collect();
        for split in plan.splits.iter().filter(|s| matches!(s.serving, Serving::Routed { .. })) {
            let of = listed.by_group.entry(fleet.groups[split.group.at()].name.to_string()).or_default();
            let service = fleet.classes[split.class.at()].service;
            let regions =
                there.range((service, RegionIx(0))..=(service, RegionIx(u16::MAX))).map(|(_, region)| *region);
            let permitted = regions.filter(|r| fleet.permits(split.class, *r));
            of.extend(permitted.map(|r| (fleet.class_name(split.class), fleet.regions[r.at()].name.to_string())));
        }
        self.listed = Arc::new(listed);
    }

    /// Notes the drains that are left by all edges, forgets those that do not stand or are carried again; and edges that
    /// have long gone.
    pub(crate) fn note(&mut self, drains: &[(u64, bool)], acked: bool, now: Mono) {
        self.emptied.retain(|id, _| drains.contains(&(*id, true)));
        if acked {
            for (id, _) in drains.iter().filter(|(_, empty)| *empty) {
                self.emptied.entry(*id).or_insert(now);
            }
        }
        self.edges.retain(|_, e| e.open || now.since(e.heard) < KEPT);
    }

    /// Whether [`Self::note`] would change anything.
    pub(crate) fn noted(&self, drains: &[(u64, bool)], acked: bool, now: Mono) -> bool {
        let same = |(id, empty): &(u64, bool)| {
            self.emptied.contains_key(id) == (*empty && (acked || self.emptied.contains_key(id)))
        };
        drains.iter().all(same)
            && self.emptied.keys().all(|id| drains.contains(&(*id, true)))
            && self.edges.values().all(|e| e.open || now.since(e.heard) < KEPT)
    }

    /// When the drain's place was left by all edges.
    fn emptied(&self, drain: u64) -> Option<Mono> {
        self.emptied.get(&drain).copied()
    }

    /// The load of the places that `wanted` takes, by cluster and region; `since` is when they were left.
    fn seen(
        &self,
        connected: &BTreeSet<String>,
        since: Option<Mono>,
        now: Mono,
        wanted: &dyn Fn(&Place) -> bool,
    ) -> Seen {
        let edges = &self.edges;
        let mut seen = Seen::default();
        seen.silent
            .extend(connected.iter().filter(|name| !edges.get(name.as_str()).is_some_and(|e| e.fresh(now))).cloned());
        for (name, edge) in edges.iter() {
            let fresh = edge.fresh(now);
            if !fresh && !connected.contains(&**name) {
                continue;
            }
            for (_, left) in edge.left.iter().filter(|(place, _)| wanted(place)) {
                seen.left.push((name.to_string(), left.open, left.at));
            }
            if !fresh {
                continue;
            }
            seen.reporting += 1;
            if since.is_some_and(|since| edge.at.is_none_or(|at| at <= since)) {
                seen.before.push(name.to_string());
            }
            for (_, row) in edge.rows.iter().filter(|(place, _)| wanted(place)) {
                seen.milli_rps = seen.milli_rps.saturating_add(row.milli_rps());
                seen.open = seen.open.saturating_add(row.open);
            }
        }
        seen
    }

    /// (new requests per second in thousandths, unfinished requests) by region; regions of the fleet only.
    #[must_use]
    pub fn by_region(&self, now: Mono) -> BTreeMap<String, (u64, u64)> {
        let mut all: BTreeMap<String, (u64, u64)> = self.listed.regions.iter().map(|r| (r.clone(), (0, 0))).collect();
        for edge in self.edges.values().filter(|e| e.fresh(now)) {
            for ((_, region), row) in &edge.rows {
                if let Some((rate, open)) = all.get_mut(region) {
                    *rate = rate.saturating_add(row.milli_rps());
                    *open = open.saturating_add(row.open);
                }
            }
        }
        all
    }

    /// Takes what an edge says; false where it is an older stream's word, or one edge too many.
    pub(crate) fn take(&mut self, load: &LoadIn, now: Mono) -> bool {
        let (edge, stream) = match load {
            LoadIn::Opened { edge, stream } | LoadIn::Gone { edge, stream } | LoadIn::Reported { edge, stream, .. } => {
                (edge.as_str(), *stream)
            }
        };
        if self.edges.len() >= EDGES_MAX && !self.edges.contains_key(edge) {
            return false;
        }
        let listed = Arc::clone(&self.listed);
        let known = self.edges.entry(Arc::from(edge)).or_default();
        // A report of a stream that a newer one has replaced says nothing new.
        if stream < known.stream {
            return false;
        }
        let known = Arc::make_mut(known);
        (known.stream, known.open, known.heard) = (stream, !matches!(load, LoadIn::Gone { .. }), now);
        if let LoadIn::Reported { group, classes, .. } = load {
            let places = listed.by_group.get(group);
            known.take(listed.rows(classes), &|place| places.is_some_and(|p| p.contains(place)), now);
        }
        true
    }
}

impl Listed {
    /// What the fleet knows of a report.
    fn rows(&self, classes: &[ClassLoad]) -> BTreeMap<Place, Row> {
        let mut rows: BTreeMap<Place, Row> = BTreeMap::new();
        for of in classes.iter().filter(|c| self.classes.contains(&c.class)) {
            for load in of.places.iter().filter(|l| self.regions.contains(&l.region)) {
                let row = rows.entry((of.class.clone(), load.region.clone())).or_default();
                row.issued = row.issued.saturating_add(load.issued);
                row.open = row.open.saturating_add(load.open);
                row.interval_ms = of.interval.0.max(1);
            }
        }
        rows
    }
}

impl Seen {
    /// Whether anything can be said: some edge reports, or did until it left the place.
    fn reports(&self) -> bool {
        self.reporting > 0 || !self.left.is_empty()
    }
}

impl Row {
    fn milli_rps(self) -> u64 {
        self.issued.saturating_mul(1_000_000) / self.interval_ms.max(1)
    }
}

/// Whether a drain's scope holds a region.
fn inside(fleet: &Fleet, drain: &Drain, region: RegionIx) -> bool {
    match drain.scope {
        Scope::Provider(p) => fleet.provider_of(region) == p,
        Scope::Region(r) => region == r,
    }
}

/// Whether no split of the plan has weight in the drain's place.
pub(crate) fn weightless(fleet: &Fleet, plan: &Plan, drain: &Drain) -> bool {
    !plan
        .splits
        .iter()
        .filter(|s| concerned(fleet, drain, s.class))
        .flat_map(|s| &s.weights)
        .any(|w| inside(fleet, drain, w.region))
}

/// The published names of what a drain empties.
fn drained(fleet: &Fleet, drain: &Drain) -> impl Fn(&Place) -> bool + use<> {
    let regions = (0..fleet.regions.len()).map(RegionIx::from).filter(|r| inside(fleet, drain, *r));
    let regions: BTreeSet<String> = regions.map(|r| fleet.regions[r.at()].name.to_string()).collect();
    let service = drain.service.map(|s| format!("{}/", fleet.services[s.at()].name));
    move |(cluster, region)| regions.contains(region) && service.as_ref().is_none_or(|s| cluster.starts_with(s))
}

/// The longest that a request of the drained services may take; none where a route has no timeout.
fn longest(fleet: &Fleet, drain: &Drain) -> Option<Millis> {
    let services = fleet.services.iter().enumerate().filter(|(i, _)| drain.service.is_none_or(|s| s.at() == *i));
    let routes: Vec<Millis> = services.flat_map(|(_, s)| &s.routes).map(|r| r.timeout).collect();
    if routes.iter().any(|t| t.0 == 0) { None } else { routes.into_iter().max_by_key(|t| t.0) }
}

/// How far a place is that all edges have left at `since`.
#[derive(Debug, PartialEq, Eq)]
struct Emptying {
    done: bool,
    /// Unfinished requests, those included that were open at the last sight and may still be.
    open: u64,
    waits: Vec<String>,
}

/// Judges by what is seen; nothing is waited for beyond the grace.
fn emptying(seen: &Seen, since: Mono, now: Mono, grace: Millis, longest: Option<Millis>) -> Emptying {
    let may_go_on = |at: Mono| longest.is_none_or(|longest| now.since(at).0 < longest.0);
    let left: Vec<&(String, u64, Mono)> = seen.left.iter().filter(|(_, _, at)| may_go_on(*at)).collect();
    let open = left.iter().fold(seen.open, |sum, (_, open, _)| sum.saturating_add(*open));
    if seen.reporting == 0 && left.is_empty() {
        let text = "no edge reports its load: whether streams are still open cannot be seen".to_owned();
        let waits = if seen.silent.is_empty() { Vec::new() } else { vec![text] };
        return Emptying { done: true, open, waits };
    }
    let mut waits = Vec::new();
    if !left.is_empty() {
        let mut by_edge: BTreeMap<&str, u64> = BTreeMap::new();
        for (edge, open, _) in &left {
            *by_edge.entry(edge.as_str()).or_default() += open;
        }
        let list: Vec<String> = by_edge.iter().map(|(edge, open)| format!("{edge} ({open} open)")).collect();
        waits.push(format!(
            "edges that used the place up to the end and do not report it any more: {}",
            list.join(", ")
        ));
    }
    if !seen.silent.is_empty() {
        waits.push(format!(
            "edges that do not report their load, whose open streams cannot be seen: {}",
            seen.silent.join(", ")
        ));
    }
    if !seen.before.is_empty() {
        waits.push(format!("the next load report of {}", seen.before.join(", ")));
    }
    let pending = !waits.is_empty() || seen.milli_rps > 0 || seen.open > 0;
    let spent = now.since(since).0;
    let done = !pending || spent >= grace.0;
    if pending && done {
        waits.push(format!("the grace of {} s has passed; what is open may be cut off", grace.0.div_ceil(1000)));
    } else if pending {
        waits.push(format!("the grace for what is open ends in {} s", (grace.0 - spent).div_ceil(1000)));
    }
    Emptying { done, open, waits }
}

/// Where a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainPhase {
    /// Its place still has weight.
    Stepping,
    /// No weight any more; not all edges hold that plan.
    Acking,
    /// All edges have left; what is open ends.
    Emptying,
    /// Nothing is open, or the grace has passed.
    Done,
}

/// What is left of a drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainProgress {
    /// Phase.
    pub phase: DrainPhase,
    /// What still goes there: class, group, share.
    pub left: Vec<(ClassIx, GroupIx, Bps)>,
    /// New requests per second in thousandths; none where no edge reports.
    pub milli_rps: Option<u64>,
    /// Unfinished requests; none where no edge reports.
    pub open: Option<u64>,
    /// What it waits for.
    pub waits: Vec<String>,
}

/// Where `drain` stands; `connected` are the edges with a stream of resources.
pub(crate) fn progress(model: &Model, drain: &Drain, connected: &BTreeSet<String>, now: Mono) -> DrainProgress {
    let fleet = &model.fleet;
    let mut left = Vec::new();
    for split in model.plan.iter().flat_map(|p| &p.splits).filter(|s| concerned(fleet, drain, s.class)) {
        let share: u16 = split.weights.iter().filter(|w| inside(fleet, drain, w.region)).map(|w| w.share.get()).sum();
        if share > 0 {
            left.push((split.class, split.group, Bps::new(share).unwrap_or(Bps::FULL)));
        }
    }
    let emptied = model.loads.emptied(drain.id).filter(|_| left.is_empty());
    let seen = model.loads.seen(connected, emptied, now, &drained(fleet, drain));
    let (phase, open, waits) = match (left.is_empty(), emptied) {
        (false, _) => (DrainPhase::Stepping, seen.open, model.waits()),
        (true, None) => (DrainPhase::Acking, seen.open, Vec::new()),
        (true, Some(since)) => {
            let of = emptying(&seen, since, now, drain.grace, longest(fleet, drain));
            (if of.done { DrainPhase::Done } else { DrainPhase::Emptying }, of.open, of.waits)
        }
    };
    let reported = seen.reports();
    let milli_rps = reported.then_some(seen.milli_rps);
    DrainProgress { phase, left, milli_rps, open: reported.then_some(open), waits }
}

fn concerned(fleet: &Fleet, drain: &Drain, class: ClassIx) -> bool {
    drain.service.is_none_or(|s| fleet.classes[class.at()].service == s)
}

#[cfg(test)]
#[path = "loads_tests.rs"]
mod tests;
