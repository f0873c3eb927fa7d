//! Figures in Prometheus' form. Handles are resolved when a partition, a lane or a group starts; the data
//! path only adds to them.

mod figures;
mod plugin;

use std::time::Duration;

use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec,
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use self::figures::Figures;
use self::plugin::PluginMetrics;
use crate::delivery::dead_letter::Cause;
use crate::delivery::ledger::{Ledger, Settled};
use crate::sandbox::{FaultKind, MetricChange};

/// From one microsecond to four seconds, doubling: a sandboxed handler lives at the lower end, and the
/// default deadline is in reach.
const DURATION_BUCKETS: (f64, f64, usize) = (1e-6, 2.0, 23);

/// From one event to the largest batch, doubling.
const BATCH_BUCKETS: (f64, f64, usize) = (1.0, 2.0, 10);

/// All figures of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    polled: IntCounterVec,
    events: IntCounterVec,
    in_flight: IntGaugeVec,
    parked: IntGaugeVec,
    lag: IntGaugeVec,
    ledger_holes: IntCounterVec,
    commits: IntCounterVec,
    commit_failures: IntCounterVec,
    rewinds: IntCounterVec,
    stale_stores: IntCounterVec,
    emissions: IntCounterVec,
    dead_letters: IntCounterVec,
    retries: IntCounterVec,
    traps: IntCounterVec,
    duration: HistogramVec,
    batch_events: HistogramVec,
    dedup_window: IntGaugeVec,
    plugin_info: IntGaugeVec,
    series_refused: IntCounterVec,
    ingest: IntGaugeVec,
}

/// Figures of one group.
#[derive(Debug, Clone)]
pub struct GroupMetrics {
    all: Metrics,
    group: String,
    /// Ledgers that did not close.
    pub ledger_holes: IntCounter,
    /// Commits that the broker acknowledged.
    pub commits: IntCounter,
    /// Commits that it refused.
    pub commit_failures: IntCounter,
    /// Partitions found rewound.
    pub rewinds: IntCounter,
    /// Partitions that another host had gone on with.
    pub stale_stores: IntCounter,
    /// Emissions acknowledged.
    pub emissions: IntCounter,
}

/// Figures of one assigned partition.
#[derive(Debug)]
pub struct PartitionMetrics {
    polled: IntCounter,
    events: Vec<IntCounter>,
    in_flight: IntGauge,
    parked: IntGauge,
    lag: IntGauge,
    /// What has been published of the ledger.
    published: Ledger,
}

/// Figures of one lane.
#[derive(Debug)]
pub struct LaneMetrics {
    all: Metrics,
    group: String,
    plugin: String,
    retries: IntCounter,
    duration: Histogram,
    batch_events: Histogram,
    dedup_window: IntGauge,
    own: PluginMetrics,
}

