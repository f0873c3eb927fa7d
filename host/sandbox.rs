//! Sandboxed plugins: load a component, run it within its limits, buffer what it does.
//!
//! The only user of wasmtime. It must not know Kafka, offsets or threads: it answers calls, one at a time,
//! with outcomes and effects, and the caller decides what they mean.

mod effects;
mod engine;
mod fault;
mod host_state;
mod instance;
mod interfaces;
mod limits;
mod load;
mod nested;
mod packed;
mod stdio;

pub use effects::{
    Effects, JournalLine, MetricChange, MetricKind, StateWrite, TallyChange, TallyOp,
};
pub use engine::Sandbox;
pub use fault::{Fault, FaultKind, WAITING_DEADLINE};
pub use host_state::StateSource;
pub use instance::{BatchAnswer, Instance, TickAnswer, TickReason};
pub use interfaces::WebCounts;
pub use load::{LoadError, LoadedPlugin};
pub use packed::{Answer, Output, Problem, SLOT_WORDS, Span, encode_topics};
