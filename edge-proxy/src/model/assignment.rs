//! An assignment: the places of a class with their weights, the spill rings after them, and the share to shed.
//!
//! Owns the order of priorities. Refuses a gap among them, an endpoint that is not an IP address, and any health status
//! but DRAINING (the control plane sends no other; obeying it in part would be worse than saying so). A draining
//! endpoint is counted and never becomes a candidate, whatever weight its place has.

use super::{Refused, refused, text};
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, address, socket_address};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use prost::Message;
use std::net::SocketAddr;
use tidegate_proto::metadata;

/// One place (a region) in one priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Locality {
    /// `aws/us-east-1`
    pub(crate) region: String,
    pub(crate) zone: String,
    /// `aws`; empty when not told.
    pub(crate) provider: String,
    /// `US`; empty when not told.
    pub(crate) jurisdiction: String,
    pub(crate) priority: u32,
    pub(crate) weight: u32,
    /// Those that may be given requests.
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Those that may not: they only end what they have.
    pub(crate) draining: usize,
}

/// An assignment as it was read; whether each place is permitted is judged with its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Sorted by priority, then as sent.
    pub(crate) localities: Vec<Locality>,
    /// Parts per million of requests to refuse.
    pub(crate) shed_ppm: u32,
    /// Percent, as Envoy means it: 140 keeps a whole weight until 2/7 of the hosts are out.
    pub(crate) overprovisioning: u32,
}

pub(crate) fn assignment(name: &str, value: &[u8]) -> Result<Assignment, Refused> {
    let of = ClusterLoadAssignment::decode(value)
        .map_err(|e| Refused(format!("assignment `{name}`: not a ClusterLoadAssignment: {e}")))?;
    if of.cluster_name != name {
        return refused(format!("assignment `{name}` calls itself `{}`", of.cluster_name));
    }
    let mut localities = of
        .endpoints
        .iter()
        .filter(|l| l.load_balancing_weight.as_ref().is_some_and(|w| w.value > 0) || l.lb_endpoints.iter().any(drains))
        .map(|l| locality(name, l))
        .collect::<Result<Vec<_>, _>>()?;
    localities.sort_by_key(|l| l.priority);
    let mut next = 0;
    for locality in &localities {
        if locality.priority > next {
            return refused(format!("assignment `{name}`: priority {next} is missing below {}", locality.priority));
        }
        next = next.max(locality.priority + 1);
    }
    let policy = of.policy.unwrap_or_default();
    let overprovisioning = policy.overprovisioning_factor.map_or(140, |v| v.value).clamp(100, 10_000);
    let mut shed_ppm = 0_u32;
    for drop in &policy.drop_overloads {
        let Some(part) = &drop.drop_percentage else { continue };
        let per = match DenominatorType::try_from(part.denominator) {
            Ok(DenominatorType::Hundred) => 10_000,
            Ok(DenominatorType::TenThousand) => 100,
            Ok(DenominatorType::Million) => 1,
            Err(_) => return refused(format!("assignment `{name}`: the share to drop has an unknown denominator")),
        };
        // Envoy takes one category; several follow one another.
        let left = 1_000_000 - shed_ppm;
        let part = u64::from(part.numerator).saturating_mul(per).min(1_000_000);
        shed_ppm += u32::try_from(u64::from(left) * part / 1_000_000).unwrap_or(left);
    }
    Ok(Assignment { localities, shed_ppm, overprovisioning })
}

fn locality(name: &str, of: &LocalityLbEndpoints) -> Result<Locality, Refused> {
    let (region, zone) = of.locality.as_ref().map(|l| (l.region.clone(), l.zone.clone())).unwrap_or_default();
    let place_jurisdiction = text(of.metadata.as_ref(), metadata::JURISDICTION).unwrap_or_default();
    let mut provider = String::new();
    let mut jurisdiction = place_jurisdiction.clone();
    let mut draining = 0;
    let mut endpoints = Vec::with_capacity(of.lb_endpoints.len());
    for endpoint in &of.lb_endpoints {
        let address = endpoint_address(name, endpoint)?;
        let said = text(endpoint.metadata.as_ref(), metadata::JURISDICTION).unwrap_or_default();
        if jurisdiction.is_empty() {
            jurisdiction.clone_from(&said);
        }
        // Two answers to "where is this" are none.
        if !said.is_empty() && said != jurisdiction {
            return refused(format!(
                "assignment `{name}`: endpoint {address} says it stands in {said}, its place {region} in {jurisdiction}"
            ));
        }
        if provider.is_empty() {
            provider = text(endpoint.metadata.as_ref(), metadata::PROVIDER).unwrap_or_default();
        }
        if drains(endpoint) {
            draining += 1;
            continue;
        }
        if endpoint.health_status != HealthStatus::Unknown as i32
            && endpoint.health_status != HealthStatus::Healthy as i32
        {
            return refused(format!(
                "assignment `{name}`: endpoint {address} has a health status, which is not understood"
            ));
        }
        endpoints.push(address);
    }
    if provider.is_empty() {
        provider = region.split('/').next().unwrap_or_default().to_owned();
    }
    let weight = of.load_balancing_weight.as_ref().map_or(0, |w| w.value);
    Ok(Locality { region, zone, provider, jurisdiction, priority: of.priority, weight, endpoints, draining })
}

fn drains(of: &LbEndpoint) -> bool {
    of.health_status == HealthStatus::Draining as i32
}

fn endpoint_address(name: &str, of: &LbEndpoint) -> Result<SocketAddr, Refused> {
    let Some(HostIdentifier::Endpoint(endpoint)) = &of.host_identifier else {
        return refused(format!("assignment `{name}`: a named endpoint is not understood"));
    };
    socket_address(endpoint.address.as_ref())
        .ok_or_else(|| Refused(format!("assignment `{name}`: an endpoint's address is not an IP and a port")))
}

/// An Envoy address that is an IP and a port.
pub(super) fn socket_address(of: Option<&envoy_types::pb::envoy::config::core::v3::Address>) -> Option<SocketAddr> {
    let Some(address::Address::SocketAddress(socket)) = &of?.address else { return None };
    let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else { return None };
    Some(SocketAddr::new(socket.address.parse().ok()?, u16::try_from(port).ok()?))
}
