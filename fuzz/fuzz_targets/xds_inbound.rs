//! A subscriber's half of a stream
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
     gRPC framing, requests, and the machine that answers them.:tidegate_xds::server::fuzzing::inbound(data);
});
