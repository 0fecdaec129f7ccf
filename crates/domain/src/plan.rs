//! Weights: what every client group is told about every class.

use crate::ids::{ClassIx, EndpointIx, GroupIx, RegionIx, Revision};
use crate::units::Bps;

/// A region's share of a class at a client group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight {
    /// The region.
    pub region: RegionIx,
    /// Its share, above zero.
    pub share: Bps,
}

/// Whether and how a class is answered at a client group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Serving {
    /// Routed by weights; the shed share is answered 503 with Retry-After.
    Routed {
        /// Part of the requests refused at the edge.
        shed: Bps,
    },
    /// The group's own jurisdiction is outside the permitted set: 451.
    WrongJurisdiction,
    /// No permitted place at all: 503.
    NoPlace,
}

/// One split: one class's weights for one client group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSplit {
    /// Which class.
    pub class: ClassIx,
    /// Told to whom.
    pub group: GroupIx,
    /// How.
    pub serving: Serving,
    /// By region index, each above zero, summing to exactly 10,000; empty unless `Routed`.
    pub weights: Vec<Weight>,
    /// Permitted, undrained places besides, by rings: where the data plane may spill on its own when everything in
    /// `weights` has failed. The kernel's authorised order.
    pub spill: Vec<Vec<RegionIx>>,
}
impl ClassSplit {
    /// The share of `region`, zero where it has none.
    #[must_use]
    pub fn share(&self, region: RegionIx) -> Bps {
        self.weights.iter().find(|w| w.region == region).map_or(Bps::ZERO, |w| w.share)
    }
}

/// All splits, ordered by class, then group; one per pair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The fleet's revision whose indexes these are.
    pub fleet: Revision,
    /// Splits.
    pub splits: Vec<ClassSplit>,
    /// Endpoints that are Down beside living siblings of the same service and region: left out of their locality.
    pub endpoints_out: Vec<EndpointIx>,
}
impl Plan {
    /// The split of `class` for `group`.
    #[must_use]
    pub fn split(&self, class: ClassIx, group: GroupIx) -> Option<&ClassSplit> {
        self.splits.binary_search_by(|s| (s.class, s.group).cmp(&(class, group))).ok().map(|i| &self.splits[i])
    }
}
