//! The trait that every backend implements, and the words of a transaction.

use crate::error::{Changed, StoreError};
use crate::watch::Watch;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tidegate_domain::Millis;
use tidegate_record::{BLOB_MAX, BlobHash, Row};

/// The longest key in bytes.
pub const KEY_MAX: usize = 512;
/// The largest value behind a key in bytes; larger bodies are blobs.
pub const VALUE_MAX: usize = 64 * 1024;
/// The most operations, and the most compares, of one transaction.
pub const OPS_MAX: usize = 100;

/// A lease, never given twice by one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// Whether a write must go through on a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Refused while the disk is full.
    Ordinary,
    /// Records a safety move: may use the reserve.
    Safety,
}

/// What must hold of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// What must hold.
    pub condition: Condition,
}
/// Conditions on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// It was last written by this revision.
    Modified(u64),
    /// It holds exactly this.
    Value(Vec<u8>),
}
impl Condition {
    pub(crate) fn holds(&self, row: Option<&Row>) -> bool {
        match (self, row) {
            (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Modified(revision), Some(row)) => row.modified == *revision,
            (Self::Value(value), Some(row)) => &row.value == value,
            (Self::Absent, Some(_)) | (Self::Present | Self::Modified(_) | Self::Value(_), None) => false,
        }
    }
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the key. A lease it hung on before and that is not named again lets go of it.
    Put {
        /// The key.
        key: String,
        /// Its value.
        value: Vec<u8>,
        /// Vanishes with this lease.
        lease: Option<LeaseId>,
    },
    /// Takes the key away; nothing happens where there is none.
    Delete {
        /// The key.
        key: String,
    },
}
impl Op {
    /// Writes `key` without a lease.
    #[must_use]
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }
    /// Takes `key` away.
    #[must_use]
    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// A transaction: if every compare holds, all operations happen under one revision; else none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// At most [`OPS_MAX`], no key twice.
    pub ops: Vec<Op>,
    /// Whether a full disk refuses it.
    pub urgency: Urgency,
}
impl Txn {
    /// An ordinary transaction without conditions.
    #[must_use]
    pub fn of(ops: Vec<Op>) -> Self {
        Self { compares: Vec::new(), ops, urgency: Urgency::Ordinary }
    }
    /// Asks for one more condition.
    #[must_use]
    pub fn when(mut self, key: impl Into<String>, condition: Condition) -> Self {
        self.compares.push(Compare { key: key.into(), condition });
        self
    }
    /// Marks it as the record of a safety move.
    #[must_use]
    pub fn urgent(mut self) -> Self {
        self.urgency = Urgency::Safety;
        self
    }
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.ops.len() > OPS_MAX || self.compares.len() > OPS_MAX {
            return Err(StoreError::invalid(format!("a transaction of more than {OPS_MAX} operations")));
        }
        let mut seen = BTreeSet::new();
        for op in &self.ops {
            check_key(op.key())?;
            if !seen.insert(op.key()) {
                return Err(StoreError::invalid(format!("the key `{}` twice in one transaction", op.key())));
            }
            if let Op::Put { value, key, .. } = op
                && value.len() > VALUE_MAX
            {
                let what = format!("{} bytes under `{key}`: {VALUE_MAX} at most, larger bodies are blobs", value.len());
                return Err(StoreError::invalid(what));
            }
        }
        Ok(())
    }
}
fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(StoreError::invalid(format!("a key of {} bytes: 1 to {KEY_MAX}", key.len())));
    }
    Ok(())
}
pub(crate) fn check_blob(bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() > BLOB_MAX {
        return Err(StoreError::invalid(format!("a blob of {} bytes: {BLOB_MAX} at most, chunk it", bytes.len())));
    }
    Ok(())
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnOutcome {
    /// The store's revision after it. It only rises when a key changed.
    pub revision: u64,
    /// Whether the compares held.
    pub succeeded: bool,
}

/// How well the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// In a word.
    pub mode: HealthMode,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes that the reserve holds now.
    pub reserve_bytes: u64,
    /// Bytes that the reserve should hold.
    pub reserve_wanted: u64,
    /// Running leases.
    pub leases: u64,
    /// Open watches.
    pub watches: u64,
    /// The last failure of the disk, if any.
    pub last_error: Option<String>,
}
/// Modes of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthMode {
    /// Everything works.
    Good,
    /// The disk is full: reads, and safety writes from the reserve.
    Full,
    /// Nothing works until the disk answers again.
    Down,
}
impl fmt::Display for HealthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Full => "full",
            Self::Down => "down",
        })
    }
}

/// A store. All calls block; see [`off_runtime`]. What a call acknowledged survives a crash.
pub trait Store: fmt::Debug + Send + Sync {
    /// The global revision; 0 in a new store.
    ///
    /// # Errors
    /// When the store is not available.
    fn revision(&self) -> Result<u64, StoreError>;
    /// What stands behind `key`.
    ///
    /// # Errors
    /// When the store is not available or damaged.
    fn get(&self, key: &str) -> Result<Option<Row>, StoreError>;
    /// The keys that begin with `prefix`, in order, and the revision at which they stood so.
    ///
    /// # Errors
    /// When the store is not available or damaged.
    fn range(&self, prefix: &str) -> Result<(u64, Vec<(String, Row)>), StoreError>;
    /// Compares and writes in one step.
    ///
    /// # Errors
    /// When a limit is broken, a lease is gone, the disk is full or the store is not available.
    fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;
    /// Every change of keys that begin with `prefix`, from revision `from` on, in order, without a gap.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when history no longer reaches back to `from`.
    fn watch(&self, prefix: &str, from: u64) -> Result<Watch, StoreError>;
    /// A new lease that ends `ttl` after its last sign of life.
    ///
    /// # Errors
    /// When the disk is full or the store is not available.
    fn grant(&self, ttl: Millis) -> Result<LeaseId, StoreError>;
    /// A sign of life; returns the time to live, counted anew.
    ///
    /// # Errors
    /// [`StoreError::NoLease`] when it has ended.
    fn keep_alive(&self, lease: LeaseId) -> Result<Millis, StoreError>;
    /// Ends a lease; its keys go in one revision.
    ///
    /// # Errors
    /// [`StoreError::NoLease`] when it has ended.
    fn revoke(&self, lease: LeaseId) -> Result<u64, StoreError>;
    /// Stores `bytes` under their hash; storing them again changes nothing.
    ///
    /// # Errors
    /// When they are more than [`BLOB_MAX`], the disk is full or the store is not available.
    fn put_blob(&self, bytes: &[u8], urgency: Urgency) -> Result<BlobHash, StoreError>;
    /// The bytes so named.
    ///
    /// # Errors
    /// When the store is not available, or the bytes no longer have that hash.
    fn get_blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError>;
    /// Takes blobs away that nothing names any more; returns how many there were.
    ///
    /// # Errors
    /// When the store is not available.
    fn remove_blobs(&self, hashes: &[BlobHash]) -> Result<u64, StoreError>;
    /// How well it is. Always answers, without touching the disk.
    fn health(&self) -> StoreHealth;
}

/// Runs blocking work on `store` beside the async runtime.
///
/// # Errors
/// Those of `work`; [`StoreError::Unavailable`] when the runtime is shutting down.
pub async fn off_runtime<T, F>(store: Arc<dyn Store>, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(move || work(store.as_ref())).await;
    done.unwrap_or_else(|e| Err(StoreError::Unavailable { why: e.to_string(), changed: Changed::Perhaps }))
}
