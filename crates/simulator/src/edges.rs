//! Edges in virtual time: they spread their group's declared demand by the published weights, and say each second what came
//! of it, as load reports do.
//!
//! Owns the counting, and the ejection of endpoints that fail every request. Refuses what an edge does beyond that: retries
//! and spill are not counted at the place that they go to.

use crate::faults;
use crate::units::{MILLI, Nanos, SECOND, Share};
use crate::world::{Next, World};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tidegate_controller::{ClassLoad, Input, LoadIn, PlaceLoad};
use tidegate_domain::{ClassSplit, EndpointIx, Fleet, GroupIx, Millis, Plan, RegionIx, ServiceIx, Serving};

/// Edges of each client group.
const EACH: u64 = 3;
/// An edge takes an endpoint out after so many failures in a row, for so long, as the shipped bootstrap says.
const EJECTED_AFTER: u64 = 3;
const EJECTED_FOR: Nanos = 5 * SECOND;
/// What a good answer takes an edge, times what faults make of it; in milliseconds.
const ANSWER_MS: u64 = 20;
/// From an edge to the server.
const WAY: Nanos = 20 * MILLI;

struct Edge {
    name: String,
    group: GroupIx,
    /// The life of the server to which its stream of reports was opened.
    stream: u64,
    ejected: BTreeMap<EndpointIx, Nanos>,
}

pub(crate) struct Edges {
    all: Vec<Edge>,
    by_place: BTreeMap<(usize, RegionIx), Vec<EndpointIx>>,
    /// The plan when a fault began that follows the traffic, by the fault's number.
    followed: BTreeMap<usize, Arc<Plan>>,
}

impl Edges {
    pub(crate) fn new(fleet: &Fleet, whole: bool) -> Self {
        let groups = if whole { fleet.groups.len() } else { 0 };
        let edge = |(g, n): (usize, u64)| Edge {
            name: format!("{}-{}", fleet.groups[g].name, n + 1),
            group: GroupIx::from(g),
            stream: 0,
            ejected: BTreeMap::new(),
        };
        let mut by_place: BTreeMap<(usize, RegionIx), Vec<EndpointIx>> = BTreeMap::new();
        for (i, e) in fleet.endpoints.iter().enumerate() {
            by_place.entry((e.service.at(), e.region)).or_default().push(i.into());
        }
        let all = (0..groups).flat_map(|g| (0..EACH).map(move |n| (g, n))).map(edge).collect();
        Self { all, by_place, followed: BTreeMap::new() }
    }

    /// A fault began that goes where the traffic goes.
    pub(crate) fn follow(&mut self, fault: usize, plan: Option<Arc<Plan>>) {
        self.followed.insert(fault, plan.unwrap_or_default());
    }
}

/// So long ago counts as lately, and so long a place that failed its requests stays left.
const LATELY: Nanos = 5 * SECOND;
const LEFT_FOR: Nanos = 60 * SECOND;
/// So many requests must have failed.
const ERRORS_MIN: u64 = 5;

/// What came of the requests of one class that an edge sent to a place within a second.
struct Served {
    issued: u64,
    errors: u64,
    /// What the good answers took together.
    took: Millis,
}

/// Requests and failures, by service and region.
type Counts = BTreeMap<(ServiceIx, RegionIx), (u64, u64)>;

/// What all edges together reported: by second, by service and region.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    seconds: VecDeque<(Nanos, Counts)>,
    /// When at least half of the requests of the last seconds had failed, last.
    failed: BTreeMap<(ServiceIx, RegionIx), Nanos>,
}

impl Requests {
    /// What was reported in this second.
    fn take(&mut self, now: Nanos, counts: Counts) {
        self.seconds.push_back((now, counts));
        while self.seconds.front().is_some_and(|(at, _)| at + LATELY < now) {
            self.seconds.pop_front();
        }
        let mut sums = Counts::new();
        // A window that ends now, whatever its length: the server's may have begun later.
        for (_, counts) in self.seconds.iter().rev() {
            for (place, (issued, errors)) in counts {
                let sum = sums.entry(*place).or_default();
                *sum = (sum.0 + issued, sum.1 + errors);
                if sum.1 >= ERRORS_MIN && sum.1 * 2 >= sum.0 {
                    self.failed.insert(*place, now);
                }
            }
        }
    }

