//! Records: versioned protobuf of every value that is persisted or replayed, both ways; the journal with its hash
//! chain; replay.
//!
//! Owns the bytes. Refuses to decide anything, to touch a disk, and to guess: bytes that this build would not have
//! written itself are an error. Indexes are kept only beside the fleet revision that gives them meaning; the journal
//! speaks in names.

#![deny(clippy::float_arithmetic, clippy::lossy_float_literal)]

mod blob;
mod codec;
mod explained;
mod fleet;
mod input;
mod journal;
mod named;
mod observed;
mod planned;
mod replay;
mod rows;
mod scalars;
mod sentence;

pub use blob::{BLOB_MAX, BlobError, BlobHash, Chunked, VALUE_MAX, assemble, chunk, parts_of, sha256};
pub use codec::{FORMAT, RecordError};
pub use explained::{decode_report, encode_report};
pub use fleet::{decode_fleet, encode_fleet};
pub use input::{
    ChunkedInput, InputError, InputParts, chunk_input, decode_input_parts, encode_input_parts, read_input,
};
pub use journal::{
    BrokenAt, CommittedPlan, Decision, Entry, EntryBody, Event, EventKind, Fault, Link, MoveSummary, UnderWay,
    decode_committed_plan, decode_decision, decode_entry, encode_committed_plan, encode_decision, encode_entry,
    verify_chain, verify_chain_from,
};
pub use named::{
    NamedApiWord, NamedDrain, NamedIntents, NamedRestore, Place, decode_named_intents, encode_named_intents,
};
pub use observed::{decode_intents, decode_mask, decode_view, encode_intents, encode_mask, encode_view};
pub use planned::{
    decode_cycle_input, decode_cycle_output, decode_plan, decode_state, decode_verdict, encode_cycle_input,
    encode_cycle_output, encode_plan, encode_state, encode_verdict,
};
pub use replay::{ReplayError, ReplayOutcome, output_hash, replay};
pub use rows::{Batch, LeaseRow, Row, decode_batch, decode_lease, decode_row, encode_batch, encode_lease, encode_row};
