//! The names, helps and labels of every figure of the host's own.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, Result,
};

/// From one microsecond to four seconds, doubling: a sandboxed handler lives at the lower end, and the
/// default deadline is in reach.
pub(super) const DURATION_BUCKETS: (f64, f64, usize) = (1e-6, 2.0, 23);

/// From one event to the largest batch, doubling.
const BATCH_BUCKETS: (f64, f64, usize) = (1.0, 2.0, 10);

const PLACE: [&str; 3] = ["group", "topic", "partition"];
const PLUGIN: [&str; 2] = ["group", "plugin"];

/// Figures by partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionFamilies {
    pub(super) polled: IntCounterVec,
    pub(super) events: IntCounterVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) parked: IntGaugeVec,
    pub(super) lag: IntGaugeVec,
    pub(super) stalled: IntGaugeVec,
    pub(super) rebuild_remaining: IntGaugeVec,
    pub(super) rebuild_seconds: GaugeVec,
}

impl PartitionFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            polled: counter(
                registry,
                "millrace_events_polled_total",
                "Events taken from Kafka.",
                &PLACE,
            )?,
            events: counter(
                registry,
                "millrace_events_total",
                "Events that left the data path, by how.",
                &["group", "topic", "partition", "outcome"],
            )?,
            in_flight: gauge(
                registry,
                "millrace_events_in_flight",
                "Events in the data path.",
                &PLACE,
            )?,
            parked: gauge(
                registry,
                "millrace_events_parked",
                "Events held back for a retry, or behind one.",
                &PLACE,
            )?,
            lag: gauge(
                registry,
                "kafka_consumergroup_lag",
                "Events between what is settled and the end of the partition.",
                &["consumergroup", "topic", "partition"],
            )?,
            stalled: gauge(
                registry,
                "millrace_partition_stalled",
                "1 while a partition with work has settled nothing for a minute, by what it waits for.",
                &["group", "topic", "partition", "reason"],
            )?,
            rebuild_remaining: gauge(
                registry,
                "millrace_dedup_rebuild_remaining",
                "Events still to be read again, so that repeated ids are recognised.",
                &PLACE,
            )?,
            rebuild_seconds: seconds(
                registry,
                "millrace_dedup_rebuild_seconds",
                "How long the last such reading took.",
                &PLACE,
            )?,
        })
    }
}

/// Figures by group.
#[derive(Debug, Clone)]
pub(super) struct GroupFamilies {
    pub(super) ledger_holes: IntCounterVec,
    pub(super) commits: IntCounterVec,
    pub(super) commit_failures: IntCounterVec,
    pub(super) rewinds: IntCounterVec,
    pub(super) stale_stores: IntCounterVec,
    pub(super) emissions: IntCounterVec,
    pub(super) settle_failures: IntCounterVec,
    pub(super) lost_records: IntCounterVec,
    pub(super) refused_records: IntGaugeVec,
    pub(super) lost_partitions: IntCounterVec,
    pub(super) breaker_open: IntGaugeVec,
    pub(super) state_bytes: IntGaugeVec,
    pub(super) state_entries: IntGaugeVec,
    pub(super) rebuild_timeouts: IntCounterVec,
}

impl GroupFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let of_group = |name: &str, help: &str| counter(registry, name, help, &["group"]);
        Ok(Self {
            ledger_holes: of_group(
                "millrace_ledger_holes_total",
                "Ledgers that did not close: a bug of the host. Alert on any.",
            )?,
            commits: of_group("millrace_commits_total", "Commits acknowledged.")?,
            commit_failures: of_group("millrace_commit_failures_total", "Commits refused.")?,
            rewinds: of_group(
                "millrace_rewinds_total",
                "Partitions whose commit was found lower than before.",
            )?,
            stale_stores: of_group(
                "millrace_stale_partitions_total",
                "Partitions that another host had gone on with, so that stored rows were set aside.",
            )?,
            emissions: of_group(
                "millrace_emissions_total",
                "Records that ticks emitted, acknowledged.",
            )?,
            lost_records: of_group(
                "millrace_lost_records_total",
                "Offsets that retention deleted before the group had read them. Alert on any.",
            )?,
            settle_failures: of_group(
                "millrace_settle_failures_total",
                "Settles that the disk refused; they are tried again, and events wait.",
            )?,
            refused_records: gauge(
                registry,
                "millrace_refused_records",
                "Records that the broker refused and has not acknowledged since; their events wait.",
                &["group", "topic"],
            )?,
            breaker_open: gauge(
                registry,
                "millrace_breaker_open",
                "1 while something outside a plugin fails and its events wait.",
                &PLUGIN,
            )?,
            state_bytes: gauge(
                registry,
                "millrace_plugin_state_bytes",
                "What the state of a plugin takes in the store, keys included.",
                &PLUGIN,
            )?,
            state_entries: gauge(
                registry,
                "millrace_plugin_state_entries",
                "Entries of it, expired ones that are still there included.",
                &PLUGIN,
            )?,
            lost_partitions: of_group(
                "millrace_lost_partitions_total",
                "Partitions lost without notice: the session ended, or the host stood still.",
            )?,
            rebuild_timeouts: of_group(
                "millrace_dedup_rebuild_timeouts_total",
                "Partitions that went on before all that was seen had been read again.",
            )?,
        })
    }
}

