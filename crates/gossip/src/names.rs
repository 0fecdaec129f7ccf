//! Whose hash is whose, and who has been there for so long that everybody has heard of him.
//!
//! Owns that memory. Refuses nobody: what it does not know is looked for among foca's members.

use crate::identity::Id;
use std::collections::BTreeMap;
use tidegate_domain::{Millis, Mono};

/// After so long all others have heard of a member: fifteen sendings of it by everybody take two seconds.
const SPREAD: Millis = Millis(10_000);
/// And a newcomer has heard of all members after so long for each of them.
const HEARD_OF_EACH: Millis = Millis(600);
/// Names remembered at once. Beyond them all are forgotten, and are learned anew as they are needed.
const NAMES_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<u64, (Id, Mono)>);

impl Names {
    /// Whom this hash names. `among` looks for it among foca's members.
    pub(crate) fn find(&mut self, hash: u64, among: &dyn Fn(u64) -> Option<Id>, now: Mono) -> Option<Id> {
        if let Some((id, _)) = self.0.get(&hash) {
            return Some(id.clone());
        }
        let id = among(hash)?;
        self.learn(hash, &id, now);
        Some(id)
    }

    /// This member is there.
    pub(crate) fn is_up(&mut self, id: &Id, now: Mono) {
        let hash = id.hash();
        if !self.0.contains_key(&hash) {
            self.learn(hash, id, now);
        }
    }

    /// This identity is over: its member has another one.
    pub(crate) fn is_over(&mut self, id: &Id) {
        self.0.remove(&id.hash());
    }

    /// The hash of `id` where all others know whom it names.
    pub(crate) fn short(&mut self, id: &Id, now: Mono) -> Option<u64> {
        let hash = id.hash();
        match self.0.get(&hash) {
            Some((_, since)) => (now.since(*since) >= SPREAD).then_some(hash),
            None => {
                self.learn(hash, id, now);
                None
            }
        }
    }

    /// Whether the member of this hash has been there for so long that it has heard of all others: it is fed sixty of
    /// them at once, and is pinged by the rest in turn.
    pub(crate) fn knows_all(&self, hash: u64, now: Mono) -> bool {
        let all = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        let heard_of_all = Millis(HEARD_OF_EACH.0.saturating_mul(all)).max(SPREAD);
        self.0.get(&hash).is_some_and(|(_, since)| now.since(*since) >= heard_of_all)
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> usize {
        self.0.len()
    }

    fn learn(&mut self, hash: u64, id: &Id, now: Mono) {
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        self.0.insert(hash, (id.clone(), now));
    }
}