    /// Services in regions that edges may have left for what they saw.
    pub(crate) fn failing(&self, now: Nanos) -> BTreeSet<(ServiceIx, RegionIx)> {
        self.failed.iter().filter(|(_, at)| *at + LEFT_FOR >= now).map(|(place, _)| *place).collect()
    }
}

impl World {
    /// A second is over: every edge says what it sent and what failed.
    pub(crate) fn traffic(&mut self) {
        let Some(plan) = self.watch.plan.clone() else { return };
        let fleet = Arc::clone(&self.fleet);
        let server = self.server_at();
        let life = self.life(server);
        let mut edges = std::mem::take(&mut self.edges.all);
        let apart = self.network.is_apart(server);
        let mut counts = Counts::new();
        for edge in &mut edges {
            let (mut classes, group) = (Vec::new(), edge.group);
            for split in plan.splits.iter().filter(|s| s.group == group) {
                classes.extend(self.sent(&fleet, &plan, split, edge, &mut counts));
            }
            let (name, stream) = (edge.name.clone(), life);
            // Edges stand on the larger side of a split.
            if apart {
                continue;
            }
            if edge.stream != life {
                edge.stream = life;
                let opened = LoadIn::Opened { edge: name.clone(), stream };
                self.send(WAY, server, Next::Fed(Box::new(Input::Load(opened))));
            }
            let group = fleet.groups[edge.group.at()].name.to_string();
            let reported = LoadIn::Reported { edge: name, group, stream, classes };
            self.send(WAY, server, Next::Fed(Box::new(Input::Load(reported))));
        }
        self.edges.all = edges;
        if !apart {
            self.watch.requests.take(self.now, counts);
        }
    }

    /// What an edge sent of one class in the last second; none where it has nothing to send.
    fn sent(
        &mut self,
        fleet: &Fleet,
        plan: &Plan,
        split: &ClassSplit,
        edge: &mut Edge,
        counts: &mut Counts,
    ) -> Option<ClassLoad> {
        let Serving::Routed { shed } = split.serving else { return None };
        let demand = fleet.demand(split.class, split.group).0 / EACH;
        let dropped = shed.of(demand) / 1_000;
        let mut places = Vec::new();
        for weight in &split.weights {
            let milli = weight.share.of(demand - shed.of(demand));
            // What is less than a request comes up now and then.
            let more = u64::from(self.rng.random_range(0..1_000) < milli % 1_000);
            let Served { issued, errors, took } =
                self.served(fleet, plan, split, weight.region, milli / 1_000 + more, edge);
            if issued > 0 {
                let sum = counts.entry((fleet.classes[split.class.at()].service, weight.region)).or_default();
                *sum = (sum.0 + issued, sum.1 + errors);
                let region = fleet.regions[weight.region.at()].name.to_string();
                places.push(PlaceLoad { region, issued, errors, open: 0, timed: issued - errors, took });
            }
        }
        Some(ClassLoad { class: fleet.class_name(split.class), interval: Millis(1_000), dropped, places })
    }

