//! Assignments: where a class's requests of one client group go.
//!
//! Owns the layout: priority 0 holds the plan's weights, one locality per region, weight in basis points; the spill
//! rings follow as priorities 1 and up, each weighted by what its regions can safely carry. Refuses a region outside
//! the class's permitted set even if the plan should name one (the linter's rule, held once more where bytes leave).
//!
//! A permitted region in neither list (drained, Down, without a share) is listed last, in a priority of its own, with
//! every host DRAINING and without a weight. Envoy counts such a host as unhealthy: with panic switched off (see the
//! clusters) it gives it no new request, not even when nothing else is left, and lets the streams under way end by
//! themselves; and it goes on reporting what is open there, by which the servers see when a drained region is empty. In
//! a priority above, its hosts would count in that priority's health and move traffic to the spill rings. Where nothing
//! carries, that priority is the only one. A forbidden region is not listed at all.
//!
//! Overprovisioning is Envoy's 140: a region keeps its whole weight until 2/7 of its listed hosts are ejected, and loses
//! it in proportion below; priority 0 spills by the same rule. The siblings of an ejected host therefore never carry
//! more than 1.4 times their share before the servers' verdict takes it over. No other health status is ever sent.

use crate::values::{address, ip, text, tidegate, uint};
use crate::{Resolved, TranslateError, names};
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
    cluster_load_assignment::{Policy, policy::DropOverload},
    lb_endpoint::HostIdentifier,
};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{Bps, ClassSplit, EndpointIx, Fleet, Plan, RegionIx, ServiceIx, Serving};
use tidegate_proto::metadata;

/// Per cent; see the header.
const OVERPROVISIONING: u32 = 140;
/// The one category of `drop_overloads`: Envoy takes no second.
const SHED: &str = "shed";

/// Endpoints that may be listed, by service and region: built once, used by every group.
pub(crate) struct Places {
    by_place: BTreeMap<(ServiceIx, RegionIx), Vec<LbEndpoint>>,
    localities: Vec<Option<Metadata>>,
}

impl Places {
    /// Of those services for which `wanted` holds.
    pub(crate) fn of(
        fleet: &Fleet,
        plan: &Plan,
        resolved: &Resolved,
        wanted: impl Fn(ServiceIx) -> bool,
    ) -> Result<Self, TranslateError> {
        let places: Vec<Option<Metadata>> = fleet
            .regions
            .iter()
            .map(|r| {
                let jurisdiction = (metadata::JURISDICTION, text(r.jurisdiction.to_string()));
                tidegate([
                    jurisdiction,
                    (metadata::PROVIDER, text(fleet.providers[r.provider.at()].name.to_string())),
                    (metadata::REGION, text(r.name.to_string())),
                ])
            })
            .collect();
        let out: BTreeSet<EndpointIx> = plan.endpoints_out.iter().copied().collect();
        let mut by_place: BTreeMap<(ServiceIx, RegionIx), Vec<LbEndpoint>> = BTreeMap::new();
        for (i, endpoint) in fleet.endpoints.iter().enumerate() {
            if !wanted(endpoint.service) || out.contains(&EndpointIx::from(i)) {
                continue;
            }
            let list = by_place.entry((endpoint.service, endpoint.region)).or_default();
            for (address_text, hostname) in addresses(endpoint, resolved)? {
                list.push(LbEndpoint {
                    metadata: places[endpoint.region.at()].clone(),
                    host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
                        address: address(&address_text, endpoint.port),
                        hostname,
                        ..Endpoint::default()
                    })),
                    ..LbEndpoint::default()
                });
            }
        }
        let localities = fleet
            .regions
            .iter()
            .map(|r| tidegate([(metadata::JURISDICTION, text(r.jurisdiction.to_string()))]))
            .collect();
        Ok(Self { by_place, localities })
    }
}

/// Addresses of an endpoint in order, each with the host name it stands for.
fn addresses(
    endpoint: &tidegate_domain::Endpoint,
    resolved: &Resolved,
) -> Result<Vec<(String, String)>, TranslateError> {
    if let Some(literal) = ip(&endpoint.host) {
        return Ok(vec![(literal.to_string(), String::new())]);
    }
    let host = endpoint.host.to_ascii_lowercase();
    // Looked up and not found (an empty answer): this endpoint is left out and all others are served.
    let Some(found) = resolved.get(&host) else {
        return Err(TranslateError::Unresolved { endpoint: endpoint.name.to_string(), host });
    };
    let found: BTreeSet<_> = found.iter().collect();
    Ok(found.into_iter().map(|a| (a.to_string(), host.clone())).collect())
}

