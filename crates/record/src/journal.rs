//! The journal: decisions and events, each entry holding the hash of the one before it.

use crate::blob::{BlobHash, sha256};
use crate::codec::{RecordError, Wire, all, all_back, hash, missing, narrow, need, record};
use crate::named::{Place, place};
use crate::scalars::{bps, bps_out, health, health_out, kind, kind_out, name, revision};
use tidegate_domain::{
    Bps, ClassIx, Displaced, GroupIx, Health, MoveKind, Name, Plan, RegionIx, Revision, Subject, Wall,
};
use tidegate_proto::record as w;

/// One decision: enough to run it again and to compare the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Unique, rising.
    pub id: u64,
    /// When.
    pub at: Wall,
    /// Generation of the plan that came of it.
    pub generation: u64,
    /// The controller's term.
    pub term: u64,
    /// Generation it was planned upon.
    pub parent_generation: u64,
    /// The encoded cycle input.
    pub input: BlobHash,
    /// First and last journal sequence of the events since the decision before.
    pub input_range: (u64, u64),
    /// Configuration.
    pub fleet: Revision,
    /// SHA-256 of the policy bundle.
    pub policy: [u8; 32],
    /// Version of the kernel that decided.
    pub kernel_version: String,
    /// Seed handed to the cycle; 0 where it takes none.
    pub seed: u64,
    /// SHA-256 of the encoded cycle output.
    pub output_hash: [u8; 32],
    /// What moved, in names.
    pub moves: Vec<MoveSummary>,
    /// All of it in one line, as followers were told.
    pub summary: String,
}

/// One move of a decision, readable without the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveSummary {
    /// `payroll/eu`.
    pub class: String,
    /// Client group.
    pub group: Name,
    /// Why it moves.
    pub kind: MoveKind,
    /// Part of the demand that changes place.
    pub share: Bps,
    /// The cause in words.
    pub why: String,
}

/// A plan that stands: what servers publish after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedPlan {
    /// Rises with every commit.
    pub generation: u64,
    /// The term under which it was committed.
    pub term: u64,
    /// The revision whose indexes the plan holds.
    pub fleet: Revision,
    /// The decision it came of.
    pub decision: u64,
    /// The plan.
    pub plan: Plan,
    /// The encoded fleet: root of its blobs.
    pub fleet_blob: BlobHash,
    /// As [`tidegate_domain::State::returning`]: what was left to fill when the plan was committed.
    pub returning: Vec<RegionIx>,
    /// As [`tidegate_domain::State::displaced`].
    pub displaced: Vec<Displaced>,
    /// Ramps that were under way. Without times: a clock of another process means nothing here, every wait starts anew.
    pub ramps: Vec<UnderWay>,
}

/// A ramp without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// Class.
    pub class: ClassIx,
    /// Group.
    pub group: GroupIx,
    /// Why.
    pub kind: MoveKind,
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub sequence: u64,
    /// When it was written.
    pub at: Wall,
    /// Hash of the encoded entry before; zeros in the first.
    pub previous_hash: [u8; 32],
    /// What happened.
    pub body: EntryBody,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryBody {
    /// A decision.
    Decision(Decision),
    /// An event.
    Event(Event),
}

/// Something that happened, who did it and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// A token's subject, or the part of Tidegate that acted.
    pub subject: Subject,
    /// Why; empty where there is none.
    pub reason: String,
    /// What.
    pub kind: EventKind,
    /// The decision that it belongs to: of a verdict the first one made with it known, of an answer the one answered.
    pub decision: Option<u64>,
}

/// Kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A drain was asked for.
    DrainRequested {
        /// The drain.
        id: u64,
        /// Of what.
        place: Place,
        /// Of this service, or all.
        service: Option<Name>,
        /// Ends by itself.
        until: Option<Wall>,
    },
    /// A place may fill again.
    Restored {
        /// Which.
        place: Place,
        /// Of this service, or all.
        service: Option<Name>,
    },
    /// A drain reached its end.
    DrainExpired {
        /// The drain.
        id: u64,
        /// Of what.
        place: Place,
        /// Of this service, or all.
        service: Option<Name>,
    },
    /// The switch was turned off.
    AutomationPaused {
        /// For this kind of move.
        kind: MoveKind,
        /// Ends by itself.
        until: Option<Wall>,
    },
    /// The switch was turned on.
    AutomationResumed {
        /// For this kind of move.
        kind: MoveKind,
    },
    /// Another configuration holds.
    ConfigReloaded {
        /// Before.
        from: Revision,
        /// Now.
        to: Revision,
        /// Asked for with leave to remove much.
        yes_remove: bool,
        /// Asked for with leave for losses that have no plan.
        accept_gap: bool,
        /// These losses.
        gaps: Vec<String>,
    },
    /// A request was refused.
    Refused {
        /// What was asked, as a noun: `the drain of aws`.
        asked: String,
        /// Why it was refused, and what would lift it.
        why: String,
    },
    /// A subscriber took a version.
    Acked {
        /// xDS node id.
        node: String,
        /// `CDS`, `EDS`.
        resource_type: String,
        /// The version.
        version: String,
        /// The plan's generation that it carries.
        generation: u64,
    },
    /// A subscriber refused a version; its last good one stays.
    Nacked {
        /// xDS node id.
        node: String,
        /// `CDS`, `EDS`.
        resource_type: String,
        /// The version.
        version: String,
        /// The subscriber's words.
        words: String,
    },
    /// An alarm began.
    AlarmRaised {
        /// In words.
        alarm: String,
    },
    /// An alarm ended.
    AlarmCleared {
        /// In words.
        alarm: String,
    },
    /// A verdict changed.
    VerdictChanged {
        /// `aws`, `aws/us-east-1` or an endpoint.
        accused: String,
        /// Before.
        from: Health,
        /// Now.
        to: Health,
        /// The votes in words.
        evidence: String,
    },
    /// Ramps stand still.
    RampsPaused,
    /// Ramps go on.
    RampsResumed,
    /// Something was found, or is over, that is no verdict on a place for all: a prober that is cut off.
    FindingChanged {
        /// `prober aws-1`.
        about: String,
        /// `cut off`.
        finding: String,
        /// Whether it stands now.
        stands: bool,
        /// In words.
        evidence: String,
    },
    /// A join token was given to a new prober.
    ProberInvited {
        /// For this vantage.
        vantage: Name,
        /// Ends by itself.
        until: Wall,
    },
    /// A prober was handed the gossip's keyring for its token.
    ProberJoined {
        /// As this vantage.
        vantage: Name,
    },
    /// Running ramps were abandoned where they stood.
    RampsAborted,
    /// A person's word on a provider's own API, over what the probes see.
    ApiSaid {
        /// Whose.
        provider: Name,
        /// In trouble, else well.
        trouble: bool,
        /// Ends by itself.
        until: Wall,
    },
    /// Such a word was taken back or reached its end.
    ApiWordEnded {
        /// On whose API.
        provider: Name,
    },
    /// This controller may act under a new term.
    TermTaken {
        /// The term.
        term: u64,
    },
    /// A server started.
    Started {
        /// Its version.
        version: String,
    },
}

record! {
    encode_decision, decode_decision, Decision, Decision, "decision";
    encode_committed_plan, decode_committed_plan, CommittedPlan, CommittedPlan, "committed plan";
    encode_entry, decode_entry, Entry, Entry, "journal entry";
}

/// The end of a chain: what the next entry must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Sequence of the last entry; 0 before the first.
    pub sequence: u64,
    /// Its hash; zeros before the first.
    pub hash: [u8; 32],
}

impl Entry {
    /// The entry that follows `after`.
    #[must_use]
    pub fn following(after: &Link, at: Wall, body: EntryBody) -> Self {
        Self { sequence: after.sequence + 1, at, previous_hash: after.hash, body }
    }
    /// This entry as the end of the chain.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { sequence: self.sequence, hash: sha256(&encode_entry(self)) }
    }
}

/// Where a chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal breaks at entry {sequence}: {fault}")]
pub struct BrokenAt {
    /// The first entry that does not follow.
    pub sequence: u64,
    /// How.
    pub fault: Fault,
}

/// How a chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another sequence than the next stands there.
    Gap {
        /// The next would have been this.
        expected: u64,
    },
    /// It names another hash than the entry before it has.
    Hash,
}
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gap { expected } => write!(f, "entry {expected} is missing"),
            Self::Hash => f.write_str("the entry before it was changed"),
        }
    }
}

/// Checks a whole journal, from its first entry.
///
/// # Errors
/// At the first entry that does not follow the one before it.
pub fn verify_chain<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<(), BrokenAt> {
    verify_chain_from(Link::default(), entries).map(|_| ())
}

