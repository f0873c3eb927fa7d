//! Counts the events of each key in `millrace:plugin/state`, and outputs the running count.

use millrace_sdk::{Event, Failure, Output, Reject, state};

/// The entry of each key.
const COUNT: &str = "count";

/// The value `fail` asks for a retry after the count was written, which must then not show.
fn handle(event: &Event<'_>) -> Result<Output, Failure> {
    let before = state::get(COUNT).unwrap_or_default();
    let before: u64 = String::from_utf8_lossy(&before).parse().unwrap_or(0);
    let count = (before + 1).to_string();
    state::set(COUNT, count.as_bytes(), None);
    match event.value() {
        Some(b"fail") => return Err(Failure::retry("asked-for", "the event said so")),
        Some(b"reject") => return Err(Reject::new("asked-for", "the event said so").into()),
        Some(b"delete") => state::delete(COUNT),
        _ => {}
    }
    Ok(Output::new("counts", count).with_key(event.key().unwrap_or_default()))
}

millrace_sdk::plugin!(handle: handle);
