//! Standard output and error of a plugin, as log lines: bounded in length and in rate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::config::Limits;

/// The log of one plugin, over all of its instances: a plugin that keeps dying has no more lines than one
/// that lives.
#[derive(Debug)]
pub(super) struct LogLimit {
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

impl LogLimit {
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

    fn write(&self, level: tracing::Level, text: &str) {
        if !self.admits() {
            return;
        }
        // Control characters could forge lines or drive the operator's terminal.
        let kept = text.chars().filter(|c| !c.is_control());
        let mut text: String = kept.take(self.line_bytes_max).collect();
        text.truncate(text.floor_char_boundary(self.line_bytes_max));
        let plugin = &*self.plugin;
        match level {
            tracing::Level::ERROR => tracing::error!(target: "plugin", plugin, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "plugin", plugin, "{text}"),
            tracing::Level::INFO => tracing::info!(target: "plugin", plugin, "{text}"),
            _ => tracing::debug!(target: "plugin", plugin, "{text}"),
        }
    }
}

/// Writes the log lines of one instance, within the limits of its plugin.
#[derive(Debug, Clone)]
pub(super) struct PluginLog {
    limit: Arc<LogLimit>,
    /// What was written since the last line break.
    partial: Arc<Mutex<Vec<u8>>>,
}

impl PluginLog {
    pub(super) fn new(limit: &Arc<LogLimit>) -> Self {
        Self {
            limit: Arc::clone(limit),
            partial: Arc::default(),
        }
    }

    /// Logs one line at a level of `wasi:logging`.
    pub(super) fn line(&self, level: tracing::Level, text: &str) {
        self.limit.write(level, text);
    }

    fn bytes(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if *byte == b'\n' {
                self.limit
                    .write(tracing::Level::INFO, &String::from_utf8_lossy(&partial));
                partial.clear();
            } else if partial.len() < self.limit.line_bytes_max {
                partial.push(*byte);
            }
        }
    }
}

impl IsTerminal for PluginLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for PluginLog {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for PluginLog {
    async fn ready(&mut self) {}
}

impl OutputStream for PluginLog {
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
