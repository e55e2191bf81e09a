//! Streams of requests: what leaves can be read in one way, is one that came, and is answered.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::request_head::holds(input));
