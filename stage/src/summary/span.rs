//! One story of a run: from when to when, what died, and what the server said of it.
//!
//! Owns the reading of marks and of the server's own lines. Times of verdicts and acknowledgements come from what the
//! server said, not from the player's marks; refuses to count requests.

use super::{LIMIT_WINDOW_NS, RunFacts};
use crate::raw::{Mark, MarkKind, Sent, ServerLine};
use std::collections::BTreeMap;

/// One story's marks in order.
#[derive(Debug, Clone, Default)]
pub(super) struct StorySpan {
    pub(super) name: String,
    pub(super) begin: u64,
    pub(super) fault: Option<u64>,
    pub(super) dead: Vec<String>,
    /// The region that answers its data badly and its health path well.
    pub(super) ailing: Option<String>,
    /// When that region was first said to have no weight.
    pub(super) left: Option<u64>,
    pub(super) verdict: Option<u64>,
    pub(super) proxy_acked: BTreeMap<String, u64>,
    pub(super) all_acked: Option<u64>,
    pub(super) repaired: Option<u64>,
    pub(super) server_killed: Option<u64>,
    pub(super) server_back: Option<u64>,
    pub(super) end: Option<u64>,
    /// From when the next story of the run counts.
    pub(super) next: Option<u64>,
    pub(super) skipped: Option<String>,
    pub(super) broken: Vec<String>,
    unjudged: Vec<(u64, u64)>,
    /// Provider, from when it was empty, and until when it had to stay so.
    pub(super) emptied: Vec<(String, u64, u64)>,
}

