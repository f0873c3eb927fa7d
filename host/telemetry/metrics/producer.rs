//! Figures of the producer that the gateways write with, where they are taken.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry, Result};

use super::families::{counter, fractions, gauge};

/// What the producer is doing, as it was taken last.
#[derive(Debug)]
pub struct ProducerMetrics<'a> {
    /// Events that it holds, and their bytes.
    pub queue: (u64, u64),
    /// Events sent since it was started, and their bytes.
    pub sent: (u64, u64),
    /// Events of a batch on average, and their bytes.
    pub batch: (f64, f64),
    /// Requests that were sent again.
    pub retries: u64,
    /// Brokers by number, and the seconds that their answers took: on average, and 99 of 100.
    pub round_trips: &'a [(i32, f64, f64)],
}

#[derive(Debug, Clone)]
pub(super) struct ProducerFamilies {
    queue_events: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    sent_events: IntCounterVec,
    sent_bytes: IntCounterVec,
    retries: IntCounterVec,
    batch_events: GaugeVec,
    batch_bytes: GaugeVec,
    round_trip: GaugeVec,
}

impl ProducerFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let number = |name: &str, help: &str| gauge(registry, name, help, &[]);
        let count = |name: &str, help: &str| counter(registry, name, help, &[]);
        Ok(Self {
            queue_events: number(
                "millrace_producer_queue_events",
                "Events that the producer of the gateways holds.",
            )?,
            queue_bytes: number("millrace_producer_queue_bytes", "Their bytes.")?,
            sent_events: count(
                "millrace_producer_sent_events_total",
                "Events that it has sent.",
            )?,
            sent_bytes: count("millrace_producer_sent_bytes_total", "Their bytes.")?,
            retries: count(
                "millrace_producer_retries_total",
                "Requests that it has sent again.",
            )?,
            batch_events: fractions(
                registry,
                "millrace_producer_batch_events",
                "Events of one of its batches, on average.",
                &[],
            )?,
            batch_bytes: fractions(
                registry,
                "millrace_producer_batch_bytes",
                "Their bytes.",
                &[],
            )?,
            round_trip: fractions(
                registry,
                "millrace_producer_round_trip_seconds",
                "How long a broker takes to answer it, by broker: `mean`, or `0.99` of the answers.",
                &["broker", "quantile"],
            )?,
        })
    }

    pub(super) fn show(&self, figures: &ProducerMetrics<'_>) {
        let set = |family: &IntGaugeVec, value: u64| {
            family
                .with_label_values::<&str>(&[])
                .set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.queue_events, figures.queue.0);
        set(&self.queue_bytes, figures.queue.1);
        // The producer keeps the counts, and one that was started anew begins at 0.
        let raise = |family: &IntCounterVec, value: u64| {
            let counter = family.with_label_values::<&str>(&[]);
            if value < counter.get() {
                counter.reset();
            }
            counter.inc_by(value.saturating_sub(counter.get()));
        };
        raise(&self.sent_events, figures.sent.0);
        raise(&self.sent_bytes, figures.sent.1);
        raise(&self.retries, figures.retries);
        self.batch_events
            .with_label_values::<&str>(&[])
            .set(figures.batch.0);
        self.batch_bytes
            .with_label_values::<&str>(&[])
            .set(figures.batch.1);
        // A broker that left the cluster is not shown any more.
        self.round_trip.reset();
        for (broker, mean, p99) in figures.round_trips {
            let broker = broker.to_string();
            for (quantile, value) in [("mean", *mean), ("0.99", *p99)] {
                self.round_trip
                    .with_label_values(&[broker.as_str(), quantile])
                    .set(value);
            }
        }
    }
}
