//! Builders of fleets and views for the kernel's tests. Owns no assertion and no rule of the kernel.
#![allow(dead_code, unreachable_pub)] // every test binary compiles its own copy and uses a part of it

use std::collections::BTreeMap;
use tidegate_domain::*;

/// A name that is known to be right.
pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
/// A country.
pub fn country(text: &str) -> Jurisdiction {
    Jurisdiction::new(text).unwrap()
}
/// Whole requests per second.
pub fn rps(whole: u64) -> MilliRps {
    MilliRps(whole * 1000)
}
/// Milliseconds after the start of the test's clock, which begins well above zero.
pub fn at(ms: u64) -> Mono {
    Mono(1_000_000_000_000) + Millis(ms)
}
/// Only these countries.
pub fn only(countries: &[&str]) -> Permitted {
    Permitted::Only(countries.iter().map(|c| country(c)).collect())
}

/// Puts a fleet together by names. Every method panics on a name that it does not know: a fault of the test.
#[derive(Debug, Clone, Default)]
pub struct FleetBuilder {
    /// The fleet so far; tests may edit it directly.
    pub fleet: Fleet,
}

impl FleetBuilder {
    /// An empty fleet with revision 1, three references in three networks, and default rules.
    pub fn new() -> Self {
        let mut fleet = Fleet { revision: Revision([1; 32]), ..Fleet::default() };
        for i in 1..=3 {
            fleet.references.push(Reference {
                name: name(&format!("reference-{i}")),
                address: format!("192.0.2.{i}:443"),
                network: name(&format!("network-{i}")),
            });
        }
        Self { fleet }
    }
    /// Areas with their rings, nearest first: `&[("europe", &[&["europe"], &["us"], &["asia"]])]`.
    pub fn areas(mut self, areas: &[(&str, &[&[&str]])]) -> Self {
        let ix = |n: &str| AreaIx::from(areas.iter().position(|a| a.0 == n).unwrap());
        self.fleet.areas = areas
            .iter()
            .map(|(n, rings)| Area {
                name: name(n),
                rings: rings.iter().map(|ring| ring.iter().map(|a| ix(a)).collect()).collect(),
            })
            .collect();
        self
    }
    /// A region (its provider is made when new): capacity in requests per second, cost in pico-dollars per million.
    pub fn region(mut self, text: &str, law: &str, area: &str, capacity: u64, cost: i128) -> Self {
        let full = RegionName::new(text).unwrap();
        let provider = self.fleet.provider(&full.provider).unwrap_or_else(|| {
            self.fleet.providers.push(Provider { name: full.provider.clone() });
            ProviderIx::from(self.fleet.providers.len() - 1)
        });
        let area = AreaIx::from(self.fleet.areas.iter().position(|a| a.name == name(area)).unwrap());
        self.fleet.regions.push(Region {
            name: full,
            provider,
            jurisdiction: country(law),
            area,
            zone: None,
            capacity: rps(capacity),
            safe_utilisation: Bps::clamped(8000),
            cost_per_million: PicoDollars(cost),
            vantage_only: false,
        });
        self
    }
    /// A place outside the clouds that only holds vantages.
    pub fn outside(self, text: &str, law: &str, area: &str) -> Self {
        let mut this = self.region(text, law, area, 0, 0);
        this.fleet.regions.last_mut().unwrap().vantage_only = true;
        this
    }
    /// A client group.
    pub fn group(mut self, group: &str, law: &str, area: &str) -> Self {
        let area = AreaIx::from(self.fleet.areas.iter().position(|a| a.name == name(area)).unwrap());
        self.fleet.groups.push(ClientGroup { name: name(group), area, jurisdiction: country(law) });
        self
    }
    /// A service without classes or endpoints; 500 ms probes.
    pub fn service(mut self, service: &str) -> Self {
        self.fleet.services.push(Service {
            name: name(service),
            listener: Listener { name: name("public"), address: "0.0.0.0".to_owned(), port: 8443 },
            domains: vec![format!("{service}.example")],
            routes: vec![Route {
                prefix: "/".to_owned(),
                timeout: Millis(10_000),
                per_try_timeout: Millis(500),
                retries: 2,
            }],
            classes: Vec::new(),
            unmatched: None,
            check: Check {
                kind: CheckKind::Http { path: "/healthz".to_owned(), tls: false, host: None },
                interval: Millis(500),
                timeout: Millis(400),
                unhealthy_after: 2,
                healthy_after: 2,
            },
        });
        self
    }
    /// A class of the last service, matched by the header `x-class`; `demand` in requests per second per group.
    pub fn class(mut self, class: &str, permitted: Permitted, priority: u8, demand: &[(&str, u64)]) -> Self {
        let demand = demand
            .iter()
            .map(|(g, load)| Demand { group: self.fleet.group(&name(g)).unwrap(), load: rps(*load) })
            .collect();
        let service = ServiceIx::from(self.fleet.services.len() - 1);
        let ix = ClassIx::from(self.fleet.classes.len());
        self.fleet.classes.push(Class {
            name: name(class),
            service,
            permitted,
            matched_by: ClassMatch::Header { name: "x-class".to_owned(), value: class.to_owned() },
            client_can_set: false,
            priority,
            demand,
            provider_share_max: Bps::FULL,
            migration_cost: PicoDollars(0),
        });
        self.fleet.services.last_mut().unwrap().classes.push(ix);
        self
    }
    /// So many endpoints of the last service in a region.
    pub fn endpoints(mut self, region: &str, count: usize) -> Self {
        let at = self.fleet.region(&RegionName::new(region).unwrap()).unwrap();
        let service = ServiceIx::from(self.fleet.services.len() - 1);
        let slug = region.replace('/', "-");
        for i in 0..count {
            let service_name = &self.fleet.services[service.at()].name;
            self.fleet.endpoints.push(Endpoint {
                name: name(&format!("{service_name}-{slug}-{i}")),
                service,
                region: at,
                host: format!("10.{}.{}.{}", service.0 % 250, at.0, i + 1),
                port: 8080,
            });
        }
        self
    }
    /// So many endpoints of the last service in every region that may hold any.
    pub fn endpoints_everywhere(mut self, count: usize) -> Self {
        let regions: Vec<String> =
            self.fleet.regions.iter().filter(|r| !r.vantage_only).map(|r| r.name.to_string()).collect();
        for r in regions {
            self = self.endpoints(&r, count);
        }
        self
    }
    /// A prober in a region.
    pub fn vantage(mut self, vantage: &str, region: &str) -> Self {
        let region = self.fleet.region(&RegionName::new(region).unwrap()).unwrap();
        let port = 7000 + self.fleet.vantages.len();
        self.fleet.vantages.push(Vantage { name: name(vantage), region, gossip: format!("127.0.0.1:{port}") });
        self
    }
    /// The API of a provider is probed.
    pub fn api(mut self, provider: &str) -> Self {
        let of = self.fleet.provider(&name(provider)).unwrap();
        let kind = CheckKind::Http { path: "/ping".to_owned(), tls: true, host: None };
        let (interval, timeout) = (Millis(5_000), Millis(2_000));
        let check = Check { kind, interval, timeout, unhealthy_after: 3, healthy_after: 3 };
        self.fleet.apis.push(ProviderApi { provider: of, host: format!("api.{provider}.example"), port: 443, check });
        self
    }
    /// The fleet.
    pub fn build(self) -> Fleet {
        self.fleet
    }
}

