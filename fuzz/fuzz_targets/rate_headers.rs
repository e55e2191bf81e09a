//! Rate-limit headers: read without a fault, and the wait is one that can be waited.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::rate_headers::holds(input));
