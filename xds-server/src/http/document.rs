//! What the OpenAPI document says of every path alike: the token, the role it needs, the refusals.

use crate::flags::Role;
use tidegate_api::{ApiError, Code};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{Modify, PartialSchema, ToSchema};

/// Name of the security scheme.
const TOKEN: &str = "token";
/// What every read may answer instead, and what a write may.
const OF_READS: &[u16] = &[400, 401, 404, 503];
const OF_WRITES: &[u16] = &[400, 401, 403, 404, 409, 503, 507];
const OF_RELOADS: &[u16] = &[400, 401, 403, 409, 422, 503, 507];

/// Adds it.
pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme(TOKEN, scheme);
        components.schemas.insert(ApiError::name().into_owned(), ApiError::schema());
        for (path, item) in &mut document.paths.paths {
            if let Some(read) = &mut item.get {
                say(read, Role::Viewer, OF_READS);
            }
            if let Some(write) = &mut item.post {
                let (role, refusals) = match path.as_str() {
                    // Reads that answer to POST: they cost work and change nothing.
                    path if path.ends_with("/replay") => (Role::Viewer, OF_READS),
                    "/v1/config/reload" => (Role::Admin, OF_RELOADS),
                    _ => (Role::Operator, OF_WRITES),
                };
                say(write, role, refusals);
            }
        }
    }
}

fn say(operation: &mut Operation, role: Role, refusals: &[u16]) {
    let needs = match role {
        Role::Viewer => "Needs the role viewer.",
        Role::Operator => "Needs the role operator; with `dry_run`, viewer.",
        Role::Admin => "Needs the role admin.",
    };
    operation.description = Some(match &operation.description {
        Some(text) => format!("{text}\n\n{needs}"),
        None => needs.to_owned(),
    });
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    for status in refusals {
        let codes = Code::ALL.iter().filter(|c| c.status() == *status);
        let said: Vec<String> = codes.map(|c| format!("{}: {}", c.text(), c.title())).collect();
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ApiError::name()))).build();
        let answer = ResponseBuilder::new().description(said.join("; ")).content("application/json", content).build();
        operation.responses.responses.insert(status.to_string(), answer.into());
    }
}
