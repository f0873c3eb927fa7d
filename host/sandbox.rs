//! Sandboxed plugins: load a component, run it within its limits, buffer what it does.
//!
//! The only user of wasmtime. It must not know Kafka, offsets or threads: it answers calls, one at a time,
//! with outcomes and effects, and the caller decides what they mean.

mod compile;
mod compile_cache;
mod effects;
mod engine;
mod facts;
mod fault;
mod host_state;
mod instance;
mod interfaces;
mod limits;
mod load;
mod load_error;
mod nested;
mod packed;
mod stdio;
mod tape;
mod transcript;

pub use compile::{COMPILE_COMMAND, CompileError, Compiler, INVALID_COMPONENT, compile_for_parent};
pub use effects::{
    Effects, JournalLine, MetricChange, MetricKind, StateWrite, TallyChange, TallyOp,
};
pub use engine::{Sandbox, SandboxSettings};
pub use facts::{ComponentFacts, Metadata, NotAComponent};
pub use fault::{Fault, FaultKind, WAITING_DEADLINE};
pub use host_state::{StateSource, WallClock};
pub use instance::{BatchAnswer, Instance, TickAnswer, TickReason, Worn};
pub use interfaces::WebCounts;
pub use load::{LoadedPlugin, digest_of};
pub use load_error::LoadError;
#[cfg(feature = "fuzzing")]
pub(crate) use packed::fuzz_results;
pub use packed::{Answer, Output, Problem, SLOT_WORDS, Span, encode_topics};
pub use transcript::{HostAnswer, Transcript};
