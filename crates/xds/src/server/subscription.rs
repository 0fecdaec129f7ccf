//! One type on one stream: what is subscribed, what the client was sent, what it refused. Owns the difference between
//! that and a table; refuses to know about other types and about order (that is `machine.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resource::Resource;
use super::snapshot::Table;

/// Held content that is not what any table says: the client's copy is of an unknown version.
const OTHER: u64 = 1;

/// A set of positions.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    pub(crate) fn get(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|w| (w >> (at % 64)) & 1 == 1)
    }

    fn set(&mut self, at: usize, on: bool) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word = (*word & !(1 << (at % 64))) | (u64::from(on) << (at % 64));
        }
    }
}

/// What is remembered of a name that the table lacks. Kept only while one of the first three is true.
#[derive(Debug, Default, Clone, Copy)]
struct Outside {
    /// Subscribed by name.
    named: bool,
    /// The client may hold it.
    held: bool,
    /// The client is owed the answer that there is no such resource.
    owed: bool,
    /// The client refused to remove it: not tried again before the table changes.
    refused: bool,
}

/// A resource that the client refused.
#[derive(Debug, Clone, Copy)]
struct Rejected {
    content: u64,
    /// The client has never accepted any version of it: what depends on it must wait.
    fresh: bool,
}

/// A resource in an outstanding response.
#[derive(Debug, Clone)]
pub(crate) struct SentEntry {
    pub(crate) name: Arc<str>,
    pub(crate) version: Arc<str>,
    content: u64,
    pub(crate) fresh: bool,
}

/// The one response that may be un-ACKed.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) nonce: u64,
    pub(crate) tag: u64,
    pub(crate) seq: u64,
    pub(crate) entries: Vec<SentEntry>,
    /// Names removed that the client may have held.
    pub(crate) removed: Vec<Arc<str>>,
    /// Nothing of that publication was left unsent when it was made.
    pub(crate) complete: bool,
}

/// What may go into a response now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) adds: bool,
    pub(crate) removals: bool,
    pub(crate) bytes_max: usize,
}

/// Positions to add and names to remove.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) adds: Vec<u32>,
    pub(crate) removed: Vec<Arc<str>>,
    pub(crate) complete: bool,
}

/// The state of one type on one stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    table: Arc<Table>,
    held: Vec<u64>,
    named: Bits,
    resend: Bits,
    wildcard: bool,
    outside: BTreeMap<Arc<str>, Outside>,
    rejected: BTreeMap<Arc<str>, Rejected>,
    /// The last refusal named the resources it meant, so that an ACK of others does not lift it.
    rejected_by_name: bool,
    /// The wildcard is new and no response has followed it: it is answered even if there is nothing to say.
    unanswered: bool,
    /// False only when the difference to the table is known to be empty.
    dirty: bool,
    pub(crate) outstanding: Option<Outstanding>,
}

impl Subscription {
    pub(crate) fn new(table: &Arc<Table>) -> Self {
        let len = table.names.len();
        Self {
            table: Arc::clone(table),
            held: vec![0; len],
            named: Bits::new(len),
            resend: Bits::new(len),
            wildcard: false,
            outside: BTreeMap::new(),
            rejected: BTreeMap::new(),
            rejected_by_name: false,
            unanswered: false,
            dirty: true,
            outstanding: None,
        }
    }

    fn wanted(&self, at: usize) -> bool {
        self.wildcard || self.named.get(at)
    }

    pub(crate) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Names that are remembered although no table has them and the client holds nothing of them: what a hostile client
    /// could grow. What it holds is owed a removal; it was there once, and one request bounds how many it may claim.
    pub(crate) fn unknown_len(&self) -> usize {
        self.outside.values().filter(|o| !o.held).count()
    }

    pub(crate) fn subscribe(&mut self, name: &str) {
        self.dirty = true;
        if name == "*" {
            self.unanswered |= !self.wildcard;
            self.wildcard = true;
        } else if let Some(at) = self.table.position(name) {
            // Asked for again: sent again, though nothing changed (a client that warms a cluster relies on it).
            let again = self.held[at] != 0;
            self.resend.set(at, again);
            self.named.set(at, true);
        } else {
            let entry = self.outside.entry(name.into()).or_default();
            (entry.named, entry.owed) = (true, true);
        }
        self.adopt_outstanding();
    }

