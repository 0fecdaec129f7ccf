//! A disk that stops, tears, forgets and runs full where a test wants it to.

use redb::StorageBackend;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use tidegate_store::StoreError;
use tidegate_store::embedded::{Backend, Medium};

const BLOCK: u64 = 4096;
const SECTOR: usize = 512;

/// What becomes of what was written but not synced when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tear {
    /// All of it is lost.
    Lost,
    /// All of it arrived, but for the write during which the power went.
    Kept,
    /// All of it arrived, and half of that write.
    Half,
    /// Every sector arrived or did not, by chance.
    Sectors(u64),
    /// The disk says that it synced and did not; the power goes at the next operation, and nothing unsynced arrived.
    Forgot,
    /// As `Forgot`, but unsynced sectors arrived or did not, by chance: no order of writes holds any more.
    Lied(u64),
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

#[derive(Debug, Default)]
struct Inner {
    durable: Vec<u8>,
    pending: Vec<Change>,
    view: Vec<u8>,
    published: bool,
    ops: u64,
    stop: Option<(u64, Tear)>,
    stopped: bool,
    blocks: BTreeSet<u64>,
    room: Option<u64>,
    reserve: u64,
    /// Somebody else takes what is free, and has taken so much.
    greedy: bool,
    taken: u64,
    cuts: u64,
    /// Bytes that were read.
    read: u64,
}

/// One disk, shared by everyone who holds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

fn dead() -> io::Error {
    io::Error::other("the power is off")
}
fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => bytes.resize(*len as usize, 0),
        Change::Write(at, data) => {
            let end = *at as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at as usize..end].copy_from_slice(data);
        }
    }
}
/// A small generator: the tests need only that it is seeded.
fn chance(seed: &mut u64) -> bool {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed & 1 == 0
}

