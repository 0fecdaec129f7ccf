//! Whether a place still answers at all.
//!
//! A place that has gone silent (packets dropped, processes stopped) fails a request only after its time-out, and until
//! then every new one would follow it there. So a place where several requests wait and none has been answered for much
//! longer than usual is passed over while another permitted place is not so. Nothing is counted against its endpoints,
//! and the first answer ends it. Refuses to judge by one slow request.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Requests that must wait in vain.
const WAITING_MIN: u32 = 3;
/// So many times the usual time to an answer.
const TIMES_USUAL: u64 = 8;
const SILENCE_MS_MIN: u64 = 100;
const SILENCE_MS_MAX: u64 = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    waiting: AtomicU32,
    progress_ms: AtomicU64,
    /// Moving average of the time to an answer.
    usual_us: AtomicU64,
}

impl Pulse {
    pub(crate) fn begin(&self, now_ms: u64) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.progress_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// The head of an answer came; [`Pulse::end`] follows.
    pub(crate) fn answered(&self, began_ms: u64, now_ms: u64) {
        self.progress_ms.store(now_ms, Ordering::Relaxed);
        let took = now_ms.saturating_sub(began_ms).saturating_mul(1_000);
        let usual = self.usual_us.load(Ordering::Relaxed);
        // A lost update among threads loses one sample of many.
        self.usual_us.store(usual - usual / 16 + took / 16, Ordering::Relaxed);
    }

    /// One waits no longer, for whatever reason.
    pub(crate) fn end(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_silent(&self, now_ms: u64) -> bool {
        if self.waiting.load(Ordering::Relaxed) < WAITING_MIN {
            return false;
        }
        let usual_ms = self.usual_us.load(Ordering::Relaxed) / 1_000;
        let limit = (usual_ms * TIMES_USUAL).clamp(SILENCE_MS_MIN, SILENCE_MS_MAX);
        now_ms.saturating_sub(self.progress_ms.load(Ordering::Relaxed)) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_needs_several_that_wait_and_ends_with_an_answer() {
        let pulse = Pulse::default();
        pulse.begin(1_000);
        pulse.begin(1_010);
        assert!(!pulse.is_silent(9_000), "two are too few");
        pulse.begin(1_020);
        assert!(!pulse.is_silent(1_100));
        assert!(pulse.is_silent(1_101));
        pulse.answered(1_000, 1_200);
        pulse.end();
        pulse.begin(1_200);
        assert!(!pulse.is_silent(1_250));
        assert!(pulse.is_silent(1_301));
        (0..3).for_each(|_| pulse.end());
        assert!(!pulse.is_silent(90_000), "nobody waits");
    }

    #[test]
    fn a_place_that_is_always_slow_is_given_its_time() {
        let pulse = Pulse::default();
        for _ in 0..200 {
            pulse.answered(0, 80);
        }
        (0..5).for_each(|_| pulse.begin(10_000));
        assert!(!pulse.is_silent(10_550));
        assert!(pulse.is_silent(10_650));
    }
}
