//! What the groups of a configuration need, made ready before any of them is touched: plugins loaded, rules read, topics
//! there. What another configuration has in common with the one that runs is taken over as it is. It must not know how
//! a group runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::DaemonError;
use super::rules::AllRules;
use super::topics::Prepared;
use crate::config::{self, Config};
use crate::pipeline::{Trial, Version, Versions};
use crate::sandbox::{LoadedPlugin, Sandbox};
use crate::telemetry::metrics::Metrics;

/// Plugins by name, each with its configuration.
pub(super) type Plugins = BTreeMap<String, (Arc<Versions>, config::Plugin)>;

/// A configuration, and what its groups need.
#[derive(Debug)]
pub(super) struct Ready {
    /// As it was written.
    pub(super) written: Config,
    /// With a file for every component.
    pub(super) config: Config,
    pub(super) plugins: Plugins,
    pub(super) rules: AllRules,
    /// The groups with the topics that their patterns match.
    pub(super) groups: Vec<config::Group>,
    /// How many partitions each output topic and each retry topic has.
    pub(super) partitions: BTreeMap<String, usize>,
}

impl Ready {
    /// Puts together what was made for a configuration that is written so and provided so.
    pub(super) fn new(
        (written, config): (Config, Config),
        plugins: Plugins,
        rules: AllRules,
        prepared: Option<&Prepared>,
    ) -> Self {
        let (groups, partitions) = prepared
            .map(|prepared| (prepared.groups.clone(), prepared.partitions.clone()))
            .unwrap_or_default();
        Self {
            written,
            config,
            plugins,
            rules,
            groups,
            partitions,
        }
    }

    /// Whether a group of this configuration is the same in another one, down to its plugins and rules.
    pub(super) fn has_the_same(&self, other: &Self, id: &str) -> bool {
        let of = |ready: &Self| {
            let mut groups = ready.config.groups.iter();
            groups.find(|group| group.id == id).cloned()
        };
        let (Some(here), Some(there)) = (of(self), of(other)) else {
            return false;
        };
        let plugins = here.plugins();
        let mut plugins = plugins.iter();
        let mut rules = here.rules();
        // What is configured the same was taken over, and what is not was made anew.
        here == there
            && plugins.all(|name| {
                let versions = |ready: &Self| Some(Arc::as_ptr(&ready.plugins.get(*name)?.0));
                versions(self) == versions(other)
            })
            && rules.all(|name| {
                let rules = |ready: &Self| Some(Arc::as_ptr(ready.rules.get(name)?));
                rules(self) == rules(other)
            })
    }
}

/// Makes every plugin ready, as many at a time as there are cores, but for those that are there and configured the
/// same. What is wrong is told of the first by name.
pub(super) fn load_plugins(
    sandbox: &Sandbox,
    config: &Config,
    there: &Plugins,
    metrics: &Metrics,
) -> Result<Plugins, DaemonError> {
    let is_there = |name: &String, plugin: &config::Plugin| {
        let there = there.get(name);
        there.is_some_and(|(_, configured)| configured == plugin)
    };
    let (kept, new): (BTreeMap<_, _>, BTreeMap<_, _>) = config
        .plugins
        .clone()
        .into_iter()
        .partition(|(name, plugin)| is_there(name, plugin));
    let mut plugins = Plugins::new();
    for name in kept.into_keys() {
        plugins.insert(name.clone(), there[&name].clone());
    }
    for (name, loaded) in LoadedPlugin::prepare_all(sandbox, &new)? {
        let plugin = &new[&name];
        tracing::info!(plugin = %name, version = %loaded.version, digest = %loaded.digest, path = %plugin.path.display(), "plugin loaded");
        let trial = load_candidate(sandbox, &name, plugin, metrics)?;
        let versions = Versions::new(Version::new(&loaded)).with_trial(trial);
        plugins.insert(name, (Arc::new(versions), plugin.clone()));
    }
    Ok(plugins)
}

/// Loads the candidate for a plugin's next version, where one is configured.
fn load_candidate(
    sandbox: &Sandbox,
    name: &str,
    plugin: &config::Plugin,
    metrics: &Metrics,
) -> Result<Option<Trial>, DaemonError> {
    let (Some(candidate), Some(trial)) = (plugin.candidate(), &plugin.trial) else {
        return Ok(None);
    };
    let loaded = LoadedPlugin::prepare(sandbox, name, &candidate)?;
    tracing::info!(plugin = %name, digest = %loaded.digest, path = %candidate.path.display(),
        "candidate for the plugin's next version loaded");
    let (settings, approve) = (trial.clone(), plugin.reload.approve_grants);
    let first = Version::new(&loaded);
    Ok(Some(Trial::new(
        settings,
        approve,
        first,
        metrics.trial(name),
    )))
}
