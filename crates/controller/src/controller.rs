//! The controller's memory and its two doors: `handle` and `step`.

use crate::asks::Waiting;
use crate::commit::Pending;
use crate::effect::{Denial, DenialKind, Effect, Told};
use crate::input::{Candidate, Input, Loaded, Now, Stored};
use crate::intents;
use crate::journal::Journal;
use crate::model::{AlarmLine, Gap, LastDecision, Model, StoreState};
use crate::reports::Reports;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tidegate_domain::{
    Accused, CycleInput, CycleOutput, Fleet, Health, Intents, Mask, Millis, Mono, Plan, State, Verdict, View,
};
use tidegate_record::{EventKind, Place};

/// A cycle runs at least so often, for staleness and alarms.
const BEAT: Millis = Millis(1_000);
/// Questions that may wait; one more is refused.
const ASKS_MAX: usize = 64;
/// After the store refused a plan that is no safety move, the next try waits so long.
pub(crate) const HOLD: Millis = Millis(5_000);

/// Fleet, policy and what follows from both.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) mask: Arc<Mask>,
    pub(crate) gaps: Arc<Vec<Gap>>,
}

/// The one owner of what was decided.
#[derive(Debug)]
pub struct Controller {
    pub(crate) live: Option<Live>,
    pub(crate) state: State,
    pub(crate) intents: Intents,
    pub(crate) reports: Reports,
    pub(crate) journal: Journal,
    pub(crate) pending: Option<Pending>,
    pub(crate) asks: VecDeque<Waiting>,
    pub(crate) end_revision: u64,
    pub(crate) term: u64,
    pub(crate) generation: u64,
    pub(crate) decision_id: u64,
    pub(crate) last_decision_sequence: u64,
    pub(crate) last_decision: Option<LastDecision>,
    pub(crate) published: Option<Arc<Plan>>,
    pub(crate) documents_stored: bool,
    pub(crate) documents: Vec<(String, Vec<u8>)>,
    pub(crate) output: Arc<CycleOutput>,
    pub(crate) alarms: Vec<AlarmLine>,
    pub(crate) announced: BTreeMap<(u64, String), ()>,
    pub(crate) store: StoreState,
    pub(crate) hold_until: Option<Mono>,
    pub(crate) refused: u64,
    cycled: Mono,
    cycles: u64,
    dirty: bool,
    numbers: u64,
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
}

