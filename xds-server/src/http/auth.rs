//! Tokens at the door.

use crate::app::App;
use crate::clock;
use crate::http::Refused;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::sync::Arc;
use tidegate_api::tokens::Role;
use tidegate_api::{ApiError, Code};

/// Whoever holds a valid token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) subject: String,
    role: Role,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let header = parts.headers.get(axum::http::header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        let token = header.and_then(|h| h.strip_prefix("Bearer ")).map(str::trim);
        let missing = |what: &str| {
            Refused::from(ApiError::new(
                Code::Unauthenticated,
                what,
                "name a token file with --token-file or TIDEGATE_TOKEN_FILE; `xds-server token` makes tokens",
            ))
        };
        let token = token.ok_or_else(|| missing("the request carries no token"))?;
        let holder =
            app.tokens.holder(token, clock::wall()).ok_or_else(|| missing("the token is unknown or has ended"))?;
        Ok(Self { subject: holder.subject.clone(), role: holder.role })
    }
}

impl Caller {
    /// Lets the caller do `what` if that needs no more than its role.
    pub(super) fn needs(&self, role: Role, what: &str) -> Result<(), Box<ApiError>> {
        if self.role >= role {
            return Ok(());
        }
        let (has, needs) = (self.role.word(), role.word());
        let why = format!("{what} needs the role {needs}; the token of `{}` has the role {has}", self.subject);
        Err(Box::new(ApiError::new(Code::Forbidden, why, format!("use a token of role {needs}"))))
    }
}
