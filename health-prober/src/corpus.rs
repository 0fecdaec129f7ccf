//! The fuzzers' corpus, run again.

use crate::fuzzing;

#[path = "../../fuzz/replay.rs"]
mod replay;

#[test]
fn the_corpus_is_taken_or_refused_as_its_names_say() {
    replay::replay("target_list", fuzzing::target_list);
    replay::replay("probe_status", fuzzing::probe_status);
}
