//! A fleet of the payroll shape built by hand, and what the stage makes of it.

use super::*;
use tidegate_domain::{
    Area, AreaIx, Bps, Check, CheckKind, ClassIx, ClientGroup, Demand, Endpoint, GroupIx, Jurisdiction, Listener,
    MilliRps, Millis, Name, PicoDollars, Provider, ProviderIx, Reference, RegionIx, RegionName, Revision, Route, Rules,
    Service, ServiceIx,
};

fn name(text: &str) -> Name {
    Name::new(text).expect("name")
}
fn law(text: &str) -> Jurisdiction {
    Jurisdiction::new(text).expect("jurisdiction")
}

const REGIONS: [(&str, &str, usize, u64); 9] = [
    ("aws/eu-central-1", "DE", 0, 500),
    ("aws/us-east-1", "US", 1, 400),
    ("aws/ap-southeast-1", "SG", 2, 200),
    ("azure/westeurope", "NL", 0, 350),
    ("azure/eastus", "US", 1, 250),
    ("gcp/europe-west1", "BE", 0, 150),
    ("gcp/europe-west4", "NL", 0, 350),
    ("gcp/us-east4", "US", 1, 250),
    ("gcp/asia-southeast1", "SG", 2, 150),
];

const PROVIDERS: [&str; 4] = ["aws", "azure", "gcp", "outside"];

fn regions() -> Vec<tidegate_domain::Region> {
    let of = |p: &str| ProviderIx::from(PROVIDERS.iter().position(|x| *x == p).expect("provider"));
    let mut regions: Vec<tidegate_domain::Region> = Vec::new();
    for (region, jurisdiction, area, rps) in REGIONS.into_iter().chain([("outside/fra", "DE", 0, 0)]) {
        let (provider, own) = region.split_once('/').expect("region");
        regions.push(tidegate_domain::Region {
            name: RegionName { provider: name(provider), region: name(own) },
            provider: of(provider),
            jurisdiction: law(jurisdiction),
            area: AreaIx::from(area),
            zone: None,
            capacity: MilliRps(rps * 1000),
            safe_utilisation: Bps::clamped(8000),
            cost_per_million: PicoDollars(350_000_000_000),
            vantage_only: provider == "outside",
        });
    }
    regions
}

fn classes() -> Vec<tidegate_domain::Class> {
    let class = |n: &str, permitted: &[&str], priority: u8, demand: [u64; 2]| tidegate_domain::Class {
        name: name(n),
        service: ServiceIx(0),
        permitted: match permitted {
            [] => Permitted::Anywhere,
            set => Permitted::Only(set.iter().map(|j| law(j)).collect()),
        },
        matched_by: ClassMatch::Header { name: "x-residency-class".into(), value: n.into() },
        client_can_set: false,
        priority,
        demand: demand
            .iter()
            .enumerate()
            .map(|(g, rps)| Demand { group: GroupIx::from(g), load: MilliRps(rps * 1000) })
            .collect(),
        provider_share_max: Bps::FULL,
        migration_cost: PicoDollars(0),
    };
    vec![
        class("eu", &["DE", "NL"], 0, [180, 0]),
        class("us-ca", &["US"], 0, [0, 80]),
        class("us", &["US", "DE", "NL"], 1, [80, 80]),
        class("apac", &["SG", "US", "DE", "NL"], 1, [60, 0]),
        class("open", &[], 2, [80, 40]),
    ]
}

fn endpoints(regions: &[tidegate_domain::Region]) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for (r, region) in regions.iter().enumerate().filter(|(_, r)| !r.vantage_only) {
        for n in 0..2 {
            endpoints.push(Endpoint {
                name: name(&format!("payroll-{}-{}-{n}", region.name.provider, region.name.region)),
                service: ServiceIx(0),
                region: RegionIx::from(r),
                host: "192.0.2.1".into(),
                port: 8080,
            });
        }
    }
    endpoints
}

