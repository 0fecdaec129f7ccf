//! From raw lines to rows: what the demo prints and what `verify-run` recomputes are this one computation.
//!
//! Owns counting; refuses every other source: marks, the generator's lines, the backends' lines, the server's own words,
//! the subscribers' lines, the proxies' own tries, and the topology that the run wrote down. What one of these says of
//! another is checked (see `integrity`), never believed.

mod ailing;
mod integrity;
mod reached;
mod span;

use crate::clock::ms_between;
use crate::expect;
use crate::raw::{
    BackendLine, LoadLine, Mark, MarkKind, Outcome, Received, Sent, Served, ServerLine, Tries, read_lines,
};
use crate::shape::{DemoJson, LastFailed, Measures, ProxyCount, StoryRow};
use crate::topology::Topology;
use serde::{Deserialize, Serialize};
use span::StorySpan;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Name of the file that says what the run was.
pub(crate) const RUN_FILE: &str = "run.json";
/// The gate's window after a fault.
const WINDOW_NS: u64 = 10_000_000_000;
/// A GET later than this is late.
const LATE_NS: u64 = 200_000_000;
/// Width of the windows in which a region's load is judged.
const LIMIT_WINDOW_NS: u64 = 1_000_000_000;
/// How long before the fault and before the end of a story an endpoint is looked at.
const CARRIES_NS: u64 = 5_000_000_000;
/// Requests in that time from which on silence afterwards is no chance.
const CARRIES_ENOUGH: u64 = 10;
/// Suffix of the control part of a story.
pub(crate) const CONTROL: &str = "/control";

/// `run.json`: what a run was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFacts {
    /// Version of this file.
    pub version: u32,
    /// Version of the real Envoy, or empty.
    pub envoy_version: String,
    /// Addresses, limits, classes.
    pub topology: Topology,
    /// Proxies that ran.
    pub proxies: Vec<String>,
    /// Steered proxies and synthetic subscribers that had to acknowledge each plan.
    pub subscribers: u64,
    /// Stories that were to be played.
    pub stories: Vec<String>,
}

/// Everything that was written down in one run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    facts: RunFacts,
    marks: Vec<Mark>,
    sent: Vec<Sent>,
    streams: Vec<(String, u64)>,
    stalls: Vec<(String, u64, u64)>,
    served: Vec<Served>,
    tries: Vec<Tries>,
    said: Vec<ServerLine>,
    received: Vec<Received>,
    /// Regions whose backends have said that they came up.
    up: BTreeSet<String>,
}

