//! The accepted state: what the control plane sent and this edge took, in full.
//!
//! Owns judgement over each resource of a response: the good ones are taken, of a bad one the last good stays; what
//! happens to one class is no reason to keep another's news from it. Refuses an endpoint outside its class's permitted
//! countries; where a narrower law comes before the endpoints that follow it, those that
//! are no longer permitted leave the table at once, without waiting for a new assignment.

use crate::balance::Cluster;
use crate::lkg::{Saved, SavedResource};
use crate::model::{self, Assignment, ClusterSpec, ListenerSpec, Refused, RouteTable};
use crate::shared::{Shared, Slot, Table};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;
use tidegate_xds::TypeUrl;

/// A resource as it came.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) value: Bytes,
}

#[derive(Debug, Clone)]
struct Held {
    version: String,
    value: Bytes,
}

/// All that was accepted.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    held: BTreeMap<TypeUrl, BTreeMap<String, Held>>,
    clusters: BTreeMap<String, Arc<ClusterSpec>>,
    assignments: BTreeMap<String, Arc<Assignment>>,
    pub(crate) listeners: BTreeMap<String, ListenerSpec>,
    routes: BTreeMap<String, Arc<RouteTable>>,
}

/// What a response would change: what of it was read and found good, and why the rest was not.
#[derive(Debug)]
pub(crate) struct Change {
    type_url: TypeUrl,
    pub(crate) next: State,
    names: BTreeSet<String>,
    /// By name.
    pub(crate) refused: BTreeMap<String, Refused>,
}

impl State {
    /// Judges a response. The state is as before until [`State::commit`].
    pub(crate) fn judge(&self, type_url: TypeUrl, added: &[Incoming], removed: &[String]) -> Change {
        let mut next = self.clone();
        let (mut names, mut refused) = (BTreeSet::new(), BTreeMap::new());
        for of in added {
            if let Err(why) = next.take_in(type_url, &of.name, &of.value) {
                refused.insert(of.name.clone(), why);
                continue;
            }
            let held = Held { version: of.version.clone(), value: of.value.clone() };
            next.held.entry(type_url).or_default().insert(of.name.clone(), held);
            names.insert(of.name.clone());
        }
        for name in removed {
            // What a cluster or a listener still points to is kept: gone endpoints or routes are no news to act upon.
            let gone = match type_url {
                TypeUrl::Cds => next.clusters.remove(name).is_some(),
                TypeUrl::Lds => next.listeners.remove(name).is_some(),
                TypeUrl::Eds => !next.wanted(TypeUrl::Eds).contains(name) && next.assignments.remove(name).is_some(),
                TypeUrl::Rds => !next.wanted(TypeUrl::Rds).contains(name) && next.routes.remove(name).is_some(),
            };
            if gone {
                next.held.entry(type_url).or_default().remove(name);
                names.insert(name.clone());
            }
        }
        next.forget_unwanted();
        Change { type_url, next, names, refused }
    }

    fn take_in(&mut self, type_url: TypeUrl, name: &str, value: &Bytes) -> Result<(), Refused> {
        match type_url {
            TypeUrl::Cds => drop(self.clusters.insert(name.to_owned(), Arc::new(model::cluster(name, value)?))),
            TypeUrl::Eds => {
                let assignment = model::assignment(name, value)?;
                self.within_the_law(name, &assignment)?;
                self.assignments.insert(name.to_owned(), Arc::new(assignment));
            }
            TypeUrl::Lds => drop(self.listeners.insert(name.to_owned(), model::listener(name, value)?)),
            TypeUrl::Rds => drop(self.routes.insert(name.to_owned(), Arc::new(model::route_table(name, value)?))),
        }
        Ok(())
    }

    /// Every endpoint of an assignment stands where each class that uses it permits.
    fn within_the_law(&self, name: &str, assignment: &Assignment) -> Result<(), Refused> {
        for spec in self.clusters.values().filter(|c| c.assignment == name) {
            let Some(place) = assignment.localities.iter().find(|l| !spec.permits(&l.jurisdiction)) else { continue };
            let permitted = spec.permitted.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            let stands = if place.jurisdiction.is_empty() { "an unknown place" } else { &place.jurisdiction };
            let first = place.endpoints.first().map_or_else(String::new, ToString::to_string);
            let (region, class) = (&place.region, &spec.class);
            return Err(Refused(format!(
                "assignment `{name}`: endpoint {first} of {region} stands in {stands}; class `{class}` is permitted in \
                 {permitted} only"
            )));
        }
        Ok(())
    }

    /// Names of assignments that clusters want, or of routes that listeners want.
    pub(crate) fn wanted(&self, type_url: TypeUrl) -> BTreeSet<String> {
        match type_url {
            TypeUrl::Eds => self.clusters.values().map(|c| c.assignment.clone()).collect(),
            TypeUrl::Rds => self.listeners.values().map(|l| l.routes.clone()).collect(),
            TypeUrl::Cds | TypeUrl::Lds => BTreeSet::from(["*".to_owned()]),
        }
    }

    fn forget_unwanted(&mut self) {
        let (assignments, routes) = (self.wanted(TypeUrl::Eds), self.wanted(TypeUrl::Rds));
        self.assignments.retain(|name, _| assignments.contains(name));
        self.routes.retain(|name, _| routes.contains(name));
        for (type_url, wanted) in [(TypeUrl::Eds, assignments), (TypeUrl::Rds, routes)] {
            self.held.entry(type_url).or_default().retain(|name, _| wanted.contains(name));
        }
    }

