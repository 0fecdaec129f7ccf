//! A cluster with its assignment: immutable but for counters and for who is out.
//!
//! Owns the pick. Between places the shares are exact (see [`Sequence`]); within one, the less loaded of two drawn
//! endpoints. A retry looks for another provider first, in the weights and then in the spill rings, then for another
//! endpoint, then takes anything. When everything permitted is out, everything permitted is tried: the network's doubt
//! must not become an outage of its own.

use super::pulse::Pulse;
use super::{Host, Memory, Sequence, random, random_below};
use crate::load::PlaceLoad;
use crate::metrics::{Metrics, PlaceMeters};
use crate::model::{Assignment, Budget, ClusterSpec};
use crate::upstream::Dialer;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::SystemTime;

/// Scale of a part within shares that are computed.
const SCALE: u64 = 1 << 32;
/// Parts per million.
const WHOLE: u64 = 1_000_000;

/// A region in one priority, with the endpoints that may be used.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) region: Arc<str>,
    pub(crate) provider: Arc<str>,
    pub(crate) jurisdiction: String,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    pub(crate) hosts: Vec<Arc<Host>>,
    /// Endpoints that end what they have and are given nothing. They are not among the hosts: no pick can reach them.
    pub(crate) draining: usize,
    pub(crate) load: Arc<PlaceLoad>,
    pub(crate) meters: Arc<PlaceMeters>,
    pub(crate) pulse: Arc<Pulse>,
}

/// What outlives an assignment.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) requests: AtomicU32,
    pub(crate) retries: AtomicU32,
    /// Requests refused because they were shed or over a limit.
    pub(crate) dropped: AtomicU64,
    picks: Sequence,
    sheds: Sequence,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            requests: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            dropped: AtomicU64::new(0),
            picks: Sequence::starting_at(random()),
            sheds: Sequence::starting_at(random()),
        }
    }
}

impl Runtime {
    /// Leave for one more retry under the budget; give it back with [`Runtime::end_retry`].
    pub(crate) fn begin_retry(&self, budget: Budget) -> bool {
        let limit = match budget {
            Budget::Fixed(limit) => limit,
            Budget::Share { percent, floor } => {
                let share = f64::from(self.requests.load(Ordering::Relaxed)) * percent / 100.0;
                (share as u32).max(floor)
            }
        };
        let before = self.retries.fetch_add(1, Ordering::Relaxed);
        if before >= limit {
            self.retries.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn end_retry(&self) {
        self.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shares of places as they stand with those that are out.
#[derive(Debug, Default)]
struct Live {
    /// (end of its part, place)
    parts: Vec<(u64, usize)>,
    total: u64,
    /// Everything is out: endpoints that are out count as in.
    fail_open: bool,
    /// Who was out then, in the order of places and hosts.
    out: Vec<bool>,
}

/// Where a request has been already.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tried {
    pub(crate) hosts: Vec<SocketAddr>,
    pub(crate) providers: Vec<Arc<str>>,
}

/// Which places, and which endpoints in them.
type Step<'a> = (&'a dyn Fn(&Place) -> bool, &'a dyn Fn(&Host) -> bool);

/// Why there is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPick {
    /// The permitted set is empty.
    Empty,
    /// Every endpoint is at its limit.
    Full,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) spec: Arc<ClusterSpec>,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) places: Vec<Place>,
    pub(crate) shed_ppm: u32,
    overprovisioning: u64,
    pub(crate) runtime: Arc<Runtime>,
    live: ArcSwap<Live>,
    /// Endpoints that the assignment had and the class does not permit. They are not here.
    pub(crate) forbidden: usize,
    pub(crate) cluster_version: String,
    pub(crate) assignment_version: String,
    pub(crate) since: SystemTime,
    /// Requests by place at the moment when this assignment came into use.
    pub(crate) baseline: Vec<u64>,
}

