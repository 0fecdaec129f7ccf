//! What a request says, taken out of it: its body, query and path, with faults in our own words and one shape.

use super::Refused;
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tidegate_api::{ApiError, Code};

pub(super) fn bad(message: impl Into<String>, lift: &str) -> ApiError {
    ApiError::new(Code::BadRequest, message, lift)
}

/// A JSON body.
pub(super) struct Wish<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Wish<T> {
    type Rejection = Refused;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let body = Json::<T>::from_request(request, state).await;
        body.map(|Json(wish)| Self(wish))
            .map_err(|e: JsonRejection| bad(e.body_text(), "GET /v1/openapi.json describes the body").into())
    }
}

/// A query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(asked)| Self(asked))
            .map_err(|e: QueryRejection| bad(e.body_text(), "GET /v1/openapi.json describes the query").into())
    }
}

/// The variable parts of a path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named))
            .map_err(|e: PathRejection| bad(e.body_text(), "GET /v1/openapi.json describes the path").into())
    }
}
