//! The journal's open end: events that wait for the next transaction, and the entries of the one under way.
//!
//! Owns sequence numbers and the size of what is written. Refuses to lose an event because a write failed: only a full
//! line drops, and counts it.

use crate::effect::Told;
use crate::input::Now;
use crate::keys;
use std::collections::VecDeque;
use tidegate_domain::{Mono, Subject, Wall};
use tidegate_record::{Decision, Entry, EntryBody, Event, EventKind, Link, encode_entry};

/// Events beyond this are dropped, counted: a store that is away must not fill the memory.
pub(crate) const WAITING_MAX: usize = 4_096;
/// A transaction holds at most 100 operations; some are kept for heads, and for the events of one request.
const PER_WRITE: usize = 80;
/// A free text in the journal is at most so long, in bytes: an entry has to fit behind one key.
const TEXT_MAX: usize = 1_024;
/// Losses without a plan that a reload's entry names; `status` lists all.
const GAPS_MAX: usize = 16;

/// Events that wait for the journal.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The end that the store holds.
    pub(crate) end: Link,
    waiting: VecDeque<(Now, Event)>,
    /// Sequence of the last entry under way, and how many of `waiting` go with it.
    under_way: Option<(u64, usize)>,
    /// Events that were never written.
    pub(crate) dropped: u64,
}

/// The entries of one transaction.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) puts: Vec<(String, Vec<u8>)>,
    pub(crate) end: Link,
    pub(crate) taken: usize,
    /// Of the events that belong to this write alone: told once they are kept.
    pub(crate) told: Vec<Told>,
}

impl Draft {
    fn chain(&mut self, at: Wall, body: EntryBody) {
        let entry = Entry::following(&self.end, at, body);
        self.end = entry.link();
        self.puts.push((keys::journal(entry.sequence), encode_entry(&entry)));
    }

    /// Ends the entries with the decision that they led to.
    pub(crate) fn decide(&mut self, decision: &Decision) {
        self.chain(decision.at, EntryBody::Decision(decision.clone()));
        self.puts.push((keys::decision(decision.id), self.end.sequence.to_be_bytes().to_vec()));
    }
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts an event in line; returns what followers are told. Its sequence is where the event will stand if the write
    /// under way is kept; 0 if the line is full and it will stand nowhere.
    pub(crate) fn note(&mut self, now: Now, event: Event) -> Told {
        let event = bounded(event);
        if self.waiting.len() >= WAITING_MAX {
            self.dropped += 1;
            return told(0, now, &event);
        }
        let (last, ahead) = self.under_way.unwrap_or((self.end.sequence, 0));
        let sequence = last + (self.waiting.len() - ahead) as u64 + 1;
        let told = told(sequence, now, &event);
        self.waiting.push_back((now, event));
        told
    }

    /// The next entries, chained: what waits, then `own`.
    pub(crate) fn draft(&mut self, now: Now, own: Vec<Event>) -> Draft {
        let taken = self.waiting.len().min(PER_WRITE);
        let mut draft = Draft { puts: Vec::new(), end: self.end, taken, told: Vec::new() };
        for (at, event) in self.waiting.iter().take(taken) {
            draft.chain(at.wall, EntryBody::Event(event.clone()));
        }
        for event in own {
            let event = bounded(event);
            draft.told.push(told(draft.end.sequence + 1, now, &event));
            draft.chain(now.wall, EntryBody::Event(event));
        }
        draft
    }

    /// The draft is on its way to the store.
    pub(crate) fn sent(&mut self, draft: &Draft) {
        self.under_way = Some((draft.end.sequence, draft.taken));
    }

    /// The draft was kept, up to `end`.
    pub(crate) fn kept(&mut self, end: Link) {
        let taken = self.under_way.take().map_or(0, |(_, taken)| taken);
        self.waiting.drain(..taken.min(self.waiting.len()));
        self.end = end;
    }

    /// The draft was not kept: its events wait on.
    pub(crate) fn not_kept(&mut self) {
        self.under_way = None;
    }
}

