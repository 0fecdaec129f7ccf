//! Resources as bytes, kept from plan to plan: what a plan did not change is not encoded, nor hashed, again.
//!
//! Owns what was made last and what it was made from. Refuses to outlive its fleet: another revision starts anew. By what
//! each type depends on: clusters and listeners are made once for a fleet, routes when a class's answer at the group
//! changes, an assignment when its split, the endpoints taken out of its service, or their addresses change. Groups that
//! are told the same share it.

use crate::endpoints::{self, Places};
use crate::{Answer, Resolved, TranslateError, clusters, listeners, names, routes, serving};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_domain::{ClassIx, ClassSplit, EndpointIx, Fleet, GroupIx, Plan, Revision, ServiceIx};
use tidegate_xds::server::{Resource, ResourceError};

/// Everything that the edges of one client group are told, encoded.
#[derive(Debug, Clone)]
pub struct EncodedGroup {
    /// Whose.
    pub group: GroupIx,
    /// Of all four types, in no order.
    pub resources: Vec<Arc<Resource>>,
}

/// Why nothing was encoded. The next call starts from what was kept before.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The plan or the fleet cannot be translated.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// A name cannot be one of a resource.
    #[error(transparent)]
    Resource(#[from] ResourceError),
}

/// Translates plans one after the other.
#[derive(Debug, Default)]
pub struct Encoder {
    kept: Option<Kept>,
    encoded: usize,
}

/// What was made for one fleet.
#[derive(Debug)]
struct Kept {
    fleet: Revision,
    /// By class index.
    clusters: Vec<Arc<Resource>>,
    listeners: Vec<Arc<Resource>>,
    /// By group index: the classes' answers that they were made from.
    routes: Vec<(Vec<Answer>, Vec<Arc<Resource>>)>,
    assignments: BTreeMap<(ClassIx, GroupIx), (ClassSplit, Arc<Resource>)>,
    out: BTreeSet<EndpointIx>,
    resolved: Resolved,
}

