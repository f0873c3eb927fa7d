//! Figures in Prometheus' form. Handles are resolved when a partition, a lane or a group starts; the data
//! path only adds to them.

mod configuration;
mod families;
mod figures;
mod group;
mod of_plugin;
mod partition;
mod plugin;
mod producer;
mod schemas;
mod spans;
mod trials;
mod versions;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder as _, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
};

use self::configuration::ConfigurationFamilies;
use self::families::{GroupFamilies, LaneFamilies, PartitionFamilies};
pub use self::figures::Figures;
pub use self::group::GroupMetrics;
pub use self::of_plugin::PluginCounts;
pub use self::partition::PartitionMetrics;
use self::plugin::{PluginMetrics, Registered};
use self::producer::ProducerFamilies;
pub use self::producer::ProducerMetrics;
pub use self::schemas::SchemaRegistryMetrics;
pub use self::spans::SpanMetrics;
use self::trials::TrialFamilies;
pub use self::trials::TrialMetrics;
use self::versions::VersionFamilies;
pub use self::versions::VersionLabels;
use crate::delivery::dead_letter::Cause;
use crate::sandbox::{FaultKind, MetricChange, WebCounts, Worn};

/// All figures of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Metrics of plugins' own.
    own: Registered,
    partitions: PartitionFamilies,
    groups: GroupFamilies,
    lanes: LaneFamilies,
    versions: VersionFamilies,
    trials: TrialFamilies,
    schemas: SchemaRegistryMetrics,
    ingest: IntCounterVec,
    validation_refused: IntCounterVec,
    schema_reloads: IntCounterVec,
    producer: ProducerFamilies,
    configuration: ConfigurationFamilies,
    spans: SpanMetrics,
}

/// How many events one version of a plugin was called with, in one group.
#[derive(Debug, Default)]
pub struct VersionEvents(Option<IntCounter>);

/// Figures of one lane.
#[derive(Debug)]
pub struct LaneMetrics {
    families: LaneFamilies,
    versions: VersionFamilies,
    /// Events of the version that the lane calls.
    events: VersionEvents,
    group: String,
    plugin: String,
    lane: String,
    retries: IntCounter,
    not_now: IntCounter,
    duration: Histogram,
    batch_events: Histogram,
    dedup_window: IntGauge,
    park_used: Gauge,
    web: [IntCounter; 3],
    own: PluginMetrics,
}

