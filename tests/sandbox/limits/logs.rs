//! What a plugin may log, and that the rest is dropped without ending the call.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{instance, load, run_rogue};
use super::passes;

/// What is logged on this thread meanwhile.
pub(in crate::sandbox) fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);
    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn log_obeyed() {
    let plugin = load("rogue", |_| {});
    let text = logged(|| {
        passes(run_rogue(&plugin, r#"{"do":"print","n":3}"#));
        passes(run_rogue(&plugin, r#"{"do":"print-long","n":20}"#));
        assert!(run_rogue(&plugin, r#"{"do":"trap"}"#).is_err());
    });
    for (level, part) in [
        ("INFO", "line 1"),
        ("INFO", "line 2"),
        ("WARN", "xxxxxxxxxxxxxxxxxxxx"),
        ("WARN", "the event said so"),
    ] {
        let line = text.lines().find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("{part:?} is not in:\n{text}"));
        assert!(
            line.contains(level) && line.contains("plugin=\"rogue\""),
            "{line}"
        );
    }
}

/// Lines that a plugin printed, of what was logged.
fn printed(text: &str) -> usize {
    text.lines().filter(|line| line.contains("line ")).count()
}

#[test]
fn log_lines_obeyed() {
    let plugin = load("rogue", |limits| limits.log_lines = 50);
    let text = logged(|| drop(passes(run_rogue(&plugin, r#"{"do":"print","n":50}"#))));
    // The line without an end does not leave the guest.
    assert_eq!(printed(&text), 49);
    assert_eq!(instance(&plugin).take_dropped_lines(), 0);
}

#[test]
fn log_lines_violated() {
    let plugin = load("rogue", |limits| limits.log_lines = 50);
    // An instance that dies does not bring the next one new lines.
    let text = logged(|| {
        for _ in 0..20 {
            passes(run_rogue(&plugin, r#"{"do":"print","n":1000}"#));
        }
    });
    let (written, dropped) = (printed(&text), instance(&plugin).take_dropped_lines());
    assert!((50..5_000).contains(&written), "{written} were written");
    assert_eq!(written as u64 + dropped, 20 * 999);
    assert_eq!(instance(&plugin).take_dropped_lines(), 0, "counted once");
}

fn longest_line(print_bytes: usize) -> usize {
    let plugin = load("rogue", |limits| limits.log_line_bytes = 500);
    let text = logged(|| {
        let order = format!(r#"{{"do":"print-long","n":{print_bytes}}}"#);
        passes(run_rogue(&plugin, &order));
    });
    let xs = |line: &str| line.bytes().filter(|byte| *byte == b'x').count();
    text.lines().map(xs).max().unwrap_or_default()
}

#[test]
fn log_line_obeyed() {
    assert_eq!(longest_line(500), 500);
}

#[test]
fn log_line_violated() {
    assert_eq!(longest_line(1_000_000), 500);
}