impl Encoder {
    /// As [`crate::translate_resolved`], encoded.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn encode(
        &mut self,
        fleet: &Fleet,
        plan: &Plan,
        resolved: &Resolved,
    ) -> Result<Vec<EncodedGroup>, EncodeError> {
        crate::same_fleet(fleet, plan)?;
        self.encoded = 0;
        let mut kept = match self.kept.take().filter(|kept| kept.fleet == fleet.revision) {
            Some(kept) => kept,
            None => self.start(fleet)?,
        };
        // What fails leaves a part made: that part is right, and the rest is found to be missing or old.
        let made = self.follow(&mut kept, fleet, plan, resolved);
        self.kept = Some(kept);
        made
    }

    /// Resources that the last call encoded: the others were kept, or shared between groups.
    #[must_use]
    pub fn encoded(&self) -> usize {
        self.encoded
    }

    fn start(&mut self, fleet: &Fleet) -> Result<Kept, EncodeError> {
        let clusters = clusters::all(fleet);
        let listeners = listeners::all(fleet)?;
        self.encoded += clusters.len() + listeners.len();
        Ok(Kept {
            fleet: fleet.revision,
            clusters: clusters.iter().map(|c| encode(&c.name, c)).collect::<Result<_, _>>()?,
            listeners: listeners.iter().map(|(name, l)| encode(name, l)).collect::<Result<_, _>>()?,
            routes: vec![(Vec::new(), Vec::new()); fleet.groups.len()],
            assignments: BTreeMap::new(),
            out: BTreeSet::new(),
            resolved: Resolved::new(),
        })
    }

    fn follow(
        &mut self,
        kept: &mut Kept,
        fleet: &Fleet,
        plan: &Plan,
        resolved: &Resolved,
    ) -> Result<Vec<EncodedGroup>, EncodeError> {
        let classes: Vec<ClassIx> = (0..fleet.classes.len()).map(ClassIx::from).collect();
        let groups: Vec<GroupIx> = (0..fleet.groups.len()).map(GroupIx::from).collect();
        let answers: Vec<Vec<Answer>> =
            groups.iter().map(|g| classes.iter().map(|c| serving(fleet, plan, *c, *g)).collect()).collect();
        kept.forget_moved(fleet, plan, resolved);
        let mut wanted: BTreeMap<(ClassIx, GroupIx), &ClassSplit> = BTreeMap::new();
        for group in &groups {
            let routed = classes.iter().filter(|c| answers[group.at()][c.at()] == Answer::Routed);
            wanted.extend(routed.filter_map(|c| Some(((*c, *group), plan.split(*c, *group)?))));
        }
        self.encode_assignments(kept, fleet, plan, resolved, &wanted)?;
        let mut all = Vec::with_capacity(groups.len());
        for (group, answers) in groups.into_iter().zip(answers) {
            let (made_from, made) = &mut kept.routes[group.at()];
            if made.is_empty() || *made_from != answers {
                let routes = routes::all(fleet, plan, group);
                self.encoded += routes.len();
                *made = routes.iter().map(|(name, r)| encode(name, r)).collect::<Result<_, _>>()?;
                made_from.clone_from(&answers);
            }
            let mut resources: Vec<Arc<Resource>> = made.iter().chain(&kept.listeners).map(Arc::clone).collect();
            for class in classes.iter().filter(|c| answers[c.at()] == Answer::Routed) {
                resources.push(Arc::clone(&kept.clusters[class.at()]));
                resources.extend(kept.assignments.get(&(*class, group)).map(|(_, made)| Arc::clone(made)));
            }
            all.push(EncodedGroup { group, resources });
        }
        Ok(all)
    }

    fn encode_assignments(
        &mut self,
        kept: &mut Kept,
        fleet: &Fleet,
        plan: &Plan,
        resolved: &Resolved,
        wanted: &BTreeMap<(ClassIx, GroupIx), &ClassSplit>,
    ) -> Result<(), EncodeError> {
        kept.assignments.retain(|key, (split, _)| wanted.get(key).is_some_and(|now| *now == split));
        let missing = || wanted.iter().filter(|(key, _)| !kept.assignments.contains_key(key));
        let services: BTreeSet<ServiceIx> = missing().map(|((c, _), _)| fleet.classes[c.at()].service).collect();
        if services.is_empty() {
            return Ok(());
        }
        let places = Places::of(fleet, plan, resolved, |service| services.contains(&service))?;
        let missing: Vec<_> = missing().map(|(key, split)| (*key, *split)).collect();
        for ((class, group), split) in missing {
            // Nothing in an assignment says for whom it is.
            let mut same = kept.assignments.range((class, GroupIx(0))..=(class, GroupIx(u16::MAX)));
            let shared =
                same.find(|(_, (other, _))| tells_the_same(other, split)).map(|(_, (_, made))| Arc::clone(made));
            let made = match shared {
                Some(made) => made,
                None => {
                    self.encoded += 1;
                    encode(&names::cluster(fleet, class), &endpoints::assignment(fleet, split, &places))?
                }
            };
            kept.assignments.insert((class, group), (split.clone(), made));
        }
        Ok(())
    }
}

impl Kept {
    /// Forgets the assignments of services of which an endpoint was taken out or put back, or has another address.
    fn forget_moved(&mut self, fleet: &Fleet, plan: &Plan, resolved: &Resolved) {
        let out: BTreeSet<EndpointIx> = plan.endpoints_out.iter().copied().collect();
        let moved = out.symmetric_difference(&self.out).filter_map(|e| fleet.endpoints.get(e.at()));
        let mut services: BTreeSet<ServiceIx> = moved.map(|e| e.service).collect();
        if *resolved != self.resolved {
            let differs = |host: &str| resolved.get(host) != self.resolved.get(host);
            let renamed = fleet.endpoints.iter().filter(|e| differs(&e.host.to_ascii_lowercase()));
            services.extend(renamed.map(|e| e.service));
            self.resolved.clone_from(resolved);
        }
        self.out = out;
        self.assignments.retain(|(class, _), _| !services.contains(&fleet.classes[class.at()].service));
    }
}

fn tells_the_same(a: &ClassSplit, b: &ClassSplit) -> bool {
    (a.class, a.serving, &a.weights, &a.spill) == (b.class, b.serving, &b.weights, &b.spill)
}

fn encode<M: prost::Message + prost::Name>(name: &str, message: &M) -> Result<Arc<Resource>, ResourceError> {
    Resource::from_message(name, message).map(Arc::new)
}
