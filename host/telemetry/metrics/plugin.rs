//! Figures of a plugin's own, under its name as prefix, bounded in number.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, Opts, Registry};

use super::families::DURATION_BUCKETS;
use super::{OwnSeries, OwnVec};
use crate::sandbox::{MetricChange, MetricKind};

/// Series of one plugin in one lane. Past this, further ones are counted as refused: label values made
/// from user ids would otherwise take all memory.
const SERIES_MAX: usize = 1_000;

/// What plugins have registered, by full name. One plugin may run in several lanes and groups.
pub(super) type Registered = Arc<Mutex<HashMap<String, OwnVec>>>;

/// The figures of one plugin in one lane.
#[derive(Debug)]
pub(super) struct PluginMetrics {
    registry: Registry,
    registered: Registered,
    prefix: String,
    series: HashMap<String, Option<OwnSeries>>,
    refused: IntCounter,
    scratch: String,
}

impl PluginMetrics {
    pub(super) fn new(
        (registry, registered): (Registry, Registered),
        plugin: &str,
        refused: IntCounter,
    ) -> Self {
        let prefix = format!("{}_", plugin.replace('-', "_"));
        Self {
            registry,
            registered,
            prefix,
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
            if !self.series.contains_key(&self.scratch) {
                if self.series.len() >= SERIES_MAX {
                    self.refused.inc();
                    continue;
                }
                let made = self.make(change);
                self.series.insert(self.scratch.clone(), made);
            }
            match (self.series.get(&self.scratch), change.kind) {
                (Some(Some(OwnSeries::Counter(c))), MetricKind::Counter) => c.inc_by(change.value),
                (Some(Some(OwnSeries::Gauge(g))), MetricKind::Gauge) => g.set(change.value),
                (Some(Some(OwnSeries::Histogram(h))), MetricKind::Histogram) => {
                    h.observe(change.value);
                }
                _ => self.refused.inc(),
            }
        }
    }

    fn make(&self, change: &MetricChange) -> Option<OwnSeries> {
        let name = format!("{}{}", self.prefix, change.name);
        let names: Vec<&str> = change
            .labels
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let values: Vec<&str> = change
            .labels
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        let mut registered = self
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let vec = match registered.entry(name.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.register(&name, change.kind, &names)?),
        };
        match vec {
            OwnVec::Counter(vec) => vec
                .get_metric_with_label_values(&values)
                .ok()
                .map(OwnSeries::Counter),
            OwnVec::Gauge(vec) => vec
                .get_metric_with_label_values(&values)
                .ok()
                .map(OwnSeries::Gauge),
            OwnVec::Histogram(vec) => vec
                .get_metric_with_label_values(&values)
                .ok()
                .map(OwnSeries::Histogram),
        }
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
                let (start, factor, count) = DURATION_BUCKETS;
                let buckets = prometheus::exponential_buckets(start, factor, count).ok()?;
                let options = HistogramOpts::from(options).buckets(buckets);
                let vec = HistogramVec::new(options, labels).ok()?;
                self.registry.register(Box::new(vec.clone())).ok()?;
                Some(OwnVec::Histogram(vec))
            }
        }
    }
}
