//! One named resource, encoded once. Owns the version (a content hash) and the pre-encoded response entry; refuses to
//! look inside the content.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use prost::{Message, Name};
use ring::digest::{SHA256, digest};

use crate::TypeUrl;

/// Why a resource could not be made. Nothing was changed; the same input fails again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResourceError {
    /// The message's type is not one of the four that are served.
    #[error("type {0} is not served (CDS, EDS, LDS and RDS are)")]
    UnknownType(String),
    /// The name is empty, is `*`, or is longer than 1,024 bytes.
    #[error("resource name {0:?} is empty, `*`, or longer than 1024 bytes")]
    BadName(String),
}

/// The longest resource name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 1024;

/// A resource of one type, immutable, shared by every stream that is sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    type_url: TypeUrl,
    name: Arc<str>,
    version: Arc<str>,
    content: u64,
    encoded: Bytes,
}

impl Resource {
    /// Encodes `message` as the resource `name`.
    ///
    /// The version is a hash of the encoded bytes, so equal content must encode to equal bytes on every server and
    /// after every restart. prost writes a map field of two or more keys in no fixed order: keep such maps out of
    /// resources (or encode them yourself and use [`Resource::from_any_bytes`]).
    ///
    /// # Errors
    /// [`ResourceError`] when the type is not served or the name cannot be one.
    pub fn from_message<M: Message + Name>(name: &str, message: &M) -> Result<Self, ResourceError> {
        let url = M::type_url();
        let full = match url.rsplit_once('/') {
            Some((_, full)) => full,
            None => url.as_str(),
        };
        let found = TypeUrl::ALL.into_iter().find(|t| t.as_str().rsplit_once('/').is_some_and(|(_, f)| f == full));
        let type_url = found.ok_or(ResourceError::UnknownType(url))?;
        Self::from_any_bytes(type_url, name, &message.encode_to_vec())
    }

    /// Takes the bytes that will stand in `google.protobuf.Any.value`.
    ///
    /// # Errors
    /// [`ResourceError::BadName`] when the name cannot be one.
    pub fn from_any_bytes(type_url: TypeUrl, name: &str, value: &[u8]) -> Result<Self, ResourceError> {
        if name.is_empty() || name == "*" || name.len() > NAME_BYTES_MAX {
            return Err(ResourceError::BadName(name.chars().take(80).collect()));
        }
        let hash = digest(&SHA256, value);
        let hash = hash.as_ref();
        let version: String = hash[..16].iter().map(|b| format!("{b:02x}")).collect();
        // 0 and 1 are spoken for by the subscription state ("nothing held", "something else held").
        let content =
            u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]).max(2);
        let encoded = encode_entry(type_url, name, &version, value);
        Ok(Self { type_url, name: name.into(), version: version.into(), content, encoded })
    }

    /// The type.
    #[must_use]
    pub fn type_url(&self) -> TypeUrl {
        self.type_url
    }

    /// The name, unique within a type and variant.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// 32 hex digits: the first 16 bytes of the SHA-256 of the content.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// One entry of field 2 of `DeltaDiscoveryResponse`, key and length included.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// First 8 bytes of the content hash: what a stream remembers of it.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }
}

/// Length of a length-delimited field whose key takes one byte.
fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn put_field(buf: &mut BytesMut, tag: u32, value: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, buf);
    encode_varint(value.len() as u64, buf);
    buf.put_slice(value);
}

/// `Resource { version = 1, resource = 2 (Any { type_url = 1, value = 2 }), name = 3 }` as field 2 of the response.
fn encode_entry(type_url: TypeUrl, name: &str, version: &str, value: &[u8]) -> Bytes {
    let url = type_url.as_str();
    let any_len = field_len(url.len()) + field_len(value.len());
    let body_len = field_len(version.len()) + field_len(any_len) + field_len(name.len());
    let mut buf = BytesMut::with_capacity(field_len(body_len));
    encode_key(2, WireType::LengthDelimited, &mut buf);
    encode_varint(body_len as u64, &mut buf);
    put_field(&mut buf, 1, version.as_bytes());
    encode_key(2, WireType::LengthDelimited, &mut buf);
    encode_varint(any_len as u64, &mut buf);
    put_field(&mut buf, 1, url.as_bytes());
    put_field(&mut buf, 2, value);
    put_field(&mut buf, 3, name.as_bytes());
    buf.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;
    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;

    #[test]
    fn entry_decodes_to_what_was_put_in() {
        let cluster = Cluster { name: "payroll".into(), ..Default::default() };
        let resource = Resource::from_message("payroll", &cluster).unwrap();
        let response = DeltaDiscoveryResponse::decode(resource.encoded().clone()).unwrap();
        let entry = &response.resources[0];
        assert_eq!(entry.name, "payroll");
        assert_eq!(entry.version, resource.version().as_ref());
        assert_eq!(entry.version.len(), 32);
        let any = entry.resource.as_ref().unwrap();
        assert_eq!(any.type_url, TypeUrl::Cds.as_str());
        assert_eq!(Cluster::decode(any.value.as_slice()).unwrap(), cluster);
    }

    #[test]
    fn version_follows_content_and_nothing_else() {
        let make = |name: &str, value: &[u8]| Resource::from_any_bytes(TypeUrl::Eds, name, value).unwrap();
        assert_eq!(make("a", b"x").version(), make("b", b"x").version());
        assert_ne!(make("a", b"x").version(), make("a", b"y").version());
        // Golden: a restart, or another replica, must give the same text.
        assert_eq!(make("a", b"x").version().as_ref(), "2d711642b726b04401627ca9fbac32f5");
    }

    #[test]
    fn names_that_cannot_be_names_are_refused() {
        for name in ["", "*", &"n".repeat(1025)] {
            assert!(matches!(Resource::from_any_bytes(TypeUrl::Cds, name, b""), Err(ResourceError::BadName(_))));
        }
    }
}
