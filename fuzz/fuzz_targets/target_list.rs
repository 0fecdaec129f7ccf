//! A list of targets
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
     from the wire, as it is kept, as JSON.:health_prober::fuzzing::target_list(data);
});
