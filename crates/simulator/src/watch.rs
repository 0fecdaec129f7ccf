//! What is true, held against what is said: false verdicts, wrong downs, late ones, and the invariants at every step.
//!
//! Owns the counting. Refuses to steer: nothing here changes the run.

use crate::apis::Apis;
use crate::check::paced::{Kinds, Paced};
use crate::check::{self, Evidence};
use crate::edges::Requests;
use crate::faults::{self, Planned, Whom};
use crate::lighter::Lighter;
use crate::scenario::{Expect, How, Scenario, What};
use crate::units::{MILLI, Nanos, SECOND, Share};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tidegate_controller::ReportIn;
use tidegate_domain::{
    Accused, ClassIx, CutOff, EndpointIx, Fleet, Health, Mono, Name, Plan, ProviderIx, RegionIx, Revision,
    VantageReport, Verdict,
};
use tidegate_record::MoveSummary;

/// A verdict may lag behind the truth by so much: the time until a repaired place is called well again.
const LAG: Nanos = 15 * SECOND;
/// Moves and verdicts before this belong to the start, when nobody has a history yet.
const FROM: Nanos = faults::SETTLE;
/// A verdict is told so long after it was made, at most: the write of its decision lies between.
const TOLD_WITHIN: Nanos = 100 * MILLI;
/// Violations that are kept in words.
const KEPT: usize = 20;

/// Whether something is so.
#[derive(Debug, Clone, Copy, Default)]
struct Spell {
    so: bool,
    /// When it last ceased to be.
    ceased: Option<Nanos>,
}
impl Spell {
    fn turn(&mut self, so: bool, now: Nanos) {
        if self.so && !so {
            self.ceased = Some(now);
        }
        self.so = so;
    }
    /// Whether it is, or was until lately.
    fn was(self, now: Nanos) -> bool {
        self.so || self.ceased.is_some_and(|at| now < at + LAG)
    }
}

/// The truth about one endpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    /// Anything but well.
    bad: Spell,
    /// Not served at all, or half of its requests fail: more than gray.
    dead: Spell,
}

/// A loss that must be found.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    whom: Whom,
    from: Nanos,
    to: Nanos,
    /// Whether a verdict is due: the probers see nothing where only requests fail.
    told: bool,
    pub(crate) verdict: Option<Nanos>,
    pub(crate) moved: Option<Nanos>,
}

/// For how long something was so, and after how long that was found; none: not while it lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasted {
    /// Nanoseconds.
    pub lasted: Nanos,
    /// Nanoseconds from the beginning.
    pub found: Option<Nanos>,
}

/// A killed prober, and who has noticed.
#[derive(Debug, Clone)]
struct Death {
    process: usize,
    from: Nanos,
    to: Nanos,
    /// The members that no fault touches meanwhile: they must know.
    by: Vec<usize>,
    seen: BTreeMap<usize, Nanos>,
}

#[derive(Debug)]
pub(crate) struct Watch {
    expect: Expect,
    truth: Vec<Truth>,
    /// Until when a process is not judged as a healthy one.
    unwell: Vec<Nanos>,
    told: BTreeMap<Accused, Health>,
    pub(crate) plan: Option<Arc<Plan>>,
    pub(crate) lighter: Lighter,
    pub(crate) apis: Apis,
    pub(crate) requests: Requests,
    /// As the server holds them to be.
    cut_off: Vec<CutOff>,
    generation: Option<u64>,
    paced: Paced,
    /// The newest report per vantage as the server got it, and what each replaced, the newest last.
    seen: Vec<Option<VantageReport>>,
    undo: VecDeque<(Nanos, usize, Option<VantageReport>)>,
    losses: Vec<Loss>,
    deaths: Vec<Death>,
    /// Moments at which a split was healed, and when everybody had everybody again.
    pub(crate) heals: Vec<(Nanos, Option<Nanos>)>,
    pub(crate) verdicts: u64,
    pub(crate) false_at_start: u64,
    pub(crate) false_verdicts: u64,
    pub(crate) false_region_verdicts: u64,
    pub(crate) false_member_downs: u64,
    /// Down verdicts on what was gray and not down.
    pub(crate) gray_downs: u64,
    pub(crate) moves: u64,
    pub(crate) faults: Vec<String>,
    pub(crate) more: u64,
}

