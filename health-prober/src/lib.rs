//! A vantage: probes the fleet's endpoints from one place and tells the others by gossip what it sees.
//!
//! Owns the bytes of a probe, sockets, files and metrics. What a vantage decides (pace, streaks, doubt of itself)
//! is `tidegate-prober`'s. Refuses verdicts, weights and plans: those are made elsewhere, from the reports of many
//! vantages.

pub mod cli;
#[cfg(test)]
mod corpus;
mod engine;
mod feed;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod join;
mod measure;
mod metrics;
mod probe;
mod targets;
#[cfg(test)]
mod tests;
