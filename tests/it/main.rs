//! The whole system in one process and in virtual time: probers, the loop, a store, the translation to xDS.
//!
//! Owns the stories that a person is told. Refuses real time, real sockets and real disks but for the embedded store.

mod cuts;
mod stories;
mod wire;
#[path = "../../crates/controller/tests/world/mod.rs"]
mod world;
