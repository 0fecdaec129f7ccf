//! A whole cell in virtual time: eight probers that see what is alive, the controller, a store that may fail, and what
//! was published. Owns the world; refuses to decide anything. Checks stand in `checks`.
#![allow(dead_code, unreachable_pub)] // every test binary compiles its own copy and uses a part of it

pub mod checks;
pub mod shell;

use shell::{Fault, Shelf};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_controller::*;
use tidegate_domain::*;
use tidegate_policy::Bundle;

/// Virtual time moves by so much.
pub const STEP_MS: u64 = 20;
/// A report is under way for so long.
const GOSSIP_MS: u64 = 40;
const PROBE_MS: u64 = 500;

/// The example's documents with texts exchanged.
pub fn payroll(changes: &[(&str, &str)]) -> Candidate {
    let mut documents = tidegate_config::example_payroll();
    for (from, to) in changes {
        let mut hits = 0;
        for (_, text) in &mut documents {
            hits += text.matches(from).count();
            *text = text.replace(from, to);
        }
        assert!(hits > 0, "`{from}` is not in the example");
    }
    let loaded = tidegate_config::load_documents(documents).unwrap_or_else(|f| panic!("{f}"));
    let bundle = Bundle::compile(loaded.policy).unwrap();
    Candidate { fleet: Arc::new(loaded.fleet), bundle: Arc::new(bundle), sources: loaded.sources }
}

/// One prober.
#[derive(Debug, Clone)]
struct Prober {
    fails: Vec<u8>,
    goods: Vec<u8>,
    /// A probe that will fail is under way.
    missed: Vec<bool>,
    seen: Vec<TargetState>,
    sequence: u64,
}

/// One published plan.
#[derive(Debug, Clone)]
pub struct Published {
    pub at: u64,
    pub generation: u64,
    pub decision: u64,
    pub fleet: Arc<Fleet>,
    pub plan: Arc<Plan>,
}

/// Everything.
#[derive(Debug)]
pub struct World {
    pub candidate: Candidate,
    pub shelf: Shelf,
    pub controller: Controller,
    /// Milliseconds since the start.
    pub clock: u64,
    /// Added to the monotonic clock of this process: another after each restart.
    base: u64,
    /// Regions whose endpoints fail.
    pub dead: BTreeSet<RegionIx>,
    /// How long a probe of a dead endpoint takes to fail: 0 refused, 400 hung or black-holed.
    pub fail_ms: u64,
    /// A wrong health check: every endpoint fails for everyone, all probers live.
    pub wrong_path: bool,
    /// Probers that say nothing.
    pub silent: BTreeSet<usize>,
    /// Probers that see these regions as failing, whatever is true: a path failure, or a lie.
    pub blind: BTreeMap<usize, BTreeSet<RegionIx>>,
    /// Two edges of each group send what the plan says and report every second.
    pub edges: bool,
    /// So many per mille of their requests fail in these regions, whatever the probers see.
    pub erring: BTreeMap<RegionIx, u64>,
    /// What a good answer takes there, in milliseconds, where it is not 20.
    pub answers_in: BTreeMap<RegionIx, u64>,
    /// A restarted server does not read what people asked for. For tests of the checks.
    pub forgetful: bool,
    /// Nothing runs: probes, server, clock apart.
    pub stalled: bool,
    probers: Vec<Prober>,
    /// Inputs under way, by when they arrive.
    mail: BTreeMap<(u64, u64), Input>,
    mails: u64,
    tickets: u64,
    pub answers: BTreeMap<u64, Result<Answer, Denial>>,
    pub published: Vec<Published>,
    pub told: Vec<(u64, Told)>,
    pub targets: usize,
    pub acked: Vec<(u64, Millis)>,
    /// Verdicts of Down and how long they took.
    pub detected: Vec<(&'static str, Millis)>,
    pub stopped: bool,
    /// A write that the store has and does not answer.
    hung: Option<Effect>,
}

impl World {
    pub fn new(candidate: Candidate) -> Self {
        let mut world = Self {
            probers: vec![],
            shelf: Shelf::memory(),
            controller: Controller::new(),
            clock: 0,
            base: 1_000_000_000_000,
            dead: BTreeSet::new(),
            fail_ms: 0,
            wrong_path: false,
            silent: BTreeSet::new(),
            blind: BTreeMap::new(),
            edges: false,
            erring: BTreeMap::new(),
            answers_in: BTreeMap::new(),
            stalled: false,
            forgetful: false,
            mail: BTreeMap::new(),
            mails: 0,
            tickets: 0,
            answers: BTreeMap::new(),
            published: Vec::new(),
            told: Vec::new(),
            targets: 0,
            acked: Vec::new(),
            detected: Vec::new(),
            hung: None,
            stopped: false,
            candidate,
        };
        world.forget_probes();
        world
    }

