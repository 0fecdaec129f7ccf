//! Who of the probers and servers is there, and what every vantage sees: SWIM membership with sealed datagrams.
//!
//! Owns the driver of foca (one timer queue, the work-around it owes), the sealing of datagrams, the keyring,
//! the replay guard and the vantage reports. Refuses to judge: `MemberDown` is a fact about the path to a
//! member, never about a target, and no verdict is made here. The machine is [`Node`]; [`shell`] gives it a
//! socket and a clock.

#![deny(missing_docs)]

mod acquaintance;
mod counters;
mod flood;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
pub mod join;
mod keyring;
mod lifeguard;
mod names;
mod node;
mod pass;
mod post;
mod probing;
mod report;
mod seal;
pub mod shell;
mod spread;
mod squeeze;
#[cfg(test)]
mod tests;
mod tuning;
mod wire;

pub use counters::{Counters, Family};
pub use identity::Role;
pub use keyring::{KeyFile, Keyring, KeyringError};
pub use node::{Config, Effect, Event, GossipOutput, MemberInfo, Node, PublishError};
pub use report::{OwnReport, ReportIn};
pub use seal::{DropReason, MAX_DATAGRAM};
