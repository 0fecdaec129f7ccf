//! Watches: bounded queues of batches. A reader that is too slow is told so and starts over; it never holds the store.

use std::sync::{Arc, OnceLock};
use tidegate_record::Batch;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

/// Batches that may wait for a reader beyond the history it asked for.
const QUEUE: usize = 1024;

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// The reader was too slow. Read the range and watch from its revision on.
    #[error("the reader of the watch was too slow")]
    Lagged,
    /// The store was closed.
    #[error("the store was closed")]
    Closed,
}

/// The receiving end of a watch.
#[derive(Debug)]
pub struct Watch {
    queue: mpsc::Receiver<Batch>,
    end: Arc<OnceLock<WatchEnd>>,
}
impl Watch {
    /// The next batch, awaited.
    ///
    /// # Errors
    /// When the watch has ended.
    pub async fn next(&mut self) -> Result<Batch, WatchEnd> {
        match self.queue.recv().await {
            Some(batch) => Ok(batch),
            None => Err(self.end()),
        }
    }
    /// The next batch, if one is there.
    ///
    /// # Errors
    /// When the watch has ended.
    pub fn try_next(&mut self) -> Result<Option<Batch>, WatchEnd> {
        match self.queue.try_recv() {
            Ok(batch) => Ok(Some(batch)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(self.end()),
        }
    }
    /// The next batch; blocks the thread. Never on the runtime.
    ///
    /// # Errors
    /// When the watch has ended.
    pub fn blocking_next(&mut self) -> Result<Batch, WatchEnd> {
        self.queue.blocking_recv().ok_or_else(|| self.end())
    }
    fn end(&self) -> WatchEnd {
        self.end.get().copied().unwrap_or(WatchEnd::Closed)
    }
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    from: u64,
    queue: mpsc::Sender<Batch>,
    end: Arc<OnceLock<WatchEnd>>,
}
impl Watcher {
    /// False when the watcher is to be dropped.
    fn offer(&self, batch: &Batch) -> bool {
        if batch.revision < self.from {
            return !self.queue.is_closed();
        }
        let changes: Vec<_> = batch.changes.iter().filter(|(key, _)| key.starts_with(&self.prefix)).cloned().collect();
        if changes.is_empty() {
            return !self.queue.is_closed();
        }
        match self.queue.try_send(Batch { revision: batch.revision, changes }) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                let _ = self.end.set(WatchEnd::Lagged);
                false
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// The sending ends of all watches of one store.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    watchers: Vec<Watcher>,
}
impl Hub {
    /// A new watch, already holding what `history` has of it.
    pub(crate) fn add(&mut self, prefix: &str, from: u64, history: &[Batch]) -> Watch {
        let (send, queue) = mpsc::channel(QUEUE + history.len());
        let end = Arc::new(OnceLock::new());
        let watcher = Watcher { prefix: prefix.to_owned(), from, queue: send, end: Arc::clone(&end) };
        if history.iter().all(|batch| watcher.offer(batch)) {
            self.watchers.push(watcher);
        }
        Watch { queue, end }
    }
    pub(crate) fn publish(&mut self, batch: &Batch) {
        self.watchers.retain(|w| w.offer(batch));
    }
    pub(crate) fn len(&self) -> u64 {
        self.watchers.len() as u64
    }
}
