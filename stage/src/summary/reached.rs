//! Who reached what it should not have: tries at the dead, requests at the drained, resources that were gone.
//!
//! Owns these counts, from the proxies' own statistics, the backends' lines and the subscribers' lines.

use super::Run;
use super::span::StorySpan;
use crate::backend::ANCHOR;
use crate::raw::Tries;
use crate::shape::Measures;
use std::collections::{BTreeMap, BTreeSet};

/// How a counter grew over readings in order. One that falls belongs to a process that was started anew.
fn growth(readings: &[&Tries], count: impl Fn(&Tries) -> u64) -> u64 {
    let step = |pair: &[&Tries]| {
        let (was, now) = (count(pair[0]), count(pair[1]));
        now.checked_sub(was).unwrap_or(now)
    };
    readings.windows(2).map(step).sum()
}

impl Run {
    /// Tries at the dead providers, before and after each proxy's acknowledgement.
    pub(super) fn count_tries(&self, m: &mut Measures, story: &StorySpan, mine: impl Fn(&str) -> bool) {
        let (from, end) = story.span();
        if story.dead.is_empty() {
            return;
        }
        let end = story.repaired.unwrap_or(end);
        for proxy in self.facts.proxies.iter().filter(|p| mine(p)) {
            for provider in &story.dead {
                let of = self.tries.iter().filter(|t| &t.proxy == proxy && &t.provider == provider && t.t_ns <= end);
                let of: Vec<&Tries> = of.collect();
                let Some(first) = of.iter().rposition(|t| t.t_ns <= from) else { continue };
                let acked = story.acked_by(proxy).and_then(|at| of.iter().position(|t| t.t_ns >= at));
                let acked = acked.unwrap_or(of.len() - 1).max(first);
                // By what had begun when it acknowledged: a connection that fails later was not opened later.
                let after = growth(&of[acked..], |t| t.begun);
                // What is begun may be counted twice; what is tried afterwards is no more than was tried.
                let later = growth(&of[acked..], |t| t.tries).min(after);
                let before = growth(&of[first..], |t| t.tries).saturating_sub(later);
                m.reached_dead_before_ack += before;
                m.reached_dead_after_ack += after;
                let count = m.by_proxy.entry(proxy.clone()).or_default();
                count.reached_dead_before_ack += before;
                count.reached_dead_after_ack += after;
            }
        }
    }

    /// Requests that backends of a drained provider saw after it was said to be empty.
    pub(super) fn reached_drained(&self, story: &StorySpan) -> u64 {
        let of = |provider: &str, endpoint: &str| {
            self.facts.topology.region_of(endpoint).is_some_and(|r| r.provider == provider)
        };
        let ours = self.served.iter().filter(|s| s.proxy != ANCHOR);
        let seen = |s: &&crate::raw::Served| {
            story.emptied.iter().any(|(p, from, until)| (*from..*until).contains(&s.t_ns) && of(p, &s.endpoint))
        };
        ours.filter(seen).count() as u64
    }

    /// Responses after the server's return that were made from an older generation than a subscriber had before its
    /// death, took something away, or emptied an assignment that had endpoints.
    pub(super) fn empty_or_older(&self, story: &StorySpan) -> u64 {
        let (Some(killed), Some(back)) = (story.server_killed, story.server_back) else { return 0 };
        let end = story.end.unwrap_or(u64::MAX);
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        let mut filled: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut wrong = 0;
        for line in &self.received {
            let node = line.node.as_str();
            let assignments = || line.resources.iter().filter(|_| line.kind == "EDS").map(String::as_str);
            if line.t_ns < killed {
                let known = newest.entry(node).or_default();
                *known = (*known).max(line.generation.unwrap_or(0));
                let of = filled.entry(node).or_default();
                for name in assignments() {
                    match line.empty.iter().any(|e| e == name) {
                        true => of.remove(name),
                        false => of.insert(name),
                    };
                }
            } else if (back..=end).contains(&line.t_ns) {
                let older = line.generation < newest.get(node).copied();
                let emptied = line.empty.iter().any(|e| filled.get(node).is_some_and(|of| of.contains(e.as_str())));
                wrong += u64::from(older || emptied || !line.removed.is_empty());
            }
        }
        wrong
    }

    /// In a story with a control run: whole seconds in which the place that is forbidden to most served nothing of the
    /// class that may be there. It has to stand as a candidate all along, else nothing was forbidden to anybody.
    pub(super) fn idle_forbidden_s(&self, story: &StorySpan) -> u64 {
        if story.name != "forbidden-cheapest" {
            return 0;
        }
        const SECOND: u64 = 1_000_000_000;
        let (from, to) = story.span();
        let belgium = |endpoint: &str| self.facts.topology.region_of(endpoint).is_some_and(|r| r.jurisdiction == "BE");
        let served: BTreeSet<u64> = self
            .served
            .iter()
            .filter(|s| s.proxy != ANCHOR && s.status == 200 && (from..to).contains(&s.t_ns) && belgium(&s.endpoint))
            .map(|s| (s.t_ns - from) / SECOND)
            .collect();
        (to.saturating_sub(from) / SECOND).saturating_sub(served.len() as u64)
    }
}