impl Cluster {
    /// Puts a cluster and its assignment together. Hosts, counters and who is out are taken over from `old`.
    pub(crate) fn build(
        spec: Arc<ClusterSpec>,
        assignment: &Assignment,
        old: Option<&Cluster>,
        memory: &Memory,
        metrics: &Metrics,
        versions: (String, String),
    ) -> Self {
        let mut known: BTreeMap<SocketAddr, Arc<Host>> = BTreeMap::new();
        for host in old.iter().flat_map(|c| &c.places).flat_map(|p| &p.hosts) {
            known.insert(host.address, Arc::clone(host));
        }
        let mut forbidden = 0;
        let mut places = Vec::new();
        for of in &assignment.localities {
            // The hard filter: what the law does not permit never becomes a candidate, whoever sent it.
            if !spec.permits(&of.jurisdiction) {
                forbidden += of.endpoints.len() + of.draining;
                continue;
            }
            let make = |a: &SocketAddr| Arc::new(Host::new(*a, memory.address(*a)));
            let host = |a: &SocketAddr| Arc::clone(known.entry(*a).or_insert_with(|| make(a)));
            places.push(Place {
                pulse: memory.site(spec.service(), &of.region),
                region: of.region.as_str().into(),
                provider: of.provider.as_str().into(),
                jurisdiction: of.jurisdiction.clone(),
                priority: of.priority,
                weight: of.weight,
                hosts: of.endpoints.iter().map(host).collect(),
                draining: of.draining,
                load: metrics.loads.place(&spec.name, &of.region, &of.zone),
                meters: metrics.place(&spec.class, &of.region),
            });
        }
        let baseline = places.iter().map(|p| p.meters.picked()).collect();
        let runtime = old.map_or_else(|| Arc::new(Runtime::default()), |c| Arc::clone(&c.runtime));
        let (cluster_version, assignment_version) = versions;
        let cluster = Self {
            dialer: Arc::new(Dialer { timeout: spec.connect_timeout }),
            spec,
            places,
            shed_ppm: assignment.shed_ppm,
            overprovisioning: u64::from(assignment.overprovisioning),
            runtime,
            live: ArcSwap::default(),
            forbidden,
            cluster_version,
            assignment_version,
            since: SystemTime::now(),
            baseline,
        };
        cluster.refresh();
        cluster
    }

    /// Computes the shares again, after somebody went out or came back.
    pub(crate) fn refresh(&self) {
        self.live.store(Arc::new(self.compute()));
    }

    fn compute(&self) -> Live {
        let usable = |p: &Place| p.hosts.iter().filter(|h| !h.is_out()).count() as u64;
        let level = |good: u64, all: u64| {
            (good * self.overprovisioning * (WHOLE / 100)).checked_div(all).unwrap_or(0).min(WHOLE)
        };
        let last = self.places.iter().map(|p| p.priority).max().unwrap_or(0);
        let mut loads = Vec::new();
        let mut left = WHOLE;
        for priority in 0..=last {
            let of = || self.places.iter().filter(|p| p.priority == priority);
            let good = of().map(usable).sum();
            let load = level(good, of().map(|p| p.hosts.len() as u64).sum()).min(left);
            left -= load;
            loads.push(load);
        }
        let fail_open = loads.iter().all(|l| *l == 0);
        if fail_open {
            // The first priority that has anybody: those before it may hold nothing that is permitted.
            let first = self.places.iter().filter(|p| !p.hosts.is_empty()).map(|p| p.priority).min();
            if let Some(load) = first.and_then(|p| loads.get_mut(usize::try_from(p).unwrap_or(usize::MAX))) {
                *load = WHOLE;
            }
        }
        let one = loads.iter().filter(|l| **l > 0).count() <= 1;
        let mut live = Live { fail_open, out: self.out(), ..Live::default() };
        for (priority, load) in (0_u32..).zip(loads) {
            let weight = |p: &Place| {
                let level = if fail_open { WHOLE } else { level(usable(p), p.hosts.len() as u64) };
                if p.priority == priority && !p.hosts.is_empty() { u64::from(p.weight) * level } else { 0 }
            };
            let total: u64 = self.places.iter().map(weight).sum();
            if load == 0 || total == 0 {
                continue;
            }
            for (at, place) in self.places.iter().enumerate() {
                // One priority alone keeps its weights to the unit; several are scaled by their loads.
                let part = match weight(place) {
                    0 => continue,
                    part if one => part,
                    part => u64::try_from(u128::from(part) * u128::from(load * SCALE / WHOLE) / u128::from(total))
                        .unwrap_or(0),
                };
                live.total += part;
                live.parts.push((live.total, at));
            }
        }
        live
    }

    /// Whether this request is among those to shed.
    pub(crate) fn sheds(&self) -> bool {
        self.shed_ppm > 0 && self.runtime.sheds.next_below(WHOLE) < u64::from(self.shed_ppm)
    }