/// The three areas of the example fleet.
pub fn three_areas() -> FleetBuilder {
    FleetBuilder::new().areas(&[
        ("europe", &[&["europe"], &["us"], &["asia"]]),
        ("us", &[&["us"], &["europe"], &["asia"]]),
        ("asia", &[&["asia"], &["us"], &["europe"]]),
    ])
}

/// The nine regions of the example fleet and its place outside; no service, group or vantage yet. AWS is cheapest.
pub fn payroll_places() -> FleetBuilder {
    three_areas()
        .region("aws/eu-central-1", "DE", "europe", 800, 100)
        .region("aws/us-east-1", "US", "us", 800, 100)
        .region("aws/ap-southeast-1", "SG", "asia", 800, 100)
        .region("azure/westeurope", "NL", "europe", 800, 120)
        .region("azure/eastus", "US", "us", 800, 120)
        .region("gcp/europe-west1", "BE", "europe", 800, 90)
        .region("gcp/europe-west4", "NL", "europe", 800, 130)
        .region("gcp/us-east4", "US", "us", 800, 130)
        .region("gcp/asia-southeast1", "SG", "asia", 800, 130)
        .outside("outside/frankfurt", "DE", "europe")
}

/// Two vantages in each cloud and two at the place outside, in this order: aws-1, aws-2, azure-1, azure-2, gcp-1, gcp-2,
/// outside-1, outside-2.
pub fn payroll_vantages(builder: FleetBuilder) -> FleetBuilder {
    builder
        .vantage("aws-1", "aws/eu-central-1")
        .vantage("aws-2", "aws/us-east-1")
        .vantage("azure-1", "azure/westeurope")
        .vantage("azure-2", "azure/eastus")
        .vantage("gcp-1", "gcp/europe-west4")
        .vantage("gcp-2", "gcp/us-east4")
        .vantage("outside-1", "outside/frankfurt")
        .vantage("outside-2", "outside/frankfurt")
}

