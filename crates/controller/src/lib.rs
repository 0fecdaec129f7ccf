//! The one loop: `handle(Input, now)` takes what happened, `step(now)` decides once and says what to do.
//!
//! Owns the order of things: policy's mask before the cycle, the kernel's cycle, authorisation, the record, and only then
//! publication. Refuses sockets, threads and clocks: the server and the simulator drive the same code. It decides
//! nothing itself: every weight and every refusal of a weight is the kernel's.

mod asks;
mod commit;
mod controller;
mod demand;
mod effect;
pub mod history;
mod input;
mod intents;
mod journal;
pub mod keys;
mod latency;
mod loads;
mod members;
mod model;
pub mod persist;
mod reload;
mod reports;
mod senses;
mod stored;
mod switches;
mod usual;
mod what_if;
mod window;

pub use controller::Controller;
pub use effect::{Answer, Denial, DenialKind, Effect, Told};
pub use input::{
    Ask, Candidate, ClassLoad, Head, Input, LoadIn, Loaded, Now, PlaceLoad, RampAsk, ReportIn, Stored, Ticket,
};
pub use journal::told_again;
pub use loads::{DrainPhase, DrainProgress, Loads};
pub use model::{AlarmLine, AtEdges, Gap, LastDecision, Model, StoreState};
pub use reports::Unused;
pub use what_if::WhatIf;
