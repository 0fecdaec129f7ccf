//! The fuzzers' corpus, run again.

use crate::fuzzing;

#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn the_corpus_is_taken_or_refused_as_its_names_say() {
    replay::replay("gossip_datagram", fuzzing::datagram);
    replay::replay("gossip_report", fuzzing::report);
    replay::replay("gossip_codec", fuzzing::codec);
    replay::replay("gossip_keyring", fuzzing::keyring);
    replay::replay("gossip_join", fuzzing::join);
}
