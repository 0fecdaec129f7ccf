//! A backend's answer to a probe.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    health_prober::fuzzing::probe_status(data);
});
