//! Figures by version of a plugin. Versions come and go, so only those that serve, or could again, are shown.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry, Result};

use super::families::{counter, gauge};

/// A version as labels: its name and its digest.
pub type VersionLabels<'a> = (&'a str, &'a str);

/// The figures, and which series of them there are.
#[derive(Debug, Clone)]
pub(super) struct VersionFamilies {
    info: IntGaugeVec,
    events: IntCounterVec,
    refused: IntCounterVec,
    shown: Arc<Mutex<BTreeSet<Series>>>,
}

/// Group, plugin, version and digest. A series of the info has no group.
type Series = (Option<String>, [String; 3]);

impl VersionFamilies {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Self {
            info: gauge(
                registry,
                "millrace_plugin_info",
                "The version of a plugin that serves.",
                &["plugin", "version", "digest"],
            )?,
            events: counter(
                registry,
                "millrace_plugin_version_events_total",
                "Events that a version was called with and that were judged, repeated attempts too.",
                &["group", "plugin", "version", "digest"],
            )?,
            refused: counter(
                registry,
                "millrace_plugin_versions_refused_total",
                "Versions that were to serve and do not; the one before serves on.",
                &["plugin"],
            )?,
            shown: Arc::default(),
        })
    }

    /// The counter of one version's events in one group.
    pub(super) fn events(
        &self,
        group: &str,
        plugin: &str,
        (version, digest): VersionLabels<'_>,
    ) -> IntCounter {
        let of = [plugin, version, digest];
        self.show((Some(group.to_owned()), of.map(str::to_owned)));
        let [plugin, version, digest] = of;
        let labels = [group, plugin, version, digest];
        self.events.with_label_values(&labels)
    }

    /// The counter of the versions of a plugin that were refused.
    pub(super) fn refused(&self, plugin: &str) -> IntCounter {
        self.refused.with_label_values(&[plugin])
    }

    /// Shows which version of a plugin serves, and forgets all but that and `others`, which are only counted.
    pub(super) fn serve(
        &self,
        plugin: &str,
        current: VersionLabels<'_>,
        others: &[VersionLabels<'_>],
    ) {
        let serving = [plugin, current.0, current.1];
        self.info.with_label_values(&serving).set(1);
        self.show((None, serving.map(str::to_owned)));
        self.keep(|is_counted, [its_plugin, version, digest]| {
            let version = (version, digest);
            let counted = is_counted && others.contains(&version);
            its_plugin != plugin || version == current || counted
        });
    }

    /// Forgets all versions of a plugin.
    pub(super) fn forget(&self, plugin: &str) {
        self.keep(|_, [its_plugin, ..]| its_plugin != plugin);
    }

    /// Removes the series but those that `stays` says yes to, by whether its events are counted, and by plugin, version
    /// and digest.
    fn keep(&self, stays: impl Fn(bool, [&str; 3]) -> bool) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(group, of)| {
            if stays(group.is_some(), of.each_ref().map(String::as_str)) {
                return true;
            }
            // What is not there cannot be removed, and need not be.
            let _gone = match group {
                None => self.info.remove_label_values(&of.each_ref()),
                Some(group) => {
                    let [plugin, version, digest] = of;
                    self.events
                        .remove_label_values(&[group, plugin, version, digest])
                }
            };
            false
        });
    }

    fn show(&self, series: Series) {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(series);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_that_serves_and_the_one_before_are_shown() {
        let registry = Registry::new();
        let families = VersionFamilies::register(&registry).unwrap();
        for version in ["1", "2", "3"] {
            families.events("orders", "audit", (version, "d")).inc();
            families.serve("audit", (version, "d"), &[]);
        }
        families.events("orders", "audit", ("4", "d")).inc();
        families.events("orders", "other", ("1", "d")).inc();
        families.serve("audit", ("4", "d"), &[("3", "d")]);

        let shown = |name: &str| {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == name);
            let of = |metric: &prometheus::proto::Metric| {
                let label = |name: &str| {
                    let labels = metric.get_label().iter();
                    labels
                        .filter(|label| label.name() == name)
                        .map(|label| label.value().to_owned())
                        .collect::<String>()
                };
                format!("{} {}", label("plugin"), label("version"))
            };
            family.map(|family| family.get_metric().iter().map(of).collect::<Vec<_>>())
        };
        assert_eq!(
            shown("millrace_plugin_info"),
            Some(vec!["audit 4".to_owned()])
        );
        let mut counted = shown("millrace_plugin_version_events_total").unwrap();
        counted.sort();
        assert_eq!(counted, ["audit 3", "audit 4", "other 1"]);
    }
}