/// The shape of the example fleet: three clouds, nine regions, one service with five classes, two endpoints per
/// region, eight vantages, two client groups; a class carries at most 60 % in one provider.
pub fn payroll() -> Fleet {
    let builder = payroll_places()
        .group("edge-de", "DE", "europe")
        .group("edge-us", "US", "us")
        .service("payroll")
        .class("eu", only(&["DE", "NL"]), 0, &[("edge-de", 300)])
        .class("us-ca", only(&["US"]), 0, &[("edge-us", 150)])
        .class("us", only(&["US", "DE", "NL"]), 1, &[("edge-de", 100), ("edge-us", 150)])
        .class("apac", only(&["SG", "US", "DE", "NL"]), 1, &[("edge-de", 100), ("edge-us", 50)])
        .class("open", Permitted::Anywhere, 2, &[("edge-de", 100), ("edge-us", 50)])
        .endpoints_everywhere(2);
    let mut fleet = payroll_vantages(builder).build();
    for class in &mut fleet.classes {
        class.provider_share_max = Bps::clamped(6000);
    }
    fleet
}

/// The example fleet with the capacities and demands that it ships with.
pub fn shipped() -> Fleet {
    let builder = payroll_places()
        .group("edge-de", "DE", "europe")
        .group("edge-us", "US", "us")
        .service("payroll")
        .class("eu", only(&["DE", "NL"]), 0, &[("edge-de", 90)])
        .class("us-ca", only(&["US"]), 0, &[("edge-us", 70)])
        .class("us", only(&["US", "DE", "NL"]), 0, &[("edge-de", 45), ("edge-us", 65)])
        .class("apac", only(&["SG", "US", "DE", "NL"]), 0, &[("edge-de", 45), ("edge-us", 45)])
        .class("open", Permitted::Anywhere, 2, &[("edge-de", 20), ("edge-us", 20)])
        .endpoints_everywhere(2);
    let mut fleet = payroll_vantages(builder).build();
    for class in &mut fleet.classes {
        class.provider_share_max = Bps::clamped(6000);
    }
    let capacity = [240, 240, 160, 240, 240, 120, 240, 240, 160];
    for (r, whole) in capacity.into_iter().enumerate() {
        fleet.regions[r].capacity = rps(whole);
    }
    fleet
}

/// Two services in two equally near regions whose costs differ by less than the margin.
pub fn two_services() -> Fleet {
    let builder = three_areas()
        .region("aws/eu-central-1", "DE", "europe", 800, 100)
        .region("azure/germanywest", "DE", "europe", 800, 102)
        .region("gcp/europe-west3", "DE", "europe", 800, 200)
        .outside("outside/frankfurt", "DE", "europe")
        .group("edge-de", "DE", "europe")
        .service("a")
        .class("eu", only(&["DE"]), 0, &[("edge-de", 100)])
        .endpoints_everywhere(2)
        .service("b")
        .class("eu", only(&["DE"]), 0, &[("edge-de", 100)])
        .endpoints_everywhere(2)
        .vantage("aws-1", "aws/eu-central-1")
        .vantage("azure-1", "azure/germanywest")
        .vantage("gcp-1", "gcp/europe-west3")
        .vantage("outside-1", "outside/frankfurt")
        .vantage("outside-2", "outside/frankfurt");
    let mut fleet = builder.build();
    fleet.rules.min_residency = Millis(20_000);
    fleet
}

/// The region so named.
pub fn region(fleet: &Fleet, text: &str) -> RegionIx {
    fleet.region(&RegionName::new(text).unwrap()).unwrap()
}
/// The provider so named.
pub fn provider(fleet: &Fleet, text: &str) -> ProviderIx {
    fleet.provider(&name(text)).unwrap()
}
/// The class so named, as in `payroll/eu`.
pub fn class(fleet: &Fleet, text: &str) -> ClassIx {
    (0..fleet.classes.len()).map(ClassIx::from).find(|c| fleet.class_name(*c) == text).unwrap()
}
/// The group so named.
pub fn group(fleet: &Fleet, text: &str) -> GroupIx {
    fleet.group(&name(text)).unwrap()
}
/// The vantage so named.
pub fn vantage(fleet: &Fleet, text: &str) -> VantageIx {
    fleet.vantage(&name(text)).unwrap()
}
/// The endpoints of a region.
pub fn endpoints_in(fleet: &Fleet, region: RegionIx) -> Vec<EndpointIx> {
    let all = fleet.endpoints.iter().enumerate();
    all.filter(|(_, e)| e.region == region).map(|(i, _)| EndpointIx::from(i)).collect()
}

