//! All figures at one moment, for readers inside the process who would otherwise have to parse text.
//! It must not know which figures there are.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};

/// The figures of one moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    families: Vec<MetricFamily>,
}

impl Figures {
    pub(super) fn new(families: Vec<MetricFamily>) -> Self {
        Self { families }
    }

    /// The sum over all series of a counter or gauge that carry these labels; 0 where there are none,
    /// because a series comes into being with its first change.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |metric: &&Metric| {
            labels
                .iter()
                .all(|(label, value)| label_of(metric, label) == Some(value))
        };
        self.series(name).filter(carries).map(value_of).sum()
    }

    /// The sums over all series of a counter or gauge, by the value of one label. Series without the
    /// label are left out.
    #[must_use]
    pub fn sums_by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for metric in self.series(name) {
            if let Some(value) = label_of(metric, label) {
                *sums.entry(value.to_owned()).or_default() += value_of(metric);
            }
        }
        sums
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &Metric> {
        self.families
            .iter()
            .filter(move |family| family.name() == name)
            .flat_map(|family| family.get_metric())
    }
}

fn label_of<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    let mut labels = metric.get_label().iter();
    labels
        .find(|label| label.name() == name)
        .map(|label| label.value())
}

/// A series is one or the other; what it is not reads as 0.
fn value_of(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use crate::delivery::behind::Behind;
    use crate::delivery::ledger::{Ledger, Settled};

    #[test]
    fn series_are_summed_by_labels_and_by_the_values_of_one() {
        let metrics = Metrics::new().unwrap();
        let mut assigned = Vec::new();
        for (group, partition, events) in [("g", 0, 3), ("g", 1, 4), ("h", 0, 5)] {
            let mut ledger = Ledger::default();
            ledger.polled = events + 1;
            ledger.count(Settled::Processed, events);
            let mut partition = metrics.group(group).partition("t", partition);
            let behind = Behind {
                events: 1,
                age_ms: 0,
            };
            partition.publish(&ledger, Some(behind));
            assigned.push(partition);
        }
        let figures = metrics.read();
        let name = "millrace_events_total";
        let processed = |group| figures.sum(name, &[("group", group), ("outcome", "processed")]);
        assert_eq!((processed("g"), processed("h")), (7.0, 5.0));
        assert_eq!(figures.sum("kafka_consumergroup_lag", &[]), 3.0);
        assert_eq!(figures.sum("no_such_figure", &[]), 0.0);
        let by_group = figures.sums_by("millrace_events_polled_total", "group");
        assert_eq!(
            by_group.into_iter().collect::<Vec<_>>(),
            [("g".to_owned(), 9.0), ("h".to_owned(), 6.0)]
        );
    }

    #[test]
    fn a_ledger_that_is_read_while_it_is_shown_adds_up() {
        let metrics = Metrics::new().unwrap();
        let mut partition = metrics.group("g").partition("t", 0);
        std::thread::scope(|scope| {
            let shown = scope.spawn(move || {
                let mut ledger = Ledger::default();
                for _ in 0..100_000 {
                    ledger.polled += 13;
                    ledger.count(Settled::Processed, 13);
                    partition.publish(&ledger, None);
                }
            });
            while !shown.is_finished() {
                let figures = metrics.read();
                let polled = figures.sum("millrace_events_polled_total", &[]);
                let in_flight = figures.sum("millrace_events_in_flight", &[]);
                assert_eq!(
                    polled,
                    figures.sum("millrace_events_total", &[]) + in_flight
                );
            }
        });
    }
}
