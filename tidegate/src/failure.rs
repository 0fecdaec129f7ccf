//! How a verb ends: an exit code, and for a failure a sentence of what to do next.

use std::fmt;
use tidegate_api::{ApiError, Code};

/// Changes pending.
pub(crate) const PENDING: u8 = 3;
/// Timed out.
pub(crate) const TIMED_OUT: u8 = 5;
/// Wrong on the command line, or in what it names.
pub(crate) const USAGE: u8 = 2;

/// A verb that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    pub(crate) next: String,
    pub(crate) after: After,
}

/// What a verb that waits may make of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Asking again gives the same.
    Stop,
    /// Nobody answered, or not yet: asking again may succeed.
    Again,
    /// What was asked about is not there.
    Gone,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), next: next.into(), after: After::Stop }
    }
    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::new(message, next) }
    }
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }
    pub(crate) fn retryable(self) -> Self {
        Self { after: After::Again, ..self }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let code = error.catalogued();
        let mut message = format!("{} {}: {}", error.code, code.title(), error.message);
        for detail in &error.details {
            message.push_str("\n  - ");
            message.push_str(detail);
        }
        let changed = if error.state_changed { " (something was changed before it failed)" } else { "" };
        let after = match code {
            Code::NotReady | Code::StoreUnavailable => After::Again,
            Code::NotFound => After::Gone,
            _ if error.retry => After::Again,
            _ => After::Stop,
        };
        Self { code: code.exit(), message: message + changed, next: error.lift, after }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.next.is_empty() {
            write!(f, "\nnext: {}", self.next)?;
        }
        Ok(())
    }
}
