//! What a suspicion owes to doubt, outside of foca (Lifeguard, arXiv 1707.00788): doubt of oneself, and one direct
//! question before a member is called down.
//!
//! Owns the suspicions that our own probes have raised, and for how long each is still held back. Refuses to hold one
//! without end. INVARIANT: a suspicion that stands reaches foca at most eight steps (4 s) after its own time, whatever is
//! answered or not. Held by `tests::lifeguard`.

use crate::identity::Id;
use foca::Timer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tidegate_domain::{Millis, Mono};

/// A question must be answered within this. It is asked that long before the suspicion ends, so that the death of a
/// machine that answers nothing any more costs no time.
pub(crate) const CONFIRM_WITHIN: Millis = Millis(500);
/// A suspicion is held back in steps of this length; in each the question is asked anew.
const STEP: Millis = CONFIRM_WITHIN;
/// So many for our own doubt: a suspicion of 2 s is at most doubled by it.
const DOUBT_STEPS: u8 = 4;
/// So many while the member is reached directly: it has one more suspicion's time to say so by gossip.
const REACHED_STEPS: u8 = 4;
/// The most that a suspicion is ever held back.
#[cfg(test)]
pub(crate) const HELD_MAX: Millis = Millis(STEP.0 * (DOUBT_STEPS + REACHED_STEPS) as u64);

/// After a stall this long: two probes, so that the answers that wait in the socket have been read.
const LATE_DOUBT: Millis = Millis(1_000);
/// Probes that are looked at, and how many of them must have failed.
const PROBES: usize = 3;
const PROBES_FAILED: usize = 2;
/// A probe says something of us for this long: three probe periods and a half, or as many times what it took itself.
const PROBE_FRESH: Millis = Millis(1_750);

/// Whether our own loop and our own path are well.
#[derive(Debug, Default)]
pub(crate) struct LocalHealth {
    late_until: Option<Mono>,
    /// The newest probes: until when they say something, and who did not answer.
    probes: [Option<(Mono, Option<SocketAddr>)>; PROBES],
}

impl LocalHealth {
    /// Our loop was late.
    pub(crate) fn late(&mut self, now: Mono) {
        self.late_until = Some(now + LATE_DOUBT);
    }

    /// A probe ended that took so long; `failed` did not answer it, neither directly nor through others.
    pub(crate) fn probed(&mut self, failed: Option<SocketAddr>, took: Millis, now: Mono) {
        let fresh = PROBE_FRESH.max(Millis(took.0 * 7 / 2));
        self.probes.rotate_right(1);
        self.probes[0] = Some((now + fresh, failed));
    }

    /// Whether it is rather we than the others. One dead member, probed again and again in a small fleet, is no
    /// reason: the unanswered probes must have gone to different members.
    pub(crate) fn doubts(&self, now: Mono) -> bool {
        if self.late_until.is_some_and(|until| now < until) {
            return true;
        }
        let fresh = self.probes.iter().flatten().filter(|(until, _)| now <= *until);
        let mut failed: Vec<SocketAddr> = fresh.filter_map(|(_, failed)| *failed).collect();
        failed.sort_unstable();
        failed.dedup();
        failed.len() >= PROBES_FAILED
    }
}

/// Names a suspicion: this state of this start of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Accused {
    pub(crate) addr: SocketAddr,
    pub(crate) generation: u64,
    pub(crate) incarnation: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Awaited(u64),
    Reached,
    /// Refused, or never asked: no reason to wait.
    None,
}

#[derive(Debug)]
struct Suspicion {
    timer: Timer<Id>,
    doubt_steps: u8,
    answer: Answer,
    reached_steps: u8,
}

/// What becomes of a suspicion whose time is over.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It waits because we doubt ourselves; ask the member again now.
    InDoubt(Millis),
    /// It waits because the member was reached directly; ask it again now.
    Reached(Millis),
    /// It stands: foca gets its timer. Where the member was `reached` to the last it stands all the same.
    Stands { timer: Timer<Id>, reached: bool },
    /// It is not known (any more).
    Unknown,
}

/// The suspicions that wait for their end, one per accused.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    waiting: BTreeMap<Accused, Suspicion>,
    asked: u64,
}

impl Suspicions {
    /// Takes foca's timer; true when the suspicion is new. Further failed probes of the same accused neither shorten
    /// nor prolong it, but their timer is the one that foca will still know.
    pub(crate) fn raise(&mut self, accused: Accused, timer: Timer<Id>) -> bool {
        if let Some(known) = self.waiting.get_mut(&accused) {
            known.timer = timer;
            return false;
        }
        let suspicion = Suspicion { timer, doubt_steps: 0, answer: Answer::None, reached_steps: 0 };
        self.waiting.insert(accused, suspicion);
        true
    }

    /// The number of the question that is to be asked about `accused` now; an earlier one is void.
    pub(crate) fn ask(&mut self, accused: &Accused) -> Option<u64> {
        let suspicion = self.waiting.get_mut(accused)?;
        self.asked += 1;
        suspicion.answer = Answer::Awaited(self.asked);
        Some(self.asked)
    }

    /// Takes an answer. One that comes after its suspicion's end, or to a question that is void, is nothing.
    pub(crate) fn answered(&mut self, number: u64, reached: bool) {
        let awaited = self.waiting.values_mut().find(|s| s.answer == Answer::Awaited(number));
        if let Some(suspicion) = awaited {
            suspicion.answer = if reached { Answer::Reached } else { Answer::None };
        }
    }

    /// The accused has answered after all, or is down or gone already.
    pub(crate) fn drop(&mut self, accused: &Accused) {
        self.waiting.remove(accused);
    }

    /// Its time is over.
    pub(crate) fn end(&mut self, accused: &Accused, doubting: bool) -> Ended {
        let Some(suspicion) = self.waiting.get_mut(accused) else { return Ended::Unknown };
        if doubting && suspicion.doubt_steps < DOUBT_STEPS {
            suspicion.doubt_steps += 1;
            return Ended::InDoubt(STEP);
        }
        if suspicion.answer == Answer::Reached && suspicion.reached_steps < REACHED_STEPS {
            suspicion.reached_steps += 1;
            return Ended::Reached(STEP);
        }
        self.waiting.remove(accused).map_or(Ended::Unknown, |suspicion| Ended::Stands {
            timer: suspicion.timer,
            reached: suspicion.answer == Answer::Reached,
        })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
