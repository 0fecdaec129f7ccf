//! Events for followers: the newest in memory, and a channel for what comes.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tidegate_api::EventLine;
use tidegate_controller::Told;
use tokio::sync::broadcast;

/// So many are kept for who comes later; older ones are in the journal.
const KEPT: usize = 4_096;
/// A follower that is so many events behind is cut off and must come again.
const BEHIND: usize = 1_024;

/// The newest events.
#[derive(Debug)]
pub(crate) struct Events {
    kept: Mutex<VecDeque<EventLine>>,
    follow: broadcast::Sender<EventLine>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), follow: broadcast::channel(BEHIND).0 }
    }

    /// Logs an event and tells followers.
    pub(crate) fn tell(&self, told: Told) {
        let line = line(told);
        let (decision, by) = (line.decision.unwrap_or(0), line.by.as_deref().unwrap_or(""));
        tracing::info!(target: "tidegate::event", kind = line.kind, decision, by, about = line.about, "{}", line.text);
        self.keep(line.clone());
        // Nobody may be following.
        let _ = self.follow.send(line);
    }

    /// Keeps an event without telling anybody: read back from the journal.
    pub(crate) fn keep(&self, line: EventLine) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }

    /// All that is kept, and what comes after exactly these.
    pub(crate) fn all(&self) -> (Vec<EventLine>, broadcast::Receiver<EventLine>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.follow.subscribe())
    }
}

pub(crate) fn line(told: Told) -> EventLine {
    let Told { sequence, at, mono, decision, kind, about, by, text } = told;
    EventLine { sequence, at_ms: at.0, mono_ns: mono.0, kind: kind.to_owned(), decision, about, by, text }
}
