//! The content of a datagram, and members, in our byte form.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_gossip::fuzzing::codec(data));
