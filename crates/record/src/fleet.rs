//! The fleet as a record.

use crate::codec::{RecordError, Wire, all, all_back, bad, missing, narrow, need, record};
use crate::scalars::{bps, bps_out, jurisdiction, money, money_out, name, region_name, revision};
use std::collections::BTreeSet;
use tidegate_domain::{
    Area, AreaIx, Check, CheckKind, Class, ClassIx, ClassMatch, ClientGroup, Demand, Endpoint, Fleet, FreezeWindow,
    GroupIx, Listener, MilliRps, Millis, Permitted, Provider, ProviderApi, ProviderIx, Reference, Region, RegionIx,
    Route, Rules, Service, ServiceIx, Vantage, Wall,
};
use tidegate_proto::record as w;

record! {
    encode_fleet, decode_fleet, Fleet, Fleet, "fleet";
}

impl Wire for Fleet {
    type Msg = w::Fleet;
    fn to_wire(&self) -> w::Fleet {
        let Self {
            revision,
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
        } = self;
        w::Fleet {
            revision: revision.0.to_vec(),
            providers: providers.iter().map(|Provider { name }| name.to_string()).collect(),
            areas: all(areas),
            regions: all(regions),
            services: all(services),
            classes: all(classes),
            endpoints: all(endpoints),
            vantages: all(vantages),
            references: all(references),
            groups: all(groups),
            rules: Some(rules.to_wire()),
            apis: all(apis),
        }
    }
    fn from_wire(msg: w::Fleet) -> Result<Self, RecordError> {
        let w::Fleet {
            revision: of,
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
        } = msg;
        let provider = |text: &String| Ok(Provider { name: name("fleet.providers", text)? });
        Ok(Self {
            revision: revision("fleet.revision", &of)?,
            providers: providers.iter().map(provider).collect::<Result<_, _>>()?,
            areas: all_back(areas)?,
            regions: all_back(regions)?,
            services: all_back(services)?,
            classes: all_back(classes)?,
            endpoints: all_back(endpoints)?,
            vantages: all_back(vantages)?,
            references: all_back(references)?,
            groups: all_back(groups)?,
            rules: need("fleet.rules", rules)?,
            apis: all_back(apis)?,
        })
    }
}

impl Wire for ProviderApi {
    type Msg = w::ProviderApi;
    fn to_wire(&self) -> w::ProviderApi {
        let Self { provider, host, port, check } = self;
        let (provider, port) = (u32::from(provider.0), u32::from(*port));
        w::ProviderApi { provider, host: host.clone(), port, check: Some(check.to_wire()) }
    }
    fn from_wire(w::ProviderApi { provider, host, port, check }: w::ProviderApi) -> Result<Self, RecordError> {
        Ok(Self {
            provider: ProviderIx(narrow("api.provider", provider)?),
            host,
            port: narrow("api.port", port)?,
            check: need("api.check", check)?,
        })
    }
}

impl Wire for Area {
    type Msg = w::Area;
    fn to_wire(&self) -> w::Area {
        let Self { name, rings } = self;
        let ring = |r: &Vec<AreaIx>| w::Ring { members: r.iter().map(|a| u32::from(a.0)).collect() };
        w::Area { name: name.to_string(), rings: rings.iter().map(ring).collect() }
    }
    fn from_wire(w::Area { name: text, rings }: w::Area) -> Result<Self, RecordError> {
        let ring = |w::Ring { members }| {
            members.into_iter().map(|a| Ok(AreaIx(narrow("area.rings", a)?))).collect::<Result<Vec<_>, RecordError>>()
        };
        Ok(Self { name: name("area.name", &text)?, rings: rings.into_iter().map(ring).collect::<Result<_, _>>()? })
    }
}

