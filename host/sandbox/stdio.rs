//! Standard output and error of a plugin, as log lines: bounded in length and in rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Longest log line that is kept, in bytes.
const LINE_BYTES_MAX: usize = 1024;

/// Log lines of one plugin a second; more are counted and reported once. It counts over all instances: one that
/// ends with every event must not bring a new allowance each time.
const LINES_PER_SECOND_MAX: u32 = 100;

/// Writes log lines for one instance, within the limits of its plugin.
#[derive(Debug, Clone)]
pub(super) struct PluginLog {
    plugin: Arc<str>,
    window: Arc<Mutex<LogWindow>>,
    /// The line of standard output or error that has not ended yet.
    partial: Arc<Mutex<Vec<u8>>>,
}

#[derive(Debug)]
struct LogWindow {
    started: Instant,
    lines: u32,
    dropped: u64,
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
            partial: Arc::default(),
        }
    }

    /// The log of one more instance of the plugin.
    pub(super) fn of_instance(&self) -> Self {
        Self {
            partial: Arc::default(),
            ..self.clone()
        }
    }

    /// Logs one line at a level of `wasi:logging`.
    pub(super) fn line(&self, level: tracing::Level, text: &str) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut window, level, text);
    }

    fn bytes(&self, bytes: &[u8]) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut *partial);
                self.write(
                    &mut window,
                    tracing::Level::INFO,
                    &String::from_utf8_lossy(&line),
                );
            } else if partial.len() < LINE_BYTES_MAX {
                partial.push(*byte);
            }
        }
    }

    fn write(&self, window: &mut LogWindow, level: tracing::Level, text: &str) {
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
        // Control characters could forge lines or drive the operator's terminal.
        let text = &text[..text.floor_char_boundary(LINE_BYTES_MAX)];
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        let plugin = &*self.plugin;
        match level {
            tracing::Level::ERROR => tracing::error!(target: "plugin", plugin, "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "plugin", plugin, "{text}"),
            tracing::Level::INFO => tracing::info!(target: "plugin", plugin, "{text}"),
            _ => tracing::debug!(target: "plugin", plugin, "{text}"),
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
