//! The report: reasons, moves, alarms.

use crate::codec::{RecordError, Wire, all, all_back, missing, narrow, need, record};
use crate::scalars::{bps, bps_out, health, health_out, jurisdiction, kind, kind_out};
use tidegate_domain::{
    Alarm, ClassIx, Disposition, GroupIx, MilliRps, Millis, Move, ProviderIx, Reason, RegionIx, RegionReport, Report,
    ServiceIx, SplitReport, VantageIx,
};
use tidegate_proto::record as w;

record! {
    encode_report, decode_report, Report, Report, "report";
}

impl Wire for Report {
    type Msg = w::Report;
    fn to_wire(&self) -> w::Report {
        let Self { splits, moves, alarms } = self;
        w::Report { splits: all(splits), moves: all(moves), alarms: all(alarms) }
    }
    fn from_wire(w::Report { splits, moves, alarms }: w::Report) -> Result<Self, RecordError> {
        Ok(Self { splits: all_back(splits)?, moves: all_back(moves)?, alarms: all_back(alarms)? })
    }
}

impl Wire for SplitReport {
    type Msg = w::SplitReport;
    fn to_wire(&self) -> w::SplitReport {
        let Self { class, group, regions, waits } = self;
        w::SplitReport { class: class.0, group: u32::from(group.0), regions: all(regions), waits: all(waits) }
    }
    fn from_wire(w::SplitReport { class, group, regions, waits }: w::SplitReport) -> Result<Self, RecordError> {
        Ok(Self {
            class: ClassIx(class),
            group: GroupIx(narrow("report.group", group)?),
            regions: all_back(regions)?,
            waits: all_back(waits)?,
        })
    }
}

impl Wire for RegionReport {
    type Msg = w::RegionReport;
    fn to_wire(&self) -> w::RegionReport {
        let Self { region, disposition, reasons } = self;
        let disposition = match disposition {
            Disposition::Carries(share) => w::region_report::Disposition::CarriesBps(bps_out(*share)),
            Disposition::Idle => w::region_report::Disposition::Idle(w::Nothing {}),
            Disposition::Excluded => w::region_report::Disposition::Excluded(w::Nothing {}),
        };
        w::RegionReport { region: u32::from(region.0), disposition: Some(disposition), reasons: all(reasons) }
    }
    fn from_wire(w::RegionReport { region, disposition, reasons }: w::RegionReport) -> Result<Self, RecordError> {
        let disposition = match disposition.ok_or_else(|| missing("report.disposition"))? {
            w::region_report::Disposition::CarriesBps(share) => Disposition::Carries(bps("report.carries", share)?),
            w::region_report::Disposition::Idle(w::Nothing {}) => Disposition::Idle,
            w::region_report::Disposition::Excluded(w::Nothing {}) => Disposition::Excluded,
        };
        Ok(Self { region: RegionIx(narrow("report.region", region)?), disposition, reasons: all_back(reasons)? })
    }
}

impl Wire for Move {
    type Msg = w::Move;
    fn to_wire(&self) -> w::Move {
        let Self { class, group, kind, share, cause } = self;
        w::Move {
            class: class.0,
            group: u32::from(group.0),
            kind: kind_out(*kind),
            share_bps: bps_out(*share),
            cause: Some(cause.to_wire()),
        }
    }
    fn from_wire(w::Move { class, group, kind: of, share_bps, cause }: w::Move) -> Result<Self, RecordError> {
        Ok(Self {
            class: ClassIx(class),
            group: GroupIx(narrow("move.group", group)?),
            kind: kind("move.kind", of)?,
            share: bps("move.share", share_bps)?,
            cause: need("move.cause", cause)?,
        })
    }
}

