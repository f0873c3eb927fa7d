//! Why a call ended without an answer: a trap, or a limit.

use std::fmt;

/// The code of a deadline that a plugin met while it waited for something outside.
pub const WAITING_DEADLINE: &str = "deadline-waiting";

/// A call that ended without an answer. The instance is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of end.
    pub kind: FaultKind,
    /// The limit or the trap by a short name.
    pub code: String,
    /// For a person: what happened, the limit and its value.
    pub message: String,
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
        }
    }
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