impl Metrics {
    /// Registers every figure of the host.
    ///
    /// # Errors
    /// Two figures have one name, which is a mistake in this folder.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = families::gauge(
            &registry,
            "millrace_build_info",
            "The version of the host.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // What every process of a machine is watched by: memory, processor time, open files, start.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            partitions: PartitionFamilies::register(&registry)?,
            groups: GroupFamilies::register(&registry)?,
            lanes: LaneFamilies::register(&registry)?,
            versions: VersionFamilies::register(&registry)?,
            trials: TrialFamilies::register(&registry)?,
            schemas: SchemaRegistryMetrics::register(&registry)?,
            ingest: families::counter(
                &registry,
                "millrace_ingest_events_total",
                "Events at the gateways, by what became of them.",
                &["gateway", "status"],
            )?,
            validation_refused: families::counter(
                &registry,
                "millrace_validation_refused_events_total",
                "Events that broke rules, by where they were checked and what was wrong.",
                &["rules", "at", "stage"],
            )?,
            schema_reloads: families::counter(
                &registry,
                "millrace_schema_reloads_total",
                "Changed schemas that were read again, by what became of them.",
                &["rules", "outcome"],
            )?,
            producer: ProducerFamilies::register(&registry)?,
            configuration: ConfigurationFamilies::register(&registry)?,
            spans: SpanMetrics::register(&registry)?,
            own: Registered::default(),
            registry,
        })
    }

    /// Events that broke rules so far.
    pub fn validation_refused(&self, rules: &str, at: &str, stage: &str, events: u64) {
        self.raise(&self.validation_refused, &[rules, at, stage], events);
    }

    /// How often changed schemas were taken up, and refused.
    pub fn schema_reloads(&self, rules: &str, taken: u64, refused: u64) {
        for (outcome, times) in [("taken", taken), ("refused", refused)] {
            self.raise(&self.schema_reloads, &[rules, outcome], times);
        }
    }

    /// Handles of one group.
    #[must_use]
    pub fn group(&self, group: &str) -> GroupMetrics {
        GroupMetrics::new(&self.groups, &self.partitions, group)
    }

    /// Handles of the schema registry.
    #[must_use]
    pub fn schema_registry(&self) -> SchemaRegistryMetrics {
        self.schemas.clone()
    }

    /// Handles of tracing.
    #[must_use]
    pub fn spans(&self) -> SpanMetrics {
        self.spans.clone()
    }

    /// Handles of one lane, whose plugin may have so many series of its own.
    #[must_use]
    pub fn lane(&self, group: &str, plugin: &str, lane: usize, series_max: usize) -> LaneMetrics {
        let labels = [group, plugin];
        let families = &self.lanes;
        let lane = lane.to_string();
        let of_lane = [group, plugin, &lane];
        families.begin_at_zero(labels);
        LaneMetrics {
            retries: families.retries.with_label_values(&labels),
            not_now: families.not_now.with_label_values(&labels),
            duration: families.duration.with_label_values(&labels),
            batch_events: families.batch_events.with_label_values(&labels),
            dedup_window: families.dedup_window.with_label_values(&of_lane),
            park_used: families.park_used.with_label_values(&of_lane),
            web: [
                families.web.requests.with_label_values(&labels),
                families.web.denied.with_label_values(&labels),
                families.web.failed.with_label_values(&labels),
            ],
            own: PluginMetrics::new(
                (self.registry.clone(), Arc::clone(&self.own)),
                plugin,
                series_max,
                families.series_refused.with_label_values(&[plugin]),
            ),
            group: group.to_owned(),
            plugin: plugin.to_owned(),
            lane,
            families: families.clone(),
            versions: self.versions.clone(),
            events: VersionEvents::default(),
        }
    }

    /// Shows which version of a plugin serves, and counts the events of `others` on: the version before, and a
    /// candidate. All others are forgotten.
    pub fn plugin_serves(
        &self,
        plugin: &str,
        current: VersionLabels<'_>,
        others: &[VersionLabels<'_>],
    ) {
        self.versions.serve(plugin, current, others);
    }

    /// Handles of the candidate for the next version of a plugin.
    #[must_use]
    pub fn trial(&self, plugin: &str) -> TrialMetrics {
        self.trials.of(plugin)
    }

    /// Shows whether a candidate for the next version of a plugin is tried; none where there is no candidate.
    pub fn trial_runs(&self, plugin: &str, runs: Option<bool>) {
        self.trials.show(plugin, runs);
    }

    /// Forgets which version of a plugin serves that is not configured any more.
    pub fn plugin_is_gone(&self, plugin: &str) {
        self.versions.forget(plugin);
        self.trials.show(plugin, None);
    }

    /// Forgets what a group waits for, and the state of its plugins; it is not configured any more, or starts anew.
    pub fn group_is_gone<'p>(&self, group: &str, plugins: impl Iterator<Item = &'p str>) {
        let families = &self.groups;
        for plugin in plugins {
            for family in [
                &families.breaker_open,
                &families.state_bytes,
                &families.state_entries,
            ] {
                // What is not there cannot be removed, and need not be.
                let _gone = family.remove_label_values(&[group, plugin]);
            }
        }
    }

    /// How many pauses of a kind hold in a group.
    pub fn pauses(&self, group: &str, of: &str, pauses: usize) {
        let gauge = self.groups.pauses.with_label_values(&[group, of]);
        gauge.set(i64::try_from(pauses).unwrap_or(i64::MAX));
    }

    /// Forgets the pauses of a group, of all these kinds.
    pub fn pauses_are_gone(&self, group: &str, kinds: &[&str]) {
        for kind in kinds {
            // What is not there cannot be removed, and need not be.
            let _gone = self.groups.pauses.remove_label_values(&[group, kind]);
        }
    }

    /// Another configuration serves.
    pub fn configuration_taken(&self) {
        self.configuration.taken();
    }

    /// Another configuration was refused.
    pub fn configuration_refused(&self) {
        self.configuration.refused();
    }

    /// Counts a version of a plugin that was to serve and does not.
    pub fn version_refused(&self, plugin: &str) {
        self.versions.refused(plugin).inc();
    }

    /// Notes how many events a gateway has answered with this status.
    pub fn ingest(&self, gateway: &str, status: &str, events: u64) {
        self.raise(&self.ingest, &[gateway, status], events);
    }

    /// Takes over a count that somebody else keeps and that only rises.
    fn raise(&self, family: &IntCounterVec, labels: &[&str], to: u64) {
        let moment = &self.partitions.moment;
        // Two scrapes at a time would both add what is new.
        let _moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = family.with_label_values(labels);
        counter.inc_by(to.saturating_sub(counter.get()));
    }

    /// Shows what the producer of the gateways is doing.
    pub fn producer(&self, figures: &ProducerMetrics<'_>) {
        self.producer.show(figures);
    }

    /// Everything as it is now.
    #[must_use]
    pub fn read(&self) -> Figures {
        Figures::new(self.gather())
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// A figure cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let moment = &self.partitions.moment;
        let _moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
        self.registry.gather()
    }
}

