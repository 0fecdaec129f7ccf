//! What the electorate found, with its evidence.

use crate::fleet::Fleet;
use crate::ids::{EndpointIx, GroupIx, ProviderIx, RegionIx, ServiceIx, VantageIx};
use crate::time::{Millis, Mono};
use crate::units::Bps;

/// Health of an endpoint, region or provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Health {
    /// A quorum sees it well.
    Healthy,
    /// A quorum sees it slow or partly failing.
    Degraded,
    /// A quorum sees it failing.
    Down,
    /// No quorum either way. Holds the weights.
    #[default]
    Unknown,
}
impl Health {
    /// `down`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Accused {
    /// One endpoint.
    Endpoint(EndpointIx),
    /// One region.
    Region(RegionIx),
    /// One provider.
    Provider(ProviderIx),
}
impl Accused {
    /// `region`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Provider(_) => "provider",
            Self::Region(_) => "region",
            Self::Endpoint(_) => "endpoint",
        }
    }
}

/// How one member of the electorate counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// Sees it well.
    Up,
    /// Sees it slow.
    Slow,
    /// Sees it failing.
    Down,
    /// Has not probed it enough.
    Unseen,
    /// Not eligible: no report, or none that is fresh.
    Stale,
    /// Not eligible: reaches too few references, or calls failing what the others see well ([`CutOff`]).
    CutOff,
    /// Not eligible: doubts itself.
    SelfDoubt,
    /// Not eligible: speaks of another fleet revision.
    OtherRevision,
}

/// One member's vote, for the explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub vantage: VantageIx,
    /// What.
    pub kind: VoteKind,
    /// Age of the report at the time of the verdict; none where there was no report.
    pub age: Option<Millis>,
}

/// How it is known that a prober is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CutOffCause {
    /// It reaches too few references.
    References {
        /// So many.
        reached: u8,
    },
    /// It calls failing nearly everything that it probes, of several providers, and the others see that well.
    Contradicted {
        /// Targets that it calls failing and the others see well.
        failing: u32,
        /// Targets outside its own region that it has probed.
        targets: u32,
        /// Providers of those in `failing`.
        providers: u16,
        /// So many others at least see each of these well.
        others: u16,
    },
}

/// A prober whose votes do not count though its report is fresh: it is cut off itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CutOff {
    /// Which.
    pub vantage: VantageIx,
    /// Since when, by the server's monotonic clock.
    pub since: Mono,
    /// Why it is held to be so, as seen last.
    pub cause: CutOffCause,
    /// Since when nothing speaks against it any more, while it is not yet over.
    pub well_since: Option<Mono>,
}

/// From which side a region is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathFrom {
    /// By the probers near the clients of a group: weights for these follow.
    Group(GroupIx),
    /// By the probers in a provider: told, but no weight follows.
    Provider(ProviderIx),
}

/// A region that is seen failing from one side and well from elsewhere: no verdict for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathFailure {
    /// The side.
    pub from: PathFrom,
    /// The region.
    pub to: RegionIx,
    /// Since when, by the server's monotonic clock.
    pub since: Mono,
    /// Since when that side has seen it well again without a break.
    pub well_since: Option<Mono>,
    /// Probers of that side that see it failing.
    pub failing: u16,
    /// Eligible probers of that side.
    pub near: u16,
    /// Probers elsewhere that see it well.
    pub well: u16,
    /// Eligible probers elsewhere.
    pub elsewhere: u16,
}

/// A side that sees a region failing which those elsewhere were seen to see well: a path failure, once they have said so again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SuspectedPath {
    /// The side.
    pub from: PathFrom,
    /// The region.
    pub to: RegionIx,
    /// Since when without a break, by the server's monotonic clock.
    pub since: Mono,
}

/// Fewer than half of a large fleet's vantages outside a provider are, or were just, heard: what a quorum of a few finds there
/// is no verdict yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unheard {
    /// The provider.
    pub provider: ProviderIx,
    /// Accusations count by what is said from then on, by the server's monotonic clock; none: too few are heard still.
    pub until: Option<Mono>,
}

/// How slow a place is, to the edges' own requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slowness {
    /// Mean time to a good answer.
    pub took: Millis,
    /// What is usual there.
    pub usual: Millis,
}

/// A service in one region that the edges' own requests find slow, erring or failing, whatever the probers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blame {
    /// The service.
    pub service: ServiceIx,
    /// Where.
    pub region: RegionIx,
    /// Degraded or Down; Healthy: it is over, and remembered for the next time.
    pub health: Health,
    /// Since when, by the server's monotonic clock.
    pub since: Mono,
    /// When the edges last found it so.
    pub seen: Mono,
    /// How often it came back soon after it was over.
    pub relapses: u8,
    /// Edges that said so last.
    pub against: u32,
    /// Of so many that sent enough there.
    pub edges: u32,
    /// The part of their requests that failed.
    pub rate: Bps,
    /// It is blamed for being slow, not for what fails.
    pub slowness: Option<Slowness>,
}

