//! The envelope of every record and the rules of reading one: known version, right kind, and no byte that this
//! version would not have written itself.

use prost::Message;
use tidegate_proto::record as w;

/// The version that this build writes, and the only one it reads.
pub const FORMAT: u32 = 1;

/// Why a record could not be read. Nothing was changed, and reading the same bytes again gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf of these messages: damaged or cut short.
    #[error("the record cannot be decoded: {0}")]
    Malformed(String),
    /// Written by another version of the format.
    #[error("the record has format {found}, this build reads {known}; use the build that wrote it")]
    Version {
        /// What the record says.
        found: u32,
        /// What this build knows.
        known: u32,
    },
    /// A record, but of something else.
    #[error("the record holds no {expected}")]
    Kind {
        /// What was asked for.
        expected: &'static str,
    },
    /// Holds fields this build does not know, or is encoded otherwise than this build would.
    #[error("the record has fields or an encoding that this build would not have written")]
    NotCanonical,
    /// A value that the domain does not have.
    #[error("field `{field}` holds {what}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What stands there.
        what: String,
    },
}

/// Fails because `field` is not there.
pub(crate) fn missing(field: &'static str) -> RecordError {
    RecordError::Value { field, what: "nothing".to_owned() }
}
/// Fails because of what stands in `field`.
pub(crate) fn bad(field: &'static str, what: impl std::fmt::Display) -> RecordError {
    RecordError::Value { field, what: what.to_string() }
}

/// One domain value and its message. Both directions take the value apart without `..`: a new field on either side
/// does not compile until it is carried.
pub(crate) trait Wire: Sized {
    type Msg;
    fn to_wire(&self) -> Self::Msg;
    fn from_wire(msg: Self::Msg) -> Result<Self, RecordError>;
}

/// A record of its own: a [`Wire`] value with a place in the envelope.
pub(crate) trait Sealed: Wire {
    const KIND: &'static str;
    fn wrap(msg: Self::Msg) -> w::record::Body;
    fn unwrap(body: w::record::Body) -> Option<Self::Msg>;
}

pub(crate) fn all<T: Wire>(values: &[T]) -> Vec<T::Msg> {
    values.iter().map(Wire::to_wire).collect()
}
pub(crate) fn all_back<T: Wire>(msgs: Vec<T::Msg>) -> Result<Vec<T>, RecordError> {
    msgs.into_iter().map(T::from_wire).collect()
}
pub(crate) fn need<T: Wire>(field: &'static str, msg: Option<T::Msg>) -> Result<T, RecordError> {
    T::from_wire(msg.ok_or_else(|| missing(field))?)
}
pub(crate) fn narrow<T: TryFrom<u32>>(field: &'static str, value: u32) -> Result<T, RecordError> {
    T::try_from(value).map_err(|_| bad(field, value))
}
pub(crate) fn hash(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], RecordError> {
    bytes.try_into().map_err(|_| bad(field, format_args!("{} bytes where 32 belong", bytes.len())))
}

/// Encodes `value` in its envelope.
pub(crate) fn encode<T: Sealed>(value: &T) -> Vec<u8> {
    w::Record { version: FORMAT, body: Some(T::wrap(value.to_wire())) }.encode_to_vec()
}

/// Decodes what [`encode`] wrote, and nothing else.
pub(crate) fn decode<T: Sealed>(bytes: &[u8]) -> Result<T, RecordError> {
    let record = w::Record::decode(bytes).map_err(|e| RecordError::Malformed(e.to_string()))?;
    // The version first: a newer record may well have fields that are unknown here.
    if record.version != FORMAT {
        return Err(RecordError::Version { found: record.version, known: FORMAT });
    }
    // prost skips unknown fields; encoding again shows whether there were any.
    if record.encode_to_vec() != bytes {
        return Err(RecordError::NotCanonical);
    }
    let kind = RecordError::Kind { expected: T::KIND };
    let value = record.body.and_then(T::unwrap).ok_or(kind).and_then(T::from_wire)?;
    // The value may have forms that the message has more than one of (an unsorted set): only ours is taken.
    if encode(&value) == bytes { Ok(value) } else { Err(RecordError::NotCanonical) }
}

/// Declares the public pair of functions and the place in the envelope of a record.
macro_rules! record {
    ($($(#[$doc:meta])* $encode:ident, $decode:ident, $ty:ty, $variant:ident, $kind:literal;)*) => {$(
        impl $crate::codec::Sealed for $ty {
            const KIND: &'static str = $kind;
            fn wrap(msg: Self::Msg) -> tidegate_proto::record::record::Body {
                tidegate_proto::record::record::Body::$variant(msg)
            }
            fn unwrap(body: tidegate_proto::record::record::Body) -> Option<Self::Msg> {
                match body {
                    tidegate_proto::record::record::Body::$variant(msg) => Some(msg),
                    _ => None,
                }
            }
        }
        #[doc = concat!("Encodes a ", $kind, " as a record of format 1.")]
        $(#[$doc])*
        #[must_use]
        pub fn $encode(value: &$ty) -> Vec<u8> {
            $crate::codec::encode(value)
        }
        #[doc = concat!("Decodes a ", $kind, ".")]
        ///
        /// # Errors
        /// When the bytes are damaged, of another version or kind, or hold anything this build would not have written.
        pub fn $decode(bytes: &[u8]) -> Result<$ty, $crate::codec::RecordError> {
            $crate::codec::decode(bytes)
        }
    )*};
}
pub(crate) use record;
