//! Keeps what its events say: sums that no tick takes, state, and series of a metric. Or does one thing of
//! each kind and then succeeds or fails.

use millrace_sdk::{Event, Failure, Output, Reject, Success, journal, metrics, state, tally};
use serde::Deserialize;

/// One event's value.
#[derive(Deserialize)]
struct Order {
    /// The name of a sum that grows by one.
    tally: Option<String>,
    /// State of so many bytes under the event's key; none bytes deletes it.
    keep: Option<usize>,
    /// How long the state lives.
    #[serde(rename = "ttl-ms")]
    ttl_ms: Option<u64>,
    /// The label of a counter.
    label: Option<String>,
    /// One effect of each kind and one output, and then this end.
    everything: Option<End>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum End {
    Success,
    Filter,
    Retry,
    Reject,
    Overload,
    Trap,
}

fn handle(event: &Event<'_>) -> Result<Success, Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    if let Some(name) = &order.tally {
        tally::add(name, 1);
    }
    match order.keep {
        Some(0) => state::delete("kept"),
        Some(bytes) => state::set("kept", &vec![b'k'; bytes], order.ttl_ms),
        None => {}
    }
    if let Some(label) = &order.label {
        metrics::counter_add("kept_total", &[("label", label)], 1.0);
    }
    match order.everything {
        Some(end) => everything(event, end),
        None => Ok(().into()),
    }
}

fn everything(event: &Event<'_>, end: End) -> Result<Success, Failure> {
    let offset = event.offset().to_string();
    let before = state::get("last").unwrap_or_default();
    state::set("last", offset.as_bytes(), None);
    tally::add("events", 1);
    tally::max("last-offset", event.offset());
    metrics::counter_add("seen_total", &[], 1.0);
    metrics::histogram_observe("offset", &[], event.offset() as f64);
    journal::append(format!("{offset}:{}", String::from_utf8_lossy(&before)));
    let problem = "the event said so";
    match end {
        End::Success => Ok(Output::new("outputs", offset).into()),
        End::Filter => Ok(Success::Filtered),
        End::Retry => Err(Failure::retry("asked-for", problem)),
        End::Reject => Err(Reject::new("asked-for", problem).into()),
        End::Overload => Err(Failure::overloaded("asked-for", problem)),
        End::Trap => panic!("{problem}"),
    }
}

millrace_sdk::plugin!(handle: handle);
