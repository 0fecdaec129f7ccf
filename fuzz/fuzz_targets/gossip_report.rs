//! A vantage report.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_gossip::fuzzing::report(data);
});
