//! Write Millrace plugins in Rust.
//!
//! A plugin is a function of one event. The host calls it in batches; this crate unpacks them, keeps the
//! effects of each event apart, and hands them over in one call a batch.
//!
//! ```
//! use millrace_sdk::{Event, Failure, Reject, tally};
//!
//! fn handle(event: &Event<'_>) -> Result<(), Failure> {
//!     // An ordinary error means: try again later. A rejection means: to the dead-letter topic.
//!     let value = event.value().ok_or(Reject::new("tombstone", "this topic has no deletions"))?;
//!     let text = std::str::from_utf8(value).map_err(|e| Reject::new("not-utf8", e))?;
//!     tally::add(format_args!("words/{}", text.len()), 1);
//!     Ok(())
//! }
//!
//! millrace_sdk::plugin!(handle: handle);
//! # fn main() {}
//! ```
//!
//! The same function runs natively in `cargo test`: see [`testing`].

pub mod asked;
pub mod effects;
pub mod event;
pub mod outcome;
pub mod packed;
pub mod testing;
pub mod timer;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use asked::{config, log, state};
pub use effects::{journal, metrics, tally};
pub use event::{Event, Headers};
pub use outcome::{Failure, Output, Reject, Success};
pub use timer::{Reason, Tick};

/// Turns functions into a plugin component.
///
/// `handle` is required: `fn(&Event<'_>) -> Result<T, Failure>` where `T` is `()` or [`Success`].
/// `on_tick` is optional: `fn(&Tick<'_>) -> Result<Vec<Output>, Failure>`.
/// `init` is optional: `fn() -> Result<(), String>`; an error refuses the plugin at load.
#[macro_export]
macro_rules! plugin {
    (handle: $handle:path $(, on_tick: $on_tick:path)? $(, init: $init:path)? $(,)?) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Plugin;
            impl $crate::guest::batch::Guest for Plugin {
                fn handle_batch(
                    events: $crate::guest::batch::PackedEvents,
                ) -> $crate::guest::batch::PackedResults {
                    $crate::guest::run_batch(&events, |event| $handle(event))
                }
            }
            $crate::guest::bindings_batch::export_batch!(
                Plugin with_types_in $crate::guest::bindings_batch
            );
            $(
                impl $crate::guest::timer::Guest for Plugin {
                    fn on_tick(
                        topic: ::std::string::String,
                        partition: i32,
                        now_ms: i64,
                        reason: $crate::guest::timer::Reason,
                    ) -> Result<
                        ::std::vec::Vec<$crate::guest::timer::Output>,
                        $crate::guest::timer::Failure,
                    > {
                        $crate::guest::run_tick(&topic, partition, now_ms, reason, |tick| {
                            $on_tick(tick)
                        })
                    }
                }
                $crate::guest::bindings_timer::export_timer!(
                    Plugin with_types_in $crate::guest::bindings_timer
                );
            )?
            $(
                impl $crate::guest::lifecycle::Guest for Plugin {
                    fn init() -> Result<(), ::std::string::String> {
                        $init()
                    }
                }
                $crate::guest::bindings_lifecycle::export_lifecycle!(
                    Plugin with_types_in $crate::guest::bindings_lifecycle
                );
            )?
        };
    };
}
