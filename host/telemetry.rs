//! Figures, logs and traces. The only user of prometheus. It must not know where a figure comes from.

pub mod logs;
pub mod metrics;
pub mod traces;
