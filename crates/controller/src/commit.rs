//! From a cycle's output to a committed plan: authorise, write ahead, and only then publish.
//!
//! Owns what is written together and when the next try is due. Refuses to publish what the store has not kept.

use crate::asks::Asker;
use crate::controller::{Controller, Live};
use crate::effect::{Answer, Denial, DenialKind, Effect, Told};
use crate::input::Now;
use crate::journal::{Draft, clip, told_decision};
use crate::keys;
use crate::model::{LastDecision, StoreState};
use crate::stored::Phase;
use std::sync::Arc;
use tidegate_domain::{Alarm, CycleInput, CycleOutput, Intents, Millis, Mono, MoveKind, Plan, State};
use tidegate_record::{
    BlobError, BlobHash, CommittedPlan, Decision, Event, Link, MoveSummary, NamedIntents, UnderWay, chunk, chunk_input,
    encode_committed_plan, encode_named_intents, output_hash,
};

/// After the store refused a write that is no safety move, the next try waits so long.
pub(crate) const HOLD: Millis = Millis(5_000);
/// After it refused a safety move, so long: short, but no storm.
pub(crate) const HOLD_SAFETY: Millis = Millis(500);
/// A decision names so many moves at most: its entry must fit behind one key. A replay shows all.
const MOVES_MAX: usize = 128;
/// The reason of a named move, in bytes at most.
const WHY_MAX: usize = 200;
/// The one-line summary of a decision, in bytes at most.
const SUMMARY_MAX: usize = 2_000;

/// Until when writes wait after a refusal.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    pub(crate) ordinary: Option<Mono>,
    pub(crate) safety: Option<Mono>,
}
impl Hold {
    /// Whether writes that are not for safety wait.
    pub(crate) fn ordinary(&self, now: Now) -> bool {
        self.ordinary.is_some_and(|until| until > now.mono)
    }
    fn holds(&self, safety: bool, now: Now) -> bool {
        if safety { self.safety.is_some_and(|until| until > now.mono) } else { self.ordinary(now) }
    }
}

/// A write under way: what becomes true when it is kept.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) number: u64,
    pub(crate) phase: Phase,
    pub(crate) end: Link,
    pub(crate) told: Vec<Told>,
    pub(crate) turn: Option<Turn>,
    pub(crate) intents: Option<Intents>,
    pub(crate) output: Option<CycleOutput>,
    pub(crate) decision: Option<Decision>,
    /// When the cycle ran that it comes of.
    pub(crate) cycled: Mono,
    pub(crate) documents: bool,
    pub(crate) asked: Option<(Asker, Answer)>,
    pub(crate) safety: bool,
    /// The senses went on while it was in doubt: what they know is newer than its output.
    pub(crate) sensed: bool,
}

/// A new fleet and its documents, whole.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) live: Live,
    pub(crate) documents: Vec<(String, Vec<u8>)>,
}

/// What people or time add to a cycle.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) turn: Option<Turn>,
    pub(crate) intents: Option<Intents>,
    /// Written and told only with the change itself.
    pub(crate) events: Vec<Event>,
    /// Who waits for the answer.
    pub(crate) asked: Option<(Asker, Answer)>,
}

/// A cycle that was run, and what is to become of it.
struct Outcome {
    live: Live,
    input: CycleInput,
    output: CycleOutput,
    moved: bool,
    safety: bool,
}

/// Blobs and the roots that name them.
#[derive(Default)]
struct Bodies(Vec<(BlobHash, Vec<u8>)>);
impl Bodies {
    fn keep(&mut self, bytes: &[u8]) -> Result<BlobHash, BlobError> {
        let chunked = chunk(bytes)?;
        self.0.extend(chunked.blobs);
        Ok(chunked.root)
    }

