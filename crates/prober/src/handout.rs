//! The list as the servers hand it to one vantage: the other end of [`crate::List`].

use tidegate_domain::{CheckKind, Endpoint, Fleet, Millis};
use tidegate_proto::v1::{Check, GrpcCheck, HttpCheck, ReferenceHost, Target, TargetList, TcpCheck, check};

/// Version of `TargetList`.
const FORMAT: u32 = 1;

/// The list of `fleet` for one vantage. `mine` tells by region whether the vantage probes that region's endpoints
/// (the kernel assigns them); regions beyond its end are not probed. `servers` are gossip addresses besides those of the fleet's vantages.
#[must_use]
pub fn handout(fleet: &Fleet, mine: &[bool], servers: &[String]) -> TargetList {
    let references = fleet.references.iter().map(|r| ReferenceHost {
        name: r.name.to_string(),
        address: r.address.clone(),
        network: r.network.to_string(),
    });
    let peers = fleet.vantages.iter().map(|v| v.gossip.clone()).chain(servers.iter().cloned());
    TargetList {
        format: FORMAT,
        revision: fleet.revision.0.to_vec(),
        targets: fleet.endpoints.iter().map(|endpoint| target(fleet, endpoint, mine)).collect(),
        references: references.collect(),
        peers: peers.collect(),
    }
}

fn target(fleet: &Fleet, endpoint: &Endpoint, mine: &[bool]) -> Target {
    let check = &fleet.services[endpoint.service.at()].check;
    let kind = match &check.kind {
        CheckKind::Tcp => check::Kind::Tcp(TcpCheck {}),
        CheckKind::Http { path, tls, host } => {
            let host = host.clone().unwrap_or_else(|| endpoint.host.clone());
            check::Kind::Http(HttpCheck { path: path.clone(), tls: *tls, host })
        }
        CheckKind::Grpc { service, tls, host } => {
            let host = host.clone().unwrap_or_else(|| endpoint.host.clone());
            check::Kind::Grpc(GrpcCheck { service: service.clone(), tls: *tls, host })
        }
    };
    let ms = |m: Millis| u32::try_from(m.0).unwrap_or(u32::MAX);
    Target {
        endpoint: endpoint.name.to_string(),
        host: endpoint.host.clone(),
        port: u32::from(endpoint.port),
        check: Some(Check {
            kind: Some(kind),
            interval_ms: ms(check.interval),
            timeout_ms: ms(check.timeout),
            unhealthy_after: u32::from(check.unhealthy_after),
            healthy_after: u32::from(check.healthy_after),
        }),
        assigned: mine.get(endpoint.region.at()).copied().unwrap_or(false),
    }
}
