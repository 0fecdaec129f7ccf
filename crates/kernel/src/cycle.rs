//! One cycle: a whole view in, a whole plan out, with its explanation.
//!
//! Owns the order of the tiers and the memory between cycles. Refuses IO, clocks and chance: the same input gives the
//! same output, and the same view and plan again change nothing.

use crate::explain;
use crate::failback;
use crate::follow;
use crate::health::{self, Judgement};
use crate::pace;
use crate::place::{Case, Ground, Question};
use crate::safety;
use crate::weigh::{self, Ledger};
use tidegate_domain::{
    CycleInput, CycleOutput, EndpointIx, Mono, Move, MoveKind, Ramp, RampPhase, Reason, State, WeightSnapshot,
};

/// What the tiers work on.
#[derive(Debug)]
pub(crate) struct Work {
    /// The standing plan.
    pub(crate) before: Ledger,
    /// The plan being made.
    pub(crate) now: Ledger,
    /// Stands nowhere yet.
    pub(crate) fresh: Vec<bool>,
    /// Moved by the safety tier in this cycle.
    pub(crate) touched: Vec<bool>,
    /// Lost a place that is Down or unlawful.
    pub(crate) vacated: Vec<bool>,
    /// What a split waits for.
    pub(crate) waits: Vec<Vec<Reason>>,
    /// Regions that some split's goal would fill further.
    pub(crate) pending: Vec<bool>,
    /// What the paced tiers are after, once they have run.
    pub(crate) goal: Option<Ledger>,
    /// The step of this cycle, by split.
    steps: Vec<Option<MoveKind>>,
    ramps: Vec<Ramp>,
    wake: Option<Mono>,
    clock: Mono,
}

impl Work {
    pub(crate) fn new(g: &Ground) -> Self {
        let (before, fresh) = weigh::standing(g);
        let n = g.splits();
        Self {
            now: before.clone(),
            before,
            fresh,
            touched: vec![false; n],
            vacated: vec![false; n],
            waits: vec![Vec::new(); n],
            pending: vec![false; g.regions],
            goal: None,
            steps: vec![None; n],
            ramps: Vec::new(),
            wake: None,
            clock: g.q.now,
        }
    }
    /// Differs from the standing plan.
    pub(crate) fn changed(&self, split: usize) -> bool {
        self.before.row(split) != self.now.row(split) || self.before.loose[split] != self.now.loose[split]
    }
    /// Last of all, so that nobody fills what rounding needs.
    fn round_down(&mut self, g: &Ground) {
        for split in &g.sequence {
            if self.changed(*split) {
                self.now.round_down(g, *split);
                if g.safety_on && g.case[*split] == Case::Open {
                    self.now.shave(g, *split);
                }
            }
        }
    }
    /// The safety tier has moved it in this cycle.
    pub(crate) fn was_moved(&self, split: usize) -> bool {
        self.touched[split] && (self.fresh[split] || self.vacated[split] || self.changed(split))
    }
    /// Took its paced step in this cycle.
    pub(crate) fn has_stepped(&self, split: usize) -> bool {
        self.steps[split].is_some()
    }
    /// The paced step that it took in this cycle.
    pub(crate) fn step_of(&self, split: usize) -> Option<MoveKind> {
        self.steps[split]
    }
    pub(crate) fn step_count(&self) -> usize {
        self.steps.iter().flatten().count()
    }
    /// Asks for a cycle at `at`, if that is still to come.
    pub(crate) fn wake_at(&mut self, at: Option<Mono>) {
        let at = at.filter(|a| *a > self.clock);
        self.wake = self.wake.into_iter().chain(at).min();
    }
    pub(crate) fn wait(&mut self, split: usize, reason: Reason, until: Option<Mono>) {
        self.waits[split].push(reason);
        self.wake_at(until);
    }
    /// Notes a paced step; `more`: the ramp goes on.
    pub(crate) fn stepped(&mut self, g: &Ground, split: usize, kind: MoveKind, more: bool) {
        self.steps[split] = Some(kind);
        let (class, group) = (g.class_of(split), g.group_of(split));
        // it may have waited at first in this very cycle
        self.ramps.retain(|r| (r.class, r.group) != (class, group));
        if more {
            let running = g.q.state.ramps.iter().find(|r| r.class == class && r.group == group && r.kind == kind);
            let started = running.map_or(g.q.now, |r| r.started);
            self.ramps.push(Ramp { class, group, kind, started, stepped: g.q.now, phase: RampPhase::Settling });
        }
    }
    /// A ramp of this kind, if one runs, only waits and goes on: it is one move, however long something holds it.
    pub(crate) fn keep_ramp(&mut self, g: &Ground, split: usize, kind: MoveKind) {
        let (class, group) = (g.class_of(split), g.group_of(split));
        let paused = g.q.view.intents.ramps_paused;
        let phase = if paused { RampPhase::Held } else { RampPhase::Settling };
        let running = g.q.state.ramps.iter().find(|r| (r.class, r.group, r.kind) == (class, group, kind));
        if !self.ramps.iter().any(|r| r.class == class && r.group == group) {
            self.ramps.extend(running.map(|r| Ramp { phase, ..*r }));
        }
    }
    /// The kind of this cycle's change of a split.
    pub(crate) fn kind(&self, split: usize) -> MoveKind {
        self.steps[split].unwrap_or(MoveKind::Safety)
    }
}

