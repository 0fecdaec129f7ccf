//! Plan and fleet in, Envoy resources out: one set per client group.
//!
//! Owns every word that Envoy reads: names, clusters, assignments, routes, listeners, the bootstrap. Refuses to decide:
//! weights, rings, refusals and shedding are taken from the plan as they stand. Pure: the same fleet and plan give the
//! same bytes, also in another process, so that a hash of the content can be its version.
//!
//! What depends on what, so that versions move no more than they must:
//! clusters and listeners on the fleet alone; routes on the fleet and on [`tidegate_domain::Serving`]'s variant;
//! assignments on weights, spill rings, shed share and the endpoints taken out.

pub mod bootstrap;
mod clusters;
mod encoded;
mod endpoints;
pub mod hosts;
mod listeners;
pub mod names;
mod routes;
#[cfg(test)]
mod tests;
mod values;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tidegate_domain::{ClassIx, Fleet, GroupIx, Plan, Serving};

pub use encoded::{EncodeError, EncodedGroup, Encoder};
pub use routes::Refusal;

/// Everything that the edges of one client group are told. Each list is sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupResources {
    /// Whose.
    pub group: GroupIx,
    /// One per class that is routed for this group, named `service/class`.
    pub clusters: Vec<(String, Cluster)>,
    /// One per cluster, of the same name.
    pub endpoints: Vec<(String, ClusterLoadAssignment)>,
    /// One per listener of the fleet.
    pub listeners: Vec<(String, Listener)>,
    /// One per listener, named as it.
    pub routes: Vec<(String, RouteConfiguration)>,
}

/// The last good answer of name resolution, by host name in lower case. Envoy's EDS takes addresses only, so names are
/// resolved by the caller, who keeps the last set when an answer fails or is empty.
pub type Resolved = BTreeMap<String, Vec<IpAddr>>;

/// Why nothing was translated. No state has changed; the same input fails again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// The plan speaks of another fleet; its indexes would name other things.
    #[error("the plan was made for fleet {plan}, not for {fleet}")]
    OtherFleet {
        /// Revision of the fleet that was given.
        fleet: String,
        /// Revision that the plan names.
        plan: String,
    },
    /// A host name that no resolution was given for. Retry with it resolved.
    #[error("endpoint `{endpoint}` has the host name `{host}`, for which no address is known")]
    Unresolved {
        /// The endpoint's name.
        endpoint: String,
        /// Its host.
        host: String,
    },
    /// A listener's address is not an IP address.
    #[error("listener `{listener}` has the address `{address}`, which is not an IP address")]
    ListenerAddress {
        /// The listener's name.
        listener: String,
        /// Its address.
        address: String,
    },
}

/// Translates `plan` for every client group, in group order. Host names among the endpoints are refused: give their
/// addresses to [`translate_resolved`].
///
/// # Errors
/// See [`TranslateError`].
pub fn translate(fleet: &Fleet, plan: &Plan) -> Result<Vec<GroupResources>, TranslateError> {
    translate_resolved(fleet, plan, &Resolved::new())
}

/// As [`translate`], with the addresses of host names. A name with several addresses gives as many endpoints.
///
/// # Errors
/// See [`TranslateError`].
pub fn translate_resolved(
    fleet: &Fleet,
    plan: &Plan,
    resolved: &Resolved,
) -> Result<Vec<GroupResources>, TranslateError> {
    same_fleet(fleet, plan)?;
    let places = endpoints::Places::of(fleet, plan, resolved, |_| true)?;
    let listeners = listeners::all(fleet)?;
    let clusters = clusters::all(fleet);
    let groups = (0..fleet.groups.len()).map(GroupIx::from);
    Ok(groups
        .map(|group| {
            let routed = routed_classes(fleet, plan, group);
            let by_name = |c: &ClassIx| names::cluster(fleet, *c);
            let mut group_clusters: Vec<_> = routed.iter().map(|c| (by_name(c), clusters[c.at()].clone())).collect();
            group_clusters.sort_by(|a, b| a.0.cmp(&b.0));
            GroupResources {
                group,
                clusters: group_clusters,
                endpoints: assignments(fleet, plan, group, &places),
                listeners: listeners.clone(),
                routes: routes::all(fleet, plan, group),
            }
        })
        .collect())
}

fn same_fleet(fleet: &Fleet, plan: &Plan) -> Result<(), TranslateError> {
    if plan.fleet == fleet.revision {
        return Ok(());
    }
    Err(TranslateError::OtherFleet { fleet: fleet.revision.to_string(), plan: plan.fleet.to_string() })
}

fn assignments(
    fleet: &Fleet,
    plan: &Plan,
    group: GroupIx,
    places: &endpoints::Places,
) -> Vec<(String, ClusterLoadAssignment)> {
    let mut all: Vec<_> = routed_classes(fleet, plan, group)
        .into_iter()
        .filter_map(|class| plan.split(class, group))
        .map(|split| (names::cluster(fleet, split.class), endpoints::assignment(fleet, split, places)))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The classes that `group` is served. A group whose own jurisdiction is not permitted gets no cluster at all, whatever
/// the plan says: an address that an edge does not know cannot be reached by it.
fn routed_classes(fleet: &Fleet, plan: &Plan, group: GroupIx) -> Vec<ClassIx> {
    (0..fleet.classes.len())
        .map(ClassIx::from)
        .filter(|class| serving(fleet, plan, *class, group).is_routed())
        .collect()
}

/// What a request of a class meets at a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its cluster.
    Routed,
    /// 451.
    WrongJurisdiction,
    /// 503.
    NoPlace,
}
impl Answer {
    fn is_routed(self) -> bool {
        self == Self::Routed
    }
}

/// A class without a split answers as one without a place: silence is not a permission.
pub(crate) fn serving(fleet: &Fleet, plan: &Plan, class: ClassIx, group: GroupIx) -> Answer {
    if !fleet.permits_group(class, group) {
        return Answer::WrongJurisdiction;
    }
    match plan.split(class, group).map(|split| split.serving) {
        Some(Serving::Routed { .. }) => Answer::Routed,
        Some(Serving::WrongJurisdiction) => Answer::WrongJurisdiction,
        Some(Serving::NoPlace) | None => Answer::NoPlace,
    }
}
