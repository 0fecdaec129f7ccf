//! A load report.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_xds::server::fuzzing::lrs(data);
});