/// Whether a fault takes a process out of the healthy ones.
fn hinders(f: &Planned, fleet: &Fleet, process: usize) -> bool {
    // Members on two sides of a split, or of a lost path, have no path to each other.
    let place = fleet.vantages.get(process).map(|v| v.region);
    let beside = f.side.is_some_and(|s| place.is_none_or(|p| s.has_region(fleet, p)));
    let hit = f.whom.has_process(fleet, process) || beside || f.fault.what == What::Split;
    let own = matches!(
        f.fault.what,
        What::Crash
            | What::Pause
            | What::Mute
            | What::Deaf
            | What::GossipCut
            | What::Lossy
            | What::Clock
            | What::Cut
            | What::Split
            | What::Path
    );
    hit && (own || (f.fault.what == What::Down && f.how != How::Err))
}

impl Watch {
    pub(crate) fn new(scenario: &Scenario, fleet: &Fleet, all: &[Planned]) -> Self {
        let lost = |f: &&Planned| {
            let place = matches!(f.whom, Whom::Provider(_) | Whom::Region(_));
            let liar = f.fault.what == What::Lies && f.fault.share.0 >= Share::ALL / 2;
            place && (liar || matches!(f.fault.what, What::Down | What::Cut))
        };
        let end = scenario.spec.lasts.0;
        let members = fleet.vantages.len() + usize::from(!scenario.spec.gossip_only);
        let loss = |f: &Planned| {
            let (from, to, told) = (f.begins, f.ends.min(end), f.fault.what != What::Lies);
            Loss { whom: f.whom, from, to, told, verdict: None, moved: None }
        };
        let dead = |f: &&Planned| matches!((f.fault.what, f.whom), (What::Crash, Whom::Vantage(_)));
        let death = |f: &Planned| {
            let process = if let Whom::Vantage(v) = f.whom { v.at() } else { 0 };
            let to = if f.ends > f.begins { f.ends } else { end };
            let over = |g: &Planned| if g.ends > g.begins { g.ends + LAG } else { end };
            let touched = |p: usize| all.iter().any(|g| hinders(g, fleet, p) && g.begins <= to && over(g) >= f.begins);
            let by = (0..members).filter(|p| !touched(*p)).collect();
            Death { process, from: f.begins, to, by, seen: BTreeMap::new() }
        };
        Self {
            expect: scenario.spec.expect.clone(),
            truth: vec![Truth::default(); fleet.endpoints.len()],
            unwell: vec![0; fleet.vantages.len() + 1],
            told: BTreeMap::new(),
            plan: None,
            lighter: Lighter::new(all, end),
            apis: Apis::new(all, end),
            requests: Requests::default(),
            cut_off: Vec::new(),
            generation: None,
            paced: Paced::default(),
            seen: vec![None; fleet.vantages.len()],
            undo: VecDeque::new(),
            losses: all.iter().filter(lost).map(loss).collect(),
            deaths: all.iter().filter(dead).map(death).collect(),
            heals: Vec::new(),
            verdicts: 0,
            false_at_start: 0,
            false_verdicts: 0,
            false_region_verdicts: 0,
            false_member_downs: 0,
            gray_downs: 0,
            moves: 0,
            faults: Vec::new(),
            more: 0,
        }
    }

    /// Something that may never be.
    pub(crate) fn fault(&mut self, at: Nanos, what: &str) {
        if self.faults.len() < KEPT {
            self.faults.push(format!("{}.{:03} s: {what}", at / SECOND, at % SECOND / MILLI));
        } else {
            self.more += 1;
        }
    }

    /// Faults began or ended.
    pub(crate) fn truth(&mut self, now: Nanos, fleet: &Fleet, all: &[Planned]) {
        for (e, truth) in self.truth.iter_mut().enumerate() {
            let endpoint = EndpointIx::from(e);
            let ill = |f: &Planned| {
                f.active
                    && (f.fault.what == What::Follows
                        || matches!(f.fault.what, What::Slow | What::Errs | What::Lies)
                            && f.whom.has_endpoint(fleet, endpoint))
            };
            let down = faults::is_down(all, fleet, endpoint);
            let half = |f: &Planned| ill(f) && f.fault.what != What::Slow && f.fault.share.0 >= Share::ALL / 2;
            truth.bad.turn(down || all.iter().any(ill), now);
            truth.dead.turn(down || all.iter().any(half), now);
        }
        if let Some(plan) = self.plan.clone() {
            self.lighter.look(fleet, &plan, now);
        }
        for (process, until) in self.unwell.iter_mut().enumerate() {
            let until_of = |f: &Planned| {
                let over = if f.ends > f.begins { f.ends } else { Nanos::MAX / 2 };
                (f.begins <= now && hinders(f, fleet, process)).then_some(over + LAG)
            };
            *until = all.iter().filter_map(until_of).fold(*until, Nanos::max);
        }
    }

