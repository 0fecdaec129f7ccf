//! The stage: everything that Tidegate is shown and measured on, built from real processes.
//!
//! Owns backends, load, faults, networks, raw files, the stories and the bench of failover. Refuses to be depended on
//! by anything but tests and benches, and to decide anything about traffic.

mod args;
mod backend;
mod bench;
mod cast;
mod clock;
mod demo;
mod envoy;
mod expect;
mod fleet_dir;
mod ledger;
mod load;
mod network;
mod play;
mod process;
mod programs;
mod raw;
mod reference;
mod relay;
mod schedule;
mod server_api;
mod shape;
mod stories;
mod subscribers;
mod summary;
mod timeline;
mod topology;

pub use args::main;

/// The one TLS provider; a second call changes nothing.
pub(crate) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// So many random bytes, in hex.
pub(crate) fn random_hex(bytes: usize) -> String {
    (0..bytes).map(|_| format!("{:02x}", rand::random::<u8>())).collect()
}

/// SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}
