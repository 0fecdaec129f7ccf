//! The tables and what one transaction does to them.

use crate::api::{LeaseId, Op, Txn, TxnOutcome};
use crate::error::StoreError;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tidegate_domain::Millis;
use tidegate_record::{
    Batch, BlobHash, LeaseRow, RecordError, Row, decode_batch, decode_lease, decode_row, encode_batch, encode_lease,
    encode_row,
};

/// The format of these tables, behind redb's own.
pub(crate) const FORMAT: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
const HISTORY: TableDefinition<u64, &[u8]> = TableDefinition::new("history");
const LEASES: TableDefinition<u64, &[u8]> = TableDefinition::new("leases");
const LEASE_KEYS: TableDefinition<(u64, &str), ()> = TableDefinition::new("lease_keys");
const BLOBS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("blobs");

/// How much history is kept for watches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HistoryLimits {
    pub(crate) revisions: u64,
    pub(crate) bytes: u64,
}

/// What stopped a step on the tables.
#[derive(Debug)]
pub(crate) enum Fail {
    Disk(redb::Error),
    Record(RecordError),
    Refused(StoreError),
}
impl From<RecordError> for Fail {
    fn from(e: RecordError) -> Self {
        Self::Record(e)
    }
}
impl From<StoreError> for Fail {
    fn from(e: StoreError) -> Self {
        Self::Refused(e)
    }
}
macro_rules! disk {
    ($($error:ty),*) => {$(
        impl From<$error> for Fail {
            fn from(e: $error) -> Self {
                Self::Disk(e.into())
            }
        }
    )*};
}
disk!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::DatabaseError);
type Step<T> = Result<T, Fail>;

/// Makes every table, so that readers find them, and sets the format.
pub(crate) fn create(txn: &WriteTransaction) -> Step<()> {
    txn.open_table(KEYS)?;
    txn.open_table(HISTORY)?;
    txn.open_table(LEASES)?;
    txn.open_table(LEASE_KEYS)?;
    txn.open_table(BLOBS)?;
    let mut meta = txn.open_table(META)?;
    for (key, value) in [("format", FORMAT), ("revision", 0), ("serial", 0), ("compacted", 0), ("lease", 0)] {
        meta.insert(key, value)?;
    }
    Ok(())
}

pub(crate) fn meta(txn: &ReadTransaction, key: &str) -> Step<Option<u64>> {
    Ok(txn.open_table(META)?.get(key)?.map(|v| v.value()))
}
fn meta_of(txn: &WriteTransaction, key: &str) -> Step<u64> {
    Ok(txn.open_table(META)?.get(key)?.map_or(0, |v| v.value()))
}
fn set_meta(txn: &WriteTransaction, key: &str, value: u64) -> Step<()> {
    txn.open_table(META)?.insert(key, value)?;
    Ok(())
}
/// Counts write transactions of every kind: after a failed commit it tells whether that commit took effect.
pub(crate) fn count(txn: &WriteTransaction) -> Step<u64> {
    let serial = meta_of(txn, "serial")? + 1;
    set_meta(txn, "serial", serial)?;
    Ok(serial)
}

pub(crate) fn get(txn: &ReadTransaction, key: &str) -> Step<Option<Row>> {
    let bytes = txn.open_table(KEYS)?.get(key)?.map(|v| v.value().to_vec());
    Ok(bytes.map(|b| decode_row(&b)).transpose()?)
}

pub(crate) fn range(txn: &ReadTransaction, prefix: &str) -> Step<Vec<(String, Row)>> {
    let keys = txn.open_table(KEYS)?;
    let mut hits = Vec::new();
    for entry in keys.range(prefix..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        hits.push((key.value().to_owned(), decode_row(value.value())?));
    }
    Ok(hits)
}

pub(crate) fn history(txn: &ReadTransaction, from: u64) -> Step<Vec<Batch>> {
    let mut batches = Vec::new();
    for entry in txn.open_table(HISTORY)?.range(from..)? {
        batches.push(decode_batch(entry?.1.value())?);
    }
    Ok(batches)
}

pub(crate) fn leases(txn: &ReadTransaction) -> Step<Vec<LeaseRow>> {
    let mut leases = Vec::new();
    for entry in txn.open_table(LEASES)?.range(0..)? {
        leases.push(decode_lease(entry?.1.value())?);
    }
    Ok(leases)
}

pub(crate) fn get_blob(txn: &ReadTransaction, hash: BlobHash) -> Step<Option<Vec<u8>>> {
    Ok(txn.open_table(BLOBS)?.get(hash.0.as_slice())?.map(|v| v.value().to_vec()))
}
pub(crate) fn put_blob(txn: &WriteTransaction, hash: BlobHash, bytes: &[u8]) -> Step<()> {
    txn.open_table(BLOBS)?.insert(hash.0.as_slice(), bytes)?;
    Ok(())
}
pub(crate) fn remove_blobs(txn: &WriteTransaction, hashes: &[BlobHash]) -> Step<u64> {
    let mut blobs = txn.open_table(BLOBS)?;
    let mut gone = 0;
    for hash in hashes {
        gone += u64::from(blobs.remove(hash.0.as_slice())?.is_some());
    }
    Ok(gone)
}

