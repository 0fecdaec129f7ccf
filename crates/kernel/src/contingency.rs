//! What if: the plan under a loss, made and checked beforehand.

use crate::cycle::decide;
use crate::health::{self, Judgement};
use crate::lint;
use crate::place::Question;
use crate::why;
use std::sync::Arc;
use tidegate_domain::{
    Accused, Alarm, ClassIx, CycleInput, CycleOutput, EndpointHealth, EndpointIx, Fleet, Health, Mask, Mono, Plan,
    RegionIx, Report, State, View,
};

/// One loss and its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contingency {
    /// What is lost, all at once.
    pub lost: Vec<Accused>,
    /// The plan that would stand; none: the linter found a fault in it.
    pub plan: Option<Plan>,
    /// Its explanation.
    pub report: Report,
    /// What would not be served, or why there is no plan. Empty: the loss is covered.
    pub gaps: Vec<String>,
}

/// The loss of each provider and of each region that has endpoints.
#[must_use]
pub fn single_losses(fleet: &Fleet) -> Vec<Vec<Accused>> {
    let holds = |r: usize| fleet.endpoints.iter().any(|e| e.region.at() == r);
    let used: Vec<usize> = (0..fleet.regions.len()).filter(|r| holds(*r)).collect();
    let providers = (0..fleet.providers.len()).filter(|p| used.iter().any(|r| fleet.regions[*r].provider.at() == *p));
    let providers = providers.map(|p| vec![Accused::Provider(p.into())]);
    providers.chain(used.iter().map(|r| vec![Accused::Region((*r).into())])).collect()
}

/// Plans each loss from the layout that stands when all is well, as the safety tier would, and checks the plan.
#[must_use]
pub fn contingencies(fleet: &Fleet, mask: &Mask, losses: &[Vec<Accused>]) -> Vec<Contingency> {
    let now = Mono(1 << 50);
    let (fleet, mask) = (Arc::new(fleet.clone()), Arc::new(mask.clone()));
    let well = under(&fleet, &mask, State::default(), &[], now);
    losses.iter().map(|lost| contingency(&fleet, &mask, &well.1.state, lost, now)).collect()
}

/// The plan that would follow at once if `lost` were lost now, all at once and beyond doubt, out of what stands and is seen:
/// drains, shares, verdicts and measured demand as they are. Checked as every plan is.
#[must_use]
pub fn what_if(input: &CycleInput, lost: &[Accused]) -> Contingency {
    let CycleInput { fleet, mask, state, view, now } = input;
    let judged = health::judge(fleet, mask, view, state, *now).without(fleet, lost, *now);
    let output = decide(Question { fleet, mask, state, view, judged: &judged, now: *now });
    checked(lost, input, output)
}

fn contingency(fleet: &Arc<Fleet>, mask: &Arc<Mask>, well: &State, lost: &[Accused], now: Mono) -> Contingency {
    let (input, output) = under(fleet, mask, well.clone(), lost, now);
    checked(lost, &input, output)
}

fn checked(lost: &[Accused], input: &CycleInput, output: CycleOutput) -> Contingency {
    let fleet = &input.fleet;
    let faults = lint::check(input, &output);
    let mut gaps: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let told = |a: &&Alarm| !matches!(a, Alarm::LongUnknown { .. });
    gaps.extend(output.report.alarms.iter().filter(told).map(|a| why::alarm_sentence(a, fleet)));
    let plan = output.state.plan.filter(|_| faults.is_empty());
    Contingency { lost: lost.to_vec(), plan, report: output.report, gaps }
}

fn under(fleet: &Arc<Fleet>, mask: &Arc<Mask>, state: State, lost: &[Accused], now: Mono) -> (CycleInput, CycleOutput) {
    let judged = judgement(fleet, mask, now, |e| {
        if health::lies_in(fleet, EndpointIx::from(e), lost) { Health::Down } else { Health::Healthy }
    });
    let view = View::default();
    let output = decide(Question { fleet, mask, state: &state, view: &view, judged: &judged, now });
    (CycleInput { fleet: Arc::clone(fleet), mask: Arc::clone(mask), state, view, now }, output)
}

/// Verdicts that are given instead of judged.
pub(crate) fn judgement(fleet: &Fleet, mask: &Mask, now: Mono, health: impl Fn(usize) -> Health) -> Judgement {
    let each: Vec<Health> = (0..fleet.endpoints.len()).map(health).collect();
    let endpoint = |h: &Health| EndpointHealth { health: *h, since: now, well_since: None };
    let alive = |c: ClassIx, r: RegionIx| {
        let of = |e: &tidegate_domain::Endpoint| e.service == fleet.classes[c.at()].service && e.region == r;
        let known = |h: Health| matches!(h, Health::Healthy | Health::Degraded);
        fleet.endpoints.iter().zip(&each).any(|(e, h)| of(e) && known(*h))
    };
    let allowed = |c: ClassIx, r: RegionIx| {
        let law = fleet.regions[r.at()].jurisdiction;
        fleet.permits(c, r) && tidegate_domain::MoveKind::ALL.iter().any(|k| mask.allows(c, law, *k))
    };
    let lost = |c: ClassIx| (0..fleet.regions.len()).map(RegionIx::from).all(|r| !allowed(c, r) || !alive(c, r));
    let worst = |of: &dyn Fn(RegionIx) -> bool| {
        let mut all = fleet.endpoints.iter().zip(&each).filter(|(e, _)| of(e.region)).peekable();
        let health = if all.peek().is_none() {
            Health::Unknown
        } else if all.all(|(_, h)| *h == Health::Down) {
            Health::Down
        } else {
            Health::Healthy
        };
        (health, now)
    };
    Judgement {
        endpoints: each.iter().map(endpoint).collect(),
        regions: (0..fleet.regions.len()).map(|i| worst(&|r| r.at() == i)).collect(),
        providers: (0..fleet.providers.len()).map(|i| worst(&|r| fleet.provider_of(r).at() == i)).collect(),
        recent_downs: Vec::new(),
        cut_off: Vec::new(),
        paths: Vec::new(),
        blamed: Vec::new(),
        apis: Vec::new(),
        partition: None,
        suspected_paths: Vec::new(),
        unheard: Vec::new(),
        followed: Vec::new(),
        verdicts: Vec::new(),
        doubted: Vec::new(),
        out_of_sight: Vec::new(),
        all_down: (0..fleet.classes.len()).map(ClassIx::from).filter(|c| lost(*c)).collect(),
        wake: None,
    }
}
