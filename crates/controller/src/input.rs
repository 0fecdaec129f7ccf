//! Everything that can happen to the controller: one closed enum. Stamped by the shell, never here.

use std::sync::Arc;
use tidegate_domain::{Fleet, Millis, Mono, Name, Revision, RttClass, TargetState, VantageSelf, Wall};
use tidegate_policy::Bundle;
use tidegate_record::{BlobHash, CommittedPlan, Decision, Link, NamedIntents};

/// Both clocks, read once per input by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For records, windows and expiry.
    pub wall: Wall,
}

/// Names one question, so that its answer finds the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A vantage report as gossip delivered it: by names, of whatever revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportIn {
    /// Vantage's name.
    pub vantage: String,
    /// Start of its process.
    pub incarnation: u64,
    /// Rises within an incarnation.
    pub sequence: u64,
    /// `Revision::short` of the list that its indexes mean.
    pub revision: u64,
    /// Of itself.
    pub own: VantageSelf,
    /// By target index.
    pub targets: Vec<TargetState>,
    /// By target index.
    pub rtt: Vec<RttClass>,
}

/// What an edge says of its load; by our names, whatever the wire calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadIn {
    /// A stream of reports was admitted; nothing is reported yet.
    Opened {
        /// The edge's name.
        edge: String,
        /// Number of the stream: rises with every one.
        stream: u64,
    },
    /// One report.
    Reported {
        /// The edge's name.
        edge: String,
        /// Its client group.
        group: String,
        /// Number of the stream.
        stream: u64,
        /// Classes with any count.
        classes: Vec<ClassLoad>,
    },
    /// The stream ended.
    Gone {
        /// The edge's name.
        edge: String,
        /// Number of the stream.
        stream: u64,
    },
}

/// One class of a load report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassLoad {
    /// `payroll/eu`.
    pub class: String,
    /// What the counts cover.
    pub interval: Millis,
    /// Requests that the edge shed.
    pub dropped: u64,
    /// By place.
    pub places: Vec<PlaceLoad>,
}

/// One place of a class in a load report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceLoad {
    /// `aws/us-east-1`.
    pub region: String,
    /// Requests sent there, those included that are a second try.
    pub issued: u64,
    /// Of all, those that failed there.
    pub errors: u64,
    /// Unfinished.
    pub open: u64,
    /// Good answers that the edge timed.
    pub timed: u64,
    /// What these took together, each to its head.
    pub took: Millis,
}

/// A fleet, ready to be taken: validated by `config`, its policy compiled by `policy`.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// Its policy.
    pub bundle: Arc<Bundle>,
    /// The documents it came from, for the record: names and texts.
    pub sources: Vec<(String, Vec<u8>)>,
}

/// What a person asks. Names are resolved here, against the fleet that stands when the question is handled.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Take traffic off a place.
    Drain {
        /// `aws` or `aws/us-east-1`.
        place: String,
        /// Only this service.
        service: Option<String>,
        /// Ends by itself.
        lasting: Option<Millis>,
        /// For open streams.
        grace: Millis,
        /// Only say what would happen.
        dry_run: bool,
    },
    /// Let a place fill again.
    Restore {
        /// `aws` or `aws/us-east-1`.
        place: String,
        /// Only this service.
        service: Option<String>,
        /// Only say what would happen.
        dry_run: bool,
    },
    /// Switch automation.
    Automation {
        /// Pause, or resume.
        pause: bool,
        /// The safety half.
        safety: bool,
        /// The economic half.
        economic: bool,
        /// Ends by itself.
        lasting: Option<Millis>,
    },
    /// Hold, release or abandon ramps.
    Ramp(RampAsk),
    /// A join token for a new prober: the loop judges and records, the shell makes it.
    Invite {
        /// As which vantage.
        vantage: String,
        /// How long it is open.
        lasting: Millis,
    },
    /// Say of a provider's own API how it is, whatever the probes see; or take that back.
    ProviderApi {
        /// `aws`.
        provider: String,
        /// In trouble, else well; none: what was said before no longer counts.
        trouble: Option<bool>,
        /// For how long the word counts.
        lasting: Millis,
    },
    /// Take a new fleet, whole or not at all.
    Reload {
        /// The new fleet and policy.
        candidate: Box<Candidate>,
        /// The fleet that it was compared with: another one may stand by now.
        from: Revision,
        /// What the comparison calls too much to remove.
        removals: Vec<String>,
        /// Leave for that.
        yes_remove: bool,
        /// Also when a loss has no authorised plan.
        accept_gap: bool,
        /// Only say what would happen.
        dry_run: bool,
    },
}