impl Wire for Region {
    type Msg = w::Region;
    fn to_wire(&self) -> w::Region {
        let Self {
            name,
            provider,
            jurisdiction,
            area,
            zone,
            capacity,
            safe_utilisation,
            cost_per_million,
            vantage_only,
        } = self;
        w::Region {
            name: name.to_string(),
            provider: u32::from(provider.0),
            jurisdiction: jurisdiction.to_string(),
            area: u32::from(area.0),
            zone: zone.as_ref().map(ToString::to_string),
            capacity_mrps: capacity.0,
            safe_utilisation_bps: bps_out(*safe_utilisation),
            cost_per_million: money_out(*cost_per_million),
            vantage_only: *vantage_only,
        }
    }
    fn from_wire(msg: w::Region) -> Result<Self, RecordError> {
        let w::Region {
            name: text,
            provider,
            jurisdiction: law,
            area,
            zone,
            capacity_mrps,
            safe_utilisation_bps,
            cost_per_million,
            vantage_only,
        } = msg;
        Ok(Self {
            name: region_name("region.name", &text)?,
            provider: ProviderIx(narrow("region.provider", provider)?),
            jurisdiction: jurisdiction("region.jurisdiction", &law)?,
            area: AreaIx(narrow("region.area", area)?),
            zone: zone.map(|z| name("region.zone", &z)).transpose()?,
            capacity: MilliRps(capacity_mrps),
            safe_utilisation: bps("region.safe_utilisation", safe_utilisation_bps)?,
            cost_per_million: money("region.cost_per_million", &cost_per_million)?,
            vantage_only,
        })
    }
}

impl Wire for Service {
    type Msg = w::Service;
    fn to_wire(&self) -> w::Service {
        let Self { name, listener, domains, routes, classes, unmatched, check } = self;
        w::Service {
            name: name.to_string(),
            listener: Some(listener.to_wire()),
            domains: domains.clone(),
            routes: all(routes),
            classes: classes.iter().map(|c| c.0).collect(),
            unmatched: unmatched.map(|c| c.0),
            check: Some(check.to_wire()),
        }
    }
    fn from_wire(msg: w::Service) -> Result<Self, RecordError> {
        let w::Service { name: text, listener, domains, routes, classes, unmatched, check } = msg;
        Ok(Self {
            name: name("service.name", &text)?,
            listener: need("service.listener", listener)?,
            domains,
            routes: all_back(routes)?,
            classes: classes.into_iter().map(ClassIx).collect(),
            unmatched: unmatched.map(ClassIx),
            check: need("service.check", check)?,
        })
    }
}

impl Wire for Listener {
    type Msg = w::Listener;
    fn to_wire(&self) -> w::Listener {
        let Self { name, address, port } = self;
        w::Listener { name: name.to_string(), address: address.clone(), port: u32::from(*port) }
    }
    fn from_wire(w::Listener { name: text, address, port }: w::Listener) -> Result<Self, RecordError> {
        Ok(Self { name: name("listener.name", &text)?, address, port: narrow("listener.port", port)? })
    }
}

impl Wire for Route {
    type Msg = w::Route;
    fn to_wire(&self) -> w::Route {
        let Self { prefix, timeout, per_try_timeout, retries } = self;
        w::Route {
            prefix: prefix.clone(),
            timeout_ms: timeout.0,
            per_try_timeout_ms: per_try_timeout.0,
            retries: u32::from(*retries),
        }
    }
    fn from_wire(msg: w::Route) -> Result<Self, RecordError> {
        let w::Route { prefix, timeout_ms, per_try_timeout_ms, retries } = msg;
        Ok(Self {
            prefix,
            timeout: Millis(timeout_ms),
            per_try_timeout: Millis(per_try_timeout_ms),
            retries: narrow("route.retries", retries)?,
        })
    }
}

