//! Checks over the whole fleet: clashes, places that contradict each other, too few senses.

use super::text::{covers, host_port};
use super::{Built, Spot, last_of};
use crate::fault::{Severity, Sink};
use crate::raw::Raw;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_domain::{Class, ClassIx, ClassMatch, Endpoint, Fleet, ProviderIx, Service, ServiceIx};

/// References that every fleet needs, so that losing one still leaves two.
const REFERENCES_MIN: usize = 3;

pub(super) fn whole(raw: &Raw, built: &Built, sink: &mut Sink) {
    listeners(built, sink);
    for (i, service) in built.fleet.services.iter().enumerate() {
        matches(service, built, sink);
        if !built.doubtful {
            places(ServiceIx::from(i), service, built, sink);
        }
    }
    endpoints(built, sink);
    references(raw, built, sink);
    if !built.doubtful {
        vantages(raw, &built.fleet, sink);
        super::api::judged(raw, built, sink);
        demand(built, sink);
    }
}

fn at(spot: &Spot, sub: &str, what: String, mend: &str, sink: &mut Sink) {
    sink.error(&spot.src, spot.line_of(sub), &format!("{}{sub}", spot.key), what, mend);
}
fn warn(spot: &Spot, sub: &str, what: String, mend: &str, sink: &mut Sink) {
    sink.warn(&spot.src, spot.line_of(sub), &format!("{}{sub}", spot.key), what, mend);
}

fn listeners(built: &Built, sink: &mut Sink) {
    let services = &built.fleet.services;
    for (i, b) in services.iter().enumerate() {
        for a in &services[..i] {
            let (x, y) = (&a.listener, &b.listener);
            let spot = &built.listener_at[i];
            let all = |t: &str| matches!(t, "0.0.0.0" | "::");
            let same_place = x.port == y.port && (x.address == y.address || all(&x.address) || all(&y.address));
            if x.name == y.name && x != y {
                let what = format!("listener `{}` stands at {}:{} in service `{}`", x.name, x.address, x.port, a.name);
                at(spot, ".name", what, "give it one address and port, or another name", sink);
            } else if x.name != y.name && same_place {
                let what = format!("port {} is taken by listener `{}` of service `{}`", y.port, x.name, a.name);
                at(spot, ".port", what, "use the same listener name to share it, or another port", sink);
            } else if let Some(domain) = a.domains.iter().find(|d| x.name == y.name && b.domains.contains(*d)) {
                let what = format!("service `{}` has domain `{domain}` on the same listener", a.name);
                at(spot, "", what, "move the domain to one of the two services", sink);
            }
        }
    }
}

/// Two classes of one service may never both take a request.
fn matches(service: &Service, built: &Built, sink: &mut Sink) {
    for (i, b) in service.classes.iter().enumerate() {
        for a in &service.classes[..i] {
            let (x, y) = (&built.fleet.classes[a.at()], &built.fleet.classes[b.at()]);
            let spot = &built.class_at[b.at()];
            let how = match (&x.matched_by, &y.matched_by) {
                (p, q) if p == q => Some("has the same match: this class is unreachable"),
                (ClassMatch::Header { name: p, .. }, ClassMatch::Header { name: q, .. }) if p == q => None,
                (ClassMatch::Host(_), ClassMatch::Host(_)) => None,
                _ => Some("can match the same request"),
            };
            if let Some(how) = how {
                let mend = "tell all classes of a service by one header with different values, or all by host";
                at(spot, ".match", format!("class `{}` {how}", x.name), mend, sink);
                // One other class is enough to know what to mend.
                break;
            }
        }
    }
}

fn places(at_service: ServiceIx, service: &Service, built: &Built, sink: &mut Sink) {
    let fleet = &built.fleet;
    let own = |e: &&Endpoint| e.service == at_service;
    let regions: BTreeSet<_> = fleet.endpoints.iter().filter(own).map(|e| e.region).collect();
    for class in &service.classes {
        let permitted: Vec<_> = regions.iter().filter(|r| fleet.permits(*class, **r)).collect();
        let providers: BTreeSet<ProviderIx> = permitted.iter().map(|r| fleet.provider_of(**r)).collect();
        let (spot, of) = (&built.class_at[class.at()], &fleet.classes[class.at()]);
        if permitted.is_empty() {
            let what = "no region with endpoints of this service lies in the permitted set".to_owned();
            at(spot, ".permitted", what, "place an endpoint in a permitted country, or permit one that has some", sink);
            continue;
        }
        if providers.len() * usize::from(of.provider_share_max.get()) < 10_000 {
            let what = format!("{} of each of {} providers is less than all", of.provider_share_max, providers.len());
            warn(spot, ".providerShareMax", what, "raise the share, or serve the class from one more provider", sink);
        }
    }
    for region in regions {
        let anyone = service.classes.iter().any(|c| fleet.permits(*c, region));
        let first = fleet.endpoints.iter().position(|e| e.service == at_service && e.region == region);
        if let (false, Some(first), false) = (anyone, first, fleet.regions[region.at()].vantage_only) {
            let what = format!("no class of the service permits `{}`: it stays idle", fleet.regions[region.at()].name);
            warn(&built.endpoint_at[first], ".region", what, "permit its country in a class, or remove it", sink);
        }
    }
}

