//! What there is to see of a running host: figures of its groups and of what the plugins count.
//!
//! It must not know how it is shown.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::config::Config;
use crate::delivery::ledger::Settled;
use crate::telemetry::metrics::{Figures, Metrics};

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct View {
    /// In the order of the configuration.
    pub(super) groups: Vec<GroupFigures>,
    /// By what plugins count under `events_total` with the label `event_type`, the most frequent
    /// first.
    pub(super) types: Vec<TypeFigures>,
}

/// One group. All but the rate, what is parked and the lag are counts since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GroupFigures {
    pub(super) group: String,
    /// Events that left the data path in any way, by second, since the view before.
    pub(super) per_second: f64,
    pub(super) polled: u64,
    pub(super) processed: u64,
    pub(super) filtered: u64,
    pub(super) duplicate: u64,
    /// Attempts repeated.
    pub(super) retries: u64,
    pub(super) dead: u64,
    pub(super) parked: u64,
    pub(super) in_flight: u64,
    /// Events between what is settled and the end of the partitions.
    pub(super) lag: u64,
}

/// Events of one type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TypeFigures {
    pub(super) event_type: String,
    pub(super) events: u64,
    pub(super) per_second: f64,
}

/// Looks again and again, and remembers what it needs for rates.
#[derive(Debug)]
pub(super) struct Watch {
    metrics: Metrics,
    groups: Vec<String>,
    /// What plugins may count event types under.
    type_counters: Vec<String>,
    last_look: Instant,
    left: BTreeMap<String, u64>,
    by_type: BTreeMap<String, u64>,
}

impl Watch {
    /// Begins now.
    pub(super) fn new(metrics: Metrics, config: &Config, now: Instant) -> Self {
        Self {
            metrics,
            groups: config.groups.iter().map(|group| group.id.clone()).collect(),
            type_counters: config
                .plugins
                .keys()
                .map(|plugin| format!("{}_events_total", plugin.replace('-', "_")))
                .collect(),
            last_look: now,
            left: BTreeMap::new(),
            by_type: BTreeMap::new(),
        }
    }

    /// What there is to see now.
    pub(super) fn look(&mut self, now: Instant) -> View {
        let figures = self.metrics.read();
        let seconds = now.duration_since(self.last_look).as_secs_f64();
        self.last_look = now;
        let left = &mut self.left;
        let groups = self.groups.iter().map(|group| {
            let mut row = GroupFigures::read(group, &figures);
            let all = count(figures.sum("millrace_events_total", &[("group", group)]));
            let before = left.insert(group.clone(), all).unwrap_or(0);
            row.per_second = rate(before, all, seconds);
            row
        });
        let groups = groups.collect();
        let types = self.look_at_types(&figures, seconds);
        View { groups, types }
    }

    fn look_at_types(&mut self, figures: &Figures, seconds: f64) -> Vec<TypeFigures> {
        let mut sums = BTreeMap::<String, u64>::new();
        for counter in &self.type_counters {
            for (event_type, events) in figures.sums_by(counter, "event_type") {
                *sums.entry(event_type).or_default() += count(events);
            }
        }
        let of = |(event_type, events): (&String, &u64)| TypeFigures {
            per_second: rate(
                self.by_type.get(event_type).copied().unwrap_or(0),
                *events,
                seconds,
            ),
            event_type: event_type.clone(),
            events: *events,
        };
        let mut types: Vec<_> = sums.iter().map(of).collect();
        types.sort_by_key(|row| std::cmp::Reverse(row.events));
        self.by_type = sums;
        types
    }
}

