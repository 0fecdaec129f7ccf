//! A listener: an address, and the name of the routes for what comes in there.
//!
//! Refuses TLS and filters that it would have to ignore.

use super::assignment::socket_address;
use super::{Refused, refused};
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use prost::{Message, Name};
use std::net::SocketAddr;

/// A listener as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerSpec {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Name of its route configuration.
    pub(crate) routes: String,
}

pub(crate) fn listener(name: &str, value: &[u8]) -> Result<ListenerSpec, Refused> {
    let of = Listener::decode(value).map_err(|e| Refused(format!("listener `{name}`: not a Listener: {e}")))?;
    if of.name != name {
        return refused(format!("listener `{name}` calls itself `{}`", of.name));
    }
    let Some(address) = socket_address(of.address.as_ref()) else {
        return refused(format!("listener `{name}`: its address is not an IP and a port"));
    };
    let [chain] = of.filter_chains.as_slice() else {
        return refused(format!("listener `{name}`: exactly one filter chain is understood"));
    };
    if chain.transport_socket.is_some() {
        return refused(format!("listener `{name}`: TLS is not understood"));
    }
    let [filter] = chain.filters.as_slice() else {
        return refused(format!("listener `{name}`: exactly one network filter is understood"));
    };
    let Some(filter::ConfigType::TypedConfig(config)) = &filter.config_type else {
        return refused(format!("listener `{name}`: filter `{}` has no configuration", filter.name));
    };
    if config.type_url != HttpConnectionManager::type_url() {
        return refused(format!("listener `{name}`: filter `{}` is not understood", filter.name));
    }
    let manager = HttpConnectionManager::decode(config.value.as_slice())
        .map_err(|e| Refused(format!("listener `{name}`: not an HttpConnectionManager: {e}")))?;
    let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier else {
        return refused(format!("listener `{name}`: only routes by RDS are understood"));
    };
    if let Some(other) = manager.http_filters.iter().find(|f| f.name != "envoy.filters.http.router") {
        return refused(format!("listener `{name}`: HTTP filter `{}` is not understood", other.name));
    }
    Ok(ListenerSpec { name: of.name, address, routes: rds.route_config_name.clone() })
}
