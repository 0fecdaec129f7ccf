//! The list as the servers hand it to one vantage: the other end of [`crate::List`].

use tidegate_domain::{CheckKind, Fleet, Millis, ProviderApi};
use tidegate_proto::v1::{Check, GrpcCheck, HttpCheck, ReferenceHost, Target, TargetList, TcpCheck, check};

/// Version of `TargetList`.
const FORMAT: u32 = 1;

/// What one vantage probes (the kernel assigns it).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// By region: the endpoints there. Regions beyond its end are not probed.
    pub regions: Vec<bool>,
    /// By position in [`Fleet::apis`]: that provider's API. What is beyond its end is not probed.
    pub apis: Vec<bool>,
}

/// The list of `fleet` for one vantage: the endpoints, then the providers' APIs, called `api/PROVIDER` as no endpoint can be.
/// `servers` are gossip addresses besides those of the fleet's vantages.
#[must_use]
pub fn handout(fleet: &Fleet, mine: &Assignment, servers: &[String]) -> TargetList {
    let references = fleet.references.iter().map(|r| ReferenceHost {
        name: r.name.to_string(),
        address: r.address.clone(),
        network: r.network.to_string(),
    });
    let peers = fleet.vantages.iter().map(|v| v.gossip.clone()).chain(servers.iter().cloned());
    let is = |of: &[bool], at: usize| of.get(at).copied().unwrap_or(false);
    let endpoints = fleet.endpoints.iter().map(|e| {
        let (check, assigned) = (&fleet.services[e.service.at()].check, is(&mine.regions, e.region.at()));
        target(e.name.to_string(), (&e.host, e.port), check, assigned)
    });
    let apis = fleet.apis.iter().enumerate().map(|(i, ProviderApi { provider, host, port, check })| {
        let name = format!("api/{}", fleet.providers[provider.at()].name);
        target(name, (host, *port), check, is(&mine.apis, i))
    });
    TargetList {
        format: FORMAT,
        revision: fleet.revision.0.to_vec(),
        targets: endpoints.chain(apis).collect(),
        references: references.collect(),
        peers: peers.collect(),
    }
}

fn target(name: String, (host, port): (&str, u16), check: &tidegate_domain::Check, assigned: bool) -> Target {
    let to_send = |stated: &Option<String>| stated.clone().unwrap_or_else(|| host.to_owned());
    let kind = match &check.kind {
        CheckKind::Tcp => check::Kind::Tcp(TcpCheck {}),
        CheckKind::Http { path, tls, host } => {
            check::Kind::Http(HttpCheck { path: path.clone(), tls: *tls, host: to_send(host) })
        }
        CheckKind::Grpc { service, tls, host } => {
            check::Kind::Grpc(GrpcCheck { service: service.clone(), tls: *tls, host: to_send(host) })
        }
    };
    let ms = |m: Millis| u32::try_from(m.0).unwrap_or(u32::MAX);
    Target {
        endpoint: name,
        host: host.to_owned(),
        port: u32::from(port),
        check: Some(Check {
            kind: Some(kind),
            interval_ms: ms(check.interval),
            timeout_ms: ms(check.timeout),
            unhealthy_after: u32::from(check.unhealthy_after),
            healthy_after: u32::from(check.healthy_after),
        }),
        assigned,
    }
}
