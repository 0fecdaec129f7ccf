//! What is remembered of one endpoint: how much is in flight, how it failed, and until when it is out.
//!
//! Lives as long as its address stays in the cluster, across every new assignment. Refuses results from a time in which
//! this whole process stood still: those say nothing about the endpoint.

use crate::model::Ejection;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How a try ended, as far as the endpoint is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Any answer below 500.
    Good,
    /// 500, 501, 505 and up: the program's own word.
    ServerError,
    /// 502 to 504, a time-out, or a connection that failed: nobody there.
    Gateway,
}

#[derive(Debug, Default)]
struct Failures {
    server: u32,
    gateway: u32,
    /// How often in a row it was taken out.
    times: u32,
    returned_ms: u64,
    /// Just returned: one more failure is enough.
    probation: bool,
}

/// How one address fails, and until when it is out for that.
#[derive(Debug)]
pub(crate) struct Health {
    /// 0: in.
    out_until_ms: AtomicU64,
    clean: AtomicU32,
    failures: Mutex<Failures>,
}

impl Default for Health {
    fn default() -> Self {
        Self { out_until_ms: AtomicU64::new(0), clean: AtomicU32::new(1), failures: Mutex::default() }
    }
}

/// One endpoint of one cluster.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    in_flight: AtomicU32,
    /// As this class finds it.
    own: Health,
    /// As all classes together find it: one dead endpoint fails three times, not three times per class.
    common: Arc<Health>,
}

impl Host {
    pub(crate) fn new(address: SocketAddr, common: Arc<Health>) -> Self {
        Self { address, in_flight: AtomicU32::new(0), own: Health::default(), common }
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_out(&self) -> bool {
        self.own.is_out() || self.common.is_out()
    }

    /// Takes note of a result at `now_ms`. True: it is out from now on, and was not before.
    pub(crate) fn record(&self, outcome: Outcome, rules: &Ejection, now_ms: u64) -> bool {
        let was = self.is_out();
        let own = self.own.record(outcome, rules, now_ms);
        let common = self.common.record(outcome, rules, now_ms);
        !was && (own || common)
    }

    /// Lets it back in when its time is over.
    pub(crate) fn tick(&self, now_ms: u64) {
        self.own.tick(now_ms);
        self.common.tick(now_ms);
    }
}

impl Health {
    fn is_out(&self) -> bool {
        self.out_until_ms.load(Ordering::Relaxed) != 0
    }

    fn record(&self, outcome: Outcome, rules: &Ejection, now_ms: u64) -> bool {
        if outcome == Outcome::Good && self.clean.load(Ordering::Relaxed) == 1 {
            return false;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Good => {
                (failures.server, failures.gateway, failures.probation) = (0, 0, false);
                self.clean.store(1, Ordering::Relaxed);
                return false;
            }
            Outcome::ServerError => {
                failures.server += 1;
                failures.gateway = 0;
            }
            Outcome::Gateway => {
                failures.server += 1;
                failures.gateway += 1;
            }
        }
        self.clean.store(0, Ordering::Relaxed);
        let over = |count: u32, limit: Option<u32>| limit.is_some_and(|l| count >= l || failures.probation);
        if self.is_out()
            || !(over(failures.server, rules.consecutive_5xx) || over(failures.gateway, rules.consecutive_gateway))
        {
            return false;
        }
        // Every whole interval that it was back and good takes one off.
        let interval = u64::try_from(rules.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let forgiven = now_ms.saturating_sub(failures.returned_ms) / interval;
        failures.times = failures.times.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX)) + 1;
        let out = rules.base.saturating_mul(failures.times).min(rules.longest);
        let until = now_ms.saturating_add(u64::try_from(out.as_millis()).unwrap_or(u64::MAX));
        self.out_until_ms.store(until.max(1), Ordering::Relaxed);
        (failures.server, failures.gateway) = (0, 0);
        true
    }

    fn tick(&self, now_ms: u64) {
        let until = self.out_until_ms.load(Ordering::Relaxed);
        if until == 0 || now_ms < until {
            return;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        (failures.probation, failures.returned_ms) = (true, now_ms);
        self.clean.store(0, Ordering::Relaxed);
        self.out_until_ms.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rules() -> Ejection {
        Ejection {
            consecutive_5xx: Some(3),
            consecutive_gateway: Some(3),
            interval: Duration::from_millis(500),
            base: Duration::from_secs(5),
            longest: Duration::from_secs(10),
        }
    }

    fn host() -> Host {
        Host::new("127.0.0.1:1".parse().unwrap(), Arc::default())
    }

    #[test]
    fn three_failures_in_a_row_take_it_out_and_a_success_between_does_not() {
        let host = host();
        assert!(!host.record(Outcome::Gateway, &rules(), 0));
        assert!(!host.record(Outcome::Gateway, &rules(), 0));
        assert!(!host.record(Outcome::Good, &rules(), 0));
        assert!(!host.record(Outcome::Gateway, &rules(), 0));
        assert!(!host.record(Outcome::ServerError, &rules(), 0));
        assert!(host.record(Outcome::Gateway, &rules(), 0), "the third of any kind");
        assert!(!host.record(Outcome::Gateway, &rules(), 0), "once");
    }

    #[test]
    fn it_stays_out_longer_each_time_up_to_the_longest_and_is_tried_with_one_request() {
        let host = host();
        let mut now = 1_000;
        for seconds in [5, 10, 10] {
            for _ in 0..3 {
                if host.record(Outcome::Gateway, &rules(), now) {
                    break;
                }
            }
            assert!(host.is_out());
            host.tick(now + seconds * 1_000 - 1);
            assert!(host.is_out(), "{seconds}");
            now += seconds * 1_000;
            host.tick(now);
            assert!(!host.is_out(), "{seconds}");
            assert!(host.record(Outcome::Gateway, &rules(), now), "one failure on probation is enough");
            now += 10_000;
            host.tick(now);
            assert!(!host.is_out());
        }
    }

    #[test]
    fn what_one_class_finds_dead_is_out_for_all_and_what_fails_one_class_only_is_not() {
        let common = Arc::<Health>::default();
        let host = || Host::new("127.0.0.1:1".parse().unwrap(), Arc::clone(&common));
        let (eu, us, open) = (host(), host(), host());
        assert!(!eu.record(Outcome::Gateway, &rules(), 0));
        assert!(!us.record(Outcome::Gateway, &rules(), 0));
        assert!(open.record(Outcome::Gateway, &rules(), 0), "the third in a row, whichever class met it");
        assert!(eu.is_out() && us.is_out() && open.is_out());
        for h in [&eu, &us, &open] {
            h.tick(5_000);
            assert!(!h.is_out());
            h.record(Outcome::Good, &rules(), 5_000);
        }
        for _ in 0..3 {
            us.record(Outcome::ServerError, &rules(), 6_000);
            eu.record(Outcome::Good, &rules(), 6_000);
        }
        assert!(us.is_out() && !eu.is_out(), "its own failures are its own affair");
    }

    #[test]
    fn what_is_not_enforced_takes_nobody_out() {
        let host = host();
        let none = Ejection { consecutive_5xx: None, consecutive_gateway: None, ..rules() };
        assert!((0..100).all(|_| !host.record(Outcome::Gateway, &none, 0)));
        let gateway_only = Ejection { consecutive_5xx: None, ..rules() };
        assert!((0..100).all(|_| !host.record(Outcome::ServerError, &gateway_only, 0)));
    }
}
