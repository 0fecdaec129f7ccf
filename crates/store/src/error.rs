//! Why the store could not do something; every variant says whether state changed and whether to try again.

/// Whether an operation that failed may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It has not.
    No,
    /// It may have: read before trying again.
    Perhaps,
}

/// Why the store refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached now. Go on with what is known and try again later.
    #[error("the store is not available: {why}")]
    Unavailable {
        /// What happened.
        why: String,
        /// Whether the operation may have taken effect.
        changed: Changed,
    },
    /// The disk is full. Nothing was changed. Reads go on; writes marked [`crate::Urgency::Safety`] go on while the
    /// reserve lasts. Try again once space was made: the store notices by itself.
    #[error("the disk under the store is full: {works}")]
    Full {
        /// What still works.
        works: &'static str,
    },
    /// What is on disk is not whole. Nothing was changed; trying again does not help.
    #[error("{file} is damaged ({what}); {mend}")]
    Corrupt {
        /// Which file.
        file: String,
        /// What is wrong.
        what: String,
        /// What to do.
        mend: &'static str,
    },
    /// Another process has the store open. Nothing was changed; try again when that process has ended.
    #[error("{file} is in use by {by}: two servers must not share one store")]
    Locked {
        /// Which file.
        file: String,
        /// Who holds it.
        by: String,
    },
    /// Written by a newer Tidegate. Nothing was changed; trying again does not help.
    #[error("{file} has store format {found}, this build knows {known}: use the newer build")]
    Newer {
        /// Which file.
        file: String,
        /// Format found.
        found: u64,
        /// Format known.
        known: u64,
    },
    /// The history asked for is gone. Nothing was changed; read the range and watch from its revision on.
    #[error("history before revision {oldest} is gone")]
    Compacted {
        /// The oldest revision that can still be watched from.
        oldest: u64,
    },
    /// The lease does not exist (any more). Nothing was changed; a new lease is needed.
    #[error("lease {lease} does not exist or has ended")]
    NoLease {
        /// Which.
        lease: u64,
    },
    /// The request itself breaks a limit. Nothing was changed; trying again does not help.
    #[error("the store does not take {what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
}

impl StoreError {
    /// Whether the operation may have taken effect.
    #[must_use]
    pub fn changed(&self) -> Changed {
        match self {
            Self::Unavailable { changed, .. } => *changed,
            Self::Full { .. }
            | Self::Corrupt { .. }
            | Self::Locked { .. }
            | Self::Newer { .. }
            | Self::Compacted { .. }
            | Self::NoLease { .. }
            | Self::Invalid { .. } => Changed::No,
        }
    }
    /// Whether the same operation can succeed later without a person or a change of the request.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Full { .. } | Self::Locked { .. } => true,
            Self::Corrupt { .. }
            | Self::Newer { .. }
            | Self::Compacted { .. }
            | Self::NoLease { .. }
            | Self::Invalid { .. } => false,
        }
    }
    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}
