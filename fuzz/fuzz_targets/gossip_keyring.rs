//! A keyring file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_gossip::fuzzing::keyring(data);
});
