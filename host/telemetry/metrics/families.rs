//! The names, helps and labels of every figure of the host's own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, Result,
};

use crate::delivery::dead_letter::Cause;
use crate::delivery::progress::Reason;
use crate::sandbox::FaultKind;

/// From one microsecond to four seconds, doubling: a sandboxed handler lives at the lower end, and the
/// default deadline is in reach.
pub(super) const DURATION_BUCKETS: (f64, f64, usize) = (1e-6, 2.0, 23);

/// From one event to the largest batch, doubling.
const BATCH_BUCKETS: (f64, f64, usize) = (1.0, 2.0, 10);

const PLACE: [&str; 3] = ["group", "topic", "partition"];
const PLUGIN: [&str; 2] = ["group", "plugin"];
const LANE: [&str; 3] = ["group", "plugin", "lane"];

/// Figures by partition.
#[derive(Debug, Clone)]
pub(super) struct PartitionFamilies {
    /// Held while a ledger is shown or read, so that what is read adds up.
    pub(super) moment: Arc<Mutex<()>>,
    /// How many assignments each place has: while one is given up the next may be there already.
    assigned: Arc<Mutex<HashMap<[String; 3], usize>>>,
    pub(super) polled: IntCounterVec,
    pub(super) events: IntCounterVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) parked: IntGaugeVec,
    pub(super) lag: IntGaugeVec,
    pub(super) lag_seconds: GaugeVec,
    pub(super) stalled: IntGaugeVec,
    pub(super) rebuild_remaining: IntGaugeVec,
    pub(super) rebuild_seconds: GaugeVec,
}

impl PartitionFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            moment: Arc::default(),
            assigned: Arc::default(),
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
            lag_seconds: fractions(
                registry,
                "kafka_consumergroup_lag_seconds",
                "Age, by its record's time, of the first event that has not settled; 0 where there is none.",
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
            rebuild_seconds: fractions(
                registry,
                "millrace_dedup_rebuild_seconds",
                "How long the last such reading took.",
                &PLACE,
            )?,
        })
    }

    /// Counts one more assignment of a place.
    pub(super) fn assigned(&self, place: &[String; 3]) {
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        *assigned.entry(place.clone()).or_default() += 1;
    }

    /// Counts one less, and forgets the gauges with the last one.
    pub(super) fn given_up(&self, place: &[String; 3]) {
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        let left = assigned.get(place).copied().unwrap_or(0);
        if left > 1 {
            assigned.insert(place.clone(), left - 1);
            return;
        }
        assigned.remove(place);
        let labels = place.each_ref().map(String::as_str);
        // What is not there cannot be removed, and need not be.
        for gauge in [
            &self.in_flight,
            &self.parked,
            &self.lag,
            &self.rebuild_remaining,
        ] {
            let _gone = gauge.remove_label_values(&labels);
        }
        for gauge in [&self.lag_seconds, &self.rebuild_seconds] {
            let _gone = gauge.remove_label_values(&labels);
        }
        let [group, topic, partition] = labels;
        for reason in Reason::ALL {
            let labels = [group, topic, partition, reason.word()];
            let _gone = self.stalled.remove_label_values(&labels);
        }
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
    pub(super) pauses: IntGaugeVec,
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
            pauses: gauge(
                registry,
                "millrace_pauses",
                "Pauses that operators have made, by what is paused.",
                &["group", "of"],
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
    pub(super) not_now: IntCounterVec,
    pub(super) traps: IntCounterVec,
    pub(super) limits: IntCounterVec,
    pub(super) recycled: IntCounterVec,
    pub(super) restart_delays: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) batch_events: HistogramVec,
    pub(super) dedup_window: IntGaugeVec,
    pub(super) park_used: GaugeVec,
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
    /// Shows what alerts are about before it happens first: an increase from nothing to 1 is none to Prometheus.
    pub(super) fn begin_at_zero(&self, [group, plugin]: [&str; 2]) {
        self.restart_delays.with_label_values(&[group, plugin]);
        for cause in Cause::ALL {
            let labels = [group, plugin, cause.word()];
            self.dead_letters.with_label_values(&labels);
        }
        for kind in FaultKind::ALL {
            let labels = [group, plugin, kind.word()];
            self.traps.with_label_values(&labels);
        }
    }

    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let of_plugin = |name: &str, help: &str| counter(registry, name, help, &PLUGIN);
        Ok(Self {
            dead_letters: counter(
                registry,
                "millrace_dead_letters_total",
                "Events given up on, by cause.",
                &["group", "plugin", "cause"],
            )?,
            retries: of_plugin("millrace_retries_total", "Attempts repeated.")?,
            not_now: of_plugin(
                "millrace_decode_waits_total",
                "Times that an event could not be decoded yet, and waits; no attempt of it.",
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
            restart_delays: of_plugin(
                "millrace_plugin_restart_delays_total",
                "Waits before a new instance of a plugin of which nothing went well.",
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
                &LANE,
            )?,
            park_used: fractions(
                registry,
                "millrace_park_used_ratio",
                "Part of its budget that is taken by what a lane holds back for retries. From 0.75 on failed events \
                 are evicted.",
                &LANE,
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

pub(super) fn fractions(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<GaugeVec> {
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