/// A report of a vantage in good order that sees what `sees` says of each endpoint.
pub fn report(
    fleet: &Fleet,
    vantage: VantageIx,
    arrived: Mono,
    mut sees: impl FnMut(EndpointIx) -> TargetState,
) -> VantageReport {
    let (count, all) = (fleet.endpoints.len(), fleet.targets());
    let apis = fleet.apis.iter().map(|_| TargetState::Ok);
    VantageReport {
        vantage,
        incarnation: 1,
        sequence: 1,
        revision: fleet.revision,
        arrived,
        own: VantageSelf { references_reached: 3, reference_networks: 3, self_doubt: false },
        targets: (0..count).map(|i| sees(EndpointIx::from(i))).chain(apis).collect(),
        rtt: vec![RttClass(5); all],
    }
}

/// A view in which every vantage has just reported, each seeing what `sees` says.
pub fn view_of(fleet: &Fleet, arrived: Mono, mut sees: impl FnMut(VantageIx, EndpointIx) -> TargetState) -> View {
    let all = (0..fleet.vantages.len()).map(VantageIx::from);
    View { reports: all.map(|v| Some(report(fleet, v, arrived, |e| sees(v, e)))).collect(), ..View::default() }
}

/// A view in which everything is well.
pub fn all_well(fleet: &Fleet, arrived: Mono) -> View {
    view_of(fleet, arrived, |_, _| TargetState::Ok)
}

/// A view in which these regions are dead: their endpoints fail for everyone, their vantages are silent.
pub fn dead_regions(fleet: &Fleet, arrived: Mono, dead: &[RegionIx]) -> View {
    let mut view = view_of(fleet, arrived, |_, e| {
        if dead.contains(&fleet.endpoints[e.at()].region) { TargetState::Failing } else { TargetState::Ok }
    });
    for (v, slot) in view.reports.iter_mut().enumerate() {
        if dead.contains(&fleet.vantages[v].region) {
            *slot = None;
        }
    }
    view
}

/// A view in which these providers are dead with everything placed there.
pub fn dead_providers(fleet: &Fleet, arrived: Mono, dead: &[ProviderIx]) -> View {
    let regions: Vec<RegionIx> =
        (0..fleet.regions.len()).map(RegionIx::from).filter(|r| dead.contains(&fleet.provider_of(*r))).collect();
    dead_regions(fleet, arrived, &regions)
}

/// A mask by which policy allows everything that the configuration permits.
pub fn allow_all(fleet: &Fleet) -> Mask {
    let mut answers = BTreeMap::new();
    for c in (0..fleet.classes.len()).map(ClassIx::from) {
        for r in (0..fleet.regions.len()).map(RegionIx::from).filter(|r| fleet.permits(c, *r)) {
            for kind in MoveKind::ALL {
                let key = (c, fleet.regions[r.at()].jurisdiction, kind);
                answers.insert(key, PolicyAnswer { allow: true, reason: String::new() });
            }
        }
    }
    Mask { bundle: [7; 32], answers }
}

/// A fleet for measuring: services × regions × endpoints, six clouds, two classes per service, nine vantages.
pub fn large(services: usize, regions: usize, endpoints: usize) -> Fleet {
    let clouds = ["aws", "azure", "gcp", "oci", "ovh", "ibm"];
    let places = [("DE", "europe"), ("US", "us"), ("SG", "asia"), ("NL", "europe")];
    let mut b = three_areas();
    for i in 0..regions {
        let (law, area) = places[i % places.len()];
        b = b.region(&format!("{}/r{i}", clouds[i % clouds.len()]), law, area, 1_000_000, 100 + (i as i128 % 7));
    }
    b = b.outside("outside/frankfurt", "DE", "europe").group("edge-de", "DE", "europe").group("edge-us", "US", "us");
    for v in 0..7 {
        let i = v % clouds.len().min(regions);
        b = b.vantage(&format!("v{v}"), &format!("{}/r{i}", clouds[i]));
    }
    b = b.vantage("outside-1", "outside/frankfurt").vantage("outside-2", "outside/frankfurt");
    for s in 0..services {
        b = b
            .service(&format!("s{s}"))
            .class("eu", only(&["DE", "NL"]), 0, &[("edge-de", 100)])
            .class("open", Permitted::Anywhere, 1, &[("edge-de", 50), ("edge-us", 100)])
            .endpoints_everywhere(endpoints);
    }
    b.build()
}