    fn region_was(&self, fleet: &Fleet, region: RegionIx, now: Nanos, what: fn(&Truth) -> Spell) -> bool {
        let of: Vec<usize> = (0..fleet.endpoints.len()).filter(|e| fleet.endpoints[*e].region == region).collect();
        let bad = of.iter().filter(|e| what(&self.truth[**e]).was(now)).count();
        !of.is_empty() && bad * 10 >= of.len() * 6
    }
    fn provider_was(&self, fleet: &Fleet, provider: ProviderIx, now: Nanos, what: fn(&Truth) -> Spell) -> bool {
        let serving: BTreeSet<RegionIx> =
            fleet.endpoints.iter().map(|e| e.region).filter(|r| fleet.provider_of(*r) == provider).collect();
        let bad = serving.iter().filter(|r| self.region_was(fleet, **r, now, what)).count();
        bad >= 2 || (bad > 0 && bad == serving.len())
    }

    /// Whether what is accused is `what`, or was until lately, by itself or by the place that it stands in.
    fn is_true(&self, fleet: &Fleet, accused: Accused, now: Nanos, what: fn(&Truth) -> Spell) -> bool {
        let region = |r: RegionIx| {
            self.region_was(fleet, r, now, what) || self.provider_was(fleet, fleet.provider_of(r), now, what)
        };
        match accused {
            Accused::Provider(p) => self.provider_was(fleet, p, now, what),
            Accused::Region(r) => region(r),
            Accused::Endpoint(e) => what(&self.truth[e.at()]).was(now) || region(fleet.endpoints[e.at()].region),
        }
    }

    /// A report reached the server.
    pub(crate) fn reported(&mut self, fleet: &Fleet, report: &ReportIn, arrived: Mono, now: Nanos) {
        let Some(v) = fleet.vantages.iter().position(|v| v.name.as_str() == report.vantage) else { return };
        let revision = if report.revision == fleet.revision.short() { fleet.revision } else { Revision::default() };
        let new = VantageReport {
            vantage: v.into(),
            incarnation: report.incarnation,
            sequence: report.sequence,
            revision,
            arrived,
            own: report.own,
            targets: report.targets.clone(),
            rtt: report.rtt.clone(),
        };
        let newer = |held: &VantageReport| (held.incarnation, held.sequence) < (new.incarnation, new.sequence);
        if self.seen[v].as_ref().is_none_or(newer) {
            self.undo.push_back((now, v, self.seen[v].replace(new)));
        }
        while self.undo.front().is_some_and(|(at, ..)| at + TOLD_WITHIN < now) {
            self.undo.pop_front();
        }
    }

    /// I15, on what the server had when it judged: a verdict that comes with a move is told when the move is kept. Between
    /// the two reports came in, and others grew stale: every moment at which one did is tried.
    fn by_the_rule(&self, fleet: &Fleet, verdict: &Verdict, mono: Mono, now: Nanos) -> Result<(), String> {
        let cut_off = self.cut_off.as_slice();
        let failing = self.requests.failing(now);
        let of = |reports: &[Option<VantageReport>], at: Nanos| {
            let now = Mono(mono.0.saturating_sub(now - at));
            check::by_the_rule(fleet, verdict, Evidence { reports, now, failing: &failing, cut_off })
        };
        let stale = |r: &VantageReport| (now + (r.arrived + fleet.rules.report_fresh).0 + 1).saturating_sub(mono.0);
        let held = self.seen.iter().chain(self.undo.iter().map(|(_, _, before)| before)).flatten();
        let since = now.saturating_sub(TOLD_WITHIN);
        let mut moments: BTreeSet<Nanos> = held.map(stale).chain(self.undo.iter().map(|(at, ..)| *at)).collect();
        moments.extend([since, now]);
        let mut reports = self.seen.clone();
        let mut undo = self.undo.iter().rev().peekable();
        let mut said = Ok(());
        for at in moments.range(since..=now).rev() {
            said = of(&reports, *at);
            while let Some((_, v, before)) = undo.next_if(|(came, ..)| said.is_err() && came >= at) {
                reports[*v].clone_from(before);
                said = of(&reports, *at);
            }
            if said.is_ok() {
                break;
            }
        }
        said
    }