    /// Roots of the input and of its fleet.
    fn keep_input(&mut self, input: &CycleInput) -> Result<(BlobHash, BlobHash), BlobError> {
        let chunked = chunk_input(input)?;
        self.0.extend(chunked.blobs);
        Ok((chunked.root, chunked.fleet))
    }
}

impl Controller {
    /// One cycle under the change; writes whatever came of it.
    pub(crate) fn decide(&mut self, change: Change, now: Now) {
        let Some(old) = self.live.clone() else { return };
        let (input, live) = self.cycle_input(&old, &change, now);
        self.keep_edges(&input.view, change.turn.is_some());
        let output = tidegate_kernel::cycle(&input);
        self.unmark(now);
        let output = match tidegate_kernel::authorize(&input, output.clone()) {
            Ok(authorized) => authorized.into_inner(),
            Err(refusal) => return self.not_authorised(change, &input, output, refusal.to_string(), now),
        };
        // A plan that is not published yet, or that the senses alone have changed, is urgent; a wish or its end is not.
        let unpublished = self.published.is_none();
        let moved = output.state.plan != input.state.plan || change.turn.is_some() || unpublished;
        let moves = &output.report.moves;
        let sensed = moves.is_empty() && change.intents.is_none();
        let urgent = unpublished || sensed || moves.iter().any(|m| m.kind == MoveKind::Safety);
        let safety = moved && urgent && change.asked.is_none();
        if moved && change.asked.is_none() && self.hold.holds(safety, now) {
            // The store has just refused such a write: verdicts go on, the weights wait. Counted when it is refused.
            return self.adopt(standing(&input, output), now);
        }
        if !moved && change.intents.is_none() {
            self.adopt(output, now);
            return self.flush(now);
        }
        self.write(change, Outcome { live, input, output, moved, safety }, now);
    }

    fn cycle_input(&self, old: &Live, change: &Change, now: Now) -> (CycleInput, Live) {
        let mut view = self.view(change.intents.as_ref().unwrap_or(&self.intents), now);
        let (live, state) = match &change.turn {
            None => (old.clone(), (*self.state).clone()),
            Some(Turn { live: new, .. }) => {
                // Until the change is kept, reports still come in under the fleet that stands.
                view.reports = self.reports.turned(&old.fleet, &new.fleet);
                let mut demand = self.demand.clone();
                demand.turn(&old.fleet, &new.fleet);
                view.measured_demand = demand.measured(&new.fleet);
                // Its indexes are of the fleet before: measured anew within seconds.
                view.traffic.clear();
                (new.clone(), tidegate_kernel::carry_over(&old.fleet, &self.state, &new.fleet))
            }
        };
        let (fleet, mask) = (Arc::clone(&live.fleet), Arc::clone(&live.mask));
        (CycleInput { fleet, mask, state, view, now: now.mono }, live)
    }

    /// The linter found a fault: a request is refused whole, else the standing plan goes on, with an alarm.
    fn not_authorised(&mut self, change: Change, input: &CycleInput, output: CycleOutput, fault: String, now: Now) {
        self.refused += 1;
        if let Some((asker, _)) = change.asked {
            self.mark();
            let lift =
                "nothing was changed; ask for less at a time, and report this: the planner and its checker disagree";
            return self.refuse(&asker, Denial::new(DenialKind::Checker, fault, lift), now);
        }
        let mut still = standing(input, output);
        still.report.alarms.push(Alarm::PlanRefused { fault });
        still.report.alarms.sort();
        self.adopt(still, now);
        self.flush(now);
    }

    /// Judges without moving: a write is under way and nothing can be kept.
    pub(crate) fn sense(&mut self, now: Now) {
        let Some(live) = self.live.clone() else { return };
        let (input, _) = self.cycle_input(&live, &Change::default(), now);
        self.keep_edges(&input.view, false);
        let output = tidegate_kernel::cycle(&input);
        self.unmark(now);
        self.adopt(standing(&input, output), now);
    }