/// Figures by plugin and lane.
#[derive(Debug, Clone)]
pub(super) struct LaneFamilies {
    pub(super) dead_letters: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) traps: IntCounterVec,
    pub(super) limits: IntCounterVec,
    pub(super) recycled: IntCounterVec,
    pub(super) restart_delays: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) batch_events: HistogramVec,
    pub(super) dedup_window: IntGaugeVec,
    pub(super) series_refused: IntCounterVec,
    pub(super) web: WebFamilies,
}

/// HTTP requests of plugins.
#[derive(Debug, Clone)]
pub(super) struct WebFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) denied: IntCounterVec,
    pub(super) failed: IntCounterVec,
}

impl WebFamilies {
    fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            requests: counter(
                registry,
                "millrace_plugin_http_requests_total",
                "HTTP requests that a plugin asked for.",
                &PLUGIN,
            )?,
            denied: counter(
                registry,
                "millrace_plugin_http_denied_total",
                "Of these, the ones to a host or an address that is not granted.",
                &PLUGIN,
            )?,
            failed: counter(
                registry,
                "millrace_plugin_http_failed_total",
                "Of these, the ones without an answer.",
                &PLUGIN,
            )?,
        })
    }
}

impl LaneFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            dead_letters: counter(
                registry,
                "millrace_dead_letters_total",
                "Events given up on, by cause.",
                &["group", "plugin", "cause"],
            )?,
            retries: counter(
                registry,
                "millrace_retries_total",
                "Attempts repeated.",
                &PLUGIN,
            )?,
            traps: counter(
                registry,
                "millrace_plugin_traps_total",
                "Calls that ended without an answer, by kind.",
                &["group", "plugin", "kind"],
            )?,
            limits: counter(
                registry,
                "millrace_plugin_limit_violations_total",
                "Calls that ended because they went past a limit, and log lines dropped, by the name under `limits`.",
                &["group", "plugin", "limit"],
            )?,
            recycled: counter(
                registry,
                "millrace_plugin_instances_recycled_total",
                "Instances that were well and made room for a new one, by what they had used up.",
                &["group", "plugin", "reason"],
            )?,
            restart_delays: counter(
                registry,
                "millrace_plugin_restart_delays_total",
                "Waits before a new instance of a plugin of which nothing went well.",
                &PLUGIN,
            )?,
            duration: histogram(
                registry,
                "millrace_handler_duration_seconds",
                "Time of a call divided by its events, observed once a call.",
                DURATION_BUCKETS,
            )?,
            batch_events: histogram(
                registry,
                "millrace_batch_events",
                "Events of a call.",
                BATCH_BUCKETS,
            )?,
            dedup_window: gauge(
                registry,
                "millrace_dedup_window_events",
                "Ids remembered by a lane.",
                &["group", "plugin", "lane"],
            )?,
            series_refused: counter(
                registry,
                "millrace_plugin_series_refused_total",
                "Changes of a plugin's own metrics refused: too many series, or one name used in two ways.",
                &["plugin"],
            )?,
            web: WebFamilies::register(registry)?,
        })
    }
}

pub(super) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec> {
    let family = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

pub(super) fn gauge(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec> {
    let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn seconds(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
    let family = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    (start, factor, count): (f64, f64, usize),
) -> Result<HistogramVec> {
    let buckets = prometheus::exponential_buckets(start, factor, count)?;
    let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &PLUGIN)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
