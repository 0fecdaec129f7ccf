//! The controller's memory and its two doors: `handle` takes inputs, `step` decides.

use crate::asks::{Asker, Waiting};
use crate::commit::{Change, Hold, Pending};
use crate::demand::Demand;
use crate::effect::{Denial, DenialKind, Effect};
use crate::input::{Candidate, Input, LoadIn, Loaded, Now};
use crate::intents::{self, Override};
use crate::journal::Journal;
use crate::keys;
use crate::loads::{self, Loads};
use crate::members::Members;
use crate::model::{Gap, LastDecision, Model, StoreState};
use crate::reports::Reports;
use crate::senses::Senses;
use crate::window::Window;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tidegate_domain::{Fleet, Intents, Mask, Millis, Mono, Plan, Ramp, RampPhase, State, Subject, View};
use tidegate_record::{BlobHash, Event, EventKind, UnderWay, chunk};

/// A cycle runs at least so often, for staleness and alarms.
const BEAT: Millis = Millis(1_000);
/// Questions that may wait; one more is refused.
const ASKS_MAX: usize = 64;
/// Generations whose decision is known; edges that speak of an older one are far behind.
const DECISIONS_MAX: usize = 256;

/// Fleet, policy and what follows from both.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) mask: Arc<Mask>,
    pub(crate) gaps: Arc<Vec<Gap>>,
}

/// The one owner of what was decided.
#[derive(Debug, Default)]
pub struct Controller {
    pub(crate) live: Option<Live>,
    /// Shared with the picture for readers, which is made after every step.
    pub(crate) state: Arc<State>,
    pub(crate) intents: Intents,
    pub(crate) reports: Reports,
    /// Shared with the picture for readers.
    pub(crate) loads: Arc<Loads>,
    pub(crate) demand: Demand,
    /// What edges measured within the last seconds.
    pub(crate) window: Window,
    /// Whom this server's gossip hears.
    members: Members,
    /// The newest generation that all edges hold.
    acked: u64,
    pub(crate) journal: Journal,
    pub(crate) pending: Option<Pending>,
    pub(crate) asks: VecDeque<Waiting>,
    pub(crate) end_revision: u64,
    pub(crate) term: u64,
    pub(crate) generation: u64,
    pub(crate) decision_id: u64,
    pub(crate) last_decision_sequence: u64,
    pub(crate) last_decision: Option<LastDecision>,
    /// Generations and their decisions, the newest last.
    decisions: VecDeque<(u64, u64)>,
    pub(crate) published: Option<Arc<Plan>>,
    pub(crate) documents_stored: bool,
    pub(crate) documents: Vec<(String, Vec<u8>)>,
    pub(crate) senses: Senses,
    pub(crate) store: StoreState,
    pub(crate) hold: Hold,
    pub(crate) refused: u64,
    pub(crate) held: u64,
    pub(crate) superseded: u64,
    /// What the next call returns.
    pub(crate) out: Vec<Effect>,
    /// Another server has the store: nothing is decided any more.
    pub(crate) stopped: bool,
    /// Ends of overrides that were announced; those that no longer stand are forgotten.
    announced: BTreeSet<Override>,
    pub(crate) cycled: Mono,
    pub(crate) cycles: u64,
    dirty: bool,
    numbers: u64,
}

