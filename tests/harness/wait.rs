//! Waiting for a condition, never for a time: a test is as fast as what it waits for, and when it gives
//! up it says what was missing.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Between two looks. Short against anything worth waiting for, long against the cost of a look.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within `timeout`, with `what` in the message.
#[track_caller]
pub(crate) fn eventually(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    eventually_some(what, timeout, || {
        if condition() {
            Ok(())
        } else {
            Err("it did not hold")
        }
    });
}

/// Waits until `look` succeeds, and returns what it found. Its error says what was there instead.
///
/// # Panics
/// When it does not within `timeout`, with `what` and the last error in the message.
#[track_caller]
pub(crate) fn eventually_some<T, E: Display>(
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if began.elapsed() >= timeout => {
                panic!("waited {timeout:?} for: {what}; at the last look: {last}")
            }
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}
