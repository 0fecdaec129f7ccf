//! A network in virtual time, and the tests on it.

mod corpus;
mod defect;
mod fleet;
mod golden;
mod hostile;
mod join;
mod keyring;
mod lifeguard;
mod probing;
mod reports;
mod seal;
mod shell;
pub(crate) mod world;