/// Checks the part of a journal that follows `after`; returns its end. Compare that with a remembered end to notice
/// that the last entries were cut off or the very last was changed.
///
/// # Errors
/// At the first entry that does not follow the one before it.
pub fn verify_chain_from<'a>(after: Link, entries: impl IntoIterator<Item = &'a Entry>) -> Result<Link, BrokenAt> {
    let mut last = after;
    for entry in entries {
        let expected = last.sequence + 1;
        if entry.sequence != expected {
            return Err(BrokenAt { sequence: entry.sequence, fault: Fault::Gap { expected } });
        }
        if entry.previous_hash != last.hash {
            return Err(BrokenAt { sequence: entry.sequence, fault: Fault::Hash });
        }
        last = entry.link();
    }
    Ok(last)
}

impl Wire for MoveSummary {
    type Msg = w::MoveSummary;
    fn to_wire(&self) -> w::MoveSummary {
        let Self { class, group, kind, share, why } = self;
        w::MoveSummary {
            class: class.clone(),
            group: group.to_string(),
            kind: kind_out(*kind),
            share_bps: bps_out(*share),
            why: why.clone(),
        }
    }
    fn from_wire(
        w::MoveSummary { class, group, kind: of, share_bps, why }: w::MoveSummary,
    ) -> Result<Self, RecordError> {
        Ok(Self {
            class,
            group: name("move.group", &group)?,
            kind: kind("move.kind", of)?,
            share: bps("move.share", share_bps)?,
            why,
        })
    }
}

impl Wire for Decision {
    type Msg = w::Decision;
    fn to_wire(&self) -> w::Decision {
        let Self {
            id,
            at,
            generation,
            term,
            parent_generation,
            input,
            input_range,
            fleet,
            policy,
            kernel_version,
            seed,
            output_hash,
            moves,
            summary,
        } = self;
        w::Decision {
            id: *id,
            at: at.0,
            generation: *generation,
            term: *term,
            parent_generation: *parent_generation,
            input: input.0.to_vec(),
            input_first: input_range.0,
            input_last: input_range.1,
            fleet: fleet.0.to_vec(),
            policy: policy.to_vec(),
            kernel_version: kernel_version.clone(),
            seed: *seed,
            output_hash: output_hash.to_vec(),
            moves: all(moves),
            summary: summary.clone(),
        }
    }
    fn from_wire(msg: w::Decision) -> Result<Self, RecordError> {
        let w::Decision {
            id,
            at,
            generation,
            term,
            parent_generation,
            input,
            input_first,
            input_last,
            fleet,
            policy,
            kernel_version,
            seed,
            output_hash,
            moves,
            summary,
        } = msg;
        Ok(Self {
            id,
            at: Wall(at),
            generation,
            term,
            parent_generation,
            input: BlobHash(hash("decision.input", &input)?),
            input_range: (input_first, input_last),
            fleet: revision("decision.fleet", &fleet)?,
            policy: hash("decision.policy", &policy)?,
            kernel_version,
            seed,
            output_hash: hash("decision.output_hash", &output_hash)?,
            moves: all_back(moves)?,
            summary,
        })
    }
}

impl Wire for CommittedPlan {
    type Msg = w::CommittedPlan;
    fn to_wire(&self) -> w::CommittedPlan {
        let Self { generation, term, fleet, decision, plan, fleet_blob, returning, displaced, ramps } = self;
        w::CommittedPlan {
            generation: *generation,
            term: *term,
            fleet: fleet.0.to_vec(),
            decision: *decision,
            plan: Some(plan.to_wire()),
            fleet_blob: fleet_blob.0.to_vec(),
            returning: returning.iter().map(|r| u32::from(r.0)).collect(),
            displaced: all(displaced),
            ramps: all(ramps),
        }
    }
    fn from_wire(msg: w::CommittedPlan) -> Result<Self, RecordError> {
        let w::CommittedPlan { generation, term, fleet, decision, plan, fleet_blob, returning, displaced, ramps } = msg;
        let region = |r| Ok::<_, RecordError>(RegionIx(narrow("committed.returning", r)?));
        Ok(Self {
            generation,
            term,
            fleet: revision("committed.fleet", &fleet)?,
            decision,
            plan: need("committed.plan", plan)?,
            fleet_blob: BlobHash(hash("committed.fleet_blob", &fleet_blob)?),
            returning: returning.into_iter().map(region).collect::<Result<_, _>>()?,
            displaced: all_back(displaced)?,
            ramps: all_back(ramps)?,
        })
    }
}

