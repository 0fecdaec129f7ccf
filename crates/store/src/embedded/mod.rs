//! The store of one machine: redb on a thread of its own, a reserve beside it for the day the disk is full.

mod medium;
mod owner;
mod tables;

pub use medium::{Backend, Medium};

use crate::Clock;
use crate::api::{HealthMode, LeaseId, Store, StoreHealth, Txn, TxnOutcome, Urgency, check_blob};
use crate::error::{Changed, StoreError};
use crate::watch::Watch;
use medium::Files;
use owner::Owner;
use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tidegate_domain::Millis;
use tidegate_record::{BlobHash, Row};

/// Requests that may wait for the store's thread; more wait at their callers.
const REQUESTS: usize = 256;
/// How often the thread looks at leases and at a bad disk without being asked.
const TICK: Duration = Duration::from_millis(100);

/// Sizes of an embedded store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes set aside for safety moves on a full disk.
    pub reserve_bytes: u64,
    /// Revisions kept for watches.
    pub history_revisions: u64,
    /// Bytes of history kept for watches.
    pub history_bytes: u64,
    /// Bytes of redb's page cache.
    pub cache_bytes: usize,
}
impl Default for Options {
    fn default() -> Self {
        Self {
            reserve_bytes: 16 * 1024 * 1024,
            history_revisions: 4096,
            history_bytes: 16 * 1024 * 1024,
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}
impl Options {
    fn builder(&self) -> redb::Builder {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(self.cache_bytes);
        builder
    }
}

type Request = Box<dyn FnOnce(&mut Owner) + Send>;

/// A store in one directory. Dropping it waits for the thread to close the file.
pub struct Embedded {
    requests: Option<SyncSender<Request>>,
    health: Arc<Mutex<StoreHealth>>,
    thread: Option<JoinHandle<()>>,
}
impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the store in `dir`, or makes an empty one where there has never been any.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it, [`StoreError::Corrupt`] when it is not whole,
    /// [`StoreError::Newer`] when a newer build wrote it, [`StoreError::Full`] when even the reserve does not suffice.
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<Self, StoreError> {
        Self::open_on(Box::new(Files::lock(dir)?), options, clock)
    }

    /// Opens the store on another medium than files: for tests of what a disk may do.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_on(medium: Box<dyn Medium>, options: Options, clock: Clock) -> Result<Self, StoreError> {
        let health = Arc::new(Mutex::new(StoreHealth {
            mode: HealthMode::Down,
            file_bytes: 0,
            reserve_bytes: 0,
            reserve_wanted: options.reserve_bytes,
            leases: 0,
            watches: 0,
            last_error: None,
        }));
        let (requests, queue) = sync_channel::<Request>(REQUESTS);
        let (opened, answer) = sync_channel(1);
        let shared = Arc::clone(&health);
        let body = move || match Owner::open(medium, options, clock, shared) {
            Ok(owner) => {
                let _ = opened.send(Ok(()));
                serve(owner, &queue);
            }
            Err(e) => {
                let _ = opened.send(Err(e));
            }
        };
        let spawned = std::thread::Builder::new().name("tidegate-store".to_owned()).spawn(body);
        let thread = spawned.map_err(|e| StoreError::Unavailable { why: e.to_string(), changed: Changed::No })?;
        match answer.recv() {
            Ok(Ok(())) => Ok(Self { requests: Some(requests), health, thread: Some(thread) }),
            Ok(Err(e)) => {
                // The thread lets go of the lock before it ends.
                let _ = thread.join();
                Err(e)
            }
            Err(_) => Err(gone(Changed::No)),
        }
    }

    fn ask<T, F>(&self, request: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Owner) -> Result<T, StoreError> + Send + 'static,
    {
        let (send, answer) = sync_channel(1);
        let work: Request = Box::new(move |owner| {
            let answer = request(owner);
            // Before the answer: who asks for the health next sees what this request found.
            owner.report();
            let _ = send.send(answer);
        });
        let requests = self.requests.as_ref().ok_or_else(|| gone(Changed::No))?;
        requests.send(work).map_err(|_| gone(Changed::No))?;
        answer.recv().unwrap_or_else(|_| Err(gone(Changed::Perhaps)))
    }
}

fn gone(changed: Changed) -> StoreError {
    StoreError::Unavailable { why: "the store's thread has ended".to_owned(), changed }
}

fn serve(mut owner: Owner, queue: &Receiver<Request>) {
    loop {
        let request = match queue.recv_timeout(TICK) {
            Ok(request) => Some(request),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        owner.tick();
        match request {
            Some(request) => request(&mut owner),
            None => owner.report(),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Store for Embedded {
    fn revision(&self) -> Result<u64, StoreError> {
        self.ask(Owner::revision)
    }
    fn get(&self, key: &str) -> Result<Option<Row>, StoreError> {
        let key = key.to_owned();
        self.ask(move |owner| owner.read(|txn| tables::get(txn, &key)))
    }
    fn range(&self, prefix: &str) -> Result<(u64, Vec<(String, Row)>), StoreError> {
        let prefix = prefix.to_owned();
        self.ask(move |owner| owner.range(&prefix))
    }
    fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        self.ask(move |owner| owner.txn(&txn))
    }
    fn watch(&self, prefix: &str, from: u64) -> Result<Watch, StoreError> {
        let prefix = prefix.to_owned();
        self.ask(move |owner| owner.watch(&prefix, from))
    }
    fn grant(&self, ttl: Millis) -> Result<LeaseId, StoreError> {
        self.ask(move |owner| owner.grant(ttl))
    }
    fn keep_alive(&self, lease: LeaseId) -> Result<Millis, StoreError> {
        self.ask(move |owner| owner.keep_alive(lease))
    }
    fn revoke(&self, lease: LeaseId) -> Result<u64, StoreError> {
        self.ask(move |owner| owner.revoke(lease))
    }
    fn put_blob(&self, bytes: &[u8], urgency: Urgency) -> Result<BlobHash, StoreError> {
        check_blob(bytes)?;
        let (hash, bytes) = (BlobHash::of(bytes), bytes.to_vec());
        self.ask(move |owner| owner.put_blob(hash, &bytes, urgency)).map(|()| hash)
    }
    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(move |owner| owner.get_blob(hash))
    }
    fn remove_blobs(&self, hashes: &[BlobHash]) -> Result<u64, StoreError> {
        let hashes = hashes.to_vec();
        self.ask(move |owner| owner.remove_blobs(&hashes))
    }
    fn health(&self) -> StoreHealth {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
