//! JSON bodies: rewritten as the whole document would be, wherever they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::json::holds(input));
