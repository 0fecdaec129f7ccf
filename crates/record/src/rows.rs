//! Rows of the store: what stands behind a key, what one transaction changed, a lease.

use crate::codec::{RecordError, Wire, record};
use tidegate_domain::Millis;
use tidegate_proto::record as w;

/// What stands behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The value.
    pub value: Vec<u8>,
    /// Revision that created the key.
    pub created: u64,
    /// Revision that last wrote it.
    pub modified: u64,
    /// Writes since it was created, from 1.
    pub version: u64,
    /// The lease it hangs on.
    pub lease: Option<u64>,
}

/// What one revision changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The revision.
    pub revision: u64,
    /// Keys in the order of the transaction; none: deleted.
    pub changes: Vec<(String, Option<Row>)>,
}

/// A lease at rest. Waits are stored whole and start again in full: no deadline is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRow {
    /// Its number, never given twice.
    pub id: u64,
    /// How long it lives after every sign of life.
    pub ttl: Millis,
}

record! {
    encode_row, decode_row, Row, Row, "store row";
    encode_batch, decode_batch, Batch, Batch, "batch of changes";
    encode_lease, decode_lease, LeaseRow, Lease, "lease";
}

impl Wire for Row {
    type Msg = w::Row;
    fn to_wire(&self) -> w::Row {
        let Self { value, created, modified, version, lease } = self;
        w::Row { value: value.clone(), created: *created, modified: *modified, version: *version, lease: *lease }
    }
    fn from_wire(w::Row { value, created, modified, version, lease }: w::Row) -> Result<Self, RecordError> {
        Ok(Self { value, created, modified, version, lease })
    }
}

impl Wire for Batch {
    type Msg = w::Batch;
    fn to_wire(&self) -> w::Batch {
        let Self { revision, changes } = self;
        let change = |(key, row): &(String, Option<Row>)| w::RowChange {
            key: key.clone(),
            row: row.as_ref().map(Wire::to_wire),
        };
        w::Batch { revision: *revision, changes: changes.iter().map(change).collect() }
    }
    fn from_wire(w::Batch { revision, changes }: w::Batch) -> Result<Self, RecordError> {
        let change = |w::RowChange { key, row }| Ok((key, row.map(Row::from_wire).transpose()?));
        Ok(Self { revision, changes: changes.into_iter().map(change).collect::<Result<_, RecordError>>()? })
    }
}

impl Wire for LeaseRow {
    type Msg = w::Lease;
    fn to_wire(&self) -> w::Lease {
        let Self { id, ttl } = self;
        w::Lease { id: *id, ttl_ms: ttl.0 }
    }
    fn from_wire(w::Lease { id, ttl_ms }: w::Lease) -> Result<Self, RecordError> {
        Ok(Self { id, ttl: Millis(ttl_ms) })
    }
}