impl Run {
    /// Reads a run's directory.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let facts =
            std::fs::read(dir.join(RUN_FILE)).map_err(|e| anyhow::anyhow!("{}: {e}", dir.join(RUN_FILE).display()))?;
        let facts: RunFacts = serde_json::from_slice(&facts)?;
        anyhow::ensure!(facts.version == 2, "{RUN_FILE} has version {}, this program reads 2", facts.version);
        let mut run = Self {
            facts,
            marks: read_lines(&dir.join("marks.jsonl"))?,
            sent: Vec::new(),
            streams: Vec::new(),
            stalls: Vec::new(),
            served: Vec::new(),
            tries: Vec::new(),
            said: Vec::new(),
            received: Vec::new(),
            up: BTreeSet::new(),
        };
        let mut names: Vec<_> = std::fs::read_dir(dir)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
        names.sort();
        for path in names {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if !name.ends_with(".jsonl") {
                continue;
            }
            if name.starts_with("load") {
                run.take_load(read_lines(&path)?);
            } else if name.starts_with("backend-") {
                for line in read_lines(&path)? {
                    match line {
                        BackendLine::Request(s) => run.served.push(s),
                        BackendLine::Started { region, .. } => drop(run.up.insert(region)),
                        BackendLine::Accepted { .. } => {}
                    }
                }
            } else if name.starts_with("proxies") {
                run.tries.extend(read_lines::<Tries>(&path)?);
            } else if name.starts_with("server") {
                run.said.extend(read_lines::<ServerLine>(&path)?);
            } else if name.starts_with("subscribers") {
                run.received.extend(read_lines::<Received>(&path)?);
            }
        }
        run.sent.sort_by_key(|s| s.t_sched_ns);
        run.served.sort_by_key(|s| s.t_ns);
        run.tries.sort_by_key(|t| t.t_ns);
        Ok(run)
    }
    fn take_load(&mut self, lines: Vec<LoadLine>) {
        for line in lines {
            match line {
                LoadLine::Request(sent) => self.sent.push(sent),
                LoadLine::Stream { proxy, t_end_ns, .. } => self.streams.push((proxy, t_end_ns)),
                LoadLine::Stalled { proxy, t_ns, left_out } => self.stalls.push((proxy, t_ns, left_out)),
            }
        }
    }
    /// The whole summary.
    pub(crate) fn summarise(&self) -> DemoJson {
        let mut stories: Vec<StoryRow> = Vec::new();
        for story in self.stories() {
            let row = self.row(&story);
            let of = story.name.strip_suffix(CONTROL);
            if let Some(main) = of.and_then(|of| stories.iter_mut().rev().find(|s| s.name == of)) {
                merge_control(main, row);
                continue;
            }
            stories.push(row);
        }
        for row in &mut stories {
            row.broken.extend(expect::broken(row));
        }
        let faults = self.faults();
        DemoJson {
            ok: faults.is_empty() && stories.iter().all(|s| s.broken.is_empty()),
            envoy_version: self.facts.envoy_version.clone(),
            network: self.facts.topology.network.clone(),
            stories,
            faults,
        }
    }

    fn stories(&self) -> Vec<StorySpan> {
        let mut out: Vec<StorySpan> = Vec::new();
        for mark in &self.marks {
            if mark.what == MarkKind::Begin {
                out.push(StorySpan::begun(mark));
                continue;
            }
            if let Some(span) = out.iter_mut().rev().find(|s| s.name == mark.story) {
                span.take(mark);
            }
        }
        out.iter_mut().for_each(|span| span.hear(&self.said, &self.facts));
        let mut next = None;
        for span in out.iter_mut().rev() {
            span.next = next;
            next = Some(span.span().0);
        }
        out
    }

    fn row(&self, story: &StorySpan) -> StoryRow {
        let anchor = self.facts.proxies.iter().any(|p| p == crate::backend::ANCHOR);
        let mut broken: Vec<String> = story.broken.clone();
        if story.end.is_none() {
            broken.push("the story was not played to its end".to_owned());
        }
        StoryRow {
            name: story.name.clone(),
            measures: self.measures(story, |p| p != crate::backend::ANCHOR),
            anchor: anchor.then(|| self.measures(story, |p| p == crate::backend::ANCHOR)),
            skipped: story.skipped.clone(),
            broken,
        }
    }

    fn measures(&self, story: &StorySpan, mine: impl Fn(&str) -> bool + Copy) -> Measures {
        let (from, to) = story.span();
        let anchor = mine(crate::backend::ANCHOR);
        let mut m = Measures::default();
        let since = |at: Option<u64>| at.map(|t| ms_between(from, t));
        if !anchor {
            m.fault_to_verdict_ms = since(story.verdict);
            m.fault_to_all_acked_ms = since(story.all_acked);
        }
        self.count_sent(&mut m, story, mine);
        self.count_high(&mut m, story, mine);
        // What was still under way when the fault came belongs to the fault.
        m.server_dead_alone = story.dead_alone().map(|(a, b)| {
            self.part(mine, |s| s.t_sched_ns >= a && s.t_sched_ns < b && (s.t_done_ns < b || story.fault.is_none()))
        });
        m.server_dead_and_fault = story.dead_and_fault().map(|(a, b)| {
            let killed = story.server_killed.unwrap_or(a);
            self.part(mine, |s| s.t_sched_ns >= killed && s.t_sched_ns < b && s.t_done_ns >= a)
        });
        m.failed_in_flight = self.part(mine, |s| story.caught(s)).failed;
        if !anchor {
            m.reached_drained = self.reached_drained(story);
            m.empty_or_older = self.empty_or_older(story);
            m.idle_forbidden_s = self.idle_forbidden_s(story);
        }
        m.ailing = self.ailing(story, mine, !anchor);
        m.endpoints_not_back = self.not_back(story, mine);
        self.count_served(&mut m, from, to, mine);
        m.over_limit_ms = if anchor { 0 } else { self.over_limit_ms(story) };
        self.count_tries(&mut m, story, mine);
        let within = |t: u64| (from..=to).contains(&t);
        m.streams_ended = self.streams.iter().filter(|(p, t)| mine(p) && within(*t)).count() as u64;
        m.left_out = self.stalls.iter().filter(|(p, t, _)| mine(p) && within(*t)).map(|(_, _, n)| n).sum();
        m
    }

    fn count_sent(&self, m: &mut Measures, story: &StorySpan, mine: impl Fn(&str) -> bool) {
        let (from, _) = story.span();
        let mut last = LastFailed::default();
        for name in self.facts.proxies.iter().filter(|p| mine(p)) {
            // A proxy that stood and failed nothing has 0, one that did not stand has null.
            *last_of(&mut last, name) = Some(0);
        }
        for sent in self.sent.iter().filter(|s| mine(&s.proxy) && story.holds(s)) {
            m.requests += 1;
            let count: &mut ProxyCount = m.by_proxy.entry(sent.proxy.clone()).or_default();
            count.requests += 1;
            let get = sent.method == "GET";
            // Shares are of what may be answered: a 451 cannot fail.
            let early = sent.t_sched_ns < from + WINDOW_NS && sent.outcome != Outcome::Refused451;
            let failed = sent.outcome == Outcome::Failed;
            m.requests_10s += u64::from(early);
            m.failed_10s += u64::from(early && failed);
            match sent.outcome {
                Outcome::Failed => {
                    count.failed += 1;
                    let slot = last_of(&mut last, &sent.proxy);
                    *slot = (*slot).max(Some(ms_between(from, sent.t_sched_ns)));
                }
                Outcome::Shed => {
                    count.shed += 1;
                    m.shed += 1;
                }
                Outcome::Refused451 => m.refused_451 += 1,
                Outcome::Ok => m.forbidden_requests += u64::from(self.answered_from_forbidden(sent)),
            }
            m.failed_post += u64::from(failed && !get);
            count.answerable += u64::from(sent.outcome != Outcome::Refused451);
            count.answerable_get_10s += u64::from(get && early);
            count.failed_get_10s += u64::from(failed && get && early);
            if get {
                let late = sent.t_done_ns.saturating_sub(sent.t_sched_ns) > LATE_NS;
                m.failed_get += u64::from(failed);
                m.over_200ms_get += u64::from(late);
                m.get_10s += u64::from(early);
                m.failed_get_10s += u64::from(early && failed);
                m.over_200ms_get_10s += u64::from(early && late);
                m.by_proxy.entry(sent.proxy.clone()).or_default().over_200ms_get_10s += u64::from(early && late);
            }
        }
        m.fault_to_last_failed_request_ms = last;
    }

    /// What the highest class lost, and how.
    fn count_high(&self, m: &mut Measures, story: &StorySpan, mine: impl Fn(&str) -> bool) {
        for sent in self.sent.iter().filter(|s| mine(&s.proxy) && story.holds(s)) {
            if self.facts.topology.class(&sent.class).is_none_or(|c| c.priority != 0) {
                continue;
            }
            let lost = match sent.outcome {
                Outcome::Failed if sent.method == "GET" => &mut m.failed_high_get,
                Outcome::Failed => &mut m.failed_high_post,
                Outcome::Shed => &mut m.shed_high,
                Outcome::Ok | Outcome::Refused451 => continue,
            };
            *lost += 1;
            m.failed_high += 1;
            let late = story.all_acked.is_some_and(|acked| sent.t_sched_ns > acked);
            m.failed_high_after_ack += u64::from(late && sent.outcome == Outcome::Failed);
        }
    }

    /// What was due in one part of a story.
    fn part(&self, mine: impl Fn(&str) -> bool, within: impl Fn(&Sent) -> bool) -> ProxyCount {
        let mut out = ProxyCount::default();
        for sent in self.sent.iter().filter(|s| mine(&s.proxy) && within(s)) {
            out.requests += 1;
            out.failed += u64::from(sent.outcome == Outcome::Failed);
            out.shed += u64::from(sent.outcome == Outcome::Shed);
        }
        out
    }

    /// Endpoints that carried load when the fault came and carry none at the story's end: whoever ejected them did it
    /// for good. One that carried too little to tell is not judged.
    fn not_back(&self, story: &StorySpan, mine: impl Fn(&str) -> bool) -> u64 {
        let (fault, to) = story.span();
        let served = |from: u64, to: u64| {
            let mut of: BTreeMap<&str, u64> = BTreeMap::new();
            for s in self.served.iter().filter(|s| mine(&s.proxy) && (from..to).contains(&s.t_ns)) {
                *of.entry(&s.endpoint).or_default() += 1;
            }
            of
        };
        let before = served(fault.saturating_sub(CARRIES_NS).max(story.begin), fault);
        let after = served(to.saturating_sub(CARRIES_NS).max(fault), to);
        before.iter().filter(|(e, n)| **n >= CARRIES_ENOUGH && !after.contains_key(*e)).count() as u64
    }

    /// An answer from where the class may not be, or through a proxy that may not answer for it.
    fn answered_from_forbidden(&self, sent: &Sent) -> bool {
        let topology = &self.facts.topology;
        let Some(class) = topology.class(&sent.class) else { return true };
        let region = topology.region_of(&sent.endpoint).map(|r| r.jurisdiction.as_str());
        let proxy = topology.proxy(&sent.proxy).map(|p| p.jurisdiction.as_str());
        !region.is_some_and(|j| class.may_be_in(j)) || !proxy.is_some_and(|j| class.may_be_in(j))
    }

    fn count_served(&self, m: &mut Measures, from: u64, to: u64, mine: impl Fn(&str) -> bool) {
        let mut executed: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for served in self.served.iter().filter(|s| mine(&s.proxy)) {
            if served.method == "POST" && served.status < 300 {
                let seen = executed.entry(&served.id).or_insert((served.t_ns, 0));
                seen.1 += 1;
            }
            m.forbidden_requests += u64::from(self.may_not_be(served) && (from..to).contains(&served.t_ns));
        }
        m.double_posts = executed.values().filter(|(t, n)| *n > 1 && (from..to).contains(t)).count() as u64;
    }

    /// Whole windows in which a region was sent more than its limit; 5 % and three requests are left for the fact that
    /// requests are whole and weights are shares.
    fn over_limit_ms(&self, story: &StorySpan) -> u64 {
        let (from, to) = story.span();
        let topology = &self.facts.topology;
        let mut counts: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        for served in self.served.iter().filter(|s| s.proxy != crate::backend::ANCHOR && (from..to).contains(&s.t_ns)) {
            if let Some(region) = topology.region_of(&served.endpoint) {
                *counts.entry((&region.name, (served.t_ns - from) / LIMIT_WINDOW_NS)).or_default() += 1;
            }
        }
        let mut over: BTreeSet<u64> = BTreeSet::new();
        for ((region, window), n) in counts {
            let limit = topology.regions.iter().find(|r| r.name == region).map_or(0, |r| r.safe_milli_rps) / 1000;
            let at = from + window * LIMIT_WINDOW_NS;
            if n > limit + limit / 20 + 3 && story.judged(at) {
                over.insert(window);
            }
        }
        over.len() as u64 * LIMIT_WINDOW_NS / 1_000_000
    }
}

/// A control run belongs to its story: what it reached is a number there, what went wrong in it breaks it.
fn merge_control(main: &mut StoryRow, control: StoryRow) {
    main.measures.control_forbidden_requests = Some(control.measures.forbidden_requests);
    main.broken.extend(control.broken.into_iter().map(|b| format!("control run: {b}")));
    let twice = control.measures.double_posts;
    if twice > 0 {
        main.broken.push(format!("control run: {twice} POSTs were executed twice"));
    }
}

fn last_of<'a>(last: &'a mut LastFailed, proxy: &str) -> &'a mut Option<i64> {
    if proxy.starts_with("edge") { &mut last.edge } else { &mut last.envoy }
}

#[cfg(test)]
mod tests;
