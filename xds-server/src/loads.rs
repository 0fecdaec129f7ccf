//! What edges say of their load: the newest report of each, and when a drained place is empty.
//!
//! Owns the reading of reports and the phase of a drain after its weights are zero. Refuses to decide about traffic.
//!
//! An edge reports a place for as long as its assignment lists it, and every permitted place with an endpoint is listed
//! (a drained one as DRAINING): what is in its newest report is all there is. What was open at the last sight of a place
//! that left the assignment (its endpoints went out one by one, or it is permitted no longer), and that the edge does
//! not report any more, can only be waited for: until the longest route timeout, or the grace where a route has none.

use crate::clock;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidegate_domain::{Drain, EndpointIx, Fleet, Millis, Mono, Plan, RegionIx, Scope, ServiceIx, Serving};
use tidegate_translate::names;
use tidegate_xds::server::NodeInfo;
use tidegate_xds::server::lrs::{ClusterLoad, LoadObserver};

/// An edge whose newest report is older does not report (it is asked for one every second).
const FRESH: Millis = Millis(5_000);
/// Edges whose stream ended are forgotten after so long.
const KEPT: Millis = Millis(3_600_000);
/// Edges remembered at the most, with or without a stream.
const EDGES_MAX: usize = 20_000;

/// Cluster and region, by their published names.
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

#[derive(Debug, Default)]
struct Edge {
    stream: Option<u64>,
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
    clusters: BTreeSet<String>,
    regions: BTreeSet<String>,
    by_group: BTreeMap<String, BTreeSet<Place>>,
}

/// Newest load of every edge, and the moments at which drained places were left.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    edges: Mutex<BTreeMap<String, Edge>>,
    listed: ArcSwap<Listed>,
    /// By drain: all edges had acknowledged a plan without weight there. After a restart counted anew.
    emptied: Mutex<BTreeMap<u64, Mono>>,
}

/// The load of one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// New requests per second in thousandths.
    pub(crate) milli_rps: u64,
    /// Unfinished requests and streams that are reported.
    pub(crate) open: u64,
    /// Edges that no longer list the place: name, open at the last sight, when.
    left: Vec<(String, u64, Mono)>,
    /// Edges that report.
    reporting: usize,
    /// Connected edges that do not.
    silent: Vec<String>,
    /// Edges that report, but not yet since the place was left.
    before: Vec<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loads {
    /// Before a plan is published: what edges will list.
    pub(crate) fn set(&self, fleet: &Fleet, plan: &Plan) {
        let mut listed = Listed {
            clusters: (0..fleet.classes.len()).map(|c| fleet.class_name(c.into())).collect(),
            regions: (0..fleet.regions.len()).map(|r| names::locality_region(fleet, r.into())).collect(),
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
            of.extend(permitted.map(|r| (names::cluster(fleet, split.class), names::locality_region(fleet, r))));
        }
        self.listed.store(Arc::new(listed));
    }

    /// Notes the drains that are left by all edges, forgets those that do not stand or are carried again.
    pub(crate) fn note(&self, drains: &[(u64, bool)], acked: impl FnOnce() -> bool, now: Mono) {
        let mut emptied = locked(&self.emptied);
        emptied.retain(|id, _| drains.contains(&(*id, true)));
        let new: Vec<u64> =
            drains.iter().filter(|(id, empty)| *empty && !emptied.contains_key(id)).map(|d| d.0).collect();
        if !new.is_empty() && acked() {
            emptied.extend(new.into_iter().map(|id| (id, now)));
        }
        drop(emptied);
        locked(&self.edges).retain(|_, e| e.stream.is_some() || e.at.is_some_and(|at| now.since(at) < KEPT));
    }

    /// When the drain's place was left by all edges.
    pub(crate) fn emptied(&self, drain: u64) -> Option<Mono> {
        locked(&self.emptied).get(&drain).copied()
    }

    /// The load of the places that `wanted` takes, by cluster and region; `since` is when they were left.
    pub(crate) fn seen(
        &self,
        connected: &BTreeSet<String>,
        since: Option<Mono>,
        now: Mono,
        wanted: &dyn Fn(&Place) -> bool,
    ) -> Seen {
        let edges = locked(&self.edges);
        let mut seen = Seen::default();
        seen.silent.extend(connected.iter().filter(|name| !edges.get(*name).is_some_and(|e| e.fresh(now))).cloned());
        for (name, edge) in edges.iter() {
            let fresh = edge.fresh(now);
            if !fresh && !connected.contains(name) {
                continue;
            }
            for (_, left) in edge.left.iter().filter(|(place, _)| wanted(place)) {
                seen.left.push((name.clone(), left.open, left.at));
            }
            if !fresh {
                continue;
            }
            seen.reporting += 1;
            if since.is_some_and(|since| edge.at.is_none_or(|at| at <= since)) {
                seen.before.push(name.clone());
            }
            for (_, row) in edge.rows.iter().filter(|(place, _)| wanted(place)) {
                seen.milli_rps = seen.milli_rps.saturating_add(row.milli_rps());
                seen.open = seen.open.saturating_add(row.open);
            }
        }
        seen
    }

    /// (new requests per second in thousandths, unfinished requests) by region; regions of the fleet only.
    pub(crate) fn by_region(&self, now: Mono) -> BTreeMap<String, (u64, u64)> {
        let mut all: BTreeMap<String, (u64, u64)> =
            self.listed.load().regions.iter().map(|r| (r.clone(), (0, 0))).collect();
        for edge in locked(&self.edges).values().filter(|e| e.fresh(now)) {
            for ((_, region), row) in &edge.rows {
                if let Some((rate, open)) = all.get_mut(region) {
                    *rate = rate.saturating_add(row.milli_rps());
                    *open = open.saturating_add(row.open);
                }
            }
        }
        all
    }

    fn taken(&self, node: &NodeInfo, stream: u64, clusters: Vec<ClusterLoad>, now: Mono) {
        let listed = self.listed.load();
        let mut rows: BTreeMap<Place, Row> = BTreeMap::new();
        for cluster in clusters.into_iter().filter(|c| listed.clusters.contains(&c.cluster)) {
            let interval_ms = u64::try_from(cluster.interval.as_millis()).unwrap_or(u64::MAX).max(1);
            for load in cluster.localities.into_iter().filter(|l| listed.regions.contains(&l.region)) {
                let row = rows.entry((cluster.cluster.clone(), load.region)).or_default();
                row.issued = row.issued.saturating_add(load.issued);
                row.open = row.open.saturating_add(load.in_progress);
                row.interval_ms = interval_ms;
            }
        }
        let places = listed.by_group.get(&node.region);
        let mut edges = locked(&self.edges);
        // A report of a stream that a newer one has replaced says nothing new.
        if let Some(edge) = edges.get_mut(&node.id).filter(|e| e.stream == Some(stream)) {
            edge.take(rows, &|place| places.is_some_and(|p| p.contains(place)), now);
        }
    }
}

