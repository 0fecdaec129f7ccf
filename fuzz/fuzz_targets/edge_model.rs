//! What the control plane sends an edge, and the last known good state on disk.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    edge_proxy::fuzzing::model(data);
});
