//! The journal's open end: entries that wait for the next transaction.

use crate::effect::Told;
use crate::input::Now;
use crate::keys;
use tidegate_domain::Subject;
use tidegate_record::{Decision, Entry, EntryBody, Event, EventKind, Link, encode_entry};

/// Entries beyond this wait in vain and are dropped, counted: a store that is away must not fill the memory.
const WAITING_MAX: usize = 4_096;
/// A transaction holds at most 100 operations; some are kept for heads.
const PER_WRITE: usize = 80;

/// Events that wait for the journal.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The end that the store holds.
    pub(crate) end: Link,
    waiting: Vec<(Now, Event)>,
    /// Events that were never written.
    pub(crate) dropped: u64,
}

/// The entries of one transaction.
pub(crate) struct Draft {
    pub(crate) puts: Vec<(String, Vec<u8>)>,
    pub(crate) end: Link,
    pub(crate) taken: usize,
}

impl Journal {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts an event in line and says it to followers.
    pub(crate) fn note(&mut self, now: Now, subject: &str, reason: &str, kind: EventKind) -> Told {
        let (word, about, by) = words(&kind, subject);
        let event = Event { subject: Subject(subject.to_owned()), reason: reason.to_owned(), kind };
        let text = event.sentence();
        let sequence = self.end.sequence + self.waiting.len() as u64 + 1;
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push((now, event));
        } else {
            self.dropped += 1;
        }
        Told { sequence, at: now.wall, mono: now.mono, decision: None, kind: word, about, by, text }
    }

    /// The next entries, chained: waiting events, then the decision.
    pub(crate) fn draft(&self, now: Now, decision: Option<&Decision>) -> Draft {
        let taken = self.waiting.len().min(PER_WRITE);
        let mut end = self.end;
        let mut puts = Vec::new();
        let mut chain = |at, body| {
            let entry = Entry::following(&end, at, body);
            end = entry.link();
            puts.push((keys::journal(entry.sequence), encode_entry(&entry)));
        };
        for (at, event) in &self.waiting[..taken] {
            chain(at.wall, EntryBody::Event(event.clone()));
        }
        if let Some(decision) = decision {
            chain(now.wall, EntryBody::Decision(decision.clone()));
        }
        if let Some(decision) = decision {
            puts.push((keys::decision(decision.id), end.sequence.to_be_bytes().to_vec()));
        }
        Draft { puts, end, taken }
    }

    /// The draft was kept.
    pub(crate) fn kept(&mut self, end: Link, taken: usize) {
        self.waiting.drain(..taken.min(self.waiting.len()));
        self.end = end;
    }

    /// The draft can never be kept: its events are lost, and counted.
    pub(crate) fn lost(&mut self, taken: usize) {
        let gone = self.waiting.drain(..taken.min(self.waiting.len())).count();
        self.dropped += gone as u64;
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
        EventKind::Refused { what } => ("refused", what.clone(), by),
        EventKind::Acked { node, .. } => ("acked", node.clone(), None),
        EventKind::Nacked { node, .. } => ("nacked", node.clone(), None),
        EventKind::AlarmRaised { alarm } | EventKind::AlarmCleared { alarm } => ("alarm", alarm.clone(), None),
        EventKind::VerdictChanged { accused, .. } => ("verdict", accused.clone(), None),
        EventKind::RampsPaused | EventKind::RampsResumed | EventKind::RampsAborted => ("ramp", String::new(), by),
        EventKind::TermTaken { .. } | EventKind::Started { .. } => ("server", String::new(), None),
    }
}
