//! The plan linter: derives anew, from the input alone, what a plan may look like, and names every fault.
//!
//! Owns the last word before authorising. Refuses to share code with the planner: a mistake there must not hide here.
//! What it believes from the cycle: the verdicts, and the alarms of doubt and all-down (the latter it verifies).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tidegate_domain::{
    Alarm, Bps, ClassIx, ClassSplit, CycleInput, CycleOutput, Fleet, GroupIx, Health, Move, MoveKind, Plan, RegionIx,
    ServiceIx, Serving,
};

mod limits;
mod paces;

/// Which rule a plan breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The plan is no plan: wrong revision, missing splits, weights that do not sum to 10,000.
    Shape,
    /// I6: weight or spill outside the permitted set.
    Permitted,
    /// I6: weight, gain or spill that policy denies.
    Policy,
    /// Weight on a place that is Down, or that the clients do not reach.
    Down,
    /// I8: a region above its limit.
    Limit,
    /// A class is shed beside room, or before a lower class.
    ShedOrder,
    /// A drained place gains.
    Drain,
    /// I9: a paced step above the share cap or before the settle time.
    ShareCap,
    /// I10: an economic move within minimum residency.
    Residency,
    /// I16: a paced move in a freeze window, or with its switch off.
    Frozen,
    /// I9: a paced move changes what a provider carries whose own API is in trouble.
    Api,
    /// I9: too few serving regions after a paced move.
    Assertion,
    /// A change without a move on record, or a safety move without a cause.
    Unexplained,
    /// An endpoint left out that is not Down, or that has no living sibling.
    Endpoints,
}

/// One fault of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Which rule.
    pub rule: Rule,
    /// About which split, where it is about one.
    pub split: Option<(ClassIx, GroupIx)>,
    /// About which region, where it is about one.
    pub region: Option<RegionIx>,
    /// What is wrong, in words, with names.
    pub what: String,
}
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Checks the output of a cycle against its input. Empty: no fault.
#[must_use]
pub fn check(input: &CycleInput, output: &CycleOutput) -> Vec<Fault> {
    let Some(plan) = &output.state.plan else {
        return vec![Fault { rule: Rule::Shape, split: None, region: None, what: "there is no plan".to_owned() }];
    };
    let mut lint = Lint::new(input, output, plan);
    if !lint.shape() {
        return lint.faults;
    }
    lint.splits();
    limits::check(&mut lint);
    paces::check(&mut lint);
    lint.endpoints();
    lint.faults.sort();
    lint.faults.dedup();
    lint.faults
}

/// Endpoints of one service in one region.
#[derive(Debug, Clone, Copy, Default)]
struct Site {
    total: u64,
    down: u64,
    unknown: u64,
    healthy: u64,
    /// Down, but seen well again.
    answering: u64,
}

struct Lint<'a> {
    input: &'a CycleInput,
    fleet: &'a Fleet,
    plan: &'a Plan,
    moves: BTreeMap<(ClassIx, GroupIx), &'a Move>,
    sites: Vec<Site>,
    drained: Vec<bool>,
    policy: Vec<[bool; 3]>,
    laws: usize,
    law_of: Vec<usize>,
    doubted: BTreeSet<ServiceIx>,
    all_down: BTreeSet<ClassIx>,
    /// Regions that a group's clients do not reach, by the finding of the cycle.
    cut: BTreeSet<(GroupIx, RegionIx)>,
    /// By provider: its own API is in trouble, by the finding of the cycle.
    frozen: Vec<bool>,
    /// Regions whose own verdict is Down or Unknown.
    dim: Vec<bool>,
    /// The verdicts on endpoints that the plan stands on.
    health: &'a [tidegate_domain::EndpointHealth],
    paused: bool,
    faults: Vec<Fault>,
}