pub(crate) fn fleet() -> Fleet {
    let regions = regions();
    let endpoints = endpoints(&regions);
    let vantage = |n: &str, r: usize| tidegate_domain::Vantage {
        name: name(n),
        region: RegionIx::from(r),
        gossip: "192.0.2.1:7946".into(),
    };
    let vantages = [
        ("aws-1", 0),
        ("aws-2", 1),
        ("azure-1", 3),
        ("azure-2", 4),
        ("gcp-1", 6),
        ("gcp-2", 7),
        ("out-1", 9),
        ("out-2", 9),
    ];
    Fleet {
        apis: Vec::new(),
        revision: Revision::default(),
        providers: PROVIDERS.iter().map(|p| Provider { name: name(p) }).collect(),
        areas: ["europe", "america", "asia"]
            .iter()
            .enumerate()
            .map(|(i, a)| Area { name: name(a), rings: vec![vec![AreaIx::from(i)]] })
            .collect(),
        regions,
        services: vec![service()],
        classes: classes(),
        endpoints,
        vantages: vantages.iter().map(|(n, r)| vantage(n, *r)).collect(),
        references: (1..=3)
            .map(|i| Reference {
                name: name(&format!("ref-{i}")),
                address: "192.0.2.1:443".into(),
                network: name(&format!("net-{i}")),
            })
            .collect(),
        groups: [("de", "DE", 0), ("us", "US", 1)]
            .iter()
            .map(|(g, j, a)| ClientGroup { name: name(g), area: AreaIx::from(*a), jurisdiction: law(j) })
            .collect(),
        rules: Rules::default(),
    }
}

fn service() -> Service {
    let route = |prefix: &str, timeout: u64, per_try: u64| Route {
        prefix: prefix.into(),
        timeout: Millis(timeout),
        per_try_timeout: Millis(per_try),
        retries: 2,
    };
    Service {
        name: name("payroll"),
        listener: Listener { name: name("public"), address: "0.0.0.0".into(), port: 10_000 },
        domains: vec!["payroll.example".into()],
        routes: vec![route("/stream", 0, 0), route("/", 2000, 250)],
        classes: (0..5_usize).map(ClassIx::from).collect(),
        unmatched: None,
        check: Check {
            kind: CheckKind::Http { path: "/healthz".into(), tls: false, host: None },
            interval: Millis(500),
            timeout: Millis(250),
            unhealthy_after: 2,
            healthy_after: 2,
        },
    }
}

pub(crate) fn topology() -> Topology {
    let fleet = fleet();
    let groups = Groups::of(&fleet).expect("groups");
    lay_out(&fleet, &Network::Loopback { slot: 0 }, &groups, Sites::Provider).expect("laid out")
}

#[test]
fn every_address_is_given_once() {
    let topology = topology();
    let mut all: Vec<SocketAddr> = topology.regions.iter().flat_map(|r| r.endpoints.values().copied()).collect();
    all.extend(topology.vantages.iter().map(|v| v.gossip));
    all.extend(topology.references.values());
    all.extend(topology.proxies.iter().map(|p| p.address));
    all.push(topology.api);
    let unique: BTreeSet<std::net::IpAddr> = all.iter().map(SocketAddr::ip).collect();
    assert_eq!(unique.len(), all.len());
    assert_eq!(topology.sites()["aws"].len(), 6 + 2, "six endpoints and two probers die with AWS");
    assert_eq!(topology.providers(), ["aws", "azure", "gcp"]);
}

#[test]
fn a_proxy_asks_for_what_its_group_needs_and_a_little_of_what_it_may_not() {
    let topology = topology();
    let envoy = topology.proxy("envoy").expect("envoy");
    let refused: Vec<String> = topology.parts(envoy).into_iter().filter(|p| p.refused).map(|p| p.class).collect();
    assert_eq!(refused, ["us-ca"]);
    let us = topology.proxy("edge-us").expect("edge-us");
    let refused: Vec<String> = topology.parts(us).into_iter().filter(|p| p.refused).map(|p| p.class).collect();
    assert_eq!(refused, ["eu"]);
    let anchor = topology.proxy("anchor").expect("anchor");
    assert!(topology.parts(anchor).iter().all(|p| !p.refused));
}
