//! Errors: one catalogue of codes, a page each under `docs/errors/`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $status:literal, $exit:literal, $title:literal;)*) => {
        /// A code of the catalogue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {$($(#[$doc])* $name,)*}
        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            /// `TG-1001`.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {$(Code::$name => concat!("TG-", $number),)*}
            }
            /// HTTP status that carries it.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {$(Code::$name => $status,)*}
            }
            /// Exit code of the command line: 1 failed, 2 usage, 3 changes pending, 4 denied by policy, 5 timed out, 6 unsafe.
            #[must_use]
            pub fn exit(self) -> u8 {
                match self {$(Code::$name => $exit,)*}
            }
            /// One line.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {$(Code::$name => $title,)*}
            }
            /// The code so written.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|c| c.text() == text)
            }
        }
    };
}

catalogue! {
    /// No token, or one that is unknown or expired.
    Unauthenticated = "1001", 401, 1, "no valid token";
    /// The token's role may not do this.
    Forbidden = "1002", 403, 1, "the token's role may not do this";
    /// A field of the request is wrong.
    BadRequest = "1003", 400, 2, "a field of the request is wrong";
    /// Nothing of that name.
    NotFound = "1004", 404, 2, "nothing of that name";
    /// The path exists, not for this method.
    MethodNotAllowed = "1006", 405, 2, "the path does not take this method";
    /// The server has not loaded its store or its configuration yet.
    NotReady = "1005", 503, 1, "the server is not ready yet";
    /// A drain would break a safety rule.
    DrainRefused = "2001", 409, 6, "the drain would break a safety rule";
    /// A reload would drop a class or too many endpoints.
    ReloadRefused = "2002", 409, 6, "the reload would remove too much";
    /// The configuration has faults.
    ConfigFaults = "2003", 422, 1, "the configuration has faults";
    /// Policy does not compile, or does not answer.
    PolicyFaults = "2004", 422, 4, "the policy has faults";
    /// A loss has no authorised plan under the new revision.
    GapRefused = "2005", 409, 6, "a loss would have no authorised plan";
    /// A wider drain stands over what is to be restored.
    RestoreRefused = "2006", 409, 6, "a wider drain stands over the place";
    /// As many drains stand as can be kept.
    TooManyDrains = "2007", 409, 6, "too many drains stand";
    /// The plan that a request leads to did not pass the independent check.
    PlanRefused = "2008", 409, 6, "the plan did not pass its check";
    /// Another configuration was taken since this one was compared with what stood.
    ReloadRaced = "2009", 409, 1, "another configuration was taken meanwhile";
    /// The store refuses writes that are not for safety.
    StoreFull = "3001", 507, 1, "the store is full";
    /// The store did not answer.
    StoreUnavailable = "3002", 503, 1, "the store did not answer";
    /// A record does not replay to the same bytes.
    ReplayDiffers = "3003", 409, 1, "the decision does not replay to the same bytes";
    /// The hash chain of the journal is broken.
    ChainBroken = "3004", 409, 1, "the journal's hash chain is broken";
    /// Something that should not happen.
    Internal = "9001", 500, 1, "the server failed";
}

/// The body of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// `tidegate/v1`.
    pub api_version: String,
    /// `TG-2001`; its page is `docs/errors/TG-2001.md`.
    pub code: String,
    /// What is the matter, with names and numbers.
    pub message: String,
    /// What would lift it.
    pub lift: String,
    /// Whether anything changed before it failed.
    pub state_changed: bool,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// Single faults, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl ApiError {
    /// A refusal that changed nothing and that only another request can lift.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>, lift: impl Into<String>) -> Self {
        Self {
            api_version: crate::VERSION.to_owned(),
            code: code.text().to_owned(),
            message: message.into(),
            lift: lift.into(),
            state_changed: false,
            retry: false,
            details: Vec::new(),
        }
    }
    /// The same, worth trying again.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }
    /// With single faults.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
    /// The catalogue's entry; `Internal` for a code of a newer server.
    #[must_use]
    pub fn catalogued(&self) -> Code {
        Code::parse(&self.code).unwrap_or(Code::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_parse_back() {
        let texts: BTreeSet<&str> = Code::ALL.iter().map(|c| c.text()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::parse(code.text()), Some(*code));
        }
    }
}
