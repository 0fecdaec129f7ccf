//! The model: the same promises in plain maps, without a disk. For tests and simulation, and what `embedded` is
//! compared with. Written apart from it on purpose.

use crate::Clock;
use crate::api::{HealthMode, LeaseId, Op, Store, StoreHealth, Txn, TxnOutcome, Urgency, check_blob};
use crate::error::StoreError;
use crate::watch::{Hub, Watch};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidegate_domain::{Millis, Mono};
use tidegate_record::{Batch, BlobHash, Row};

#[derive(Default)]
struct Inner {
    revision: u64,
    keys: BTreeMap<String, Row>,
    history: Vec<Batch>,
    compacted: u64,
    leases: BTreeMap<u64, (Millis, Mono)>,
    next_lease: u64,
    blobs: BTreeMap<BlobHash, Vec<u8>>,
    hub: Hub,
}

/// A store in memory. Ends with the process.
pub struct Memory {
    inner: Mutex<Inner>,
    clock: Clock,
    history: usize,
}
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// An empty store that keeps the last `history` revisions for watches.
    #[must_use]
    pub fn new(clock: Clock, history: usize) -> Self {
        Self { inner: Mutex::new(Inner::default()), clock, history }
    }
    /// Locks, and first ends the leases that are due.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        let due: Vec<u64> = inner.leases.iter().filter(|(_, (_, end))| *end <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.end_lease(&mut inner, id);
        }
        inner
    }
    fn end_lease(&self, inner: &mut Inner, id: u64) {
        inner.leases.remove(&id);
        let gone: Vec<String> =
            inner.keys.iter().filter(|(_, row)| row.lease == Some(id)).map(|(key, _)| key.clone()).collect();
        self.change(inner, gone.into_iter().map(|key| (key, None)).collect());
    }
    fn change(&self, inner: &mut Inner, changes: Vec<(String, Option<Row>)>) {
        if changes.is_empty() {
            return;
        }
        inner.revision += 1;
        for (key, row) in &changes {
            match row {
                Some(row) => inner.keys.insert(key.clone(), row.clone()),
                None => inner.keys.remove(key),
            };
        }
        let batch = Batch { revision: inner.revision, changes };
        inner.hub.publish(&batch);
        inner.history.push(batch);
        while inner.history.len() > self.history {
            inner.compacted = inner.history.remove(0).revision;
        }
    }
}

impl Store for Memory {
    fn revision(&self) -> Result<u64, StoreError> {
        Ok(self.inner().revision)
    }
    fn get(&self, key: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.inner().keys.get(key).cloned())
    }
    fn range(&self, prefix: &str) -> Result<(u64, Vec<(String, Row)>), StoreError> {
        let inner = self.inner();
        let hits = inner.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok((inner.revision, hits.map(|(key, row)| (key.clone(), row.clone())).collect()))
    }
    fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        txn.check()?;
        let mut inner = self.inner();
        if !txn.compares.iter().all(|c| c.condition.holds(inner.keys.get(&c.key))) {
            return Ok(TxnOutcome { revision: inner.revision, succeeded: false });
        }
        let next = inner.revision + 1;
        let mut changes = Vec::new();
        for op in txn.ops {
            match op {
                Op::Put { key, value, lease } => {
                    let lease = lease.map(|l| l.0);
                    if let Some(lease) = lease.filter(|l| !inner.leases.contains_key(l)) {
                        return Err(StoreError::NoLease { lease });
                    }
                    let old = inner.keys.get(&key);
                    let created = old.map_or(next, |r| r.created);
                    let version = old.map_or(1, |r| r.version + 1);
                    changes.push((key, Some(Row { value, created, modified: next, version, lease })));
                }
                Op::Delete { key } if inner.keys.contains_key(&key) => changes.push((key, None)),
                Op::Delete { .. } => {}
            }
        }
        self.change(&mut inner, changes);
        Ok(TxnOutcome { revision: inner.revision, succeeded: true })
    }
    fn watch(&self, prefix: &str, from: u64) -> Result<Watch, StoreError> {
        let mut inner = self.inner();
        let from = from.max(1);
        if from <= inner.compacted {
            return Err(StoreError::Compacted { oldest: inner.compacted + 1 });
        }
        let Inner { hub, history, .. } = &mut *inner;
        Ok(hub.add(prefix, from, history))
    }
    fn grant(&self, ttl: Millis) -> Result<LeaseId, StoreError> {
        let now = (self.clock)();
        let mut inner = self.inner();
        inner.next_lease += 1;
        let id = inner.next_lease;
        inner.leases.insert(id, (ttl, now + ttl));
        Ok(LeaseId(id))
    }
    fn keep_alive(&self, lease: LeaseId) -> Result<Millis, StoreError> {
        let now = (self.clock)();
        let mut inner = self.inner();
        let (ttl, end) = inner.leases.get_mut(&lease.0).ok_or(StoreError::NoLease { lease: lease.0 })?;
        *end = now + *ttl;
        Ok(*ttl)
    }
    fn revoke(&self, lease: LeaseId) -> Result<u64, StoreError> {
        let mut inner = self.inner();
        if !inner.leases.contains_key(&lease.0) {
            return Err(StoreError::NoLease { lease: lease.0 });
        }
        self.end_lease(&mut inner, lease.0);
        Ok(inner.revision)
    }
    fn put_blob(&self, bytes: &[u8], _urgency: Urgency) -> Result<BlobHash, StoreError> {
        check_blob(bytes)?;
        let hash = BlobHash::of(bytes);
        self.inner().blobs.insert(hash, bytes.to_vec());
        Ok(hash)
    }
    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.inner().blobs.get(&hash).cloned())
    }
    fn remove_blobs(&self, hashes: &[BlobHash]) -> Result<u64, StoreError> {
        let mut inner = self.inner();
        Ok(hashes.iter().filter(|hash| inner.blobs.remove(hash).is_some()).count() as u64)
    }
    fn health(&self) -> StoreHealth {
        let inner = self.inner();
        StoreHealth {
            mode: HealthMode::Good,
            file_bytes: 0,
            reserve_bytes: 0,
            reserve_wanted: 0,
            leases: inner.leases.len() as u64,
            watches: inner.hub.len(),
            last_error: None,
        }
    }
}
