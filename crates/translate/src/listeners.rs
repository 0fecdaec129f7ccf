//! Listeners: one per listener of the fleet, with its routes by RDS. Depends on the fleet alone, so that no plan ever
//! drains a listener's connections.
//!
//! Owns the HTTP connection manager. Refuses an address that is not an IP, and every `x-envoy-*` header of a client:
//! one of them can widen what may be tried again.

use crate::routes::Refusal;
use crate::values::{address, ads, any, ip, millis, uint};
use crate::{TranslateError, names};
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, ResponseFlagFilter, access_log_filter::FilterSpecifier,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, LocalReplyConfig, Rds, ResponseMapper,
    http_connection_manager::{CodecType, InternalAddressConfig, RouteSpecifier},
    http_filter,
};
use envoy_types::pb::google::protobuf::BoolValue;
use std::collections::BTreeMap;
use tidegate_domain::Fleet;

/// The filter that [`crate::bootstrap`] looks for when it puts routes in place of RDS.
pub(crate) const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// One per listener, by name.
pub(crate) fn all(fleet: &Fleet) -> Result<Vec<(String, Listener)>, TranslateError> {
    let mut by_name = BTreeMap::new();
    for service in &fleet.services {
        by_name.entry(names::listener(&service.listener)).or_insert(&service.listener);
    }
    by_name.into_iter().map(|(name, of)| Ok((name, listener(of)?))).collect()
}

fn listener(of: &tidegate_domain::Listener) -> Result<Listener, TranslateError> {
    let Some(bind) = ip(&of.address) else {
        return Err(TranslateError::ListenerAddress { listener: of.name.to_string(), address: of.address.clone() });
    };
    let filter = Filter {
        name: HTTP_CONNECTION_MANAGER.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(any(&connection_manager(of)))),
    };
    Ok(Listener {
        name: names::listener(of),
        address: address(&bind.to_string(), of.port),
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        // Also the longest body that can be sent again after a failed connection; Envoy's own default, said aloud.
        per_connection_buffer_limit_bytes: uint(1024 * 1024),
        ..Listener::default()
    })
}

fn connection_manager(of: &tidegate_domain::Listener) -> HttpConnectionManager {
    let yes = Some(BoolValue { value: true });
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(&Router::default()))),
        ..HttpFilter::default()
    };
    let rds = Rds { config_source: ads(), route_config_name: names::route_configuration(of) };
    HttpConnectionManager {
        codec_type: CodecType::Auto as i32,
        stat_prefix: names::listener(of),
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        http_filters: vec![router],
        server_name: "tidegate".to_owned(),
        use_remote_address: yes,
        // No address counts as internal: `x-envoy-retry-on` and its kin are stripped from whoever sends them.
        internal_address_config: Some(InternalAddressConfig::default()),
        generate_request_id: yes,
        normalize_path: yes,
        // Slow header senders; bodies and streams are bounded by their route.
        request_headers_timeout: millis(10_000),
        local_reply_config: Some(LocalReplyConfig { mappers: vec![shed_reply()], ..LocalReplyConfig::default() }),
        ..HttpConnectionManager::default()
    }
}

/// Envoy answers a request dropped by `drop_overloads` 503 without a word; this adds when to come again, and why.
fn shed_reply() -> ResponseMapper {
    let flags = ResponseFlagFilter { flags: vec!["DO".to_owned()] };
    ResponseMapper {
        filter: Some(AccessLogFilter { filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(flags)) }),
        headers_to_add: Refusal::Shed.headers(),
        ..ResponseMapper::default()
    }
}