    fn write(&mut self, change: Change, outcome: Outcome, now: Now) {
        let Change { turn, intents, events, asked } = change;
        let mut draft = self.journal.draft(now, events);
        let filled = self.fill(&mut draft, turn.as_ref(), intents.as_ref(), &outcome);
        let Outcome { input, output, safety, .. } = outcome;
        let (bodies, decision, documents) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                self.hold.ordinary = Some(now.mono + HOLD);
                self.hold.safety = Some(now.mono + HOLD_SAFETY);
                let (change, fault) =
                    (Change { asked, ..Change::default() }, format!("it cannot be recorded: {error}"));
                return self.not_authorised(change, &input, output, fault, now);
            }
        };
        let cycled = input.now;
        let output = Some(output);
        let pending = Pending {
            turn,
            intents,
            output,
            decision,
            cycled,
            documents,
            asked,
            safety,
            ..Pending::of_events(self.number())
        };
        self.send(draft, bodies, pending, now);
    }

    /// Puts the heads that change into the draft; gives their bodies, the decision, and whether documents are among them.
    fn fill(
        &self,
        draft: &mut Draft,
        turn: Option<&Turn>,
        intents: Option<&Intents>,
        outcome: &Outcome,
    ) -> Result<(Bodies, Option<Decision>, bool), BlobError> {
        let mut bodies = Bodies::default();
        let documents = turn.map(|t| &t.documents).or((!self.documents_stored).then_some(&self.documents));
        if let Some(documents) = documents {
            let root = bodies.keep(&keys::encode_documents(documents))?;
            draft.puts.push((keys::DOCUMENTS.to_owned(), root.0.to_vec()));
        }
        if let Some(intents) = intents {
            let named = NamedIntents::of(intents, &outcome.live.fleet);
            draft.puts.push((keys::INTENTS.to_owned(), encode_named_intents(&named)));
        }
        let decision = outcome.moved.then(|| self.draft_decision(outcome, draft, &mut bodies)).transpose()?;
        Ok((bodies, decision, documents.is_some()))
    }

    /// The decision as the last entry of the draft, and the plan beside it.
    fn draft_decision(&self, outcome: &Outcome, draft: &mut Draft, bodies: &mut Bodies) -> Result<Decision, BlobError> {
        let Outcome { live, input, output, .. } = outcome;
        let moves = output.report.moves.iter().take(MOVES_MAX).map(|m| MoveSummary {
            class: live.fleet.class_name(m.class),
            group: live.fleet.groups[m.group.at()].name.clone(),
            kind: m.kind,
            share: m.share,
            why: clip(&tidegate_kernel::why::sentence(&m.cause, &live.fleet), WHY_MAX),
        });
        let (input_root, fleet_blob) = bodies.keep_input(input)?;
        let decision = Decision {
            id: self.decision_id + 1,
            at: input.view.wall,
            generation: self.generation + 1,
            term: self.term,
            parent_generation: self.generation,
            input: input_root,
            input_range: (self.last_decision_sequence + 1, draft.end.sequence),
            fleet: live.fleet.revision,
            policy: input.mask.bundle,
            kernel_version: tidegate_kernel::VERSION.to_owned(),
            seed: 0,
            output_hash: output_hash(output),
            moves: moves.collect(),
            summary: summary(live, input.state.plan.as_ref(), output),
        };
        draft.decide(&decision);
        let plan = CommittedPlan {
            generation: decision.generation,
            term: self.term,
            fleet: live.fleet.revision,
            decision: decision.id,
            plan: output.state.plan.clone().unwrap_or_default(),
            fleet_blob,
            returning: output.state.returning.clone(),
            displaced: output.state.displaced.clone(),
            ramps: output
                .state
                .ramps
                .iter()
                .map(|r| UnderWay { class: r.class, group: r.group, kind: r.kind })
                .collect(),
        };
        let root = bodies.keep(&encode_committed_plan(&plan))?;
        draft.puts.push((keys::PLAN.to_owned(), root.0.to_vec()));
        Ok(decision)
    }

    /// Writes waiting events when nothing else is to be written.
    pub(crate) fn flush(&mut self, now: Now) {
        if self.journal.is_empty() || self.pending.is_some() || self.hold.ordinary(now) {
            return;
        }
        let draft = self.journal.draft(now, Vec::new());
        let number = self.number();
        self.send(draft, Bodies::default(), Pending::of_events(number), now);
    }

    /// Hands the write to the store: every one takes the term along and moves the end.
    fn send(&mut self, mut draft: Draft, bodies: Bodies, mut pending: Pending, now: Now) {
        draft.puts.push((keys::TERM.to_owned(), self.term.to_be_bytes().to_vec()));
        draft.puts.push((keys::END.to_owned(), keys::encode_end(&draft.end)));
        self.journal.sent(&draft);
        (pending.end, pending.told, pending.phase) = (draft.end, draft.told, Phase::UnderWay(now.mono));
        let (number, safety, end_revision) = (pending.number, pending.safety, self.end_revision);
        self.pending = Some(pending);
        self.out.push(Effect::Persist { number, end_revision, puts: draft.puts, blobs: bodies.0, safety });
    }

    /// The write is durable: now it is true.
    pub(crate) fn kept(&mut self, pending: Pending, revision: u64, now: Now) {
        self.end_revision = revision;
        self.hold.safety = None;
        if !(pending.safety && matches!(self.store, StoreState::Full { .. })) {
            // A safety move from the reserve does not make a full disk well.
            self.store = StoreState::Well;
            self.hold.ordinary = None;
        }
        self.journal.kept(pending.end);
        self.documents_stored |= pending.documents;
        self.out.extend(pending.told.into_iter().map(Effect::Tell));
        let newer = pending.sensed && pending.turn.is_none();
        if let Some(Turn { live: new, documents }) = pending.turn {
            self.out.push(Effect::Targets(Arc::clone(&new.fleet)));
            self.documents = documents;
            if let Some(old) = self.live.replace(new.clone()) {
                self.reports.turn(Some(&old.fleet), &new.fleet);
                self.senses.turn(&old.fleet, &new.fleet);
                self.demand.turn(&old.fleet, &new.fleet);
                self.window.turn(&old.fleet, &new.fleet);
            }
        }
        if let Some(intents) = pending.intents {
            self.intents = intents;
        }
        if let Some(output) = pending.output {
            let plan = output.state.plan.clone();
            self.adopt(if newer { self.under_newer_senses(output) } else { output }, now);
            if let (Some(decision), Some(plan)) = (pending.decision, plan) {
                self.committed(&decision, plan, (pending.end.sequence, pending.cycled), now);
            }
        }
        if let Some((asker, answer)) = pending.asked {
            self.grant(&asker, answer);
        }
    }

    /// The output's weights with the senses of now: it waited for the store while they went on.
    fn under_newer_senses(&self, output: CycleOutput) -> CycleOutput {
        // What the plan is made of comes from the plan; what the senses have found since stays.
        let State { plan, ramps, moved, forced, returning, displaced, received, .. } = output.state;
        let State {
            endpoints,
            regions,
            providers,
            recent_downs,
            before_downs,
            cut_off,
            paths,
            blamed,
            apis,
            partition,
            suspected_paths,
            unheard,
            followed,
            ..
        } = (*self.state).clone();
        let state = State {
            endpoints,
            regions,
            providers,
            recent_downs,
            plan,
            before_downs,
            ramps,
            moved,
            forced,
            returning,
            displaced,
            cut_off,
            paths,
            blamed,
            apis,
            partition,
            suspected_paths,
            unheard,
            received,
            followed,
        };
        let (verdicts, report) = ((*self.senses.verdicts).clone(), (*self.senses.report).clone());
        CycleOutput { state, verdicts, report, wake: self.senses.wake }
    }

    fn committed(&mut self, decision: &Decision, plan: Plan, (sequence, cycled): (u64, Mono), now: Now) {
        let Some(live) = self.live.clone() else { return };
        let plan = Arc::new(plan);
        self.generation = decision.generation;
        self.decision_id = decision.id;
        self.last_decision_sequence = sequence;
        self.published = Some(Arc::clone(&plan));
        Arc::make_mut(&mut self.loads).set(&live.fleet, &plan);
        // One that not all edges had acknowledged never will be: it is counted apart.
        self.superseded +=
            u64::from(self.last_decision.as_ref().is_some_and(|l| l.acked.is_none() && l.mono.is_some()));
        let (id, at, summary) = (decision.id, decision.at, decision.summary.clone());
        self.last_decision = Some(LastDecision { id, at, mono: Some(cycled), summary, acked: None });
        self.remember(decision.generation, decision.id);
        let (fleet, generation) = (Arc::clone(&live.fleet), decision.generation);
        self.out.push(Effect::Publish { fleet, plan, generation, decision: decision.id });
        self.out.push(Effect::Tell(told_decision(sequence, now.mono, decision)));
    }
}

