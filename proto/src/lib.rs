//! Tidegate's own wire and record formats, and the words that both ends of xDS must spell alike.
//!
//! Generated code only, beside the constants: what a message means is decided where it is used.

/// Generated from `tidegate/v1/*.proto`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("tidegate.v1");
}

/// Generated from `tidegate/v1/record.proto`: everything that is persisted or replayed. Only `tidegate-record` reads it.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated code"
)]
pub mod record {
    tonic::include_proto!("tidegate.record.v1");
}

/// What an edge says when it answers in the place of a backend.
pub mod refusal {
    /// Header of every such answer; its value says why.
    pub const HEADER: &str = "x-tidegate-refusal";
    /// `Retry-After` of those that another moment may change, in seconds.
    pub const RETRY_AFTER_SECONDS: &str = "5";
}

/// Keys of Envoy metadata under which the control plane tells an edge what a place and a class are.
pub mod metadata {
    /// Namespace of `filter_metadata`.
    pub const NAMESPACE: &str = "tidegate";
    /// On an endpoint's locality and on endpoints: the country of the place, `DE`.
    pub const JURISDICTION: &str = "jurisdiction";
    /// On endpoints: `aws/us-east-1`.
    pub const REGION: &str = "region";
    /// On endpoints: `aws`.
    pub const PROVIDER: &str = "provider";
    /// On clusters and routes: `payroll/eu`.
    pub const CLASS: &str = "class";
    /// On clusters: the permitted countries, a list of strings; [`ANYWHERE`] alone for anywhere. Always there: a cluster
    /// without it is refused.
    pub const PERMITTED: &str = "permitted";
    /// The one entry of [`PERMITTED`] that stands for every country.
    pub const ANYWHERE: &str = "*";
}

/// Names of `EndpointLoadMetricStats` in load reports.
pub mod load {
    /// Requests that were answered with a good status, and the sum of milliseconds from their sending to the head of the
    /// answer.
    pub const RESPONSE_MS: &str = "tidegate.response_ms";
}
