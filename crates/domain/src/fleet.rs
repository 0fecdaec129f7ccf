//! What exists and what is promised: the validated fleet. Built only by `config` (and by tests).

use crate::ids::{
    AreaIx, ClassIx, GroupIx, Jurisdiction, Name, ProviderIx, RegionIx, RegionName, Revision, ServiceIx, VantageIx,
};
use crate::time::{Millis, Wall};
use crate::units::{Bps, MilliRps, PicoDollars};
use crate::verdict::Accused;
use std::collections::BTreeSet;

/// The whole configuration of one revision. Indexes of one fleet never apply to another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    /// Hash of the canonical encoding.
    pub revision: Revision,
    /// Clouds, and places outside them that only hold vantages.
    pub providers: Vec<Provider>,
    /// Parts of the world; rings are made of them.
    pub areas: Vec<Area>,
    /// All regions, vantage-only places included.
    pub regions: Vec<Region>,
    /// All services.
    pub services: Vec<Service>,
    /// All residency classes, grouped by service in order.
    pub classes: Vec<Class>,
    /// All endpoints; the order is the target index of vantage reports.
    pub endpoints: Vec<Endpoint>,
    /// Providers' own APIs that are probed, in provider order, one each at most; as targets they follow the endpoints.
    pub apis: Vec<ProviderApi>,
    /// All configured probers: the electorate is drawn from these, alive or not.
    pub vantages: Vec<Vantage>,
    /// Hosts outside the fleet by which a vantage knows that it is itself connected.
    pub references: Vec<Reference>,
    /// Client groups: edges that get the same splits.
    pub groups: Vec<ClientGroup>,
    /// Safety rules.
    pub rules: Rules,
}

impl Fleet {
    /// How many targets a vantage report speaks of: the endpoints, then the providers' APIs.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.endpoints.len() + self.apis.len()
    }
    /// The provider of `region`.
    #[must_use]
    pub fn provider_of(&self, region: RegionIx) -> ProviderIx {
        self.regions[region.at()].provider
    }
    /// `service/class`, as in `payroll/eu`.
    #[must_use]
    pub fn class_name(&self, class: ClassIx) -> String {
        let c = &self.classes[class.at()];
        format!("{}/{}", self.services[c.service.at()].name, c.name)
    }
    /// The name of what a verdict is about.
    #[must_use]
    pub fn accused_name(&self, of: Accused) -> String {
        match of {
            Accused::Provider(p) => self.providers[p.at()].name.to_string(),
            Accused::Region(r) => self.regions[r.at()].name.to_string(),
            Accused::Endpoint(e) => self.endpoints[e.at()].name.to_string(),
        }
    }
    /// The index of the region so named.
    #[must_use]
    pub fn region(&self, name: &RegionName) -> Option<RegionIx> {
        self.regions.iter().position(|r| &r.name == name).map(RegionIx::from)
    }
    /// The index of the provider so named.
    #[must_use]
    pub fn provider(&self, name: &Name) -> Option<ProviderIx> {
        self.providers.iter().position(|p| &p.name == name).map(ProviderIx::from)
    }
    /// The index of the service so named.
    #[must_use]
    pub fn service(&self, name: &Name) -> Option<ServiceIx> {
        self.services.iter().position(|s| &s.name == name).map(ServiceIx::from)
    }
    /// The index of the client group so named.
    #[must_use]
    pub fn group(&self, name: &Name) -> Option<GroupIx> {
        self.groups.iter().position(|g| &g.name == name).map(GroupIx::from)
    }
    /// The index of the vantage so named.
    #[must_use]
    pub fn vantage(&self, name: &Name) -> Option<VantageIx> {
        self.vantages.iter().position(|v| &v.name == name).map(VantageIx::from)
    }
    /// Distance of `region` from clients of `group`: 0 is the nearest ring. Regions outside every declared
    /// ring stand one ring behind the last.
    #[must_use]
    pub fn ring(&self, group: GroupIx, region: RegionIx) -> usize {
        let area = &self.areas[self.groups[group.at()].area.at()];
        let of = self.regions[region.at()].area;
        area.rings.iter().position(|ring| ring.contains(&of)).unwrap_or(area.rings.len())
    }
    /// Whether `class` may be served from `region` at all, by the configuration alone.
    #[must_use]
    pub fn permits(&self, class: ClassIx, region: RegionIx) -> bool {
        self.classes[class.at()].permitted.holds(self.regions[region.at()].jurisdiction)
    }
    /// Whether clients of `group` may be answered for `class` where they stand.
    #[must_use]
    pub fn permits_group(&self, class: ClassIx, group: GroupIx) -> bool {
        self.classes[class.at()].permitted.holds(self.groups[group.at()].jurisdiction)
    }
    /// Declared demand of `class` at `group`.
    #[must_use]
    pub fn demand(&self, class: ClassIx, group: GroupIx) -> MilliRps {
        let found = self.classes[class.at()].demand.iter().find(|d| d.group == group);
        found.map_or(MilliRps(0), |d| d.load)
    }
}

