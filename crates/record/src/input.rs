//! A decision's input at rest: fleet and mask are values of their own, shared by all decisions that were made under them.
//!
//! Inputs were once kept whole, and are read so too: a decision on somebody's disk goes on replaying.

use crate::blob::{BlobError, BlobHash, assemble, chunk};
use crate::codec::{RecordError, Wire, hash, need, record};
use crate::fleet::{decode_fleet, encode_fleet};
use crate::observed::{decode_mask, encode_mask};
use crate::planned::decode_cycle_input;
use std::sync::Arc;
use tidegate_domain::{CycleInput, Mono, State, View};
use tidegate_proto::record as w;

/// A cycle's input with the names of its two large parts in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputParts {
    /// Root of the fleet.
    pub fleet: BlobHash,
    /// Root of the mask.
    pub mask: BlobHash,
    /// The kernel's memory.
    pub state: State,
    /// What was seen.
    pub view: View,
    /// When.
    pub now: Mono,
}

record! {
    encode_input_parts, decode_input_parts, InputParts, InputParts, "decision's input";
}

impl Wire for InputParts {
    type Msg = w::InputParts;
    fn to_wire(&self) -> w::InputParts {
        let Self { fleet, mask, state, view, now } = self;
        w::InputParts {
            fleet: fleet.0.to_vec(),
            mask: mask.0.to_vec(),
            state: Some(state.to_wire()),
            view: Some(view.to_wire()),
            now: now.0,
        }
    }
    fn from_wire(w::InputParts { fleet, mask, state, view, now }: w::InputParts) -> Result<Self, RecordError> {
        Ok(Self {
            fleet: BlobHash(hash("input.fleet", &fleet)?),
            mask: BlobHash(hash("input.mask", &mask)?),
            state: need("input.state", state)?,
            view: need("input.view", view)?,
            now: Mono(now),
        })
    }
}

/// An input as blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkedInput {
    /// Names the whole input.
    pub root: BlobHash,
    /// Names its fleet, which may be named by others too.
    pub fleet: BlobHash,
    /// What to store, parts before what names them.
    pub blobs: Vec<(BlobHash, Vec<u8>)>,
}

/// Cuts an input into blobs, fleet and mask apart.
///
/// # Errors
/// When a part is larger than blobs may hold.
pub fn chunk_input(input: &CycleInput) -> Result<ChunkedInput, BlobError> {
    let CycleInput { fleet, mask, state, view, now } = input;
    let (fleet, mask) = (chunk(&encode_fleet(fleet))?, chunk(&encode_mask(mask))?);
    let (state, view) = (state.clone(), view.clone());
    let parts = InputParts { fleet: fleet.root, mask: mask.root, state, view, now: *now };
    let own = chunk(&encode_input_parts(&parts))?;
    let blobs = fleet.blobs.into_iter().chain(mask.blobs).chain(own.blobs).collect();
    Ok(ChunkedInput { root: own.root, fleet: fleet.root, blobs })
}

/// Why an input could not be read. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// It is not whole in the store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It is there, but this build does not read it.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Puts the input named `root` together again, checking every hash on the way.
///
/// # Errors
/// When a blob of it is missing or damaged, or this build does not read it.
pub fn read_input(root: BlobHash, get: impl Fn(BlobHash) -> Option<Vec<u8>>) -> Result<CycleInput, InputError> {
    let bytes = assemble(root, &get)?;
    let InputParts { fleet, mask, state, view, now } = match decode_input_parts(&bytes) {
        // Of the time when inputs were kept whole.
        Err(RecordError::Kind { .. }) => return Ok(decode_cycle_input(&bytes)?),
        parts => parts?,
    };
    let fleet = Arc::new(decode_fleet(&assemble(fleet, &get)?)?);
    let mask = Arc::new(decode_mask(&assemble(mask, &get)?)?);
    Ok(CycleInput { fleet, mask, state, view, now })
}
