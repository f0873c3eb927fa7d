//! The data of a record that was written by a registered schema, in each format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace::fuzzing::schemas(data));