impl Controller {
    /// Knows nothing and serves nobody until `Input::Loaded`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            live: None,
            state: State::default(),
            intents: Intents::default(),
            reports: Reports::default(),
            journal: Journal::default(),
            pending: None,
            asks: VecDeque::new(),
            end_revision: 0,
            term: 0,
            generation: 0,
            decision_id: 0,
            last_decision_sequence: 0,
            last_decision: None,
            published: None,
            documents_stored: false,
            documents: Vec::new(),
            output: Arc::new(CycleOutput::default()),
            alarms: Vec::new(),
            announced: BTreeMap::new(),
            store: StoreState::Well,
            hold_until: None,
            refused: 0,
            cycled: Mono::default(),
            cycles: 0,
            dirty: false,
            numbers: 0,
        }
    }

    /// Takes one input. Decides nothing yet: call [`Self::step`] once after all inputs that are ready.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Loaded(loaded) => self.load(*loaded, now, &mut effects),
            Input::Report(report) => {
                if let Some(live) = &self.live
                    && self.reports.take(&live.fleet, report, now.mono).is_ok()
                {
                    self.dirty = true;
                }
            }
            Input::Ask { ticket, by, reason, ask } => {
                if self.live.is_none() {
                    let denial = Denial::new(DenialKind::NotReady, "the store is not loaded yet", "try again in a moment");
                    effects.push(Effect::Answer { ticket, answer: Err(denial) });
                } else if self.asks.len() >= ASKS_MAX {
                    let why = format!("{ASKS_MAX} requests are waiting for the store");
                    effects.push(Effect::Answer {
                        ticket,
                        answer: Err(Denial::new(DenialKind::Unavailable, why, "look at the store in `status`, then try again")),
                    });
                } else {
                    self.asks.push_back(Waiting { ticket, by, reason, ask });
                }
            }
            Input::Refused { by, what } => {
                effects.push(self.note(now, &by, "", EventKind::Refused { what }));
            }
            Input::Stored { number, answer } => self.stored(number, answer, now, &mut effects),
            Input::Nacked { node, resource_type, generation, words } => {
                let version = format!("generation {generation}");
                effects.push(self.note(now, "edge", "", EventKind::Nacked { node, resource_type, version, words }));
            }
            Input::Progress { generation, acked, outstanding } => {
                self.progress(generation, acked, &outstanding, now, &mut effects);
            }
            Input::Tick => {}
        }
        effects
    }

    /// Decides once on all that is known, and says what to do. Does nothing while a write is under way.
    pub fn step(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.live.is_none() || self.pending.is_some() {
            return effects;
        }
        if let Some(waiting) = self.asks.pop_front() {
            self.begin_ask(waiting, now, &mut effects);
            if self.pending.is_some() {
                return effects;
            }
        }
        let mut expired = self.intents.clone();
        let ended = intents::expire(&mut expired, now.wall);
        let intents = (!ended.is_empty()).then_some(expired);
        self.note_ended(&ended, now, &mut effects);
        self.announce(now, &mut effects);
        if self.due(now) || intents.is_some() {
            self.dirty = false;
            self.cycle_and_commit(intents, now, &mut effects);
        } else if !self.journal.is_empty() {
            self.flush(now, &mut effects);
        }
        effects
    }

    /// When `step` should be called though nothing happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.live.as_ref()?;
        let beat = self.cycled + BEAT;
        Some(self.output.wake.map_or(beat, |w| w.max(self.cycled + Millis(1)).min(beat)))
    }

    fn due(&self, now: Now) -> bool {
        self.dirty || self.next_deadline().is_some_and(|d| d <= now.mono)
    }

    /// Sees to it that the next step runs a cycle.
    pub(crate) fn mark(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn note(&mut self, now: Now, subject: &str, reason: &str, kind: EventKind) -> Effect {
        Effect::Tell(self.journal.note(now, subject, reason, kind))
    }

    /// The view of this moment under the given intents.
    pub(crate) fn view(&self, intents: &Intents, now: Now) -> View {
        View {
            reports: self.reports.newest.clone(),
            measured_demand: Vec::new(),
            held_receivers: Vec::new(),
            intents: intents.clone(),
            wall: now.wall,
        }
    }

    /// One cycle of the kernel; counts it and tells what changed in verdicts and alarms.
    pub(crate) fn run_cycle(
        &mut self,
        live: &Live,
        state: State,
        intents: &Intents,
        now: Now,
    ) -> (CycleInput, CycleOutput) {
        let view = self.view(intents, now);
        let input = CycleInput {
            fleet: Arc::clone(&live.fleet),
            mask: Arc::clone(&live.mask),
            state,
            view,
            now: now.mono,
        };
        let output = tidegate_kernel::cycle(&input);
        self.cycled = now.mono;
        self.cycles += 1;
        (input, output)
    }

    /// Keeps the output as the newest picture; tells verdicts and alarms that changed.
    pub(crate) fn adopt(&mut self, output: CycleOutput, now: Now, effects: &mut Vec<Effect>) {
        let Some(live) = self.live.clone() else { return };
        let before: BTreeMap<Accused, Health> = self.output.verdicts.iter().map(|v| (v.accused, v.health)).collect();
        for verdict in &output.verdicts {
            let was = before.get(&verdict.accused).copied().unwrap_or(Health::Unknown);
            if was != verdict.health {
                let kind = EventKind::VerdictChanged {
                    accused: accused_name(&live.fleet, verdict.accused),
                    from: was,
                    to: verdict.health,
                    evidence: evidence(verdict),
                };
                let told = self.note(now, "electorate", "", kind);
                effects.push(told);
            }
        }
        self.turn_alarms(&live.fleet, &output, now, effects);
        self.state = output.state.clone();
        self.output = Arc::new(output);
    }

    fn turn_alarms(&mut self, fleet: &Fleet, output: &CycleOutput, now: Now, effects: &mut Vec<Effect>) {
        let standing = std::mem::take(&mut self.alarms);
        for alarm in &output.report.alarms {
            let text = tidegate_kernel::why::alarm_sentence(alarm, fleet);
            let held = standing.iter().find(|s| s.alarm == *alarm);
            if held.is_none() {
                effects.push(self.note(now, "kernel", "", EventKind::AlarmRaised { alarm: text.clone() }));
            }
            self.alarms.push(AlarmLine { alarm: alarm.clone(), text, since: held.map_or(now.mono, |h| h.since) });
        }
        for gone in standing.into_iter().filter(|s| !output.report.alarms.contains(&s.alarm)) {
            effects.push(self.note(now, "kernel", "", EventKind::AlarmCleared { alarm: gone.text }));
        }
    }

    fn note_ended(&mut self, ended: &intents::Ended, now: Now, effects: &mut Vec<Effect>) {
        let Some(live) = self.live.clone() else { return };
        for drain in &ended.drains {
            let Ok(place) = Place::new(&intents::place(&live.fleet, drain.scope)) else { continue };
            let service = drain.service.map(|s| live.fleet.services[s.at()].name.clone());
            let kind = EventKind::DrainExpired { id: drain.id, place, service };
            effects.push(self.note(now, "expiry", &drain.reason, kind));
        }
        for half in &ended.pauses {
            let kind = if *half == "safety" {
                tidegate_domain::MoveKind::Safety
            } else {
                tidegate_domain::MoveKind::Economic
            };
            effects.push(self.note(now, "expiry", "the pause reached its end", EventKind::AutomationResumed { kind }));
        }
    }

    /// Overrides that end within 15 minutes are announced once.
    fn announce(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(live) = self.live.clone() else { return };
        let soon = intents::ending_soon(&live.fleet, &self.intents, now.wall);
        for (id, text) in soon {
            let key = (id, text.split(" ends in").next().unwrap_or_default().to_owned());
            if self.announced.insert(key, ()).is_none() {
                effects.push(self.note(now, "expiry", "", EventKind::AlarmRaised { alarm: text }));
            }
        }
    }

    fn progress(&mut self, generation: u64, acked: u32, outstanding: &[String], now: Now, effects: &mut Vec<Effect>) {
        if generation != self.generation || !outstanding.is_empty() || acked == 0 {
            return;
        }
        let Some(last) = self.last_decision.as_mut().filter(|l| l.acked.is_none()) else { return };
        last.acked = Some(now.mono);
        let (id, after) = (last.id, now.mono.since(last.mono));
        let kind = EventKind::Acked {
            node: format!("all {acked} edges"),
            resource_type: "ADS".to_owned(),
            version: format!("{after} after decision {id}"),
            generation,
        };
        if let Effect::Tell(told) = self.note(now, "edges", "", kind) {
            effects.push(Effect::Tell(Told { decision: Some(id), ..told }));
        }
    }

    fn load(&mut self, loaded: Loaded, now: Now, effects: &mut Vec<Effect>) {
        let Loaded { end_revision, end, term, committed, fleet_then, intents, candidate, version } = loaded;
        let Candidate { fleet, bundle, sources } = candidate;
        self.end_revision = end_revision;
        self.journal.end = end;
        self.last_decision_sequence = end.sequence;
        self.term = term + 1;
        let mask = Arc::new(bundle.mask(&fleet, None).mask);
        let gaps = Arc::new(crate::asks::gaps(&fleet, &mask));
        self.documents = sources;
        if let Some(intents) = intents {
            self.intents = intents.resolve(&fleet).0;
        }
        self.reports.turn(None, &fleet);
        if let Some(committed) = committed {
            self.generation = committed.generation;
            self.decision_id = committed.decision;
            let then = State { plan: Some(committed.plan), ..State::default() };
            self.state = match &fleet_then {
                Some(old) if old.revision != fleet.revision => tidegate_kernel::carry_over(old, &then, &fleet),
                Some(_) | None => then,
            };
            self.documents_stored = fleet_then.is_some_and(|old| old.revision == fleet.revision);
        }
        self.live = Some(Live { fleet: Arc::clone(&fleet), mask, gaps });
        effects.push(self.note(now, "server", "", EventKind::Started { version }));
        effects.push(self.note(now, "server", "", EventKind::TermTaken { term: self.term }));
        effects.push(Effect::Targets(Arc::clone(&fleet)));
        if let Some(plan) = self.state.plan.clone().filter(|p| p.fleet == fleet.revision && self.documents_stored) {
            // What stood before stands again at once: edges that ask must find the last good plan, not wait for news.
            let plan = Arc::new(plan);
            self.published = Some(Arc::clone(&plan));
            effects.push(Effect::Publish { fleet, plan, generation: self.generation, decision: self.decision_id });
        }
        self.mark();
    }

    /// The picture for readers.
    #[must_use]
    pub fn model(&self) -> Option<Model> {
        let live = self.live.as_ref()?;
        Some(Model {
            fleet: Arc::clone(&live.fleet),
            mask: Arc::clone(&live.mask),
            plan: self.published.clone(),
            generation: self.generation,
            term: self.term,
            state: Arc::new(self.state.clone()),
            verdicts: Arc::new(self.output.verdicts.clone()),
            report: Arc::new(self.output.report.clone()),
            reports: Arc::new(self.reports.newest.clone()),
            intents: Arc::new(self.intents.clone()),
            decision: self.last_decision.clone(),
            alarms: self.alarms.clone(),
            gaps: Arc::clone(&live.gaps),
            cycled: self.cycled,
            cycles: self.cycles,
            refused: self.refused,
            unused: self.reports.unused.clone(),
            journal_dropped: self.journal.dropped,
            store: self.store.clone(),
        })
    }

    fn stored(&mut self, number: u64, answer: Stored, now: Now, effects: &mut Vec<Effect>) {
        let Some(pending) = self.pending.take_if(|p| p.number == number) else { return };
        match answer {
            Stored::Done { revision } => self.kept(pending, revision, now, effects),
            Stored::Lost => {
                let why = "another server has written to this store: this one has lost its term and stops deciding";
                effects.push(Effect::Stop { why: why.to_owned() });
            }
            Stored::Full { words } => {
                self.store = StoreState::Full { words: words.clone() };
                self.not_kept(pending, DenialKind::Full, &words, now, effects);
            }
            Stored::Unavailable { words } => {
                self.store = StoreState::Unavailable { words: words.clone() };
                self.not_kept(pending, DenialKind::Unavailable, &words, now, effects);
            }
        }
        self.mark();
    }
}

/// Its name as operators write it.
pub(crate) fn accused_name(fleet: &Fleet, accused: Accused) -> String {
    match accused {
        Accused::Provider(p) => fleet.providers[p.at()].name.to_string(),
        Accused::Region(r) => fleet.regions[r.at()].name.to_string(),
        Accused::Endpoint(e) => fleet.endpoints[e.at()].name.to_string(),
    }
}

/// The votes in words.
pub(crate) fn evidence(verdict: &Verdict) -> String {
    let Verdict { electorate, eligible, agreeing, agreeing_providers, .. } = verdict;
    format!("{eligible} of {electorate} vantages eligible, {agreeing} agree, from {agreeing_providers} providers")
}
