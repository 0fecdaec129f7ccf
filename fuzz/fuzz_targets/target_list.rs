//! A list of targets: from the wire, as it is kept, as JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    health_prober::fuzzing::target_list(data);
});
