//! Faults of one run: which, on whom, from when to when, and what is true of a place while they last.
//!
//! Owns the truth against which verdicts are held. Refuses names that the fleet does not have.

use crate::scenario::{Fault, How, Scenario, What};
use crate::units::{Nanos, Share, Span};
use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use tidegate_domain::{EndpointIx, Fleet, GroupIx, ProviderIx, RegionIx, VantageIx};

/// Whom a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    Provider(ProviderIx),
    Region(RegionIx),
    Endpoint(EndpointIx),
    Vantage(VantageIx),
    Server,
    Everything,
}

/// Whose way to a place is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Place(Whom),
    Group(GroupIx),
}

impl Side {
    fn named(fleet: &Fleet, name: &str) -> Option<Self> {
        let provider = fleet.providers.iter().position(|p| p.name.as_str() == name).map(|i| Whom::Provider(i.into()));
        let region = || fleet.regions.iter().position(|r| r.name.to_string() == name).map(|i| Whom::Region(i.into()));
        let group = || fleet.groups.iter().position(|g| g.name.as_str() == name).map(|i| Self::Group(i.into()));
        provider.or_else(region).map(Self::Place).or_else(group)
    }
    /// A client group stands in every region of its area under its law.
    pub(crate) fn has_region(self, fleet: &Fleet, region: RegionIx) -> bool {
        match self {
            Self::Place(whom) => whom.has_region(fleet, region),
            Self::Group(g) => {
                let (group, of) = (&fleet.groups[g.at()], &fleet.regions[region.at()]);
                (of.area, of.jurisdiction) == (group.area, group.jurisdiction)
            }
        }
    }
}

/// A fault of this run.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) fault: Fault,
    pub(crate) whom: Whom,
    pub(crate) how: How,
    /// Of a path.
    pub(crate) side: Option<Side>,
    /// The smaller side of a split, and whether the server stands there.
    pub(crate) part: Vec<RegionIx>,
    pub(crate) with_server: bool,
    pub(crate) begins: Nanos,
    /// After that it is repaired; the same as `begins` where nothing is.
    pub(crate) ends: Nanos,
    pub(crate) active: bool,
}

/// A part of the day that no fault may touch: the fleet settles.
pub(crate) const SETTLE: Nanos = 30_000_000_000;

fn draw(rng: &mut StdRng, span: Span) -> Nanos {
    rng.random_range(span.from..=span.to)
}

/// The faults of this seed, in the order of their beginning. `server` is where the server stands.
pub(crate) fn plan(scenario: &Scenario, fleet: &Fleet, server: RegionIx, rng: &mut StdRng) -> Result<Vec<Planned>> {
    let by_place: Vec<(String, &Fault)> = scenario.spec.faults_by_place().collect();
    let (named, drawn) = by_place.split_at(scenario.spec.faults.len());
    let mut faults = named.to_vec();
    for _ in 0..scenario.spec.random.as_ref().map_or(0, |r| r.count) {
        faults.push(drawn[rng.random_range(0..drawn.len())].clone());
    }
    let mut all = Vec::new();
    for (place, fault) in faults {
        let about = || place.clone();
        let whom = whom(&fault.of, fault.what, fleet, rng).with_context(about)?;
        if scenario.spec.gossip_only {
            let fits = !matches!(whom, Whom::Server | Whom::Endpoint(_));
            ensure!(fits, "{}: of a scenario with `gossipOnly`, which has neither a server nor targets", about());
        }
        let part = if fault.what == What::Split {
            part(fault, whom, fleet, server, rng).with_context(about)?
        } else {
            Vec::new()
        };
        let hows = [How::Refuse, How::Hang, How::BlackHole, How::Err];
        let how = if fault.how == How::Any { hows[rng.random_range(0..hows.len())] } else { fault.how };
        let begins = draw(rng, fault.at);
        let ends = begins + draw(rng, fault.lasts);
        let side = fault.from.as_deref().map(|name| {
            let groups: Vec<&str> = fleet.groups.iter().map(|g| g.name.as_str()).collect();
            let groups = groups.join(", ");
            let unknown =
                || format!("`from: {name}` is no provider or region of the fleet, and no client group: {groups}");
            Side::named(fleet, name).with_context(unknown)
        });
        let side = side.transpose().with_context(about)?;
        let with_server = part.contains(&server);
        all.push(Planned { fault: fault.clone(), whom, how, side, part, with_server, begins, ends, active: false });
    }
    all.sort_by_key(|f| f.begins);
    Ok(all)
}

