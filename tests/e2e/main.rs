//! The whole system with real parts: real processes, a real Envoy, real kills.

mod demo;
mod disk;
mod edge;
mod far;
mod kills;
mod metrics;
mod refusals;
mod reloads;
mod restart;
mod senses;
mod start;
