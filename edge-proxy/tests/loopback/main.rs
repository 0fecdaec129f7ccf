//! The edge against a control plane and backends, all on loopback.

mod resources;
mod support;

mod control;
mod lifecycle;
mod requests;
mod trouble;