impl Drop for LaneMetrics {
    fn drop(&mut self) {
        // A lane that is gone holds nothing back. What is not there cannot be removed, and need not be.
        let families = &self.families;
        let of_lane = [&self.group, &self.plugin, &self.lane];
        let _gone = families.dedup_window.remove_label_values(&of_lane);
        let _gone = families.park_used.remove_label_values(&of_lane);
    }
}

impl LaneMetrics {
    /// One call over this many events.
    pub fn call(&self, took: Duration, events: usize) {
        self.duration
            .observe(took.as_secs_f64() / events.max(1) as f64);
        self.batch_events.observe(events as f64);
    }

    /// From here on another version is called, by its name and digest.
    pub fn set_version(&mut self, version: VersionLabels<'_>) {
        self.events = self.version_events(version);
    }

    /// The count of another version, to be exchanged for that of the one that is called.
    #[must_use]
    pub fn version_events(&self, version: VersionLabels<'_>) -> VersionEvents {
        VersionEvents(Some(self.versions.events(
            &self.group,
            &self.plugin,
            version,
        )))
    }

    /// Exchanges the count of the version that is called for that of another.
    pub fn change_version(&mut self, other: &mut VersionEvents) {
        std::mem::swap(&mut self.events, other);
    }

    /// Events that the version was called with and that were judged.
    pub fn judged(&self, events: usize) {
        if let VersionEvents(Some(counter)) = &self.events {
            counter.inc_by(events as u64);
        }
    }

    /// One version that the lane could not call. Rare, so its handle is looked up.
    pub fn version_refused(&self) {
        self.versions.refused(&self.plugin).inc();
    }

    /// One repeated attempt.
    pub fn retry(&self) {
        self.retries.inc();
    }

    /// One event that cannot be decoded yet, and waits.
    pub fn not_now(&self) {
        self.not_now.inc();
    }

    /// One call that ended without an answer. Rare, so its handle is looked up.
    pub fn fault(&self, kind: FaultKind) {
        let labels = [self.group.as_str(), self.plugin.as_str(), kind.word()];
        self.families.traps.with_label_values(&labels).inc();
    }

    /// A limit of the plugin was gone past, so often. Rare, so its handle is looked up.
    pub fn limit(&self, limit: &str, times: u64) {
        let labels = [self.group.as_str(), self.plugin.as_str(), limit];
        let counter = self.families.limits.with_label_values(&labels);
        counter.inc_by(times);
    }

    /// One instance has made room for a new one. Rare, so its handle is looked up.
    pub fn recycled(&self, worn: Worn) {
        let labels = [self.group.as_str(), self.plugin.as_str(), worn.word()];
        self.families.recycled.with_label_values(&labels).inc();
    }

    /// The next instance waits. Rare, so its handle is looked up.
    pub fn restart_delayed(&self) {
        let labels = [self.group.as_str(), self.plugin.as_str()];
        let delays = &self.families.restart_delays;
        delays.with_label_values(&labels).inc();
    }

    /// One event given up on. Rare, so its handle is looked up.
    pub fn dead_letter(&self, cause: Cause) {
        let labels = [self.group.as_str(), self.plugin.as_str(), cause.word()];
        self.families.dead_letters.with_label_values(&labels).inc();
    }

    /// How many ids are remembered.
    pub fn dedup_window(&self, events: usize) {
        self.dedup_window.set(events as i64);
    }

    /// How much of its budget is taken by what waits for a retry, from 0 to 1.
    pub fn park_used(&self, part: f64) {
        self.park_used.set(part);
    }

    /// HTTP requests of the plugin.
    pub fn web_requests(&self, counts: WebCounts) {
        let counts = [counts.requests, counts.denied, counts.failed];
        for (counter, count) in self.web.iter().zip(counts) {
            counter.inc_by(count);
        }
    }

    /// Applies changes of the plugin's own figures.
    pub fn plugin_changes(&mut self, changes: &[MetricChange]) {
        self.own.apply(changes);
    }
}
