//! Why a call ended without an answer: a trap, or a limit.

use std::fmt;

use wasmtime::WasmBacktrace;

/// The code of a deadline that a plugin met while it waited for something outside.
pub const WAITING_DEADLINE: &str = "deadline-waiting";

/// Enough to tell failures apart, and little enough for a header.
const FRAMES_MAX: usize = 3;

/// Longest name of a function, in bytes. Generic ones in Rust run to kilobytes.
const FRAME_BYTES_MAX: usize = 100;

/// What the runtimes of languages call on the way from a panic to the trap. It is the same for every
/// failure, so it tells none apart.
const RUNTIMES: [&str; 7] = [
    "__rust", "rust_", "std::", "core::", "alloc::", "abort", "runtime.",
];

/// A call that ended without an answer. The instance is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of end.
    pub kind: FaultKind,
    /// The limit or the trap by a short name.
    pub code: String,
    /// For a person: what happened, the limit and its value.
    pub message: String,
    /// For a trap: functions of the plugin that it happened in, innermost first, at most three.
    pub frames: Vec<String>,
}

/// Whose fault, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The plugin trapped.
    Trap,
    /// The call ran past its deadline.
    Deadline,
    /// The instance asked for more memory than its limit, and gave up.
    Memory,
    /// The call passed more bytes, or made more calls, than its limit.
    Fuel,
    /// The plugin used what it was not granted, or used it wrongly.
    Capability,
    /// The answer does not follow the contract.
    Output,
    /// No instance could be made; the host is out of a resource.
    Host,
}

impl FaultKind {
    /// The word in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Fuel => "fuel",
            Self::Capability => "capability",
            Self::Output => "output",
            Self::Host => "host",
        }
    }
}

impl Fault {
    pub(super) fn new(kind: FaultKind, code: &str, message: impl fmt::Display) -> Self {
        Self {
            kind,
            code: code.to_owned(),
            message: message.to_string(),
            frames: Vec::new(),
        }
    }
}

/// The innermost functions of the guest in the backtrace of an error, by name where the component has
/// names, else by number.
pub(super) fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        // The alternate form leaves out the hash, which changes with every build.
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    let names: Vec<String> = backtrace.frames().iter().map(name).collect();
    innermost(&names)
}

fn innermost(names: &[String]) -> Vec<String> {
    let of_a_runtime = |name: &String| RUNTIMES.iter().any(|start| name.starts_with(start));
    let own = names.iter().position(|name| !of_a_runtime(name));
    let shown = names.iter().skip(own.unwrap_or(0)).take(FRAMES_MAX);
    shown
        .map(|name| name[..name.floor_char_boundary(FRAME_BYTES_MAX)].to_owned())
        .collect()
}

/// Longest text of a component's own that is shown in a message, in bytes.
const SHOWN_BYTES_MAX: usize = 500;

/// What a component says, as it may stand in a message: short, and without control characters, which could forge
/// lines or drive the operator's terminal.
pub(super) fn shown(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)];
    let mut shown: String = kept.chars().filter(|c| !c.is_control()).collect();
    if kept.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// A limit or grant that a host function found violated; it ends the call as an error of wasmtime and is
/// found again in the cause of the trap.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub(super) struct Violation(pub(super) Fault);

impl Violation {
    pub(super) fn error(
        kind: FaultKind,
        code: &str,
        message: impl fmt::Display,
    ) -> wasmtime::Error {
        wasmtime::Error::new(Self(Fault::new(kind, code, message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn innermost(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        super::innermost(&names)
    }

    #[test]
    fn what_a_component_says_is_short_and_drives_no_terminal() {
        assert_eq!(shown("no\u{1b}[2J\nway"), "no[2Jway");
        let long = shown(&"é".repeat(1 << 20));
        assert_eq!(long.len(), SHOWN_BYTES_MAX + 3);
        assert!(long.ends_with("é..."));
    }

    #[test]
    fn the_way_from_a_panic_to_the_trap_is_left_out() {
        let names = [
            "abort",
            "std::process::abort",
            "core::panicking::panic_fmt",
            "orders::price",
            "core::iter::fold",
            "orders::handle",
            "orders::entry",
        ];
        let shown = ["orders::price", "core::iter::fold", "orders::handle"];
        assert_eq!(innermost(&names), shown);
    }

    #[test]
    fn a_backtrace_of_nothing_but_a_runtime_is_shown_as_it_is() {
        assert_eq!(
            innermost(&["abort", "std::process::abort"]),
            ["abort", "std::process::abort"]
        );
        assert_eq!(innermost(&[]), [""; 0]);
        let long = "é".repeat(80);
        assert_eq!(innermost(&[&long])[0].len(), FRAME_BYTES_MAX);
    }
}