fn endpoints(built: &Built, sink: &mut Sink) {
    let fleet = &built.fleet;
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (endpoint, spot) in fleet.endpoints.iter().zip(&built.endpoint_at) {
        let region = fleet.regions.get(endpoint.region.at());
        if let Some(region) = region.filter(|r| r.vantage_only) {
            let what = format!("`{}` is a place for vantages only", region.name);
            at(
                spot,
                ".region",
                what,
                "place the endpoint elsewhere, or declare the region without `vantageOnly`",
                sink,
            );
        }
        if let Some(other) = names.insert(&endpoint.name, spot) {
            let what = format!("`{}` names an endpoint in {} already", endpoint.name, other.src.file);
            at(spot, ".name", what, "give each endpoint a name of its own", sink);
        }
        let address = (endpoint.service, &endpoint.host, endpoint.port);
        if let Some(other) = addresses.insert(address, endpoint) {
            let what = format!("{}:{} is endpoint `{}` already", endpoint.host, endpoint.port, other.name);
            at(spot, ".host", what, "keep one of the two", sink);
        }
    }
}

fn references(raw: &Raw, built: &Built, sink: &mut Sink) {
    let fleet = &built.fleet;
    let networks: BTreeSet<_> = fleet.references.iter().map(|r| &r.network).collect();
    if !raw.misses("Reference") {
        if fleet.references.len() < REFERENCES_MIN {
            let what = match fleet.references.len() {
                0 => "the fleet has no reference".to_owned(),
                1 => "1 reference is too few".to_owned(),
                n => format!("{n} references are too few"),
            };
            let mend = "declare three of kind Reference: a vantage that reaches two knows that it is connected itself";
            sink.whole(Severity::Error, last_of(raw, "Reference"), "Reference", what, mend);
        } else if networks.len() < 2 {
            let mend = "place them in at least two networks: one network's trouble must not look like ours";
            let what = "all references stand in one network";
            sink.whole(Severity::Error, last_of(raw, "Reference"), "Reference", what, mend);
        } else {
            lone_networks(built, sink);
        }
    }
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    for endpoint in &fleet.endpoints {
        places.insert(&endpoint.host, format!("endpoint `{}`", endpoint.name));
    }
    for vantage in &fleet.vantages {
        if let Some((host, _)) = host_port(&vantage.gossip) {
            places.insert(host, format!("vantage `{}`", vantage.name));
        }
    }
    for (reference, spot) in fleet.references.iter().zip(&built.reference_at) {
        if let Some(place) = host_port(&reference.address).and_then(|(host, _)| places.get(host)) {
            let what = format!("the reference stands in the fleet: {place} has the same host");
            at(spot, ".address", what, "name a host that the fleet's own trouble cannot take along", sink);
        }
    }
}

/// A vantage must reach two references in two networks. Where all but one stand in one network, the loss of that one
/// takes the voice of every vantage.
fn lone_networks(built: &Built, sink: &mut Sink) {
    let references = &built.fleet.references;
    for (i, (reference, spot)) in references.iter().zip(&built.reference_at).enumerate() {
        let others: BTreeSet<_> =
            references.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, r)| &r.network).collect();
        if others.len() < 2 {
            let what = format!(
                "without reference `{}` all others stand in one network, and no vantage would have a vote",
                reference.name
            );
            warn(spot, ".network", what, "declare one more reference in another network", sink);
        }
    }
}

fn vantages(raw: &Raw, fleet: &Fleet, sink: &mut Sink) {
    let providers: BTreeSet<ProviderIx> = fleet.vantages.iter().map(|v| fleet.provider_of(v.region)).collect();
    if providers.len() < 2 {
        let what = match fleet.vantages.len() {
            0 => "the fleet has no vantage".to_owned(),
            n => format!("all {n} vantages stand in one provider"),
        };
        let mend = "place vantages in two providers or more: a verdict needs two that agree";
        sink.whole(Severity::Error, last_of(raw, "Vantage"), "Vantage", what, mend);
    } else if !fleet.vantages.iter().any(|v| fleet.regions[v.region.at()].vantage_only) {
        let mend = "place one in a region with `vantageOnly: true`: it still sees when the clouds do not";
        let what = "no vantage stands outside the providers that serve";
        sink.whole(Severity::Warning, last_of(raw, "Vantage"), "Vantage", what, mend);
    }
}

fn demand(built: &Built, sink: &mut Sink) {
    let fleet = &built.fleet;
    for (i, class) in fleet.classes.iter().enumerate() {
        let (ix, spot) = (ClassIx::from(i), &built.class_at[i]);
        let groups = 0..fleet.groups.len();
        let served = |g: usize| fleet.permits_group(ix, g.into());
        if !groups.clone().any(served) {
            let what = "no client group stands in a permitted country: every request is answered 451".to_owned();
            warn(spot, ".permitted", what, "declare a client group there, or permit the country of one", sink);
        }
        for demand in class.demand.iter().filter(|d| d.load.0 > 0 && !served(d.group.at())) {
            let group = &fleet.groups[demand.group.at()];
            let what = format!("clients of `{}` stand in {} and are answered 451", group.name, group.jurisdiction);
            warn(spot, &format!(".demand.{}", group.name), what, "remove the demand, or permit the country", sink);
        }
        unreachable_host(class, fleet, spot, sink);
    }
}

/// A host match is in vain where a service with a more special domain on the same listener takes the host.
fn unreachable_host(class: &Class, fleet: &Fleet, spot: &Spot, sink: &mut Sink) {
    let ClassMatch::Host(host) = &class.matched_by else { return };
    let own = &fleet.services[class.service.at()];
    let best = |s: &Service| s.domains.iter().filter(|d| covers(d, host)).map(|d| (!d.contains('*'), d.len())).max();
    for other in fleet.services.iter().filter(|o| o.listener.name == own.listener.name && o.name != own.name) {
        if best(other) > best(own) {
            let what = format!("unreachable: service `{}` takes host `{host}` on the same listener", other.name);
            at(spot, ".match.host", what, "name the host among this service's domains", sink);
        }
    }
}
