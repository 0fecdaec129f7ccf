//! Providers, areas, regions, client groups, vantages and references: where things stand.

use super::text::{country, host_port, unit};
use super::{Built, Spot, Tables, name, stand_in};
use crate::fault::Sink;
use crate::raw::{AreaSpec, Doc, Raw, RegionSpec, VantageSpec};
use crate::units;
use std::collections::BTreeMap;
use tidegate_domain::{
    Area, AreaIx, Bps, ClientGroup, Jurisdiction, MilliRps, PicoDollars, Provider, ProviderIx, Reference, Region,
    RegionIx, RegionName, Vantage,
};

/// Safe utilisation where a region states none.
const SAFE_UTILISATION: u64 = 8_000;

pub(super) fn lower(raw: &Raw, tables: &Tables, built: &mut Built, sink: &mut Sink) {
    for (i, doc) in raw.providers.iter().enumerate() {
        built.fleet.providers.push(Provider { name: name(&doc.name, &doc.src, "name", sink) });
        if let Some(spec) = &doc.spec.api_status {
            super::api::lower(ProviderIx::from(i), spec, &doc.src, built, sink);
        }
        let prefix = format!("{}/", doc.name.value);
        let used = raw.regions.iter().any(|r| r.name.value.starts_with(&prefix));
        if !used && !raw.misses("Region") {
            sink.warn(&doc.src, doc.name.line, "name", "the provider has no region", "declare one or remove it");
        }
    }
    for (i, doc) in raw.areas.iter().enumerate() {
        let area = area(i, doc, tables, sink);
        built.fleet.areas.push(area);
    }
    for doc in &raw.regions {
        let region = region(doc, tables, built, sink);
        built.fleet.regions.push(region);
    }
    for doc in &raw.groups {
        let name = name(&doc.name, &doc.src, "name", sink);
        let area = tables.areas.at(&doc.spec.area, &doc.src, "spec.area", sink);
        let law = country(&doc.spec.jurisdiction, &doc.src, "spec.jurisdiction", sink);
        built.doubtful |= area.is_none() || law.is_none();
        let area = AreaIx::from(area.unwrap_or(0));
        built.fleet.groups.push(ClientGroup { name, area, jurisdiction: law.unwrap_or_else(nowhere) });
    }
    vantages(raw, tables, built, sink);
    references(raw, built, sink);
}

/// A stand-in beside a fault; `ZZ` is reserved for users by ISO 3166 and no country.
fn nowhere() -> Jurisdiction {
    Jurisdiction::new("ZZ").unwrap_or_else(|_| unreachable!("two upper-case letters"))
}

fn area(own: usize, doc: &Doc<AreaSpec>, tables: &Tables, sink: &mut Sink) -> Area {
    let src = &doc.src;
    let spec = &doc.spec.rings;
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    let mut rings = Vec::new();
    for (i, ring) in spec.value.iter().enumerate() {
        let mut found = Vec::new();
        if ring.is_empty() {
            sink.error(src, spec.line, &format!("spec.rings[{i}]"), "the ring is empty", "name an area or remove it");
        }
        for (j, entry) in ring.iter().enumerate() {
            let key = format!("spec.rings[{i}][{j}]");
            let Some(at) = tables.areas.at(entry, src, &key, sink) else { continue };
            if let Some(before) = seen.insert(at, i) {
                let what = format!("`{}` stands in ring {before} already", entry.value);
                sink.error(src, entry.line, &key, what, "keep its nearest ring only");
            } else {
                found.push(AreaIx::from(at));
            }
        }
        found.sort();
        rings.push(found);
    }
    if seen.get(&own) != Some(&0) {
        let what = format!("the first ring does not hold `{}` itself", doc.name.value);
        sink.error(src, spec.line, "spec.rings", what, &format!("begin with a ring `[{}]`", doc.name.value));
    }
    Area { name: name(&doc.name, src, "name", sink), rings }
}

