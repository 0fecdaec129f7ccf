//! The one owner of the database: runs on the store's thread, ends leases, and decides what a failing disk means.

use super::Options;
use super::medium::Medium;
use super::tables::{self, Fail, HistoryLimits};
use crate::Clock;
use crate::api::{HealthMode, LeaseId, StoreHealth, Txn, TxnOutcome, Urgency};
use crate::error::{Changed, StoreError};
use crate::watch::{Hub, Watch};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_domain::{Millis, Mono};
use tidegate_record::{Batch, BlobHash, Row};

/// How long a full or failing disk is left alone before it is tried again.
const TRY_AGAIN: Millis = Millis(5_000);
/// What is released of the reserve when a write for safety finds no room; the next slice of the same write is twice as
/// large. Whoever filled the disk takes what is free at once: only what is not yet released is safe from them.
const SLICE: u64 = 256 * 1024;
/// A full disk is well again when so much is free beside a whole reserve: one that nothing was taken from says nothing.
const ROOM: u64 = 1024 * 1024;
const MEND: &str =
    "stop the server, keep the file aside, and bring back a copy; Tidegate will not guess what was in it";

pub(crate) struct Owner {
    medium: Box<dyn Medium>,
    db: Option<Database>,
    mode: HealthMode,
    clock: Clock,
    options: Options,
    leases: BTreeMap<LeaseId, (Millis, Mono)>,
    hub: Hub,
    try_again: Mono,
    last_error: Option<String>,
    health: Arc<Mutex<StoreHealth>>,
}

/// How far an opened database is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Every page is checked.
    Whole,
    /// What redb itself repairs and checks on opening suffices.
    AsRepaired,
}

impl Owner {
    pub(crate) fn open(
        medium: Box<dyn Medium>,
        options: Options,
        clock: Clock,
        health: Arc<Mutex<StoreHealth>>,
    ) -> Result<Self, StoreError> {
        let try_again = clock();
        let mut owner = Self {
            medium,
            db: None,
            mode: HealthMode::Good,
            clock,
            options,
            leases: BTreeMap::new(),
            hub: Hub::default(),
            try_again,
            last_error: None,
            health,
        };
        if !owner.medium.exists()? {
            owner.create()?;
        }
        owner.load_with_reserve(Check::Whole)?;
        if owner.mode == HealthMode::Good {
            owner.refill();
        }
        owner.report();
        Ok(owner)
    }

    fn limits(&self) -> HistoryLimits {
        HistoryLimits { revisions: self.options.history_revisions, bytes: self.options.history_bytes }
    }

    fn create(&mut self) -> Result<(), StoreError> {
        let step = |owner: &mut Self| -> Result<(), Fail> {
            let backend = owner.medium.scratch().map_err(io_fail)?;
            let db = owner.options.builder().create_with_backend(backend)?;
            let txn = db.begin_write()?;
            tables::create(&txn)?;
            txn.commit()?;
            drop(db);
            owner.medium.publish().map_err(io_fail)
        };
        step(self).map_err(|f| self.explain(f, Changed::No))
    }

