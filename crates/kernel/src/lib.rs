//! `tidegate-kernel`: every decision, as pure functions over whole views.
//!
//! Owns verdicts ([`health`]), placing, weighing, pacing, the report, the plan linter and the only door to acting
//! ([`authorize`]). Refuses IO, async, clocks, chance, floats and formats: the same input gives the same output, bit for
//! bit, which is what makes a decision replayable.

#![deny(missing_docs)]
#![deny(clippy::float_arithmetic, clippy::lossy_float_literal)]

pub mod health;
pub mod lint;
pub mod why;

mod authorize;
mod carry;
mod contingency;
mod cycle;
mod drain;
mod explain;
mod failback;
mod follow;
mod pace;
mod place;
mod relocate;
mod safety;
mod unrest;
mod weigh;

pub use authorize::{Authorized, Refusal, authorize};
pub use carry::carry_over;
pub use contingency::{Contingency, contingencies, single_losses, what_if};
pub use cycle::cycle;
pub use drain::{DrainPreview, DrainRefusal, DrainStep, drain_check};

/// The kernel's version, named by every decision: a replay is by the same version.
pub const VERSION: &str = concat!("kernel-", env!("CARGO_PKG_VERSION"), "+", env!("TIDEGATE_KERNEL_SOURCE"));
