//! What the OpenAPI document says of every path alike: the token, the role it needs, the refusals.

use std::collections::BTreeSet;
use tidegate_api::{ApiError, Code};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{Modify, PartialSchema, ToSchema};

/// Name of the security scheme.
const TOKEN: &str = "token";

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
                say(path, read, false);
            }
            if let Some(post) = &mut item.post {
                // A replay costs work and changes nothing: it is a read that answers to POST.
                say(path, post, !path.ends_with("/replay"));
            }
        }
    }
}

fn say(path: &str, operation: &mut Operation, writes: bool) {
    let needs = match path {
        _ if !writes => "Needs the role viewer.",
        "/v1/config/reload" | "/v1/joins" => "Needs the role admin.",
        "/v1/drains" | "/v1/restores" => "Needs the role operator; with `dry_run`, viewer.",
        _ => "Needs the role operator.",
    };
    operation.description = Some(match &operation.description {
        Some(text) => format!("{text}\n\n{needs}"),
        None => needs.to_owned(),
    });
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    for status in refusals(path, operation, writes) {
        let codes = Code::ALL.iter().filter(|c| c.status() == status);
        let said: Vec<String> = codes.map(|c| format!("{}: {}", c.text(), c.title())).collect();
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ApiError::name()))).build();
        let answer = ResponseBuilder::new().description(said.join("; ")).content("application/json", content).build();
        operation.responses.responses.insert(status.to_string(), answer.into());
    }
}

/// The statuses that may come instead of the answer.
fn refusals(path: &str, operation: &Operation, writes: bool) -> BTreeSet<u16> {
    let mut all = BTreeSet::from([401, 503]);
    if operation.parameters.is_some() || operation.request_body.is_some() {
        all.insert(400);
    }
    if writes {
        all.extend([403, 409, 507]);
    }
    // Something is named that may not be there.
    if path.contains('{')
        || path == "/v1/plan"
        || (writes && matches!(path, "/v1/drains" | "/v1/restores" | "/v1/joins"))
    {
        all.insert(404);
    }
    if path == "/v1/config/reload" {
        all.insert(422);
    }
    all
}
