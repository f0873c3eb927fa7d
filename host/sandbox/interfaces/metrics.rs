//! `millrace:plugin/metrics`: buffered changes of the plugin's own metrics.

use super::super::effects::{MetricChange, MetricKind};
use super::super::fault::{FaultKind, Violation};
use super::super::host_state::HostState;
use super::NAME_BYTES_MAX;
use super::generated::millrace::plugin::metrics::{Change, Host, Kind, Label};

/// Labels of one metric. Prometheus itself advises against more than a few.
const LABELS_MAX: usize = 8;

impl Host for HostState {
    fn counter_add(
        &mut self,
        name: String,
        labels: Vec<Label>,
        value: f64,
    ) -> wasmtime::Result<()> {
        self.count_call()?;
        change(
            self,
            self.event_index,
            MetricKind::Counter,
            name,
            labels,
            value,
        )
    }

    fn gauge_set(&mut self, name: String, labels: Vec<Label>, value: f64) -> wasmtime::Result<()> {
        self.count_call()?;
        change(
            self,
            self.event_index,
            MetricKind::Gauge,
            name,
            labels,
            value,
        )
    }

    fn histogram_observe(
        &mut self,
        name: String,
        labels: Vec<Label>,
        value: f64,
    ) -> wasmtime::Result<()> {
        self.count_call()?;
        change(
            self,
            self.event_index,
            MetricKind::Histogram,
            name,
            labels,
            value,
        )
    }

    fn merge(&mut self, changes: Vec<Change>) -> wasmtime::Result<()> {
        self.count_call()?;
        for Change {
            event_index,
            kind,
            name,
            labels,
            value,
        } in changes
        {
            let kind = match kind {
                Kind::Counter => MetricKind::Counter,
                Kind::Gauge => MetricKind::Gauge,
                Kind::Histogram => MetricKind::Histogram,
            };
            self.check_index(event_index)?;
            change(self, event_index, kind, name, labels, value)?;
        }
        Ok(())
    }
}

fn change(
    state: &mut HostState,
    event_index: u32,
    kind: MetricKind,
    name: String,
    labels: Vec<Label>,
    value: f64,
) -> wasmtime::Result<()> {
    let refuse = |message: String| Err(Violation::error(FaultKind::Output, "metric", message));
    if !valid_name(&name) {
        return refuse(format!(
            "{name:?} is not a metric name ([a-zA-Z_][a-zA-Z0-9_]*)"
        ));
    }
    if labels.len() > LABELS_MAX {
        return refuse(format!("metric {name}: more than {LABELS_MAX} labels"));
    }
    if let Some(label) = labels
        .iter()
        .find(|l| !valid_name(&l.name) || l.name == "plugin" || l.name.starts_with("__"))
    {
        return refuse(format!(
            "metric {name}: {:?} is not a label name",
            label.name
        ));
    }
    if labels
        .iter()
        .any(|label| label.value.len() > NAME_BYTES_MAX)
    {
        return refuse(format!(
            "metric {name}: a label value is longer than {NAME_BYTES_MAX} bytes"
        ));
    }
    if kind == MetricKind::Counter && (value.is_nan() || value < 0.0) {
        return refuse(format!("counter {name} cannot grow by {value}"));
    }
    let text: usize = labels
        .iter()
        .map(|label| label.name.len() + label.value.len())
        .sum();
    // A label is two strings, and takes about as much as an effect does.
    state.count_effect(name.len() + text + labels.len() * 64)?;
    let labels = labels
        .into_iter()
        .map(|label| (label.name, label.value))
        .collect();
    state.effects.metrics.push(MetricChange {
        event_index,
        kind,
        name,
        labels,
        value,
    });
    Ok(())
}

fn valid_name(name: &str) -> bool {
    let head = name.bytes().next();
    head.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_prometheus_takes() {
        for name in ["a", "_a9", "Seen_Total", &"n".repeat(NAME_BYTES_MAX)] {
            assert!(valid_name(name), "{name}");
        }
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "",
            "9a",
            "a-b",
            "a.b",
            "a b",
            "é",
            "a{b=\"c\"}",
            "a\n",
            &long,
        ] {
            assert!(!valid_name(name), "{name:?}");
        }
    }
}