impl Wire for Class {
    type Msg = w::Class;
    fn to_wire(&self) -> w::Class {
        let Self {
            name,
            service,
            permitted,
            matched_by,
            client_can_set,
            priority,
            demand,
            provider_share_max,
            migration_cost,
        } = self;
        let permitted = match permitted {
            Permitted::Anywhere => w::class::Permitted::Anywhere(w::Nothing {}),
            Permitted::Only(set) => {
                w::class::Permitted::Only(w::Jurisdictions { countries: set.iter().map(ToString::to_string).collect() })
            }
        };
        let matched_by = match matched_by {
            ClassMatch::Header { name, value } => {
                w::class::MatchedBy::Header(w::HeaderMatch { name: name.clone(), value: value.clone() })
            }
            ClassMatch::Host(host) => w::class::MatchedBy::Host(host.clone()),
        };
        w::Class {
            name: name.to_string(),
            service: service.0,
            permitted: Some(permitted),
            matched_by: Some(matched_by),
            client_can_set: *client_can_set,
            priority: u32::from(*priority),
            demand: demand
                .iter()
                .map(|Demand { group, load }| w::Demand { group: u32::from(group.0), load_mrps: load.0 })
                .collect(),
            provider_share_max_bps: bps_out(*provider_share_max),
            migration_cost: money_out(*migration_cost),
        }
    }
    fn from_wire(msg: w::Class) -> Result<Self, RecordError> {
        let w::Class {
            name: text,
            service,
            permitted,
            matched_by,
            client_can_set,
            priority,
            demand,
            provider_share_max_bps,
            migration_cost,
        } = msg;
        let permitted = match permitted.ok_or_else(|| missing("class.permitted"))? {
            w::class::Permitted::Anywhere(w::Nothing {}) => Permitted::Anywhere,
            w::class::Permitted::Only(w::Jurisdictions { countries }) => {
                let law = |c: &String| jurisdiction("class.permitted", c);
                let set = countries.iter().map(law).collect::<Result<BTreeSet<_>, _>>()?;
                // An empty set would read as "nowhere" here and could be taken for "anywhere" elsewhere.
                if set.is_empty() {
                    return Err(bad("class.permitted", "an empty set"));
                }
                Permitted::Only(set)
            }
        };
        let matched_by = match matched_by.ok_or_else(|| missing("class.matched_by"))? {
            w::class::MatchedBy::Header(w::HeaderMatch { name, value }) => ClassMatch::Header { name, value },
            w::class::MatchedBy::Host(host) => ClassMatch::Host(host),
        };
        let one = |w::Demand { group, load_mrps }| {
            Ok(Demand { group: GroupIx(narrow("demand.group", group)?), load: MilliRps(load_mrps) })
        };
        Ok(Self {
            name: name("class.name", &text)?,
            service: ServiceIx(service),
            permitted,
            matched_by,
            client_can_set,
            priority: narrow("class.priority", priority)?,
            demand: demand.into_iter().map(one).collect::<Result<_, RecordError>>()?,
            provider_share_max: bps("class.provider_share_max", provider_share_max_bps)?,
            migration_cost: money("class.migration_cost", &migration_cost)?,
        })
    }
}

impl Wire for Endpoint {
    type Msg = w::Endpoint;
    fn to_wire(&self) -> w::Endpoint {
        let Self { name, service, region, host, port } = self;
        w::Endpoint {
            name: name.to_string(),
            service: service.0,
            region: u32::from(region.0),
            host: host.clone(),
            port: u32::from(*port),
        }
    }
    fn from_wire(w::Endpoint { name: text, service, region, host, port }: w::Endpoint) -> Result<Self, RecordError> {
        Ok(Self {
            name: name("endpoint.name", &text)?,
            service: ServiceIx(service),
            region: RegionIx(narrow("endpoint.region", region)?),
            host,
            port: narrow("endpoint.port", port)?,
        })
    }
}

impl Wire for Check {
    type Msg = w::Check;
    fn to_wire(&self) -> w::Check {
        let Self { kind, interval, timeout, unhealthy_after, healthy_after } = self;
        let kind = match kind {
            CheckKind::Tcp => w::check::Kind::Tcp(w::Nothing {}),
            CheckKind::Http { path, tls, host } => {
                w::check::Kind::Http(w::HttpCheck { path: path.clone(), tls: *tls, host: host.clone() })
            }
            CheckKind::Grpc { service, tls, host } => {
                w::check::Kind::Grpc(w::GrpcCheck { service: service.clone(), tls: *tls, host: host.clone() })
            }
        };
        w::Check {
            kind: Some(kind),
            interval_ms: interval.0,
            timeout_ms: timeout.0,
            unhealthy_after: u32::from(*unhealthy_after),
            healthy_after: u32::from(*healthy_after),
        }
    }
    fn from_wire(msg: w::Check) -> Result<Self, RecordError> {
        let w::Check { kind, interval_ms, timeout_ms, unhealthy_after, healthy_after } = msg;
        let kind = match kind.ok_or_else(|| missing("check.kind"))? {
            w::check::Kind::Tcp(w::Nothing {}) => CheckKind::Tcp,
            w::check::Kind::Http(w::HttpCheck { path, tls, host }) => CheckKind::Http { path, tls, host },
            w::check::Kind::Grpc(w::GrpcCheck { service, tls, host }) => CheckKind::Grpc { service, tls, host },
        };
        Ok(Self {
            kind,
            interval: Millis(interval_ms),
            timeout: Millis(timeout_ms),
            unhealthy_after: narrow("check.unhealthy_after", unhealthy_after)?,
            healthy_after: narrow("check.healthy_after", healthy_after)?,
        })
    }
}

