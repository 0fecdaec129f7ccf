//! What a vantage decides: when each target is probed, what a result changes, whether the vantage may trust
//! itself, and what it reports.
//!
//! Owns the checked list of targets, the schedule, the judges, the self-check and the names, as one machine:
//! [`Prober`]. Refuses sockets, clocks and runtimes: `health-prober` gives it those, a simulator gives it a world,
//! and both drive the same code. Refuses verdicts too: a report is one vantage's view.

#![deny(missing_docs)]

mod handout;
mod history;
mod judge;
mod list;
mod machine;
mod names;
mod schedule;
mod selfcheck;
#[cfg(test)]
mod tests;

pub use handout::{Assignment, handout};
pub use judge::Tuning;
pub use list::{List, ListError, Reference, Target, peers_left_out};
pub use machine::{CONFIRM_EVERY, Effect, Ended, Event, Prober, RUNNING_MAX, Skip};
pub use selfcheck::PAUSE;
