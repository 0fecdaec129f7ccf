//! Every plan explains itself: for every class, group and region why, and why not. One `Reason` feeds the log,
//! `explain` and the API.

use crate::ids::{ClassIx, GroupIx, Jurisdiction, ProviderIx, RegionIx, ServiceIx, VantageIx};
use crate::mask::MoveKind;
use crate::time::Millis;
use crate::units::{Bps, MilliRps};
use crate::verdict::{Accused, Health, Slowness};

/// Why a place carries what it carries, or a move waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Carries load: nearest and cheapest with room.
    Chosen,
    /// Outside the class's permitted set.
    NotPermitted {
        /// The place's law.
        jurisdiction: Jurisdiction,
    },
    /// Policy said no.
    DeniedByPolicy {
        /// For what kind of move.
        kind: MoveKind,
        /// Policy's words.
        reason: String,
    },
    /// A verdict stands against it.
    Unfit {
        /// Whose verdict: the place or its provider.
        accused: Accused,
        /// Which.
        health: Health,
    },
    /// What failed there came along with the traffic that left: it may as well carry again.
    Followed {
        /// The place that was left.
        from: RegionIx,
        /// Where the problem came along to.
        to: RegionIx,
    },
    /// Alive, but not reached from where these clients are.
    NotReached {
        /// Probers near these clients that see it failing.
        failing: u16,
        /// Of so many.
        near: u16,
        /// Probers elsewhere that see it well.
        well: u16,
        /// Of so many.
        elsewhere: u16,
    },
    /// The edges' own requests err or fail there.
    Erring {
        /// Edges that find it so.
        against: u32,
        /// Of so many that sent enough there.
        edges: u32,
        /// The part of their requests that failed.
        rate: Bps,
    },
    /// The edges' own requests are slow there.
    Slow {
        /// Edges that find it so.
        against: u32,
        /// Of so many that sent enough there.
        edges: u32,
        /// How slow.
        slowness: Slowness,
    },
    /// Healthy again for less than the slow way up asks.
    ComingUp {
        /// What is left.
        left: Millis,
    },
    /// Drained by a person.
    Drained {
        /// The drain's id.
        id: u64,
    },
    /// The service has no endpoint there.
    NoEndpoint,
    /// Up to its safe utilisation.
    Full {
        /// What it may carry.
        limit: MilliRps,
    },
    /// Nearer rings had room.
    FartherRing {
        /// Its ring, 0 nearest.
        ring: u16,
    },
    /// Cheaper places of the same ring had room.
    Dearer,
    /// Its provider carries the largest share it may.
    ProviderShare {
        /// That share.
        max: Bps,
    },
    /// A voluntary step moves at most this much at a time.
    ShareCap {
        /// The cap.
        cap: Bps,
        /// Until the next step.
        left: Millis,
    },
    /// An economic move waits for minimum residency.
    MinResidency {
        /// What is left.
        left: Millis,
    },
    /// A freeze window is open.
    Frozen {
        /// Its reason.
        reason: String,
    },
    /// The provider's own API is in trouble: what would have to change there stands still, but for safety.
    ApiTrouble {
        /// Whose.
        provider: ProviderIx,
    },
    /// The switch for automation is off for this kind of move.
    AutomationPaused {
        /// Which kind.
        kind: MoveKind,
    },
    /// Someone paused or aborted the ramp.
    RampHeld,
    /// Cheaper, but not by the margin that a move asks.
    NotWorthIt {
        /// The margin.
        margin: Bps,
    },
    /// The senses are doubted: too much went Down at once on too little agreement.
    Doubted,
    /// Everything permitted is down: the last weights from before stay (fail open inside residency).
    AllDownHeld,
    /// The economic tier waits for a safety move or ramp to end.
    SafetyFirst,
    /// A drain or a return begins when what moves where it goes has settled.
    Unsettled {
        /// At most so long.
        left: Millis,
    },
    /// A safety rule would break.
    Assertion {
        /// In words.
        rule: String,
    },
}

/// What became of one region for one class and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionReport {
    /// The region.
    pub region: RegionIx,
    /// Whether it carries.
    pub disposition: Disposition,
    /// Why, the deciding reason first.
    pub reasons: Vec<Reason>,
}

/// Whether a region carries a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// With this share.
    Carries(Bps),
    /// Could, by permission, but does not now.
    Idle,
    /// Cannot.
    Excluded,
}

/// All regions of one split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitReport {
    /// Class.
    pub class: ClassIx,
    /// Group.
    pub group: GroupIx,
    /// One per region that has endpoints of the service, in index order.
    pub regions: Vec<RegionReport>,
    /// What the split itself waits for, if its target is not reached.
    pub waits: Vec<Reason>,
}

/// One change of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Class.
    pub class: ClassIx,
    /// Group.
    pub group: GroupIx,
    /// Why it moves.
    pub kind: MoveKind,
    /// Part of the class's demand at this group that changes place.
    pub share: Bps,
    /// In a sentence's core: the reason of the region that loses most.
    pub cause: Reason,
}

/// Something that a person must know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Every permitted place of the class is Down or Unknown.
    AllDown {
        /// Which class.
        class: ClassIx,
    },
    /// The class has no place it may be served from.
    NoPlace {
        /// Which class.
        class: ClassIx,
    },
    /// More than half of a service's capacity would go on doubtful evidence.
    Doubt {
        /// Which service.
        service: ServiceIx,
    },
    /// The survivors cannot hold everything.
    Shedding {
        /// Which class.
        class: ClassIx,
        /// At which group.
        group: GroupIx,
        /// How much of its demand.
        shed: Bps,
    },
    /// Unknown for longer than the rules allow.
    LongUnknown {
        /// Which region.
        region: RegionIx,
    },
    /// A prober has been cut off for longer than the rules allow a place to be Unknown.
    CutOff {
        /// Which.
        vantage: VantageIx,
    },
    /// A provider's own API has been in trouble for longer than the rules allow a place to be Unknown.
    ApiTrouble {
        /// Whose.
        provider: ProviderIx,
    },
    /// The gossip has been cut for longer than the rules allow a place to be Unknown.
    Partition,
    /// What failed at a place of the service came along when its traffic left: it goes no further.
    Followed {
        /// Which service.
        service: ServiceIx,
    },
    /// The plan's linter found a fault: the plan before it stays.
    PlanRefused {
        /// The linter's words.
        fault: String,
    },
}

/// The explanation of one cycle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Per split, ordered as the plan.
    pub splits: Vec<SplitReport>,
    /// What changed against the plan before.
    pub moves: Vec<Move>,
    /// Sorted, no duplicates.
    pub alarms: Vec<Alarm>,
}
