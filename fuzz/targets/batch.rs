//! The headers of a record in the packed form, and what a batch makes of its events.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millrace::fuzzing::batch(data));
