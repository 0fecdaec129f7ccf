//! What people want. An intent is an observation: the cycle decides whether and how it can be had.

use crate::ids::{ProviderIx, RegionIx, ServiceIx};
use crate::time::{Millis, Wall};

/// Who asked: the subject of the token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Subject(pub String);

/// What a drain or restore is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every region of a provider.
    Provider(ProviderIx),
    /// One region.
    Region(RegionIx),
}

/// A wish that a place carry nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Unique, rising number.
    pub id: u64,
    /// Which place.
    pub scope: Scope,
    /// Only this service, or all.
    pub service: Option<ServiceIx>,
    /// Ends by itself; none: until restored.
    pub until: Option<Wall>,
    /// How long open streams may go on once nothing new arrives.
    pub grace: Millis,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: Subject,
    /// When.
    pub at: Wall,
}

/// A person's leave that a place fills again without waiting for minimum residency. The slow ramp still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// Which place.
    pub scope: Scope,
    /// Only this service, or all.
    pub service: Option<ServiceIx>,
    /// When; the leave ends after [`Restore::LASTS`].
    pub at: Wall,
}
impl Restore {
    /// How long the leave lasts.
    pub const LASTS: Millis = Millis(3_600_000);

    /// When the leave ends.
    #[must_use]
    pub fn ends(&self) -> Wall {
        self.at + Self::LASTS
    }
}

/// What a person says of a provider's own API, over whatever the probes see of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiWord {
    /// Whose API.
    pub provider: ProviderIx,
    /// It is in trouble; else it is well.
    pub trouble: bool,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: Subject,
    /// When it no longer counts.
    pub until: Wall,
}

/// One half of the automation switch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Switch {
    /// Acts by itself.
    #[default]
    On,
    /// Proposes and holds.
    Paused {
        /// Why.
        reason: String,
        /// Who.
        by: Subject,
        /// Ends by itself; none: until resumed.
        until: Option<Wall>,
    },
}
impl Switch {
    /// Whether it is on at `wall`.
    #[must_use]
    pub fn is_on(&self, wall: Wall) -> bool {
        match self {
            Self::On => true,
            Self::Paused { until, .. } => until.is_some_and(|u| u <= wall),
        }
    }
}

/// The switch for automation: safety and economic moves apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Automation {
    /// Moves away from outages.
    pub safety: Switch,
    /// Moves for money, and failback.
    pub economic: Switch,
}

/// All standing intents, in order of their ids. Expired ones are taken out by the controller, with an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intents {
    /// Drains.
    pub drains: Vec<Drain>,
    /// Restores of the last hour.
    pub restores: Vec<Restore>,
    /// The switch.
    pub automation: Automation,
    /// Ramps stand still (`ramp pause`).
    pub ramps_paused: bool,
    /// A running ramp of a class is to be abandoned where it stands (`ramp abort`): the class holds its weights until
    /// this moment.
    pub ramps_aborted_until: Option<Wall>,
    /// Words on providers' APIs, one per provider at most, in provider order.
    pub api_words: Vec<ApiWord>,
}