impl Wire for Reason {
    type Msg = w::Reason;
    fn to_wire(&self) -> w::Reason {
        use w::reason::Kind;
        const N: w::Nothing = w::Nothing {};
        let kind = match self {
            Self::Chosen => Kind::Chosen(N),
            Self::NotPermitted { jurisdiction } => Kind::NotPermitted(jurisdiction.to_string()),
            Self::DeniedByPolicy { kind, reason } => {
                Kind::DeniedByPolicy(w::PolicyDenial { kind: kind_out(*kind), reason: reason.clone() })
            }
            Self::Unfit { accused, health } => {
                Kind::Unfit(w::Unfit { accused: Some(accused.to_wire()), health: health_out(*health) })
            }
            Self::NotReached { failing, near, well, elsewhere } => Kind::NotReached(w::NotReached {
                failing: u32::from(*failing),
                near: u32::from(*near),
                well: u32::from(*well),
                elsewhere: u32::from(*elsewhere),
            }),
            Self::Erring { against, edges, rate } => {
                Kind::Erring(w::Erring { against: *against, edges: *edges, rate_bps: bps_out(*rate) })
            }
            Self::Slow { against, edges, slowness } => {
                Kind::Slow(w::Slow { against: *against, edges: *edges, slowness: Some(slowness.to_wire()) })
            }
            Self::ComingUp { left } => Kind::ComingUpMs(left.0),
            Self::Drained { id } => Kind::Drained(*id),
            Self::NoEndpoint => Kind::NoEndpoint(N),
            Self::Full { limit } => Kind::FullMrps(limit.0),
            Self::FartherRing { ring } => Kind::FartherRing(u32::from(*ring)),
            Self::Dearer => Kind::Dearer(N),
            Self::ProviderShare { max } => Kind::ProviderShareBps(bps_out(*max)),
            Self::ShareCap { cap, left } => Kind::ShareCap(w::ShareCap { cap_bps: bps_out(*cap), left_ms: left.0 }),
            Self::MinResidency { left } => Kind::MinResidencyMs(left.0),
            Self::Frozen { reason } => Kind::Frozen(reason.clone()),
            Self::ApiTrouble { provider } => Kind::ApiTrouble(u32::from(provider.0)),
            Self::AutomationPaused { kind } => Kind::AutomationPaused(kind_out(*kind)),
            Self::RampHeld => Kind::RampHeld(N),
            Self::NotWorthIt { margin } => Kind::NotWorthItBps(bps_out(*margin)),
            Self::Doubted => Kind::Doubted(N),
            Self::AllDownHeld => Kind::AllDownHeld(N),
            Self::SafetyFirst => Kind::SafetyFirst(N),
            Self::Unsettled { left } => Kind::UnsettledMs(left.0),
            Self::Followed { from, to } => {
                Kind::Followed(w::FollowedTo { from: u32::from(from.0), to: u32::from(to.0) })
            }
            Self::Assertion { rule } => Kind::Assertion(rule.clone()),
        };
        w::Reason { kind: Some(kind) }
    }
    fn from_wire(w::Reason { kind: of }: w::Reason) -> Result<Self, RecordError> {
        use w::reason::Kind;
        Ok(match of.ok_or_else(|| missing("reason"))? {
            Kind::Chosen(w::Nothing {}) => Self::Chosen,
            Kind::NotPermitted(law) => Self::NotPermitted { jurisdiction: jurisdiction("reason.not_permitted", &law)? },
            Kind::DeniedByPolicy(w::PolicyDenial { kind: of, reason }) => {
                Self::DeniedByPolicy { kind: kind("reason.denied", of)?, reason }
            }
            Kind::Unfit(w::Unfit { accused, health: h }) => {
                Self::Unfit { accused: need("reason.accused", accused)?, health: health("reason.health", h)? }
            }
            Kind::NotReached(w::NotReached { failing, near, well, elsewhere }) => Self::NotReached {
                failing: narrow("reason.failing", failing)?,
                near: narrow("reason.near", near)?,
                well: narrow("reason.well", well)?,
                elsewhere: narrow("reason.elsewhere", elsewhere)?,
            },
            Kind::Erring(w::Erring { against, edges, rate_bps }) => {
                Self::Erring { against, edges, rate: bps("reason.rate", rate_bps)? }
            }
            Kind::Slow(w::Slow { against, edges, slowness }) => {
                Self::Slow { against, edges, slowness: need("reason.slowness", slowness)? }
            }
            Kind::ComingUpMs(left) => Self::ComingUp { left: Millis(left) },
            Kind::Drained(id) => Self::Drained { id },
            Kind::NoEndpoint(w::Nothing {}) => Self::NoEndpoint,
            Kind::FullMrps(limit) => Self::Full { limit: MilliRps(limit) },
            Kind::FartherRing(ring) => Self::FartherRing { ring: narrow("reason.ring", ring)? },
            Kind::Dearer(w::Nothing {}) => Self::Dearer,
            Kind::ProviderShareBps(max) => Self::ProviderShare { max: bps("reason.provider_share", max)? },
            Kind::ShareCap(w::ShareCap { cap_bps, left_ms }) => {
                Self::ShareCap { cap: bps("reason.share_cap", cap_bps)?, left: Millis(left_ms) }
            }
            Kind::MinResidencyMs(left) => Self::MinResidency { left: Millis(left) },
            Kind::Frozen(reason) => Self::Frozen { reason },
            Kind::ApiTrouble(of) => Self::ApiTrouble { provider: ProviderIx(narrow("reason.api_trouble", of)?) },
            Kind::AutomationPaused(of) => Self::AutomationPaused { kind: kind("reason.paused", of)? },
            Kind::RampHeld(w::Nothing {}) => Self::RampHeld,
            Kind::NotWorthItBps(margin) => Self::NotWorthIt { margin: bps("reason.margin", margin)? },
            Kind::Doubted(w::Nothing {}) => Self::Doubted,
            Kind::AllDownHeld(w::Nothing {}) => Self::AllDownHeld,
            Kind::SafetyFirst(w::Nothing {}) => Self::SafetyFirst,
            Kind::UnsettledMs(left) => Self::Unsettled { left: Millis(left) },
            Kind::Followed(w::FollowedTo { from, to }) => Self::Followed {
                from: RegionIx(narrow("reason.followed.from", from)?),
                to: RegionIx(narrow("reason.followed.to", to)?),
            },
            Kind::Assertion(rule) => Self::Assertion { rule },
        })
    }
}

