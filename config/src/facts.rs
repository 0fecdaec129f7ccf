//! A fleet as a list of plain facts, for comparison: what each thing is called and what each of its keys says, in the
//! words of the files. Every struct is taken apart in full, so that a new field cannot be forgotten. Refuses to judge.

use std::collections::BTreeMap;
use tidegate_domain::{
    Area, AreaIx, Check, CheckKind, Class, ClassMatch, ClientGroup, Endpoint, Fleet, FreezeWindow, Jurisdiction,
    Listener, Permitted, PicoDollars, Provider, ProviderApi, Reference, Region, Route, Rules, Service, Vantage,
};

/// What one thing's keys say, in a fixed order of keys.
pub(crate) type Keys = BTreeMap<String, String>;

/// Everything that a fleet says, by what it says it of: `Region aws/us-east-1`, `class payroll/eu`, `Rules`. Endpoints
/// are named by what a connection sees, so that a derived name does not make two of one.
pub(crate) fn facts(fleet: &Fleet) -> BTreeMap<String, Keys> {
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
        rules: said,
        apis,
    } = fleet;
    let mut all = BTreeMap::new();
    for (i, Provider { name }) in providers.iter().enumerate() {
        let api = apis.iter().find(|a| a.provider.at() == i);
        let said = api.map_or_else(|| "none".to_owned(), api_status);
        all.insert(format!("Provider {name}"), keys([("apiStatus", said)]));
    }
    for Area { name, rings } in areas {
        let ring = |ring: &Vec<AreaIx>| format!("[{}]", listed(ring.iter().map(|a| &fleet.areas[a.at()].name)));
        let rings = format!("[{}]", listed(rings.iter().map(ring)));
        all.insert(format!("Area {name}"), keys([("rings", rings)]));
    }
    all.extend(regions.iter().map(|r| (format!("Region {}", r.name), region(r, fleet))));
    all.extend(services.iter().map(|s| (format!("Service {}", s.name), service(s, fleet))));
    all.extend(classes.iter().enumerate().map(|(i, c)| (class_fact(&fleet.class_name(i.into())), class(c, fleet))));
    for e in endpoints {
        all.insert(endpoint_fact(e, fleet), keys([("name", e.name.to_string())]));
    }
    for Vantage { name, region, gossip } in vantages {
        let region = fleet.regions[region.at()].name.to_string();
        all.insert(format!("Vantage {name}"), keys([("region", region), ("gossip", gossip.clone())]));
    }
    for Reference { name, address, network } in references {
        let said = keys([("address", address.clone()), ("network", network.to_string())]);
        all.insert(format!("Reference {name}"), said);
    }
    for ClientGroup { name, area, jurisdiction } in groups {
        let area = fleet.areas[area.at()].name.to_string();
        let said = keys([("area", area), ("jurisdiction", jurisdiction.to_string())]);
        all.insert(format!("ClientGroup {name}"), said);
    }
    all.insert("Rules".to_owned(), rules(said));
    all
}

/// The fact of a class, from its full name.
fn class_fact(full: &str) -> String {
    format!("class {full}")
}

/// The fact of an endpoint: service, region and address.
pub(crate) fn endpoint_fact(endpoint: &Endpoint, fleet: &Fleet) -> String {
    let Endpoint { name: _, service, region, host, port } = endpoint;
    let (service, region) = (&fleet.services[service.at()].name, &fleet.regions[region.at()].name);
    format!("endpoint {host}:{port} of {service} in {region}")
}

/// A permitted set as a person reads it.
pub(crate) fn permitted(permitted: &Permitted) -> String {
    match permitted {
        Permitted::Anywhere => "anywhere".to_owned(),
        Permitted::Only(set) => listed(set.iter().map(Jurisdiction::to_string)),
    }
}

/// What selects a class, as in `x-residency-class: eu`.
pub(crate) fn matched(matched_by: &ClassMatch) -> String {
    match matched_by {
        ClassMatch::Header { name, value } => format!("header `{name}: {value}`"),
        ClassMatch::Host(host) => format!("host `{host}`"),
    }
}