/// The region of `whom` and others, drawn among those with vantages.
fn part(fault: &Fault, whom: Whom, fleet: &Fleet, server: RegionIx, rng: &mut StdRng) -> Result<Vec<RegionIx>> {
    let first = if let Whom::Region(r) = whom { r } else { server };
    let mut others: Vec<RegionIx> = (0..fleet.regions.len())
        .map(RegionIx::from)
        .filter(|r| *r != first && fleet.vantages.iter().any(|v| v.region == *r))
        .collect();
    let wanted = fault.regions as usize;
    ensure!(wanted <= others.len(), "regions: {wanted} is all there are with vantages: the other side would be empty");
    let mut part = vec![first];
    while part.len() < wanted {
        part.push(others.swap_remove(rng.random_range(0..others.len())));
    }
    Ok(part)
}

fn whom(of: &str, what: What, fleet: &Fleet, rng: &mut StdRng) -> Result<Whom> {
    let serving: Vec<RegionIx> = (0..fleet.regions.len())
        .map(RegionIx::from)
        .filter(|r| fleet.endpoints.iter().any(|e| e.region == *r))
        .collect();
    let mut clouds: Vec<ProviderIx> = serving.iter().map(|r| fleet.provider_of(*r)).collect();
    clouds.dedup();
    let named = |name: &str| {
        let provider = fleet.providers.iter().position(|p| p.name.as_str() == name);
        let region = fleet.regions.iter().position(|r| r.name.to_string() == name);
        let vantage = fleet.vantages.iter().position(|v| v.name.as_str() == name);
        let endpoint = fleet.endpoints.iter().position(|e| e.name.as_str() == name);
        let provider = provider.map(|i| Whom::Provider(i.into())).or_else(|| region.map(|i| Whom::Region(i.into())));
        provider
            .or_else(|| vantage.map(|i| Whom::Vantage(i.into())))
            .or_else(|| endpoint.map(|i| Whom::Endpoint(i.into())))
    };
    let mut pick = |n: usize| rng.random_range(0..n);
    let found = match of {
        "any-provider" => Whom::Provider(clouds[pick(clouds.len())]),
        "any-region" => Whom::Region(serving[pick(serving.len())]),
        "any-endpoint" => Whom::Endpoint(pick(fleet.endpoints.len()).into()),
        "any-vantage" => Whom::Vantage(pick(fleet.vantages.len()).into()),
        "server" => Whom::Server,
        "everything" => Whom::Everything,
        name => match named(name) {
            Some(found) => found,
            None => bail!(
                "`of: {name}` is no provider, region, vantage or endpoint of the fleet, and none of any-provider, \
                 any-region, any-endpoint, any-vantage, server, everything"
            ),
        },
    };
    let process = matches!(found, Whom::Vantage(_) | Whom::Server | Whom::Everything);
    let place = matches!(found, Whom::Provider(_) | Whom::Region(_));
    let fits = match what {
        What::Down | What::Slow | What::Errs | What::Lies => place || matches!(found, Whom::Endpoint(_)),
        What::Crash | What::Pause | What::Mute | What::Deaf | What::GossipCut | What::Lossy | What::Clock => process,
        What::Cut | What::Path | What::Follows => place,
        What::Split => matches!(found, Whom::Region(_) | Whom::Server),
        What::Api => matches!(found, Whom::Provider(_)),
        What::StoreAway | What::StoreFull => found == Whom::Server,
    };
    if !fits {
        bail!("does not fit `of: {of}`: {}", what.whose());
    }
    if let (What::Api, Whom::Provider(p)) = (what, found) {
        let asked = fleet.apis.iter().any(|a| a.provider == p);
        let name = &fleet.providers[p.at()].name;
        ensure!(
            asked,
            "`of: {of}`: nobody asks the API of {name}; give the Provider an `apiStatus`, or a described fleet `apis: true`"
        );
    }
    Ok(found)
}