    /// Takes a verdict; whether it says of something well that it is down.
    pub(crate) fn verdict(&mut self, fleet: &Fleet, verdict: &Verdict, mono: Mono, now: Nanos) -> bool {
        self.verdicts += 1;
        if let Err(fault) = self.by_the_rule(fleet, verdict, mono, now) {
            self.fault(now, &fault);
        }
        if verdict.health != Health::Down {
            return false;
        }
        for loss in self.losses.iter_mut().filter(|l| l.verdict.is_none() && (l.from..=l.to).contains(&now)) {
            let found = match (loss.whom, verdict.accused) {
                (Whom::Provider(p), Accused::Provider(q)) => p == q,
                (Whom::Region(r), Accused::Region(q)) => r == q,
                (Whom::Region(r), Accused::Provider(q)) => fleet.provider_of(r) == q,
                _ => false,
            };
            if found {
                loss.verdict = Some(now);
            }
        }
        if self.is_true(fleet, verdict.accused, now, |t| t.bad) {
            // Near half of all, the edges may see more than half fail.
            let edges_say = matches!(verdict.accused, Accused::Endpoint(e) if {
                let of = &fleet.endpoints[e.at()];
                self.requests.failing(now).contains(&(of.service, of.region))
            });
            self.gray_downs += u64::from(!edges_say && !self.is_true(fleet, verdict.accused, now, |t| t.dead));
            return false;
        }
        if now < FROM {
            self.false_at_start += 1;
        } else {
            self.false_verdicts += 1;
            self.false_region_verdicts += u64::from(!matches!(verdict.accused, Accused::Endpoint(_)));
        }
        true
    }

    fn plan(&mut self, fleet: &Fleet, plan: &Arc<Plan>, now: Nanos) {
        let weights = |p: &Plan| p.splits.iter().map(|s| (s.serving, s.weights.clone())).collect::<Vec<_>>();
        if let Some(before) = self.plan.clone() {
            if let Err(fault) = check::routes_stay(fleet, &before, plan) {
                self.fault(now, &fault);
            }
            self.moves += u64::from(now >= FROM && weights(&before) != weights(plan));
        }
        self.plan = Some(Arc::clone(plan));
        self.lighter.look(fleet, plan, now);
        self.mark_moved(fleet, now);
    }

    /// A loss without weight on it is moved away from.
    fn mark_moved(&mut self, fleet: &Fleet, now: Nanos) {
        let Some(plan) = &self.plan else { return };
        let carries =
            |whom: Whom| plan.splits.iter().flat_map(|s| &s.weights).any(|w| whom.has_region(fleet, w.region));
        for loss in self.losses.iter_mut().filter(|l| l.moved.is_none() && (l.from..=l.to).contains(&now)) {
            if !carries(loss.whom) {
                loss.moved = Some(now);
            }
        }
    }

    /// Of each loss, how long it lasted and after how long its verdict came.
    pub(crate) fn losses(&self) -> Vec<Lasted> {
        let of = |l: &Loss| Lasted { lasted: l.to.saturating_sub(l.from), found: l.verdict.map(|at| at - l.from) };
        self.losses.iter().filter(|l| l.told).map(of).collect()
    }

    /// Of each killed prober, how long it was dead and after how long every member knew that no fault touched meanwhile.
    pub(crate) fn deaths(&self) -> Vec<Lasted> {
        let of = |d: &Death| {
            let seen: Option<Vec<Nanos>> = d.by.iter().map(|p| d.seen.get(p).map(|at| at - d.from)).collect();
            Lasted { lasted: d.to.saturating_sub(d.from), found: seen.and_then(|s| s.into_iter().max()) }
        };
        self.deaths.iter().filter(|d| !d.by.is_empty()).map(of).collect()
    }