    /// The place and the endpoint of the next try.
    pub(crate) fn pick(&self, tried: &Tried, now_ms: u64) -> Result<(usize, Arc<Host>), NoPick> {
        let live = self.live.load();
        if live.total == 0 {
            return Err(NoPick::Empty);
        }
        if tried.hosts.is_empty() {
            let at = self.runtime.picks.next_below(live.total);
            let place = live.parts[live.parts.partition_point(|(end, _)| *end <= at).min(live.parts.len() - 1)].1;
            let silent = self.places[place].pulse.is_silent(now_ms);
            if !silent && let Some(host) = self.within(place, &|h| live.fail_open || !h.is_out()) {
                return Ok((place, host));
            }
        }
        self.elsewhere(tried, live.fail_open, now_ms)
    }

    /// Another provider, then another endpoint, then any; of those, a place that answers before one that is silent.
    fn elsewhere(&self, tried: &Tried, fail_open: bool, now_ms: u64) -> Result<(usize, Arc<Host>), NoPick> {
        let fresh = |h: &Host| (fail_open || !h.is_out()) && !tried.hosts.contains(&h.address);
        let other = |p: &Place| !tried.providers.contains(&p.provider);
        let lively = |p: &Place| !p.pulse.is_silent(now_ms);
        let steps: [Step<'_>; 6] = [
            (&|p| other(p) && lively(p), &fresh),
            (&other, &fresh),
            (&lively, &fresh),
            (&|_| true, &fresh),
            (&|_| true, &|h| !tried.hosts.contains(&h.address)),
            (&|_| true, &|_| true),
        ];
        let last = self.places.iter().map(|p| p.priority).max().unwrap_or(0);
        for (place_fits, host_fits) in steps {
            for priority in 0..=last {
                let fits = |p: &Place| {
                    p.priority == priority && place_fits(p) && p.hosts.iter().any(|h| host_fits(h) && self.has_room(h))
                };
                let total: u64 = self.places.iter().filter(|p| fits(p)).map(|p| u64::from(p.weight)).sum();
                if total == 0 {
                    continue;
                }
                let mut at = random_below(total);
                for (place, of) in self.places.iter().enumerate().filter(|(_, p)| fits(p)) {
                    let weight = u64::from(of.weight);
                    if at < weight
                        && let Some(host) = self.within(place, host_fits)
                    {
                        return Ok((place, host));
                    }
                    at = at.saturating_sub(weight);
                }
            }
        }
        Err(NoPick::Full)
    }

    fn has_room(&self, host: &Host) -> bool {
        host.in_flight() < self.spec.per_host_max
    }

    /// The less loaded of two that fit.
    fn within(&self, place: usize, fits: &dyn Fn(&Host) -> bool) -> Option<Arc<Host>> {
        let hosts = &self.places[place].hosts;
        let fits = |h: &Arc<Host>| fits(h) && self.has_room(h);
        let count = hosts.iter().filter(|h| fits(h)).count();
        let nth = |n: u64| hosts.iter().filter(|h| fits(h)).nth(usize::try_from(n).unwrap_or(0));
        match count {
            0 => None,
            1 => nth(0).cloned(),
            many => {
                let many = many as u64;
                let first = random_below(many);
                let second = (first + 1 + random_below(many - 1)) % many;
                // Somebody may have filled up since they were counted.
                let (a, b) = (nth(first)?, nth(second).or_else(|| nth(first))?);
                Some(Arc::clone(if b.in_flight() < a.in_flight() { b } else { a }))
            }
        }
    }

    /// Shares between regions that are wanted now, in basis points, spill not counted.
    pub(crate) fn wanted_bps(&self) -> BTreeMap<String, u32> {
        let first = || self.places.iter().filter(|p| p.priority == 0);
        let total: u64 = first().map(|p| u64::from(p.weight)).sum();
        let share = |p: &Place| u32::try_from(u64::from(p.weight) * 10_000 / total.max(1)).unwrap_or(0);
        first().map(|p| (p.region.to_string(), share(p))).collect()
    }

    /// Lets back in whose time is over. Who is out for one class may be out for others: all of them look after it.
    pub(crate) fn tick(&self, now_ms: u64) {
        self.places.iter().flat_map(|p| &p.hosts).for_each(|host| host.tick(now_ms));
    }

    /// Whether any place of the cluster has this endpoint.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.places.iter().flat_map(|p| &p.hosts).any(|h| h.address == address)
    }

    /// Computes the shares again where who is out has changed since they were computed; says whether it had.
    pub(crate) fn refresh_if_stale(&self) -> bool {
        let out = self.out();
        let stale = self.live.load().out != out;
        if stale {
            self.refresh();
        }
        stale
    }

    fn out(&self) -> Vec<bool> {
        self.places.iter().flat_map(|p| &p.hosts).map(|h| h.is_out()).collect()
    }
}