fn region(doc: &Doc<RegionSpec>, tables: &Tables, built: &mut Built, sink: &mut Sink) -> Region {
    let (src, spec) = (&doc.src, &doc.spec);
    let full = RegionName::new(&doc.name.value);
    if let Err(error) = &full {
        let what = format!("`{}` is no region", doc.name.value);
        sink.error(src, doc.name.line, "name", what, &format!("write {}", error.expected));
    }
    let provider = full.as_ref().ok().and_then(|n| {
        let provider = n.provider.as_str();
        tables.providers.find(provider, src, doc.name.line, "name", sink)
    });
    let area = tables.areas.at(&spec.area, src, "spec.area", sink);
    let law = country(&spec.jurisdiction, src, "spec.jurisdiction", sink);
    built.doubtful |= provider.is_none() || area.is_none() || law.is_none();
    let zone = spec.zone.as_ref().map(|z| name(z, src, "spec.zone", sink));
    let (capacity, cost) = economics(doc, sink);
    let safe = spec.safe_utilisation.as_ref();
    let safe_utilisation = safe.map_or(Bps::clamped(SAFE_UTILISATION), |text| {
        let read = unit(text, units::share, src, "spec.safeUtilisation", sink);
        if units::share(&text.value.0) == Ok(Bps::ZERO) {
            let mend = "write a share above 0 %, 80 % by default";
            sink.error(src, text.line, "spec.safeUtilisation", "0 % lets the region carry nothing", mend);
        }
        read
    });
    Region {
        name: full.unwrap_or_else(|_| RegionName { provider: stand_in(), region: stand_in() }),
        provider: ProviderIx::from(provider.unwrap_or(0)),
        jurisdiction: law.unwrap_or_else(nowhere),
        area: AreaIx::from(area.unwrap_or(0)),
        zone,
        capacity,
        safe_utilisation,
        cost_per_million: cost,
        vantage_only: spec.vantage_only,
    }
}

/// Capacity and cost: both where traffic may be, neither where it may not.
fn economics(doc: &Doc<RegionSpec>, sink: &mut Sink) -> (MilliRps, PicoDollars) {
    let (src, spec) = (&doc.src, &doc.spec);
    let capacity = spec.capacity.as_ref().map(|t| (t.line, unit(t, units::load, src, "spec.capacity", sink)));
    let cost = spec.cost_per_million.as_ref().map(|t| unit(t, units::money, src, "spec.costPerMillion", sink));
    let stated = [
        ("spec.capacity", capacity.map(|c| c.0)),
        ("spec.costPerMillion", spec.cost_per_million.as_ref().map(|t| t.line)),
    ];
    for (key, line) in stated {
        match (line, spec.vantage_only) {
            (Some(line), true) => {
                sink.error(src, line, key, "a place for vantages only carries nothing", "remove the key");
            }
            (None, false) => {
                let mend = "state it, or `vantageOnly: true` for a place that serves nothing";
                sink.error(src, doc.name.line, key, "missing", mend);
            }
            _ => {}
        }
    }
    if let (Some(text), false) = (&spec.capacity, spec.vantage_only)
        && units::load(&text.value.0) == Ok(MilliRps(0))
    {
        let mend = "state what the region carries, or `vantageOnly: true`";
        sink.error(src, text.line, "spec.capacity", "a capacity of 0 carries nothing", mend);
    }
    (capacity.map_or(MilliRps(0), |c| c.1), cost.unwrap_or_default())
}

fn vantages(raw: &Raw, tables: &Tables, built: &mut Built, sink: &mut Sink) {
    let mut gossip: BTreeMap<&str, &Doc<VantageSpec>> = BTreeMap::new();
    for doc in &raw.vantages {
        let (src, spec) = (&doc.src, &doc.spec);
        let region = tables.regions.at(&spec.region, src, "spec.region", sink);
        built.doubtful |= region.is_none();
        let address = &spec.gossip;
        if !address.value.parse::<std::net::SocketAddr>().is_ok_and(|a| a.port() > 0) {
            let what = format!("`{}` is no address", address.value);
            sink.error(src, address.line, "spec.gossip", what, "write `ip:port` with a port above 0");
        }
        if let Some(other) = gossip.insert(&address.value, doc) {
            let what = format!("vantage `{}` gossips at the same address", other.name.value);
            sink.error(src, address.line, "spec.gossip", what, "give each vantage an address of its own");
        }
        built.fleet.vantages.push(Vantage {
            name: name(&doc.name, src, "name", sink),
            region: RegionIx::from(region.unwrap_or(0)),
            gossip: address.value.clone(),
        });
    }
}

fn references(raw: &Raw, built: &mut Built, sink: &mut Sink) {
    for doc in &raw.references {
        let (src, spec) = (&doc.src, &doc.spec);
        if host_port(&spec.address.value).is_none() {
            let what = format!("`{}` is no address", spec.address.value);
            sink.error(src, spec.address.line, "spec.address", what, "write `host:port` with a port above 0");
        }
        built.fleet.references.push(Reference {
            name: name(&doc.name, src, "name", sink),
            address: spec.address.value.clone(),
            network: name(&spec.network, src, "spec.network", sink),
        });
        let subs = vec![(".address".to_owned(), spec.address.line), (".network".to_owned(), spec.network.line)];
        let (src, key) = (src.clone(), "spec".to_owned());
        built.reference_at.push(Spot { src, line: spec.address.line, key, subs });
    }
}