fn keys<const N: usize>(said: [(&str, String); N]) -> Keys {
    said.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn listed<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

fn money(PicoDollars(pico): PicoDollars) -> String {
    let (whole, part) = (pico / 1_000_000_000_000, pico % 1_000_000_000_000);
    let part = format!("{part:012}");
    format!("${whole}.{:0<2}", part.trim_end_matches('0'))
}

fn api_status(api: &ProviderApi) -> String {
    let ProviderApi { provider: _, host, port, check } = api;
    let Check { kind, interval, timeout, unhealthy_after, healthy_after } = check;
    let url = match kind {
        CheckKind::Http { path, tls, host: _ } => {
            format!("{}://{host}:{port}{path}", if *tls { "https" } else { "http" })
        }
        CheckKind::Tcp | CheckKind::Grpc { .. } => format!("{host}:{port}"),
    };
    format!(
        "{url} (every {} ms, within {} ms, failing after {unhealthy_after}, well after {healthy_after})",
        interval.0, timeout.0
    )
}

fn region(region: &Region, fleet: &Fleet) -> Keys {
    let Region {
        name: _,
        provider: _, // a part of the name
        jurisdiction,
        area,
        zone,
        capacity,
        safe_utilisation,
        cost_per_million,
        vantage_only,
    } = region;
    keys([
        ("jurisdiction", jurisdiction.to_string()),
        ("area", fleet.areas[area.at()].name.to_string()),
        ("zone", zone.as_ref().map_or("none".to_owned(), ToString::to_string)),
        ("capacity", capacity.to_string()),
        ("safeUtilisation", safe_utilisation.to_string()),
        ("costPerMillion", money(*cost_per_million)),
        ("vantageOnly", vantage_only.to_string()),
    ])
}

fn service(service: &Service, fleet: &Fleet) -> Keys {
    let Service { name: _, listener, domains, routes, classes, unmatched, check } = service;
    let Listener { name, address, port } = listener;
    let Check { kind, interval, timeout, unhealthy_after, healthy_after } = check;
    let for_host = |host: &Option<String>| host.as_ref().map_or(String::new(), |h| format!(" for host {h}"));
    let kind = match kind {
        CheckKind::Tcp => "tcp".to_owned(),
        CheckKind::Http { path, tls, host } => {
            format!("{}://{path}{}", if *tls { "https" } else { "http" }, for_host(host))
        }
        CheckKind::Grpc { service, tls, host } => {
            let of = if service.is_empty() { "the whole server" } else { service };
            format!("grpc {of}{}{}", if *tls { " over TLS" } else { "" }, for_host(host))
        }
    };
    let route = |Route { prefix, timeout, per_try_timeout, retries }: &Route| {
        format!("{prefix} (timeout {} ms, per try {} ms, {retries} retries)", timeout.0, per_try_timeout.0)
    };
    let class_name = |c: &tidegate_domain::ClassIx| fleet.classes[c.at()].name.to_string();
    keys([
        ("listener", format!("{name} at {address}:{port}")),
        ("domains", listed(domains.iter())),
        ("routes", listed(routes.iter().map(route))),
        ("classes in order", listed(classes.iter().map(class_name))),
        ("unmatched", unmatched.as_ref().map_or("none".to_owned(), class_name)),
        ("healthCheck", kind),
        ("healthCheck.interval", format!("{} ms", interval.0)),
        ("healthCheck.timeout", format!("{} ms", timeout.0)),
        ("healthCheck.unhealthyAfter", unhealthy_after.to_string()),
        ("healthCheck.healthyAfter", healthy_after.to_string()),
    ])
}

fn class(class: &Class, fleet: &Fleet) -> Keys {
    let Class {
        name: _,
        service: _, // a part of the full name
        permitted: places,
        matched_by,
        client_can_set,
        priority,
        demand,
        provider_share_max,
        migration_cost,
    } = class;
    let demand = demand.iter().map(|d| format!("{} {}", fleet.groups[d.group.at()].name, d.load));
    keys([
        ("permitted", permitted(places)),
        ("match", matched(matched_by)),
        ("clientCanSet", client_can_set.to_string()),
        ("priority", priority.to_string()),
        ("demand", listed(demand)),
        ("providerShareMax", provider_share_max.to_string()),
        ("migrationCost", money(*migration_cost)),
    ])
}

fn rules(rules: &Rules) -> Keys {
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
    let window = |FreezeWindow { from, until, reason }: &FreezeWindow| {
        format!("{} to {} ms since 1970 ({reason})", from.0, until.0)
    };
    keys([
        ("minRegionsOn", min_regions_on.to_string()),
        ("shareCap", share_cap.to_string()),
        ("settle", format!("{} ms", settle.0)),
        ("minResidency", format!("{} ms", min_residency.0)),
        ("reportFresh", format!("{} ms", report_fresh.0)),
        ("doubtWindow", format!("{} ms", doubt_window.0)),
        ("unknownAlarm", format!("{} ms", unknown_alarm.0)),
        ("upAfter", format!("{} ms", up_after.0)),
        ("economicMargin", economic_margin.to_string()),
        ("freeze", listed(freeze.iter().map(window))),
    ])
}
