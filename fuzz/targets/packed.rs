//! What a plugin returns in the packed form: outcomes, outputs and headers, from words and bytes of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace::fuzzing::packed(data));
