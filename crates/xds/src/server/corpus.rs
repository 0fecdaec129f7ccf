//! The fuzzers' corpus, run again.

use super::fuzzing;

#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn the_corpus_is_taken_or_refused_as_its_names_say() {
    replay::replay("xds_inbound", fuzzing::inbound);
    replay::replay("xds_lrs", fuzzing::lrs);
}