/// Cut to `max` bytes, at a character.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The event with every free text cut to [`TEXT_MAX`].
fn bounded(Event { subject, reason, kind, decision }: Event) -> Event {
    let cut = |text: String| if text.len() > TEXT_MAX { clip(&text, TEXT_MAX) } else { text };
    let kind = match kind {
        EventKind::Refused { asked, why } => EventKind::Refused { asked: cut(asked), why: cut(why) },
        EventKind::ConfigReloaded { from, to, yes_remove, accept_gap, gaps } => {
            let gaps = gaps.into_iter().take(GAPS_MAX).map(cut).collect();
            EventKind::ConfigReloaded { from, to, yes_remove, accept_gap, gaps }
        }
        EventKind::Acked { node, resource_type, version, generation } => {
            EventKind::Acked { node: cut(node), resource_type: cut(resource_type), version: cut(version), generation }
        }
        EventKind::Nacked { node, resource_type, version, words } => EventKind::Nacked {
            node: cut(node),
            resource_type: cut(resource_type),
            version: cut(version),
            words: cut(words),
        },
        EventKind::AlarmRaised { alarm } => EventKind::AlarmRaised { alarm: cut(alarm) },
        EventKind::AlarmCleared { alarm } => EventKind::AlarmCleared { alarm: cut(alarm) },
        EventKind::VerdictChanged { accused, from, to, evidence } => {
            EventKind::VerdictChanged { accused: cut(accused), from, to, evidence: cut(evidence) }
        }
        EventKind::FindingChanged { about, finding, stands, evidence } => {
            EventKind::FindingChanged { about: cut(about), finding: cut(finding), stands, evidence: cut(evidence) }
        }
        EventKind::Started { version } => EventKind::Started { version: cut(version) },
        same @ (EventKind::DrainRequested { .. }
        | EventKind::Restored { .. }
        | EventKind::DrainExpired { .. }
        | EventKind::AutomationPaused { .. }
        | EventKind::AutomationResumed { .. }
        | EventKind::ProberInvited { .. }
        | EventKind::ProberJoined { .. }
        | EventKind::RampsPaused
        | EventKind::RampsResumed
        | EventKind::RampsAborted
        | EventKind::ApiSaid { .. }
        | EventKind::ApiWordEnded { .. }
        | EventKind::TermTaken { .. }) => same,
    };
    Event { subject: Subject(cut(subject.0)), reason: cut(reason), kind, decision }
}

fn told(sequence: u64, now: Now, event: &Event) -> Told {
    let (kind, about, by) = words(&event.kind, &event.subject.0);
    let decision = event.decision;
    Told { sequence, at: now.wall, mono: now.mono, decision, kind, about, by, text: event.sentence() }
}

/// What followers are told of a decision.
pub(crate) fn told_decision(sequence: u64, mono: Mono, decision: &Decision) -> Told {
    Told {
        sequence,
        at: decision.at,
        mono,
        decision: Some(decision.id),
        kind: "decision",
        about: format!("generation {}", decision.generation),
        by: None,
        text: decision.summary.clone(),
    }
}

/// What followers were told of an entry; their clock is not kept.
#[must_use]
pub fn told_again(entry: &Entry) -> Told {
    let then = Now { mono: Mono(0), wall: entry.at };
    match &entry.body {
        EntryBody::Decision(decision) => told_decision(entry.sequence, then.mono, decision),
        EntryBody::Event(event) => told(entry.sequence, then, event),
    }
}

/// Kind, subject matter and person of an event, for followers.
fn words(kind: &EventKind, subject: &str) -> (&'static str, String, Option<String>) {
    let by = Some(subject.to_owned());
    match kind {
        EventKind::DrainRequested { place, .. } => ("drain", place.to_string(), by),
        EventKind::Restored { place, .. } => ("restore", place.to_string(), by),
        EventKind::DrainExpired { place, .. } => ("expiry", place.to_string(), None),
        EventKind::AutomationPaused { kind, .. } | EventKind::AutomationResumed { kind } => {
            ("automation", kind.word().to_owned(), by)
        }
        EventKind::ConfigReloaded { to, .. } => ("config", to.to_string(), by),
        EventKind::Refused { asked, .. } => ("refused", asked.clone(), by),
        EventKind::Acked { node, .. } => ("acked", node.clone(), None),
        EventKind::Nacked { node, .. } => ("nacked", node.clone(), None),
        EventKind::AlarmRaised { alarm } | EventKind::AlarmCleared { alarm } => ("alarm", alarm.clone(), None),
        EventKind::VerdictChanged { accused, .. } => ("verdict", accused.clone(), None),
        EventKind::FindingChanged { about, .. } => ("finding", about.clone(), None),
        EventKind::ProberInvited { vantage, .. } => ("join", vantage.to_string(), by),
        EventKind::ProberJoined { vantage } => ("join", vantage.to_string(), None),
        EventKind::ApiSaid { provider, .. } | EventKind::ApiWordEnded { provider } => ("api", provider.to_string(), by),
        EventKind::RampsPaused | EventKind::RampsResumed | EventKind::RampsAborted => ("ramp", String::new(), by),
        EventKind::TermTaken { .. } | EventKind::Started { .. } => ("server", String::new(), None),
    }
}
