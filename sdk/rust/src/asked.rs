//! What a handler asks the host for while it runs: state, settings, log lines. In a component the host answers;
//! natively, [`crate::testing`] does, so that the same function runs in `cargo test`.

#[cfg(target_family = "wasm")]
use crate::guest::host_answers as answers;
#[cfg(not(target_family = "wasm"))]
use crate::testing::answers;

/// Key-value state of the current event's key, in its topic-partition. Needs the grant `state`.
///
/// What is written counts when the event succeeds, and settles together with its offset: exactly once on this host.
/// One key is handled in order, so what is read is never stale.
///
/// ```
/// use millrace_sdk::{Event, Failure, Output, state, testing};
///
/// /// How many events of this key there were.
/// fn handle(event: &Event<'_>) -> Result<Output, Failure> {
///     let seen = state::get("seen").unwrap_or_default();
///     let seen: u64 = std::str::from_utf8(&seen)?.parse().unwrap_or(0) + 1;
///     state::set("seen", seen.to_string().as_bytes(), None);
///     Ok(Output::new("seen", seen.to_string()).with_key(event.key().unwrap_or_default()))
/// }
///
/// let event = Event::of_value(b"x").with_key(Some(b"a"));
/// testing::run(&event, handle).0.unwrap();
/// testing::run(&event, handle).0.unwrap();
/// assert_eq!(testing::state_of(Some(b"a"), "seen").unwrap(), b"2");
/// ```
pub mod state {
    use super::answers;

    /// The value, if there is one and its time has not run out.
    #[must_use]
    pub fn get(name: &str) -> Option<Vec<u8>> {
        answers::state_get(name)
    }

    /// Sets a value. `ttl_ms` is how long it stays, in milliseconds from now; none keeps it until it is deleted.
    /// A write that has no room in the plugin's quota fails the event.
    pub fn set(name: &str, value: &[u8], ttl_ms: Option<u64>) {
        answers::state_set(name, value, ttl_ms);
    }

    /// Deletes a value; nothing happens where there is none.
    pub fn delete(name: &str) {
        answers::state_delete(name);
    }
}

/// Log lines, which leave at once, whatever becomes of the event. Needs the grant `logging`.
///
/// The host keeps `limits.log_lines` lines a second (100) and `limits.log_line` bytes of each (1 KiB).
///
/// ```
/// use millrace_sdk::{log, testing};
///
/// log::warn("the price list is a day old");
/// let lines = testing::take_log();
/// assert_eq!(lines, [(testing::Level::Warn, "the price list is a day old".to_owned())]);
/// ```
pub mod log {
    use super::answers::{self, Level};

    /// For whoever looks into a failure.
    pub fn debug(message: &str) {
        answers::log(Level::Debug, message);
    }

    /// For whoever runs the plugin.
    pub fn info(message: &str) {
        answers::log(Level::Info, message);
    }

    /// Something is off, and the plugin goes on.
    pub fn warn(message: &str) {
        answers::log(Level::Warn, message);
    }

    /// Someone must act.
    pub fn error(message: &str) {
        answers::log(Level::Error, message);
    }
}

/// The plugin's own settings: its `config` section. Needs the grant `config`.
///
/// ```
/// use millrace_sdk::{config, testing};
///
/// testing::configure(&[("currency", "EUR")]);
/// assert_eq!(config::get("currency").as_deref(), Some("EUR"));
/// assert_eq!(config::get("country"), None);
/// ```
pub mod config {
    use super::answers;

    /// The value of a setting as text; none when it is not set.
    #[must_use]
    pub fn get(key: &str) -> Option<String> {
        answers::config_get(key)
    }
}
