//! A join token, a request to be let in, an answer to one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_gossip::fuzzing::join(data);
});
