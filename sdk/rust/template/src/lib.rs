//! Counts events by their kind.

use millrace_sdk::{Event, Failure, Reject, metrics};
use serde_json::Value;

/// Counts events by their kind.
fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let value = event.value().unwrap_or_default();
    let value: Value = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    let kind = value["kind"].as_str().unwrap_or("unknown");
    metrics::counter_add("events_total", &[("kind", kind)], 1.0);
    Ok(())
}

millrace_sdk::plugin!(handle: handle);

#[cfg(test)]
mod tests {
    use millrace_sdk::testing;

    use super::*;

    #[test]
    fn an_event_is_counted_by_its_kind() {
        let event = Event::of_value(br#"{"kind":"created"}"#);
        let (outcome, effects) = testing::run(&event, handle);
        assert!(outcome.is_ok());
        assert_eq!(effects.metrics[0].name, "events_total");
        assert_eq!(effects.metrics[0].labels[0].1, "created");
    }

    #[test]
    fn what_is_not_json_is_rejected_and_counts_nothing() {
        let (outcome, effects) = testing::run(&Event::of_value(b"no JSON"), handle);
        assert_eq!(outcome.unwrap_err().code(), "malformed");
        assert!(effects.metrics.is_empty());
    }
}
