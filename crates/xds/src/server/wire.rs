//! Bytes on the wire: a delta response from shared entries, and gRPC message framing. Copies no resource but to join
//! more than three into one frame (every queued body frame costs an h2 slot that is never given back).

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use crate::TypeUrl;

/// One `DeltaDiscoveryResponse`, not yet framed.
#[derive(Debug, Clone)]
pub struct Response {
    /// The type of everything in it.
    pub type_url: TypeUrl,
    /// Unique within the stream.
    pub nonce: String,
    /// The caller's generation that it was made from; `system_version_info` on the wire.
    pub tag: u64,
    /// Names that the client must forget, or that it asked for and do not exist.
    pub removed: Vec<Arc<str>>,
    /// At most three shared buffers of pre-encoded field-2 entries.
    pub entries: Vec<Bytes>,
}

impl Response {
    /// The gRPC message as at most four frames: a head with the small fields, then the shared entries.
    #[must_use]
    pub fn frames(&self, control_plane: &str) -> Vec<Bytes> {
        let mut small = BytesMut::with_capacity(192);
        put(&mut small, 1, self.tag.to_string().as_bytes());
        put(&mut small, 4, self.type_url.as_str().as_bytes());
        put(&mut small, 5, self.nonce.as_bytes());
        for name in &self.removed {
            put(&mut small, 6, name.as_bytes());
        }
        encode_key(7, WireType::LengthDelimited, &mut small);
        let identifier_len = 1 + encoded_len_varint(control_plane.len() as u64) + control_plane.len();
        encode_varint(identifier_len as u64, &mut small);
        put(&mut small, 1, control_plane.as_bytes());

        let len = small.len() + self.entries.iter().map(Bytes::len).sum::<usize>();
        let mut head = BytesMut::with_capacity(5 + small.len());
        head.put_u8(0); // not compressed
        head.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        head.extend_from_slice(&small);
        let mut frames = Vec::with_capacity(1 + self.entries.len());
        frames.push(head.freeze());
        frames.extend(self.entries.iter().cloned());
        frames
    }

    /// The message's bytes without gRPC framing; for tests and tools.
    #[must_use]
    pub fn message_bytes(&self, control_plane: &str) -> Vec<u8> {
        self.frames(control_plane).concat().split_off(5)
    }
}

fn put(buf: &mut BytesMut, tag: u32, value: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, buf);
    encode_varint(value.len() as u64, buf);
    buf.put_slice(value);
}