impl StorySpan {
    pub(super) fn begun(mark: &Mark) -> Self {
        Self { name: mark.story.clone(), begin: mark.t_ns, ..Self::default() }
    }
    pub(super) fn take(&mut self, mark: &Mark) {
        let t = mark.t_ns;
        match &mark.what {
            MarkKind::Begin => {}
            MarkKind::Fault { providers } => {
                self.fault.get_or_insert(t);
                self.dead.extend(providers.iter().cloned());
            }
            MarkKind::Ailing { region } => self.ailing = Some(region.clone()),
            // For people: the times themselves come from what the server said.
            MarkKind::Verdict | MarkKind::ProxyAcked { .. } | MarkKind::AllAcked { .. } => {}
            MarkKind::Repaired => {
                self.repaired.get_or_insert(t);
            }
            MarkKind::ServerKilled => {
                self.server_killed.get_or_insert(t);
            }
            MarkKind::ServerBack => {
                self.server_back.get_or_insert(t);
            }
            MarkKind::LimitsJudged { judged: false } => self.unjudged.push((t, u64::MAX)),
            MarkKind::LimitsJudged { judged: true } => {
                if let Some(open) = self.unjudged.last_mut() {
                    open.1 = t;
                }
            }
            MarkKind::Emptied { provider } => self.emptied.push((provider.clone(), t, u64::MAX)),
            MarkKind::Refilling { provider } => {
                for (_, _, until) in self.emptied.iter_mut().filter(|(p, ..)| p == provider) {
                    *until = t.min(*until);
                }
            }
            MarkKind::Claim { held: true, .. } => {}
            MarkKind::Claim { text, held: false } => self.broken.push(text.clone()),
            MarkKind::Skipped { why } => self.skipped = Some(why.clone()),
            MarkKind::End => self.end = Some(t),
        }
    }
    /// Takes from the server's lines when it gave its verdict on all that died, when a plan without them stood, and when
    /// each proxy and everybody was in step with that.
    pub(super) fn hear(&mut self, said: &[ServerLine], facts: &RunFacts) {
        self.left = said.iter().find_map(|l| match l {
            ServerLine::Weight { t_ns, region, bps: 0 }
                if Some(region) == self.ailing.as_ref() && self.fault.is_some_and(|fault| *t_ns >= fault) =>
            {
                Some(*t_ns)
            }
            _ => None,
        });
        let (Some(fault), false) = (self.fault, self.dead.is_empty()) else { return };
        let end = self.end.unwrap_or(u64::MAX);
        let on = |provider: &String| {
            said.iter().find_map(|l| match l {
                ServerLine::Verdict { t_ns, provider: p, down: true } if p == provider && *t_ns >= fault => Some(*t_ns),
                _ => None,
            })
        };
        let verdicts: Option<Vec<u64>> = self.dead.iter().map(on).collect();
        self.verdict = verdicts.and_then(|v| v.into_iter().max()).filter(|t| *t <= end);
        let rid = |region: &String| !self.dead.iter().any(|p| region.split('/').next() == Some(p));
        let planned = said.iter().find_map(|l| match l {
            ServerLine::Plan { t_ns, carries, .. }
                if *t_ns >= fault && !carries.is_empty() && carries.iter().all(rid) =>
            {
                Some(*t_ns)
            }
            _ => None,
        });
        let Some(planned) = planned.filter(|t| *t <= end) else { return };
        for line in said {
            let ServerLine::Edges { t_ns, synced, all } = line else { continue };
            if !(planned..=end).contains(t_ns) || self.all_acked.is_some() {
                continue;
            }
            for proxy in synced {
                self.proxy_acked.entry(proxy.clone()).or_insert(*t_ns);
            }
            let ours = facts.proxies.iter().filter(|p| *p != crate::backend::ANCHOR);
            if *all >= facts.subscribers && ours.clone().all(|p| self.proxy_acked.contains_key(p)) {
                self.all_acked = Some(*t_ns);
            }
        }
    }
    /// Due in this story, from the fault on. What is still under way when the next story's fault comes is that one's.
    pub(super) fn holds(&self, sent: &Sent) -> bool {
        let (from, to) = self.span();
        (from..to).contains(&sent.t_sched_ns) && self.next.is_none_or(|next| sent.t_done_ns < next)
    }
    /// Due before the fault and still without an answer when it came.
    pub(super) fn caught(&self, sent: &Sent) -> bool {
        let (from, _) = self.span();
        sent.t_sched_ns < from && sent.t_done_ns >= from
    }
    /// From the fault, or the beginning where there was none, to the end.
    pub(super) fn span(&self) -> (u64, u64) {
        (self.fault.unwrap_or(self.begin), self.end.unwrap_or(u64::MAX))
    }
    /// When this proxy acknowledged the answer to the fault. The anchor acknowledges nothing: its tries are cut where
    /// the last of ours are, so that both are counted over the same time.
    pub(super) fn acked_by(&self, proxy: &str) -> Option<u64> {
        if proxy == crate::backend::ANCHOR {
            return self.proxy_acked.values().max().copied().or(self.all_acked);
        }
        self.proxy_acked.get(proxy).copied()
    }
    /// The server dead, and nothing else wrong.
    pub(super) fn dead_alone(&self) -> Option<(u64, u64)> {
        let killed = self.server_killed?;
        let until = self.fault.or(self.server_back).or(self.end)?;
        (until > killed).then_some((killed, until))
    }
    /// The server dead and something else failing.
    pub(super) fn dead_and_fault(&self) -> Option<(u64, u64)> {
        let (killed, fault) = (self.server_killed?, self.fault?);
        let until = self.server_back.or(self.end)?;
        (fault >= killed && until > fault).then_some((fault, until))
    }
    /// A limit is judged while our weights rule: not in all-down, and after an outage not before the new weights stand
    /// (until then the data plane's own ejection spreads the load).
    pub(super) fn judged(&self, at: u64) -> bool {
        if !self.dead.is_empty() && self.all_acked.is_some_and(|acked| at < acked) {
            return false;
        }
        if self.ailing.is_some() && self.left.is_none_or(|left| at < left) {
            return false;
        }
        !self.unjudged.iter().any(|(from, to)| (*from..*to).contains(&(at + LIMIT_WINDOW_NS / 2)))
    }
}
