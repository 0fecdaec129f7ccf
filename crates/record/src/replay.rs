//! Running a decision again: the same input through the same code must give the same bytes.

use crate::blob::{BlobError, BlobHash, sha256};
use crate::codec::RecordError;
use crate::input::{InputError, read_input};
use crate::journal::Decision;
use crate::planned::encode_cycle_output;
use tidegate_domain::{CycleInput, CycleOutput};

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayOutcome {
    /// Whether the bytes are the same.
    pub same: bool,
    /// SHA-256 of the encoded output, on record.
    pub expected_hash: [u8; 32],
    /// SHA-256 of the encoded output, now.
    pub got_hash: [u8; 32],
    /// The kernel that decided, where it is not the one that ran now: then other bytes prove nothing.
    pub other_kernel: Option<String>,
    /// What the cycle says now.
    pub output: CycleOutput,
}

/// Why a decision could not be run again. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Its input is not whole in the store.
    #[error("the input of decision {id} cannot be read: {error}")]
    Input {
        /// Decision.
        id: u64,
        /// Why.
        error: BlobError,
    },
    /// Its input is there, but this build does not read it.
    #[error("the input of decision {id} cannot be decoded: {error}")]
    Decode {
        /// Decision.
        id: u64,
        /// Why.
        error: RecordError,
    },
    /// The input belongs to another fleet revision or another policy than the decision names.
    #[error("decision {id} names another {what} than its input holds")]
    Mismatch {
        /// Decision.
        id: u64,
        /// `fleet revision` or `policy`.
        what: &'static str,
    },
}

/// The hash by which a decision remembers its output.
#[must_use]
pub fn output_hash(output: &CycleOutput) -> [u8; 32] {
    sha256(&encode_cycle_output(output))
}

/// Runs `decision` again by `run` (the cycle of the kernel of this `version`) on the recorded input.
///
/// # Errors
/// When the input cannot be had: a replay on anything else would prove nothing.
pub fn replay(
    decision: &Decision,
    blobs: impl Fn(BlobHash) -> Option<Vec<u8>>,
    version: &str,
    run: impl Fn(&CycleInput) -> CycleOutput,
) -> Result<ReplayOutcome, ReplayError> {
    let id = decision.id;
    let input = read_input(decision.input, blobs).map_err(|error| match error {
        InputError::Blob(error) => ReplayError::Input { id, error },
        InputError::Record(error) => ReplayError::Decode { id, error },
    })?;
    if input.fleet.revision != decision.fleet {
        return Err(ReplayError::Mismatch { id, what: "fleet revision" });
    }
    if input.mask.bundle != decision.policy {
        return Err(ReplayError::Mismatch { id, what: "policy" });
    }
    let output = run(&input);
    let got_hash = output_hash(&output);
    let expected_hash = decision.output_hash;
    let other_kernel = (decision.kernel_version != version).then(|| decision.kernel_version.clone());
    Ok(ReplayOutcome { same: got_hash == expected_hash, expected_hash, got_hash, other_kernel, output })
}
