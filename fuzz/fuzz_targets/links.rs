//! `Link` and `Location`: URLs of the API change, no other byte does.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tollgate_fuzz::links::holds(input));