    /// Started and settled: verdicts stand, the first plan is published.
    pub fn settled(candidate: Candidate) -> Self {
        let mut world = Self::new(candidate);
        world.start();
        world.run(15_000);
        assert!(!world.published.is_empty());
        world
    }

    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.candidate.fleet)
    }

    fn forget_probes(&mut self) {
        let n = self.candidate.fleet.endpoints.len();
        let one = Prober {
            fails: vec![0; n],
            goods: vec![3; n],
            missed: vec![false; n],
            seen: vec![TargetState::Ok; n],
            sequence: 0,
        };
        self.probers = vec![one; self.candidate.fleet.vantages.len()];
    }

    pub fn now(&self) -> Now {
        Now { mono: Mono(self.base) + Millis(self.clock), wall: Wall(1_700_000_000_000) + Millis(self.clock) }
    }

    /// A server starts on what the store holds.
    pub fn start(&mut self) {
        self.controller = Controller::new();
        let mut loaded = self.shelf.load(self.candidate.clone());
        if self.forgetful {
            loaded.intents = None;
        }
        self.feed(vec![Input::Loaded(Box::new(loaded))]);
    }

    /// The server dies with all that it knew and all that was on its way to it; another starts.
    pub fn restart(&mut self) {
        self.mail.retain(|_, input| matches!(input, Input::Report(_)));
        self.base = self.base / 2 + 77_000_000_000;
        self.stopped = false;
        self.start();
    }

    /// Hands inputs over, steps once, runs the effects.
    pub fn feed(&mut self, inputs: Vec<Input>) {
        let now = self.now();
        let mut effects = Vec::new();
        for input in inputs {
            effects.extend(self.controller.handle(input, now));
        }
        effects.extend(self.controller.step(now));
        for effect in effects {
            self.run_effect(effect);
        }
    }

    fn send(&mut self, after: u64, input: Input) {
        self.mails += 1;
        self.mail.insert((self.clock + after, self.mails), input);
    }

    fn run_effect(&mut self, effect: Effect) {
        match effect {
            hung @ Effect::Persist { .. } if self.shelf.fault == Fault::Hung => self.hung = Some(hung),
            Effect::Persist { number, end_revision, puts, blobs, safety } => {
                let answer = self.shelf.write(end_revision, puts, &blobs, safety);
                self.send(STEP_MS, Input::Stored { number, answer });
            }
            Effect::ReadHead { number } => {
                let head = self.shelf.head();
                self.send(STEP_MS, Input::Head { number, head });
            }
            Effect::Publish { fleet, plan, generation, decision } => {
                checks::publish(&self.shelf, generation, &plan).unwrap();
                checks::rises(self.published.last().map(|p| p.generation), generation).unwrap();
                checks::permitted(&fleet, &plan).unwrap();
                self.published.push(Published { at: self.clock, generation, decision, fleet, plan });
            }
            Effect::Targets(_) => self.targets += 1,
            Effect::Tell(told) => self.told.push((self.clock, told)),
            Effect::Answer { ticket, answer } => {
                assert!(self.answers.insert(ticket.0, answer).is_none(), "one question, one answer");
            }
            Effect::Detected { what, after } => self.detected.push((what, after)),
            Effect::Acked { decision, after } => self.acked.push((decision, after)),
            Effect::Stop { .. } => self.stopped = true,
        }
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.clock + ms;
        while self.clock < end {
            self.clock += STEP_MS;
            if self.stalled {
                continue;
            }
            self.probe();
            self.drive();
            let later = self.mail.split_off(&(self.clock + 1, 0));
            let mut batch: Vec<Input> = std::mem::replace(&mut self.mail, later).into_values().collect();
            if batch.is_empty() && self.controller.next_deadline().is_some_and(|d| d <= self.now().mono) {
                batch.push(Input::Tick);
            }
            if !batch.is_empty() {
                self.feed(batch);
            }
        }
    }

    /// Runs until `done`, at most `ms`; returns how long it took.
    #[track_caller]
    pub fn until(&mut self, ms: u64, what: &str, done: impl Fn(&Self) -> bool) -> u64 {
        let start = self.clock;
        while !done(self) {
            assert!(self.clock - start < ms, "after {ms} ms still not: {what}\n{:#?}", self.model().alarms);
            self.run(STEP_MS);
        }
        self.clock - start
    }

    fn sees(&self, v: usize, e: usize) -> bool {
        let region = self.candidate.fleet.endpoints[e].region;
        let blind = self.blind.get(&v).is_some_and(|b| b.contains(&region));
        !(self.wrong_path || blind || self.dead.contains(&region))
    }

    /// Every prober starts a round each half second, at a phase of its own, and reports what it then knows.
    fn probe(&mut self) {
        for v in 0..self.probers.len() {
            let phase = v as u64 * 60;
            // What fails by time-out is known later than what answers.
            let good_round = self.clock >= phase && (self.clock - phase).is_multiple_of(PROBE_MS);
            let late = phase + self.fail_ms;
            let bad_round = self.clock >= late && (self.clock - late).is_multiple_of(PROBE_MS);
            if !(good_round || bad_round) || self.is_dead(v) || self.silent.contains(&v) {
                continue;
            }
            for e in 0..self.candidate.fleet.endpoints.len() {
                let good = self.sees(v, e);
                let p = &mut self.probers[v];
                if good_round && good {
                    (p.fails[e], p.goods[e], p.missed[e]) = (0, p.goods[e].saturating_add(1), false);
                } else if good_round {
                    // It fails if it was dead when the probe began, and is known to when the probe ends.
                    p.missed[e] = true;
                }
                if bad_round && std::mem::take(&mut p.missed[e]) {
                    (p.goods[e], p.fails[e]) = (0, p.fails[e].saturating_add(1));
                }
                if p.fails[e] >= 2 {
                    p.seen[e] = TargetState::Failing;
                } else if p.goods[e] >= 3 {
                    p.seen[e] = TargetState::Ok;
                }
            }
            self.probers[v].sequence += 1;
            let report = self.report(v);
            self.send(GOSSIP_MS, Input::Report(report));
        }
    }

    /// Every edge reports what it sent in the last second.
    fn drive(&mut self) {
        let Some(plan) = self.published.last().map(|p| Arc::clone(&p.plan)) else { return };
        if !self.edges || !self.clock.is_multiple_of(1_000) {
            return;
        }
        let fleet = self.fleet();
        for (g, group) in fleet.groups.iter().enumerate() {
            let of = |s: &&ClassSplit| s.group == GroupIx::from(g) && !s.weights.is_empty();
            let load = |s: &ClassSplit| ClassLoad {
                class: fleet.class_name(s.class),
                interval: Millis(1_000),
                dropped: 0,
                places: s.weights.iter().map(|w| self.place_load(&fleet, s, *w)).collect(),
            };
            let classes: Vec<ClassLoad> = plan.splits.iter().filter(of).map(load).collect();
            let name = group.name.to_string();
            for edge in [format!("{name}-1"), format!("{name}-2")] {
                let load = LoadIn::Reported { edge, group: name.clone(), stream: 1, classes: classes.clone() };
                self.send(GOSSIP_MS, Input::Load(load));
            }
        }
    }

    fn place_load(&self, fleet: &Fleet, s: &ClassSplit, w: Weight) -> PlaceLoad {
        let issued = fleet.demand(s.class, s.group).0 * u64::from(w.share.get()) / 10_000 / 1_000 / 2;
        let errors = issued * self.erring.get(&w.region).copied().unwrap_or(0) / 1_000;
        let (region, timed) = (fleet.regions[w.region.at()].name.to_string(), issued - errors);
        let took = Millis(timed * self.answers_in.get(&w.region).copied().unwrap_or(20));
        PlaceLoad { region, issued, errors, open: 0, timed, took }
    }

    /// What prober `v` says now.
    pub fn report(&self, v: usize) -> ReportIn {
        let p = &self.probers[v];
        ReportIn {
            vantage: self.candidate.fleet.vantages[v].name.to_string(),
            incarnation: 1,
            sequence: p.sequence,
            revision: self.candidate.fleet.revision.short(),
            own: VantageSelf { references_reached: 3, reference_networks: 3, self_doubt: false },
            targets: p.seen.clone(),
            rtt: vec![RttClass(4); p.seen.len()],
        }
    }

    /// A prober dies with its whole provider.
    fn is_dead(&self, v: usize) -> bool {
        let fleet = &self.candidate.fleet;
        let cloud = fleet.provider_of(fleet.vantages[v].region);
        let of_cloud = |r: &usize| fleet.regions[*r].provider == cloud && !fleet.regions[*r].vantage_only;
        let mut all = (0..fleet.regions.len()).filter(of_cloud).peekable();
        all.peek().is_some() && all.all(|r| self.dead.contains(&RegionIx::from(r)))
    }

    pub fn provider(&self, name: &str) -> ProviderIx {
        self.candidate.fleet.provider(&Name::new(name).unwrap()).unwrap()
    }
    pub fn region(&self, name: &str) -> RegionIx {
        self.candidate.fleet.region(&RegionName::new(name).unwrap()).unwrap()
    }
    /// The cloud dies: its endpoints and its probers.
    pub fn kill(&mut self, cloud: &str) {
        let cloud = self.provider(cloud);
        let fleet = self.fleet();
        self.dead.extend((0..fleet.regions.len()).map(RegionIx::from).filter(|r| fleet.provider_of(*r) == cloud));
    }

    /// Asks and waits for the answer.
    #[track_caller]
    pub fn ask(&mut self, ask: Ask) -> Result<Answer, Denial> {
        let ticket = self.ask_only(ask);
        self.until(2_000, "answered", |w| w.answers.contains_key(&ticket));
        self.answers[&ticket].clone()
    }
    /// Asks; the answer comes when it comes.
    pub fn ask_only(&mut self, ask: Ask) -> u64 {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.feed(vec![Input::Ask { ticket, by: "ann".to_owned(), reason: "test".to_owned(), ask }]);
        self.tickets
    }
    /// New documents, as `config reload` hands them over.
    pub fn reload(&mut self, candidate: &Candidate) -> Result<Answer, Denial> {
        let answer = self.ask(reload(candidate, self.model().fleet.revision));
        if answer.is_ok() {
            self.candidate = candidate.clone();
            self.forget_probes_but_count();
        }
        answer
    }
    fn forget_probes_but_count(&mut self) {
        let counts: Vec<u64> = self.probers.iter().map(|p| p.sequence).collect();
        self.forget_probes();
        for (p, n) in self.probers.iter_mut().zip(counts) {
            p.sequence = n + 1;
        }
    }

    pub fn model(&self) -> Model {
        self.controller.model().unwrap()
    }
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.published.last().unwrap().plan)
    }
    pub fn split(&self, class: &str, group: &str) -> ClassSplit {
        let fleet = self.fleet();
        let c = (0..fleet.classes.len()).find(|c| fleet.class_name(ClassIx::from(*c)) == class).unwrap();
        let g = fleet.group(&Name::new(group).unwrap()).unwrap();
        self.plan().split(ClassIx::from(c), g).unwrap().clone()
    }
    /// A place's or a whole provider's share in basis points, as published.
    pub fn share(&self, class: &str, group: &str, place: &str) -> u16 {
        let fleet = self.fleet();
        let inside = |r: RegionIx| {
            let region = &fleet.regions[r.at()];
            region.name.to_string() == place || fleet.providers[region.provider.at()].name.as_str() == place
        };
        self.split(class, group).weights.iter().filter(|w| inside(w.region)).map(|w| w.share.get()).sum()
    }
    /// Everything that a cloud carries, in basis points summed over all splits.
    pub fn carried(&self, cloud: &str) -> u32 {
        let (cloud, fleet) = (self.provider(cloud), self.fleet());
        let of = |w: &&Weight| fleet.provider_of(w.region) == cloud;
        self.plan().splits.iter().flat_map(|s| &s.weights).filter(of).map(|w| u32::from(w.share.get())).sum()
    }
    pub fn told_of(&self, kind: &str) -> Vec<&Told> {
        self.told.iter().map(|t| &t.1).filter(|t| t.kind == kind).collect()
    }
    /// The disk goes on: what hung is kept and answered.
    pub fn unhang(&mut self) {
        self.shelf.fault = Fault::None;
        if let Some(effect) = self.hung.take() {
            self.run_effect(effect);
        }
    }
    pub fn fault(&mut self, fault: Fault) {
        self.shelf.fault = fault;
    }
}

/// A drain of a place.
pub fn drain(place: &str) -> Ask {
    drain_for(place, None)
}
/// A drain that ends by itself.
pub fn drain_for(place: &str, lasting: Option<Millis>) -> Ask {
    Ask::Drain { place: place.to_owned(), service: None, lasting, grace: Millis(0), dry_run: false }
}
/// A reload of what was compared with revision `from` and removes nothing.
pub fn reload(candidate: &Candidate, from: Revision) -> Ask {
    let candidate = Box::new(candidate.clone());
    Ask::Reload { candidate, from, removals: Vec::new(), yes_remove: false, accept_gap: false, dry_run: false }
}
/// A restore of a place.
pub fn restore(place: &str) -> Ask {
    Ask::Restore { place: place.to_owned(), service: None, dry_run: false }
}