impl Controller {
    /// Knows nothing and serves nobody until `Input::Loaded`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one input. Decides nothing yet: call [`Self::step`] once after all inputs that are ready.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Loaded(loaded) => self.load(*loaded, now),
            Input::Report(report) => {
                if let Some(live) = &self.live
                    && self.reports.take(&live.fleet, report, now.mono).is_ok()
                {
                    self.dirty = true;
                }
            }
            Input::Load(load) => self.load_report(&load, now),
            Input::Ask { ticket, by, reason, ask } => {
                let asker = Asker { ticket, by, reason, asked: ask.noun() };
                match self.no_ear() {
                    Some(denial) if self.live.is_none() || self.stopped => self.deny(&asker, denial),
                    Some(denial) => self.refuse(&asker, denial, now),
                    None => self.asks.push_back(Waiting { asker, ask }),
                }
            }
            Input::Refused { by, reason, asked, why } => {
                self.note(now, &by, &reason, EventKind::Refused { asked, why });
            }
            Input::Joined { vantage } => {
                self.note(now, vantage.as_str(), "", EventKind::ProberJoined { vantage: vantage.clone() });
            }
            Input::Stored { number, answer } => self.stored(number, answer, now),
            Input::Head { number, head } => self.head(number, &head, now),
            Input::Nacked { node, resource_type, generation, words } => {
                let version = format!("generation {generation}");
                let decision = self.decisions.iter().find(|d| d.0 == generation).map(|d| d.1);
                self.note_of(now, "edge", decision, EventKind::Nacked { node, resource_type, version, words });
            }
            Input::Members(heard) => self.dirty |= self.members.take(heard),
            Input::Progress { generation, acked, outstanding } => self.progress(generation, acked, &outstanding, now),
            Input::Tick => {}
        }
        std::mem::take(&mut self.out)
    }

    /// Decides once on all that is known, and says what to do. While a write is under way it decides nothing.
    pub fn step(&mut self, now: Now) -> Vec<Effect> {
        if self.live.is_some() && !self.stopped {
            if self.due(now)
                && let Some(live) = &self.live
            {
                self.demand.settle(&live.fleet, now.mono);
                self.window.forget(now.mono);
                self.window.learn(&self.state.blamed, now.mono);
            }
            self.advance(now);
            self.note_drains(now);
        }
        std::mem::take(&mut self.out)
    }

    /// When `step` should be called though nothing happens; none: only an input helps.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.live.as_ref().filter(|_| !self.stopped)?;
        match &self.pending {
            Some(pending) => Some(pending.again_at(self.beat())),
            // A question waits: the next step is due as soon as this one has ended.
            None if !self.asks.is_empty() => Some(self.cycled),
            None => Some(self.beat()),
        }
    }

    fn load_report(&mut self, load: &LoadIn, now: Now) {
        let Some(live) = &self.live else { return };
        let new = Arc::make_mut(&mut self.loads).take(load, now.mono);
        if let (true, LoadIn::Reported { group, classes, .. }) = (new, load) {
            self.demand.take(&live.fleet, group, classes, now.mono);
            self.window.take(&live.fleet, load, now.mono);
        }
    }

    /// The grace of a drain runs from the moment when no edge sends anything there, whether or not anybody looks.
    fn note_drains(&mut self, now: Now) {
        let (Some(live), Some(plan)) = (&self.live, &self.published) else { return };
        let drains: Vec<(u64, bool)> =
            self.intents.drains.iter().map(|d| (d.id, loads::weightless(&live.fleet, plan, d))).collect();
        let acked = self.acked == self.generation;
        if !self.loads.noted(&drains, acked, now.mono) {
            Arc::make_mut(&mut self.loads).note(&drains, acked, now.mono);
        }
    }

    fn beat(&self) -> Mono {
        let beat = self.cycled + BEAT;
        self.senses.wake.map_or(beat, |w| w.max(self.cycled + Millis(1)).min(beat))
    }

    pub(crate) fn due(&self, now: Now) -> bool {
        self.dirty || self.beat() <= now.mono
    }

    fn advance(&mut self, now: Now) {
        if self.pending.is_some() {
            return self.wait_for_store(now);
        }
        self.announce(now);
        let expiry = if self.hold.ordinary(now) { None } else { self.expiry(now) };
        if expiry.is_some() || self.due(now) {
            // What is due goes first: no safety move waits behind what people ask.
            self.decide(expiry.unwrap_or_default(), now);
        } else if self.asks.is_empty() {
            self.flush(now);
        }
        // One question a step, because each plans anew; the next step comes at once.
        if self.pending.is_none()
            && let Some(waiting) = self.asks.pop_front()
        {
            self.begin_ask(waiting, now);
        }
    }

    /// Why a question cannot even wait.
    fn no_ear(&self) -> Option<Denial> {
        let away = "look at the store in `status`, then try again";
        if self.stopped {
            let why = "another server has written to this store: this one decides nothing any more";
            Some(Denial::new(DenialKind::Unavailable, why, "ask the other server"))
        } else if self.live.is_none() {
            Some(Denial::new(DenialKind::NotReady, "the store is not loaded yet", "try again in a moment"))
        } else if self.pending.as_ref().is_some_and(Pending::in_doubt) {
            let why = "the store did not answer the last write, and it is not yet known whether it was kept";
            Some(Denial::new(DenialKind::Unavailable, why, away))
        } else if self.asks.len() >= ASKS_MAX {
            let why = format!("{ASKS_MAX} requests are waiting for the store");
            Some(Denial::new(DenialKind::Unavailable, why, away))
        } else {
            None
        }
    }

    /// Sees to it that the next step runs a cycle.
    pub(crate) fn mark(&mut self) {
        self.dirty = true;
    }

    pub(crate) fn unmark(&mut self, now: Now) {
        self.dirty = false;
        self.cycled = now.mono;
        self.cycles += 1;
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Puts an event in line for the journal and tells followers.
    pub(crate) fn note(&mut self, now: Now, subject: &str, reason: &str, kind: EventKind) {
        let told = self.journal.note(now, event(subject, reason, kind));
        self.out.push(Effect::Tell(told));
    }

    /// The same of something that belongs to a decision.
    pub(crate) fn note_of(&mut self, now: Now, subject: &str, decision: Option<u64>, kind: EventKind) {
        let told = self.journal.note(now, Event { decision, ..event(subject, "", kind) });
        self.out.push(Effect::Tell(told));
    }

    /// Remembers which decision a generation came of: what edges say names the generation.
    pub(crate) fn remember(&mut self, generation: u64, decision: u64) {
        self.decisions.push_back((generation, decision));
        if self.decisions.len() > DECISIONS_MAX {
            self.decisions.pop_front();
        }
    }

    /// The view of this moment under the given intents.
    pub(crate) fn view(&self, intents: &Intents, now: Now) -> View {
        View {
            reports: self.reports.newest.clone(),
            measured_demand: self.live.as_ref().map_or_else(Vec::new, |live| self.demand.measured(&live.fleet)),
            traffic: self.window.traffic(now.mono),
            lost_members: self.live.as_ref().map_or_else(Vec::new, |live| self.members.lost(&live.fleet)),
            held_receivers: Vec::new(),
            intents: intents.clone(),
            wall: now.wall,
        }
    }

    /// What time has ended, as a change to be written.
    fn expiry(&self, now: Now) -> Option<Change> {
        let live = self.live.as_ref()?;
        let mut expired = self.intents.clone();
        let ended = intents::expire(&mut expired, now.wall);
        if ended.is_empty() {
            return None;
        }
        let events = ended.events(&live.fleet);
        Some(Change { intents: Some(expired), events, ..Change::default() })
    }

    /// Overrides that end within 15 minutes are announced once.
    fn announce(&mut self, now: Now) {
        let Some(live) = &self.live else { return };
        let soon = intents::ending_soon(&live.fleet, &self.intents, now.wall);
        let fresh: Vec<String> =
            soon.iter().filter(|(which, _)| !self.announced.contains(which)).map(|(_, text)| text.clone()).collect();
        self.announced = soon.into_iter().map(|(which, _)| which).collect();
        for alarm in fresh {
            self.note(now, "expiry", "", EventKind::AlarmRaised { alarm });
        }
    }

    fn progress(&mut self, generation: u64, acked: u32, outstanding: &[String], now: Now) {
        if generation != self.generation || !outstanding.is_empty() {
            return;
        }
        self.acked = generation;
        if acked == 0 {
            return;
        }
        let Some(last) = self.last_decision.as_mut().filter(|l| l.acked.is_none()) else { return };
        last.acked = Some(now.mono);
        // One that another process made was acknowledged to that one, or never: there is nothing to measure.
        let Some(made) = last.mono else { return };
        let (id, after) = (last.id, now.mono.since(made));
        let kind = EventKind::Acked {
            node: format!("all {acked} edges"),
            resource_type: "ADS".to_owned(),
            version: format!("{after} after decision {id}"),
            generation,
        };
        self.out.push(Effect::Acked { decision: id, after });
        self.note_of(now, "edges", Some(id), kind);
    }

    fn load(&mut self, loaded: Loaded, now: Now) {
        if self.live.is_some() {
            return;
        }
        let Loaded { end_revision, end, term, committed, fleet_then, .. } = loaded;
        let Candidate { fleet, bundle, sources } = loaded.candidate;
        self.end_revision = end_revision;
        self.journal.end = end;
        self.last_decision_sequence = loaded.decision_sequence;
        self.last_decision =
            loaded.decision.map(|d| LastDecision { id: d.id, at: d.at, mono: None, summary: d.summary, acked: None });
        self.term = term + 1;
        let mask = Arc::new(bundle.mask(&fleet, None).mask);
        let gaps = Arc::new(crate::asks::gaps(&fleet, &mask));
        let root = documents_root(&sources);
        self.documents_stored = root.is_some() && root == loaded.documents;
        self.documents = sources;
        self.reports.turn(None, &fleet);
        let mut gone = Vec::new();
        if let Some(named) = loaded.intents {
            (self.intents, gone) = named.resolve(&fleet);
        }
        let mut same_fleet = false;
        if let Some(committed) = committed {
            (self.generation, self.decision_id) = (committed.generation, committed.decision);
            self.remember(committed.generation, committed.decision);
            let ramp = |r: &UnderWay| Ramp {
                class: r.class,
                group: r.group,
                kind: r.kind,
                started: now.mono,
                stepped: now.mono,
                phase: RampPhase::Settling,
            };
            let then = State {
                plan: Some(committed.plan),
                returning: committed.returning,
                displaced: committed.displaced,
                ramps: committed.ramps.iter().map(ramp).collect(),
                ..State::default()
            };
            same_fleet = fleet_then.as_ref().is_none_or(|old| old.revision == fleet.revision);
            let mut state = match &fleet_then {
                Some(old) if !same_fleet => tidegate_kernel::carry_over(old, &then, &fleet),
                Some(_) | None => then,
            };
            // When anything last moved is not known here, so that every wait starts again, in full.
            state.moved = vec![Some(now.mono); fleet.classes.len()];
            state.forced.clone_from(&state.moved);
            self.state = Arc::new(state);
        }
        self.live = Some(Live { fleet: Arc::clone(&fleet), mask, gaps });
        self.note(now, "server", "", EventKind::Started { version: loaded.version });
        self.note(now, "server", "", EventKind::TermTaken { term: self.term });
        for id in gone {
            let alarm = format!("drain #{id} has ended: the fleet no longer has its place");
            self.note(now, "server", "", EventKind::AlarmRaised { alarm });
        }
        self.out.push(Effect::Targets(Arc::clone(&fleet)));
        if let Some(plan) = self.state.plan.clone().filter(|p| same_fleet && p.fleet == fleet.revision) {
            // What stood before stands again at once: edges that ask must find the last good plan, not wait for news.
            let plan = Arc::new(plan);
            self.published = Some(Arc::clone(&plan));
            Arc::make_mut(&mut self.loads).set(&fleet, &plan);
            self.out.push(Effect::Publish { fleet, plan, generation: self.generation, decision: self.decision_id });
        }
        self.mark();
    }

    /// The picture for readers; none before the store is loaded.
    #[must_use]
    pub fn model(&self) -> Option<Model> {
        let live = self.live.as_ref()?;
        Some(Model {
            fleet: Arc::clone(&live.fleet),
            mask: Arc::clone(&live.mask),
            plan: self.published.clone(),
            generation: self.generation,
            term: self.term,
            state: Arc::clone(&self.state),
            verdicts: Arc::clone(&self.senses.verdicts),
            report: Arc::clone(&self.senses.report),
            reports: Arc::new(self.reports.newest.clone()),
            at_edges: Arc::clone(&self.senses.at_edges),
            loads: Arc::clone(&self.loads),
            intents: Arc::new(self.intents.clone()),
            decision: self.last_decision.clone(),
            alarms: self.senses.alarms.clone(),
            gaps: Arc::clone(&live.gaps),
            cycled: self.cycled,
            cycles: self.cycles,
            refused: self.refused,
            held: self.held,
            superseded: self.superseded,
            lost_members: self.members.lost(&live.fleet),
            unused: self.reports.unused.clone(),
            journal_dropped: self.journal.dropped,
            store: self.store.clone(),
        })
    }
}

/// The event of `kind` that `subject` caused.
pub(crate) fn event(subject: &str, reason: &str, kind: EventKind) -> Event {
    Event { subject: Subject(subject.to_owned()), reason: reason.to_owned(), kind, decision: None }
}

/// Root of the blobs that hold `documents`.
fn documents_root(documents: &[(String, Vec<u8>)]) -> Option<BlobHash> {
    chunk(&keys::encode_documents(documents)).ok().map(|c| c.root)
}
