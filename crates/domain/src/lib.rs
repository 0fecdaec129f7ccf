//! The words of Tidegate as plain data: ids, units, time, and what crosses the doors between rooms.
//!
//! Owns no decision, no IO, no serialisation: adapters (`config`, `record`, `translate`, `api`) convert
//! at their own border. Everything is ordered and integral, so that the same input gives the same bytes.

#![deny(missing_docs)]
#![deny(clippy::float_arithmetic, clippy::lossy_float_literal)]

pub mod fleet;
pub mod ids;
pub mod intent;
pub mod mask;
pub mod observation;
pub mod plan;
pub mod report;
pub mod state;
pub mod time;
pub mod units;
pub mod verdict;

pub use fleet::{
    Area, Check, CheckKind, Class, ClassMatch, ClientGroup, Demand, Endpoint, Fleet, FreezeWindow, Listener, Permitted,
    Provider, ProviderApi, Reference, Region, Route, Rules, Service, Vantage,
};
pub use ids::{
    AreaIx, ClassIx, EndpointIx, GroupIx, Jurisdiction, Name, NameError, ProviderIx, RegionIx, RegionName, Revision,
    ServiceIx, VantageIx,
};
pub use intent::{ApiWord, Automation, Drain, Intents, Restore, Scope, Subject, Switch};
pub use mask::{Mask, MoveKind, PolicyAnswer};
pub use observation::{RttClass, TargetState, Traffic, VantageReport, VantageSelf, View};
pub use plan::{ClassSplit, Plan, Serving, Weight};
pub use report::{Alarm, Disposition, Move, Reason, RegionReport, Report, SplitReport};
pub use state::{CycleInput, CycleOutput, Displaced, EndpointHealth, Ramp, RampPhase, State, WeightSnapshot};
pub use time::{Millis, Mono, Wall};
pub use units::{Bps, BpsError, MilliRps, PicoDollars, apportion};
pub use verdict::{
    Accused, ApiCause, ApiTrouble, Blame, CutOff, CutOffCause, Finding, Followed, Health, Partition, PathFailure,
    PathFrom, Received, Slowness, SuspectedPath, Unheard, Verdict, Vote, VoteKind,
};
