//! Answers of an upstream: one answer reaches the client, whole or visibly broken, or an error of ours.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::response_head::holds(input));