impl GroupFigures {
    fn read(group: &str, figures: &Figures) -> Self {
        let of = |name| count(figures.sum(name, &[("group", group)]));
        let settled = |settled: Settled| {
            let labels = [("group", group), ("outcome", settled.word())];
            count(figures.sum("millrace_events_total", &labels))
        };
        Self {
            group: group.to_owned(),
            per_second: 0.0,
            polled: of("millrace_events_polled_total"),
            processed: settled(Settled::Processed),
            filtered: settled(Settled::Filtered),
            duplicate: settled(Settled::Duplicate),
            retries: of("millrace_retries_total"),
            dead: settled(Settled::Dead),
            parked: of("millrace_events_parked"),
            in_flight: of("millrace_events_in_flight"),
            lag: count(figures.sum("kafka_consumergroup_lag", &[("consumergroup", group)])),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and counts are exact up to 9e15"
)]
fn count(figure: f64) -> u64 {
    figure as u64
}

#[allow(clippy::cast_precision_loss, reason = "a rate to look at")]
fn rate(before: u64, now: u64, seconds: f64) -> f64 {
    // The first look may follow the start at once.
    if seconds < 1e-3 {
        return 0.0;
    }
    now.saturating_sub(before) as f64 / seconds
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config;
    use crate::delivery::behind::Behind;
    use crate::delivery::ledger::Ledger;
    use crate::sandbox::{MetricChange, MetricKind};

    fn configuration() -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.wasm"), "").unwrap();
        let text = "kafka: { brokers: b:1 }\nplugins: { view-test: { path: a.wasm } }\n\
                    groups: [ { id: g, routes: { t: view-test }, store: s }, { id: h, routes: { t: view-test }, store: r } ]\n";
        config::parse(text, "t", folder.path(), std::iter::empty(), &[]).unwrap()
    }

    #[test]
    fn rates_are_what_left_since_the_look_before() {
        let behind = |events| Behind { events, age_ms: 0 };
        let metrics = Metrics::new().unwrap();
        let start = Instant::now();
        let mut watch = Watch::new(metrics.clone(), &configuration(), start);
        let mut partition = metrics.group("g").partition("t", 0);
        let mut ledger = Ledger::default();
        (ledger.polled, ledger.parked) = (120, 5);
        ledger.count(Settled::Processed, 80);
        ledger.count(Settled::Duplicate, 20);
        partition.publish(&ledger, Some(behind(30)));

        let view = watch.look(start + Duration::from_secs(2));

        let g = GroupFigures {
            group: "g".to_owned(),
            per_second: 50.0,
            polled: 120,
            processed: 80,
            duplicate: 20,
            parked: 5,
            in_flight: 15,
            lag: 30,
            ..GroupFigures::default()
        };
        let h = GroupFigures {
            group: "h".to_owned(),
            ..GroupFigures::default()
        };
        assert_eq!(view.groups, [g, h]);

        ledger.count(Settled::Dead, 3);
        partition.publish(&ledger, Some(behind(0)));
        let view = watch.look(start + Duration::from_secs(3));
        assert_eq!((view.groups[0].dead, view.groups[0].lag), (3, 0));
        assert_eq!(view.groups[0].per_second, 3.0);
    }

    #[test]
    fn types_are_those_that_a_plugin_counts_and_the_most_frequent_comes_first() {
        let metrics = Metrics::new().unwrap();
        let start = Instant::now();
        let mut watch = Watch::new(metrics.clone(), &configuration(), start);
        let mut lane = metrics.lane("g", "view-test", 0, 10);
        let change = |event_type: &str, value| MetricChange {
            event_index: 0,
            kind: MetricKind::Counter,
            name: "events_total".to_owned(),
            labels: vec![("event_type".to_owned(), event_type.to_owned())],
            value,
        };
        lane.plugin_changes(&[change("click", 4.0), change("search", 6.0)]);
        let view = watch.look(start + Duration::from_secs(1));
        let of = |event_type: &str, events, per_second| TypeFigures {
            event_type: event_type.to_owned(),
            events,
            per_second,
        };
        assert_eq!(view.types, [of("search", 6, 6.0), of("click", 4, 4.0)]);
        lane.plugin_changes(&[change("click", 4.0)]);
        let view = watch.look(start + Duration::from_secs(2));
        assert_eq!(view.types, [of("click", 8, 4.0), of("search", 6, 0.0)]);
    }
}