impl Whom {
    pub(crate) fn has_region(self, fleet: &Fleet, region: RegionIx) -> bool {
        match self {
            Self::Provider(p) => fleet.provider_of(region) == p,
            Self::Region(r) => r == region,
            Self::Everything => true,
            Self::Endpoint(_) | Self::Vantage(_) | Self::Server => false,
        }
    }
    pub(crate) fn has_endpoint(self, fleet: &Fleet, endpoint: EndpointIx) -> bool {
        self == Self::Endpoint(endpoint) || self.has_region(fleet, fleet.endpoints[endpoint.at()].region)
    }
    /// Process numbers: vantages by their index, then the server.
    pub(crate) fn has_process(self, fleet: &Fleet, process: usize) -> bool {
        match self {
            Self::Vantage(v) => v.at() == process,
            Self::Server => process == fleet.vantages.len(),
            Self::Everything => true,
            Self::Provider(_) | Self::Region(_) => {
                fleet.vantages.get(process).is_some_and(|v| self.has_region(fleet, v.region))
            }
            Self::Endpoint(_) => false,
        }
    }
    pub(crate) fn name(self, fleet: &Fleet) -> String {
        match self {
            Self::Provider(p) => fleet.providers[p.at()].name.to_string(),
            Self::Region(r) => fleet.regions[r.at()].name.to_string(),
            Self::Endpoint(e) => fleet.endpoints[e.at()].name.to_string(),
            Self::Vantage(v) => fleet.vantages[v.at()].name.to_string(),
            Self::Server => "the server".to_owned(),
            Self::Everything => "everything".to_owned(),
        }
    }
}

/// What a backend does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Answers, this many times as late as usual; in so many of a million, with an error.
    Serves {
        times: u32,
        errs: u32,
    },
    Refuses,
    Hangs,
    Errs,
}

/// What is true of one endpoint under these faults. A place that is cut off refuses nobody: nobody gets there.
pub(crate) fn backend(faults: &[Planned], fleet: &Fleet, endpoint: EndpointIx) -> Backend {
    let (mut times, mut errs) = (1, 0);
    for f in faults.iter().filter(|f| f.active && f.whom.has_endpoint(fleet, endpoint)) {
        match (f.fault.what, f.how) {
            (What::Down, How::Refuse | How::Any) => return Backend::Refuses,
            (What::Down, How::Hang | How::BlackHole) => return Backend::Hangs,
            (What::Down, How::Err) => return Backend::Errs,
            (What::Slow, _) => times = times.max(f.fault.times),
            (What::Errs, _) => errs = errs.max(f.fault.share.0),
            _ => {}
        }
    }
    Backend::Serves { times, errs }
}

/// What a provider's own API does with a connection. It stands outside of all regions: no other fault touches it.
pub(crate) fn api(faults: &[Planned], provider: ProviderIx) -> Backend {
    let here = |f: &&Planned| f.active && f.fault.what == What::Api && f.whom == Whom::Provider(provider);
    match faults.iter().find(here).map(|f| f.how) {
        None => Backend::Serves { times: 1, errs: 0 },
        Some(How::Refuse | How::Any) => Backend::Refuses,
        Some(How::Hang | How::BlackHole) => Backend::Hangs,
        Some(How::Err) => Backend::Errs,
    }
}

/// How many times as late as usual an endpoint answers the edges' requests.
pub(crate) fn lateness(faults: &[Planned], fleet: &Fleet, endpoint: EndpointIx) -> u32 {
    let late = |f: &&Planned| matches!(f.fault.what, What::Slow | What::Lies) && f.whom.has_endpoint(fleet, endpoint);
    faults.iter().filter(|f| f.active).filter(late).map(|f| f.fault.times).max().unwrap_or(1).max(1)
}

/// The part of the requests of a group's edges that fail at an endpoint, in millionths. `fuller` says whether a
/// fault of this number, that follows the traffic, has come to the endpoint's region.
pub(crate) fn failing(
    faults: &[Planned],
    fleet: &Fleet,
    endpoint: EndpointIx,
    group: GroupIx,
    fuller: impl Fn(usize) -> bool,
) -> u32 {
    let mut part = 0;
    for (i, f) in faults.iter().enumerate().filter(|(_, f)| f.active) {
        let here = f.whom.has_endpoint(fleet, endpoint);
        part = part.max(match f.fault.what {
            What::Down | What::Cut if here => Share::ALL,
            // Edges stand on the larger side.
            What::Split if f.part.contains(&fleet.endpoints[endpoint.at()].region) => Share::ALL,
            What::Path if here && f.side == Some(Side::Group(group)) => Share::ALL,
            What::Errs | What::Lies if here => f.fault.share.0,
            What::Follows if here || fuller(i) => f.fault.share.0,
            _ => 0,
        });
    }
    part
}

/// Whether nobody outside is served there, for whatever reason. What a server on the smaller side of a split does not reach
/// is not down: most of the world reaches it.
pub(crate) fn is_down(faults: &[Planned], fleet: &Fleet, endpoint: EndpointIx) -> bool {
    let dead = |f: &Planned| matches!(f.fault.what, What::Down | What::Cut);
    let apart = |f: &Planned| !f.with_server && f.part.contains(&fleet.endpoints[endpoint.at()].region);
    faults.iter().any(|f| f.active && (apart(f) || dead(f) && f.whom.has_endpoint(fleet, endpoint)))
}
