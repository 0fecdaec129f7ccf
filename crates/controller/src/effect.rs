//! What the shell must do. Effects of one input are run in order.

use crate::input::Ticket;
use std::sync::Arc;
use tidegate_domain::{Fleet, Millis, Mono, Plan, Wall};
use tidegate_record::BlobHash;

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Write in one transaction, then answer with `Input::Stored`. At most one is under way.
    Persist {
        /// Names it.
        number: u64,
        /// Revision of [`crate::keys::END`] that must still hold, else nothing is written; 0: the key must not be there.
        end_revision: u64,
        /// Written together.
        puts: Vec<(String, Vec<u8>)>,
        /// Blobs to write first; content-addressed, so that a left-over one does no harm.
        blobs: Vec<(BlobHash, Vec<u8>)>,
        /// Safety moves may use the reserve of a full disk.
        safety: bool,
    },
    /// Read [`crate::keys::END`] and the revision that wrote it, then answer with `Input::Head`: a write got no clear
    /// answer, and nothing goes on before it is known whether it was kept.
    ReadHead {
        /// `Persist::number` of that write.
        number: u64,
    },
    /// Translate and publish to all subscribers.
    Publish {
        /// Whose indexes the plan uses.
        fleet: Arc<Fleet>,
        /// The committed plan.
        plan: Arc<Plan>,
        /// Its generation: the tag of the snapshot.
        generation: u64,
        /// The decision it comes from.
        decision: u64,
    },
    /// Hand the target lists of a new revision to the probers.
    Targets(Arc<Fleet>),
    /// Tell followers of events; already in the journal, or about to be.
    Tell(Told),
    /// All edges hold the plan of a decision: for the metrics.
    Acked {
        /// Which.
        decision: u64,
        /// After the cycle that made it.
        after: Millis,
    },
    /// Something that lived is called down: for the metrics.
    Detected {
        /// `provider`, `region`, `endpoint`.
        what: &'static str,
        /// After the arrival of the first report, of those that still stand, that calls one of its endpoints failing.
        after: Millis,
    },
    /// Answer a person.
    Answer {
        /// Whose question.
        ticket: Ticket,
        /// The answer.
        answer: Result<Answer, Denial>,
    },
    /// Another server has taken the store: stop deciding.
    Stop {
        /// In words.
        why: String,
    },
}

/// An event for followers and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Journal sequence: where it stands, or will stand if the write under way is kept; 0 if it stands nowhere.
    pub sequence: u64,
    /// When.
    pub at: Wall,
    /// When, for measurements on this machine.
    pub mono: Mono,
    /// Its decision.
    pub decision: Option<u64>,
    /// `verdict`, `decision`, `acked`, ...
    pub kind: &'static str,
    /// What it is about.
    pub about: String,
    /// Who.
    pub by: Option<String>,
    /// In a sentence.
    pub text: String,
}

/// A granted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Id of a drain; 0 otherwise.
    pub id: u64,
    /// What happens, in sentences.
    pub sentences: Vec<String>,
    /// Shares now and at the end, where the request moves traffic.
    pub plans: Option<(Arc<Plan>, Arc<Plan>)>,
    /// Whether anything changed.
    pub changed: bool,
}

impl Answer {
    pub(crate) fn unchanged(sentences: Vec<String>) -> Self {
        Self { id: 0, sentences, plans: None, changed: false }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialKind {
    /// Nothing of that name.
    NotFound,
    /// The request makes no sense as it is.
    BadRequest,
    /// A safety rule would break.
    Unsafe,
    /// A wider drain stands over what is to be restored.
    Covered,
    /// Too many stand already.
    TooMany,
    /// The plan that it leads to did not pass the independent check.
    Checker,
    /// A reload would drop a class or too many endpoints.
    Removes,
    /// Another configuration was taken since this one was compared.
    Raced,
    /// A loss would have no authorised plan.
    Gap,
    /// The store is full.
    Full,
    /// The store did not answer.
    Unavailable,
    /// Not loaded yet.
    NotReady,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Of what kind.
    pub kind: DenialKind,
    /// Why.
    pub why: String,
    /// What would lift it.
    pub lift: String,
    /// Single faults.
    pub details: Vec<String>,
}

impl Denial {
    pub(crate) fn new(kind: DenialKind, why: impl Into<String>, lift: impl Into<String>) -> Self {
        Self { kind, why: why.into(), lift: lift.into(), details: Vec::new() }
    }
}
