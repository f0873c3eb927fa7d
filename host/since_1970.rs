//! The wall clock as Kafka and JSON have it: milliseconds since 1970. Times are for people and for the timestamps of
//! records; what waits measures with a clock that never goes back.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    ms_of(SystemTime::now())
}

/// The same as Kafka has it in a record.
pub(crate) fn now_timestamp_ms() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

/// This time, in milliseconds since 1970; 0 for one before.
pub(crate) fn ms_of(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
