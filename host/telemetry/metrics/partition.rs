//! Figures of one assigned partition. They go when the partition does: a gauge that stayed behind would be added to
//! that of the next owner. Counters stay, because rates are made of them.

use std::sync::PoisonError;
use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntGauge};

use super::families::PartitionFamilies;
use crate::delivery::behind::Behind;
use crate::delivery::ledger::{Ledger, Settled};
use crate::delivery::progress::Reason;

/// Figures of one assigned partition.
#[derive(Debug)]
pub struct PartitionMetrics {
    polled: IntCounter,
    events: Vec<IntCounter>,
    in_flight: IntGauge,
    parked: IntGauge,
    /// None until it is known: a partition that nobody has looked at must not read as one without a lag.
    lag: Option<(IntGauge, Gauge)>,
    rebuild_remaining: IntGauge,
    rebuild_seconds: Gauge,
    /// Why it stalls, and the series that say so.
    stalled: Option<Reason>,
    place: [String; 3],
    families: PartitionFamilies,
    /// What has been published of the ledger.
    published: Ledger,
}

impl PartitionMetrics {
    pub(super) fn new(
        families: &PartitionFamilies,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Self {
        let place = [group.to_owned(), topic.to_owned(), partition.to_string()];
        families.assigned(&place);
        let labels = place.each_ref().map(String::as_str);
        let [group, topic, partition] = labels;
        let outcome = |settled: Settled| {
            let labels = [group, topic, partition, settled.word()];
            families.events.with_label_values(&labels)
        };
        Self {
            polled: families.polled.with_label_values(&labels),
            events: Settled::ALL.into_iter().map(outcome).collect(),
            in_flight: families.in_flight.with_label_values(&labels),
            parked: families.parked.with_label_values(&labels),
            lag: None,
            rebuild_remaining: families.rebuild_remaining.with_label_values(&labels),
            rebuild_seconds: families.rebuild_seconds.with_label_values(&labels),
            stalled: None,
            families: families.clone(),
            published: Ledger::default(),
            place,
        }
    }

    /// Publishes what has changed of the ledger, and how far the partition is behind where that is known.
    pub fn publish(&mut self, ledger: &Ledger, behind: Option<Behind>) {
        let moment = &self.families.moment;
        let _moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
        self.polled
            .inc_by(ledger.polled.saturating_sub(self.published.polled));
        for (counter, settled) in self.events.iter().zip(Settled::ALL) {
            counter.inc_by(
                ledger
                    .of(settled)
                    .saturating_sub(self.published.of(settled)),
            );
        }
        self.in_flight.set(ledger.in_flight() as i64);
        self.parked.set(ledger.parked as i64);
        if let Some(behind) = behind {
            let (lag, lag_seconds) = self.lag.get_or_insert_with(|| {
                let place = self.place.each_ref().map(String::as_str);
                let lag = self.families.lag.with_label_values(&place);
                (lag, self.families.lag_seconds.with_label_values(&place))
            });
            lag.set(behind.events);
            lag_seconds.set(behind.age_ms as f64 / 1_000.0);
        }
        self.published = *ledger;
    }

    /// The ledger as last published.
    pub(crate) fn published(&self) -> &Ledger {
        &self.published
    }

    /// Why it settles nothing, as last set; none while it gets on.
    #[must_use]
    pub fn stalled(&self) -> Option<Reason> {
        self.stalled
    }

    /// Notes why it settles nothing. Rare, so the handles are looked up.
    pub fn set_stalled(&mut self, reason: Option<Reason>) {
        let before = std::mem::replace(&mut self.stalled, reason);
        let [group, topic, partition] = &self.place;
        for (reason, value) in [(before, 0), (reason, 1)] {
            if let Some(reason) = reason {
                let labels = [group, topic, partition, reason.word()];
                self.families.stalled.with_label_values(&labels).set(value);
            }
        }
    }

    /// Notes how many events are still to be read again for deduplication, and how long that took in all,
    /// once it is done.
    pub fn rebuild(&self, remaining: i64, took: Option<Duration>) {
        self.rebuild_remaining.set(remaining);
        if let Some(took) = took {
            self.rebuild_seconds.set(took.as_secs_f64());
        }
    }
}

impl Drop for PartitionMetrics {
    fn drop(&mut self) {
        self.set_stalled(None);
        self.families.given_up(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn gauges_of_a_partition_go_with_its_last_assignment_and_counters_stay() {
        let metrics = Metrics::new().unwrap();
        let group = metrics.group("g");
        let mut ledger = Ledger::default();
        ledger.polled = 3;
        ledger.count(Settled::Processed, 1);
        let behind = Behind {
            events: 7,
            age_ms: 1_500,
        };
        let mut before = group.partition("t", 0);
        before.publish(&ledger, Some(behind));
        before.set_stalled(Some(Reason::Parked));
        let mut after = group.partition("t", 0);
        after.publish(&ledger, Some(behind));

        drop(before);
        let read = metrics.read();
        assert_eq!(read.sum("kafka_consumergroup_lag", &[]), 7.0);
        assert_eq!(read.sum("kafka_consumergroup_lag_seconds", &[]), 1.5);
        drop(after);
        let text = metrics.render().unwrap();
        for gone in [
            "kafka_consumergroup_lag",
            "kafka_consumergroup_lag_seconds",
            "millrace_events_in_flight",
            "millrace_events_parked",
            "millrace_partition_stalled",
            "millrace_dedup_rebuild_remaining",
        ] {
            assert!(!text.contains(&format!("{gone}{{")), "{gone}");
        }
        assert_eq!(metrics.read().sum("millrace_events_total", &[]), 2.0);
    }

    #[test]
    fn a_lag_that_is_not_known_is_not_shown() {
        let metrics = Metrics::new().unwrap();
        let mut partition = metrics.group("g").partition("t", 0);
        partition.publish(&Ledger::default(), None);
        let text = metrics.render().unwrap();
        assert!(!text.contains("kafka_consumergroup_lag"));
    }
}
