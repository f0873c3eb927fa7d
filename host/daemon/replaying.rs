//! A group that runs a range of events again, put together from the parts of a daemon: no doors, no topics made, no
//! versions taken up meanwhile, and its records go where the replay says. No logic.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::topics::{TIMEOUT, outputs};
use super::{DaemonError, GroupSummary, Plugins, load_plugins, rules};
use crate::config::Config;
use crate::kafka::topics::Topics;
use crate::pipeline::{Aside, Group, GroupParts};
use crate::registry::Registry;
use crate::replay::{Capture, Range, ends_of};
use crate::sandbox::{Compiler, Sandbox, SandboxSettings};
use crate::telemetry::metrics::Metrics;

/// A running replay.
#[derive(Debug)]
pub struct Replaying {
    group: Group,
    plugins: BTreeMap<String, String>,
    // Dropped last: lanes need its epochs to the end.
    _sandbox: Arc<Sandbox>,
}

impl Replaying {
    /// Starts the first group of a configuration that was made for a replay.
    ///
    /// # Errors
    /// Says what is wrong and what to do. Nothing has been consumed then.
    pub fn start(
        config: &Config,
        capture: &Capture,
        ranges: &[Range],
        compiler: Compiler,
    ) -> Result<Self, DaemonError> {
        let metrics = Metrics::new().map_err(|error| DaemonError::Host(error.to_string()))?;
        let all_rules = rules::load(config, &rules::AllRules::new())?;
        let config = &Registry::new(&config.registry, false).provide(config)?;
        let sandbox = Arc::new(Sandbox::start(SandboxSettings::new(config, compiler))?);
        let plugins = load_plugins(&sandbox, config, &Plugins::new(), &metrics)?;
        let (registry, encoders) = rules::schema_registry(config)?;
        let Some(group) = config.groups.first() else {
            return Err(DaemonError::Host("there is no group to replay".to_owned()));
        };
        let preparations = rules::preparations(group, &all_rules, registry.as_ref());
        let topics = Topics::new(&config.kafka, TIMEOUT)?;
        let mut partitions = BTreeMap::new();
        for output in outputs(config, group) {
            // One that is not there yet is only written to a file.
            let found = topics.describe(output)?.map_or(1, |topic| topic.partitions);
            partitions.insert(output.to_owned(), found);
        }
        let digests = plugins.iter().map(|(name, (versions, _))| {
            let digest = versions.published().current.digest.clone();
            (name.clone(), digest)
        });
        let digests = digests.collect();
        let ends = ends_of(ranges);
        let aside = Aside {
            outlet: capture,
            ends: &ends,
        };
        let parts = GroupParts {
            group,
            kafka: &config.kafka,
            plugins,
            output_partitions: partitions,
            correlation: &config.correlation,
            preparations,
            encoders,
            drain_timeout: config.drain_timeout,
            metrics: &metrics,
            aside: Some(aside),
            // What runs again was traced as it ran first.
            traces: None,
            pauses: Arc::default(),
        };
        let group = Group::start(&parts).map_err(|source| DaemonError::Group {
            group: group.id.clone(),
            source,
        })?;
        Ok(Self {
            group,
            plugins: digests,
            _sandbox: sandbox,
        })
    }

    /// The digests of the components that run, by plugin.
    #[must_use]
    pub fn plugins(&self) -> &BTreeMap<String, String> {
        &self.plugins
    }

    /// Why it cannot go on; none while it works.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.group.status().failure()
    }

    /// What it waits for at the moment; none where events settle.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let status = self.group.status();
        status
            .trouble()
            .or_else(|| status.notes().into_iter().next())
    }

    /// Finishes what is in flight, commits it, and leaves the side group.
    #[must_use]
    pub fn stop(self) -> GroupSummary {
        self.group.stop();
        let (id, status) = (self.group.id().to_owned(), self.group.status());
        GroupSummary::new(id, status.worked_ms(), &self.group.join())
    }
}
