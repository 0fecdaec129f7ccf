//! A small fleet: three clouds, four regions, one service with classes of every kind, edges in DE and in the US.

use std::collections::BTreeSet;
use tidegate_domain::{
    Area, AreaIx, Bps, Check, CheckKind, Class, ClassIx, ClassMatch, ClassSplit, ClientGroup, Demand, Endpoint,
    EndpointIx, Fleet, GroupIx, Jurisdiction, Listener, MilliRps, Millis, Name, Permitted, PicoDollars, Plan, Provider,
    ProviderIx, Region, RegionIx, RegionName, Route, Service, ServiceIx, Serving, Weight,
};

pub(crate) const EU: ClassIx = ClassIx(0);
pub(crate) const US_CA: ClassIx = ClassIx(1);
pub(crate) const OPEN: ClassIx = ClassIx(2);
pub(crate) const EDGE_DE: GroupIx = GroupIx(0);
pub(crate) const EDGE_US: GroupIx = GroupIx(1);
/// Regions by index: aws DE, azure NL, gcp US, gcp BE.
pub(crate) const AWS_DE: RegionIx = RegionIx(0);
pub(crate) const AZURE_NL: RegionIx = RegionIx(1);
pub(crate) const GCP_US: RegionIx = RegionIx(2);
pub(crate) const GCP_BE: RegionIx = RegionIx(3);
/// Endpoints per region.
pub(crate) const PER_REGION: usize = 2;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}
pub(crate) fn country(text: &str) -> Jurisdiction {
    Jurisdiction::new(text).expect("a country")
}
fn only(all: &[&str]) -> Permitted {
    Permitted::Only(all.iter().map(|c| country(c)).collect::<BTreeSet<_>>())
}

fn region(full: &str, provider: u16, law: &str, area: u16) -> Region {
    Region {
        name: RegionName::new(full).expect("a region"),
        provider: ProviderIx(provider),
        jurisdiction: country(law),
        area: AreaIx(area),
        zone: None,
        capacity: MilliRps(400_000),
        safe_utilisation: Bps::clamped(8000),
        cost_per_million: PicoDollars(0),
        vantage_only: false,
    }
}

fn class(text: &str, permitted: Permitted, matched_by: ClassMatch) -> Class {
    Class {
        name: name(text),
        service: ServiceIx(0),
        permitted,
        matched_by,
        client_can_set: false,
        priority: 0,
        demand: vec![Demand { group: EDGE_DE, load: MilliRps(300_000) }],
        provider_share_max: Bps::FULL,
        migration_cost: PicoDollars(0),
    }
}

fn header(value: &str) -> ClassMatch {
    ClassMatch::Header { name: "x-residency".to_owned(), value: value.to_owned() }
}

fn service() -> Service {
    let route = |prefix: &str, timeout: u64, per_try: u64, retries: u8| Route {
        prefix: prefix.to_owned(),
        timeout: Millis(timeout),
        per_try_timeout: Millis(per_try),
        retries,
    };
    Service {
        name: name("payroll"),
        listener: Listener { name: name("edge"), address: "127.0.0.1".to_owned(), port: 18080 },
        domains: vec!["payroll.example".to_owned(), "open.example".to_owned()],
        routes: vec![route("/stream", 0, 0, 0), route("/", 2000, 250, 2)],
        classes: vec![EU, US_CA, OPEN],
        unmatched: None,
        check: Check {
            kind: CheckKind::Tcp,
            interval: Millis(500),
            timeout: Millis(250),
            unhealthy_after: 3,
            healthy_after: 2,
        },
    }
}

pub(crate) fn fleet() -> Fleet {
    let regions = vec![
        region("aws/eu-central-1", 0, "DE", 0),
        region("azure/westeurope", 1, "NL", 0),
        region("gcp/us-east4", 2, "US", 1),
        region("gcp/europe-west1", 2, "BE", 0),
    ];
    let endpoints = (0..regions.len() * PER_REGION).map(|i| Endpoint {
        name: name(&format!("payroll-{i}")),
        service: ServiceIx(0),
        region: RegionIx::from(i / PER_REGION),
        host: format!("127.0.{}.{}", i / PER_REGION + 1, i % PER_REGION + 1),
        port: 19000,
    });
    let area =
        |text: &str, near: u16, far: u16| Area { name: name(text), rings: vec![vec![AreaIx(near)], vec![AreaIx(far)]] };
    let group = |text: &str, area: u16, law: &str| ClientGroup {
        name: name(text),
        area: AreaIx(area),
        jurisdiction: country(law),
    };
    Fleet {
        providers: ["aws", "azure", "gcp"].map(|p| Provider { name: name(p) }).to_vec(),
        areas: vec![area("europe", 0, 1), area("america", 1, 0)],
        endpoints: endpoints.collect(),
        regions,
        services: vec![service()],
        classes: vec![
            class("eu", only(&["DE", "NL"]), header("eu")),
            class("us-ca", only(&["US"]), header("us-ca")),
            class("open", Permitted::Anywhere, ClassMatch::Host("open.example".to_owned())),
        ],
        groups: vec![group("edge-de", 0, "DE"), group("edge-us", 1, "US")],
        ..Fleet::default()
    }
}

pub(crate) fn routed(
    class: ClassIx,
    group: GroupIx,
    weights: &[(RegionIx, u16)],
    spill: Vec<Vec<RegionIx>>,
) -> ClassSplit {
    let weights = weights.iter().map(|(region, w)| Weight { region: *region, share: Bps::clamped(u64::from(*w)) });
    ClassSplit { class, group, serving: Serving::Routed { shed: Bps::ZERO }, weights: weights.collect(), spill }
}

fn refused(class: ClassIx, group: GroupIx, serving: Serving) -> ClassSplit {
    ClassSplit { class, group, serving, weights: Vec::new(), spill: Vec::new() }
}

pub(crate) fn plan(fleet: &Fleet) -> Plan {
    Plan {
        fleet: fleet.revision,
        splits: vec![
            routed(EU, EDGE_DE, &[(AWS_DE, 6000), (AZURE_NL, 4000)], vec![]),
            refused(EU, EDGE_US, Serving::WrongJurisdiction),
            refused(US_CA, EDGE_DE, Serving::WrongJurisdiction),
            routed(US_CA, EDGE_US, &[(GCP_US, 10_000)], vec![]),
            routed(OPEN, EDGE_DE, &[(GCP_BE, 10_000)], vec![vec![AWS_DE, AZURE_NL], vec![GCP_US]]),
            refused(OPEN, EDGE_US, Serving::NoPlace),
        ],
        endpoints_out: vec![EndpointIx(1)],
    }
}