impl Seen {
    /// Whether anything can be said: some edge reports, or did until it left the place.
    pub(crate) fn reports(&self) -> bool {
        self.reporting > 0 || !self.left.is_empty()
    }
}

impl Row {
    fn milli_rps(self) -> u64 {
        self.issued.saturating_mul(1_000_000) / self.interval_ms.max(1)
    }
}

impl LoadObserver for Loads {
    fn opened(&self, node: &Arc<NodeInfo>, stream: u64) {
        let mut edges = locked(&self.edges);
        if edges.len() < EDGES_MAX || edges.contains_key(&node.id) {
            edges.entry(node.id.clone()).or_default().stream = Some(stream);
        }
    }

    fn reported(&self, node: &Arc<NodeInfo>, stream: u64, clusters: Vec<ClusterLoad>) {
        self.taken(node, stream, clusters, clock::mono());
    }

    fn gone(&self, node: &Arc<NodeInfo>, stream: u64) {
        if let Some(edge) = locked(&self.edges).get_mut(&node.id).filter(|e| e.stream == Some(stream)) {
            edge.stream = None;
        }
    }
}

/// Whether a drain's scope holds a region.
pub(crate) fn inside(fleet: &Fleet, drain: &Drain, region: RegionIx) -> bool {
    match drain.scope {
        Scope::Provider(p) => fleet.provider_of(region) == p,
        Scope::Region(r) => region == r,
    }
}

/// Whether no split of the plan has weight in the drain's place.
pub(crate) fn weightless(fleet: &Fleet, plan: &Plan, drain: &Drain) -> bool {
    let concerned =
        |class: tidegate_domain::ClassIx| drain.service.is_none_or(|s| fleet.classes[class.at()].service == s);
    !plan.splits.iter().filter(|s| concerned(s.class)).flat_map(|s| &s.weights).any(|w| inside(fleet, drain, w.region))
}

/// The published names of what a drain empties.
pub(crate) fn drained(fleet: &Fleet, drain: &Drain) -> impl Fn(&Place) -> bool {
    let regions = (0..fleet.regions.len()).map(RegionIx::from).filter(|r| inside(fleet, drain, *r));
    let regions: BTreeSet<String> = regions.map(|r| names::locality_region(fleet, r)).collect();
    let service = drain.service.map(|s| format!("{}/", fleet.services[s.at()].name));
    move |(cluster, region)| regions.contains(region) && service.as_ref().is_none_or(|s| cluster.starts_with(s))
}

/// The longest that a request of the drained services may take; none where a route has no timeout.
pub(crate) fn longest(fleet: &Fleet, drain: &Drain) -> Option<Millis> {
    let services = fleet.services.iter().enumerate().filter(|(i, _)| drain.service.is_none_or(|s| s.at() == *i));
    let routes: Vec<Millis> = services.flat_map(|(_, s)| &s.routes).map(|r| r.timeout).collect();
    if routes.iter().any(|t| t.0 == 0) { None } else { routes.into_iter().max_by_key(|t| t.0) }
}

/// How far a place is that all edges have left at `since`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Emptying {
    pub(crate) done: bool,
    /// Unfinished requests, those included that were open at the last sight and may still be.
    pub(crate) open: u64,
    pub(crate) waits: Vec<String>,
}

/// Judges by what is seen; nothing is waited for beyond the grace.
pub(crate) fn emptying(seen: &Seen, since: Mono, now: Mono, grace: Millis, longest: Option<Millis>) -> Emptying {
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

#[cfg(test)]
#[path = "loads_tests.rs"]
mod tests;
