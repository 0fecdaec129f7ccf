//! The answer of policy, as data: class × jurisdiction × kind of move. It can only narrow the permitted set.

use crate::ids::{ClassIx, Jurisdiction};
use std::collections::BTreeMap;

/// Why traffic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MoveKind {
    /// Outage, eviction notice, residency breach.
    Safety,
    /// Drain, gray failure, policy.
    Voluntary,
    /// Money, carbon, failback.
    Economic,
}
impl MoveKind {
    /// Every kind, in order.
    pub const ALL: [Self; 3] = [Self::Safety, Self::Voluntary, Self::Economic];
    /// The word used in policy input, logs and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Voluntary => "voluntary",
            Self::Economic => "economic",
        }
    }
}

/// One answer of policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// Whether the move is allowed.
    pub allow: bool,
    /// The reason that policy gave; empty on allow.
    pub reason: String,
}

/// All answers for one fleet revision and one bundle. A key that is missing is a denial.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask {
    /// SHA-256 of the bundle that answered.
    pub bundle: [u8; 32],
    /// By class, jurisdiction of the receiver, kind of move.
    pub answers: BTreeMap<(ClassIx, Jurisdiction, MoveKind), PolicyAnswer>,
}
impl Mask {
    /// Whether policy lets `class` move to `place` for `kind`.
    #[must_use]
    pub fn allows(&self, class: ClassIx, place: Jurisdiction, kind: MoveKind) -> bool {
        self.answers.get(&(class, place, kind)).is_some_and(|a| a.allow)
    }
    /// Why not, in policy's words.
    #[must_use]
    pub fn reason(&self, class: ClassIx, place: Jurisdiction, kind: MoveKind) -> &str {
        self.answers.get(&(class, place, kind)).map_or("policy gave no answer", |a| a.reason.as_str())
    }
}