/// Judges, plans and explains. Pure: everything it knows stands in `input`.
#[must_use]
pub fn cycle(input: &CycleInput) -> CycleOutput {
    let CycleInput { fleet, mask, state, view, now } = input;
    let judged = health::judge(fleet, mask, view, state, *now);
    decide(Question { fleet, mask, state, view, judged: &judged, now: *now })
}

/// The cycle behind the verdicts.
pub(crate) fn decide(q: Question) -> CycleOutput {
    let output = plan_once(q);
    let over = q.state.returning.iter().any(|r| output.state.returning.binary_search(r).is_err());
    if !over || !output.report.moves.is_empty() {
        return output;
    }
    // Regions that need no ramp any more were still taken for returning: the same view again would plan otherwise.
    let state = State { returning: output.state.returning, ..q.state.clone() };
    plan_once(Question { state: &state, ..q })
}

fn plan_once(q: Question) -> CycleOutput {
    let mut ground = Ground::lay(q);
    let before_downs = before_downs(&q);
    let before_down = before_downs.first().map(|s| &s.plan);
    safety::wake_up(&mut ground, before_down);
    let mut work = Work::new(&ground);
    safety::run(&ground, &mut work, before_down);
    pace::run(&ground, &mut work);
    work.round_down(&ground);
    let plan = weigh::write(&ground, &work.before, &work.now, &work.vacated);
    let report = explain::report(&ground, &work, &plan);
    for (_, alarm) in explain::unknown_since(&ground) {
        work.wake_at(Some(alarm));
    }
    let began = q.judged.cut_off.iter().map(|c| c.since).chain(q.judged.apis.iter().map(|a| a.since));
    let began = began.chain(q.judged.partition.iter().map(|p| p.since));
    for since in began {
        work.wake_at(Some(since + q.fleet.rules.unknown_alarm));
    }
    for (split, until) in &ground.waking {
        work.wake_at(Some(*until).filter(|_| ground.case[*split] == Case::AllDown));
    }
    work.wake_at(ground.next_entry());
    work.wake_at(q.judged.wake);
    let (moved, forced) = last_moves(&q, &report.moves);
    let Judgement {
        endpoints,
        regions,
        providers,
        recent_downs,
        verdicts,
        cut_off,
        paths,
        blamed,
        apis,
        partition,
        followed,
        ..
    } = q.judged.clone();
    work.ramps.sort_by_key(|r| (r.class, r.group));
    let (returning, displaced) = (failback::returning(&ground, &work), failback::displaced(&ground, &work));
    let state = State {
        endpoints,
        regions,
        providers,
        recent_downs,
        plan: Some(plan),
        before_downs,
        ramps: std::mem::take(&mut work.ramps),
        moved,
        forced,
        returning,
        displaced,
        cut_off,
        paths,
        blamed,
        apis,
        partition,
        suspected_paths: q.judged.suspected_paths.clone(),
        unheard: q.judged.unheard.clone(),
        received: follow::received(&ground, &work),
        followed,
    };
    CycleOutput { state, verdicts, report, wake: work.wake }
}

/// By class: its last move, and its last that was not economic.
fn last_moves(q: &Question, moves: &[Move]) -> (Vec<Option<Mono>>, Vec<Option<Mono>>) {
    let (mut moved, mut forced) = (q.state.moved.clone(), q.state.forced.clone());
    moved.resize(q.fleet.classes.len(), None);
    forced.resize(q.fleet.classes.len(), None);
    for m in moves {
        moved[m.class.at()] = Some(q.now);
        if m.kind != MoveKind::Economic {
            forced[m.class.at()] = Some(q.now);
        }
    }
    (moved, forced)
}

/// Plans from before Downs that are kept at most: beyond that the second is forgotten, never the one that is used.
const SNAPSHOTS_MAX: usize = 8;

/// The plans from before the Downs of the doubt window: one is taken at every Down that finds other weights than the
/// one before it, and dropped when the window has left the Down behind. The first is the one to fall back to.
fn before_downs(q: &Question) -> Vec<WeightSnapshot> {
    let downs = &q.judged.recent_downs;
    let Some(first) = downs.iter().map(|d| d.1).min() else { return Vec::new() };
    let mut kept = q.state.before_downs.clone();
    let is_new = |d: &(EndpointIx, Mono)| q.state.recent_downs.binary_search_by_key(&d.0, |k| k.0).is_err();
    if let Some(plan) = q.state.plan.as_ref().filter(|_| downs.iter().any(is_new)) {
        let same = |s: &&WeightSnapshot| s.plan.fleet == plan.fleet && s.plan.splits == plan.splits;
        if kept.last().filter(same).is_none() {
            kept.push(WeightSnapshot { at: q.now, plan: plan.clone() });
        }
    }
    let passed = kept.iter().skip(1).take_while(|s| s.at <= first).count();
    kept.drain(..passed);
    if kept.len() > SNAPSHOTS_MAX {
        kept.remove(1);
    }
    kept
}