impl Metrics {
    /// Registers every figure of the host.
    ///
    /// # Errors
    /// Two figures have one name, which is a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let histogram = |name: &str, help: &str, (start, factor, count): (f64, f64, usize)| {
            let buckets = prometheus::exponential_buckets(start, factor, count)?;
            let options = HistogramOpts::new(name, help).buckets(buckets);
            let vec = HistogramVec::new(options, &["group", "plugin"])?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let place = ["group", "topic", "partition"];
        let build = gauge(
            "millrace_build_info",
            "The version of the host.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            polled: counter(
                "millrace_events_polled_total",
                "Events taken from Kafka.",
                &place,
            )?,
            events: counter(
                "millrace_events_total",
                "Events that left the data path, by how.",
                &["group", "topic", "partition", "outcome"],
            )?,
            in_flight: gauge(
                "millrace_events_in_flight",
                "Events in the data path.",
                &place,
            )?,
            parked: gauge(
                "millrace_events_parked",
                "Events held back for a retry, or behind one.",
                &place,
            )?,
            lag: gauge(
                "kafka_consumergroup_lag",
                "Events between what is settled and the end of the partition.",
                &["consumergroup", "topic", "partition"],
            )?,
            ledger_holes: counter(
                "millrace_ledger_holes_total",
                "Ledgers that did not close: a bug of the host. Alert on any.",
                &["group"],
            )?,
            commits: counter(
                "millrace_commits_total",
                "Commits acknowledged.",
                &["group"],
            )?,
            commit_failures: counter(
                "millrace_commit_failures_total",
                "Commits refused.",
                &["group"],
            )?,
            rewinds: counter(
                "millrace_rewinds_total",
                "Partitions whose commit was found lower than before.",
                &["group"],
            )?,
            stale_stores: counter(
                "millrace_stale_partitions_total",
                "Partitions that another host had gone on with, so that stored rows were set aside.",
                &["group"],
            )?,
            emissions: counter(
                "millrace_emissions_total",
                "Records that ticks emitted, acknowledged.",
                &["group"],
            )?,
            dead_letters: counter(
                "millrace_dead_letters_total",
                "Events given up on, by cause.",
                &["group", "plugin", "cause"],
            )?,
            retries: counter(
                "millrace_retries_total",
                "Attempts repeated.",
                &["group", "plugin"],
            )?,
            traps: counter(
                "millrace_plugin_traps_total",
                "Calls that ended without an answer, by kind.",
                &["group", "plugin", "kind"],
            )?,
            duration: histogram(
                "millrace_handler_duration_seconds",
                "Time of a call divided by its events, observed once a call.",
                DURATION_BUCKETS,
            )?,
            batch_events: histogram("millrace_batch_events", "Events of a call.", BATCH_BUCKETS)?,
            dedup_window: gauge(
                "millrace_dedup_window_events",
                "Ids remembered by a lane.",
                &["group", "plugin", "lane"],
            )?,
            plugin_info: gauge(
                "millrace_plugin_info",
                "The loaded version of a plugin.",
                &["plugin", "digest"],
            )?,
            series_refused: counter(
                "millrace_plugin_series_refused_total",
                "Changes of a plugin's own metrics refused: too many series, or one name used in two ways.",
                &["plugin"],
            )?,
            ingest: gauge(
                "millrace_ingest_events",
                "Events at the gateway, by what became of them.",
                &["status"],
            )?,
            registry,
        })
    }

    /// Handles of one group.
    #[must_use]
    pub fn group(&self, group: &str) -> GroupMetrics {
        let of = |counter: &IntCounterVec| counter.with_label_values(&[group]);
        GroupMetrics {
            group: group.to_owned(),
            ledger_holes: of(&self.ledger_holes),
            commits: of(&self.commits),
            commit_failures: of(&self.commit_failures),
            rewinds: of(&self.rewinds),
            stale_stores: of(&self.stale_stores),
            emissions: of(&self.emissions),
            all: self.clone(),
        }
    }

    /// Handles of one lane.
    #[must_use]
    pub fn lane(&self, group: &str, plugin: &str, lane: usize) -> LaneMetrics {
        let labels = [group, plugin];
        LaneMetrics {
            retries: self.retries.with_label_values(&labels),
            duration: self.duration.with_label_values(&labels),
            batch_events: self.batch_events.with_label_values(&labels),
            dedup_window: self
                .dedup_window
                .with_label_values(&[group, plugin, &lane.to_string()]),
            own: PluginMetrics::new(
                self.registry.clone(),
                plugin,
                self.series_refused.with_label_values(&[plugin]),
            ),
            group: group.to_owned(),
            plugin: plugin.to_owned(),
            all: self.clone(),
        }
    }

    /// Notes which version of a plugin is loaded.
    pub fn plugin_loaded(&self, plugin: &str, digest: &str) {
        self.plugin_info.with_label_values(&[plugin, digest]).set(1);
    }

    /// Notes how many events the gateway has answered with this status.
    pub fn ingest(&self, status: &str, events: u64) {
        self.ingest.with_label_values(&[status]).set(events as i64);
    }

    /// Everything as it is now.
    #[must_use]
    pub fn read(&self) -> Figures {
        Figures::gather(&self.registry)
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// A figure cannot be written as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl GroupMetrics {
    /// Handles of one partition.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> PartitionMetrics {
        let partition = partition.to_string();
        let place = [self.group.as_str(), topic, &partition];
        let outcome = |settled: Settled| {
            let labels = [self.group.as_str(), topic, &partition, settled.word()];
            self.all.events.with_label_values(&labels)
        };
        PartitionMetrics {
            polled: self.all.polled.with_label_values(&place),
            events: Settled::ALL.into_iter().map(outcome).collect(),
            in_flight: self.all.in_flight.with_label_values(&place),
            parked: self.all.parked.with_label_values(&place),
            lag: self.all.lag.with_label_values(&place),
            published: Ledger::default(),
        }
    }
}

impl PartitionMetrics {
    /// Publishes what has changed of the ledger, and the lag where it is known.
    pub fn publish(&mut self, ledger: &Ledger, lag: Option<i64>) {
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
        if let Some(lag) = lag {
            self.lag.set(lag);
        }
        self.published = *ledger;
    }
}

impl LaneMetrics {
    /// One call over this many events.
    pub fn call(&self, took: Duration, events: usize) {
        self.duration
            .observe(took.as_secs_f64() / events.max(1) as f64);
        self.batch_events.observe(events as f64);
    }

    /// One repeated attempt.
    pub fn retry(&self) {
        self.retries.inc();
    }

    /// One call that ended without an answer. Rare, so its handle is looked up.
    pub fn fault(&self, kind: FaultKind) {
        let labels = [self.group.as_str(), self.plugin.as_str(), kind.word()];
        self.all.traps.with_label_values(&labels).inc();
    }

    /// One event given up on. Rare, so its handle is looked up.
    pub fn dead_letter(&self, cause: Cause) {
        let labels = [self.group.as_str(), self.plugin.as_str(), cause.word()];
        self.all.dead_letters.with_label_values(&labels).inc();
    }

    /// How many ids are remembered.
    pub fn dedup_window(&self, events: usize) {
        self.dedup_window.set(events as i64);
    }

    /// Applies changes of the plugin's own figures.
    pub fn plugin_changes(&mut self, changes: &[MetricChange]) {
        self.own.apply(changes);
    }
}

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