impl Wire for Vantage {
    type Msg = w::Vantage;
    fn to_wire(&self) -> w::Vantage {
        let Self { name, region, gossip } = self;
        w::Vantage { name: name.to_string(), region: u32::from(region.0), gossip: gossip.clone() }
    }
    fn from_wire(w::Vantage { name: text, region, gossip }: w::Vantage) -> Result<Self, RecordError> {
        let region = RegionIx(narrow("vantage.region", region)?);
        Ok(Self { name: name("vantage.name", &text)?, region, gossip })
    }
}

impl Wire for Reference {
    type Msg = w::Reference;
    fn to_wire(&self) -> w::Reference {
        let Self { name, address, network } = self;
        w::Reference { name: name.to_string(), address: address.clone(), network: network.to_string() }
    }
    fn from_wire(w::Reference { name: text, address, network }: w::Reference) -> Result<Self, RecordError> {
        let network = name("reference.network", &network)?;
        Ok(Self { name: name("reference.name", &text)?, address, network })
    }
}

impl Wire for ClientGroup {
    type Msg = w::ClientGroup;
    fn to_wire(&self) -> w::ClientGroup {
        let Self { name, area, jurisdiction } = self;
        w::ClientGroup { name: name.to_string(), area: u32::from(area.0), jurisdiction: jurisdiction.to_string() }
    }
    fn from_wire(w::ClientGroup { name: text, area, jurisdiction: law }: w::ClientGroup) -> Result<Self, RecordError> {
        Ok(Self {
            name: name("group.name", &text)?,
            area: AreaIx(narrow("group.area", area)?),
            jurisdiction: jurisdiction("group.jurisdiction", &law)?,
        })
    }
}

impl Wire for Rules {
    type Msg = w::Rules;
    fn to_wire(&self) -> w::Rules {
        let Self {
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
        } = self;
        let window = |FreezeWindow { from, until, reason }: &FreezeWindow| w::FreezeWindow {
            from: from.0,
            until: until.0,
            reason: reason.clone(),
        };
        w::Rules {
            min_regions_on: u32::from(*min_regions_on),
            share_cap_bps: bps_out(*share_cap),
            settle_ms: settle.0,
            min_residency_ms: min_residency.0,
            report_fresh_ms: report_fresh.0,
            doubt_window_ms: doubt_window.0,
            unknown_alarm_ms: unknown_alarm.0,
            up_after_ms: up_after.0,
            economic_margin_bps: bps_out(*economic_margin),
            freeze: freeze.iter().map(window).collect(),
        }
    }
    fn from_wire(msg: w::Rules) -> Result<Self, RecordError> {
        let w::Rules {
            min_regions_on,
            share_cap_bps,
            settle_ms,
            min_residency_ms,
            report_fresh_ms,
            doubt_window_ms,
            unknown_alarm_ms,
            up_after_ms,
            economic_margin_bps,
            freeze,
        } = msg;
        let window =
            |w::FreezeWindow { from, until, reason }| FreezeWindow { from: Wall(from), until: Wall(until), reason };
        Ok(Self {
            min_regions_on: narrow("rules.min_regions_on", min_regions_on)?,
            share_cap: bps("rules.share_cap", share_cap_bps)?,
            settle: Millis(settle_ms),
            min_residency: Millis(min_residency_ms),
            report_fresh: Millis(report_fresh_ms),
            doubt_window: Millis(doubt_window_ms),
            unknown_alarm: Millis(unknown_alarm_ms),
            up_after: Millis(up_after_ms),
            economic_margin: bps("rules.economic_margin", economic_margin_bps)?,
            freeze: freeze.into_iter().map(window).collect(),
        })
    }
}
