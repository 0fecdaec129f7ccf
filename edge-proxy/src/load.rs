//! How much goes where, for the servers' load reports: running totals by cluster and place.
//!
//! Owns the counts of a place for as long as anybody uses it: a place that has left the table is counted on until the
//! last request there has ended, which is what a drain waits for. Refuses to know who reads the totals.

use crate::shared::Shared;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_proto::load::RESPONSE_MS;
use tidegate_xds::client::{ClusterTotals, LoadSource, MetricTotals, PlaceTotals};

/// Places that are counted; more are served and not reported.
const PLACES_MAX: usize = 20_000;

/// Cluster, region, zone.
type Key = (String, String, String);

/// One cluster at one place.
#[derive(Debug, Default)]
pub(crate) struct PlaceLoad {
    issued: AtomicU64,
    successful: AtomicU64,
    errors: AtomicU64,
    timed: AtomicU64,
    took_ms: AtomicU64,
    ended: AtomicU64,
}

impl PlaceLoad {
    pub(crate) fn begin(&self) {
        self.issued.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends what was begun; without a result where the client went away before one.
    pub(crate) fn end(&self, good: Option<bool>) {
        match good {
            Some(true) => drop(self.successful.fetch_add(1, Ordering::Relaxed)),
            Some(false) => drop(self.errors.fetch_add(1, Ordering::Relaxed)),
            None => {}
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// A good answer's head came so long after the request had been sent.
    pub(crate) fn answered(&self, took_ms: u64) {
        self.took_ms.fetch_add(took_ms, Ordering::Relaxed);
        self.timed.fetch_add(1, Ordering::Release);
    }

    fn totals(&self, region: &str, zone: &str) -> PlaceTotals {
        // What has ended is read first: a request in between counts as open, never as less than nothing.
        let ended = self.ended.load(Ordering::Acquire);
        let issued = self.issued.load(Ordering::Relaxed);
        // Likewise: never a request without its time.
        let finished = self.timed.load(Ordering::Acquire);
        let took = MetricTotals { name: RESPONSE_MS, finished, total: self.took_ms.load(Ordering::Relaxed) };
        PlaceTotals {
            region: region.to_owned(),
            zone: zone.to_owned(),
            issued,
            successful: self.successful.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            in_progress: issued.saturating_sub(ended),
            metrics: vec![took],
        }
    }
}

#[derive(Debug)]
struct Entry {
    load: Arc<PlaceLoad>,
    /// Nobody used it any more when the totals were last taken: they were the final ones.
    last: bool,
}

/// All places.
#[derive(Debug, Default)]
pub(crate) struct Loads(Mutex<BTreeMap<Key, Entry>>);

impl Loads {
    /// The counts of a place, the same for as long as anybody holds them.
    pub(crate) fn place(&self, cluster: &str, region: &str, zone: &str) -> Arc<PlaceLoad> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (cluster.to_owned(), region.to_owned(), zone.to_owned());
        if let Some(entry) = all.get_mut(&key) {
            entry.last = false;
            return Arc::clone(&entry.load);
        }
        let load = Arc::new(PlaceLoad::default());
        if all.len() < PLACES_MAX {
            all.insert(key, Entry { load: Arc::clone(&load), last: false });
        }
        load
    }

    fn totals(&self) -> BTreeMap<String, Vec<PlaceTotals>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| !entry.last);
        let mut by_cluster: BTreeMap<String, Vec<PlaceTotals>> = BTreeMap::new();
        for ((cluster, region, zone), entry) in all.iter_mut() {
            // Places of the table and requests under way hold it; both can only be given one by `place`.
            entry.last = Arc::strong_count(&entry.load) == 1;
            by_cluster.entry(cluster.clone()).or_default().push(entry.load.totals(region, zone));
        }
        by_cluster
    }
}

impl LoadSource for Shared {
    fn totals(&self) -> Vec<ClusterTotals> {
        let mut places = self.metrics.loads.totals();
        let table = self.table.load();
        let dropped = |cluster: &str| {
            table.clusters.get(cluster).map_or(0, |slot| slot.load().runtime.dropped.load(Ordering::Relaxed))
        };
        for cluster in table.clusters.keys() {
            places.entry(cluster.clone()).or_default();
        }
        let all = places.into_iter();
        all.map(|(cluster, places)| ClusterTotals { dropped: dropped(&cluster), cluster, places }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_until_nobody_uses_it_and_told_once_more() {
        let loads = Loads::default();
        let table = loads.place("c", "aws/a", "1");
        let request = loads.place("c", "aws/a", "1");
        request.begin();
        request.begin();
        request.end(Some(true));
        drop(table);
        let read = || loads.totals().get("c").map(|p| (p[0].issued, p[0].successful, p[0].errors, p[0].in_progress));
        assert_eq!(read(), Some((2, 1, 0, 1)));
        assert_eq!(read(), Some((2, 1, 0, 1)), "a request is still there");
        request.end(Some(false));
        drop(request);
        assert_eq!(read(), Some((2, 1, 1, 0)), "the final counts");
        assert_eq!(read(), None);
    }

    #[test]
    fn a_place_that_comes_back_goes_on_and_places_are_bounded() {
        let loads = Loads::default();
        loads.place("c", "aws/a", "").begin();
        assert_eq!(loads.totals()["c"].len(), 1);
        let again = loads.place("c", "aws/a", "");
        again.end(None);
        assert_eq!((loads.totals()["c"][0].issued, loads.totals()["c"][0].in_progress), (1, 0));
        let held: Vec<_> = (0..PLACES_MAX + 5).map(|i| loads.place("d", &i.to_string(), "")).collect();
        assert_eq!(loads.totals()["d"].len(), PLACES_MAX - 1);
        held[PLACES_MAX + 4].begin();
    }
}
