//! From a cycle's output to a committed plan: authorise, write ahead, and only then publish.

use crate::controller::{Controller, HOLD, Live};
use crate::effect::{Answer, Denial, DenialKind, Effect, Told};
use crate::input::{Now, Ticket};
use crate::keys;
use crate::model::{LastDecision, StoreState};
use std::sync::Arc;
use tidegate_domain::{Alarm, CycleInput, CycleOutput, Intents, MoveKind};
use tidegate_record::{
    BlobHash, CommittedPlan, Decision, Link, MoveSummary, NamedIntents, chunk, encode_committed_plan,
    encode_cycle_input, encode_fleet, encode_named_intents, output_hash,
};

/// A write under way: what becomes true when it is kept.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) number: u64,
    end: Link,
    taken: usize,
    /// A new fleet and its documents, whole.
    live: Option<(Live, Vec<(String, Vec<u8>)>)>,
    intents: Option<Intents>,
    output: Option<CycleOutput>,
    decision: Option<Decision>,
    summary: String,
    answer: Option<(Ticket, Answer)>,
    safety: bool,
}

/// What a person's question adds to a cycle.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) live: Option<(Live, Vec<(String, Vec<u8>)>)>,
    pub(crate) intents: Option<Intents>,
    pub(crate) answer: Option<(Ticket, Answer)>,
}

impl Controller {
    pub(crate) fn cycle_and_commit(&mut self, intents: Option<Intents>, now: Now, effects: &mut Vec<Effect>) {
        self.decide(Change { intents, ..Change::default() }, now, effects);
    }

    /// One cycle under the change; writes whatever came of it.
    pub(crate) fn decide(&mut self, change: Change, now: Now, effects: &mut Vec<Effect>) {
        let Some(live) = change.live.as_ref().map(|(live, _)| live.clone()).or_else(|| self.live.clone()) else { return };
        let state = match (&self.live, &change.live) {
            (Some(old), Some((new, _))) => tidegate_kernel::carry_over(&old.fleet, &self.state, &new.fleet),
            _ => self.state.clone(),
        };
        if let (Some(old), Some((new, _))) = (&self.live, &change.live) {
            self.reports.turn(Some(&old.fleet), &new.fleet);
        }
        let intents = change.intents.clone().unwrap_or_else(|| self.intents.clone());
        let (input, output) = self.run_cycle(&live, state, &intents, now);
        let output = self.authorised(&input, output);
        let moved = output.state.plan != input.state.plan || change.live.is_some();
        let safety = output.report.moves.iter().any(|m| m.kind == MoveKind::Safety);
        let held = self.hold_until.is_some_and(|until| until > now.mono);
        let by_person = change.answer.is_some() || change.intents.is_some();
        if moved && !safety && !by_person && held {
            // The store has just refused such a plan: verdicts go on, the weights wait.
            let still = standing(&input, output);
            self.adopt(still, now, effects);
            return;
        }
        if !moved && change.intents.is_none() && change.live.is_none() {
            self.adopt(output, now, effects);
            self.flush(now, effects);
            return;
        }
        self.write(&live, change, &input, output, safety, moved, now, effects);
    }

