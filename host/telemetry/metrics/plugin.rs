//! Figures of a plugin's own, under its name as prefix, bounded in number.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, Opts,
    Registry,
};

use super::families::DURATION_BUCKETS;
use crate::sandbox::{MetricChange, MetricKind};

/// Of histograms that are not of seconds: from 1 to a billion, in powers of four. What is counted and what is
/// measured in bytes lies there.
const AMOUNT_BUCKETS: (f64, f64, usize) = (1.0, 4.0, 16);

/// A registered metric of a plugin's own.
#[derive(Debug, Clone)]
enum OwnVec {
    Counter(CounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// One series of it.
#[derive(Debug, Clone)]
enum OwnSeries {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// What plugins have registered. One plugin may run in several lanes and groups.
pub(super) type Registered = Arc<Mutex<Own>>;

/// The metrics of all plugins.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// By full name, with the names of its labels.
    vecs: HashMap<String, (Vec<String>, OwnVec)>,
    /// By prefix: every series that was made.
    series: HashMap<String, HashSet<String>>,
}

/// The figures of one plugin in one lane.
#[derive(Debug)]
pub(super) struct PluginMetrics {
    registry: Registry,
    registered: Registered,
    prefix: String,
    /// Series that the plugin may have, over all lanes and groups. Label values made from user ids would
    /// otherwise take all memory.
    series_max: usize,
    /// Those that this lane has met.
    series: HashMap<String, OwnSeries>,
    refused: IntCounter,
    scratch: String,
}

impl PluginMetrics {
    pub(super) fn new(
        (registry, registered): (Registry, Registered),
        plugin: &str,
        series_max: usize,
        refused: IntCounter,
    ) -> Self {
        Self {
            registry,
            registered,
            prefix: format!("{}_", plugin.replace('-', "_")),
            series_max,
            series: HashMap::new(),
            refused,
            scratch: String::new(),
        }
    }

    pub(super) fn apply(&mut self, changes: &[MetricChange]) {
        for change in changes {
            self.scratch.clear();
            self.scratch.push_str(&change.name);
            for (name, value) in &change.labels {
                for part in [name, value] {
                    self.scratch.push('\u{1f}');
                    self.scratch.push_str(part);
                }
            }
            if !self.series.contains_key(&self.scratch)
                && let Some(made) = self.make(change)
            {
                self.series.insert(self.scratch.clone(), made);
            }
            match (self.series.get(&self.scratch), change.kind) {
                (Some(OwnSeries::Counter(c)), MetricKind::Counter) => c.inc_by(change.value),
                (Some(OwnSeries::Gauge(g)), MetricKind::Gauge) => g.set(change.value),
                (Some(OwnSeries::Histogram(h)), MetricKind::Histogram) => h.observe(change.value),
                _ => self.refused.inc(),
            }
        }
    }

    /// None where there are too many, or where the name is used with another kind or other labels.
    fn make(&self, change: &MetricChange) -> Option<OwnSeries> {
        let name = format!("{}{}", self.prefix, change.name);
        let (names, values): (Vec<&str>, Vec<&str>) = change
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .unzip();
        let mut own = self
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Own { vecs, series } = &mut *own;
        let series = series.entry(self.prefix.clone()).or_default();
        if !series.contains(&self.scratch) && series.len() >= self.series_max {
            return None;
        }
        let (known, vec) = match vecs.entry(name.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let vec = self.register(&name, change.kind, &names)?;
                new.insert((names.iter().map(|name| (*name).to_owned()).collect(), vec))
            }
        };
        if *known != names {
            return None;
        }
        let made = match (vec, change.kind) {
            (OwnVec::Counter(vec), MetricKind::Counter) => vec
                .get_metric_with_label_values(&values)
                .map(OwnSeries::Counter),
            (OwnVec::Gauge(vec), MetricKind::Gauge) => vec
                .get_metric_with_label_values(&values)
                .map(OwnSeries::Gauge),
            (OwnVec::Histogram(vec), MetricKind::Histogram) => vec
                .get_metric_with_label_values(&values)
                .map(OwnSeries::Histogram),
            _ => return None,
        };
        series.insert(self.scratch.clone());
        made.ok()
    }

    fn register(&self, name: &str, kind: MetricKind, labels: &[&str]) -> Option<OwnVec> {
        let options = Opts::new(name, "A metric of the plugin's own.");
        match kind {
            MetricKind::Counter => {
                let vec = CounterVec::new(options, labels).ok()?;
                self.registry.register(Box::new(vec.clone())).ok()?;
                Some(OwnVec::Counter(vec))
            }
            MetricKind::Gauge => {
                let vec = GaugeVec::new(options, labels).ok()?;
                self.registry.register(Box::new(vec.clone())).ok()?;
                Some(OwnVec::Gauge(vec))
            }
            MetricKind::Histogram => {
                // The unit is the end of a name, as Prometheus advises.
                let (start, factor, count) = if name.ends_with("_seconds") {
                    DURATION_BUCKETS
                } else {
                    AMOUNT_BUCKETS
                };
                let buckets = prometheus::exponential_buckets(start, factor, count).ok()?;
                let options = HistogramOpts::from(options).buckets(buckets);
                let vec = HistogramVec::new(options, labels).ok()?;
                self.registry.register(Box::new(vec.clone())).ok()?;
                Some(OwnVec::Histogram(vec))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    fn change(kind: MetricKind, name: &str, labels: &[(&str, &str)], value: f64) -> MetricChange {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        MetricChange {
            event_index: 0,
            kind,
            name: name.to_owned(),
            labels: labels.iter().map(label).collect(),
            value,
        }
    }

    fn count(name: &str, labels: &[(&str, &str)]) -> MetricChange {
        change(MetricKind::Counter, name, labels, 1.0)
    }

    /// Lines of the text format that begin so.
    fn lines(metrics: &Metrics, start: &str) -> Vec<String> {
        let text = metrics.render().unwrap();
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn series_are_bounded_over_all_lanes_and_the_rest_is_counted() {
        let metrics = Metrics::new().unwrap();
        let mut lanes = [0, 1].map(|lane| metrics.lane("g", "my-plugin", lane, 3));
        for user in ["a", "b", "c", "d"] {
            for lane in &mut lanes {
                lane.plugin_changes(&[count("seen_total", &[("user", user)])]);
            }
        }
        assert_eq!(
            lines(&metrics, "my_plugin_seen_total{"),
            ["a", "b", "c"].map(|user| format!("my_plugin_seen_total{{user=\"{user}\"}} 2"))
        );
        let refused = lines(&metrics, "millrace_plugin_series_refused_total{");
        assert_eq!(
            refused,
            ["millrace_plugin_series_refused_total{plugin=\"my-plugin\"} 2"]
        );
        metrics
            .lane("g", "other", 2, 3)
            .plugin_changes(&[count("seen_total", &[("user", "d")])]);
        assert_eq!(
            lines(&metrics, "other_seen_total{").len(),
            1,
            "each plugin has its own"
        );
    }

    #[test]
    fn a_name_has_one_kind_and_the_same_labels() {
        let metrics = Metrics::new().unwrap();
        let mut lane = metrics.lane("g", "p", 0, 100);
        lane.plugin_changes(&[
            count("n", &[("a", "1")]),
            change(MetricKind::Gauge, "n", &[("a", "2")], 5.0),
            count("n", &[("b", "1")]),
            count("n", &[]),
            count("twice", &[("a", "1"), ("a", "2")]),
            change(MetricKind::Histogram, "h", &[("le", "1")], 5.0),
        ]);
        assert_eq!(lines(&metrics, "p_"), ["p_n{a=\"1\"} 1"]);
        let refused = lines(&metrics, "millrace_plugin_series_refused_total{");
        assert_eq!(
            refused,
            ["millrace_plugin_series_refused_total{plugin=\"p\"} 5"]
        );
    }

    #[test]
    fn buckets_fit_the_unit_that_a_name_ends_in() {
        let metrics = Metrics::new().unwrap();
        let mut lane = metrics.lane("g", "p", 0, 100);
        lane.plugin_changes(&[
            change(MetricKind::Histogram, "wait_seconds", &[], 0.003),
            change(MetricKind::Histogram, "size_bytes", &[], 5_000.0),
        ]);
        // Each value is told apart from others by about its own size.
        let first = |name: &str| {
            let lines = lines(&metrics, name);
            lines.iter().position(|line| line.ends_with(" 1"))
        };
        assert_eq!(first("p_wait_seconds_bucket"), Some(12));
        assert_eq!(first("p_size_bytes_bucket"), Some(7));
    }
}
