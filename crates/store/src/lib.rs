//! The store in etcd's shape: small keys under one global revision, transactions, watches, leases, and blobs by
//! content. `embedded` serves one machine; other backends implement the same [`Store`] and pass [`conformance`].
//!
//! Owns durability and what a full or damaged disk means. Refuses to decide, to read a clock, and to guess: a file
//! that is not whole is an error with a mend, never an empty store. Every call blocks until the disk has answered:
//! from async code go through [`off_runtime`].

#![deny(missing_docs)]

mod api;
#[doc(hidden)]
pub mod conformance;
pub mod embedded;
mod error;
mod memory;
mod watch;

pub use api::{
    Compare, Condition, HealthMode, KEY_MAX, LeaseId, OPS_MAX, Op, Store, StoreHealth, Txn, TxnOutcome, Urgency,
    VALUE_MAX, off_runtime,
};
pub use embedded::{Embedded, Options};
pub use error::{Changed, StoreError};
pub use memory::Memory;
pub use tidegate_record::{BLOB_MAX, Batch, BlobHash, Row};
pub use watch::{Watch, WatchEnd};

use std::sync::Arc;
use tidegate_domain::Mono;

/// The clock by which leases end: handed in by the program, or by a test.
pub type Clock = Arc<dyn Fn() -> Mono + Send + Sync>;