impl Wire for Alarm {
    type Msg = w::Alarm;
    fn to_wire(&self) -> w::Alarm {
        use w::alarm::Kind;
        let kind = match self {
            Self::AllDown { class } => Kind::AllDown(class.0),
            Self::NoPlace { class } => Kind::NoPlace(class.0),
            Self::Doubt { service } => Kind::Doubt(service.0),
            Self::Shedding { class, group, shed } => {
                Kind::Shedding(w::Shedding { class: class.0, group: u32::from(group.0), shed_bps: bps_out(*shed) })
            }
            Self::LongUnknown { region } => Kind::LongUnknown(u32::from(region.0)),
            Self::CutOff { vantage } => Kind::CutOff(u32::from(vantage.0)),
            Self::ApiTrouble { provider } => Kind::ApiTrouble(u32::from(provider.0)),
            Self::Partition => Kind::Partition(w::Nothing {}),
            Self::Followed { service } => Kind::Followed(service.0),
            Self::PlanRefused { fault } => Kind::PlanRefused(fault.clone()),
        };
        w::Alarm { kind: Some(kind) }
    }
    fn from_wire(w::Alarm { kind }: w::Alarm) -> Result<Self, RecordError> {
        use w::alarm::Kind;
        Ok(match kind.ok_or_else(|| missing("alarm"))? {
            Kind::AllDown(class) => Self::AllDown { class: ClassIx(class) },
            Kind::NoPlace(class) => Self::NoPlace { class: ClassIx(class) },
            Kind::Doubt(service) => Self::Doubt { service: ServiceIx(service) },
            Kind::Shedding(w::Shedding { class, group, shed_bps }) => Self::Shedding {
                class: ClassIx(class),
                group: GroupIx(narrow("alarm.group", group)?),
                shed: bps("alarm.shed", shed_bps)?,
            },
            Kind::LongUnknown(region) => Self::LongUnknown { region: RegionIx(narrow("alarm.region", region)?) },
            Kind::CutOff(vantage) => Self::CutOff { vantage: VantageIx(narrow("alarm.cut_off", vantage)?) },
            Kind::ApiTrouble(of) => Self::ApiTrouble { provider: ProviderIx(narrow("alarm.api_trouble", of)?) },
            Kind::Partition(w::Nothing {}) => Self::Partition,
            Kind::Followed(service) => Self::Followed { service: ServiceIx(service) },
            Kind::PlanRefused(fault) => Self::PlanRefused { fault },
        })
    }
}
