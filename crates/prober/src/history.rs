//! The last results of one target: how often it fails, and how long a streak of failures must be to mean more than that.
//!
//! Owns the count, what is called erring and the chance of a streak. Refuses states and times.
//!
//! A probe that got no answer in time may have been lost on its way: it makes a streak likelier, but no target erring. What
//! errs says so, or refuses.

/// Results by which a target errs or does not.
const WINDOW: u32 = 20;
/// What is known of its rate beside that: twenty results alone tell 45 % from 30 % badly.
const LONG: u32 = 40;
/// Fewer results say nothing.
const KNOWN_MIN: u32 = 10;
/// So many failures of the window begin to be called erring, and so many end it.
const ERRS_FROM: u32 = 3;
const ERRS_UNTIL: u32 = 1;
/// Above 13 in 20 it fails rather than errs: of half the results, 13 or fewer of 20 fail in 94 of 100 windows.
const ERRS_MOST: u32 = 13;
/// One streak in so many is left to chance,
const CHANCE: u64 = 1_000;
/// but one so long accuses in any case, as it would where half of all fails.
const STREAK_MOST: u32 = 10;

/// One target's last results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History {
    /// The newest in the lowest bit; set: it failed.
    bits: u64,
    /// Of these, those that failed by the target's own word.
    told: u64,
    /// How many are known, 64 at most.
    known: u32,
    erring: bool,
}

/// Some results in a row.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    known: u32,
    failed: u32,
    /// Runs of failures: an outage is one, however long.
    runs: u32,
}

impl History {
    /// Takes a result: whether it failed, and if so by the target's own word.
    pub(crate) fn take(&mut self, failed: bool, told: bool) {
        self.bits = self.bits << 1 | u64::from(failed);
        self.told = self.told << 1 | u64::from(failed && told);
        self.known = (self.known + 1).min(u64::BITS);
        let told = self.stretch(self.told, 0, WINDOW);
        if self.answers_mostly() && told.failed >= ERRS_FROM && told.runs > 1 {
            self.erring = true;
        } else if told.known == WINDOW && told.failed <= ERRS_UNTIL {
            self.erring = false;
        }
    }

    /// Now and then it fails, and mostly it answers.
    pub(crate) fn is_erring(&self) -> bool {
        self.erring
    }

    /// Lately it answered often enough to err rather than fail.
    pub(crate) fn answers_mostly(&self) -> bool {
        self.stretch(self.bits, 0, WINDOW).errs()
    }

    /// It was called failing: what it is when it answers again is found anew.
    pub(crate) fn called_failing(&mut self) {
        self.erring = false;
    }

    /// After so many failures in a row it fails and does not only err: `after`, or more where what went before the streak makes so
    /// short a one likely. A single outage before explains nothing, nor do hardly any results.
    pub(crate) fn needed(&self, after: u8) -> u32 {
        let streak = self.bits.trailing_ones();
        let of = |length| {
            let before = self.stretch(self.bits, streak, length);
            let outage = before.runs == 1 && before.failed >= u32::from(after);
            if before.failed > 0 && before.errs() && !outage { before.unlikely_after() } else { 0 }
        };
        of(WINDOW).max(of(LONG)).max(u32::from(after))
    }

    /// `length` results of `bits` at most, without the newest `skip`.
    fn stretch(&self, bits: u64, skip: u32, length: u32) -> Stretch {
        let known = self.known.saturating_sub(skip).min(length);
        let bits = bits.checked_shr(skip).unwrap_or(0) & ((1 << known) - 1);
        Stretch { known, failed: bits.count_ones(), runs: (bits & !(bits >> 1)).count_ones() }
    }
}

impl Stretch {
    /// Enough is known, and most of it is no failure.
    fn errs(&self) -> bool {
        self.known >= KNOWN_MIN && self.failed * WINDOW <= self.known * ERRS_MOST
    }

    /// The shortest streak that one in [`CHANCE`] would be, if results failed at this rate, one by one. One result and one
    /// failure are added: the rate is of few, and may be a little more.
    fn unlikely_after(&self) -> u32 {
        let (failed, known) = (u64::from(self.failed) + 1, u64::from(self.known) + 1);
        (1..STREAK_MOST).find(|n| CHANCE * failed.pow(*n) < known.pow(*n)).unwrap_or(STREAK_MOST)
    }
}