/// A cloud, or a place outside the clouds that only holds vantages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// `aws`.
    pub name: Name,
}

/// Where a provider's own API (its control plane: launching machines, changing load balancers) is asked how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderApi {
    /// Whose.
    pub provider: ProviderIx,
    /// IP address or host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How it is probed: always HTTP.
    pub check: Check,
}

/// A part of the world. `rings[0]` is the nearest ring as seen from here and holds the area itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// `europe`.
    pub name: Name,
    /// Areas by growing distance.
    pub rings: Vec<Vec<AreaIx>>,
}

/// A region of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// `aws/us-east-1`.
    pub name: RegionName,
    /// Its provider.
    pub provider: ProviderIx,
    /// The country whose law holds there.
    pub jurisdiction: Jurisdiction,
    /// Where it lies.
    pub area: AreaIx,
    /// Envoy's zone within the locality, where declared.
    pub zone: Option<Name>,
    /// What it can carry at 100 %, all services together, with every endpoint up.
    pub capacity: MilliRps,
    /// The share of `capacity` that weights may fill.
    pub safe_utilisation: Bps,
    /// Static cost of a million requests, everything included.
    pub cost_per_million: PicoDollars,
    /// Holds vantages only: no endpoint may be placed here.
    pub vantage_only: bool,
}

/// A service: one listener, its domains and routes, its classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `payroll`.
    pub name: Name,
    /// Where edges listen.
    pub listener: Listener,
    /// Host names, lower case; `*` alone or a leading `*.` as in Envoy.
    pub domains: Vec<String>,
    /// Routes in order, at least one.
    pub routes: Vec<Route>,
    /// Its classes, in order of `Fleet::classes`.
    pub classes: Vec<ClassIx>,
    /// Takes the requests that match no class; none: only the intersection of all permitted sets may.
    pub unmatched: Option<ClassIx>,
    /// How its endpoints are probed.
    pub check: Check,
}

/// The address on which edges listen for a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Name of the listener; services that share it share the port.
    pub name: Name,
    /// IP address or `0.0.0.0`.
    pub address: String,
    /// TCP port, not 0.
    pub port: u16,
}

/// One route of a service: a path prefix and its time-outs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Path prefix, `/` at least.
    pub prefix: String,
    /// Whole request; 0 for none (long streams).
    pub timeout: Millis,
    /// One try.
    pub per_try_timeout: Millis,
    /// Retries besides the first try, for requests that may be repeated.
    pub retries: u8,
}

/// How one class is told from the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClassMatch {
    /// The header has exactly this value. Name in lower case.
    Header {
        /// Header name.
        name: String,
        /// Exact value.
        value: String,
    },
    /// The request's host is this domain.
    Host(String),
}

/// The countries where a class may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permitted {
    /// No limit.
    Anywhere,
    /// Only these. Never empty.
    Only(BTreeSet<Jurisdiction>),
}
impl Permitted {
    /// Whether `place` is in the set.
    #[must_use]
    pub fn holds(&self, place: Jurisdiction) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Only(set) => set.contains(&place),
        }
    }
}

/// A residency class: a slice of a service with one permitted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// `eu`.
    pub name: Name,
    /// Its service.
    pub service: ServiceIx,
    /// Where it may be.
    pub permitted: Permitted,
    /// What selects it.
    pub matched_by: ClassMatch,
    /// Whether a client can choose the class by itself (a header that nothing before the edge sets or strips).
    pub client_can_set: bool,
    /// 0 is the highest; the highest number is shed first.
    pub priority: u8,
    /// Load per client group.
    pub demand: Vec<Demand>,
    /// The largest share that one provider carries when others can carry the rest.
    pub provider_share_max: Bps,
    /// One-off cost of moving this class; 0 needs no regret.
    pub migration_cost: PicoDollars,
}

