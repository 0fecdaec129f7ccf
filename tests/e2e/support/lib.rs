//! A small real fleet on loopback: server, probers, backends, a real Envoy, each a process of its own.
//!
//! Owns start, readiness and end of processes. Every wait is on a condition and bounded; every port is picked free;
//! only processes that were started here are ended, by their id.

pub mod backend;
pub mod fleet;
pub mod load;
pub mod parts;
pub mod process;
pub mod stand;

pub use backend::Backend;
pub use load::Load;
pub use process::{Process, program};
pub use stand::Stand;

use anyhow::{Result, bail};
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// Asks `condition` until it gives a value, at most for `limit`.
///
/// # Errors
/// Names `what` and the last reason when the time is over.
pub async fn until<T, F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + limit;
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => bail!("{what}: not within {limit:?}: {error:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}

/// Whether real parts may be missing: `cargo xtask test` says that they may not.
#[must_use]
pub fn real_parts_required() -> bool {
    std::env::var("TIDEGATE_REAL_PARTS").is_ok_and(|v| v == "required")
}
