//! What survives from one cycle to the next, and the whole input and output of a cycle: the unit of replay.

use crate::fleet::Fleet;
use crate::ids::{ClassIx, EndpointIx, GroupIx, RegionIx};
use crate::mask::{Mask, MoveKind};
use crate::observation::View;
use crate::plan::Plan;
use crate::report::Report;
use crate::time::Mono;
use crate::units::Bps;
use crate::verdict::{
    ApiTrouble, Blame, CutOff, Followed, Health, Partition, PathFailure, Received, SuspectedPath, Unheard, Verdict,
};
use std::sync::Arc;

/// Memory of one endpoint's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointHealth {
    /// The verdict that stands.
    pub health: Health,
    /// Since when.
    pub since: Mono,
    /// Since when a quorum has seen it well without a break, while it is not yet Healthy.
    pub well_since: Option<Mono>,
}

/// Where a class's voluntary or economic move stands at one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// Class.
    pub class: ClassIx,
    /// Group.
    pub group: GroupIx,
    /// Why.
    pub kind: MoveKind,
    /// Since when.
    pub started: Mono,
    /// When the last step was taken; the next waits for `Rules::settle` after it.
    pub stepped: Mono,
    /// What it does now.
    pub phase: RampPhase,
}

/// Phase of a ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RampPhase {
    /// Waits for the settle time, then steps.
    Settling,
    /// A person holds it.
    Held,
}

/// A share that a split lost to a safety move or a drain and has not got back: failback owes it no further gain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Displaced {
    /// Class.
    pub class: ClassIx,
    /// Group.
    pub group: GroupIx,
    /// Where the share was.
    pub region: RegionIx,
    /// What it was, of the split's demand.
    pub share: Bps,
}

/// The plan as it stood before the first Down of a doubt window: what all-down falls back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSnapshot {
    /// When it was taken.
    pub at: Mono,
    /// The plan.
    pub plan: Plan,
}

/// The kernel's whole memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// By endpoint index.
    pub endpoints: Vec<EndpointHealth>,
    /// By region index: verdict and since when.
    pub regions: Vec<(Health, Mono)>,
    /// By provider index: verdict and since when.
    pub providers: Vec<(Health, Mono)>,
    /// Endpoints that went Down within the doubt window, and when.
    pub recent_downs: Vec<(EndpointIx, Mono)>,
    /// The plan that stands; none before the first.
    pub plan: Option<Plan>,
    /// The plans from before the Downs of the window, the oldest first; the first is from before the first of them.
    pub before_downs: Vec<WeightSnapshot>,
    /// Running ramps, by class and group.
    pub ramps: Vec<Ramp>,
    /// Last move per class index, of any kind; none: never moved.
    pub moved: Vec<Option<Mono>>,
    /// Last move per class index that was not economic: what has to settle before others move.
    pub forced: Vec<Option<Mono>>,
    /// Regions that were Down or drained and have not been filled again by a ramp since.
    pub returning: Vec<RegionIx>,
    /// What safety moves and drains took from splits that have not reached their goal since; sorted, one per place.
    pub displaced: Vec<Displaced>,
    /// Probers whose votes do not count because they are cut off themselves, by vantage index.
    pub cut_off: Vec<CutOff>,
    /// Regions that are not reached from one side, by side and region.
    pub paths: Vec<PathFailure>,
    /// Services in regions that the edges' own requests find erring or failing, by service and region.
    pub blamed: Vec<Blame>,
    /// Providers whose own API is in trouble, by provider index.
    pub apis: Vec<ApiTrouble>,
    /// The gossip is cut.
    pub partition: Option<Partition>,
    /// Path failures that await the word of those elsewhere, by side and region.
    pub suspected_paths: Vec<SuspectedPath>,
    /// Regions that took what left a blamed place, by service, place left and region.
    pub received: Vec<Received>,
    /// Services whose problem came along when their traffic left a place, by service and place left.
    pub followed: Vec<Followed>,
    /// Providers outside which too few of a large fleet are or were just heard, by provider index.
    pub unheard: Vec<Unheard>,
}

/// Everything that `kernel::cycle` reads. Encoded, it is what a replay starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CycleInput {
    /// Configuration. Shared: a cycle per report must not copy it.
    pub fleet: Arc<Fleet>,
    /// Policy's answers. Shared, as the fleet.
    pub mask: Arc<Mask>,
    /// Memory.
    pub state: State,
    /// Observations.
    pub view: View,
    /// Now.
    pub now: Mono,
}

/// Everything that `kernel::cycle` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CycleOutput {
    /// Memory for the next cycle; holds the plan.
    pub state: State,
    /// Verdicts: providers, regions, endpoints, each in index order.
    pub verdicts: Vec<Verdict>,
    /// Explanation.
    pub report: Report,
    /// Earliest moment at which a cycle on the same view could say something else; none: only news can.
    pub wake: Option<Mono>,
}