pub(crate) fn grant(txn: &WriteTransaction, ttl: Millis) -> Step<LeaseId> {
    let id = meta_of(txn, "lease")? + 1;
    set_meta(txn, "lease", id)?;
    txn.open_table(LEASES)?.insert(id, encode_lease(&LeaseRow { id, ttl }).as_slice())?;
    Ok(LeaseId(id))
}

/// Ends a lease and takes its keys away under one revision.
pub(crate) fn end_lease(txn: &WriteTransaction, lease: LeaseId, limits: HistoryLimits) -> Step<(u64, Option<Batch>)> {
    let mut gone = Vec::new();
    for entry in txn.open_table(LEASE_KEYS)?.range((lease.0, "")..)? {
        let (key, _) = entry?;
        let (of, key) = key.value();
        if of != lease.0 {
            break;
        }
        gone.push((key.to_owned(), None));
    }
    if txn.open_table(LEASES)?.remove(lease.0)?.is_none() {
        return Err(StoreError::NoLease { lease: lease.0 }.into());
    }
    write_batch(txn, gone, limits)
}

/// Compares and writes.
pub(crate) fn apply(txn: &WriteTransaction, wish: &Txn, limits: HistoryLimits) -> Step<(TxnOutcome, Option<Batch>)> {
    let revision = meta_of(txn, "revision")?;
    let mut changes = Vec::new();
    {
        let keys = txn.open_table(KEYS)?;
        let row = |key: &str| -> Step<Option<Row>> {
            let bytes = keys.get(key)?.map(|v| v.value().to_vec());
            Ok(bytes.map(|b| decode_row(&b)).transpose()?)
        };
        for compare in &wish.compares {
            if !compare.condition.holds(row(&compare.key)?.as_ref()) {
                return Ok((TxnOutcome { revision, succeeded: false }, None));
            }
        }
        let leases = txn.open_table(LEASES)?;
        for op in &wish.ops {
            let old = row(op.key())?;
            match op {
                Op::Put { key, value, lease } => {
                    let lease = lease.map(|l| l.0);
                    if let Some(lease) = lease
                        && leases.get(lease)?.is_none()
                    {
                        return Err(StoreError::NoLease { lease }.into());
                    }
                    let (created, version) = old.map_or((revision + 1, 1), |r| (r.created, r.version + 1));
                    let row = Row { value: value.clone(), created, modified: revision + 1, version, lease };
                    changes.push((key.clone(), Some(row)));
                }
                Op::Delete { key } if old.is_some() => changes.push((key.clone(), None)),
                Op::Delete { .. } => {}
            }
        }
    }
    let (revision, batch) = write_batch(txn, changes, limits)?;
    Ok((TxnOutcome { revision, succeeded: true }, batch))
}

fn write_batch(
    txn: &WriteTransaction,
    changes: Vec<(String, Option<Row>)>,
    limits: HistoryLimits,
) -> Step<(u64, Option<Batch>)> {
    let revision = meta_of(txn, "revision")?;
    if changes.is_empty() {
        return Ok((revision, None));
    }
    let batch = Batch { revision: revision + 1, changes };
    let mut keys = txn.open_table(KEYS)?;
    let mut lease_keys = txn.open_table(LEASE_KEYS)?;
    for (key, row) in &batch.changes {
        let old = match row {
            Some(row) => keys.insert(key.as_str(), encode_row(row).as_slice())?.map(|v| v.value().to_vec()),
            None => keys.remove(key.as_str())?.map(|v| v.value().to_vec()),
        };
        if let Some(lease) = old.map(|o| decode_row(&o)).transpose()?.and_then(|o| o.lease) {
            lease_keys.remove((lease, key.as_str()))?;
        }
        if let Some(lease) = row.as_ref().and_then(|r| r.lease) {
            lease_keys.insert((lease, key.as_str()), ())?;
        }
    }
    set_meta(txn, "revision", batch.revision)?;
    remember(txn, &batch, limits)?;
    Ok((batch.revision, Some(batch)))
}

/// Adds to the history and forgets what is over the limits; the newest batch always stays.
fn remember(txn: &WriteTransaction, batch: &Batch, limits: HistoryLimits) -> Step<()> {
    let bytes = encode_batch(batch);
    let mut held = meta_of(txn, "history_bytes")? + bytes.len() as u64;
    let mut compacted = meta_of(txn, "compacted")?;
    let mut history = txn.open_table(HISTORY)?;
    history.insert(batch.revision, bytes.as_slice())?;
    while compacted + 1 < batch.revision
        && (batch.revision - compacted > limits.revisions.max(1) || held > limits.bytes)
    {
        compacted += 1;
        if let Some(old) = history.remove(compacted)? {
            held -= (old.value().len() as u64).min(held);
        }
    }
    set_meta(txn, "history_bytes", held)?;
    set_meta(txn, "compacted", compacted)
}
