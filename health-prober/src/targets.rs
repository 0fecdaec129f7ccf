//! The list of targets in a file and in the state folder.
//!
//! Owns the files' forms; the list's own checks are `tidegate_prober::List`'s. Refuses a kept copy that does not
//! match its hash.

use prost::Message;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tidegate_prober::{List, ListError, peers_left_out};
use tidegate_proto::v1;

/// Why a file gave no list. The list in use stays in use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    List(#[from] ListError),
    #[error("{0} does not match its hash: it was cut or changed")]
    Hash(PathBuf),
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    #[error("not a target list: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a target list: {0}")]
    Proto(#[from] prost::DecodeError),
    #[error("`revision` is not 64 hexadecimal digits; leave it out, and the file's own hash is taken")]
    Revision,
}

/// Checks a list, and says which peers it has to leave out.
pub(crate) fn checked(wire: &v1::TargetList) -> Result<List, ListError> {
    let list = List::try_from(wire)?;
    for peer in peers_left_out(wire) {
        tracing::warn!(%peer, "peer is no ip:port, left out");
    }
    Ok(list)
}

/// The kept copy: SHA-256 of the rest, then the list as protobuf.
fn kept(folder: &Path) -> PathBuf {
    folder.join("targets.bin")
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> FileError + '_ {
    |error| FileError::Io(path.to_owned(), error)
}

/// Writes `bytes` so that the file holds either the old or the new content, whatever happens.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_as(path, bytes, 0o666)
}

/// As [`write_atomically`], a file of this mode at any time.
pub(crate) fn write_as(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    // One that was left there has whatever mode it has.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// Keeps a list for the next start.
pub(crate) fn keep(folder: &Path, wire: &v1::TargetList) -> Result<(), FileError> {
    let path = kept(folder);
    write_atomically(&path, &to_keep(&wire.encode_to_vec())).map_err(io(&path))
}

/// The kept form of an encoded list.
pub(crate) fn to_keep(body: &[u8]) -> Vec<u8> {
    [digest(&SHA256, body).as_ref(), body].concat()
}

/// The list that was kept; none if there is none.
pub(crate) fn recall(folder: &Path) -> Result<Option<List>, FileError> {
    let path = kept(folder);
    if !path.exists() {
        return Ok(None);
    }
    from_kept(&path, &std::fs::read(&path).map_err(io(&path))?).map(Some)
}

pub(crate) fn from_kept(path: &Path, bytes: &[u8]) -> Result<List, FileError> {
    let (hash, body) = bytes.split_at_checked(32).ok_or_else(|| FileError::Hash(path.to_owned()))?;
    if digest(&SHA256, body).as_ref() != hash {
        return Err(FileError::Hash(path.to_owned()));
    }
    Ok(checked(&v1::TargetList::decode(body)?)?)
}

/// Reads a list from a file: JSON when it ends in `.json`, else the kept form.
pub(crate) fn read(path: &Path) -> Result<List, FileError> {
    let bytes = std::fs::read(path).map_err(io(path))?;
    if path.extension().is_some_and(|end| end == "json") { from_json(&bytes) } else { from_kept(path, &bytes) }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    if text.len() != 64 { None } else { text.as_bytes().chunks_exact(2).map(byte).collect() }
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
    Grpc {
        #[serde(default)]
        service: String,
        #[serde(default)]
        tls: bool,
        #[serde(default)]
        host: String,
    },
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

pub(crate) fn from_json(bytes: &[u8]) -> Result<List, FileError> {
    let json: JsonList = serde_json::from_slice(bytes)?;
    let revision = match &json.revision {
        None => digest(&SHA256, bytes).as_ref().to_vec(),
        Some(text) => unhex(text).ok_or(FileError::Revision)?,
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
                JsonKind::Grpc { service, tls, host } => v1::check::Kind::Grpc(v1::GrpcCheck { service, tls, host }),
            }),
            interval_ms: t.check.interval_ms,
            timeout_ms: t.check.timeout_ms,
            unhealthy_after: t.check.unhealthy_after,
            healthy_after: t.check.healthy_after,
        }),
    };
    let reference = |r: JsonReference| v1::ReferenceHost { name: r.name, address: r.address, network: r.network };
    Ok(checked(&v1::TargetList {
        format: json.format,
        revision,
        targets: json.targets.into_iter().map(target).collect(),
        references: json.references.into_iter().map(reference).collect(),
        peers: json.peers,
    })?)
}
