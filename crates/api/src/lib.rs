//! The operator API's types, shared by the server, the command line and the stage.
//!
//! Owns the JSON shapes, the catalogue of error codes and the tokens of those who may ask; refuses to know how anything is decided. Every body carries
//! `api_version`; a field may be added within a version, none renamed or removed.

pub mod checks;
pub mod error;
pub mod read;
pub mod tokens;
pub mod words;
pub mod write;

pub use error::{ApiError, Code};
pub use read::*;
pub use write::*;

/// Version that every answer names.
pub const VERSION: &str = "tidegate/v1";
