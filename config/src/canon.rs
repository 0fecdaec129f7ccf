//! The canonical encoding of a fleet, and its hash. Every struct is taken apart in full, so that a new field cannot be
//! forgotten; lengths stand before texts and lists, so that no two fleets share an encoding.

use tidegate_domain::{
    Area, Check, CheckKind, Class, ClassMatch, ClientGroup, Demand, Endpoint, Fleet, FreezeWindow, Listener, Permitted,
    Provider, ProviderApi, Reference, Region, Revision, Route, Rules, Service, Vantage,
};

/// Version of the encoding; a change of the encoding changes every revision and must raise it.
const VERSION: u64 = 1;

/// SHA-256 of the canonical encoding, the revision itself left out.
pub(crate) fn revision(fleet: &Fleet) -> Revision {
    let mut out = Out(Vec::with_capacity(4096));
    out.number(VERSION);
    fleet_into(fleet, &mut out);
    let digest = ring::digest::digest(&ring::digest::SHA256, &out.0);
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(digest.as_ref());
    Revision(bytes)
}

struct Out(Vec<u8>);
impl Out {
    fn number(&mut self, n: impl Into<u64>) {
        self.0.extend_from_slice(&n.into().to_be_bytes());
    }
    fn big(&mut self, n: i128) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
    fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        for item in items {
            each(self, item);
        }
    }
    fn maybe<T>(&mut self, item: Option<&T>, each: impl FnOnce(&mut Self, &T)) {
        self.number(u64::from(item.is_some()));
        if let Some(item) = item {
            each(self, item);
        }
    }
}

fn fleet_into(fleet: &Fleet, out: &mut Out) {
    let Fleet {
        revision: _,
        providers,
        areas,
        regions,
        services,
        classes,
        endpoints,
        vantages,
        references,
        groups,
        rules,
        apis,
    } = fleet;
    out.list(providers, |o, Provider { name }| o.text(name.as_str()));
    out.list(areas, |o, Area { name, rings }| {
        o.text(name.as_str());
        o.list(rings, |o, ring| o.list(ring, |o, a| o.number(a.0)));
    });
    out.list(regions, region);
    out.list(services, service);
    out.list(classes, class);
    out.list(endpoints, |o, Endpoint { name, service, region, host, port }| {
        o.text(name.as_str());
        o.number(service.0);
        o.number(region.0);
        o.text(host);
        o.number(*port);
    });
    out.list(vantages, |o, Vantage { name, region, gossip }| {
        o.text(name.as_str());
        o.number(region.0);
        o.text(gossip);
    });
    out.list(references, |o, Reference { name, address, network }| {
        o.text(name.as_str());
        o.text(address);
        o.text(network.as_str());
    });
    out.list(groups, |o, ClientGroup { name, area, jurisdiction }| {
        o.text(name.as_str());
        o.number(area.0);
        o.text(jurisdiction.as_str());
    });
    rules_into(rules, out);
    // Last, and only where there is any: everything before it ends by itself, and revisions of fleets without stay.
    if !apis.is_empty() {
        out.list(apis, |o, ProviderApi { provider, host, port, check }| {
            o.number(provider.0);
            o.text(host);
            o.number(*port);
            check_into(check, o);
        });
    }
}

fn region(out: &mut Out, region: &Region) {
    let Region { name, provider, jurisdiction, area, zone, capacity, safe_utilisation, cost_per_million, vantage_only } =
        region;
    out.text(&name.to_string());
    out.number(provider.0);
    out.text(jurisdiction.as_str());
    out.number(area.0);
    out.maybe(zone.as_ref(), |o, z| o.text(z.as_str()));
    out.number(capacity.0);
    out.number(safe_utilisation.get());
    out.big(cost_per_million.0);
    out.number(u64::from(*vantage_only));
}

fn service(out: &mut Out, service: &Service) {
    let Service { name, listener, domains, routes, classes, unmatched, check } = service;
    let Listener { name: listener, address, port } = listener;
    out.text(name.as_str());
    out.text(listener.as_str());
    out.text(address);
    out.number(*port);
    out.list(domains, |o, d| o.text(d));
    out.list(routes, |o, Route { prefix, timeout, per_try_timeout, retries }| {
        o.text(prefix);
        o.number(timeout.0);
        o.number(per_try_timeout.0);
        o.number(*retries);
    });
    out.list(classes, |o, c| o.number(c.0));
    out.maybe(unmatched.as_ref(), |o, c| o.number(c.0));
    check_into(check, out);
}

fn check_into(check: &Check, out: &mut Out) {
    let Check { kind, interval, timeout, unhealthy_after, healthy_after } = check;
    match kind {
        CheckKind::Tcp => out.number(0_u64),
        CheckKind::Http { path, tls, host } => {
            out.number(1_u64);
            out.text(path);
            out.number(u64::from(*tls));
            out.maybe(host.as_ref(), |o, h| o.text(h));
        }
        CheckKind::Grpc { service, tls, host } => {
            out.number(2_u64);
            out.text(service);
            out.number(u64::from(*tls));
            out.maybe(host.as_ref(), |o, h| o.text(h));
        }
    }
    out.number(interval.0);
    out.number(timeout.0);
    out.number(*unhealthy_after);
    out.number(*healthy_after);
}

fn class(out: &mut Out, class: &Class) {
    let Class {
        name,
        service,
        permitted,
        matched_by,
        client_can_set,
        priority,
        demand,
        provider_share_max,
        migration_cost,
    } = class;
    out.text(name.as_str());
    out.number(service.0);
    match permitted {
        Permitted::Anywhere => out.number(0_u64),
        Permitted::Only(set) => {
            out.number(1_u64);
            let set: Vec<_> = set.iter().collect();
            out.list(&set, |o, j| o.text(j.as_str()));
        }
    }
    match matched_by {
        ClassMatch::Header { name, value } => {
            out.number(0_u64);
            out.text(name);
            out.text(value);
        }
        ClassMatch::Host(host) => {
            out.number(1_u64);
            out.text(host);
        }
    }
    out.number(u64::from(*client_can_set));
    out.number(*priority);
    out.list(demand, |o, Demand { group, load }| {
        o.number(group.0);
        o.number(load.0);
    });
    out.number(provider_share_max.get());
    out.big(migration_cost.0);
}

fn rules_into(rules: &Rules, out: &mut Out) {
    let Rules {
        min_regions_on,
        share_cap,
        settle,
        min_residency,
        report_fresh,
        doubt_window,
        unknown_alarm,
        up_after,
        economic_margin,
        freeze,
    } = rules;
    out.number(*min_regions_on);
    out.number(share_cap.get());
    for time in [settle, min_residency, report_fresh, doubt_window, unknown_alarm, up_after] {
        out.number(time.0);
    }
    out.number(economic_margin.get());
    out.list(freeze, |o, FreezeWindow { from, until, reason }| {
        o.big(i128::from(from.0));
        o.big(i128::from(until.0));
        o.text(reason);
    });
}