impl Inner {
    fn used(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK + self.reserve + self.taken
    }
    fn free(&self) -> u64 {
        self.room.map_or(u64::MAX, |room| room.saturating_sub(self.used()))
    }
    fn grab(&mut self) {
        self.taken += self.free();
    }
    /// Counts an operation; the one at which the power goes fails, and all after it.
    fn step(&mut self, change: Option<&Change>) -> io::Result<()> {
        if self.stopped {
            return Err(dead());
        }
        self.ops += 1;
        let Some((at, tear)) = self.stop else { return Ok(()) };
        if self.ops < at {
            return Ok(());
        }
        if let (Tear::Lied(_) | Tear::Forgot, None, true) = (tear, change, self.ops == at) {
            return Ok(());
        }
        self.stopped = true;
        self.power_off(tear, change);
        Err(dead())
    }
    fn power_off(&mut self, tear: Tear, now: Option<&Change>) {
        let pending = std::mem::take(&mut self.pending);
        match tear {
            Tear::Lost | Tear::Forgot => {}
            Tear::Kept => pending.iter().for_each(|c| apply(&mut self.durable, c)),
            Tear::Half => {
                pending.iter().for_each(|c| apply(&mut self.durable, c));
                if let Some(Change::Write(at, data)) = now {
                    apply(&mut self.durable, &Change::Write(*at, data[..data.len() / 2].to_vec()));
                }
            }
            Tear::Sectors(seed) | Tear::Lied(seed) => {
                let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.ops.wrapping_mul(0x1234_5677) | 1;
                for change in pending.iter().chain(now) {
                    match change {
                        // Lengths are journalled by every file system: they arrive in order.
                        Change::Len(_) => apply(&mut self.durable, change),
                        Change::Write(at, data) => {
                            for (i, sector) in data.chunks(SECTOR).enumerate() {
                                if chance(&mut seed) {
                                    apply(&mut self.durable, &Change::Write(at + (i * SECTOR) as u64, sector.to_vec()));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
    /// Operations so far.
    pub(crate) fn ops(&self) -> u64 {
        self.inner().ops
    }
    /// The power goes at operation `at`.
    pub(crate) fn stop_at(&self, at: u64, tear: Tear) {
        self.inner().stop = Some((at, tear));
    }
    /// Only so many bytes fit, reserve included.
    pub(crate) fn set_room(&self, room: u64) {
        self.inner().room = Some(room);
    }
    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.inner().used()
    }
    /// From now on somebody else takes whatever is free: after every sync, and of what the reserve lets go every other
    /// time before the store comes to write. `set_room` first.
    pub(crate) fn compete(&self) {
        let mut inner = self.inner();
        inner.greedy = true;
        inner.grab();
    }
    /// Bytes that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.inner().read
    }
    /// Another disk with what is durable on this one: what stands there when the power is back.
    pub(crate) fn after_power_cut(&self) -> Disk {
        let inner = self.inner();
        let fresh = Inner {
            durable: inner.durable.clone(),
            view: inner.durable.clone(),
            published: inner.published,
            ..Inner::default()
        };
        Disk(Arc::new(Mutex::new(fresh)))
    }
    /// Cuts the durable bytes short, or changes one.
    pub(crate) fn damage(&self, with: impl Fn(&mut Vec<u8>)) {
        let mut inner = self.inner();
        with(&mut inner.durable);
        inner.view = inner.durable.clone();
    }
    /// Durable bytes.
    pub(crate) fn durable_len(&self) -> usize {
        self.inner().durable.len()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().view.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.stopped {
            return Err(dead());
        }
        inner.read += out.len() as u64;
        let from = inner.view.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let change = Change::Len(len);
        inner.step(Some(&change))?;
        apply(&mut inner.view, &change);
        inner.pending.push(change);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step(None)?;
        if matches!(inner.stop, Some((at, Tear::Lied(_) | Tear::Forgot)) if inner.ops >= at) {
            return Ok(());
        }
        let pending = std::mem::take(&mut inner.pending);
        pending.iter().for_each(|c| apply(&mut inner.durable, c));
        if inner.greedy {
            inner.grab();
        }
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let touched: Vec<u64> = (offset / BLOCK..=(offset + data.len() as u64 - 1) / BLOCK).collect();
        let new = touched.iter().filter(|b| !inner.blocks.contains(b)).count() as u64;
        if new > 0 && new * BLOCK > inner.free() {
            return Err(ErrorKind::StorageFull.into());
        }
        inner.blocks.extend(touched);
        let change = Change::Write(offset, data.to_vec());
        inner.step(Some(&change))?;
        apply(&mut inner.view, &change);
        inner.pending.push(change);
        Ok(())
    }
}

impl Medium for Disk {
    fn name(&self) -> String {
        "disk".into()
    }
    fn exists(&self) -> Result<bool, StoreError> {
        Ok(self.inner().published)
    }
    fn scratch(&mut self) -> io::Result<Backend> {
        let mut inner = self.inner();
        inner.view.clear();
        inner.durable.clear();
        inner.pending.clear();
        drop(inner);
        Ok(Backend(Box::new(self.clone())))
    }
    fn publish(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step(None)?;
        inner.published = true;
        Ok(())
    }
    fn open(&mut self) -> io::Result<Backend> {
        Ok(Backend(Box::new(self.clone())))
    }
    fn size(&self) -> io::Result<u64> {
        StorageBackend::len(self)
    }
    fn fill_reserve(&mut self, bytes: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let free = inner.free();
        let wanted = bytes.saturating_sub(inner.reserve);
        inner.reserve += wanted.min(free);
        if wanted > free { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn cut_reserve(&mut self, to: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.reserve = inner.reserve.min(to);
        inner.cuts += 1;
        if inner.greedy && inner.cuts % 2 == 1 {
            inner.grab();
        }
        Ok(())
    }
    fn reserve_len(&self) -> u64 {
        self.inner().reserve
    }
}
