//! Figures of tracing itself.

use prometheus::{IntCounter, Registry, Result};

use super::families::counter;

/// What became of the spans that were recorded.
#[derive(Debug, Clone)]
pub struct SpanMetrics {
    /// Taken by the collector.
    pub exported: IntCounter,
    /// Without room in the queue.
    pub dropped: IntCounter,
    /// Not taken by the collector, for as long as a batch is tried.
    pub failed: IntCounter,
}

impl SpanMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let spans = counter(
            registry,
            "millrace_spans_total",
            "Spans that were recorded, by what became of them.",
            &["outcome"],
        )?;
        let of = |outcome| spans.with_label_values(&[outcome]);
        Ok(Self {
            exported: of("exported"),
            dropped: of("dropped"),
            failed: of("failed"),
        })
    }
}
