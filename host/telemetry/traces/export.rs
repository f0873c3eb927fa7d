//! The task that sends spans: in batches, each tried for a while and then given up. What becomes of them is counted. It
//! must not know how a collector is spoken to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::collector::{Collector, Refused};
use super::otlp::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
use super::otlp::opentelemetry::proto::common::v1::InstrumentationScope;
use super::otlp::opentelemetry::proto::resource::v1::Resource;
use super::otlp::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, Span};
use crate::config::SpanQueue;
use crate::telemetry::metrics::SpanMetrics;

/// What a host that ends waits at most for its last spans. They are worth less than a quick restart.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits between two attempts: the first, and the longest after doubling.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];

/// A collector that stays away is told of so often.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// The running task.
#[derive(Debug)]
pub struct Exporting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporting {
    pub(super) fn new(stop: watch::Sender<bool>, task: JoinHandle<()>) -> Self {
        Self { stop, task }
    }

    /// Sends what there is, for 5 s at most, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if timeout(FLUSH_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

/// What the task needs.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) collector: Collector,
    pub(super) resource: Resource,
    pub(super) queue: SpanQueue,
    pub(super) spans: mpsc::Receiver<Span>,
    /// Told when a batch has gathered.
    pub(super) full: Arc<Notify>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) metrics: SpanMetrics,
    /// When a failure was told last; none while everything goes well.
    pub(super) complained: Option<Instant>,
}

impl Export {
    pub(super) async fn run(mut self) {
        loop {
            // Whoever ends a span wakes nobody until a batch is full.
            let mut stopped = self.stopped.clone();
            tokio::select! {
                () = sleep(self.queue.delay) => {}
                () = self.full.notified() => {}
                _ = stopped.wait_for(|stop| *stop) => self.spans.close(),
            }
            while let Some(batch) = self.batch() {
                self.send(batch).await;
            }
            if self.spans.is_closed() {
                return;
            }
        }
    }

    fn batch(&mut self) -> Option<Vec<Span>> {
        let mut batch = Vec::new();
        while batch.len() < self.queue.batch_max
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Sends a batch, again and again while the collector may still take it.
    async fn send(&mut self, batch: Vec<Span>) {
        let spans = batch.len() as u64;
        let request = self.request(batch);
        let until = Instant::now() + self.queue.export_timeout;
        let [mut wait, longest] = AGAIN_AFTER;
        loop {
            let refused = match self.collector.send(&request).await {
                Ok(rejected) => {
                    let rejected = rejected.min(spans);
                    self.metrics.exported.inc_by(spans - rejected);
                    self.metrics.failed.inc_by(rejected);
                    if rejected == 0 && self.complained.take().is_some() {
                        tracing::info!("the collector takes spans again");
                    }
                    return;
                }
                Err(refused) => refused,
            };
            let stopping = *self.stopped.borrow();
            if stopping || !refused.may_pass || Instant::now() + wait >= until {
                self.metrics.failed.inc_by(spans);
                self.complain(&refused, spans);
                return;
            }
            let mut stopped = self.stopped.clone();
            tokio::select! {
                () = sleep(wait) => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            wait = (wait * 2).min(longest);
        }
    }

    fn complain(&mut self, refused: &Refused, spans: u64) {
        let due = |told: Instant| told.elapsed() >= COMPLAIN_EVERY;
        if self.complained.is_none_or(due) {
            self.complained = Some(Instant::now());
            tracing::warn!(collector = %self.collector.shown(), reason = %refused.reason, spans,
                "the collector does not take spans; events flow on, and millrace_spans_total counts what is lost");
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope),
            spans,
            schema_url: String::new(),
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![scope_spans],
                schema_url: String::new(),
            }],
        }
    }
}
