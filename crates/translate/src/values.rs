//! Small protobuf values that every resource needs. Owns no meaning.

use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, HeaderValue, HeaderValueOption, Metadata,
    SocketAddress, address, config_source, data_source, header_value_option::HeaderAppendAction, socket_address,
};
use envoy_types::pb::google::protobuf::{Any, Duration, ListValue, Struct, UInt32Value, Value, value::Kind};
use prost::{Message, Name};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use tidegate_proto::metadata;

pub(crate) fn millis(ms: u64) -> Option<Duration> {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    Some(Duration { seconds, nanos: i32::try_from(ms % 1000).unwrap_or(0) * 1_000_000 })
}

pub(crate) fn uint(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

pub(crate) fn address(ip: &str, port: u16) -> Option<Address> {
    let socket = SocketAddress {
        address: ip.to_owned(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(port))),
        ..SocketAddress::default()
    };
    Some(Address { address: Some(address::Address::SocketAddress(socket)) })
}

/// Whether Envoy can bind or connect to `host` as it stands.
pub(crate) fn ip(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// ADS, waiting for as long as it takes: Envoy's 15 s would give up and use an empty cluster or route table, which
/// loses routes because the control plane died between two messages.
pub(crate) fn ads() -> Option<ConfigSource> {
    Some(ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        initial_fetch_timeout: millis(0),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    })
}

pub(crate) fn inline(text: String) -> Option<DataSource> {
    Some(DataSource { specifier: Some(data_source::Specifier::InlineString(text)), ..DataSource::default() })
}

/// A response header that replaces one of the same name.
pub(crate) fn header(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned(), ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        ..HeaderValueOption::default()
    }
}

pub(crate) fn text(value: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(value.into())) }
}

pub(crate) fn list(values: impl IntoIterator<Item = String>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values: values.into_iter().map(text).collect() })) }
}

/// Tidegate's metadata with these fields.
pub(crate) fn tidegate<const N: usize>(fields: [(&str, Value); N]) -> Option<Metadata> {
    let fields: BTreeMap<String, Value> = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    let filter_metadata = HashMap::from([(metadata::NAMESPACE.to_owned(), Struct { fields: in_order(&fields) })]);
    Some(Metadata { filter_metadata, ..Metadata::default() })
}

/// A map that iterates, and so is encoded, by growing key. The generated type is a `HashMap`, whose order differs from
/// instance to instance: encoded as it comes, equal content would get another hash and be sent again. A clone keeps the
/// order, since it keeps hasher and buckets. Up to four keys: 24 orders, so that a few dozen tries are enough.
fn in_order(fields: &BTreeMap<String, Value>) -> HashMap<String, Value> {
    debug_assert!(fields.len() <= 4, "more fields than orders can be tried");
    loop {
        let map: HashMap<String, Value> = fields.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        if map.keys().is_sorted() {
            return map;
        }
    }
}