    /// What does not meet the expectations, in sentences.
    pub(crate) fn unmet(&self, fleet: &Fleet, renewals: u64) -> Vec<String> {
        let e = &self.expect;
        let mut out = Vec::new();
        let mut most = |limit: Option<u64>, got: u64, what: &str| {
            if let Some(limit) = limit.filter(|l| got > *l) {
                out.push(format!("{got} {what}, expected at most {limit}"));
            }
        };
        most(e.false_verdicts, self.false_verdicts, "Down verdicts on what was well");
        most(e.false_region_verdicts, self.false_region_verdicts, "of them on regions or providers");
        most(e.gray_downs, self.gray_downs, "Down verdicts on what only erred or was slow");
        most(e.false_member_downs, self.false_member_downs, "times a well member was called down by a well one");
        most(e.renewals, renewals, "members came back under a new generation");
        most(e.moves, self.moves, "moves");
        for loss in &self.losses {
            let mut late = |limit: Option<Nanos>, got: Option<Nanos>, what: &str| {
                let Some(limit) = limit.filter(|l| loss.to - loss.from.min(loss.to) >= *l) else { return };
                if got.is_none_or(|at| at - loss.from > limit) {
                    let name = loss.whom.name(fleet);
                    let after = got.map_or("never".to_owned(), |at| format!("{} ms", (at - loss.from) / MILLI));
                    out.push(format!(
                        "{name}, lost at {} s: {what} {after}, expected within {} ms",
                        loss.from / SECOND,
                        limit / MILLI
                    ));
                }
            };
            late(e.verdict_within.map(|l| l.0).filter(|_| loss.told), loss.verdict, "its verdict came after");
            late(e.moved_within.map(|l| l.0), loss.moved, "its weight was gone after");
        }
        if let Some(limit) = e.member_down_within {
            let late = |l: &Lasted| l.lasted >= limit.0 && l.found.is_none_or(|after| after > limit.0);
            let judged = self.deaths.iter().filter(|d| !d.by.is_empty());
            for (death, _) in judged.zip(self.deaths()).filter(|(_, l)| late(l)) {
                let (name, at) = (&fleet.vantages[death.process].name, death.from / SECOND);
                let ms = limit.0 / MILLI;
                out.push(format!("`{name}`, killed at {at} s, was not down within {ms} ms for every member"));
            }
        }
        out.extend(self.lighter.unmet(fleet, e));
        out.extend(self.apis.unmet(fleet, e));
        if let Some(limit) = e.converged_within {
            let late = |(healed, met): &&(Nanos, Option<Nanos>)| met.is_none_or(|at| at - healed > limit.0);
            for (healed, met) in self.heals.iter().filter(late) {
                let after = met.map_or("never".to_owned(), |at| format!("{} ms later", (at - healed) / MILLI));
                let (at, ms) = (healed / SECOND, limit.0 / MILLI);
                out.push(format!("healed at {at} s, every member had every other {after}, expected within {ms} ms"));
            }
        }
        out
    }
}

impl World {
    /// A member says of another that there is a path to it, or none.
    pub(crate) fn member(&mut self, by: usize, name: &Name, up: bool) {
        let of = self.fleet.vantages.iter().position(|v| v.name == *name).unwrap_or(self.server_at());
        self.trace.event(self.now, if up { "up" } else { "gone" }, by, name.as_str().as_bytes());
        if up {
            return;
        }
        let now = self.now;
        for death in self.watch.deaths.iter_mut().filter(|d| d.process == of && (d.from..=d.to).contains(&now)) {
            death.seen.entry(by).or_insert(now);
        }
        let well = |p: usize| self.watch.unwell[p] <= now;
        if well(by) && well(of) {
            self.watch.false_member_downs += 1;
            self.trace.note(now, || format!("FALSE member {name} called down by process {by}"));
        }
    }

