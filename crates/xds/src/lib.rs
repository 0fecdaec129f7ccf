//! The xDS protocol engine: delta (incremental) ADS over opaque named resources, both ends of it.
//!
//! Owns: content-hash versions, subscriptions, ACK and NACK, the order of types, pre-encoded responses, resume after
//! a reconnect. Refuses: to know what a resource means, who may read it (that is [`server::Admission`]'s), or when to
//! publish. Source of the rules: the xDS protocol text of Envoy (`xds_protocol.rst`) and gRPC proposals A46, A57.
//!
//! Each end is a machine without IO and a thin tokio shell over tonic.

#![deny(missing_docs)]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod server;
mod type_url;

pub use type_url::TypeUrl;