impl Ask {
    /// What is asked, as a noun: for the record of a refusal.
    #[must_use]
    pub fn noun(&self) -> String {
        let of = |place: &str, service: &Option<String>| match service {
            None => place.to_owned(),
            Some(service) => format!("{place} for {service}"),
        };
        let preview = |dry_run: bool, noun: String| if dry_run { format!("a preview of {noun}") } else { noun };
        match self {
            Self::Drain { place, service, dry_run, .. } => {
                preview(*dry_run, format!("the drain of {}", of(place, service)))
            }
            Self::Restore { place, service, dry_run } => {
                preview(*dry_run, format!("the restore of {}", of(place, service)))
            }
            Self::Automation { pause, safety, economic, .. } => {
                let what = if *pause { "a pause" } else { "a resumption" };
                let kinds = match (safety, economic) {
                    (true, true) => "all moves",
                    (true, false) => "safety moves",
                    (false, true) => "economic moves",
                    (false, false) => "no moves",
                };
                format!("{what} of automation for {kinds}")
            }
            Self::Invite { vantage, .. } => format!("a join token for vantage {vantage}"),
            Self::ProviderApi { provider, trouble, .. } => {
                let word = match trouble {
                    Some(true) => "trouble",
                    Some(false) => "health",
                    None => "nothing any more",
                };
                format!("the word of {word} on the API of {provider}")
            }
            Self::Ramp(RampAsk::Pause) => "a pause of the ramps".to_owned(),
            Self::Ramp(RampAsk::Resume) => "a resumption of the ramps".to_owned(),
            Self::Ramp(RampAsk::Abort) => "an abort of the ramps".to_owned(),
            Self::Reload { candidate, yes_remove, accept_gap, dry_run, .. } => {
                let leave = if *yes_remove { " with --yes-remove" } else { "" };
                let gap = if *accept_gap { " with --accept-gap" } else { "" };
                preview(*dry_run, format!("the configuration {}{leave}{gap}", candidate.fleet.revision))
            }
        }
    }
}

/// What is asked of ramps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RampAsk {
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
    /// Stay where they are; nothing voluntary or economic moves for an hour.
    Abort,
}

/// What the store said to a [`crate::Effect::Persist`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Kept, durably.
    Done {
        /// The store's revision after it.
        revision: u64,
    },
    /// The head was not what it was expected to be: another server wrote. This one must stop and load again.
    Lost,
    /// The disk is full; nothing of it was kept.
    Full {
        /// The store's words.
        words: String,
    },
    /// No answer or an error; it is not known whether it was kept. The head will be read before anything goes on.
    Unavailable {
        /// The store's words.
        words: String,
    },
}

/// The end of the journal as the store holds it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// It stands so.
    Is {
        /// The end.
        end: Link,
        /// Revision that wrote it; 0 where there is none.
        revision: u64,
    },
    /// It cannot be read now.
    Unreadable,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// The store was read at start-up. First of all inputs.
    Loaded(Box<Loaded>),
    /// A vantage report arrived.
    Report(ReportIn),
    /// An edge's load.
    Load(LoadIn),
    /// A person asks.
    Ask {
        /// For the answer.
        ticket: Ticket,
        /// Subject of the token.
        by: String,
        /// Why.
        reason: String,
        /// What.
        ask: Ask,
    },
    /// A request was refused before it came here (role, guard): audited.
    Refused {
        /// Subject of the token.
        by: String,
        /// The asker's reason.
        reason: String,
        /// What was asked: `the drain of aws`.
        asked: String,
        /// Why it was refused.
        why: String,
    },
    /// The store answered the persist of this number.
    Stored {
        /// `Effect::Persist::number`.
        number: u64,
        /// The answer.
        answer: Stored,
    },
    /// The head was read, as [`crate::Effect::ReadHead`] of this number asked.
    Head {
        /// `Effect::ReadHead::number`.
        number: u64,
        /// What stands there.
        head: Head,
    },
    /// A subscriber refused a resource.
    Nacked {
        /// Node id.
        node: String,
        /// `CDS`, `EDS`, `LDS`, `RDS`.
        resource_type: String,
        /// Generation that it refused.
        generation: u64,
        /// Its words.
        words: String,
    },
    /// Who is a member of this server's gossip now, up or suspect; sent whenever that changes.
    Members(Vec<String>),
    /// How far a generation has come: sent whenever acknowledgements came in.
    Progress {
        /// Which.
        generation: u64,
        /// Subscribers that have acknowledged all of it.
        acked: u32,
        /// Those that have not.
        outstanding: Vec<String>,
    },
    /// A prober was handed the gossip's keyring for its join token.
    Joined {
        /// As which vantage.
        vantage: Name,
    },
    /// Time passed: the deadline that was asked for, or a regular beat.
    Tick,
}

/// What the store held at start-up, and the fleet to run.
#[derive(Debug)]
pub struct Loaded {
    /// Revision of [`crate::keys::END`]; 0 for an empty store.
    pub end_revision: u64,
    /// End of the journal.
    pub end: Link,
    /// Term of the last server; this one takes the next.
    pub term: u64,
    /// The plan that stood.
    pub committed: Option<CommittedPlan>,
    /// The fleet that the plan belongs to.
    pub fleet_then: Option<Fleet>,
    /// Journal sequence of the plan's decision; 0 where there is none.
    pub decision_sequence: u64,
    /// That decision.
    pub decision: Option<Decision>,
    /// Standing intents.
    pub intents: Option<NamedIntents>,
    /// Root of the stored documents.
    pub documents: Option<BlobHash>,
    /// The fleet to run now: from the directory, or from the store where the directory has faults.
    pub candidate: Candidate,
    /// Version of the server's program.
    pub version: String,
}