/// Declared load of a class at one client group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Where the clients are.
    pub group: GroupIx,
    /// How much.
    pub load: MilliRps,
}

/// An address that serves a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Unique name, `payroll-aws-us-east-1-0`.
    pub name: Name,
    /// Its service.
    pub service: ServiceIx,
    /// Its region.
    pub region: RegionIx,
    /// IP address or host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// How an endpoint is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Protocol.
    pub kind: CheckKind,
    /// Between starts of two probes.
    pub interval: Millis,
    /// The longest a probe may take; the prober shortens it by the target's own round-trip time.
    pub timeout: Millis,
    /// Failures in a row before a vantage calls the target failing.
    pub unhealthy_after: u8,
    /// Successes in a row before a vantage calls it well again.
    pub healthy_after: u8,
}

impl Check {
    /// The shortest interval between two probes of one target.
    pub const INTERVAL_MIN: Millis = Millis(50);
    /// The longest.
    pub const INTERVAL_MAX: Millis = Millis(600_000);
    /// The shortest time-out of a probe.
    pub const TIMEOUT_MIN: Millis = Millis(10);
    /// The longest.
    pub const TIMEOUT_MAX: Millis = Millis(60_000);
    /// So many targets one prober takes, which may have to probe all there are.
    pub const TARGETS_MAX: usize = 4_000;

    /// Whether a probe can send `text` as path, host or gRPC service: no spaces, control or other characters that HTTP forbids there.
    #[must_use]
    pub fn is_sendable(text: &str) -> bool {
        text.bytes().all(|b| b.is_ascii_graphic())
    }
}

/// Probe protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection opens.
    Tcp,
    /// GET answers 200-299.
    Http {
        /// Path with leading `/`.
        path: String,
        /// Over TLS.
        tls: bool,
        /// `Host` to send; the endpoint's host where none.
        host: Option<String>,
    },
    /// `grpc.health.v1.Health/Check` answers SERVING (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
    Grpc {
        /// The gRPC service that is asked about; empty: the server as a whole.
        service: String,
        /// Over TLS.
        tls: bool,
        /// `:authority` to send; the endpoint's host where none.
        host: Option<String>,
    },
}

/// A prober at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vantage {
    /// Unique name, `aws-1`.
    pub name: Name,
    /// Where it stands.
    pub region: RegionIx,
    /// UDP `ip:port` of its gossip.
    pub gossip: String,
}

/// A host outside the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Unique name.
    pub name: Name,
    /// `host:port`; a TCP connection that opens counts as reached.
    pub address: String,
    /// The network it stands in; two of a vantage's references must stand in different ones.
    pub network: Name,
}

/// Edges with the same locality and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientGroup {
    /// Also the xDS node's `locality.region`.
    pub name: Name,
    /// Where they stand.
    pub area: AreaIx,
    /// The law that holds where they end TLS.
    pub jurisdiction: Jurisdiction,
}

/// A span in which nothing moves but for safety.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreezeWindow {
    /// First moment.
    pub from: Wall,
    /// First moment after.
    pub until: Wall,
    /// Why.
    pub reason: String,
}

/// Safety rules. They bind people too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Every class keeps at least so many serving regions, where so many are permitted.
    pub min_regions_on: u16,
    /// The largest part of a class's demand that one voluntary step moves.
    pub share_cap: Bps,
    /// Time between two voluntary steps of one class.
    pub settle: Millis,
    /// Time an economic move waits after any move of the class.
    pub min_residency: Millis,
    /// A vantage report older than this is stale: its vantage is not eligible.
    pub report_fresh: Millis,
    /// Down verdicts within this span are judged together for doubt.
    pub doubt_window: Millis,
    /// Unknown, or cut off, for longer than this raises an alarm.
    pub unknown_alarm: Millis,
    /// An endpoint must be seen well for this long before it is Healthy again.
    pub up_after: Millis,
    /// Part by which a place must be cheaper before an economic move is worth it.
    pub economic_margin: Bps,
    /// No voluntary or economic move inside.
    pub freeze: Vec<FreezeWindow>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            min_regions_on: 1,
            share_cap: Bps::clamped(3400),
            settle: Millis(10_000),
            min_residency: Millis(30 * 60_000),
            report_fresh: Millis(3_000),
            doubt_window: Millis(60_000),
            unknown_alarm: Millis(60_000),
            up_after: Millis(4_500),
            economic_margin: Bps::clamped(500),
            freeze: Vec::new(),
        }
    }
}
