//! Host names among the endpoints: which there are, what is known of them, and who has no address because of them.
//!
//! Owns no resolver: names are looked up by the caller.

use crate::Resolved;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tidegate_domain::{Fleet, RegionIx, ServiceIx};

/// Host names among the endpoints, lower case, each with a port to look it up by.
#[must_use]
pub fn hosts(fleet: &Fleet) -> BTreeMap<String, u16> {
    let named = fleet.endpoints.iter().filter(|e| e.host.parse::<IpAddr>().is_err());
    named.map(|e| (e.host.to_ascii_lowercase(), e.port)).collect()
}

/// Every host name of `fleet` with what is known of it; unknown ones with nothing, so that only they are left out.
#[must_use]
pub fn known(fleet: &Fleet, last: &Resolved) -> Resolved {
    hosts(fleet).into_keys().map(|host| (host.clone(), last.get(&host).cloned().unwrap_or_default())).collect()
}

/// Places of services that have no address at all because no host name there is resolved: in words, for an alarm.
#[must_use]
pub fn lost(fleet: &Fleet, resolved: &Resolved) -> Vec<String> {
    let mut places: BTreeMap<(ServiceIx, RegionIx), (bool, BTreeSet<String>)> = BTreeMap::new();
    for endpoint in &fleet.endpoints {
        let host = endpoint.host.to_ascii_lowercase();
        let literal = endpoint.host.parse::<IpAddr>().is_ok();
        let there = literal || resolved.get(&host).is_some_and(|found| !found.is_empty());
        let place = places.entry((endpoint.service, endpoint.region)).or_default();
        place.0 |= there;
        place.1.extend((!there).then_some(host));
    }
    let gone = places.into_iter().filter(|(_, (there, _))| !there);
    let words = gone.map(|((service, region), (_, hosts))| {
        let (service, region) = (&fleet.services[service.at()].name, &fleet.regions[region.at()].name);
        let hosts: Vec<String> = hosts.into_iter().collect();
        format!("{service} has no address at {region}: not resolved: {}", hosts.join(", "))
    });
    words.collect()
}
