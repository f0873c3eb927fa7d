//! Refuses every event with what the host answered meanwhile: clocks, random numbers and state.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use millrace_sdk::{Event, Failure, Reject, log, state};

const SEEN: &str = "seen";

fn handle(event: &Event<'_>) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let began = Instant::now();
    let seen = state::get(SEEN).unwrap_or_default();
    // The order of a hash table is as random as the host.
    let order: Vec<u32> = (0..10).collect::<HashSet<u32>>().into_iter().collect();
    log::info(&format!(
        "{} was refused",
        String::from_utf8_lossy(event.key().unwrap_or_default())
    ));
    let message = format!(
        "at {} ns, in {} ns, after {:?}, in the order {order:?}",
        now.unwrap_or_default().as_nanos(),
        began.elapsed().as_nanos(),
        String::from_utf8_lossy(&seen),
    );
    Err(Reject::new("asked", message).into())
}

millrace_sdk::plugin!(handle: handle);