/// A region that a service's traffic went to when it left a place that the edges blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Received {
    /// The service.
    pub service: ServiceIx,
    /// The place that was left.
    pub from: RegionIx,
    /// Where its traffic went.
    pub to: RegionIx,
    /// When it got some first, by the server's monotonic clock.
    pub since: Mono,
    /// When it got some last.
    pub at: Mono,
    /// The part of the requests that failed there when the first came; zero where the edges had measured nothing.
    pub usual: Bps,
}

/// What failed at a place came along with the traffic that left it: the fault is the requests', or the load's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followed {
    /// The service.
    pub service: ServiceIx,
    /// The place that was left.
    pub from: RegionIx,
    /// Where it is seen most.
    pub to: RegionIx,
    /// Since when, by the server's monotonic clock.
    pub since: Mono,
    /// Nobody of the service is blamed anew until then.
    pub until: Mono,
    /// The part of the requests that failed at the place that was left.
    pub origin: Bps,
    /// The part that failed where they went.
    pub rate: Bps,
    /// What came along is slowness, not failures.
    pub slow: bool,
}

/// How it is known that a provider's own API is in trouble.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiCause {
    /// A quorum of the probers outside the provider sees it failing.
    Probed {
        /// Since when they have seen it well again without a break.
        well_since: Option<Mono>,
        /// Probers that see it failing.
        failing: u16,
        /// Eligible probers.
        eligible: u16,
        /// Probers outside the provider that ask it.
        electorate: u16,
    },
    /// A person said so ([`crate::ApiWord`]).
    Told {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

/// The gossip of this server is cut: probers are lost to it whose places are seen well, so that they rather than the places
/// are out of reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Since when, by the server's monotonic clock.
    pub since: Mono,
    /// Who is lost though the place is seen well, by vantage index.
    pub lost: Vec<VantageIx>,
}

/// A provider whose own API is in trouble, whatever its traffic does: nothing is changed there but for safety.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiTrouble {
    /// Whose.
    pub provider: ProviderIx,
    /// Since when, by the server's monotonic clock.
    pub since: Mono,
    /// How it is known.
    pub cause: ApiCause,
}

/// A verdict with its evidence. The rule: at least half of the electorate eligible, two thirds of the eligible
/// agreeing, and the agreeing ones of two providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// About what.
    pub accused: Accused,
    /// The finding.
    pub health: Health,
    /// Since when it stands, by the server's monotonic clock.
    pub since: Mono,
    /// Size of the electorate: configured vantages outside the accused.
    pub electorate: u16,
    /// How many of them are eligible.
    pub eligible: u16,
    /// How many of the eligible agree with `health`.
    pub agreeing: u16,
    /// From how many providers these come.
    pub agreeing_providers: u16,
    /// One per member of the electorate, by vantage index; empty for endpoints that are Healthy. On a region or provider: what
    /// the vantage alone would say of it, by the shares at which it falls.
    pub votes: Vec<Vote>,
}

/// Something that was found and is no verdict on a place for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `prober`, `path`, `place`, `api`, `gossip`.
    pub kind: &'static str,
    /// `aws-1`.
    pub name: String,
    /// `cut off`.
    pub word: &'static str,
    /// Since when.
    pub since: Mono,
    /// In words.
    pub evidence: String,
}

impl Verdict {
    /// Who says so, without full stop: the probers, the edges of whose word it is ill, or both. `found` is what
    /// `kernel::why::findings` gives.
    #[must_use]
    pub fn evidence(&self, fleet: &Fleet, found: &[Finding]) -> String {
        let (eligible, agreeing, from) = (self.eligible, self.agreeing, self.agreeing_providers);
        let votes =
            format!("{eligible} of {} vantages eligible, {agreeing} agree, from {from} providers", self.electorate);
        let of = match self.accused {
            Accused::Endpoint(e) => Accused::Region(fleet.endpoints[e.at()].region),
            place => place,
        };
        let name = fleet.accused_name(of);
        let here = |place: &str| match of {
            Accused::Provider(_) => place.split_once('/').is_some_and(|(provider, _)| provider == name),
            Accused::Region(_) | Accused::Endpoint(_) => place == name,
        };
        let edges = found.iter().filter(|f| f.kind == "place").filter_map(|f| {
            let (service, place) = f.name.split_once(" in ")?;
            here(place).then(|| format!("{service} is {}: {}", f.word, f.evidence))
        });
        // A minority of the probers has said nothing that counts.
        let probers = (agreeing > 0 && u32::from(agreeing) * 3 >= u32::from(eligible) * 2).then_some(votes.clone());
        let ill = !matches!(self.health, Health::Healthy | Health::Unknown);
        let words: Vec<String> = probers.into_iter().chain(edges.filter(|_| ill)).collect();
        if words.is_empty() { votes } else { words.join("; ") }
    }
}