pub(crate) fn assignment(fleet: &Fleet, split: &ClassSplit, places: &Places) -> ClusterLoadAssignment {
    let service = fleet.classes[split.class.at()].service;
    let mut seen = BTreeSet::new();
    let mut priorities: Vec<Vec<(RegionIx, u32)>> = Vec::new();
    let first: Vec<(RegionIx, u32)> = split.weights.iter().map(|w| (w.region, u32::from(w.share.get()))).collect();
    let rings = split.spill.iter().map(|ring| ring_weights(fleet, ring));
    for ring in std::iter::once(first).chain(rings) {
        let mut kept: Vec<(RegionIx, u32)> = ring
            .into_iter()
            .filter(|(region, weight)| *weight > 0 && fleet.permits(split.class, *region))
            .filter(|(region, _)| places.by_place.get(&(service, *region)).is_some_and(|list| !list.is_empty()))
            .filter(|(region, _)| seen.insert(*region))
            .collect();
        kept.sort_unstable();
        // Envoy wants priorities without a gap.
        if !kept.is_empty() {
            priorities.push(kept);
        }
    }
    let mut endpoints = Vec::new();
    let last = priorities.len();
    for (priority, ring) in priorities.into_iter().enumerate() {
        for (region, weight) in ring {
            let hosts = places.by_place.get(&(service, region)).cloned().unwrap_or_default();
            endpoints.push(LocalityLbEndpoints {
                load_balancing_weight: uint(weight),
                ..listed(fleet, places, region, priority, hosts)
            });
        }
    }
    for ((_, region), hosts) in places.by_place.range((service, RegionIx(0))..=(service, RegionIx(u16::MAX))) {
        if !hosts.is_empty() && fleet.permits(split.class, *region) && seen.insert(*region) {
            let drain = |h: &LbEndpoint| LbEndpoint { health_status: HealthStatus::Draining as i32, ..h.clone() };
            endpoints.push(listed(fleet, places, *region, last, hosts.iter().map(drain).collect()));
        }
    }
    let policy = Policy {
        drop_overloads: shed(split.serving),
        overprovisioning_factor: uint(OVERPROVISIONING),
        ..Policy::default()
    };
    ClusterLoadAssignment {
        cluster_name: names::cluster(fleet, split.class),
        endpoints,
        policy: Some(policy),
        ..ClusterLoadAssignment::default()
    }
}

fn listed(
    fleet: &Fleet,
    places: &Places,
    region: RegionIx,
    priority: usize,
    lb_endpoints: Vec<LbEndpoint>,
) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(locality(fleet, region)),
        metadata: places.localities[region.at()].clone(),
        lb_endpoints,
        priority: u32::try_from(priority).unwrap_or(u32::MAX),
        ..LocalityLbEndpoints::default()
    }
}

/// Weights within a spill ring: what each region may safely carry, in basis points of the ring; at least 1, since a
/// locality without weight gets nothing.
fn ring_weights(fleet: &Fleet, ring: &[RegionIx]) -> Vec<(RegionIx, u32)> {
    let safe = |r: &RegionIx| fleet.regions[r.at()].safe_utilisation.of(fleet.regions[r.at()].capacity.0);
    let amounts: Vec<u64> = ring.iter().map(safe).collect();
    let shares = tidegate_domain::apportion(&amounts);
    ring.iter().zip(shares).map(|(region, share)| (*region, u32::from(share.get().max(1)))).collect()
}

fn locality(fleet: &Fleet, region: RegionIx) -> Locality {
    let zone = fleet.regions[region.at()].zone.as_ref().map(ToString::to_string);
    Locality { region: names::locality_region(fleet, region), zone: zone.unwrap_or_default(), ..Locality::default() }
}

fn shed(serving: Serving) -> Vec<DropOverload> {
    let share = match serving {
        Serving::Routed { shed } => shed,
        Serving::WrongJurisdiction | Serving::NoPlace => Bps::ZERO,
    };
    if share == Bps::ZERO {
        return Vec::new();
    }
    let percent =
        FractionalPercent { numerator: u32::from(share.get()), denominator: DenominatorType::TenThousand as i32 };
    vec![DropOverload { category: SHED.to_owned(), drop_percentage: Some(percent) }]
}
