//! What the database stands on: files in a directory, or what a test puts in their place.

use crate::error::StoreError;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// A place for one database and its reserve. Owned by the store's thread.
pub trait Medium: fmt::Debug + Send {
    /// The database's name in errors.
    fn name(&self) -> String;
    /// Whether a database stands here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there was one and it is gone.
    fn exists(&self) -> Result<bool, StoreError>;
    /// Room for a new database, which no [`Medium::open`] shows before [`Medium::publish`].
    ///
    /// # Errors
    /// Those of the disk.
    fn scratch(&mut self) -> io::Result<Backend>;
    /// Puts the finished scratch database in its place, whole or not at all.
    ///
    /// # Errors
    /// Those of the disk.
    fn publish(&mut self) -> io::Result<()>;
    /// Opens the database.
    ///
    /// # Errors
    /// Those of the disk.
    fn open(&mut self) -> io::Result<Backend>;
    /// Bytes of the database.
    ///
    /// # Errors
    /// Those of the disk.
    fn size(&self) -> io::Result<u64>;
    /// Fills the reserve up to `bytes`, allocated on disk.
    ///
    /// # Errors
    /// Those of the disk; on a full one the reserve is never smaller than it was.
    fn fill_reserve(&mut self, bytes: u64) -> io::Result<()>;
    /// Gives the reserve's room beyond `to` bytes back to the disk.
    ///
    /// # Errors
    /// Those of the disk.
    fn cut_reserve(&mut self, to: u64) -> io::Result<()>;
    /// Bytes that the reserve holds.
    fn reserve_len(&self) -> u64;
}

/// A redb backend of any kind.
#[derive(Debug)]
pub struct Backend(pub Box<dyn StorageBackend>);
impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }
    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }
    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }
    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

/// `store.redb`, `reserve` and `lock` in one directory.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    /// Held, and so locked, as long as the store is open.
    _lock: File,
}

impl Files {
    /// Locks `dir`, which is made where it is missing.
    pub(crate) fn lock(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let at = |e: &io::Error| StoreError::Unavailable {
            why: format!("{}: {e}", path.display()),
            changed: crate::error::Changed::No,
        };
        std::fs::create_dir_all(dir).map_err(|e| at(&e))?;
        let mut options = OpenOptions::new();
        let mut lock = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(|e| at(&e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(at(&e)),
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                let read = lock.read_to_string(&mut by);
                let by = if read.is_ok() && !by.trim().is_empty() { by.trim() } else { "another process" };
                return Err(StoreError::Locked { file: path.display().to_string(), by: by.to_owned() });
            }
        }
        // Only for the words of `Locked`: on a full disk the lock itself still holds.
        let _ = lock.set_len(0).and_then(|()| lock.rewind());
        let _ = writeln!(lock, "process {}", std::process::id());
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }
    fn database(&self) -> PathBuf {
        self.dir.join("store.redb")
    }
    fn new_database(&self) -> PathBuf {
        self.dir.join("store.redb.new")
    }
    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }
    fn backend(file: File) -> io::Result<Backend> {
        FileBackend::new(file).map(|b| Backend(Box::new(b))).map_err(io::Error::other)
    }
}

impl Medium for Files {
    fn name(&self) -> String {
        self.database().display().to_string()
    }
    fn exists(&self) -> Result<bool, StoreError> {
        // The reserve is made after the database and never removed: alone it tells of a database that is gone.
        match (self.database().exists(), self.reserve().exists()) {
            (true, _) => Ok(true),
            (false, false) => Ok(false),
            (false, true) => Err(StoreError::Corrupt {
                file: self.name(),
                what: "the file is gone, its reserve is still there".to_owned(),
                mend: "bring the file back from a copy, or remove `reserve` beside it to begin with an empty store",
            }),
        }
    }
    fn scratch(&mut self) -> io::Result<Backend> {
        let mut options = OpenOptions::new();
        Self::backend(options.read(true).write(true).create(true).truncate(true).open(self.new_database())?)
    }
    fn publish(&mut self) -> io::Result<()> {
        std::fs::rename(self.new_database(), self.database())?;
        File::open(&self.dir)?.sync_all()
    }
    fn open(&mut self) -> io::Result<Backend> {
        Self::backend(OpenOptions::new().read(true).write(true).open(self.database())?)
    }
    fn size(&self) -> io::Result<u64> {
        Ok(std::fs::metadata(self.database())?.len())
    }
    fn fill_reserve(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = match self.reserve_len() {
            held if held < bytes => bytes - held,
            held if held == bytes => return Ok(()),
            _ => return self.cut_reserve(bytes),
        };
        // What it holds it keeps: room that is let go of on a full disk is somebody else's in a moment.
        let mut file = OpenOptions::new().append(true).create(true).open(self.reserve())?;
        let block = [0_u8; 64 * 1024];
        while left > 0 {
            let part = left.min(block.len() as u64);
            file.write_all(&block[..part as usize])?;
            left -= part;
        }
        file.sync_all()
    }
    fn cut_reserve(&mut self, to: u64) -> io::Result<()> {
        // Emptied at most, not removed: its name tells that a database was made here.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.reserve())?;
        file.set_len(to)?;
        file.sync_all()
    }
    fn reserve_len(&self) -> u64 {
        std::fs::metadata(self.reserve()).map_or(0, |m| m.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_cut_and_filled_again_without_letting_go_of_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::lock(dir.path()).unwrap();
        files.fill_reserve(300_000).unwrap();
        files.cut_reserve(100_000).unwrap();
        // Marked, to see that it is the same room that stays.
        std::fs::write(files.reserve(), vec![7; 100_000]).unwrap();
        files.fill_reserve(200_000).unwrap();
        let bytes = std::fs::read(files.reserve()).unwrap();
        assert_eq!((bytes.len(), bytes.iter().filter(|b| **b == 7).count()), (200_000, 100_000));
        files.fill_reserve(50_000).unwrap();
        assert_eq!(files.reserve_len(), 50_000);
        files.cut_reserve(0).unwrap();
        assert!(files.reserve().exists(), "its name tells that a database was made here");
    }
}