    /// What came of the requests that reached a place. Endpoints take turns; one that fails every request is taken
    /// out for a while, and where all are out nothing is sent.
    fn served(
        &mut self,
        fleet: &Fleet,
        plan: &Plan,
        split: &ClassSplit,
        region: RegionIx,
        requests: u64,
        edge: &mut Edge,
    ) -> Served {
        let now = self.now;
        edge.ejected.retain(|_, until| *until > now);
        let service = fleet.classes[split.class.at()].service.at();
        let none = Vec::new();
        let there = self.edges.by_place.get(&(service, region)).unwrap_or(&none);
        let mut in_turn: Vec<(EndpointIx, u32, u64, u64)> = there
            .iter()
            .filter(|e| !plan.endpoints_out.contains(e) && !edge.ejected.contains_key(e))
            .map(|e| (*e, self.fails(fleet, *e, split), 0, self.answers_in(fleet, *e)))
            .collect();
        let (mut issued, mut errors, mut took, mut turn) = (0, 0, 0, 0);
        for _ in 0..requests {
            if in_turn.is_empty() {
                break;
            }
            turn = (turn + 1) % in_turn.len();
            let (endpoint, part, in_a_row, answers_in) = &mut in_turn[turn];
            issued += 1;
            if self.rng.random_range(0..Share::ALL) >= *part {
                *in_a_row = 0;
                took += *answers_in;
                continue;
            }
            errors += 1;
            *in_a_row += 1;
            if *part == Share::ALL && *in_a_row >= EJECTED_AFTER {
                edge.ejected.insert(*endpoint, now + EJECTED_FOR);
                in_turn.swap_remove(turn);
            }
        }
        Served { issued, errors, took: Millis(took) }
    }

    fn answers_in(&self, fleet: &Fleet, endpoint: EndpointIx) -> u64 {
        ANSWER_MS * u64::from(faults::lateness(&self.faults, fleet, endpoint))
    }

    fn fails(&self, fleet: &Fleet, endpoint: EndpointIx, split: &ClassSplit) -> u32 {
        let region = fleet.endpoints[endpoint.at()].region;
        let fuller = |fault: usize| {
            let then = self.edges.followed.get(&fault);
            let share = |plan: &Plan| plan.split(split.class, split.group).map(|s| s.share(region));
            then.is_some_and(|then| self.watch.plan.as_ref().is_some_and(|now| share(now) > share(then)))
        };
        faults::failing(&self.faults, fleet, endpoint, split.group, fuller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use std::path::Path;

    const ERRS: &str = "apiVersion: tidegate/v1
kind: Scenario
name: errs
spec:
  about: for tests
  lasts: 60s
  network: { delay: 1ms..2ms }
  faults: [ { at: 35500ms, lasts: 20s, what: WHAT, of: WHOM, how: refuse, share: 40 % } ]
  expect: { falseRegionVerdicts: 0 }
";

    /// What all edges sent to a region in one second, after so many milliseconds, without the server's ear.
    fn counted(what: &str, whom: &str, at: u64) -> BTreeMap<String, (u64, u64)> {
        let text = ERRS.replace("WHAT", what).replace("WHOM", whom);
        let scenario = Scenario::parse(&text, Path::new("errs.yaml")).unwrap();
        let candidate = crate::run::fleet(&scenario).unwrap();
        let mut world = World::new(&scenario, candidate, 1, false).unwrap();
        world.run_until(at * MILLI).unwrap();
        let (fleet, plan) = (Arc::clone(&world.fleet), world.watch.plan.clone().unwrap());
        let mut edges = std::mem::take(&mut world.edges.all);
        let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for edge in &mut edges {
            let group = edge.group;
            for split in plan.splits.iter().filter(|s| s.group == group) {
                for place in
                    world.sent(&fleet, &plan, split, edge, &mut Counts::new()).into_iter().flat_map(|c| c.places)
                {
                    let sum = sums.entry(place.region).or_default();
                    *sum = (sum.0 + place.issued, sum.1 + place.errors);
                }
            }
        }
        sums
    }

    #[test]
    fn edges_send_the_declared_demand_and_count_what_fails() {
        let well = counted("lies", "aws", 34_000);
        let all: u64 = well.values().map(|(issued, _)| issued).sum();
        assert!((390..=410).contains(&all), "400 rps are declared: {all}");
        assert!(well.values().all(|(_, errors)| *errors == 0), "{well:?}");
        let lying = counted("lies", "aws", 35_700);
        for (region, (issued, errors)) in &lying {
            let part = errors * 100 / issued;
            assert!(if region.starts_with("aws/") { (20..60).contains(&part) } else { part == 0 }, "{lying:?}");
        }
        let dead = counted("down", "aws", 35_700);
        let (issued, errors) = dead["aws/eu-central-1"];
        assert!(issued == errors && issued < well["aws/eu-central-1"].0, "dead endpoints are taken out: {dead:?}");
    }
}
