//! What readers get: one immutable picture after every step, never the controller itself.

use crate::loads::{self, DrainProgress, Loads};
use crate::reports::Unused;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_domain::{
    Alarm, ClassIx, Disposition, Drain, Finding, Fleet, GroupIx, Intents, Mask, MilliRps, Mono, Plan, Reason, Report,
    Serving, SplitReport, State, Traffic, VantageIx, VantageReport, Verdict, VoteKind, Wall,
};

/// A loss that has no plan without shedding or worse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What is lost, in words.
    pub lost: String,
    /// What then fails, in words.
    pub faults: Vec<String>,
}

/// An alarm that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmLine {
    /// Which.
    pub alarm: Alarm,
    /// In a sentence.
    pub text: String,
    /// Since when.
    pub since: Mono,
}

/// The newest committed decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDecision {
    /// Its id.
    pub id: u64,
    /// When.
    pub at: Wall,
    /// The cycle that made it, by this process's clock; none: another process made it.
    pub mono: Option<Mono>,
    /// In a sentence.
    pub summary: String,
    /// When every edge then connected had acknowledged it.
    pub acked: Option<Mono>,
}

/// How the store does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreState {
    /// Writes are kept.
    #[default]
    Well,
    /// Full: safety moves only.
    Full {
        /// The store's words.
        words: String,
    },
    /// No answer.
    Unavailable {
        /// The store's words.
        words: String,
    },
}

/// What the edges measured, as the last cycle read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtEdges {
    /// Demand, where it exceeds the declared one.
    pub demand: Vec<(ClassIx, GroupIx, MilliRps)>,
    /// Requests and errors by place.
    pub traffic: Vec<Traffic>,
}

/// Everything that the operator API shows.
#[derive(Debug, Clone)]
pub struct Model {
    /// The fleet.
    pub fleet: Arc<Fleet>,
    /// Policy's answers.
    pub mask: Arc<Mask>,
    /// The committed plan; none before the first.
    pub plan: Option<Arc<Plan>>,
    /// Its generation.
    pub generation: u64,
    /// This server's term.
    pub term: u64,
    /// The kernel's memory.
    pub state: Arc<State>,
    /// Verdicts of the last cycle.
    pub verdicts: Arc<Vec<Verdict>>,
    /// Explanation of the last cycle.
    pub report: Arc<Report>,
    /// What the last cycle read of vantages.
    pub reports: Arc<Vec<Option<VantageReport>>>,
    /// What the last cycle read of the edges.
    pub at_edges: Arc<AtEdges>,
    /// What edges report of their load.
    pub loads: Arc<Loads>,
    /// Standing intents.
    pub intents: Arc<Intents>,
    /// The newest decision.
    pub decision: Option<LastDecision>,
    /// Standing alarms.
    pub alarms: Vec<AlarmLine>,
    /// Losses without a plan.
    pub gaps: Arc<Vec<Gap>>,
    /// When the last cycle ran.
    pub cycled: Mono,
    /// Cycles run.
    pub cycles: u64,
    /// Plans that the checker refused.
    pub refused: u64,
    /// Plans that the store did not keep, or that waited for it.
    pub held: u64,
    /// Decisions that were followed by another before all edges had acknowledged them.
    pub superseded: u64,
    /// Configured vantages that were members of the gossip and are lost to it.
    pub lost_members: Vec<VantageIx>,
    /// Reports of no use, by reason.
    pub unused: BTreeMap<Unused, u64>,
    /// Journal entries lost.
    pub journal_dropped: u64,
    /// The store.
    pub store: StoreState,
}

impl Model {
    /// Where a standing drain is; `connected` are the edges with a stream of resources.
    #[must_use]
    pub fn drain_progress(&self, drain: &Drain, connected: &BTreeSet<String>, now: Mono) -> DrainProgress {
        loads::progress(self, drain, connected, now)
    }

    /// For each kind of override the next moment at which one ends by itself: `drain`, `safety_pause`, `economic_pause`,
    /// `ramp_abort`.
    #[must_use]
    pub fn override_ends(&self, wall: Wall) -> BTreeMap<&'static str, Option<Wall>> {
        crate::intents::next_ends(&self.intents, wall)
    }

    /// What was found besides verdicts.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        tidegate_kernel::why::findings(&self.state, &self.fleet)
    }

    /// What splits wait for, in sentences, each once. A split that is refused at its group by law (no place is permitted,
    /// or the group's own country is not) waits for nothing: nothing will ever change that.
    #[must_use]
    pub fn waits(&self) -> Vec<String> {
        let fleet = &self.fleet;
        let mut all: Vec<String> = Vec::new();
        let law = |r: &Reason| matches!(r, Reason::NotPermitted { .. });
        let forbidden = |s: &SplitReport| {
            let places = s.regions.iter().all(|r| r.disposition == Disposition::Excluded && r.reasons.iter().any(law));
            let serving = self.plan.as_ref().and_then(|p| p.split(s.class, s.group)).map(|s| s.serving);
            serving == Some(Serving::WrongJurisdiction) || (!s.regions.is_empty() && places)
        };
        for split in self.report.splits.iter().filter(|s| !forbidden(s)) {
            for reason in &split.waits {
                let (class, group) = (fleet.class_name(split.class), &fleet.groups[split.group.at()].name);
                let text = format!("{class} at {group}: {}", tidegate_kernel::why::sentence(reason, fleet));
                if !all.contains(&text) {
                    all.push(text);
                }
            }
        }
        all
    }

    /// Whether a vantage votes, by the rule of the electorate; the reason if not.
    ///
    /// # Errors
    /// The reason if not.
    pub fn vantage_state(&self, vantage: usize, now: Mono) -> Result<(), String> {
        let Some(report) = self.reports.get(vantage).and_then(Option::as_ref) else {
            return Err("never reported".to_owned());
        };
        let why = match tidegate_kernel::health::not_eligible(&self.fleet, Some(report), now) {
            None => match self.state.cut_off.iter().find(|c| c.vantage.at() == vantage) {
                Some(cut) => tidegate_kernel::why::cut_off_sentence(cut),
                None => return Ok(()),
            },
            Some(VoteKind::Stale) => format!("its newest report is {} old", now.since(report.arrived)),
            Some(VoteKind::CutOff) => format!("reaches only {} references", report.own.references_reached),
            Some(VoteKind::SelfDoubt) => {
                "it doubts what it sees: its loop ran late, or it was cut off just before".to_owned()
            }
            Some(VoteKind::OtherRevision) => "speaks of another fleet revision".to_owned(),
            Some(VoteKind::Up | VoteKind::Slow | VoteKind::Down | VoteKind::Unseen) => {
                "its vote does not count".to_owned()
            }
        };
        Err(why)
    }
}
