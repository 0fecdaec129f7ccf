//! What an edge says to the control plane: gRPC framing, requests, and the machine that answers them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_xds::server::fuzzing::inbound(data);
});
