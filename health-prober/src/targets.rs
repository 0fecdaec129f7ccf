//! The list of targets: from the wire, from a file, and in the state folder.
//!
//! Owns the checks at the border and the files' forms. Refuses lists of another format, with values out of
//! bounds, or whose kept copy does not match its hash.

use prost::Message;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tidegate_domain::{Check, CheckKind, Millis, Revision};
use tidegate_proto::v1;

/// What one report can speak of.
const TARGETS_MAX: usize = Check::TARGETS_MAX;

/// A checked list. The position of a target is its index in reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) revision: Revision,
    pub(crate) targets: Vec<Target>,
    pub(crate) references: Vec<Reference>,
    pub(crate) peers: Vec<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) check: Check,
    pub(crate) assigned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) network: String,
}

/// Why a list was refused. The list in use stays in use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error("the list has format {0}, this program reads 1")]
    Format(u32),
    #[error("the list's revision has {0} bytes instead of 32")]
    Revision(usize),
    #[error("the list has {0} targets, over the limit of {TARGETS_MAX}")]
    TooMany(usize),
    #[error("target `{0}`: {1}")]
    Target(String, &'static str),
    #[error("reference `{0}`: `{1}` is not `host:port`")]
    Reference(String, String),
    #[error("{0} does not match its hash: it was cut or changed")]
    Hash(PathBuf),
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    #[error("not a target list: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a target list: {0}")]
    Proto(#[from] prost::DecodeError),
}

impl TryFrom<&v1::TargetList> for List {
    type Error = ListError;
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
        let peers = wire.peers.iter().filter_map(|peer| {
            let parsed = peer.parse();
            if parsed.is_err() {
                tracing::warn!(%peer, "peer is no ip:port, left out");
            }
            parsed.ok()
        });
        Ok(Self { revision, targets, references, peers: peers.collect() })
    }
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
    if wire.host.is_empty() {
        return Err(bad("no host"));
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
    Ok(Reference { host, port: port.parse().map_err(|_| bad())?, network: wire.network.clone() })
}

/// The kept copy: SHA-256 of the rest, then the list as protobuf.
fn kept(folder: &Path) -> PathBuf {
    folder.join("targets.bin")
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> ListError + '_ {
    |error| ListError::Io(path.to_owned(), error)
}

/// Writes `bytes` so that the file holds either the old or the new content, whatever happens.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// Keeps a list for the next start.
pub(crate) fn keep(folder: &Path, wire: &v1::TargetList) -> Result<(), ListError> {
    let body = wire.encode_to_vec();
    let mut bytes = digest(&SHA256, &body).as_ref().to_vec();
    bytes.extend_from_slice(&body);
    let path = kept(folder);
    write_atomically(&path, &bytes).map_err(io(&path))
}

/// The list that was kept; none if there is none.
pub(crate) fn recall(folder: &Path) -> Result<Option<List>, ListError> {
    let path = kept(folder);
    if !path.exists() {
        return Ok(None);
    }
    from_kept(&path, &std::fs::read(&path).map_err(io(&path))?).map(Some)
}

fn from_kept(path: &Path, bytes: &[u8]) -> Result<List, ListError> {
    let (hash, body) = bytes.split_at_checked(32).ok_or_else(|| ListError::Hash(path.to_owned()))?;
    if digest(&SHA256, body).as_ref() != hash {
        return Err(ListError::Hash(path.to_owned()));
    }
    List::try_from(&v1::TargetList::decode(body)?)
}

/// Reads a list from a file: JSON when it ends in `.json`, else the kept form.
pub(crate) fn read(path: &Path) -> Result<List, ListError> {
    let bytes = std::fs::read(path).map_err(io(path))?;
    if path.extension().is_some_and(|end| end == "json") { from_json(&bytes) } else { from_kept(path, &bytes) }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonList {
    format: u32,
    /// 64 hexadecimal digits; left out: the hash of the file.
    revision: Option<String>,
    targets: Vec<JsonTarget>,
    #[serde(default)]
    references: Vec<JsonReference>,
    #[serde(default)]
    peers: Vec<String>,
}
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonTarget {
    endpoint: String,
    host: String,
    port: u16,
    check: JsonCheck,
    #[serde(default = "yes")]
    assigned: bool,
}
fn yes() -> bool {
    true
}
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonCheck {
    kind: JsonKind,
    interval_ms: u32,
    timeout_ms: u32,
    unhealthy_after: u32,
    healthy_after: u32,
}
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum JsonKind {
    Tcp {},
    Http {
        path: String,
        #[serde(default)]
        tls: bool,
        #[serde(default)]
        host: String,
    },
}
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonReference {
    name: String,
    address: String,
    network: String,
}

pub(crate) fn from_json(bytes: &[u8]) -> Result<List, ListError> {
    let json: JsonList = serde_json::from_slice(bytes)?;
    let revision = match &json.revision {
        None => digest(&SHA256, bytes).as_ref().to_vec(),
        Some(text) => {
            let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            let byte = |pair: Option<&str>| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            pairs.map(byte).collect::<Option<Vec<u8>>>().unwrap_or_default()
        }
    };
    let target = |t: JsonTarget| v1::Target {
        endpoint: t.endpoint,
        host: t.host,
        port: u32::from(t.port),
        assigned: t.assigned,
        check: Some(v1::Check {
            kind: Some(match t.check.kind {
                JsonKind::Tcp {} => v1::check::Kind::Tcp(v1::TcpCheck {}),
                JsonKind::Http { path, tls, host } => v1::check::Kind::Http(v1::HttpCheck { path, tls, host }),
            }),
            interval_ms: t.check.interval_ms,
            timeout_ms: t.check.timeout_ms,
            unhealthy_after: t.check.unhealthy_after,
            healthy_after: t.check.healthy_after,
        }),
    };
    let reference = |r: JsonReference| v1::ReferenceHost { name: r.name, address: r.address, network: r.network };
    List::try_from(&v1::TargetList {
        format: json.format,
        revision,
        targets: json.targets.into_iter().map(target).collect(),
        references: json.references.into_iter().map(reference).collect(),
        peers: json.peers,
    })
}
