//! What is counted of one plugin in one group, read by its own handles: whoever looks every second does not have to
//! gather every series of the host for it.

use super::Metrics;
use crate::delivery::dead_letter::Cause;
use crate::sandbox::FaultKind;

/// Counts of one plugin in one group since the host started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PluginCounts {
    /// Attempts repeated.
    pub retries: u64,
    /// Calls that ended without an answer.
    pub traps: u64,
    /// Waits before a new instance, because nothing went well.
    pub restart_delays: u64,
    /// Events given up on, by cause; only causes that there were.
    pub dead_letters: Vec<(&'static str, u64)>,
    /// Calls that were answered.
    pub calls: u64,
    /// The events of these calls.
    pub events_called: f64,
    /// Over these calls, the sum of the time of each divided by its events, in seconds: divided by `calls` it is the
    /// time that an event takes.
    pub event_seconds: f64,
}

impl Metrics {
    /// What is counted of a plugin in a group that calls it.
    #[must_use]
    pub fn of_plugin(&self, group: &str, plugin: &str) -> PluginCounts {
        let labels = [group, plugin];
        let lanes = &self.lanes;
        let traps = FaultKind::ALL.map(|kind| {
            let labels = [group, plugin, kind.word()];
            lanes.traps.with_label_values(&labels).get()
        });
        let duration = lanes.duration.with_label_values(&labels);
        PluginCounts {
            retries: lanes.retries.with_label_values(&labels).get(),
            traps: traps.iter().sum(),
            restart_delays: lanes.restart_delays.with_label_values(&labels).get(),
            dead_letters: self.dead_letters_of(group, plugin).collect(),
            calls: duration.get_sample_count(),
            events_called: lanes
                .batch_events
                .with_label_values(&labels)
                .get_sample_sum(),
            event_seconds: duration.get_sample_sum(),
        }
    }

    /// Events of a plugin in a group that were given up on, by cause; only causes that there were.
    pub fn dead_letters_of(
        &self,
        group: &str,
        plugin: &str,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let counted = Cause::ALL.into_iter().map(move |cause| {
            let labels = [group, plugin, cause.word()];
            let counter = self.lanes.dead_letters.with_label_values(&labels);
            (cause.word(), counter.get())
        });
        counted.filter(|(_, events)| *events > 0)
    }
}