    /// The listener has its routes, and every cluster that they lead to has its endpoints.
    pub(crate) fn is_warm(&self, listener: &str) -> bool {
        let routed = |name: &str| self.clusters.get(name).is_some_and(|c| self.assignments.contains_key(&c.assignment));
        let routes = self.listeners.get(listener).and_then(|l| self.routes.get(&l.routes));
        routes.is_some_and(|r| r.clusters().all(routed))
    }

    /// Every listener can serve.
    pub(crate) fn is_whole(&self) -> bool {
        !self.listeners.is_empty() && self.listeners.keys().all(|name| self.is_warm(name))
    }

    /// Versions by name, for resuming.
    pub(crate) fn known(&self) -> BTreeMap<TypeUrl, BTreeMap<String, String>> {
        let versions =
            |held: &BTreeMap<String, Held>| held.iter().map(|(n, h)| (n.clone(), h.version.clone())).collect();
        self.held.iter().map(|(type_url, held)| (*type_url, versions(held))).collect()
    }

    pub(crate) fn save(&self, group: &str, server: &str, generation: Option<u64>) -> Saved {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let resource = |type_url: TypeUrl, name: &str, held: &Held| SavedResource {
            type_url: type_url.as_str().to_owned(),
            name: name.to_owned(),
            version: held.version.clone(),
            value: held.value.clone(),
        };
        let all = self.held.iter().flat_map(|(t, held)| held.iter().map(|(n, h)| resource(*t, n, h)));
        Saved {
            group: group.to_owned(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            generation,
            server: server.to_owned(),
            resources: all.collect(),
        }
    }

    /// Reads a saved state by the same rules as one that a server sends, but all of it or none: a part was never good.
    pub(crate) fn restore(saved: &Saved) -> Result<Change, Refused> {
        let mut change = State::default().judge(TypeUrl::Cds, &[], &[]);
        // Clusters and listeners first: what they want decides what is kept of the rest.
        for type_url in [TypeUrl::Cds, TypeUrl::Lds, TypeUrl::Eds, TypeUrl::Rds] {
            let of = saved.resources.iter().filter(|r| r.type_url == type_url.as_str());
            let incoming: Vec<Incoming> = of
                .map(|r| Incoming { name: r.name.clone(), version: r.version.clone(), value: r.value.clone() })
                .collect();
            change = change.next.judge(type_url, &incoming, &[]);
            if let Some((_, why)) = change.refused.pop_first() {
                return Err(why);
            }
        }
        if !change.next.is_whole() {
            return Err(Refused("the saved state is not whole".to_owned()));
        }
        Ok(change)
    }

    /// Takes a change into use.
    pub(crate) fn commit(&mut self, change: Change, shared: &Shared) {
        let table = shared.table.load_full();
        *self = change.next;
        let touched = |spec: &ClusterSpec| match change.type_url {
            TypeUrl::Cds => change.names.contains(&spec.name),
            TypeUrl::Eds => change.names.contains(&spec.assignment),
            TypeUrl::Lds | TypeUrl::Rds => false,
        };
        let mut clusters: BTreeMap<String, Slot> = BTreeMap::new();
        for (name, spec) in &self.clusters {
            let Some(assignment) = self.assignments.get(&spec.assignment) else { continue };
            let slot = table.clusters.get(name);
            match slot {
                Some(slot) if !touched(spec) => drop(clusters.insert(name.clone(), Arc::clone(slot))),
                Some(slot) => {
                    let old = slot.load_full();
                    shared.swap_cluster(slot, self.build(spec, assignment, Some(&old), shared));
                    clusters.insert(name.clone(), Arc::clone(slot));
                }
                None => {
                    let made = self.build(spec, assignment, None, shared);
                    clusters.insert(name.clone(), Arc::new(ArcSwap::from_pointee(made)));
                }
            }
        }
        // A reweight alone leaves the table as it is.
        if change.type_url != TypeUrl::Eds || !clusters.keys().eq(table.clusters.keys()) {
            shared.swap_table(Table { routes: self.routes.clone(), clusters });
        }
    }

    /// Takes a whole restored state into use.
    pub(crate) fn commit_all(&mut self, mut change: Change, shared: &Shared) {
        // Nothing is in the table yet: any type but EDS makes all of it.
        change.type_url = TypeUrl::Cds;
        self.commit(change, shared);
    }

    fn build(
        &self,
        spec: &Arc<ClusterSpec>,
        assignment: &Assignment,
        old: Option<&Cluster>,
        shared: &Shared,
    ) -> Cluster {
        let version = |type_url: TypeUrl, name: &str| {
            self.held.get(&type_url).and_then(|h| h.get(name)).map(|h| h.version.clone()).unwrap_or_default()
        };
        let versions = (version(TypeUrl::Cds, &spec.name), version(TypeUrl::Eds, &spec.assignment));
        let made = Cluster::build(Arc::clone(spec), assignment, old, &shared.memory, &shared.metrics, versions);
        for place in old.iter().flat_map(|c| &c.places) {
            place.meters.wanted.set(0);
        }
        let wanted = made.wanted_bps();
        for place in made.places.iter().filter(|p| p.priority == 0) {
            place.meters.wanted.set(wanted.get(&*place.region).copied().unwrap_or(0).into());
        }
        let forbidden = i64::try_from(made.forbidden).unwrap_or(i64::MAX);
        shared.metrics.forbidden_endpoints.with_label_values(&[spec.class.as_str()]).set(forbidden);
        if made.forbidden > 0 {
            tracing::error!(
                class = spec.class,
                endpoints = made.forbidden,
                "endpoints outside the permitted countries are not used"
            );
        }
        made
    }
}
