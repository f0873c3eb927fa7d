//! Spans of OpenTelemetry: which are recorded, and their way to a collector. It must not know what happens in a span.
//!
//! Whoever records a span has decided before that it is sampled ([`Traces::begin`]), so an event that is not costs no
//! more than reading its trace context. A span that has ended goes into a queue that never blocks; a task of the small
//! runtime sends what gathers there (`export`).

mod collector;
mod export;
mod span;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, watch};

pub use self::collector::CollectorError;
pub use self::export::Exporting;
use self::otlp::opentelemetry::proto::trace::v1::Span;
pub use self::span::{OpenSpan, Operation};
use super::metrics::SpanMetrics;
use crate::config;
use crate::delivery::trace_context::TraceContext;

/// OpenTelemetry's protocol, generated from its own definitions in `proto/opentelemetry`.
#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::clone_on_ref_ptr,
    reason = "generated code"
)]
mod otlp {
    include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
}

/// Records spans. Copies share one queue.
#[derive(Debug, Clone)]
pub struct Traces(Arc<Recording>);

#[derive(Debug)]
struct Recording {
    sampler: config::Sampler,
    ended: mpsc::Sender<Span>,
    /// Told when a batch has gathered.
    full: Arc<Notify>,
    batch_max: usize,
    metrics: SpanMetrics,
}

impl Traces {
    /// Starts sending on this runtime. The collector may be down: what cannot be sent is counted.
    ///
    /// # Errors
    /// The collector's certificates cannot be read.
    pub fn start(
        settings: &config::Tracing,
        metrics: SpanMetrics,
        runtime: &Handle,
    ) -> Result<(Self, Exporting), CollectorError> {
        let _entered = runtime.enter();
        let collector = collector::Collector::new(&settings.collector)?;
        let (ended, spans) = mpsc::channel(settings.queue.spans_max);
        let full = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let export = export::Export {
            collector,
            resource: span::resource(&settings.resource),
            queue: settings.queue,
            spans,
            full: Arc::clone(&full),
            stopped,
            metrics: metrics.clone(),
            complained: None,
        };
        let exporting = Exporting::new(stop, runtime.spawn(export.run()));
        let recording = Recording {
            sampler: settings.sampler,
            ended,
            full,
            batch_max: settings.queue.batch_max,
            metrics,
        };
        Ok((Self(Arc::new(recording)), exporting))
    }

    /// Begins a span below this parent; none where it is not sampled. Without a parent it begins a trace, with the id
    /// that `new_trace` gives.
    #[must_use]
    pub fn begin(
        &self,
        parent: Option<TraceContext>,
        new_trace: impl FnOnce() -> u128,
        operation: Operation,
        topic: &str,
        began: SystemTime,
    ) -> Option<OpenSpan> {
        // Most events of a host that samples are not recorded: nothing is made before that is known.
        let trace = parent.map_or_else(new_trace, |parent| parent.trace).max(1);
        if !is_sampled(self.0.sampler, parent, trace) {
            return None;
        }
        let context = TraceContext {
            trace,
            // All zeros mean that there is none.
            span: fastrand::u64(1..),
            sampled: true,
        };
        let parent = parent.map(|parent| parent.span);
        let span = span::begun(context, parent, (operation, topic), began);
        Some(OpenSpan::new(context, span, self.clone()))
    }

    /// Takes a span that has ended. Never blocks.
    fn take(&self, span: Span) {
        let Recording {
            ended,
            full,
            batch_max,
            metrics,
            ..
        } = &*self.0;
        if ended.try_send(span).is_err() {
            metrics.dropped.inc();
        }
        if ended.max_capacity() - ended.capacity() >= *batch_max {
            full.notify_one();
        }
    }
}

/// The decision of OpenTelemetry's samplers. By the trace's id, so that every program with the same share decides alike.
fn is_sampled(sampler: config::Sampler, parent: Option<TraceContext>, trace: u128) -> bool {
    if let Some(parent) = parent.filter(|_| sampler.parent_based) {
        return parent.sampled;
    }
    // The upper 63 bits of the lower half, as the other languages have it.
    let position = (trace as u64 >> 1) as f64 / (1_u64 << 63) as f64;
    position < sampler.ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(parent_based: bool, ratio: f64) -> config::Sampler {
        config::Sampler {
            parent_based,
            ratio,
        }
    }

    fn parent(sampled: bool) -> Option<TraceContext> {
        Some(TraceContext {
            trace: 1,
            span: 1,
            sampled,
        })
    }

    #[test]
    fn a_parent_decides_where_the_sampler_follows_it() {
        for sampled in [true, false] {
            for ratio in [0.0, 1.0] {
                assert_eq!(
                    is_sampled(sampler(true, ratio), parent(sampled), 1),
                    sampled
                );
                assert_eq!(
                    is_sampled(sampler(false, ratio), parent(sampled), 1),
                    ratio > 0.5
                );
            }
        }
    }

    #[test]
    fn the_share_of_traces_is_the_configured_one() {
        let mut random = fastrand::Rng::with_seed(7);
        let traces = 10_000;
        let sampled =
            (0..traces).filter(|_| is_sampled(sampler(true, 0.25), None, random.u128(..)));
        let share = sampled.count() as f64 / f64::from(traces);
        assert!((0.23..0.27).contains(&share), "{share}");
        assert!(!is_sampled(sampler(true, 0.0), None, 0));
        // Rounded up, the last of all ids would be no part of the whole.
        assert!(is_sampled(
            sampler(true, 1.0),
            None,
            u128::from(u64::MAX - (1 << 20))
        ));
    }
}
