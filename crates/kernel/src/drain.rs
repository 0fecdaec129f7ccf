//! What a drain would do, before it is asked for: the steps and the last split, or why it is refused.
//!
//! Owns the preview. Refuses nothing by taste: each refusal names the rule and what would lift it.

use crate::cycle::decide;
use crate::health::Judgement;
use crate::place::{Case, Ground, Question, Stand};
use std::fmt;
use tidegate_domain::{
    ClassIx, ClassSplit, Drain, Fleet, GroupIx, Mask, Millis, Mono, Move, MoveKind, Plan, Reason, RegionIx, Report,
    Scope, State, View,
};

/// One step of a drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainStep {
    /// After the drain begins.
    pub after: Millis,
    /// What moves.
    pub moves: Vec<Move>,
}

/// What a drain would do if nothing else happened meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainPreview {
    /// In order; none: the place carries nothing now.
    pub steps: Vec<DrainStep>,
    /// The plan after the last step.
    pub plan: Plan,
    /// Its explanation.
    pub report: Report,
}

/// Why a drain is refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainRefusal {
    /// There is no plan yet to drain from. Asking again later helps.
    NoPlan,
    /// A class would have no place left.
    NoPlaceLeft {
        /// `service/class`.
        class: String,
        /// Group.
        group: String,
    },
    /// No other place of a class is known to be healthy: there are no verdicts. Asking again when there are helps.
    NothingKnown {
        /// `service/class`.
        class: String,
        /// Group.
        group: String,
    },
    /// Fewer regions would serve than the assertion asks.
    TooFewRegions {
        /// `service/class`.
        class: String,
        /// How many must.
        keep: usize,
        /// How many would.
        left: usize,
    },
    /// The other places cannot hold what is there without shedding.
    DoesNotFit {
        /// `service/class`.
        class: String,
        /// Group.
        group: String,
        /// Basis points of its weights that would stay behind.
        left_bps: u32,
    },
    /// A rule or a person holds every paced move now.
    Held {
        /// What holds it, as a sentence.
        why: String,
    },
}
impl fmt::Display for DrainRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlan => f.write_str("there is no plan yet; ask again when the first verdicts stand"),
            Self::NoPlaceLeft { class, group } => {
                write!(
                    f,
                    "{class} for {group} would have no healthy, permitted place left; restore a drained place, or wait \
                     until another one is healthy"
                )
            }
            Self::NothingKnown { class, group } => write!(
                f,
                "no other place of {class} for {group} is known to be healthy: too few vantages report to judge; ask \
                 again when probers report from two providers"
            ),
            Self::TooFewRegions { class, keep, left } => write!(
                f,
                "{class} must keep {keep} serving regions and would keep {left}; restore another region or lower \
                 `minRegionsOn`"
            ),
            Self::DoesNotFit { class, group, left_bps } => write!(
                f,
                "the other places cannot hold {class} for {group}: {}.{:02} % would stay behind; add capacity, lower \
                 the demand or drain less",
                left_bps / 100,
                left_bps % 100
            ),
            Self::Held { why } => write!(f, "no voluntary move is made now: {why}; ask again when that is over"),
        }
    }
}
impl std::error::Error for DrainRefusal {}

/// More steps than any drain needs at the smallest sensible cap.
const STEPS_MAX: usize = 128;

/// Plays a drain forward on the verdicts that stand, and tells its steps.
///
/// # Errors
/// When the drain would leave a class without a place, break an assertion, need shedding, or is held by a rule or a
/// person now.
pub fn drain_check(
    fleet: &Fleet,
    mask: &Mask,
    state: &State,
    view: &View,
    drain: &Drain,
    now: Mono,
) -> Result<DrainPreview, DrainRefusal> {
    let mut view = view.clone();
    view.intents.drains.retain(|d| d.id != drain.id);
    let mut lasting = drain.clone();
    lasting.until = None;
    view.intents.drains.push(lasting);
    let mut state = state.clone();
    let Some(first) = state.plan.clone() else { return Err(DrainRefusal::NoPlan) };
    let judged = standing_verdicts(&state);
    leaves_enough(&Ground::lay(Question { fleet, mask, state: &state, view: &view, judged: &judged, now }))?;
    let inside = |s: &ClassSplit, r: RegionIx| covers(fleet, drain, s.class, r);
    let mut steps: Vec<DrainStep> = Vec::new();
    let mut last = (first, Report::default());
    let mut clock = now;
    for _ in 0..STEPS_MAX {
        let out = decide(Question { fleet, mask, state: &state, view: &view, judged: &judged, now: clock });
        let moves: Vec<Move> = out.report.moves.iter().filter(|m| is_ours(m, drain)).cloned().collect();
        if !moves.is_empty() {
            steps.push(DrainStep { after: clock.since(now), moves });
        }
        state = out.state;
        last = (state.plan.clone().unwrap_or_default(), out.report);
        let Some((class, group, left_bps)) = rest(&last.0, inside) else {
            return Ok(DrainPreview { steps, plan: last.0, report: last.1 });
        };
        if let Some(why) = held(fleet, &last.1, class, group) {
            return Err(DrainRefusal::Held { why });
        }
        let stuck = |w: &Reason| matches!(w, Reason::Assertion { .. });
        let split = last.1.splits.iter().find(|s| (s.class, s.group) == (class, group));
        let next = out.wake.filter(|w| *w > clock && split.is_some_and(|s| !s.waits.iter().any(stuck)));
        let Some(next) = next else {
            let group = fleet.groups[group.at()].name.to_string();
            return Err(DrainRefusal::DoesNotFit { class: fleet.class_name(class), group, left_bps });
        };
        let passed = next.since(clock).max(Millis(1));
        clock = clock + passed;
        view.wall = view.wall + passed;
    }
    Ok(DrainPreview { steps, plan: last.0, report: last.1 })
}

