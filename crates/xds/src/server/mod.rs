//! The publishing end: snapshots in, delta responses out. The machine is [`StreamMachine`]; [`Engine`] holds what all
//! streams share; [`AdsService`] is the shell. State-of-the-world streams would be a second machine beside
//! `machine.rs` over the same tables, status book and body.

mod admission;
mod body;
mod engine;
#[cfg(all(feature = "lrs", any(test, feature = "fuzzing")))]
pub mod fuzzing;
mod inbound;
#[cfg(feature = "lrs")]
pub mod lrs;
mod machine;
mod resource;
mod session;
mod snapshot;
mod status;
mod subscription;
mod wire;

#[cfg(all(test, feature = "lrs"))]
mod corpus;

pub use admission::{
    AckEvent, Admission, AdmitAll, ChannelObserver, Denied, Event, NackEvent, NoObserver, NodeInfo, Observer, PeerInfo,
};
pub use body::AdsService;
pub use engine::{Clock, Engine, EngineConfig, Limits, Progress, PublishError, PublishReport, TokioClock};
pub use machine::{Answer, StreamMachine, StreamRefusal};
pub use resource::{Resource, ResourceError};
pub use snapshot::{Published, Snapshot, SnapshotBuilder, Variant};
pub use status::{Mark, NackStatus, NodeStatus, TypeStatus};
pub use wire::Response;
