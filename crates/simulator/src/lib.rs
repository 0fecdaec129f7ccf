//! A cell in virtual time, seeded: network, processes, backends, faults, and checkers that watch every step.
//!
//! Owns the world in which the shipped gossip machine, prober, controller and kernel run. Refuses real time, real IO and
//! copies of what ships: a fault that is found here is a fault of the product.

#![deny(missing_docs)]

pub mod apis;
mod bytes;
pub mod check;
pub mod described;
mod edges;
mod faults;
mod lighter;
mod matrix;
mod network;
mod prober;
pub mod run;
pub mod scenario;
mod server;
#[cfg(test)]
mod tests;
mod trace;
pub mod units;
mod watch;
mod world;

pub use trace::LEGEND;

/// The scenarios that are shipped, by file name.
pub const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
