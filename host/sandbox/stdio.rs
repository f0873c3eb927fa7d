//! What a plugin says, as log lines: bounded in length and in rate. `wasi:logging`, standard output and
//! standard error share the rate; a line of standard error is a warning.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::config::Limits;

/// Lines of standard error that a fault tells: what a runtime says of a panic has two or three.
const LAST_LINES_MAX: usize = 3;

/// What a fault tells of each of them, in bytes: a dead letter's headers carry it.
const LAST_LINE_BYTES_MAX: usize = 1 << 10;

/// The log of one plugin, over all of its instances: a plugin that keeps dying has no more lines than one
/// that lives.
#[derive(Debug)]
pub(super) struct PluginLog {
    plugin: Box<str>,
    line_bytes_max: usize,
    lines_per_second_max: u32,
    window: Mutex<LogWindow>,
    /// Lines that were dropped and that nobody has counted yet.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct LogWindow {
    started: Instant,
    lines: u32,
    dropped: u64,
}

/// Standard output or standard error of one instance.
#[derive(Debug, Clone)]
pub(super) struct Stdio {
    log: Arc<PluginLog>,
    level: tracing::Level,
    text: Arc<Mutex<Text>>,
}

#[derive(Debug, Default)]
struct Text {
    /// A line that has no end yet.
    partial: Vec<u8>,
    /// The last lines of the running call.
    last: VecDeque<String>,
}

impl PluginLog {
    pub(super) fn new(plugin: &str, limits: &Limits) -> Self {
        let window = LogWindow {
            started: Instant::now(),
            lines: 0,
            dropped: 0,
        };
        Self {
            plugin: plugin.into(),
            line_bytes_max: limits.log_line_bytes,
            lines_per_second_max: limits.log_lines,
            window: Mutex::new(window),
            dropped: AtomicU64::new(0),
        }
    }

    /// Lines dropped since this was asked last.
    pub(super) fn take_dropped(&self) -> u64 {
        if self.dropped.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Whether another line may be written in this second.
    fn admits(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.started.elapsed().as_secs() >= 1 {
            if window.dropped > 0 {
                tracing::warn!(plugin = %self.plugin, dropped = window.dropped,
                    "log lines dropped: more than {} in a second (plugins.{}.limits.log_lines)",
                    self.lines_per_second_max, self.plugin);
            }
            (window.started, window.lines, window.dropped) = (Instant::now(), 0, 0);
        }
        window.lines = window.lines.saturating_add(1);
        let admits = window.lines <= self.lines_per_second_max;
        if !admits {
            window.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        admits
    }

    /// Writes one line, at a level of `wasi:logging`.
    pub(super) fn line(&self, level: tracing::Level, text: &str) {
        if !self.admits() {
            return;
        }
        let text = cleaned(text, self.line_bytes_max);
        let plugin = &*self.plugin;
        match level {
            tracing::Level::ERROR => tracing::error!(target: "plugin", plugin, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "plugin", plugin, "{text}"),
            tracing::Level::INFO => tracing::info!(target: "plugin", plugin, "{text}"),
            _ => tracing::debug!(target: "plugin", plugin, "{text}"),
        }
    }
}

/// Control characters could forge lines or drive the operator's terminal.
fn cleaned(text: &str, bytes_max: usize) -> String {
    let kept = text.chars().filter(|c| !c.is_control());
    let mut text: String = kept.take(bytes_max).collect();
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

impl Stdio {
    pub(super) fn new(log: &Arc<PluginLog>, level: tracing::Level) -> Self {
        Self {
            log: Arc::clone(log),
            level,
            text: Arc::default(),
        }
    }

    /// A call begins: what was said before belongs to others.
    pub(super) fn begin_call(&self) {
        self.text().last.clear();
    }

    /// The last lines of the running call, and what followed them.
    pub(super) fn last_lines(&self) -> String {
        let mut text = self.text();
        self.end_line(&mut text);
        Vec::from_iter(text.last.iter().map(String::as_str)).join(": ")
    }

    /// Nothing more comes: a line without an end is one too.
    pub(super) fn end(&self) {
        self.end_line(&mut self.text());
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes(&self, bytes: &[u8]) {
        let mut text = self.text();
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line(&mut text);
            } else if text.partial.len() < self.log.line_bytes_max {
                text.partial.push(*byte);
            }
        }
    }

    fn end_line(&self, text: &mut Text) {
        if text.partial.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&text.partial);
        self.log.line(self.level, &line);
        if text.last.len() == LAST_LINES_MAX {
            text.last.pop_front();
        }
        text.last.push_back(cleaned(&line, LAST_LINE_BYTES_MAX));
        text.partial.clear();
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.bytes(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        // One write at a time of this size keeps what the guest can make the host allocate small.
        Ok(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces_and_cleaned() {
        let log = Arc::new(PluginLog::new("p", &Limits::default()));
        let stdio = Stdio::new(&log, tracing::Level::INFO);
        for piece in [
            "an earl",
            "ier line\nred \x1b[31m and \r",
            "a bell \x07\n\n",
            "no end",
        ] {
            stdio.bytes(piece.as_bytes());
        }
        assert_eq!(
            stdio.last_lines(),
            "an earlier line: red [31m and a bell : no end"
        );
        stdio.bytes(b"1\n2\n3\n4\n");
        assert_eq!(stdio.last_lines(), "2: 3: 4");
        stdio.begin_call();
        assert_eq!(stdio.last_lines(), "");
        stdio.bytes(&vec![b'x'; 1 << 20]);
        assert_eq!(stdio.last_lines().len(), LAST_LINE_BYTES_MAX);
    }
}
