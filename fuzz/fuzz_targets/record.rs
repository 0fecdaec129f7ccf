//! Every decoder of records. The check is the one that the room's own tests run over the corpus.
#![no_main]

#[path = "../../crates/record/tests/corpus/mod.rs"]
mod corpus;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    corpus::check(data);
});