    /// Opens and checks what stands on the medium, and reads the leases, each with its whole time before it.
    fn load(&mut self, check: Check) -> Result<(), StoreError> {
        let name = self.medium.name();
        let corrupt = |what: String| StoreError::Corrupt { file: name.clone(), what, mend: MEND };
        let len = self.medium.size().map_err(|e| self.explain(io_fail(e), Changed::No))?;
        // redb takes an empty file for a wish to begin anew.
        if len == 0 {
            return Err(corrupt("the file is empty".to_owned()));
        }
        let backend = self.medium.open().map_err(|e| self.explain(io_fail(e), Changed::No))?;
        let builder = self.options.builder();
        // redb asserts where a file contradicts itself.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut db = builder.create_with_backend(backend)?;
            if check == Check::Whole {
                db.check_integrity()?;
            }
            Ok::<_, redb::DatabaseError>(db)
        }));
        let db = match opened {
            Err(_) => return Err(corrupt("the file contradicts itself".to_owned())),
            Ok(Err(e)) => return Err(self.explain(e.into(), Changed::No)),
            Ok(Ok(db)) => db,
        };
        let read = |db: &Database| -> Result<_, Fail> {
            let txn = db.begin_read()?;
            Ok((tables::meta(&txn, "format")?, tables::leases(&txn)?))
        };
        let (format, leases) = match read(&db) {
            Ok(read) => read,
            Err(Fail::Disk(redb::Error::TableDoesNotExist(what))) => {
                return Err(corrupt(format!("it has no table `{what}`")));
            }
            Err(f) => return Err(self.explain(f, Changed::No)),
        };
        match format {
            Some(tables::FORMAT) => {}
            Some(found) if found > tables::FORMAT => {
                return Err(StoreError::Newer { file: name, found, known: tables::FORMAT });
            }
            other => return Err(corrupt(format!("its format is {other:?}"))),
        }
        let now = (self.clock)();
        for lease in leases {
            self.leases.entry(LeaseId(lease.id)).or_insert((lease.ttl, now + lease.ttl));
        }
        self.db = Some(db);
        Ok(())
    }

    /// Opening after a crash or a failed commit writes: where the disk has no room for that, the reserve has.
    fn load_with_reserve(&mut self, check: Check) -> Result<(), StoreError> {
        let mut slice = SLICE;
        loop {
            match self.load(check) {
                Err(StoreError::Full { .. }) if self.release(slice) => self.disk_full("no space to open"),
                done => return done,
            }
            slice *= 2;
        }
    }

    /// What a failed step means to the caller.
    fn explain(&self, fail: Fail, changed: Changed) -> StoreError {
        let corrupt = |what: String| StoreError::Corrupt { file: self.medium.name(), what, mend: MEND };
        match fail {
            Fail::Refused(e) => e,
            Fail::Record(e) => corrupt(e.to_string()),
            Fail::Disk(e) if no_space(&e) => self.full(),
            Fail::Disk(redb::Error::DatabaseAlreadyOpen) => {
                StoreError::Locked { file: self.medium.name(), by: "another process".to_owned() }
            }
            Fail::Disk(redb::Error::Io(e)) if e.kind() == std::io::ErrorKind::InvalidData => corrupt(e.to_string()),
            Fail::Disk(redb::Error::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                corrupt(format!("it ends too early: {e}"))
            }
            Fail::Disk(
                e @ (redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted),
            ) => corrupt(e.to_string()),
            Fail::Disk(e) => StoreError::Unavailable { why: e.to_string(), changed },
        }
    }

    fn full(&self) -> StoreError {
        let works = if self.medium.reserve_len() == 0 {
            "reads go on, and nothing is left of the reserve for records of safety moves; make space"
        } else {
            "reads go on, and records of safety moves from the reserve; other writes are refused until there is space"
        };
        StoreError::Full { works }
    }

    fn disk_full(&mut self, why: &str) {
        self.last_error = Some(why.to_owned());
        self.mode = HealthMode::Full;
        self.try_again = (self.clock)() + TRY_AGAIN;
    }

    /// Gives up to `slice` bytes of the reserve back to the disk; whether it gave any.
    fn release(&mut self, slice: u64) -> bool {
        let left = self.medium.reserve_len();
        if left == 0 {
            return false;
        }
        let cut = self.medium.cut_reserve(left.saturating_sub(slice));
        if let Err(e) = &cut {
            self.last_error = Some(format!("the reserve could not be released: {e}"));
        }
        cut.is_ok()
    }

    /// Fills the reserve; with it comes the ordinary mode.
    fn refill(&mut self) {
        self.try_again = (self.clock)() + TRY_AGAIN;
        let wanted = self.options.reserve_bytes;
        let beside = if self.mode == HealthMode::Good { 0 } else { ROOM };
        let filled = self.medium.fill_reserve(wanted + beside);
        let given_back = if self.medium.reserve_len() > wanted { self.medium.cut_reserve(wanted) } else { Ok(()) };
        match filled.and(given_back) {
            Ok(()) => self.mode = HealthMode::Good,
            Err(e) => self.disk_full(&e.to_string()),
        }
    }

    /// Closes the database after a failure and opens it again; redb does no more work on it otherwise.
    fn reopen(&mut self, why: String) -> Result<(), StoreError> {
        self.last_error = Some(why);
        self.db = None;
        // The check of every page is for the start of a process: here it would only keep everyone waiting.
        let opened = self.load_with_reserve(Check::AsRepaired);
        if opened.is_err() {
            self.mode = HealthMode::Down;
            self.try_again = (self.clock)() + TRY_AGAIN;
        }
        opened
    }

    pub(crate) fn read<T>(&mut self, step: impl FnOnce(&ReadTransaction) -> Result<T, Fail>) -> Result<T, StoreError> {
        let Some(db) = &self.db else { return Err(self.down()) };
        let result = db.begin_read().map_err(Fail::from).and_then(|txn| step(&txn));
        result.map_err(|f| self.explain(f, Changed::No))
    }

    fn down(&self) -> StoreError {
        let why = self.last_error.clone().unwrap_or_else(|| "it is not open".to_owned());
        StoreError::Unavailable { why, changed: Changed::No }
    }

    /// One durable write. After a failed commit the file itself is asked whether it took effect.
    fn write<T>(
        &mut self,
        urgency: Urgency,
        step: impl Fn(&WriteTransaction) -> Result<(T, Option<Batch>), Fail>,
    ) -> Result<T, StoreError> {
        if self.mode == HealthMode::Full && urgency == Urgency::Ordinary {
            return Err(self.full());
        }
        let mut slice = SLICE;
        loop {
            match self.attempt(&step) {
                Err(StoreError::Full { .. }) if urgency == Urgency::Safety && self.release(slice) => slice *= 2,
                done => return done,
            }
        }
    }

    fn attempt<T>(
        &mut self,
        step: &impl Fn(&WriteTransaction) -> Result<(T, Option<Batch>), Fail>,
    ) -> Result<T, StoreError> {
        let Some(db) = &self.db else { return Err(self.down()) };
        let mut written = None;
        let mut run = || -> Result<(), Fail> {
            let mut txn = db.begin_write()?;
            // Heads must be on disk before anyone acts on them.
            let _ = txn.set_durability(Durability::Immediate);
            let serial = tables::count(&txn)?;
            let (value, batch) = step(&txn)?;
            written = Some((serial, value, batch));
            Ok(txn.commit()?)
        };
        let fail = match run() {
            Ok(()) => None,
            // The transaction was dropped before its commit: nothing changed and the database is well.
            Err(Fail::Refused(e)) => return Err(e),
            Err(Fail::Record(e)) => return Err(self.explain(Fail::Record(e), Changed::No)),
            Err(Fail::Disk(e)) => Some(e),
        };
        if let Some(error) = fail {
            let why = error.to_string();
            let full = no_space(&error);
            if full {
                self.disk_full(&why);
            }
            if let Err(e) = self.reopen(why) {
                let changed = if written.is_some() { Changed::Perhaps } else { Changed::No };
                return Err(StoreError::Unavailable { why: e.to_string(), changed });
            }
            let serial = self.read(|txn| tables::meta(txn, "serial"))?;
            if written.as_ref().is_none_or(|(expected, _, _)| serial != Some(*expected)) {
                return Err(if full { self.full() } else { self.explain(Fail::Disk(error), Changed::No) });
            }
        }
        match written {
            Some((_, value, batch)) => {
                if let Some(batch) = batch {
                    self.hub.publish(&batch);
                }
                Ok(value)
            }
            None => Err(self.down()),
        }
    }

    pub(crate) fn txn(&mut self, txn: &Txn) -> Result<TxnOutcome, StoreError> {
        let limits = self.limits();
        self.write(txn.urgency, |w| tables::apply(w, txn, limits))
    }
    pub(crate) fn revision(&mut self) -> Result<u64, StoreError> {
        Ok(self.read(|txn| tables::meta(txn, "revision"))?.unwrap_or(0))
    }
    pub(crate) fn range(&mut self, prefix: &str) -> Result<(u64, Vec<(String, Row)>), StoreError> {
        self.read(|txn| Ok((tables::meta(txn, "revision")?.unwrap_or(0), tables::range(txn, prefix)?)))
    }
    pub(crate) fn watch(&mut self, prefix: &str, from: u64) -> Result<Watch, StoreError> {
        let from = from.max(1);
        let compacted = self.read(|txn| tables::meta(txn, "compacted"))?.unwrap_or(0);
        if from <= compacted {
            return Err(StoreError::Compacted { oldest: compacted + 1 });
        }
        let history = self.read(|txn| tables::history(txn, from))?;
        Ok(self.hub.add(prefix, from, &history))
    }

    /// Leases carry who may act: they are granted and ended from the reserve too.
    pub(crate) fn grant(&mut self, ttl: Millis) -> Result<LeaseId, StoreError> {
        let id = self.write(Urgency::Safety, |w| Ok((tables::grant(w, ttl)?, None)))?;
        self.leases.insert(id, (ttl, (self.clock)() + ttl));
        Ok(id)
    }
    pub(crate) fn keep_alive(&mut self, lease: LeaseId) -> Result<Millis, StoreError> {
        let now = (self.clock)();
        match self.leases.get_mut(&lease) {
            Some((ttl, end)) if *end > now => {
                *end = now + *ttl;
                Ok(*ttl)
            }
            // Over, even where the disk has not yet let its keys go.
            _ => Err(StoreError::NoLease { lease: lease.0 }),
        }
    }
    pub(crate) fn revoke(&mut self, lease: LeaseId) -> Result<u64, StoreError> {
        let limits = self.limits();
        let revision = self.write(Urgency::Safety, |w| tables::end_lease(w, lease, limits));
        if matches!(revision, Ok(_) | Err(StoreError::NoLease { .. })) {
            self.leases.remove(&lease);
        }
        revision
    }
    pub(crate) fn put_blob(&mut self, hash: BlobHash, bytes: &[u8], urgency: Urgency) -> Result<(), StoreError> {
        if self.read(|txn| tables::get_blob(txn, hash))?.is_some() {
            return Ok(());
        }
        self.write(urgency, |w| Ok((tables::put_blob(w, hash, bytes)?, None)))
    }
    pub(crate) fn get_blob(&mut self, hash: BlobHash) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = self.read(|txn| tables::get_blob(txn, hash))?;
        if bytes.as_ref().is_some_and(|b| BlobHash::of(b) != hash) {
            let what = format!("blob {hash} has another hash");
            return Err(StoreError::Corrupt { file: self.medium.name(), what, mend: MEND });
        }
        Ok(bytes)
    }
    /// Frees room, so it may use the reserve.
    pub(crate) fn remove_blobs(&mut self, hashes: &[BlobHash]) -> Result<u64, StoreError> {
        self.write(Urgency::Safety, |w| Ok((tables::remove_blobs(w, hashes)?, None)))
    }

    /// Ends the leases that are due and looks whether a bad disk is well again. Runs before every request too, so
    /// that no answer shows a key whose lease is over.
    pub(crate) fn tick(&mut self) {
        let now = (self.clock)();
        if self.mode != HealthMode::Good && now >= self.try_again {
            if self.db.is_none() {
                let why = self.last_error.clone().unwrap_or_default();
                let _ = self.reopen(why);
            }
            if self.db.is_some() {
                self.refill();
            }
        }
        let due: Vec<LeaseId> = self.leases.iter().filter(|(_, (_, end))| *end <= now).map(|(id, _)| *id).collect();
        for lease in due {
            // A failed end is tried again at the next tick; nothing revives the lease until then.
            if let Err(e) = self.revoke(lease) {
                self.last_error = Some(e.to_string());
            }
        }
    }

    pub(crate) fn report(&self) {
        let now = StoreHealth {
            mode: self.mode,
            file_bytes: self.medium.size().unwrap_or(0),
            reserve_bytes: self.medium.reserve_len(),
            reserve_wanted: self.options.reserve_bytes,
            leases: self.leases.len() as u64,
            watches: self.hub.len(),
            last_error: self.last_error.clone(),
        };
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

fn io_fail(e: std::io::Error) -> Fail {
    Fail::Disk(redb::Error::Io(e))
}
fn no_space(e: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(e, redb::Error::Io(e) if matches!(e.kind(), StorageFull | QuotaExceeded))
}