fn is_ours(m: &Move, drain: &Drain) -> bool {
    m.kind == MoveKind::Voluntary && m.cause == Reason::Drained { id: drain.id }
}

fn covers(fleet: &Fleet, drain: &Drain, class: ClassIx, region: RegionIx) -> bool {
    let inside = match drain.scope {
        Scope::Provider(p) => fleet.provider_of(region) == p,
        Scope::Region(r) => r == region,
    };
    inside && drain.service.is_none_or(|s| s == fleet.classes[class.at()].service)
}

/// The split that still stands most inside, and how much.
fn rest(plan: &Plan, inside: impl Fn(&ClassSplit, RegionIx) -> bool) -> Option<(ClassIx, GroupIx, u32)> {
    let left = |s: &ClassSplit| -> u32 {
        s.weights.iter().filter(|w| inside(s, w.region)).map(|w| u32::from(w.share.get())).sum()
    };
    let each = plan.splits.iter().map(|s| (s.class, s.group, left(s))).filter(|s| s.2 > 0);
    each.max_by_key(|(c, g, left)| (*left, std::cmp::Reverse((*c, *g))))
}

/// A rule or person, not the pace, that holds the split.
fn held(fleet: &Fleet, report: &Report, class: ClassIx, group: GroupIx) -> Option<String> {
    let split = report.splits.iter().find(|s| (s.class, s.group) == (class, group))?;
    let holds = |w: &&Reason| matches!(w, Reason::Frozen { .. } | Reason::RampHeld | Reason::ApiTrouble { .. });
    split.waits.iter().find(holds).map(|w| crate::why::sentence(w, fleet))
}

/// Every class keeps a place, and as many as the assertion asks.
fn leaves_enough(g: &Ground) -> Result<(), DrainRefusal> {
    for split in &g.sequence {
        let lawful = || (0..g.regions).map(RegionIx::from).filter(|r| g.may(*split, *r, MoveKind::Voluntary));
        let stays = |r: &RegionIx| {
            let place = g.place(*split, *r);
            place.drain.is_none() && matches!(place.stand, Stand::Fit)
        };
        let drained = (0..g.regions).map(RegionIx::from).any(|r| {
            let place = g.place(*split, r);
            place.drain.is_some() && place.stand != Stand::Empty && g.lawful(*split, r)
        });
        let left = lawful().filter(stays).count();
        let class = || g.q.fleet.class_name(g.class_of(*split));
        if drained && (left == 0 || g.case[*split] == Case::AllDown) {
            let group = g.q.fleet.groups[g.group_of(*split).at()].name.to_string();
            let mut others = lawful().map(|r| g.place(*split, r)).filter(|p| p.drain.is_none());
            return Err(match others.any(|p| p.stand == Stand::Unsure) {
                true => DrainRefusal::NothingKnown { class: class(), group },
                false => DrainRefusal::NoPlaceLeft { class: class(), group },
            });
        }
        if drained && left < g.keep_on(*split) {
            return Err(DrainRefusal::TooFewRegions { class: class(), keep: g.keep_on(*split), left });
        }
    }
    Ok(())
}

/// The verdicts of the last cycle, as if nothing more were heard.
fn standing_verdicts(state: &State) -> Judgement {
    Judgement {
        endpoints: state.endpoints.clone(),
        regions: state.regions.clone(),
        providers: state.providers.clone(),
        recent_downs: state.recent_downs.clone(),
        cut_off: state.cut_off.clone(),
        paths: state.paths.clone(),
        blamed: state.blamed.clone(),
        apis: state.apis.clone(),
        partition: state.partition.clone(),
        suspected_paths: state.suspected_paths.clone(),
        unheard: state.unheard.clone(),
        followed: state.followed.clone(),
        verdicts: Vec::new(),
        doubted: Vec::new(),
        all_down: Vec::new(),
        out_of_sight: Vec::new(),
        wake: None,
    }
}
