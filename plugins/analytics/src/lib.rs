//! Counts events by type: as a metric, and in event-time windows that are emitted on `analytics.counts`.
//!
//! Windows are counted in tallies, which the host settles with the offsets; each tick takes what has
//! settled and emits it. Summed over distinct emissions the counts are exact.

use std::fmt::Display;

use millrace_sdk::{Event, Failure, Output, Reject, Tick, metrics, tally};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

const OUTPUT_TOPIC: &str = "analytics.counts";
const WINDOW_MS: i64 = 60_000;

#[derive(Deserialize)]
#[expect(
    dead_code,
    reason = "read so that an event without these fields is rejected"
)]
struct UserEvent<'a> {
    id: &'a str,
    event_type: &'a str,
    user_id: &'a str,
    timestamp: i64,
    metadata: Option<IgnoredAny>,
}

#[derive(Serialize)]
struct Count<'a> {
    window_start_ms: i64,
    window_end_ms: i64,
    event_type: &'a str,
    count: i64,
}

/// Counts one event.
pub fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let value = event.value().ok_or_else(|| malformed("no value"))?;
    let parsed: UserEvent<'_> = serde_json::from_slice(value).map_err(malformed)?;
    let window_start_ms = parsed.timestamp - parsed.timestamp.rem_euclid(WINDOW_MS);
    tally::add_in_window(window_start_ms, parsed.event_type, 1);
    metrics::counter_add("events_total", &[("event_type", parsed.event_type)], 1.0);
    Ok(())
}

/// Emits what has settled since the last tick.
pub fn on_tick(tick: &Tick<'_>) -> Result<Vec<Output>, Failure> {
    tick.take("")
        .into_iter()
        .map(|(name, count)| emit(&name, count))
        .collect()
}

fn emit(name: &str, count: i64) -> Result<Output, Failure> {
    let (window, event_type) = name.split_once('/').ok_or_else(|| malformed(name))?;
    let window_start_ms = window.parse()?;
    let window_end_ms = window_start_ms + WINDOW_MS;
    let value = serde_json::to_vec(&Count {
        window_start_ms,
        window_end_ms,
        event_type,
        count,
    })?;
    Ok(Output::new(OUTPUT_TOPIC, value).with_key(event_type))
}

fn malformed(why: impl Display) -> Reject {
    Reject::new("malformed", why)
}

millrace_sdk::plugin!(handle: handle, on_tick: on_tick);