    /// A response under way may bring the client what it had left and now wants again.
    fn adopt_outstanding(&mut self) {
        let Some(outstanding) = &self.outstanding else { return };
        for entry in &outstanding.entries {
            match self.table.position(&entry.name) {
                Some(at) if (self.wildcard || self.named.get(at)) && self.held[at] == 0 => self.held[at] = OTHER,
                None if self.wildcard || self.outside.get(&entry.name).is_some_and(|o| o.named) => {
                    self.outside.entry(Arc::clone(&entry.name)).or_default().held = true;
                }
                _ => {}
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, name: &str) {
        self.dirty = true;
        if name == "*" {
            (self.wildcard, self.unanswered) = (false, false);
            for at in 0..self.held.len() {
                self.forget_unwanted(at);
            }
            self.outside.retain(|_, o| o.named);
        } else if let Some(at) = self.table.position(name) {
            let was = self.named.get(at);
            self.named.set(at, false);
            if was && self.wildcard {
                // Still wanted by the wildcard: the client dropped it, so it is owed a copy.
                self.resend.set(at, true);
            }
            self.forget_unwanted(at);
        } else if let Some(entry) = self.outside.get_mut(name) {
            let was = std::mem::replace(&mut entry.named, false);
            // Under a wildcard a name that was asked for is owed an answer, and a removal that waits still goes out.
            entry.owed = was && self.wildcard;
            if !self.wildcard || (!entry.owed && !entry.held) {
                self.outside.remove(name);
            }
        }
    }

    fn forget_unwanted(&mut self, at: usize) {
        if !self.wanted(at) {
            self.held[at] = 0;
            self.resend.set(at, false);
            self.rejected.remove(&self.table.names[at]);
        }
    }

    /// What the client says it already has, on its first request of the type.
    pub(crate) fn initial(&mut self, name: &str, version: &str) {
        if let Some(at) = self.table.position(name) {
            if self.wanted(at) {
                let resource = &self.table.resources[at];
                self.held[at] = if resource.version().as_ref() == version { resource.content() } else { OTHER };
            }
        } else if let Some(entry) = self.outside.get_mut(name) {
            entry.held = true;
        } else if self.wildcard {
            self.outside.insert(name.into(), Outside { held: true, ..Outside::default() });
        }
    }

    /// Moves to another table, carrying over what is known by name.
    pub(crate) fn rebase(&mut self, table: &Arc<Table>) {
        if Arc::ptr_eq(&self.table, table) {
            return;
        }
        self.dirty = true;
        let old = std::mem::replace(&mut self.table, Arc::clone(table));
        for entry in self.outside.values_mut() {
            entry.refused = false;
        }
        if !Arc::ptr_eq(&old.names, &table.names) {
            self.rename(&old);
        }
        // A refused resource that was never accepted stays remembered as such while newer versions are tried.
        self.rejected.retain(|name, r| table.content(name).is_some_and(|c| r.fresh || c == r.content));
    }

    /// Refusals of what the table still says.
    fn standing(&self) -> impl Iterator<Item = (&Arc<str>, &Rejected)> {
        self.rejected.iter().filter(|(name, r)| self.table.content(name) == Some(r.content))
    }

    fn rename(&mut self, old: &Table) {
        let len = self.table.names.len();
        let held = std::mem::replace(&mut self.held, vec![0; len]);
        let named = std::mem::replace(&mut self.named, Bits::new(len));
        let resend = std::mem::replace(&mut self.resend, Bits::new(len));
        for (was, name) in old.names.iter().enumerate() {
            if let Some(at) = self.table.position(name) {
                self.held[at] = held[was];
                self.named.set(at, named.get(was));
                self.resend.set(at, resend.get(was));
            } else if named.get(was) || held[was] != 0 {
                let (named, held) = (named.get(was), held[was] != 0);
                self.outside.insert(Arc::clone(name), Outside { named, held, owed: !held, refused: false });
            }
        }
        let table = &self.table;
        let (all_held, all_named) = (&mut self.held, &mut self.named);
        self.outside.retain(|name, entry| match table.position(name) {
            None => true,
            Some(at) => {
                all_named.set(at, entry.named);
                // The client may still hold what was there before; it is sent the new one in any case.
                all_held[at] = if entry.held { OTHER } else { 0 };
                false
            }
        });
    }

    /// Sends a resource again, if the client holds it.
    pub(crate) fn resend_held(&mut self, name: &str) {
        if let Some(at) = self.table.position(name)
            && self.wanted(at)
            && self.held[at] != 0
        {
            self.resend.set(at, true);
            self.dirty = true;
        }
    }

    fn is_due(&self, at: usize) -> bool {
        self.wanted(at) && (self.held[at] != self.table.resources[at].content() || self.resend.get(at))
    }

    /// Whether a resource waits to be sent; with `fresh_only`, one that the client does not hold in any version.
    pub(crate) fn adds_pending(&self, fresh_only: bool) -> bool {
        self.dirty && (0..self.held.len()).any(|at| self.is_due(at) && (!fresh_only || self.held[at] == 0))
    }

    /// Whether a removal of something that the client holds waits to be sent.
    pub(crate) fn removals_pending(&self) -> bool {
        self.dirty && self.outside.values().any(|o| o.held && !o.refused)
    }

    fn answers_pending(&self) -> bool {
        self.dirty && self.outside.values().any(|o| o.owed && !o.held)
    }

    /// Whether anything at all waits to be sent. Remembers the answer "nothing".
    pub(crate) fn pending(&mut self) -> bool {
        let pending = self.unanswered || self.adds_pending(false) || self.removals_pending() || self.answers_pending();
        self.dirty = pending;
        pending
    }

    /// Whether a new wildcard waits for its first response.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    pub(crate) fn has_rejected(&self) -> bool {
        self.standing().next().is_some() || self.outside.values().any(|o| o.refused)
    }

    /// Names that the client refused and of which it has no earlier version.
    pub(crate) fn rejected_fresh(&self) -> Vec<Arc<str>> {
        self.standing().filter(|(_, r)| r.fresh).map(|(n, _)| Arc::clone(n)).collect()
    }

    /// What a response may hold now; `waits` keeps a resource back.
    pub(crate) fn difference(&self, allowed: Allowed, waits: impl Fn(&Resource) -> bool) -> Difference {
        let mut found = Difference { complete: true, ..Difference::default() };
        if !self.dirty {
            return found;
        }
        let mut bytes = 0;
        for (name, entry) in &self.outside {
            if entry.refused {
                found.complete = false;
                continue;
            }
            let due = if entry.held { allowed.removals } else { entry.owed };
            let len = name.len() + 4;
            if due && bytes + len <= allowed.bytes_max {
                bytes += len;
                found.removed.push(Arc::clone(name));
            } else if entry.held || entry.owed {
                found.complete = false;
            }
        }
        for at in 0..self.held.len() {
            if !self.is_due(at) {
                continue;
            }
            let resource = &self.table.resources[at];
            let len = resource.encoded().len();
            let fits = bytes + len <= allowed.bytes_max || (found.adds.is_empty() && found.removed.is_empty());
            if allowed.adds && fits && !waits(resource) {
                bytes += len;
                found.adds.push(at as u32);
            } else {
                found.complete = false;
            }
        }
        found
    }

    /// Takes the difference as sent; returns its resources, and the removed names that the client may have held.
    pub(crate) fn mark_sent(&mut self, difference: &Difference) -> (Vec<SentEntry>, Vec<Arc<str>>) {
        let mut removed = Vec::new();
        self.unanswered = false;
        for name in &difference.removed {
            if let Some(entry) = self.outside.get_mut(name) {
                if entry.held {
                    removed.push(Arc::clone(name));
                }
                (entry.held, entry.owed) = (false, false);
                if !entry.named {
                    self.outside.remove(name);
                }
            }
        }
        let mut entries = Vec::with_capacity(difference.adds.len());
        for &at in &difference.adds {
            let at = at as usize;
            let resource = &self.table.resources[at];
            let refused = self.rejected.get(resource.name()).is_some_and(|r| r.fresh);
            entries.push(SentEntry {
                name: Arc::clone(resource.name()),
                version: Arc::clone(resource.version()),
                content: resource.content(),
                fresh: self.held[at] == 0 || refused,
            });
            self.held[at] = resource.content();
            self.resend.set(at, false);
        }
        (entries, removed)
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The client took these.
    pub(crate) fn accept(&mut self, entries: &[SentEntry]) {
        for entry in entries {
            self.rejected.remove(&entry.name);
        }
        if !self.rejected_by_name {
            let table = &self.table;
            self.rejected.retain(|name, r| table.content(name) != Some(r.content));
        }
    }

    /// The client refused these, or those of them that its words name. They stay unsent until their content changes.
    ///
    /// With `again`, those that the words do not name are sent once more, without the refused ones: the client may have
    /// stopped at the first fault. It ends, for each refusal leaves fewer.
    pub(crate) fn reject(&mut self, outstanding: &Outstanding, words: &str, again: bool) {
        let (entries, removed) = (&outstanding.entries, &outstanding.removed);
        let names = entries.iter().map(|e| &e.name).chain(removed);
        let by_name = names.into_iter().any(|name| mentions(words, name));
        self.rejected_by_name = by_name;
        let meant = |name: &str| !by_name || mentions(words, name);
        for entry in entries.iter().filter(|e| meant(&e.name)) {
            // A newer content is on its way already, and will be judged by itself.
            if self.table.content(&entry.name) == Some(entry.content) {
                let rejected = Rejected { content: entry.content, fresh: entry.fresh };
                self.rejected.insert(Arc::clone(&entry.name), rejected);
            }
        }
        for entry in entries.iter().filter(|e| again && !meant(&e.name)) {
            self.resend_held(&entry.name);
        }
        for name in removed.iter().filter(|name| meant(name)) {
            let named = self.outside.get(name).is_some_and(|o| o.named);
            if self.table.position(name).is_none() && (self.wildcard || named) {
                let entry = self.outside.entry(Arc::clone(name)).or_default();
                (entry.held, entry.refused) = (true, true);
            }
        }
    }
}

/// Whether `words` contain `name` as a word of its own.
fn mentions(words: &str, name: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_' || c == '/');
    words
        .match_indices(name)
        .any(|(at, _)| !part(words[..at].chars().next_back()) && !part(words[at + name.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_only_as_a_word() {
        assert!(mentions("Error adding/updating cluster(s) pay-1: bad", "pay-1"));
        assert!(!mentions("Error adding/updating cluster(s) pay-12: bad", "pay-1"));
        assert!(!mentions("", "pay-1"));
    }

    #[test]
    fn bits_keep_their_places() {
        let mut bits = Bits::new(130);
        for at in [0, 63, 64, 129] {
            bits.set(at, true);
        }
        bits.set(63, false);
        assert_eq!((0..140).filter(|&at| bits.get(at)).collect::<Vec<_>>(), [0, 64, 129]);
    }
}