impl<'a> Lint<'a> {
    fn new(input: &'a CycleInput, output: &'a CycleOutput, plan: &'a Plan) -> Self {
        let f = &input.fleet;
        let (mut doubted, mut all_down) = (BTreeSet::new(), BTreeSet::new());
        for alarm in &output.report.alarms {
            match alarm {
                Alarm::Doubt { service } => drop(doubted.insert(*service)),
                Alarm::AllDown { class } => drop(all_down.insert(*class)),
                Alarm::NoPlace { .. }
                | Alarm::Shedding { .. }
                | Alarm::LongUnknown { .. }
                | Alarm::CutOff { .. }
                | Alarm::ApiTrouble { .. }
                | Alarm::Partition
                | Alarm::Followed { .. }
                | Alarm::PlanRefused { .. } => {}
            }
        }
        let paused = !input.view.intents.automation.safety.is_on(input.view.wall);
        let mut lint = Self {
            input,
            fleet: f,
            plan,
            moves: output.report.moves.iter().map(|m| ((m.class, m.group), m)).collect(),
            sites: vec![Site::default(); f.services.len() * f.regions.len()],
            drained: vec![false; f.services.len() * f.regions.len()],
            policy: Vec::new(),
            laws: 0,
            law_of: Vec::new(),
            doubted,
            all_down,
            cut: output.state.paths.iter().filter_map(cut_of).collect(),
            frozen: (0..f.providers.len()).map(|p| is_frozen(input, output, p)).collect(),
            dim: output.state.regions.iter().map(|r| matches!(r.0, Health::Down | Health::Unknown)).collect(),
            health: &output.state.endpoints,
            paused,
            faults: Vec::new(),
        };
        lint.count_endpoints(output);
        lint.read_drains();
        lint.read_policy();
        lint
    }

    fn count_endpoints(&mut self, output: &CycleOutput) {
        let s = &output.state;
        for (i, e) in self.fleet.endpoints.iter().enumerate() {
            let site = &mut self.sites[e.service.at() * self.fleet.regions.len() + e.region.at()];
            let provider = self.fleet.regions[e.region.at()].provider;
            let wide = s.regions.get(e.region.at()).is_some_and(|r| r.0 == Health::Down)
                || s.providers.get(provider.at()).is_some_and(|p| p.0 == Health::Down);
            let own = s.endpoints.get(i).map_or(Health::Unknown, |h| h.health);
            site.total += 1;
            let down = wide || own == Health::Down;
            site.down += u64::from(down);
            site.answering += u64::from(down && s.endpoints.get(i).is_some_and(|h| h.well_since.is_some()));
            site.unknown += u64::from(!wide && own == Health::Unknown);
            site.healthy += u64::from(!wide && own == Health::Healthy);
        }
    }

    fn read_drains(&mut self) {
        let n = self.fleet.regions.len();
        for d in &self.input.view.intents.drains {
            if d.until.is_some_and(|u| u <= self.input.view.wall) {
                continue;
            }
            for at in 0..self.drained.len() {
                let (service, region) = (at / n, at % n);
                let inside = match d.scope {
                    tidegate_domain::Scope::Provider(p) => self.fleet.regions[region].provider == p,
                    tidegate_domain::Scope::Region(r) => r.at() == region,
                };
                self.drained[at] |= inside && d.service.is_none_or(|s| s.at() == service);
            }
        }
    }

    fn read_policy(&mut self) {
        let mut laws: Vec<_> = self.fleet.regions.iter().map(|r| r.jurisdiction).collect();
        laws.sort();
        laws.dedup();
        self.laws = laws.len();
        self.policy = vec![[false; 3]; self.fleet.classes.len() * laws.len()];
        for ((class, law, kind), answer) in &self.input.mask.answers {
            if let (Ok(l), true) = (laws.binary_search(law), class.at() < self.fleet.classes.len()) {
                self.policy[class.at() * laws.len() + l][*kind as usize] = answer.allow;
            }
        }
        let find = |r: &tidegate_domain::Region| laws.iter().position(|l| *l == r.jurisdiction).unwrap_or(0);
        self.law_of = self.fleet.regions.iter().map(find).collect();
    }

