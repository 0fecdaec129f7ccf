//! Whether this vantage may trust what it sees: pauses of its own loop, and the references it reaches.
//!
//! Owns the rule that a pause voids every probe that straddles it, and when a cut is over. Has no clock.

use std::collections::BTreeSet;
use tidegate_domain::{Millis, Mono, VantageSelf};

/// Time between two events that is longer than this is a pause. A tick is asked for at least every 50 ms.
pub const PAUSE: Millis = Millis(500);

/// Doubt after a pause lasts no longer than this: a target that is probed rarely has an old result at any time.
const DOUBT_MAX: Millis = Millis(3_000);

/// Failures in a row after which a reference is no longer reached: one lost packet is not a cut.
const REFERENCE_FAILS: u8 = 2;

/// What one connection to a reference told of the vantage itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Nothing new.
    AsBefore,
    /// Enough are reached, for the first time with these references, and there is no knowing of a way out before.
    First,
    /// Enough are reached again.
    Again,
}

/// Memory of pauses and references.
#[derive(Debug, Default)]
pub(crate) struct SelfCheck {
    turned: Option<Mono>,
    void_before: Mono,
    doubt_until: Option<Mono>,
    /// Network, and failures in a row; none: not asked yet.
    references: Vec<(String, Option<u8>)>,
    /// Too few of these were reached, since enough were.
    lost: bool,
    /// Enough of other references were reached just before, and none of these has failed yet.
    vouched: bool,
}

impl SelfCheck {
    /// Takes note that the loop turns at `now`; true when it stood still before. A `round` is the shortest probe
    /// interval; doubt lasts for two of them without a further pause, and no longer than `DOUBT_MAX`.
    pub(crate) fn turn(&mut self, now: Mono, round: Millis) -> bool {
        let paused = self.turned.is_some_and(|last| now.since(last) > PAUSE);
        self.turned = Some(now);
        if paused {
            self.doubt(now, round);
        }
        if self.doubt_until.is_some_and(|until| now >= until) {
            self.doubt_until = None;
        }
        paused
    }

    /// What began before `now` no longer counts, and what is seen in the next two rounds is doubted.
    pub(crate) fn doubt(&mut self, now: Mono, round: Millis) {
        self.void(now);
        self.doubt_until = Some(now + Millis(round.0.saturating_mul(2)).min(DOUBT_MAX));
    }

    /// What began before `now` no longer counts.
    pub(crate) fn void(&mut self, now: Mono) {
        self.void_before = now;
    }

    /// When it last turned.
    pub(crate) fn turned(&self) -> Option<Mono> {
        self.turned
    }

    /// Whether the result of a probe started at `started` counts.
    pub(crate) fn counts(&self, started: Mono) -> bool {
        started >= self.void_before
    }

    /// Starts anew with references in these networks: until each has been asked the vantage cannot be sure of itself.
    pub(crate) fn set_references(&mut self, networks: Vec<String>) {
        self.vouched = !self.references.is_empty() && self.reaches_enough();
        self.references = networks.into_iter().map(|network| (network, None)).collect();
        self.lost = false;
    }

    /// Takes the result of one connection to a reference.
    pub(crate) fn reference(&mut self, index: usize, reached: bool) -> Reached {
        let before = self.reaches_enough();
        self.vouched &= reached;
        if let Some((_, fails)) = self.references.get_mut(index) {
            let failed = fails.map_or(REFERENCE_FAILS, |f| f.saturating_add(1));
            *fails = Some(if reached { 0 } else { failed });
        }
        match (before, self.reaches_enough()) {
            (false, true) if std::mem::take(&mut self.lost) => Reached::Again,
            (false, true) if !std::mem::take(&mut self.vouched) => Reached::First,
            (true, false) => {
                self.lost = true;
                Reached::AsBefore
            }
            _ => Reached::AsBefore,
        }
    }

    /// By the rule of the electorate: two references in two networks, or as many as there are.
    fn reaches_enough(&self) -> bool {
        let networks: BTreeSet<&str> = self.references.iter().map(|(network, _)| network.as_str()).collect();
        let own = self.own();
        let enough = |reached: u8, all: usize| usize::from(reached) >= all.min(2);
        enough(own.references_reached, self.references.len()) && enough(own.reference_networks, networks.len())
    }

    /// What the vantage says of itself.
    pub(crate) fn own(&self) -> VantageSelf {
        let reached = self.references.iter().filter(|(_, fails)| fails.is_some_and(|f| f < REFERENCE_FAILS));
        let networks: BTreeSet<&str> = reached.clone().map(|(network, _)| network.as_str()).collect();
        VantageSelf {
            references_reached: u8::try_from(reached.count()).unwrap_or(u8::MAX),
            reference_networks: u8::try_from(networks.len()).unwrap_or(u8::MAX),
            self_doubt: self.doubt_until.is_some() || self.references.iter().any(|(_, fails)| fails.is_none()),
        }
    }
}
