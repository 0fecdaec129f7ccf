//! The list of targets as a prober takes it from the wire.
//!
//! Owns the checks at the border. Refuses lists of another format or with values out of bounds, whole.

use std::net::SocketAddr;
use tidegate_domain::{Check, CheckKind, Millis, Revision};
use tidegate_proto::v1;

/// What one report can speak of.
const TARGETS_MAX: usize = Check::TARGETS_MAX;

/// A checked list. The position of a target is its index in reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Of the fleet that the list was made from.
    pub revision: Revision,
    /// In index order; those of other vantages stand here too.
    pub targets: Vec<Target>,
    /// Hosts outside the fleet, by which the vantage knows that it is connected.
    pub references: Vec<Reference>,
    /// Gossip addresses of the fleet's members.
    pub peers: Vec<SocketAddr>,
}

/// One endpoint to be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The endpoint's name.
    pub endpoint: String,
    /// IP address or host name.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
    /// How, within the bounds of [`Check`].
    pub check: Check,
    /// Whether this vantage probes it.
    pub assigned: bool,
}

/// A host outside the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// IP address or host name.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Two references count as independent when these differ.
    pub network: String,
}

/// Why a list was refused. The list in use stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Another version of the message.
    #[error("the list has format {0}, this program reads 1")]
    Format(u32),
    /// No hash.
    #[error("the list's revision has {0} bytes instead of 32")]
    Revision(usize),
    /// Over the limit.
    #[error("the list has {0} targets, over the limit of {TARGETS_MAX}")]
    TooMany(usize),
    /// A target by name, and what is wrong with it.
    #[error("target `{0}`: {1}")]
    Target(String, &'static str),
    /// A reference by name, and its address.
    #[error("reference `{0}`: `{1}` is not `host:port`")]
    Reference(String, String),
}

impl TryFrom<&v1::TargetList> for List {
    type Error = ListError;
    /// Checks the whole list. Peers that are no `ip:port` are left out: see [`peers_left_out`].
    fn try_from(wire: &v1::TargetList) -> Result<Self, ListError> {
        if wire.format != 1 {
            return Err(ListError::Format(wire.format));
        }
        if wire.targets.len() > TARGETS_MAX {
            return Err(ListError::TooMany(wire.targets.len()));
        }
        let revision = wire.revision.as_slice().try_into();
        let revision = Revision(revision.map_err(|_| ListError::Revision(wire.revision.len()))?);
        let targets = wire.targets.iter().map(target).collect::<Result<_, _>>()?;
        let references = wire.references.iter().map(reference).collect::<Result<_, _>>()?;
        let peers = wire.peers.iter().filter_map(|peer| peer.parse().ok()).collect();
        Ok(Self { revision, targets, references, peers })
    }
}

/// The peers of `wire` that a [`List`] does not hold, for they are no `ip:port`: worth a word in a log.
pub fn peers_left_out(wire: &v1::TargetList) -> impl Iterator<Item = &str> {
    wire.peers.iter().map(String::as_str).filter(|peer| peer.parse::<SocketAddr>().is_err())
}

fn target(wire: &v1::Target) -> Result<Target, ListError> {
    let bad = |why| ListError::Target(wire.endpoint.clone(), why);
    let check = wire.check.as_ref().ok_or_else(|| bad("no check"))?;
    let kind = match check.kind.as_ref().ok_or_else(|| bad("no kind of check that this program knows"))? {
        v1::check::Kind::Tcp(v1::TcpCheck {}) => CheckKind::Tcp,
        v1::check::Kind::Http(v1::HttpCheck { path, tls, host }) => {
            if !path.starts_with('/') || !Check::is_sendable(path) || !Check::is_sendable(host) {
                return Err(bad("path must start with `/`; path and host hold no spaces or control characters"));
            }
            let host = Some(host.clone()).filter(|host| !host.is_empty());
            CheckKind::Http { path: path.clone(), tls: *tls, host }
        }
        v1::check::Kind::Grpc(v1::GrpcCheck { service, tls, host }) => {
            if !Check::is_sendable(service) || !Check::is_sendable(host) {
                return Err(bad("gRPC service and host hold no spaces or control characters"));
            }
            let host = Some(host.clone()).filter(|host| !host.is_empty());
            CheckKind::Grpc { service: service.clone(), tls: *tls, host }
        }
    };
    let (interval, timeout) = (Millis(u64::from(check.interval_ms)), Millis(u64::from(check.timeout_ms)));
    if !(Check::INTERVAL_MIN..=Check::INTERVAL_MAX).contains(&interval) {
        return Err(bad("interval must lie between 50 ms and 10 min"));
    }
    if !(Check::TIMEOUT_MIN..=Check::TIMEOUT_MAX).contains(&timeout) {
        return Err(bad("time-out must lie between 10 ms and 60 s"));
    }
    let streak = |n: u32| u8::try_from(n.max(1)).map_err(|_| bad("streaks must lie between 1 and 255"));
    let port = u16::try_from(wire.port).ok().filter(|port| *port != 0).ok_or_else(|| bad("bad port"))?;
    if wire.host.is_empty() || !Check::is_sendable(&wire.host) {
        return Err(bad("a host holds no spaces or control characters, and is not empty"));
    }
    Ok(Target {
        endpoint: wire.endpoint.clone(),
        host: wire.host.clone(),
        port,
        check: Check {
            kind,
            interval,
            timeout,
            unhealthy_after: streak(check.unhealthy_after)?,
            healthy_after: streak(check.healthy_after)?,
        },
        assigned: wire.assigned,
    })
}

fn reference(wire: &v1::ReferenceHost) -> Result<Reference, ListError> {
    let bad = || ListError::Reference(wire.name.clone(), wire.address.clone());
    let (host, port) = wire.address.rsplit_once(':').ok_or_else(bad)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() {
        return Err(bad());
    }
    Ok(Reference { host, port: port.parse().map_err(|_| bad())?, network: wire.network.clone() })
}