    fn allowed(&self, class: ClassIx, region: RegionIx, kind: MoveKind) -> bool {
        self.policy[class.at() * self.laws + self.law_of[region.at()]][kind as usize]
    }
    fn allowed_at_all(&self, class: ClassIx, region: RegionIx) -> bool {
        self.policy[class.at() * self.laws + self.law_of[region.at()]] != [false; 3]
    }
    fn service(&self, class: ClassIx) -> ServiceIx {
        self.fleet.classes[class.at()].service
    }
    fn site(&self, class: ClassIx, region: RegionIx) -> Site {
        self.sites[self.service(class).at() * self.fleet.regions.len() + region.at()]
    }
    fn is_drained(&self, class: ClassIx, region: RegionIx) -> bool {
        self.drained[self.service(class).at() * self.fleet.regions.len() + region.at()]
    }
    /// Verdicts on the class's service are not acted upon.
    fn is_held(&self, class: ClassIx) -> bool {
        self.paused || self.doubted.contains(&self.service(class))
    }
    /// Alive, but not reached from the split's side, where it reaches another living place.
    fn is_cut(&self, s: &ClassSplit, region: RegionIx) -> bool {
        let alive = |r: RegionIx| {
            let site = self.site(s.class, r);
            let living = site.total - site.down;
            living > 0 && 2 * site.unknown <= living
        };
        let reached = |r: RegionIx| {
            self.is_place(s.class, r) && !self.is_drained(s.class, r) && alive(r) && !self.cut.contains(&(s.group, r))
        };
        let site = self.site(s.class, region);
        self.cut.contains(&(s.group, region))
            && site.down < site.total
            && !self.is_held(s.class)
            && (0..self.fleet.regions.len()).map(RegionIx::from).any(reached)
    }
    /// The class is open to weights there: configuration, policy, endpoints.
    fn is_place(&self, class: ClassIx, region: RegionIx) -> bool {
        self.fleet.permits(class, region)
            && !self.fleet.regions[region.at()].vantage_only
            && self.site(class, region).total > 0
            && self.allowed_at_all(class, region)
    }
    /// All-down, verified: no permitted place that is undrained is known to be alive, or the class is just coming back.
    fn is_all_down(&self, class: ClassIx) -> bool {
        self.all_down.contains(&class) && (self.is_lost(class) || self.just_back(class))
    }
    fn is_lost(&self, class: ClassIx) -> bool {
        let regions = || (0..self.fleet.regions.len()).map(RegionIx::from).filter(|r| self.is_place(class, *r));
        // where all that is wrong is that nothing is known, the weights stay by themselves: that excuses nothing
        let gone = |r: RegionIx| self.site(class, r).down == self.site(class, r).total || self.is_drained(class, r);
        regions().any(gone)
            && regions().all(|r| {
                let site = self.site(class, r);
                let unknown = 2 * site.unknown > site.total - site.down || self.dim.get(r.at()).is_none_or(|d| *d);
                self.is_drained(class, r) || unknown || site.down == site.total
            })
    }
    /// Coming back from all-down: the standing plan has weight on a place that is Down and was before, and the first
    /// endpoint that serves the class again does so for less than twice the slow way up.
    fn just_back(&self, class: ClassIx) -> bool {
        let mut since = None;
        let mut still_down = BTreeSet::new();
        let plan = self.input.state.plan.iter().flat_map(|p| &p.splits).filter(|s| s.class == class);
        let stands: BTreeSet<RegionIx> = plan.flat_map(|s| s.weights.iter().map(|w| w.region)).collect();
        for (i, e) in self.fleet.endpoints.iter().enumerate().filter(|(_, e)| e.service == self.service(class)) {
            let was = self.input.state.endpoints.get(i).map(|h| h.health);
            let site = self.site(class, e.region);
            if was == Some(Health::Down) && site.down == site.total && stands.contains(&e.region) {
                still_down.insert(e.region);
            }
            let serves = self.health.get(i).filter(|h| matches!(h.health, Health::Healthy | Health::Degraded));
            if self.is_place(class, e.region) && !self.is_drained(class, e.region) && site.down < site.total {
                since = since.into_iter().chain(serves.map(|h| h.since)).min();
            }
        }
        let limit = tidegate_domain::Millis(2 * self.fleet.rules.up_after.0);
        !still_down.is_empty() && since.is_some_and(|s| s + limit > self.input.now)
    }
    fn old(&self, s: &ClassSplit) -> Option<&'a ClassSplit> {
        self.input.state.plan.as_ref()?.split(s.class, s.group).filter(|o| !o.weights.is_empty())
    }
    fn blame(&mut self, rule: Rule, s: Option<&ClassSplit>, region: Option<RegionIx>, what: &str) {
        let f = self.fleet;
        let split = s.map(|s| format!("{} for {}: ", f.class_name(s.class), f.groups[s.group.at()].name));
        let place = region.and_then(|r| f.regions.get(r.at())).map(|r| format!("{}: ", r.name));
        let what = format!("{}{}{what}", split.unwrap_or_default(), place.unwrap_or_default());
        self.faults.push(Fault { rule, split: s.map(|s| (s.class, s.group)), region, what });
    }

    /// Whether the plan can be read at all.
    fn shape(&mut self) -> bool {
        let (f, plan) = (self.fleet, self.plan);
        if plan.fleet != f.revision {
            self.blame(Rule::Shape, None, None, "the plan is for another fleet revision");
        }
        let pairs = (0..f.classes.len()).flat_map(|c| (0..f.groups.len()).map(move |g| (c, g)));
        if !plan.splits.iter().map(|s| (s.class.at(), s.group.at())).eq(pairs) {
            self.blame(Rule::Shape, None, None, "the plan has not exactly one split per class and group, in order");
        }
        for s in &plan.splits {
            let sum: u32 = s.weights.iter().map(|w| u32::from(w.share.get())).sum();
            let sorted = s.weights.windows(2).all(|w| w[0].region < w[1].region);
            let whole = match s.serving {
                Serving::Routed { .. } => sum == 10_000,
                Serving::WrongJurisdiction | Serving::NoPlace => s.weights.is_empty() && s.spill.is_empty(),
            };
            let known = s.weights.iter().map(|w| &w.region).chain(s.spill.iter().flatten());
            let known = known.into_iter().all(|r| r.at() < f.regions.len());
            if !whole || !sorted || !known || s.weights.iter().any(|w| w.share == Bps::ZERO) {
                self.faults.push(Fault {
                    rule: Rule::Shape,
                    split: Some((s.class, s.group)),
                    region: None,
                    what: format!("weights sum to {sum} basis points, or are unsorted, zero or of unknown regions"),
                });
            }
        }
        self.faults.is_empty()
    }

    fn splits(&mut self) {
        for s in &self.plan.splits {
            let wrong = !self.fleet.permits_group(s.class, s.group);
            if wrong != (s.serving == Serving::WrongJurisdiction) {
                self.blame(Rule::Permitted, Some(s), None, "the group's own law and the answer do not agree");
            }
            let places = (0..self.fleet.regions.len()).map(RegionIx::from);
            if s.serving == Serving::NoPlace && places.into_iter().any(|r| self.is_place(s.class, r)) {
                self.blame(Rule::Shape, Some(s), None, "is refused although there is a permitted place");
            }
            for w in &s.weights {
                self.weight(s, w.region);
            }
            for r in s.spill.iter().flatten() {
                let open = self.fleet.permits(s.class, *r) && self.site(s.class, *r).total > 0;
                if !open || self.is_drained(s.class, *r) || s.share(*r) > Bps::ZERO {
                    self.blame(Rule::Permitted, Some(s), Some(*r), "may not be in the spill order");
                }
                if !self.allowed(s.class, *r, MoveKind::Safety) {
                    self.blame(Rule::Policy, Some(s), Some(*r), "policy denies the spill");
                }
            }
        }
    }

    fn weight(&mut self, s: &ClassSplit, region: RegionIx) {
        let site = self.site(s.class, region);
        if !self.fleet.permits(s.class, region) || self.fleet.regions[region.at()].vantage_only {
            self.blame(Rule::Permitted, Some(s), Some(region), "is outside the permitted set");
        } else if site.total == 0 {
            self.blame(Rule::Shape, Some(s), Some(region), "has no endpoint of the service");
        } else if !self.allowed_at_all(s.class, region) {
            self.blame(Rule::Policy, Some(s), Some(region), "policy denies it");
        }
        let old = self.old(s);
        let all_down = self.is_all_down(s.class);
        let gains = demand_share(Some(s), region) > demand_share(old, region) + 1;
        if site.down == site.total && site.total > 0 && !all_down && (gains || !self.is_held(s.class)) {
            self.blame(Rule::Down, Some(s), Some(region), "is Down and carries");
        }
        if !all_down && self.is_cut(s, region) {
            self.blame(Rule::Down, Some(s), Some(region), "is not reached from there and carries");
        }
        if !gains {
            return;
        }
        let kind = self.moves.get(&(s.class, s.group)).map_or(MoveKind::Safety, |m| m.kind);
        let first = old.is_none() && self.allowed_at_all(s.class, region);
        let excused = first || all_down;
        if !excused && !self.allowed(s.class, region, kind) {
            self.blame(Rule::Policy, Some(s), Some(region), "policy denies the move there");
        }
        let another = s.weights.iter().any(|w| !self.is_drained(s.class, w.region));
        if self.is_drained(s.class, region) && (another || !all_down) {
            self.blame(Rule::Drain, Some(s), Some(region), "is drained and gains");
        }
    }

    fn endpoints(&mut self) {
        for e in &self.plan.endpoints_out {
            let Some(endpoint) = self.fleet.endpoints.get(e.at()) else {
                return self.blame(Rule::Endpoints, None, None, "an unknown endpoint is left out");
            };
            let site = self.sites[endpoint.service.at() * self.fleet.regions.len() + endpoint.region.at()];
            let own = self.health.get(e.at()).map_or(Health::Unknown, |h| h.health);
            let stood = self.input.state.plan.as_ref().is_some_and(|p| p.endpoints_out.contains(e));
            let caused = own == Health::Down || (own == Health::Unknown && stood);
            let sibling = |o: &&tidegate_domain::EndpointIx| {
                let o = &self.fleet.endpoints[o.at()];
                (o.service, o.region) == (endpoint.service, endpoint.region)
            };
            let out = self.plan.endpoints_out.iter().filter(|o| o.at() < self.fleet.endpoints.len()).filter(sibling);
            if !caused || out.count() as u64 >= site.total {
                self.blame(Rule::Endpoints, None, Some(endpoint.region), "an endpoint is left out without cause");
            }
        }
    }
}

fn cut_of(path: &tidegate_domain::PathFailure) -> Option<(GroupIx, RegionIx)> {
    match path.from {
        tidegate_domain::PathFrom::Group(g) => Some((g, path.to)),
        tidegate_domain::PathFrom::Provider(_) => None,
    }
}

/// Share of the *demand* on a region in basis points, rounded down: weights apply to what is not shed.
fn demand_share(s: Option<&ClassSplit>, region: RegionIx) -> u32 {
    s.map_or(0, |s| u32::from(s.share(region).get()) * (10_000 - shed(s)) / 10_000)
}

fn shed(s: &ClassSplit) -> u32 {
    match s.serving {
        Serving::Routed { shed } => u32::from(shed.get()),
        Serving::WrongJurisdiction | Serving::NoPlace => 0,
    }
}

/// Whether the API of the provider is in trouble: a person says so, or the cycle found it so and nobody says otherwise.
fn is_frozen(input: &CycleInput, output: &CycleOutput, provider: usize) -> bool {
    let view = &input.view;
    let word = view.intents.api_words.iter().find(|w| w.provider.at() == provider && w.until > view.wall);
    word.map_or_else(|| output.state.apis.iter().any(|a| a.provider.at() == provider), |w| w.trouble)
}
