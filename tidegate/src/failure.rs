//! How a verb ends: an exit code, and for a failure a sentence of what to do next.

use std::fmt;
use tidegate_api::ApiError;

/// Changes pending.
pub(crate) const PENDING: u8 = 3;
/// Timed out.
pub(crate) const TIMED_OUT: u8 = 5;

/// A verb that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
    pub(crate) next: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), next: next.into() }
    }
    pub(crate) fn usage(message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(message, next) }
    }
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
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
        Self { code: code.exit(), message: message + changed, next: error.lift }
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