impl Wire for UnderWay {
    type Msg = w::UnderWay;
    fn to_wire(&self) -> w::UnderWay {
        let Self { class, group, kind } = self;
        w::UnderWay { class: class.0, group: u32::from(group.0), kind: kind_out(*kind) }
    }
    fn from_wire(w::UnderWay { class, group, kind: of }: w::UnderWay) -> Result<Self, RecordError> {
        let group = GroupIx(narrow("ramp.group", group)?);
        Ok(Self { class: ClassIx(class), group, kind: kind("ramp.kind", of)? })
    }
}

impl Wire for Entry {
    type Msg = w::Entry;
    fn to_wire(&self) -> w::Entry {
        let Self { sequence, at, previous_hash, body } = self;
        let body = match body {
            EntryBody::Decision(d) => w::entry::Body::Decision(d.to_wire()),
            EntryBody::Event(e) => w::entry::Body::Event(e.to_wire()),
        };
        w::Entry { sequence: *sequence, at: at.0, previous_hash: previous_hash.to_vec(), body: Some(body) }
    }
    fn from_wire(w::Entry { sequence, at, previous_hash, body }: w::Entry) -> Result<Self, RecordError> {
        let body = match body.ok_or_else(|| missing("entry.body"))? {
            w::entry::Body::Decision(d) => EntryBody::Decision(Decision::from_wire(d)?),
            w::entry::Body::Event(e) => EntryBody::Event(Event::from_wire(e)?),
        };
        Ok(Self { sequence, at: Wall(at), previous_hash: hash("entry.previous_hash", &previous_hash)?, body })
    }
}

fn place_out(place: &Place, service: Option<&Name>) -> w::Place {
    w::Place { place: place.to_string(), service: service.map(ToString::to_string) }
}
fn place_in(msg: Option<w::Place>) -> Result<(Place, Option<Name>), RecordError> {
    let w::Place { place: text, service } = msg.ok_or_else(|| missing("event.place"))?;
    Ok((place("event.place", &text)?, service.map(|s| name("event.service", &s)).transpose()?))
}

impl Wire for Event {
    type Msg = w::Event;
    fn to_wire(&self) -> w::Event {
        let Self { subject, reason, kind, decision } = self;
        let kind = Some(event_kind_out(kind));
        w::Event { subject: subject.0.clone(), reason: reason.clone(), kind, decision: *decision }
    }
    fn from_wire(w::Event { subject, reason, kind, decision }: w::Event) -> Result<Self, RecordError> {
        let kind = event_kind(kind.ok_or_else(|| missing("event.kind"))?)?;
        Ok(Self { subject: Subject(subject), reason, kind, decision })
    }
}

fn event_kind_out(kind: &EventKind) -> w::event::Kind {
    use w::event::Kind as K;
    match kind {
        EventKind::DrainRequested { id, place, service, until } => K::DrainRequested(w::DrainRequested {
            id: *id,
            place: Some(place_out(place, service.as_ref())),
            until: until.map(|t| t.0),
        }),
        EventKind::Restored { place, service } => K::Restored(place_out(place, service.as_ref())),
        EventKind::DrainExpired { id, place, service } => {
            K::DrainExpired(w::DrainEnded { id: *id, place: Some(place_out(place, service.as_ref())) })
        }
        EventKind::AutomationPaused { kind, until } => {
            K::AutomationPaused(w::AutomationPaused { kind: kind_out(*kind), until: until.map(|t| t.0) })
        }
        EventKind::AutomationResumed { kind } => K::AutomationResumed(kind_out(*kind)),
        EventKind::ConfigReloaded { from, to, yes_remove, accept_gap, gaps } => {
            let (from, to) = (from.0.to_vec(), to.0.to_vec());
            let (yes_remove, accept_gap) = (*yes_remove, *accept_gap);
            K::ConfigReloaded(w::ConfigReloaded { from, to, yes_remove, accept_gap, gaps: gaps.clone() })
        }
        EventKind::Refused { asked, why } => K::Refused(w::Refused { asked: asked.clone(), why: why.clone() }),
        EventKind::Acked { node, resource_type, version, generation } => K::Acked(w::Acked {
            node: node.clone(),
            resource_type: resource_type.clone(),
            version: version.clone(),
            generation: *generation,
        }),
        EventKind::Nacked { node, resource_type, version, words } => K::Nacked(w::Nacked {
            node: node.clone(),
            resource_type: resource_type.clone(),
            version: version.clone(),
            words: words.clone(),
        }),
        EventKind::AlarmRaised { alarm } => K::AlarmRaised(alarm.clone()),
        EventKind::AlarmCleared { alarm } => K::AlarmCleared(alarm.clone()),
        EventKind::FindingChanged { about, finding, stands, evidence } => K::FindingChanged(w::FindingChanged {
            about: about.clone(),
            finding: finding.clone(),
            stands: *stands,
            evidence: evidence.clone(),
        }),
        EventKind::VerdictChanged { accused, from, to, evidence } => K::VerdictChanged(w::VerdictChanged {
            accused: accused.clone(),
            from: health_out(*from),
            to: health_out(*to),
            evidence: evidence.clone(),
        }),
        EventKind::ProberInvited { vantage, until } => {
            K::ProberInvited(w::ProberInvited { vantage: vantage.to_string(), until: until.0 })
        }
        EventKind::ProberJoined { vantage } => K::ProberJoined(vantage.to_string()),
        EventKind::RampsPaused => K::RampsPaused(w::Nothing {}),
        EventKind::RampsResumed => K::RampsResumed(w::Nothing {}),
        EventKind::RampsAborted => K::RampsAborted(w::Nothing {}),
        EventKind::ApiSaid { provider, trouble, until } => {
            K::ApiSaid(w::ApiSaid { provider: provider.to_string(), trouble: *trouble, until: until.0 })
        }
        EventKind::ApiWordEnded { provider } => K::ApiWordEnded(provider.to_string()),
        EventKind::TermTaken { term } => K::TermTaken(*term),
        EventKind::Started { version } => K::Started(version.clone()),
    }
}

