//! For the delivery bench: reads every event, and waits, asks for a retry or traps where the event says so.

use std::time::Duration;

use millrace_sdk::{Event, Failure, Reject};
use serde::Deserialize;

/// An event's value; the rest of it is read and not used.
#[derive(Deserialize)]
struct Order {
    #[serde(rename = "do", default)]
    deed: Deed,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    #[default]
    Nothing,
    Retry,
    Trap,
    /// A millisecond, as for an answer from somewhere.
    Wait,
}

fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let value = event.value().unwrap_or_default();
    let order: Order = serde_json::from_slice(value).map_err(|e| Reject::new("malformed", e))?;
    match order.deed {
        Deed::Nothing => {}
        Deed::Retry => return Err(Failure::retry("asked-for", "the event said so")),
        Deed::Trap => panic!("the event said so"),
        Deed::Wait => std::thread::sleep(Duration::from_millis(1)),
    }
    Ok(())
}

millrace_sdk::plugin!(handle: handle);
