//! Names both ways: ours to Envoy's, and back from what Envoy reports.
//!
//! Owns the spelling; refuses to guess: an unknown name is `None`.

use std::net::SocketAddr;
use tidegate_domain::{ClassIx, EndpointIx, Fleet, Listener, ServiceIx};

/// Cluster and assignment of `class`: `payroll/eu`.
#[must_use]
pub fn cluster(fleet: &Fleet, class: ClassIx) -> String {
    fleet.class_name(class)
}

/// The class whose cluster is so named.
#[must_use]
pub fn class(fleet: &Fleet, cluster: &str) -> Option<ClassIx> {
    let (service, class) = cluster.split_once('/')?;
    let service = fleet.services.iter().find(|s| s.name.as_str() == service)?;
    service.classes.iter().copied().find(|c| fleet.classes[c.at()].name.as_str() == class)
}

/// Envoy's name of a listener is ours.
#[must_use]
pub fn listener(listener: &Listener) -> String {
    listener.name.to_string()
}

/// The route configuration of a listener has the listener's name.
#[must_use]
pub fn route_configuration(of: &Listener) -> String {
    listener(of)
}

/// The endpoint of `service` at `address`, as Envoy's `/clusters` and load reports name it. Endpoints that are given by
/// host name are not found by address.
#[must_use]
pub fn endpoint(fleet: &Fleet, service: ServiceIx, address: SocketAddr) -> Option<EndpointIx> {
    let found = fleet
        .endpoints
        .iter()
        .position(|e| e.service == service && e.port == address.port() && e.host.parse() == Ok(address.ip()));
    found.map(EndpointIx::from)
}

/// `locality.region` of a region's endpoints is its whole name, `aws/us-east-1`: the way back is
/// `fleet.region(&RegionName::new(text)?)`.
#[must_use]
pub fn locality_region(fleet: &Fleet, region: tidegate_domain::RegionIx) -> String {
    fleet.regions[region.at()].name.to_string()
}

/// The class that takes requests which match none: the configured one, or, where none is configured, one whose permitted
/// set lies within the set of every class of the service. Such a class *is* the intersection of all permitted sets as
/// far as places go, so no request leaves what all classes allow. `None`: 451. (An intersection that is not empty but is
/// no class's own set has no split in any plan, and is refused as well.)
#[must_use]
pub fn unmatched(fleet: &Fleet, service: ServiceIx) -> Option<ClassIx> {
    use tidegate_domain::Permitted;
    let of = &fleet.services[service.at()];
    let within = |a: ClassIx, b: ClassIx| match (&fleet.classes[a.at()].permitted, &fleet.classes[b.at()].permitted) {
        (_, Permitted::Anywhere) => true,
        (Permitted::Anywhere, Permitted::Only(_)) => false,
        (Permitted::Only(a), Permitted::Only(b)) => a.is_subset(b),
    };
    of.unmatched.or_else(|| of.classes.iter().copied().find(|a| of.classes.iter().all(|b| within(*a, *b))))
}
