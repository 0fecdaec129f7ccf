//! The fleet as the stage sees it: which address is whose, which limits are real, what load is sent.
//!
//! Owns the mapping from a validated fleet to addresses and processes; refuses to decide where traffic goes.

use crate::network::Network;
use crate::schedule::Part;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tidegate_domain::{ClassMatch, Fleet, Permitted};

/// Port of every backend: data and health.
pub(crate) const DATA_PORT: u16 = 8080;
/// Place of the server, references and the load generator.
pub(crate) const OUTSIDE: &str = "outside";

/// A region with its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Region {
    /// `aws/us-east-1`.
    pub name: String,
    /// `aws`.
    pub provider: String,
    /// The site where it stands: its provider, or itself where links are late.
    #[serde(default)]
    pub site: String,
    /// `US`.
    pub jurisdiction: String,
    /// Declared capacity, milli-requests per second.
    pub capacity_milli_rps: u64,
    /// What weights may fill, milli-requests per second.
    pub safe_milli_rps: u64,
    /// Endpoint name → address.
    pub endpoints: BTreeMap<String, SocketAddr>,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Class {
    /// Value of the class header.
    pub name: String,
    /// Permitted jurisdictions; empty: anywhere.
    pub permitted: BTreeSet<String>,
    /// 0 is the highest.
    pub priority: u8,
    /// Declared demand per client group, milli-requests per second.
    pub demand: BTreeMap<String, u64>,
}

impl Class {
    /// Whether it may be in `jurisdiction`.
    pub(crate) fn may_be_in(&self, jurisdiction: &str) -> bool {
        self.permitted.is_empty() || self.permitted.contains(jurisdiction)
    }
}

/// A prober.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vantage {
    /// `aws-1`.
    pub name: String,
    /// The site where it stands: its provider, or its region where links are late.
    pub place: String,
    /// Its address.
    pub gossip: SocketAddr,
}

impl Vantage {
    /// Where its counters are.
    pub(crate) fn metrics(&self) -> SocketAddr {
        (self.gossip.ip(), 9102).into()
    }
}

/// An edge or an anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proxy {
    /// `envoy`, `edge`, `edge-us`, `anchor`; also its place.
    pub name: String,
    /// Client group.
    pub group: String,
    /// The law that holds there.
    pub jurisdiction: String,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where its own statistics are.
    pub admin: SocketAddr,
}

/// All of it; written to `run.json`, so that a run can be judged without the fleet's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topology {
    /// `namespaces` or `loopback`.
    pub network: String,
    /// Regions that serve.
    pub regions: Vec<Region>,
    /// Classes of the one service that is driven.
    pub classes: Vec<Class>,
    /// Probers.
    pub vantages: Vec<Vantage>,
    /// Reference hosts by name.
    pub references: BTreeMap<String, SocketAddr>,
    /// Proxies.
    pub proxies: Vec<Proxy>,
    /// Name of the listener that clients use.
    pub listener: String,
    /// `Host` that clients send.
    pub host: String,
    /// Operator API and ADS of the server.
    pub api: SocketAddr,
    /// ADS.
    pub ads: SocketAddr,
}

/// What shares a site, and so is not late to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sites {
    /// A provider with all its regions.
    Provider,
    /// A region. The place outside is one site all the same: server, references and load stand there too.
    Region,
}

impl Sites {
    fn site(self, region: &tidegate_domain::Region) -> String {
        let provider = region.name.provider.to_string();
        if self == Self::Provider || provider == OUTSIDE { provider } else { region.name.to_string() }
    }
}

/// Last numbers of addresses.
mod last {
    pub(super) const SERVER: u8 = 2;
    pub(super) const REFERENCES: u8 = 3;
    pub(super) const PROXIES: u8 = 10;
    pub(super) const VANTAGES: u8 = 20;
    pub(super) const ENDPOINTS: u8 = 50;
}

/// Gives every part of `fleet` an address on `network`. `groups` are the client groups of the DE and the US edges; `by`
/// says what shares a site.
pub(crate) fn lay_out(fleet: &Fleet, network: &Network, groups: &Groups, by: Sites) -> anyhow::Result<Topology> {
    anyhow::ensure!(fleet.endpoints.len() <= 200, "the stage has addresses for 200 endpoints");
    let at = |base: u8, i: usize, port: u16| -> SocketAddr {
        (network.address(base.saturating_add(u8::try_from(i).unwrap_or(u8::MAX))), port).into()
    };
    let mut regions: Vec<Region> = Vec::new();
    for region in &fleet.regions {
        if region.vantage_only {
            continue;
        }
        regions.push(Region {
            name: region.name.to_string(),
            provider: region.name.provider.to_string(),
            site: by.site(region),
            jurisdiction: region.jurisdiction.to_string(),
            capacity_milli_rps: region.capacity.0,
            safe_milli_rps: region.safe_utilisation.of(region.capacity.0),
            endpoints: BTreeMap::new(),
        });
    }
    for (i, endpoint) in fleet.endpoints.iter().enumerate() {
        let name = fleet.regions[endpoint.region.at()].name.to_string();
        if let Some(region) = regions.iter_mut().find(|r| r.name == name) {
            region.endpoints.insert(endpoint.name.to_string(), at(last::ENDPOINTS, i, DATA_PORT));
        }
    }
    let service = fleet.services.first().ok_or_else(|| anyhow::anyhow!("the fleet has no service"))?;
    let classes = service.classes.iter().map(|c| class(fleet, *c)).collect();
    let vantages = fleet.vantages.iter().enumerate();
    let vantages = vantages.map(|(i, v)| Vantage {
        name: v.name.to_string(),
        place: by.site(&fleet.regions[v.region.at()]),
        gossip: at(last::VANTAGES, i, 7946),
    });
    let references = fleet.references.iter().enumerate();
    let references = references.map(|(i, r)| (r.name.to_string(), at(last::REFERENCES, i, 9000))).collect();
    let proxy = |i: usize, name: &str, group: &(String, String)| Proxy {
        name: name.to_owned(),
        group: group.0.clone(),
        jurisdiction: group.1.clone(),
        address: at(last::PROXIES, i, service.listener.port),
        admin: at(last::PROXIES, i, 9901),
    };
    Ok(Topology {
        network: network.name().to_owned(),
        regions,
        classes,
        vantages: vantages.collect(),
        references,
        proxies: vec![
            proxy(0, "envoy", &groups.de),
            proxy(1, "edge", &groups.de),
            proxy(2, "edge-us", &groups.us),
            proxy(3, "anchor", &groups.de),
        ],
        listener: service.listener.name.to_string(),
        host: service.domains.iter().find(|d| !d.contains('*')).cloned().unwrap_or_else(|| "payroll".to_owned()),
        api: at(last::SERVER, 0, 8600),
        ads: at(last::SERVER, 0, 18000),
    })
}

