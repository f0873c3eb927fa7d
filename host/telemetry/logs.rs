//! Logs on standard error: lines for a person on a terminal, JSON for everyone else.

use std::io::{IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Human lines on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Human lines.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `level` is a filter as `tracing` writes it (`info`, `warn,plugin=debug`). A second
/// call changes nothing.
///
/// # Errors
/// Says why the filter cannot be read.
pub fn start(level: &str, format: LogFormat) -> Result<(), String> {
    start_into(level, format, std::io::stderr)
}

/// [`start`] with a way of its own to standard error, for a command that draws on the terminal. Each
/// line is one write to a new writer.
///
/// # Errors
/// As [`start`].
pub fn start_into<W: Write + 'static>(
    level: &str,
    format: LogFormat,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Result<(), String> {
    let filter = EnvFilter::try_new(level)
        .map_err(|error| format!("{level:?} is not a log filter ({error}); try `info`"))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would print to standard error, and panic where that cannot be written, as on a full disk.
        .log_internal_errors(false);
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // The only failure is that logging has been started before.
    let _already = if json {
        logs.json().flatten_event(true).try_init()
    } else {
        logs.with_target(false).try_init()
    };
    Ok(())
}
