//! A datagram as it comes from the network, and the same bytes as the content of a sealed one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_gossip::fuzzing::datagram(data);
});
