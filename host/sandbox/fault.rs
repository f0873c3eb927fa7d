//! Why a call ended without an answer: a trap, or a limit.

use std::fmt::{self, Write as _};

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use super::limits::InstanceLimits;
use crate::config::Limits;

/// The code of a deadline that a plugin met while it waited for something outside.
pub const WAITING_DEADLINE: &str = "deadline-waiting";

/// The quota of a plugin's state among the limits. It is the one that stands beside `limits` in the configuration.
pub(super) const STATE_QUOTA: &str = "state.quota";

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
    /// The limit that was gone past, as `plugins.NAME.limits` names it, or `state.quota`; none where it was no limit.
    pub limit: Option<&'static str>,
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
    /// The instance asked for more memory or table elements than its limit, and gave up.
    Memory,
    /// The call passed more bytes, made more calls, held more handles or ran more instructions than its limit.
    Fuel,
    /// The plugin used what it was not granted, or used it wrongly.
    Capability,
    /// The answer does not follow the contract.
    Output,
    /// No instance could be made; the host is out of a resource.
    Host,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::Fuel,
        Self::Capability,
        Self::Output,
        Self::Host,
    ];

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
            limit: None,
            frames: Vec::new(),
        }
    }

    /// A limit was gone past. The message says how far; where the limit is set is added by the instance.
    pub(super) fn of_limit(
        kind: FaultKind,
        code: &str,
        limit: &'static str,
        message: impl fmt::Display,
    ) -> Self {
        Self {
            limit: Some(limit),
            ..Self::new(kind, code, message)
        }
    }

    /// Says where the limit is set that was gone past.
    pub(super) fn of_plugin(mut self, plugin: &str) -> Self {
        if let Some(limit) = self.limit {
            let section = if limit == STATE_QUOTA { "" } else { "limits." };
            // Writing to a String cannot fail.
            let _written = write!(self.message, " (plugins.{plugin}.{section}{limit})");
        }
        self
    }

    /// Tells from an error of wasmtime, and from what the instance was refused, why a call ended.
    pub(super) fn of_error(
        error: &wasmtime::Error,
        limits: &Limits,
        refused: &InstanceLimits,
        events: u32,
    ) -> Self {
        if let Some(Violation(fault)) = error.downcast_ref::<Violation>() {
            return fault.clone();
        }
        let trap = error.downcast_ref::<Trap>();
        match trap {
            Some(Trap::Interrupt) => {
                let message = format!(
                    "ran past the deadline of {} ms",
                    limits.deadline.as_millis()
                );
                return Self::of_limit(FaultKind::Deadline, "deadline", "deadline", message);
            }
            Some(Trap::OutOfFuel) => {
                let message = format!(
                    "used more than {} units of fuel an event",
                    limits.fuel.unwrap_or_default()
                );
                return Self::of_limit(FaultKind::Fuel, "fuel", "fuel", message);
            }
            // What was refused matters only to what gave up over it.
            Some(_) if refused.memory.refused => {
                let message = format!("needs more memory than {} bytes", limits.memory_bytes);
                return Self::of_limit(FaultKind::Memory, "memory", "memory", message);
            }
            Some(_) if refused.table_elements.refused => return too_many_elements(limits),
            _ => {}
        }
        let text = format!("{:#}", error.root_cause());
        if let Some(fault) = told_in_words(error, &text, limits, refused, events) {
            return fault;
        }
        let code = trap.map_or_else(|| "trap".to_owned(), |trap| format!("{trap:?}"));
        Self {
            frames: frames(error),
            ..Self::new(FaultKind::Trap, &code, text)
        }
    }
}

fn too_many_elements(limits: &Limits) -> Fault {
    let message = format!("needs more than {} table elements", limits.table_elements);
    Fault::of_limit(
        FaultKind::Memory,
        "table-elements",
        "table_elements",
        message,
    )
}

/// Limits whose errors wasmtime tells apart by their words only.
fn told_in_words(
    error: &wasmtime::Error,
    text: &str,
    limits: &Limits,
    refused: &InstanceLimits,
    events: u32,
) -> Option<Fault> {
    let full = ResourceTableError::Full.to_string();
    // The words are those of handles of the component's own resources.
    if text.contains(&full) || text.contains("handle limit exceeded") {
        let message = format!("holds more than {} handles of resources", limits.resources);
        return Some(Fault::of_limit(
            FaultKind::Fuel,
            "resources",
            "resources",
            message,
        ));
    }
    if text.contains("fuel") {
        let (limit, bytes) = hostcall_limit(limits, events);
        let message = format!("passed more than {bytes} bytes to or from the host: {text}");
        return Some(Fault::of_limit(
            FaultKind::Fuel,
            "hostcall-fuel",
            limit,
            message,
        ));
    }
    // The rest comes from making an instance, so it is no trap.
    if error.is::<Trap>() {
        return None;
    }
    if refused.memory.refused {
        let message = format!("needs more memory than {} bytes", limits.memory_bytes);
        return Some(Fault::of_limit(
            FaultKind::Memory,
            "memory",
            "memory",
            message,
        ));
    }
    if refused.table_elements.refused {
        return Some(too_many_elements(limits));
    }
    let counted = [
        ("instance", "instances", limits.instances),
        ("table", "tables", limits.tables),
        ("memory", "memories", limits.memories),
    ];
    counted.into_iter().find_map(|(word, limit, most)| {
        let found = text.contains(&format!("{word} count too high"));
        found.then(|| {
            let message = format!("is made of more than {most} {limit}");
            Fault::of_limit(FaultKind::Memory, limit, limit, message)
        })
    })
}

/// The limit of the bytes that pass to and from the host in a call of so many events, and its value.
pub(super) fn hostcall_limit(limits: &Limits, events: u32) -> (&'static str, usize) {
    if events > 1 {
        ("batch_hostcall", limits.batch_hostcall_bytes)
    } else {
        ("event_hostcall", limits.event_hostcall_bytes)
    }
}

/// The innermost functions of the guest in the backtrace of an error, by name where the component has
/// names, else by number.
fn frames(error: &wasmtime::Error) -> Vec<String> {
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

    /// A limit of the plugin's was gone past.
    pub(super) fn of_limit(
        kind: FaultKind,
        code: &str,
        limit: &'static str,
        message: impl fmt::Display,
    ) -> wasmtime::Error {
        wasmtime::Error::new(Self(Fault::of_limit(kind, code, limit, message)))
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
