//! A place that ails behind a health path that is well: how soon its weight fell, and what was lost until then.
//!
//! Owns these counts. Weights are taken from what the server said, requests from the generator's and the backends' lines.

use super::Run;
use super::span::StorySpan;
use crate::clock::ms_between;
use crate::raw::{Outcome, ServerLine};
use crate::shape::Ailing;

/// From so long after the fault on nothing but probes may reach the place.
const EMPTY_BY_NS: u64 = 15_000_000_000;
/// Requests are judged until the place is empty, and so long after.
const AFTER_NS: u64 = 30_000_000_000;

impl Run {
    /// None where no place ails in the story.
    pub(super) fn ailing(&self, story: &StorySpan, mine: impl Fn(&str) -> bool, steered: bool) -> Option<Ailing> {
        let (region, (from, to)) = (story.ailing.as_deref()?, story.span());
        let until = story.repaired.unwrap_or(to);
        let weights: Vec<(u64, u64)> = self.weights(region, story.begin, to);
        let before = weights.iter().rev().find(|(t, _)| *t <= from).map_or(0, |(_, bps)| *bps);
        let during = || weights.iter().filter(|(t, _)| (from..until).contains(t));
        let gone = during().find(|(_, bps)| *bps == 0).map(|(t, _)| *t);
        let mut out = Ailing { place: region.to_owned(), weight_before_bps: before, ..Ailing::default() };
        if steered {
            out.weight_falls_ms = during().find(|(_, bps)| *bps < before).map(|(t, _)| ms_between(from, *t));
            out.weight_gone_ms = gone.map(|t| ms_between(from, t));
            let after = weights.iter().filter(|(t, _)| *t >= until).collect::<Vec<_>>();
            out.falls_after_repair = after.windows(2).filter(|w| w[1].1 < w[0].1).count() as u64;
            let back = after.iter().find(|(_, bps)| *bps * 10 >= before * 9);
            out.back_after_repair_ms = back.map(|(t, _)| ms_between(until, *t));
        }
        let judged_to = gone.map_or(until, |t| t + AFTER_NS).min(until);
        out.judged_ms = ms_between(from, judged_to);
        let (mut before_ns, mut during_ns) = (Vec::new(), Vec::new());
        let there = |endpoint: &str| self.facts.topology.region_of(endpoint).is_some_and(|r| r.name == region);
        for sent in self.sent.iter().filter(|s| mine(&s.proxy)) {
            if !sent.slow && there(&sent.endpoint) && sent.t_sched_ns >= story.begin && sent.t_sched_ns < until {
                let of = if sent.t_sched_ns < from { &mut before_ns } else { &mut during_ns };
                of.push(sent.t_done_ns.saturating_sub(sent.t_sched_ns));
            }
            // A 451 cannot fail.
            if !(from..judged_to).contains(&sent.t_sched_ns) || sent.outcome == Outcome::Refused451 {
                continue;
            }
            let failed = u64::from(sent.outcome == Outcome::Failed);
            let (n, of) = match sent.method.as_str() {
                "GET" => (&mut out.failed_get, &mut out.get),
                _ => (&mut out.failed_post, &mut out.post),
            };
            *n += failed;
            *of += 1;
        }
        (out.p99_before_us, out.p99_during_us) = (p99_us(before_ns), p99_us(during_ns));
        for served in self.served.iter().filter(|s| mine(&s.proxy) && (from..until).contains(&s.t_ns)) {
            if !there(&served.endpoint) {
                continue;
            }
            out.answered_there += 1;
            out.errors_there += u64::from(served.status >= 500);
            out.reached_after_15s += u64::from(served.t_ns >= from + EMPTY_BY_NS);
        }
        Some(out)
    }

    /// When the region was said to have which weight, within the story.
    fn weights(&self, region: &str, begin: u64, end: u64) -> Vec<(u64, u64)> {
        let of = |line: &ServerLine| match line {
            ServerLine::Weight { t_ns, region: r, bps } if r == region => Some((*t_ns, *bps)),
            _ => None,
        };
        self.said.iter().filter_map(of).filter(|(t, _)| (begin..=end).contains(t)).collect()
    }
}

/// Microseconds; None of fewer than a hundred.
fn p99_us(mut times: Vec<u64>) -> Option<u64> {
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100).checked_sub(1)?;
    (times.len() >= 100).then(|| times[at] / 1000)
}