fn event_kind(msg: w::event::Kind) -> Result<EventKind, RecordError> {
    use w::event::Kind as K;
    Ok(match msg {
        K::DrainRequested(w::DrainRequested { id, place, until }) => {
            let (place, service) = place_in(place)?;
            EventKind::DrainRequested { id, place, service, until: until.map(Wall) }
        }
        K::Restored(place) => {
            let (place, service) = place_in(Some(place))?;
            EventKind::Restored { place, service }
        }
        K::DrainExpired(w::DrainEnded { id, place }) => {
            let (place, service) = place_in(place)?;
            EventKind::DrainExpired { id, place, service }
        }
        K::AutomationPaused(w::AutomationPaused { kind: of, until }) => {
            EventKind::AutomationPaused { kind: kind("event.kind", of)?, until: until.map(Wall) }
        }
        K::AutomationResumed(of) => EventKind::AutomationResumed { kind: kind("event.kind", of)? },
        K::ConfigReloaded(w::ConfigReloaded { from, to, yes_remove, accept_gap, gaps }) => {
            let (from, to) = (revision("event.from", &from)?, revision("event.to", &to)?);
            EventKind::ConfigReloaded { from, to, yes_remove, accept_gap, gaps }
        }
        K::Refused(w::Refused { asked, why }) => EventKind::Refused { asked, why },
        K::Acked(w::Acked { node, resource_type, version, generation }) => {
            EventKind::Acked { node, resource_type, version, generation }
        }
        K::Nacked(w::Nacked { node, resource_type, version, words }) => {
            EventKind::Nacked { node, resource_type, version, words }
        }
        K::AlarmRaised(alarm) => EventKind::AlarmRaised { alarm },
        K::AlarmCleared(alarm) => EventKind::AlarmCleared { alarm },
        K::FindingChanged(w::FindingChanged { about, finding, stands, evidence }) => {
            EventKind::FindingChanged { about, finding, stands, evidence }
        }
        K::VerdictChanged(w::VerdictChanged { accused, from, to, evidence }) => EventKind::VerdictChanged {
            accused,
            from: health("event.from", from)?,
            to: health("event.to", to)?,
            evidence,
        },
        K::ProberInvited(w::ProberInvited { vantage, until }) => {
            EventKind::ProberInvited { vantage: name("event.vantage", &vantage)?, until: Wall(until) }
        }
        K::ProberJoined(vantage) => EventKind::ProberJoined { vantage: name("event.vantage", &vantage)? },
        K::RampsPaused(w::Nothing {}) => EventKind::RampsPaused,
        K::RampsResumed(w::Nothing {}) => EventKind::RampsResumed,
        K::RampsAborted(w::Nothing {}) => EventKind::RampsAborted,
        K::ApiSaid(w::ApiSaid { provider, trouble, until }) => {
            EventKind::ApiSaid { provider: name("event.provider", &provider)?, trouble, until: Wall(until) }
        }
        K::ApiWordEnded(provider) => EventKind::ApiWordEnded { provider: name("event.provider", &provider)? },
        K::TermTaken(term) => EventKind::TermTaken { term },
        K::Started(version) => EventKind::Started { version },
    })
}