    /// The output, if the kernel authorises it; else the standing plan with an alarm.
    fn authorised(&mut self, input: &CycleInput, output: CycleOutput) -> CycleOutput {
        match tidegate_kernel::authorize(input, output.clone()) {
            Ok(authorized) => authorized.into_inner(),
            Err(refusal) => {
                self.refused += 1;
                let mut still = standing(input, output);
                still.report.alarms.push(Alarm::PlanRefused { fault: refusal.to_string() });
                still.report.alarms.sort();
                still
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // one call site; a struct for it would only rename the arguments
    fn write(
        &mut self,
        live: &Live,
        change: Change,
        input: &CycleInput,
        output: CycleOutput,
        safety: bool,
        moved: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let mut blobs: Vec<(BlobHash, Vec<u8>)> = Vec::new();
        let mut keep = |bytes: &[u8]| match chunk(bytes) {
            Ok(chunked) => {
                blobs.extend(chunked.blobs);
                chunked.root
            }
            Err(_) => BlobHash::default(),
        };
        let summary = summary(live, &output);
        let decision = moved.then(|| self.decision(live, input, &output, keep(&encode_cycle_input(input)), now));
        let mut draft = self.journal.draft(now, decision.as_ref());
        if let Some(decision) = &decision {
            let plan = CommittedPlan {
                generation: decision.generation,
                term: self.term,
                fleet: live.fleet.revision,
                decision: decision.id,
                plan: output.state.plan.clone().unwrap_or_default(),
                fleet_blob: keep(&encode_fleet(&live.fleet)),
            };
            draft.puts.push((keys::PLAN.to_owned(), keep(&encode_committed_plan(&plan)).0.to_vec()));
        }
        if let Some(intents) = &change.intents {
            let named = NamedIntents::of(intents, &live.fleet);
            draft.puts.push((keys::INTENTS.to_owned(), encode_named_intents(&named)));
        }
        let new_documents = change.live.as_ref().map(|(_, documents)| documents.clone());
        let documents = new_documents.or_else(|| (!self.documents_stored).then(|| self.documents.clone()));
        if let Some(documents) = documents {
            draft.puts.push((keys::DOCUMENTS.to_owned(), keep(&keys::encode_documents(&documents)).0.to_vec()));
        }
        draft.puts.push((keys::TERM.to_owned(), self.term.to_be_bytes().to_vec()));
        draft.puts.push((keys::END.to_owned(), keys::encode_end(&draft.end)));
        let number = self.number();
        let Change { live, intents, answer } = change;
        let (end, taken) = (draft.end, draft.taken);
        self.pending =
            Some(Pending { number, end, taken, live, intents, output: Some(output), decision, summary, answer, safety });
        effects.push(Effect::Persist { number, end_revision: self.end_revision, puts: draft.puts, blobs, safety });
    }

    fn decision(&self, live: &Live, input: &CycleInput, output: &CycleOutput, blob: BlobHash, now: Now) -> Decision {
        let moves = output.report.moves.iter().map(|m| MoveSummary {
            class: live.fleet.class_name(m.class),
            group: live.fleet.groups[m.group.at()].name.clone(),
            kind: m.kind,
            share: m.share,
            why: tidegate_kernel::why::sentence(&m.cause, &live.fleet),
        });
        Decision {
            id: self.decision_id + 1,
            at: now.wall,
            generation: self.generation + 1,
            term: self.term,
            parent_generation: self.generation,
            input: blob,
            input_range: (self.last_decision_sequence + 1, self.journal.end.sequence),
            fleet: live.fleet.revision,
            policy: input.mask.bundle,
            kernel_version: tidegate_kernel::VERSION.to_owned(),
            seed: 0,
            output_hash: output_hash(output),
            moves: moves.collect(),
        }
    }

    /// Writes waiting events when nothing else is to be written.
    pub(crate) fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let held = self.hold_until.is_some_and(|until| until > now.mono);
        if self.journal.is_empty() || self.pending.is_some() || held {
            return;
        }
        let mut draft = self.journal.draft(now, None);
        draft.puts.push((keys::TERM.to_owned(), self.term.to_be_bytes().to_vec()));
        draft.puts.push((keys::END.to_owned(), keys::encode_end(&draft.end)));
        let number = self.number();
        self.pending = Some(Pending {
            number,
            end: draft.end,
            taken: draft.taken,
            live: None,
            intents: None,
            output: None,
            decision: None,
            summary: String::new(),
            answer: None,
            safety: false,
        });
        let end_revision = self.end_revision;
        effects.push(Effect::Persist { number, end_revision, puts: draft.puts, blobs: Vec::new(), safety: false });
    }

    /// The write is durable: now it is true.
    pub(crate) fn kept(&mut self, pending: Pending, revision: u64, now: Now, effects: &mut Vec<Effect>) {
        let Pending { number: _, end, taken, live, intents, output, decision, summary, answer, safety: _ } = pending;
        self.end_revision = revision;
        self.store = StoreState::Well;
        self.hold_until = None;
        self.journal.kept(end, taken);
        if let Some((live, documents)) = live {
            effects.push(Effect::Targets(Arc::clone(&live.fleet)));
            self.documents = documents;
            self.documents_stored = true;
            self.live = Some(live);
            // Verdicts carry indexes of the fleet before: what changed cannot be told by comparing them.
            self.output = Arc::default();
            self.alarms.clear();
        }
        if let Some(intents) = intents {
            self.intents = intents;
        }
        if let Some(output) = output {
            let plan = output.state.plan.clone();
            self.adopt(output, now, effects);
            if let (Some(decision), Some(plan)) = (decision, plan) {
                self.committed(&decision, Arc::new(plan), end.sequence, summary, now, effects);
            }
        }
        if let Some((ticket, answer)) = answer {
            effects.push(Effect::Answer { ticket, answer: Ok(answer) });
        }
    }

    fn committed(
        &mut self,
        decision: &Decision,
        plan: Arc<tidegate_domain::Plan>,
        sequence: u64,
        summary: String,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(live) = self.live.clone() else { return };
        self.documents_stored = true;
        self.generation = decision.generation;
        self.decision_id = decision.id;
        self.last_decision_sequence = sequence;
        self.published = Some(Arc::clone(&plan));
        self.last_decision =
            Some(LastDecision { id: decision.id, at: now.wall, mono: now.mono, summary: summary.clone(), acked: None });
        effects.push(Effect::Publish {
            fleet: Arc::clone(&live.fleet),
            plan,
            generation: decision.generation,
            decision: decision.id,
        });
        effects.push(Effect::Tell(Told {
            sequence,
            at: now.wall,
            mono: now.mono,
            decision: Some(decision.id),
            kind: "decision",
            about: format!("generation {}", decision.generation),
            by: None,
            text: summary,
        }));
    }

    /// The write was not kept: nothing of it is true, and who asked is told.
    pub(crate) fn not_kept(
        &mut self,
        pending: Pending,
        kind: DenialKind,
        words: &str,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        if pending.decision.is_some() {
            self.refused += 1;
        }
        if !pending.safety {
            self.hold_until = Some(now.mono + HOLD);
            self.journal.lost(pending.taken);
        }
        if let (Some((new, _)), Some(old)) = (&pending.live, &self.live) {
            self.reports.turn(Some(&new.fleet), &old.fleet.clone());
        }
        if let Some((ticket, _)) = pending.answer {
            let lift = match kind {
                DenialKind::Full => "free space on the store's disk; safety moves go on from the reserve",
                _ => "look at the server's log; the committed plan stays published",
            };
            effects.push(Effect::Answer { ticket, answer: Err(Denial::new(kind, words, lift)) });
        }
    }
}

/// The output's senses with the weights that stood before.
fn standing(input: &CycleInput, output: CycleOutput) -> CycleOutput {
    let CycleOutput { state, verdicts, mut report, wake } = output;
    let before = &input.state;
    let state = tidegate_domain::State {
        plan: before.plan.clone(),
        before_down: before.before_down.clone(),
        ramps: before.ramps.clone(),
        moved: before.moved.clone(),
        returning: before.returning.clone(),
        ..state
    };
    report.moves.clear();
    CycleOutput { state, verdicts, report, wake }
}

/// A decision in one line: its moves, gathered by kind and cause.
fn summary(live: &Live, output: &CycleOutput) -> String {
    let fleet = &live.fleet;
    let moves = &output.report.moves;
    let Some(first) = moves.first() else {
        return "the plan is set (nothing stood before, or only places and endpoints changed)".to_owned();
    };
    let mut causes: Vec<(MoveKind, String, Vec<String>)> = Vec::new();
    for m in moves {
        let why = tidegate_kernel::why::sentence(&m.cause, fleet);
        let what = format!("{} at {} {}", fleet.class_name(m.class), fleet.groups[m.group.at()].name, m.share);
        match causes.iter_mut().find(|(kind, cause, _)| *kind == m.kind && *cause == why) {
            Some((_, _, list)) => list.push(what),
            None => causes.push((m.kind, why, vec![what])),
        }
    }
    let parts: Vec<String> = causes
        .into_iter()
        .map(|(kind, why, list)| format!("{} ({why}): {}", kind.word(), list.join(", ")))
        .collect();
    if parts.is_empty() { first.kind.word().to_owned() } else { parts.join("; ") }
}
