//! Figures of candidates that are tried beside the version that serves.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result};

use super::families::{counter, gauge};
use crate::delivery::trial::Record;

#[derive(Debug, Clone)]
pub(super) struct TrialFamilies {
    running: IntGaugeVec,
    events: IntCounterVec,
    failures: IntCounterVec,
    differences: IntCounterVec,
}

impl TrialFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            running: gauge(
                registry,
                "millrace_trial_running",
                "Whether a candidate for the plugin's next version is being tried.",
                &["plugin"],
            )?,
            events: counter(
                registry,
                "millrace_trial_events_total",
                "Events during a trial, by whether the candidate or the version that serves handled them; \
                 a shadow handles those of both.",
                &["plugin", "version"],
            )?,
            failures: counter(
                registry,
                "millrace_trial_failures_total",
                "Those of millrace_trial_events_total that failed at their first attempt.",
                &["plugin", "version"],
            )?,
            differences: counter(
                registry,
                "millrace_trial_differences_total",
                "Events on which a shadow did something else than the version that serves, by what.",
                &["plugin", "differs"],
            )?,
        })
    }

    /// Shows whether a candidate is being tried; none where there is none.
    pub(super) fn show(&self, plugin: &str, runs: Option<bool>) {
        match runs {
            Some(runs) => self.running.with_label_values(&[plugin]).set(runs.into()),
            None => {
                // What is not there cannot be removed, and need not be.
                let _gone = self.running.remove_label_values(&[plugin]);
            }
        }
    }

    pub(super) fn of(&self, plugin: &str) -> TrialMetrics {
        let both = |family: &IntCounterVec| {
            ["candidate", "serving"].map(|version| family.with_label_values(&[plugin, version]))
        };
        TrialMetrics {
            plugin: plugin.to_owned(),
            running: self.running.with_label_values(&[plugin]),
            events: both(&self.events),
            failures: both(&self.failures),
            differences: self.differences.clone(),
        }
    }
}

/// Handles of one plugin's candidate.
#[derive(Debug)]
pub struct TrialMetrics {
    plugin: String,
    running: IntGauge,
    events: [IntCounter; 2],
    failures: [IntCounter; 2],
    differences: IntCounterVec,
}

impl TrialMetrics {
    /// Whether it is being tried.
    pub fn running(&self, running: bool) {
        self.running.set(running.into());
    }

    /// Counts what the candidate and the version that serves were given.
    pub fn events(&self, candidate: Record, serving: Record) {
        for (at, record) in [candidate, serving].into_iter().enumerate() {
            self.events[at].inc_by(record.events);
            self.failures[at].inc_by(record.failed);
        }
    }

    /// Counts one event on which the two differ. Rare, so its handle is looked up.
    pub fn difference(&self, differs: &str) {
        self.differences
            .with_label_values(&[self.plugin.as_str(), differs])
            .inc();
    }
}
