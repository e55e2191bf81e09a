//! Configuration files: refused with place and without credential, or printed and read back the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::config::holds(input));
