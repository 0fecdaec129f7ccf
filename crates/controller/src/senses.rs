//! The newest picture of health: what the last cycle found, and the telling of what changed in it.

use crate::controller::Controller;
use crate::effect::Effect;
use crate::input::Now;
use crate::model::{AlarmLine, AtEdges};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_domain::{Accused, CycleOutput, Finding, Fleet, Health, Mono, Report, Verdict, View};
use tidegate_record::EventKind;

/// What the last cycle found.
#[derive(Debug, Default)]
pub(crate) struct Senses {
    pub(crate) verdicts: Arc<Vec<Verdict>>,
    pub(crate) report: Arc<Report>,
    pub(crate) wake: Option<Mono>,
    pub(crate) alarms: Vec<AlarmLine>,
    pub(crate) at_edges: Arc<AtEdges>,
    /// The verdict last told of each place.
    told: BTreeMap<Accused, Health>,
    /// What has been known to live since the start: what was never seen alive was not detected when it is called down.
    lived: BTreeSet<Accused>,
    /// What was told besides, by what it is about and its word.
    findings: BTreeSet<(String, &'static str)>,
}

impl Senses {
    /// What was told of places that `new` still has, under its indexes.
    pub(crate) fn turn(&mut self, old: &Fleet, new: &Fleet) {
        let by_name = |fleet: &Fleet| -> BTreeMap<String, Accused> {
            let providers = (0..fleet.providers.len()).map(|i| Accused::Provider(i.into()));
            let regions = (0..fleet.regions.len()).map(|i| Accused::Region(i.into()));
            let endpoints = (0..fleet.endpoints.len()).map(|i| Accused::Endpoint(i.into()));
            // An endpoint may be called as a provider is: the kind of thing is part of the key.
            let named = |a: Accused| (format!("{} {}", a.kind(), fleet.accused_name(a)), a);
            providers.chain(regions).chain(endpoints).map(named).collect()
        };
        let there = by_name(new);
        let moved =
            by_name(old).into_iter().filter_map(|(name, was)| Some((*there.get(&name)?, *self.told.get(&was)?)));
        self.told = moved.collect();
        let lives = |(a, h): (&Accused, &Health)| matches!(h, Health::Healthy | Health::Degraded).then_some(*a);
        self.lived = self.told.iter().filter_map(lives).collect();
    }
}

impl Controller {
    /// Keeps what a cycle reads of the edges for readers. Under a fleet that is not kept yet the indexes would be others.
    pub(crate) fn keep_edges(&mut self, view: &View, turns: bool) {
        let kept = AtEdges { demand: view.measured_demand.clone(), traffic: view.traffic.clone() };
        self.senses.at_edges = Arc::new(if turns { AtEdges::default() } else { kept });
    }

    /// Keeps the output as the newest picture; tells verdicts and alarms that changed.
    pub(crate) fn adopt(&mut self, output: CycleOutput, now: Now) {
        let Some(live) = self.live.clone() else { return };
        let CycleOutput { state, verdicts, report, wake } = output;
        // The first decision that is made with this verdict known: the one that has just been kept, or the next.
        let decision = self.decision_id + 1 + u64::from(self.pending.as_ref().is_some_and(|p| p.decision.is_some()));
        let found = tidegate_kernel::why::findings(&state, &live.fleet);
        for verdict in &verdicts {
            let from = self.senses.told.insert(verdict.accused, verdict.health).unwrap_or(Health::Unknown);
            if from != verdict.health {
                self.note_detected(&live.fleet, verdict, now);
                let (accused, to) = (live.fleet.accused_name(verdict.accused), verdict.health);
                let evidence = verdict.evidence(&live.fleet, &found);
                self.note_of(
                    now,
                    "electorate",
                    Some(decision),
                    EventKind::VerdictChanged { accused, from, to, evidence },
                );
            }
        }
        self.turn_findings(&found, decision, now);
        self.turn_alarms(&live.fleet, &report, now);
        self.state = Arc::new(state);
        self.senses.verdicts = Arc::new(verdicts);
        self.senses.report = Arc::new(report);
        self.senses.wake = wake;
    }

    /// For the metrics: how long it took to call down what had lived.
    fn note_detected(&mut self, fleet: &Fleet, verdict: &Verdict, now: Now) {
        match verdict.health {
            Health::Healthy | Health::Degraded => drop(self.senses.lived.insert(verdict.accused)),
            Health::Down if self.senses.lived.contains(&verdict.accused) => {
                let after = self.reports.failing.until(fleet, verdict.accused, now.mono);
                self.out.extend(after.map(|after| Effect::Detected { what: verdict.accused.kind(), after }));
            }
            Health::Down | Health::Unknown => {}
        }
    }

    /// Tells what was found anew and what is over. By name: a reload changes nothing in it.
    fn turn_findings(&mut self, found: &[Finding], decision: u64, now: Now) {
        let mut standing = BTreeSet::new();
        for f in found {
            let key = (format!("{} {}", f.kind, f.name), f.word);
            if !self.senses.findings.contains(&key) {
                let (about, finding, evidence) = (key.0.clone(), f.word.to_owned(), f.evidence.clone());
                let kind = EventKind::FindingChanged { about, finding, stands: true, evidence };
                self.note_of(now, "electorate", Some(decision), kind);
            }
            standing.insert(key);
        }
        for (about, word) in std::mem::replace(&mut self.senses.findings, standing) {
            if !self.senses.findings.contains(&(about.clone(), word)) {
                let (finding, evidence) = (word.to_owned(), String::new());
                let kind = EventKind::FindingChanged { about, finding, stands: false, evidence };
                self.note_of(now, "electorate", Some(decision), kind);
            }
        }
    }

    /// Alarms are the same while they say the same: indexes may mean other things after a reload.
    fn turn_alarms(&mut self, fleet: &Fleet, report: &Report, now: Now) {
        let standing = std::mem::take(&mut self.senses.alarms);
        let mut lines: Vec<AlarmLine> = Vec::new();
        for alarm in &report.alarms {
            let text = tidegate_kernel::why::alarm_sentence(alarm, fleet);
            let held = standing.iter().find(|s| s.text == text);
            if held.is_none() {
                self.note(now, "kernel", "", EventKind::AlarmRaised { alarm: text.clone() });
            }
            lines.push(AlarmLine { alarm: alarm.clone(), since: held.map_or(now.mono, |h| h.since), text });
        }
        for gone in standing.into_iter().filter(|s| lines.iter().all(|l| l.text != s.text)) {
            self.note(now, "kernel", "", EventKind::AlarmCleared { alarm: gone.text });
        }
        self.senses.alarms = lines;
    }
}
