//! What a plugin logs during one call, caught before it reaches the log of the process.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How grave it is, in lower case.
    pub level: &'static str,
    /// What it says.
    pub text: String,
}

/// Runs `call` and answers with what was logged on this thread meanwhile.
pub(in crate::authoring) fn caught<T>(call: impl FnOnce() -> T) -> (T, Vec<Line>) {
    let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
    let catcher = Catcher(Arc::clone(&lines));
    let answer = tracing::subscriber::with_default(catcher, call);
    let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
    (answer, lines)
}

struct Catcher(Arc<Mutex<Vec<Line>>>);

impl Subscriber for Catcher {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Of the host's own lines only those that someone must read.
        metadata.is_event() && (metadata.target() == "plugin" || *metadata.level() <= Level::WARN)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let line = Line {
            level,
            text: text.0,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event, and not the fields beside it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _written = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_plugin_are_caught_at_every_level() {
        let (answer, lines) = caught(|| {
            tracing::debug!(target: "plugin", plugin = "p", "one");
            tracing::info!("a line of the host");
            tracing::warn!(target: "plugin", plugin = "p", "two {}", 2);
            7
        });
        assert_eq!(answer, 7);
        let told: Vec<_> = lines.iter().map(|l| (l.level, l.text.as_str())).collect();
        assert_eq!(told, [("debug", "one"), ("warn", "two 2")]);
    }
}
