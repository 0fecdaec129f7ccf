//! The fuzzer's corpus, run again.

#[path = "corpus/mod.rs"]
mod check;
#[path = "../../fuzz/replay.rs"]
mod replay;

#[test]
fn the_fuzzers_corpus_is_taken_or_refused_as_its_names_say() {
    replay::replay("config", check::check);
}