fn class(fleet: &Fleet, ix: tidegate_domain::ClassIx) -> Class {
    let class = &fleet.classes[ix.at()];
    let name = match &class.matched_by {
        ClassMatch::Header { value, .. } => value.clone(),
        ClassMatch::Host(_) => class.name.to_string(),
    };
    let permitted = match &class.permitted {
        Permitted::Anywhere => BTreeSet::new(),
        Permitted::Only(set) => set.iter().map(ToString::to_string).collect(),
    };
    let demand = class.demand.iter().map(|d| (fleet.groups[d.group.at()].name.to_string(), d.load.0)).collect();
    Class { name, permitted, priority: class.priority, demand }
}

/// Name and jurisdiction of the client groups that the demo's edges belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Groups {
    /// Of the Envoy and the edge in Germany.
    pub de: (String, String),
    /// Of the edge in the United States.
    pub us: (String, String),
}

impl Groups {
    /// The first group in DE and the first in US.
    pub(crate) fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let find = |law: &str| {
            let found = fleet.groups.iter().find(|g| g.jurisdiction.as_str() == law);
            let found = found.ok_or_else(|| anyhow::anyhow!("the fleet has no client group in {law}"))?;
            Ok::<_, anyhow::Error>((found.name.to_string(), found.jurisdiction.to_string()))
        };
        Ok(Self { de: find("DE")?, us: find("US")? })
    }
}

impl Topology {
    /// Providers that serve, in order of first appearance.
    pub(crate) fn providers(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for region in &self.regions {
            if !out.contains(&region.provider) {
                out.push(region.provider.clone());
            }
        }
        out
    }
    /// The region whose row of a matrix holds for `site`: its own; for an edge the first of its law; for the place
    /// outside its only one.
    pub(crate) fn row_of(&self, site: &str, fleet: &Fleet) -> Option<String> {
        let law = self.proxy(site).map(|p| p.jurisdiction.clone());
        let near = |r: &&tidegate_domain::Region| match &law {
            Some(law) => r.jurisdiction.as_str() == law,
            None => crate::network::stands_at(&r.name.to_string(), site),
        };
        fleet.regions.iter().find(near).map(|r| r.name.to_string())
    }
    /// All sites of the network.
    pub(crate) fn sites(&self) -> BTreeMap<String, Vec<u8>> {
        let mut out: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut put = |place: &str, address: SocketAddr| {
            let std::net::IpAddr::V4(ip) = address.ip() else { return };
            let lasts = out.entry(place.to_owned()).or_default();
            if !lasts.contains(&ip.octets()[3]) {
                lasts.push(ip.octets()[3]);
            }
        };
        for region in &self.regions {
            region.endpoints.values().for_each(|a| put(&region.site, *a));
        }
        self.vantages.iter().for_each(|v| put(&v.place, v.gossip));
        self.proxies.iter().for_each(|p| put(&p.name, p.address));
        put(OUTSIDE, self.api);
        self.references.values().for_each(|a| put(OUTSIDE, *a));
        out
    }
    pub(crate) fn proxy(&self, name: &str) -> Option<&Proxy> {
        self.proxies.iter().find(|p| p.name == name)
    }
    /// The region of an endpoint.
    pub(crate) fn region_of(&self, endpoint: &str) -> Option<&Region> {
        self.regions.iter().find(|r| r.endpoints.contains_key(endpoint))
    }
    pub(crate) fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|c| c.name == name)
    }
    /// The load of one proxy: classes in proportion to the declared demand of its group; a class that may not be asked
    /// for there is asked all the same, one request in forty, so that its refusal is seen.
    pub(crate) fn parts(&self, proxy: &Proxy) -> Vec<Part> {
        let demand = |c: &Class| c.demand.get(&proxy.group).copied().unwrap_or(0);
        let allowed = |c: &&Class| c.may_be_in(&proxy.jurisdiction);
        let total: u64 = self.classes.iter().filter(allowed).map(demand).sum();
        let mut parts = Vec::new();
        for class in &self.classes {
            let refused = !class.may_be_in(&proxy.jurisdiction);
            let part = if refused { (total / 40).max(1) } else { demand(class) };
            // The anchor has no idea of jurisdiction: asking it for what it may not answer measures nothing.
            if part > 0 && !(refused && proxy.name == "anchor") {
                parts.push(Part { class: class.name.clone(), part, refused });
            }
        }
        parts
    }
}

#[cfg(test)]
pub(crate) mod tests;
