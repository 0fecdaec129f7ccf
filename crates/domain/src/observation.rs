//! What was seen, by whom, and when it arrived.

use crate::ids::{ClassIx, GroupIx, RegionIx, Revision, ServiceIx, VantageIx};
use crate::time::{Millis, Mono, Wall};
use crate::units::Bps;

/// One vantage's view of one target after its own streak rule (`Check::unhealthy_after`, `healthy_after`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TargetState {
    /// Not probed, or not yet enough probes. Counts as no vote.
    #[default]
    Unseen,
    /// Answers.
    Ok,
    /// Answers, but slower than three times its own baseline, or with an error now and then.
    Slow,
    /// Refuses, hangs, cannot be reached, or answers with an error.
    Failing,
}

/// Round-trip time in powers of two of milliseconds: class n means below 2ⁿ ms; 15 is "not measured".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RttClass(pub u8);

/// What a vantage says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VantageSelf {
    /// How many configured references it reaches.
    pub references_reached: u8,
    /// In how many different networks these stand.
    pub reference_networks: u8,
    /// Its own loop ran late, or it was cut off just before: it doubts what it sees.
    pub self_doubt: bool,
}

/// The newest report of one vantage, as it stood when it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VantageReport {
    /// Who.
    pub vantage: VantageIx,
    /// The incarnation of the vantage's process (start time): a restarted vantage counts from 1 again.
    pub incarnation: u64,
    /// Rises with every report of one incarnation.
    pub sequence: u64,
    /// The fleet revision whose list gives the target indexes their meaning.
    pub revision: Revision,
    /// Stamped once, on arrival at this server, by its own clock.
    pub arrived: Mono,
    /// Of itself.
    pub own: VantageSelf,
    /// Per target index: the endpoints, then the providers' APIs. Shorter than the fleet's lists: the rest is unseen.
    pub targets: Vec<TargetState>,
    /// Per target index, as `targets`.
    pub rtt: Vec<RttClass>,
}

/// What the edges of one client group measured of one service in one region within [`Traffic::WINDOW`]: those alone that
/// sent [`Traffic::SAMPLES_MIN`] requests there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Traffic {
    /// Of which service.
    pub service: ServiceIx,
    /// Where.
    pub region: RegionIx,
    /// Whose edges.
    pub group: GroupIx,
    /// How many edges.
    pub edges: u32,
    /// Of these, edges that saw [`Traffic::ERRING`] fail, but less than [`Traffic::FAILING`].
    pub erring: u32,
    /// Of these, edges that saw [`Traffic::FAILING`] fail.
    pub failing: u32,
    /// Of the edges, those whose newest report, not older than [`Traffic::FRESH`], has more answers than failures there.
    pub answered: u32,
    /// Requests that they sent.
    pub issued: u64,
    /// Of these, requests that failed there.
    pub errors: u64,
    /// Of the edges, those that saw less than [`Traffic::ERRING`] fail and waited for good answers longer than
    /// [`Traffic::is_slow`] allows.
    pub slow: u32,
    /// Good answers that these edges timed.
    pub slow_requests: u64,
    /// What these took, together.
    pub slow_took: Millis,
    /// What as many usually take.
    pub slow_usual: Millis,
}
impl Traffic {
    /// What is counted together.
    pub const WINDOW: Millis = Millis(5_000);
    /// An edge that sent less has nothing to say.
    pub const SAMPLES_MIN: u64 = 20;
    /// What an edge got there is news for so long.
    pub const FRESH: Millis = Millis(1_500);
    /// What an edge found lately speaks for it alone, without what went well before, once that has stood so long.
    pub const RUN: Millis = Millis(2_000);
    /// The part of the requests that must have failed in each of its reports for that.
    pub const RUN_ERRING: Bps = Bps::clamped(1_000);
    /// The part of its requests at which a place errs.
    pub const ERRING: Bps = Bps::clamped(500);
    /// The part of its requests at which a place fails.
    pub const FAILING: Bps = Bps::clamped(5_000);

    /// A place is slow from so many times its own usual time on,
    pub const SLOW_TIMES: u64 = 3;
    /// if that is so much more.
    pub const SLOW_FLOOR: Millis = Millis(50);

    /// Whether a mean time is slow against the usual one; both in microseconds.
    #[must_use]
    pub fn is_slow(mean_us: u64, usual_us: u64) -> bool {
        mean_us > usual_us.saturating_mul(Self::SLOW_TIMES)
            && mean_us > usual_us.saturating_add(Self::SLOW_FLOOR.0.saturating_mul(1_000))
    }

    /// The part of the requests that failed.
    #[must_use]
    pub fn rate(issued: u64, errors: u64) -> Bps {
        let part = u128::from(errors) * 10_000 / u128::from(issued.max(1));
        Bps::clamped(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// Everything that one cycle may know, already stamped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The newest report per configured vantage, by vantage index; none if it never reported under a known revision.
    pub reports: Vec<Option<VantageReport>>,
    /// Demand measured at the edges, where it exceeds the declared one.
    pub measured_demand: Vec<(ClassIx, GroupIx, crate::units::MilliRps)>,
    /// What edges measured of the places they send to, by service, region and group.
    pub traffic: Vec<Traffic>,
    /// Vantages that were members of this server's gossip and are lost to it, by index.
    pub lost_members: Vec<VantageIx>,
    /// Receivers that the operator's or the data plane's word calls unfit for more load.
    pub held_receivers: Vec<RegionIx>,
    /// What people want.
    pub intents: crate::intent::Intents,
    /// The clock of windows and expiry.
    pub wall: Wall,
}
