//! The store's answers, and the way on when it gave none.
//!
//! Owns the doubt after a write without an answer: the head is read until it is known whether it was kept. Refuses to
//! write anything else meanwhile.

use crate::commit::{HOLD, HOLD_SAFETY, Pending};
use crate::controller::Controller;
use crate::effect::{Denial, DenialKind, Effect};
use crate::input::{Head, Now, Stored};
use crate::model::StoreState;
use tidegate_domain::{Millis, Mono};

/// A write without an answer for so long is in doubt: a disk that hangs must not stop the senses.
const OVERDUE: Millis = Millis(2_000);

/// Where a write stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The store has it, since then.
    UnderWay(Mono),
    /// The store has it and has not answered for too long. Only its answer can end this: a head that is read while the
    /// write is still under way says nothing about it.
    Overdue,
    /// It may have been kept; the head is being read.
    HeadAsked,
    /// It may have been kept; the head is read again at this moment.
    HeadLater(Mono),
}

impl Pending {
    /// Whether nobody knows if it was kept.
    pub(crate) fn in_doubt(&self) -> bool {
        !matches!(self.phase, Phase::UnderWay(_))
    }
    /// When something is to be done about it. While it is in doubt the senses go on beside it, until `beat` at the latest.
    pub(crate) fn again_at(&self, beat: Mono) -> Mono {
        match self.phase {
            Phase::UnderWay(since) => since + OVERDUE,
            Phase::Overdue | Phase::HeadAsked => beat,
            Phase::HeadLater(at) => at.min(beat),
        }
    }
}

impl Controller {
    pub(crate) fn stored(&mut self, number: u64, answer: Stored, now: Now) {
        let open = |phase| matches!(phase, Phase::UnderWay(_) | Phase::Overdue);
        let known = |p: &mut Pending| p.number == number && open(p.phase);
        let Some(mut pending) = self.pending.take_if(known) else { return };
        match answer {
            Stored::Done { revision } => self.kept(pending, revision, now),
            Stored::Lost => self.lost(pending),
            Stored::Full { words } => {
                self.store = StoreState::Full { words: words.clone() };
                self.not_kept(pending, DenialKind::Full, &words, now);
            }
            Stored::Unavailable { words } => {
                self.doubt(&mut pending, words, now);
                pending.phase = Phase::HeadAsked;
                self.out.push(Effect::ReadHead { number });
                self.pending = Some(pending);
            }
        }
        self.mark();
    }

    /// Who asked is told at once; whether the write was kept is found out without them.
    fn doubt(&mut self, pending: &mut Pending, words: String, now: Now) {
        self.store = StoreState::Unavailable { words: words.clone() };
        let lift = "it is not known whether this was recorded: look at `status` once the store answers";
        let denial = Denial::new(DenialKind::Unavailable, words, lift);
        if let Some((asker, _)) = pending.asked.take() {
            self.refuse(&asker, denial.clone(), now);
        }
        for waiting in std::mem::take(&mut self.asks) {
            let denial = Denial { lift: "nothing was changed; try again".to_owned(), ..denial.clone() };
            self.refuse(&waiting.asker, denial, now);
        }
    }

    pub(crate) fn head(&mut self, number: u64, head: &Head, now: Now) {
        let asked = |p: &mut Pending| p.number == number && p.phase == Phase::HeadAsked;
        let Some(mut pending) = self.pending.take_if(asked) else { return };
        match head {
            Head::Is { end, revision } if *end == pending.end => self.kept(pending, *revision, now),
            Head::Is { revision, .. } if *revision == self.end_revision => {
                let words = "the store did not keep the last write";
                self.not_kept(pending, DenialKind::Unavailable, words, now);
            }
            Head::Is { .. } => self.lost(pending),
            Head::Unreadable => {
                pending.phase = Phase::HeadLater(now.mono + HOLD_SAFETY);
                self.pending = Some(pending);
            }
        }
        self.mark();
    }

    /// A write is under way: only its doubt and the senses go on.
    pub(crate) fn wait_for_store(&mut self, now: Now) {
        let due = self.due(now);
        let Some(pending) = &mut self.pending else { return };
        if let Phase::UnderWay(since) = pending.phase {
            if since + OVERDUE > now.mono {
                return;
            }
            pending.phase = Phase::Overdue;
            let Some(mut pending) = self.pending.take() else { return };
            self.doubt(&mut pending, format!("no answer to a write for {OVERDUE}"), now);
            pending.sensed = true;
            self.pending = Some(pending);
            return self.sense(now);
        }
        if matches!(pending.phase, Phase::HeadLater(at) if at <= now.mono) {
            pending.phase = Phase::HeadAsked;
            self.out.push(Effect::ReadHead { number: pending.number });
        }
        if due {
            pending.sensed = true;
            self.sense(now);
        }
    }

    /// The write was not kept: nothing of it is true, and who asked is told.
    fn not_kept(&mut self, pending: Pending, kind: DenialKind, words: &str, now: Now) {
        self.held += u64::from(pending.decision.is_some());
        self.journal.not_kept();
        if pending.safety {
            self.hold.safety = Some(now.mono + HOLD_SAFETY);
        } else {
            self.hold.ordinary = Some(now.mono + HOLD);
        }
        if let Some((asker, _)) = pending.asked {
            let lift = match kind {
                DenialKind::Full => "free space on the store's disk; safety moves go on from the reserve",
                _ => "look at the server's log; the committed plan stays published",
            };
            self.refuse(&asker, Denial::new(kind, words, lift), now);
        }
    }

    /// Another server has written: this one stops for good.
    fn lost(&mut self, pending: Pending) {
        let why = "another server has written to this store: this one has lost its term and stops deciding";
        self.stopped = true;
        let askers = pending.asked.map(|(asker, _)| asker).into_iter();
        let waiting = std::mem::take(&mut self.asks).into_iter().map(|w| w.asker);
        for asker in askers.chain(waiting) {
            self.deny(&asker, Denial::new(DenialKind::Unavailable, why, "ask the other server"));
        }
        self.out.push(Effect::Stop { why: why.to_owned() });
    }
}