    pub(crate) fn published(&mut self, plan: &Arc<Plan>, generation: u64, decision: u64) {
        let (fleet, now) = (Arc::clone(&self.fleet), self.now);
        let alarms: Vec<_> = self
            .server
            .controller
            .model()
            .map(|m| m.alarms.iter().map(|a| a.alarm.clone()).collect())
            .unwrap_or_default();
        let checks = [
            check::rises(self.watch.generation, generation),
            check::permitted(&fleet, plan),
            check::within_limits(&fleet, plan, &alarms),
        ];
        for fault in checks.into_iter().filter_map(Result::err) {
            self.watch.fault(now, &fault);
        }
        let committed = self.server.committed().ok().flatten();
        if let Err(fault) = check::is_committed(committed.as_ref(), generation, plan) {
            self.watch.fault(now, &fault);
        }
        // A server that starts publishes what stood before: no decision anew.
        if self.watch.generation.is_some_and(|last| last < generation) {
            self.decided(plan, decision);
        }
        self.watch.generation = Some(generation);
        self.watch.plan(&fleet, plan, now);
    }

    /// I9, I10, I13 and I16, on what the decision was made of.
    fn decided(&mut self, plan: &Arc<Plan>, decision: u64) {
        let (fleet, now) = (Arc::clone(&self.fleet), self.now);
        let Some(before) = self.watch.plan.clone() else { return };
        let (decision, input) = match self.server.decided(decision) {
            Ok(Some(found)) => found,
            Ok(None) => return self.watch.fault(now, &format!("I12: decision {decision} is not kept")),
            Err(error) => return self.watch.fault(now, &format!("I12: decision {decision}: {error:#}")),
        };
        let classes: BTreeMap<String, ClassIx> =
            (0..fleet.classes.len()).map(ClassIx::from).map(|c| (fleet.class_name(c), c)).collect();
        let kind = |m: &MoveSummary| Some(((*classes.get(&m.class)?, fleet.group(&m.group)?), m.kind));
        let kinds: Kinds = decision.moves.iter().filter_map(kind).collect();
        if let Err(faults) = self.watch.paced.decided(&input, &before, plan, &kinds) {
            faults.iter().for_each(|fault| self.watch.fault(now, fault));
        }
    }

    /// A verdict changed: the newest picture is held against the truth.
    pub(crate) fn verdicts(&mut self) {
        let Some(model) = self.server.controller.model() else { return };
        let (fleet, now) = (Arc::clone(&self.fleet), self.now);
        let mono = self.server_now().mono;
        self.watch.cut_off.clone_from(&model.state.cut_off);
        for verdict in model.verdicts.iter() {
            let before = self.watch.told.insert(verdict.accused, verdict.health);
            if before != Some(verdict.health) && self.watch.verdict(&fleet, verdict, mono, now) {
                self.trace.note(now, || format!("FALSE verdict: {} is well", fleet.accused_name(verdict.accused)));
            }
        }
    }

    /// Once a second: what has come true without news, and the dense line.
    pub(crate) fn second(&mut self) {
        let (fleet, now) = (Arc::clone(&self.fleet), self.now);
        self.watch.mark_moved(&fleet, now);
        let probers: String = (0..fleet.vantages.len()).map(|p| self.sign(p)).collect();
        let regions: String = (0..fleet.regions.len()).map(|r| self.region_sign(RegionIx::from(r))).collect();
        let generation = self.watch.generation.unwrap_or(0);
        let store = format!("{:?}", self.server.trouble).to_lowercase().replace("none", "well");
        self.trace.line(|| format!("t={:>4} {probers} {regions} gen={generation} store={store}", now / SECOND));
    }

    fn sign(&self, process: usize) -> char {
        let (of, hindered) = (&self.processes[process], self.network.hindered[process]);
        let place = self.fleet.vantages[process].region;
        if of.node.is_none() {
            'x'
        } else if of.paused > 0 {
            'p'
        } else if hindered.mute || hindered.deaf || hindered.gossip_cut || self.network.cut[place.at()] {
            'm'
        } else if hindered.loss.0 > 0 {
            's'
        } else {
            'o'
        }
    }

    fn region_sign(&self, region: RegionIx) -> String {
        let said = match self.watch.told.get(&Accused::Region(region)) {
            Some(Health::Healthy) => '.',
            Some(Health::Down) => 'D',
            Some(Health::Degraded) => '~',
            Some(Health::Unknown) | None => '?',
        };
        let of = |e: &usize| self.fleet.endpoints[*e].region == region;
        let bad = (0..self.fleet.endpoints.len()).filter(of).any(|e| self.watch.truth[e].bad.so);
        if bad { format!("{said}!") } else { said.to_string() }
    }
}
