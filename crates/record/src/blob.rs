//! Content-addressed blobs: their hash, and how a value too large for one is cut into several.

use crate::codec::RecordError;
use prost::Message;
use std::fmt;
use tidegate_proto::record as w;

/// The largest stored blob in bytes.
pub const BLOB_MAX: usize = 512 * 1024;
/// Payload of one leaf: leaves room for its frame.
const LEAF_MAX: usize = BLOB_MAX - 16;
/// The largest value in bytes that may be chunked: bounds what a reader is made to hold.
pub const VALUE_MAX: usize = 1 << 30;

/// SHA-256 of a stored blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BlobHash(pub [u8; 32]);
impl BlobHash {
    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}
impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    out
}

/// A value as blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunked {
    /// Names the whole value.
    pub root: BlobHash,
    /// What to store, parts before the root.
    pub blobs: Vec<(BlobHash, Vec<u8>)>,
}

/// Why a value could not be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// A blob is not in the store. Nothing was changed.
    #[error("blob {0} is missing")]
    Missing(BlobHash),
    /// A blob's bytes do not hash to its name: the store is damaged. Nothing was changed; do not retry.
    #[error("blob {0} is damaged: its bytes have another hash")]
    Damaged(BlobHash),
    /// The bytes are no blob of ours. Nothing was changed; do not retry.
    #[error("blob {hash} cannot be read: {error}")]
    Unreadable {
        /// Which.
        hash: BlobHash,
        /// Why.
        error: RecordError,
    },
    /// The value is larger than [`VALUE_MAX`]. Nothing was changed; do not retry.
    #[error("a value of {0} bytes is larger than blobs may hold")]
    TooLarge(u64),
}

fn leaf(bytes: &[u8]) -> (BlobHash, Vec<u8>) {
    let blob = w::Blob { kind: Some(w::blob::Kind::Leaf(bytes.to_vec())) }.encode_to_vec();
    (BlobHash::of(&blob), blob)
}

/// Cuts `bytes` into blobs of at most [`BLOB_MAX`]. Equal bytes give equal blobs.
///
/// # Errors
/// When `bytes` are more than [`VALUE_MAX`].
pub fn chunk(bytes: &[u8]) -> Result<Chunked, BlobError> {
    if bytes.len() > VALUE_MAX {
        return Err(BlobError::TooLarge(bytes.len() as u64));
    }
    if bytes.len() <= LEAF_MAX {
        let only = leaf(bytes);
        return Ok(Chunked { root: only.0, blobs: vec![only] });
    }
    let mut blobs: Vec<_> = bytes.chunks(LEAF_MAX).map(leaf).collect();
    let parts = blobs.iter().flat_map(|(hash, _)| hash.0).collect();
    let manifest = w::Manifest { length: bytes.len() as u64, parts };
    let root = w::Blob { kind: Some(w::blob::Kind::Manifest(manifest)) }.encode_to_vec();
    let hash = BlobHash::of(&root);
    blobs.push((hash, root));
    Ok(Chunked { root: hash, blobs })
}

fn fetch(hash: BlobHash, get: &impl Fn(BlobHash) -> Option<Vec<u8>>) -> Result<w::blob::Kind, BlobError> {
    let bytes = get(hash).ok_or(BlobError::Missing(hash))?;
    if BlobHash::of(&bytes) != hash {
        return Err(BlobError::Damaged(hash));
    }
    let unreadable = |error| BlobError::Unreadable { hash, error };
    let blob = w::Blob::decode(bytes.as_slice()).map_err(|e| unreadable(RecordError::Malformed(e.to_string())))?;
    if blob.encode_to_vec() != bytes {
        return Err(unreadable(RecordError::NotCanonical));
    }
    blob.kind.ok_or_else(|| unreadable(RecordError::Kind { expected: "blob" }))
}

/// Blobs that a value consists of, its root included: what must be kept while the value is.
///
/// # Errors
/// When the root is missing, damaged or unreadable.
pub fn parts_of(root: BlobHash, get: impl Fn(BlobHash) -> Option<Vec<u8>>) -> Result<Vec<BlobHash>, BlobError> {
    match fetch(root, &get)? {
        w::blob::Kind::Leaf(_) => Ok(vec![root]),
        w::blob::Kind::Manifest(manifest) => {
            let mut parts = split_parts(root, &manifest)?;
            parts.push(root);
            Ok(parts)
        }
    }
}

fn split_parts(root: BlobHash, w::Manifest { length, parts }: &w::Manifest) -> Result<Vec<BlobHash>, BlobError> {
    if *length > VALUE_MAX as u64 {
        return Err(BlobError::TooLarge(*length));
    }
    if parts.len() % 32 != 0 || (parts.len() / 32) as u64 != length.div_ceil(LEAF_MAX as u64) {
        let error = crate::codec::bad("manifest.parts", format_args!("{} bytes", parts.len()));
        return Err(BlobError::Unreadable { hash: root, error });
    }
    let hash = |part: &[u8]| {
        let mut out = [0; 32];
        out.copy_from_slice(part);
        BlobHash(out)
    };
    Ok(parts.chunks_exact(32).map(hash).collect())
}

/// Puts the value named `root` together again, checking every hash on the way.
///
/// # Errors
/// When a blob is missing, damaged or no blob of ours.
pub fn assemble(root: BlobHash, get: impl Fn(BlobHash) -> Option<Vec<u8>>) -> Result<Vec<u8>, BlobError> {
    let manifest = match fetch(root, &get)? {
        w::blob::Kind::Leaf(bytes) => return Ok(bytes),
        w::blob::Kind::Manifest(manifest) => manifest,
    };
    let mut value = Vec::new();
    for part in split_parts(root, &manifest)? {
        match fetch(part, &get)? {
            w::blob::Kind::Leaf(bytes) => value.extend_from_slice(&bytes),
            w::blob::Kind::Manifest(_) => {
                let error = RecordError::Kind { expected: "leaf" };
                return Err(BlobError::Unreadable { hash: part, error });
            }
        }
    }
    if value.len() as u64 == manifest.length {
        Ok(value)
    } else {
        let error = crate::codec::bad("manifest.length", manifest.length);
        Err(BlobError::Unreadable { hash: root, error })
    }
}
