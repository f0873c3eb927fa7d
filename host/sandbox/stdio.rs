//! What a plugin says, as log lines: bounded in length and in rate. `wasi:logging`, standard output and
//! standard error share the rate; a line of standard error is a warning.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Longest log line that is kept, in bytes.
const LINE_BYTES_MAX: usize = 1024;

/// Log lines of one instance a second; more are counted and reported once.
const LINES_PER_SECOND_MAX: u32 = 100;

/// Lines of standard error that a fault tells: what a runtime says of a panic has two or three.
const LAST_LINES_MAX: usize = 3;

/// Writes log lines for one plugin, within its limits.
#[derive(Debug, Clone)]
pub(super) struct PluginLog {
    plugin: Arc<str>,
    window: Arc<Mutex<LogWindow>>,
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
    log: PluginLog,
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
    pub(super) fn new(plugin: &str) -> Self {
        let window = LogWindow {
            started: Instant::now(),
            lines: 0,
            dropped: 0,
        };
        Self {
            plugin: plugin.into(),
            window: Arc::new(Mutex::new(window)),
        }
    }

    /// Logs one line at a level of `wasi:logging`.
    pub(super) fn line(&self, level: tracing::Level, text: &str) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.started.elapsed().as_secs() >= 1 {
            if window.dropped > 0 {
                tracing::warn!(plugin = %self.plugin, dropped = window.dropped, "log lines dropped");
            }
            (window.started, window.lines, window.dropped) = (Instant::now(), 0, 0);
        }
        window.lines += 1;
        if window.lines > LINES_PER_SECOND_MAX {
            window.dropped += 1;
            return;
        }
        drop(window);
        let text = cleaned(text);
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
fn cleaned(text: &str) -> String {
    let text = text.chars().filter(|c| !c.is_control());
    text.take(LINE_BYTES_MAX).collect()
}

impl Stdio {
    pub(super) fn new(log: &PluginLog, level: tracing::Level) -> Self {
        Self {
            log: log.clone(),
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
            } else if text.partial.len() < LINE_BYTES_MAX {
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
        text.last.push_back(cleaned(&line));
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
        let stdio = Stdio::new(&PluginLog::new("p"), tracing::Level::INFO);
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
        assert_eq!(stdio.last_lines().len(), LINE_BYTES_MAX);
    }
}
