//! The last known good state on disk.
//!
//! Owns the file: a magic line, the SHA-256 of the body in hex, the body. Written to another name, synced, renamed.
//! Refuses a file whose hash, format, node's group or content is not what it should be; such a file is moved aside so
//! that somebody can look at it, and the edge starts empty.

use bytes::Bytes;
use prost::Message;
use ring::digest::{SHA256, digest};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use crate::metrics::Metrics;

const MAGIC: &[u8] = b"tidegate-edge-state/1\n";
const FILE: &str = "last-known-good";

/// One resource as it was sent.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct SavedResource {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) value: Bytes,
}

/// A whole state.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Saved {
    /// Client group that it was told to. Another group's state would be another law.
    #[prost(string, tag = "1")]
    pub(crate) group: String,
    #[prost(uint64, tag = "2")]
    pub(crate) wall_ms: u64,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) generation: Option<u64>,
    #[prost(string, tag = "4")]
    pub(crate) server: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) resources: Vec<SavedResource>,
}

impl Saved {
    pub(crate) fn good_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.wall_ms)
    }
}

/// Why the state on disk is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("does not begin like a state of this version")]
    Format,
    #[error("is damaged: its content does not have the hash that it states")]
    Hash,
    #[error("cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("belongs to client group `{found}`, not to `{wanted}`")]
    Group { found: String, wanted: String },
}

fn hash(body: &[u8]) -> String {
    digest(&SHA256, body).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn encode(state: &Saved) -> Vec<u8> {
    let body = state.encode_to_vec();
    let mut all = Vec::with_capacity(body.len() + 96);
    all.extend_from_slice(MAGIC);
    all.extend_from_slice(hash(&body).as_bytes());
    all.push(b'\n');
    all.extend_from_slice(&body);
    all
}

pub(crate) fn decode(all: &[u8], group: &str) -> Result<Saved, LoadError> {
    let rest = all.strip_prefix(MAGIC).ok_or(LoadError::Format)?;
    if rest.len() < 65 || rest[64] != b'\n' {
        return Err(LoadError::Format);
    }
    let (stated, body) = (&rest[..64], &rest[65..]);
    if hash(body).as_bytes() != stated {
        return Err(LoadError::Hash);
    }
    let saved = Saved::decode(body)?;
    if saved.group != group {
        return Err(LoadError::Group { found: saved.group, wanted: group.to_owned() });
    }
    Ok(saved)
}

/// Reads the state of `group`, if there is one.
pub(crate) fn load(directory: &Path, group: &str) -> Result<Option<Saved>, LoadError> {
    match fs::read(directory.join(FILE)) {
        Ok(all) => decode(&all, group).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Moves a file that cannot be used out of the way. Where it went.
pub(crate) fn set_aside(directory: &Path) -> std::io::Result<PathBuf> {
    let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let aside = directory.join(format!("{FILE}.refused-{stamp}"));
    fs::rename(directory.join(FILE), &aside)?;
    Ok(aside)
}

/// Replaces the state; old or new is there at any time, also after a crash.
pub(crate) fn store(directory: &Path, state: &Saved) -> std::io::Result<()> {
    let temporary = directory.join(format!("{FILE}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(&encode(state))?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, directory.join(FILE))?;
    File::open(directory)?.sync_all()
}

#[derive(Debug, Default)]
struct Desk {
    next: Option<Saved>,
    closed: bool,
}

/// Writes on a thread of its own. When states come faster than the disk takes them, the newest wins.
#[derive(Debug)]
pub(crate) struct Writer {
    desk: Arc<(Mutex<Desk>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(directory: PathBuf, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let desk: Arc<(Mutex<Desk>, Condvar)> = Arc::default();
        let theirs = Arc::clone(&desk);
        let work = move || {
            while let Some(state) = next(&theirs) {
                match store(&directory, &state) {
                    Ok(()) => metrics.lkg_written.set(i64::try_from(state.wall_ms / 1000).unwrap_or(i64::MAX)),
                    Err(error) => {
                        metrics.lkg_errors.inc();
                        tracing::error!(%error, directory = %directory.display(), "the state could not be kept on disk");
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("state-writer".into()).spawn(work)?;
        Ok(Self { desk, thread: Some(thread) })
    }

    pub(crate) fn write(&self, state: Saved) {
        let (desk, bell) = &*self.desk;
        desk.lock().unwrap_or_else(PoisonError::into_inner).next = Some(state);
        bell.notify_one();
    }
}

impl Drop for Writer {
    /// What is on the desk is still written.
    fn drop(&mut self) {
        let (desk, bell) = &*self.desk;
        desk.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        bell.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn next(desk: &(Mutex<Desk>, Condvar)) -> Option<Saved> {
    let (desk, bell) = desk;
    let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(state) = desk.next.take() {
            return Some(state);
        }
        if desk.closed {
            return None;
        }
        desk = bell.wait(desk).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Saved {
        let resource = |name: &str| SavedResource {
            type_url: "type".into(),
            name: name.into(),
            version: "1".into(),
            value: Bytes::from_static(b"content"),
        };
        Saved {
            group: "edge-de".into(),
            wall_ms: 5,
            generation: Some(7),
            server: "gate-1".into(),
            resources: vec![resource("a"), resource("b")],
        }
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path(), "edge-de").unwrap().is_none());
        store(directory.path(), &state()).unwrap();
        assert_eq!(load(directory.path(), "edge-de").unwrap(), Some(state()));
        let newer = Saved { generation: Some(8), ..state() };
        store(directory.path(), &newer).unwrap();
        assert_eq!(load(directory.path(), "edge-de").unwrap(), Some(newer));
    }

    #[test]
    fn every_damaged_byte_and_every_truncation_is_refused() {
        let whole = encode(&state());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged, "edge-de").is_err(), "byte {at} changed");
            assert!(decode(&whole[..at], "edge-de").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_groups_state_is_refused_and_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        store(directory.path(), &state()).unwrap();
        let error = load(directory.path(), "edge-us").unwrap_err();
        assert_eq!(error.to_string(), "belongs to client group `edge-de`, not to `edge-us`");
        let aside = set_aside(directory.path()).unwrap();
        assert!(aside.exists());
        assert!(load(directory.path(), "edge-us").unwrap().is_none());
    }

    #[test]
    fn the_writer_finishes_what_is_on_its_desk() {
        let directory = tempfile::tempdir().unwrap();
        let writer = Writer::start(directory.path().join("new"), Arc::new(Metrics::new().unwrap())).unwrap();
        for generation in 0..50 {
            writer.write(Saved { generation: Some(generation), ..state() });
        }
        drop(writer);
        let found = load(&directory.path().join("new"), "edge-de").unwrap().unwrap();
        assert_eq!(found.generation, Some(49));
    }
}
