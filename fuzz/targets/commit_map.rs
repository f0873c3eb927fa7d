//! The metadata of a commit, which any tool may have written.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace::fuzzing::commit_map(data));
