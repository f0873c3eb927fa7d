//! Writes one line for each event to the journal: where it stood, and what it said.

use millrace_sdk::{Event, Failure, journal};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<std::borrow::Cow<'a, str>>,
    /// As text; bytes that are not UTF-8 are replaced, because the journal is for people.
    value: Option<std::borrow::Cow<'a, str>>,
}

/// Audits one event.
pub fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let line = serde_json::to_vec(&Line {
        topic: event.topic(),
        partition: event.partition(),
        offset: event.offset(),
        timestamp_ms: event.timestamp_ms(),
        key: event.key().map(String::from_utf8_lossy),
        value: event.value().map(String::from_utf8_lossy),
    })?;
    journal::append(line);
    Ok(())
}

millrace_sdk::plugin!(handle: handle);
