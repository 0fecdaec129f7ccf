//! What requests read: the table, swapped whole or by one cluster, and the marks that all parts look at.
//!
//! Owns the swap and the retirement of what was swapped out. Refuses to be edited in place.

use crate::balance::{Cluster, Memory};
use crate::metrics::Metrics;
use crate::model::RouteTable;
use arc_swap::ArcSwap;
use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// One cluster's place in the table: a reweight swaps what is in it and touches nothing else.
pub(crate) type Slot = Arc<ArcSwap<Cluster>>;

/// Everything that a request needs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) routes: BTreeMap<String, Arc<RouteTable>>,
    pub(crate) clusters: BTreeMap<String, Slot>,
}

/// Where the state in use came from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    pub(crate) server: Option<String>,
    pub(crate) generation: Option<u64>,
    pub(crate) accepted_at: Option<SystemTime>,
    /// When the state that was loaded from disk had been good; `None` once a server has spoken.
    pub(crate) disk_good_at: Option<SystemTime>,
    pub(crate) last_refusal: Option<String>,
    /// Why listeners do not listen.
    pub(crate) unbound: Vec<String>,
    pub(crate) ready: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: ArcSwap<Table>,
    pub(crate) metrics: Arc<Metrics>,
    /// What all clusters know of endpoints and places.
    pub(crate) memory: Memory,
    pub(crate) stall: Stall,
    pub(crate) draining: AtomicBool,
    source: Mutex<Source>,
    janitor: Janitor,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            table: ArcSwap::default(),
            metrics,
            memory: Memory::default(),
            stall: Stall::default(),
            draining: AtomicBool::new(false),
            source: Mutex::default(),
            janitor: Janitor::start(),
            started: Instant::now(),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn swap_table(&self, table: Table) {
        let old = self.table.swap(Arc::new(table));
        self.janitor.retire(old);
    }

    pub(crate) fn swap_cluster(&self, slot: &Slot, cluster: Cluster) {
        let old = slot.swap(Arc::new(cluster));
        self.janitor.retire(old);
    }

    /// An endpoint went out: every cluster that has it computes its shares again.
    pub(crate) fn went_out(&self, address: SocketAddr) {
        for slot in self.table.load().clusters.values() {
            let cluster = slot.load();
            if cluster.has(address) {
                cluster.refresh();
            }
        }
    }

    pub(crate) fn source(&self) -> Source {
        self.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note(&self, change: impl FnOnce(&mut Source)) {
        change(&mut self.source.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Drops what was swapped out on a thread of its own: freeing a large table must not delay a request.
#[derive(Debug)]
struct Janitor(SyncSender<Arc<dyn Any + Send + Sync>>);

/// Things that may wait for the janitor. More are dropped where they are: slower, not wrong.
const RETIRED_MAX: usize = 1_024;

impl Janitor {
    fn start() -> Self {
        let (sender, retired) = sync_channel(RETIRED_MAX);
        // Without the thread, too, things are dropped where they are.
        let spawned = std::thread::Builder::new().name("janitor".into()).spawn(move || sweep(&retired));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no janitor thread");
        }
        Self(sender)
    }

    fn retire(&self, old: Arc<dyn Any + Send + Sync>) {
        drop(self.0.try_send(old));
    }
}

fn sweep(retired: &Receiver<Arc<dyn Any + Send + Sync>>) {
    let mut waiting: Vec<Arc<dyn Any + Send + Sync>> = Vec::new();
    loop {
        match retired.recv_timeout(Duration::from_millis(if waiting.is_empty() { 60_000 } else { 50 })) {
            Ok(old) => waiting.push(old),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.retain(|old| Arc::strong_count(old) > 1);
    }
}

/// Notices that this whole process stood still (a paused machine, a starved one): failures of that time are its own.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    last_tick_ms: AtomicU64,
    until_ms: AtomicU64,
}

/// How often it ticks.
pub(crate) const TICK_MS: u64 = 100;
/// A tick this much late means a stall.
const LATE_MS: u64 = 500;

impl Stall {
    /// True: there was a stall before this tick.
    pub(crate) fn tick(&self, now_ms: u64) -> bool {
        let last = self.last_tick_ms.swap(now_ms, Ordering::Relaxed);
        let late = now_ms.saturating_sub(last) > TICK_MS + LATE_MS;
        if late {
            self.until_ms.store(now_ms, Ordering::Relaxed);
        }
        late
    }

    /// Whether a result of a try that began at `began_ms` says something about the endpoint. The tick itself may come
    /// after the results of a stall, so a tick that is overdue counts as well.
    pub(crate) fn counts(&self, began_ms: u64, now_ms: u64) -> bool {
        let overdue = now_ms.saturating_sub(self.last_tick_ms.load(Ordering::Relaxed)) > TICK_MS + LATE_MS;
        !overdue && (self.until_ms.load(Ordering::Relaxed) == 0 || began_ms > self.until_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_straddle_a_stall_do_not_count() {
        let stall = Stall::default();
        for now in (0..=1_000).step_by(100) {
            assert!(!stall.tick(now));
        }
        assert!(stall.counts(900, 1_050));
        // Nothing ran from 1,000 to 3,000; the result comes before the tick.
        assert!(!stall.counts(950, 3_000));
        assert!(stall.tick(3_001));
        assert!(!stall.counts(950, 3_002), "begun before the stall ended");
        assert!(stall.counts(3_002, 3_050));
    }
}
