//! One try at one endpoint. Owns everything that must be given back when it ends, however it ends.

use crate::balance::{Cluster, Host, Outcome, Runtime};
use crate::metrics::PlaceMeters;
use crate::shared::Shared;
use crate::upstream::Clocks;
use pingora::protocols::raw_connect::ProxyDigest;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Leave for one retry under the budget.
#[derive(Debug)]
pub(super) struct Permit(Arc<Runtime>);

impl Permit {
    pub(super) fn take(cluster: &Cluster) -> Option<Self> {
        let runtime = Arc::clone(&cluster.runtime);
        runtime.begin_retry(cluster.spec.budget).then(|| Self(runtime))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.end_retry();
    }
}

const GOOD: u8 = 1;
const FAILED: u8 = 2;

/// A try under way.
pub(super) struct Attempt {
    pub(super) cluster: Arc<Cluster>,
    pub(super) place: usize,
    pub(super) host: Arc<Host>,
    pub(super) clocks: Clocks,
    /// The connection, for the clocks.
    pub(super) connection: Option<Arc<ProxyDigest>>,
    permit: Option<Permit>,
    stream: bool,
    began_ms: u64,
    /// When the request had been sent on whole.
    sent_ms: Option<u64>,
    /// From then to the head of the answer; none where the one or the other did not come, or this process stood still.
    took_ms: Option<u64>,
    /// No head of an answer yet.
    waiting: bool,
    /// Nothing yet, good, or failed; the last word counts.
    result: AtomicU8,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt").field("host", &self.host.address).finish_non_exhaustive()
    }
}

impl Attempt {
    pub(super) fn begin(
        shared: &Shared,
        cluster: Arc<Cluster>,
        place: usize,
        host: Arc<Host>,
        stream: bool,
        permit: Option<Permit>,
    ) -> Self {
        host.enter();
        cluster.places[place].meters.enter(stream);
        cluster.places[place].load.begin();
        let began_ms = shared.now_ms();
        cluster.places[place].pulse.begin(began_ms);
        Self {
            cluster,
            place,
            host,
            clocks: Clocks::default(),
            connection: None,
            permit,
            stream,
            began_ms,
            sent_ms: None,
            took_ms: None,
            waiting: true,
            result: AtomicU8::new(0),
        }
    }

    pub(super) fn meters(&self) -> &Arc<PlaceMeters> {
        &self.cluster.places[self.place].meters
    }

    /// The request has been sent on whole: from now on it is the backend's time that passes.
    pub(super) fn sent(&mut self, shared: &Shared) {
        self.sent_ms.get_or_insert_with(|| shared.now_ms());
    }

    pub(super) fn head_came(&mut self, shared: &Shared) {
        if std::mem::replace(&mut self.waiting, false) {
            let (pulse, now_ms) = (&self.cluster.places[self.place].pulse, shared.now_ms());
            let sent_ms = self.sent_ms.filter(|_| shared.stall.counts(self.began_ms, now_ms));
            self.took_ms = sent_ms.map(|sent_ms| now_ms.saturating_sub(sent_ms));
            pulse.answered(self.began_ms, now_ms);
            pulse.end();
        }
    }

    pub(super) fn give_permit(mut self) -> Option<Permit> {
        self.permit.take()
    }

    /// Tells the endpoint's record how it went, unless this process itself stood still meanwhile.
    pub(super) fn ended(&self, shared: &Shared, outcome: Outcome) {
        self.result.store(if outcome == Outcome::Good { GOOD } else { FAILED }, Ordering::Relaxed);
        if let (Outcome::Good, Some(took_ms)) = (outcome, self.took_ms) {
            self.cluster.places[self.place].load.answered(took_ms);
        }
        let Some(rules) = &self.cluster.spec.ejection else { return };
        let now_ms = shared.now_ms();
        if !shared.stall.counts(self.began_ms, now_ms) || !self.host.record(outcome, rules, now_ms) {
            return;
        }
        self.meters().ejected();
        let place = &self.cluster.places[self.place];
        let (class, region, endpoint) = (&self.cluster.spec.class, &place.region, self.host.address);
        tracing::warn!(%class, %region, %endpoint, "taken out for a while: it failed several times in a row");
        self.meters().set_out(place.hosts.iter().filter(|h| h.is_out()).count());
        self.cluster.refresh();
        shared.went_out(endpoint);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.host.leave();
        if self.waiting {
            self.cluster.places[self.place].pulse.end();
        }
        self.meters().leave(self.stream);
        let result = self.result.load(Ordering::Relaxed);
        self.cluster.places[self.place].load.end((result != 0).then_some(result == GOOD));
    }
}
