//! The promises, as plain data: offsets, order, retries, repeated ids, the ledger, dead letters.
//!
//! Pure: nothing here does I/O, reads a clock or knows a library. Time and randomness are arguments, so
//! that every rule can be tested without waiting.

pub mod behind;
pub mod breaker;
pub mod commit_map;
pub mod correlation;
pub mod dead_letter;
pub mod dedup;
pub(crate) mod json_pointer;
pub mod lanes;
pub mod ledger;
pub mod offset_mark;
pub mod offsets;
pub mod pace;
pub mod park;
pub mod pauses;
pub mod progress;
pub mod restarts;
pub mod retry;
pub mod retry_copy;
pub mod rise;
pub mod trace_context;
pub mod trial;
