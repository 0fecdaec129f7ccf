//! What the control plane sent, read into the few words that this edge obeys.
//!
//! Owns validation: everything that is not understood or not permitted is refused with the reason, which becomes the
//! text of a NACK. Refuses to guess at a field that would change where a request goes.

mod assignment;
mod cluster;
mod listener;
mod routes;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use assignment::Locality;
pub(crate) use assignment::{Assignment, assignment};
pub(crate) use cluster::{Budget, ClusterSpec, Ejection, cluster};
pub(crate) use listener::{ListenerSpec, listener};
pub(crate) use routes::{Action, DirectResponse, Forward, Host, RetryOn, RouteTable, route_table};

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::{Value, value::Kind};
use std::time::Duration;
use tidegate_proto::metadata;

/// Why a resource is not used: the words of a NACK. What was in use stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

pub(crate) fn refused<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

/// A protobuf duration; negative ones and absurd ones count as absent.
pub(crate) fn duration(of: Option<&envoy_types::pb::google::protobuf::Duration>) -> Option<Duration> {
    let of = of?;
    let seconds = u64::try_from(of.seconds).ok().filter(|s| *s < 1_000_000_000)?;
    let nanos = u32::try_from(of.nanos).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(seconds, nanos))
}

/// A field of Tidegate's own metadata.
pub(crate) fn field<'a>(of: Option<&'a Metadata>, key: &str) -> Option<&'a Value> {
    of?.filter_metadata.get(metadata::NAMESPACE)?.fields.get(key)
}

pub(crate) fn text(of: Option<&Metadata>, key: &str) -> Option<String> {
    match field(of, key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}