impl Pending {
    /// Waiting events and nothing else.
    fn of_events(number: u64) -> Self {
        Self {
            number,
            phase: Phase::UnderWay(Mono(0)),
            end: Link::default(),
            told: Vec::new(),
            turn: None,
            intents: None,
            output: None,
            decision: None,
            cycled: Mono(0),
            documents: false,
            asked: None,
            safety: false,
            sensed: false,
        }
    }
}

/// The output's senses with the weights that stood before.
fn standing(input: &CycleInput, output: CycleOutput) -> CycleOutput {
    let CycleOutput { state, verdicts, mut report, wake } = output;
    let before = &input.state;
    let state = State {
        plan: before.plan.clone(),
        ramps: before.ramps.clone(),
        moved: before.moved.clone(),
        forced: before.forced.clone(),
        returning: before.returning.clone(),
        displaced: before.displaced.clone(),
        ..state
    };
    report.moves.clear();
    CycleOutput { state, verdicts, report, wake }
}

/// A decision in one line: its moves, gathered by kind and cause.
fn summary(live: &Live, before: Option<&Plan>, output: &CycleOutput) -> String {
    let fleet = &live.fleet;
    let moves = &output.report.moves;
    if moves.is_empty() {
        // Indexes of another fleet cannot be compared: then the whole plan is new.
        let comparable = before.zip(output.state.plan.as_ref()).filter(|(b, a)| b.fleet == a.fleet);
        let besides = comparable.map(|(b, a)| tidegate_kernel::why::change_sentence(b, a, fleet)).unwrap_or_default();
        return match (before, besides.as_str()) {
            (None, _) => "the first plan is set".to_owned(),
            (Some(_), "") => "the plan is set anew; no weight moves".to_owned(),
            (Some(_), besides) => format!("no weight moves: {}", clip(besides, SUMMARY_MAX)),
        };
    }
    let mut causes: Vec<(MoveKind, String, Vec<String>)> = Vec::new();
    for m in moves {
        let why = tidegate_kernel::why::sentence(&m.cause, fleet);
        let what = format!("{} at {} {}", fleet.class_name(m.class), fleet.groups[m.group.at()].name, m.share);
        match causes.iter_mut().find(|(kind, cause, _)| *kind == m.kind && *cause == why) {
            Some((_, _, list)) => list.push(what),
            None => causes.push((m.kind, why, vec![what])),
        }
    }
    let parts: Vec<String> =
        causes.into_iter().map(|(kind, why, list)| format!("{} ({why}): {}", kind.word(), list.join(", "))).collect();
    clip(&parts.join("; "), SUMMARY_MAX)
}
