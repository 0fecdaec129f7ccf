//! The subscribing end: the machine ([`ClientMachine`]) and its tokio shell ([`AdsClient`]), and beside them the sender
//! of load reports ([`LoadReporter`]). Owns resuming after a
//! reconnect, failover between servers and the run-time change of names. Refuses to interpret resources, and to
//! acknowledge anything that the caller has not judged (unless told to: `auto_ack`).

mod load;
mod machine;
mod shell;

pub use load::{ClusterTotals, LoadMachine, LoadReporter, LoadSource, MetricTotals, PlaceTotals};
pub use machine::{AddedResource, ClientMachine, NodeIdentity, Update, UpdateToken};
pub use shell::{AdsClient, ClientConfig, ClientError, ClientEvent, ClientTask};
