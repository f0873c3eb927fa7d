//! The headers of dead letters and of retry copies, which any program may have written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace::fuzzing::headers(data));
