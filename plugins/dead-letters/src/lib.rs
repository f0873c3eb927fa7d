//! Reads a dead-letter topic and journals where each dead letter came from, and why.

use std::borrow::Cow;

use millrace_sdk::{Event, Failure, journal};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    topic: Option<Cow<'a, str>>,
    partition: Option<Cow<'a, str>>,
    offset: Option<Cow<'a, str>>,
    group: Option<Cow<'a, str>>,
    plugin: Option<Cow<'a, str>>,
    cause: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
    attempts: Option<Cow<'a, str>>,
}

/// Journals one dead letter. A record without the headers is journalled too, with nulls.
pub fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let header = |name: &str| event.header(name).map(String::from_utf8_lossy);
    let line = serde_json::to_vec(&Line {
        topic: header("millrace.dlq.origin.topic"),
        partition: header("millrace.dlq.origin.partition"),
        offset: header("millrace.dlq.origin.offset"),
        group: header("millrace.dlq.group"),
        plugin: header("millrace.dlq.plugin"),
        cause: header("millrace.dlq.cause"),
        code: header("millrace.dlq.code"),
        message: header("millrace.dlq.message"),
        attempts: header("millrace.dlq.attempts"),
    })?;
    journal::append(line);
    Ok(())
}

millrace_sdk::plugin!(handle: handle);
