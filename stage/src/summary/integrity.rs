//! Whether a run's files fit together: each fact that one part wrote down is held against what another part saw.
//!
//! Owns the cross-checks over the whole run; refuses to correct anything. A file that is missing, a stored judgement
//! that its own line does not bear out, an answer that no backend gave: then nothing of the run is to be believed.

use super::Run;
use crate::load::classify;
use crate::raw::{MarkKind, Outcome, Sent, Served};
use std::collections::{BTreeMap, BTreeSet};

/// Faults of one kind that are told one by one.
const TOLD: usize = 3;

impl Run {
    /// What does not fit, in sentences.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut out = self.unplayed();
        for region in self.facts.topology.regions.iter().filter(|r| !self.up.contains(&r.name)) {
            out.push(format!("no backend of {} has written that it came up", region.name));
        }
        several(&mut out, "requests whose outcome is not what their answer says", self.sent.iter(), |s| {
            (classify(s.status, &s.error, &s.refusal, self.is_refused(s)) != s.outcome).then(|| s.id.clone())
        });
        several(
            &mut out,
            "backend lines that call forbidden what is not, or the other way round",
            self.served.iter(),
            |s| (self.may_not_be(s) != s.forbidden).then(|| format!("{} at {}", s.id, s.endpoint)),
        );
        let seen: BTreeSet<(&str, &str)> =
            self.served.iter().filter(|s| s.status < 300).map(|s| (s.id.as_str(), s.endpoint.as_str())).collect();
        let answered = self.sent.iter().filter(|s| s.outcome == Outcome::Ok);
        several(&mut out, "answers that no backend has given", answered, |s| {
            (!seen.contains(&(s.id.as_str(), s.endpoint.as_str()))).then(|| format!("{} of {}", s.id, s.endpoint))
        });
        out
    }

    fn unplayed(&self) -> Vec<String> {
        let mut played: BTreeMap<&str, bool> = BTreeMap::new();
        for mark in &self.marks {
            *played.entry(&mark.story).or_default() |= mark.what == MarkKind::End;
        }
        let missing = |s: &&String| !played.get(s.as_str()).copied().unwrap_or(false);
        let mut out: Vec<String> = self
            .facts
            .stories
            .iter()
            .filter(missing)
            .map(|s| format!("the story {s} was to be played and has no end"))
            .collect();
        if self.facts.stories.is_empty() {
            out.push("the run does not say which stories were to be played".to_owned());
        }
        out
    }

    /// This class is to be answered 451 where this proxy stands.
    fn is_refused(&self, sent: &Sent) -> bool {
        let topology = &self.facts.topology;
        let proxy = topology.proxy(&sent.proxy).map(|p| p.jurisdiction.as_str()).unwrap_or_default();
        topology.class(&sent.class).is_none_or(|c| !c.may_be_in(proxy))
    }

    /// The class of a request may not be where a backend saw it. One without a known class may be where every class may.
    pub(super) fn may_not_be(&self, served: &Served) -> bool {
        let topology = &self.facts.topology;
        let Some(region) = topology.region_of(&served.endpoint) else { return true };
        let here = region.jurisdiction.as_str();
        match topology.class(&served.class) {
            Some(class) => !class.may_be_in(here),
            None => !topology.classes.iter().all(|c| c.may_be_in(here)),
        }
    }
}

/// Adds one sentence for all that are wrong in the same way, with the first of them by name.
fn several<T>(out: &mut Vec<String>, what: &str, of: impl Iterator<Item = T>, wrong: impl Fn(T) -> Option<String>) {
    let (mut count, mut first) = (0_u64, Vec::new());
    for name in of.filter_map(wrong) {
        count += 1;
        if first.len() < TOLD {
            first.push(name);
        }
    }
    if count > 0 {
        out.push(format!("{count} {what}: {}", first.join(", ")));
    }
}
