//! The whole system with real parts: real processes, a real Envoy, real kills.

mod edge;
mod refusals;
mod restart;
