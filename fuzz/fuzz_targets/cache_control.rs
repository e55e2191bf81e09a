//! Kept answers: freshness only runs out, `no-store` is never served.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::cache_control::holds(input));
