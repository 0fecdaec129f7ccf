//! Any bytes, to every decoder: used by the fuzz target and by the test that runs its corpus again.

use tidegate_record::*;

type Again = fn(&[u8]) -> Result<Vec<u8>, RecordError>;

/// Read, and written again. New ones stand at the end: the corpus names them by their place.
const DECODERS: [Again; 18] = [
    |data| decode_fleet(data).map(|value| encode_fleet(&value)),
    |data| decode_mask(data).map(|value| encode_mask(&value)),
    |data| decode_view(data).map(|value| encode_view(&value)),
    |data| decode_state(data).map(|value| encode_state(&value)),
    |data| decode_plan(data).map(|value| encode_plan(&value)),
    |data| decode_report(data).map(|value| encode_report(&value)),
    |data| decode_verdict(data).map(|value| encode_verdict(&value)),
    |data| decode_intents(data).map(|value| encode_intents(&value)),
    |data| decode_cycle_input(data).map(|value| encode_cycle_input(&value)),
    |data| decode_input_parts(data).map(|value| encode_input_parts(&value)),
    |data| decode_cycle_output(data).map(|value| encode_cycle_output(&value)),
    |data| decode_decision(data).map(|value| encode_decision(&value)),
    |data| decode_committed_plan(data).map(|value| encode_committed_plan(&value)),
    |data| decode_entry(data).map(|value| encode_entry(&value)),
    |data| decode_batch(data).map(|value| encode_batch(&value)),
    |data| decode_lease(data).map(|value| encode_lease(&value)),
    |data| decode_named_intents(data).map(|value| encode_named_intents(&value)),
    |data| decode_row(data).map(|value| encode_row(&value)),
];

/// The first byte names the decoder, the rest is the record. What is taken is written again to the same bytes. Whether it
/// was taken.
pub(crate) fn check(bytes: &[u8]) -> bool {
    let Some((which, data)) = bytes.split_first() else { return false };
    let again = DECODERS[usize::from(*which) % DECODERS.len()](data);
    if let Ok(again) = &again {
        assert_eq!(again, data, "a record has one form");
    }
    again.is_ok()
}

/// Which decoder a file of the corpus is for.
#[allow(dead_code)] // The tests ask; the fuzz target does not.
pub(crate) fn decoder_of(bytes: &[u8]) -> Option<usize> {
    bytes.first().map(|which| usize::from(*which) % DECODERS.len())
}

/// How many decoders there are.
#[allow(dead_code)]
pub(crate) const COUNT: usize = DECODERS.len();
