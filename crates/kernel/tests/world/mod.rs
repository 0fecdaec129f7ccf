//! A world for planner tests: time advances, places die and return, people wish; every plan is checked.
#![allow(dead_code, unreachable_pub)] // every test binary compiles its own copy and uses a part of it

use crate::support::*;
use std::sync::Arc;
use tidegate_domain::*;
use tidegate_kernel::{authorize, cycle, lint};

/// A planner: the kernel's, or one broken on purpose.
pub type Planner = fn(&CycleInput) -> CycleOutput;

pub struct World {
    pub fleet: Fleet,
    pub mask: Mask,
    pub state: State,
    pub intents: Intents,
    pub demand: Vec<(ClassIx, GroupIx, MilliRps)>,
    /// Regions that are dead.
    pub dead: Vec<RegionIx>,
    /// What edges measure.
    pub traffic: Vec<Traffic>,
    /// Regions that these probers see failing, whatever is true.
    pub blind: Vec<(VantageIx, RegionIx)>,
    /// Providers whose API these probers see failing.
    pub api_failing: Vec<(VantageIx, ProviderIx)>,
    /// Milliseconds since the start.
    pub clock: u64,
    pub planner: Planner,
    pub last: Option<(CycleInput, CycleOutput)>,
}

impl World {
    pub fn new(fleet: Fleet) -> Self {
        let mask = allow_all(&fleet);
        Self {
            fleet,
            mask,
            state: State::default(),
            intents: Intents::default(),
            demand: Vec::new(),
            dead: Vec::new(),
            blind: Vec::new(),
            traffic: Vec::new(),
            api_failing: Vec::new(),
            clock: 0,
            planner: cycle,
            last: None,
        }
    }
    /// A world that has settled: verdicts stand and the first plan is taken.
    pub fn settled(fleet: Fleet) -> Self {
        let mut world = Self::new(fleet);
        for _ in 0..14 {
            world.tick(500);
        }
        world
    }
    pub fn wall(&self) -> Wall {
        Wall(1_700_000_000_000 + i64::try_from(self.clock).unwrap())
    }
    pub fn input(&self) -> CycleInput {
        let now = at(self.clock);
        let mut view = dead_regions(&self.fleet, now, &self.dead);
        // A vantage goes on though its region's endpoints are dead, unless its whole provider is.
        for (v, vantage) in self.fleet.vantages.iter().enumerate() {
            let provider = self.fleet.provider_of(vantage.region);
            let whole = (0..self.fleet.regions.len())
                .map(RegionIx::from)
                .filter(|r| self.fleet.provider_of(*r) == provider)
                .all(|r| self.dead.contains(&r));
            if !whole && view.reports[v].is_none() {
                let sees = |e: EndpointIx| match self.dead.contains(&self.fleet.endpoints[e.at()].region) {
                    true => TargetState::Failing,
                    false => TargetState::Ok,
                };
                view.reports[v] = Some(report(&self.fleet, VantageIx::from(v), now, sees));
            }
        }
        for (v, r) in &self.blind {
            for e in endpoints_in(&self.fleet, *r) {
                if let Some(report) = &mut view.reports[v.at()] {
                    report.targets[e.at()] = TargetState::Failing;
                }
            }
        }
        for (v, p) in &self.api_failing {
            let at = self.fleet.apis.iter().position(|a| a.provider == *p).unwrap();
            if let Some(report) = &mut view.reports[v.at()] {
                report.targets[self.fleet.endpoints.len() + at] = TargetState::Failing;
            }
        }
        view.traffic = self.traffic.clone();
        view.intents = self.intents.clone();
        view.measured_demand = self.demand.clone();
        view.wall = self.wall();
        let (fleet, mask) = (Arc::new(self.fleet.clone()), Arc::new(self.mask.clone()));
        CycleInput { fleet, mask, state: self.state.clone(), view, now }
    }
    /// Lets time pass, runs one cycle and returns the linter's faults. The plan is taken whatever they are.
    pub fn try_tick(&mut self, ms: u64) -> Vec<lint::Fault> {
        self.clock += ms;
        let input = self.input();
        let output = (self.planner)(&input);
        let faults = lint::check(&input, &output);
        self.state = output.state.clone();
        self.last = Some((input, output));
        faults
    }
    /// One cycle in which every prober lives and sees exactly the `dead` endpoints fail. Returns the linter's faults.
    pub fn look(&mut self, ms: u64, dead: impl Fn(usize) -> bool) -> Vec<lint::Fault> {
        self.look_apart(ms, |_, e| dead(e))
    }
    /// The same where each prober sees what it sees: by prober and endpoint.
    pub fn look_apart(&mut self, ms: u64, dead: impl Fn(usize, usize) -> bool) -> Vec<lint::Fault> {
        self.clock += ms;
        let mut input = self.input();
        let seen = view_of(&self.fleet, input.now, |v, e| match dead(v.at(), e.at()) {
            true => TargetState::Failing,
            false => TargetState::Ok,
        });
        input.view.reports = seen.reports;
        let output = (self.planner)(&input);
        let faults = lint::check(&input, &output);
        self.state = output.state.clone();
        self.last = Some((input, output));
        faults
    }
    /// As [`Self::try_tick`], and every plan must pass.
    pub fn tick(&mut self, ms: u64) -> &CycleOutput {
        let faults = self.try_tick(ms);
        assert!(faults.is_empty(), "at {} ms: {faults:#?}", self.clock);
        let (input, output) = self.last.as_ref().unwrap();
        assert!(authorize(input, output.clone()).is_ok());
        output
    }
    /// Ticks every 500 ms for so long.
    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.tick(500);
        }
    }
    /// The server starts anew: it knows the committed plan and what was recorded beside it; every wait starts again.
    pub fn restart(&mut self) {
        let now = at(self.clock);
        let before = std::mem::take(&mut self.state);
        let moved = vec![Some(now); self.fleet.classes.len()];
        self.state = State {
            plan: before.plan,
            returning: before.returning,
            displaced: before.displaced,
            ramps: before.ramps.into_iter().map(|r| Ramp { started: now, stepped: now, ..r }).collect(),
            forced: moved.clone(),
            moved,
            ..State::default()
        };
    }
    pub fn plan(&self) -> &Plan {
        self.state.plan.as_ref().unwrap()
    }
    pub fn report(&self) -> &Report {
        &self.last.as_ref().unwrap().1.report
    }
    pub fn split(&self, class_name: &str, group_name: &str) -> &ClassSplit {
        self.plan().split(class(&self.fleet, class_name), group(&self.fleet, group_name)).unwrap()
    }
    /// A region's share in basis points.
    pub fn share(&self, class_name: &str, group_name: &str, place: &str) -> u16 {
        self.split(class_name, group_name).share(region(&self.fleet, place)).get()
    }
    pub fn provider_share(&self, class_name: &str, group_name: &str, cloud: &str) -> u16 {
        let cloud = provider(&self.fleet, cloud);
        let split = self.split(class_name, group_name);
        split.weights.iter().filter(|w| self.fleet.provider_of(w.region) == cloud).map(|w| w.share.get()).sum()
    }
    pub fn kill(&mut self, cloud: &str) {
        let cloud = provider(&self.fleet, cloud);
        let regions = (0..self.fleet.regions.len()).map(RegionIx::from);
        self.dead.extend(regions.filter(|r| self.fleet.provider_of(*r) == cloud));
    }
    /// Every prober outside sees the API of a provider fail.
    pub fn break_api(&mut self, cloud: &str) {
        let p = provider(&self.fleet, cloud);
        let outside = (0..self.fleet.vantages.len()).filter(|v| {
            let region = self.fleet.vantages[*v].region;
            self.fleet.provider_of(region) != p
        });
        self.api_failing = outside.map(|v| (VantageIx::from(v), p)).collect();
    }
    /// A person's word on the API of a provider, for so many milliseconds.
    pub fn say(&mut self, cloud: &str, trouble: bool, ms: u64) {
        let (of, until) = (provider(&self.fleet, cloud), self.wall() + Millis(ms));
        let (reason, by) = ("their status page".to_owned(), Subject("ann".to_owned()));
        self.intents.api_words = vec![ApiWord { provider: of, trouble, reason, by, until }];
    }
    pub fn drain(&mut self, id: u64, scope: Scope) -> Drain {
        let drain = Drain {
            id,
            scope,
            service: None,
            until: None,
            grace: Millis(0),
            reason: "test".to_owned(),
            by: Subject("tester".to_owned()),
            at: self.wall(),
        };
        self.intents.drains.push(drain.clone());
        drain
    }
}
