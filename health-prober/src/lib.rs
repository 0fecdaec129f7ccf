//! A vantage: probes the fleet's endpoints from one place and tells the others by gossip what it sees.
//!
//! Owns probing, its pace, the streaks that turn results into a state per target, and the vantage's doubt of
//! itself. Refuses verdicts, weights and plans: those are made elsewhere, from the reports of many vantages.

pub mod cli;
mod engine;
mod feed;
pub mod judge;
mod measure;
mod metrics;
mod probe;
pub mod schedule;
pub mod selfcheck;
mod targets;
#[cfg(test)]
mod tests;
