//! Contents of datagrams and members, in their byte forms.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_gossip::fuzzing::codec(data);
});
