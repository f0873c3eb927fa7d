//! Runs plugin functions natively, without a host, and shows their effects.
//!
//! ```
//! use millrace_sdk::{Event, Failure, tally, testing};
//!
//! fn handle(_: &Event<'_>) -> Result<(), Failure> {
//!     tally::add("seen", 1);
//!     Ok(())
//! }
//!
//! let (outcome, effects) = testing::run(&Event::of_value(b"x"), handle);
//! assert!(outcome.is_ok());
//! assert_eq!(effects.tallies[0].name, "seen");
//! ```

#[cfg(not(target_family = "wasm"))]
pub(crate) mod answers;

use std::cell::RefCell;

#[cfg(not(target_family = "wasm"))]
pub use self::answers::{Level, configure, state_of, take_log};
use crate::effects;
pub use crate::effects::{Effects, MetricChange, MetricKind, Operation, TallyChange};
use crate::event::Event;
use crate::outcome::{Failure, Output, Success};
use crate::timer::{Reason, Tick};

/// Runs one event. The effects are those the host would apply: none when the outcome is a failure.
///
/// # Errors
/// Returns the handler's own failure.
pub fn run<S: Into<Success>>(
    event: &Event<'_>,
    handle: impl FnOnce(&Event<'_>) -> Result<S, Failure>,
) -> (Result<Success, Failure>, Effects) {
    #[cfg(not(target_family = "wasm"))]
    answers::begin(event);
    let outcome = run_buffered(event, handle);
    #[cfg(not(target_family = "wasm"))]
    answers::end(outcome.is_ok());
    (outcome, effects::take())
}

/// Runs one event and leaves its effects in the buffer, merged with those before, as in a batch. Its state belongs to
/// the event of the last [`run`].
///
/// # Errors
/// Returns the handler's own failure.
#[inline]
pub fn run_buffered<S: Into<Success>>(
    event: &Event<'_>,
    handle: impl FnOnce(&Event<'_>) -> Result<S, Failure>,
) -> Result<Success, Failure> {
    effects::begin(0, event.partition as u64);
    let outcome = handle(event).map(Into::into);
    match outcome {
        Ok(_) => effects::keep(),
        Err(_) => effects::undo(),
    }
    outcome
}

/// What [`run_buffered`] has left since the last call.
#[must_use]
pub fn take_effects() -> Effects {
    effects::take()
}

/// Named sums.
pub type Sums = Vec<(String, i64)>;

thread_local! {
    static SUMS: RefCell<Sums> = const { RefCell::new(Vec::new()) };
}

/// Runs `on_tick` over the given settled sums and returns its outputs and the sums it left.
///
/// # Errors
/// Returns the plugin's own failure.
pub fn tick(
    sums: Sums,
    reason: Reason,
    on_tick: impl FnOnce(&Tick<'_>) -> Result<Vec<Output>, Failure>,
) -> Result<(Vec<Output>, Sums), Failure> {
    SUMS.set(sums);
    let take = |prefix: &str| {
        SUMS.with_borrow_mut(|sums| {
            let (taken, left) = std::mem::take(sums)
                .into_iter()
                .partition(|(name, _)| name.starts_with(prefix));
            *sums = left;
            taken
        })
    };
    let outputs = on_tick(&Tick {
        topic: "test",
        partition: 0,
        now_ms: 0,
        reason,
        take,
    })?;
    Ok((outputs, SUMS.take()))
}
