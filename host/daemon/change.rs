//! Another configuration for a host that runs: what of it may change, and which groups that concerns. Everything is made
//! ready before anything that runs is touched, so what is refused leaves no trace but topics that were made for it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::ready::{Ready, load_plugins};
use super::topics::{self, Broker};
use super::{DaemonError, rules};
use crate::config::{Config, Ingest, Kafka};
use crate::registry::Registry;
use crate::sandbox::Sandbox;
use crate::telemetry::metrics::Metrics;

/// Why another configuration is not taken up. The one before serves on.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// What it changes is read at the start only.
    #[error(
        "`{}` cannot change while the host runs; restart it, or write what was there before. Nothing of the new configuration is applied",
        keys.join("`, `")
    )]
    NeedsRestart {
        /// The keys that differ.
        keys: Vec<String>,
    },
    /// There is no room for its instances.
    #[error(
        "the groups have {lanes} lanes in all, and this host has room for {room} since its start; restart it, or lower `concurrency`"
    )]
    TooManyLanes {
        /// As they are written.
        lanes: usize,
        /// As there is room for.
        room: usize,
    },
    /// Something of it does not load.
    #[error(transparent)]
    NotReady(#[from] DaemonError),
}

impl ChangeError {
    /// Whether the same configuration may be taken up later without being changed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NotReady(error) => error.may_pass(),
            Self::NeedsRestart { .. } | Self::TooManyLanes { .. } => false,
        }
    }
}

/// Makes another configuration ready, beside the host that runs.
#[derive(Debug)]
pub struct Planner {
    pub(super) ready: Arc<Ready>,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) metrics: Metrics,
}

/// A configuration that is ready to be taken up.
pub struct Plan {
    pub(super) ready: Ready,
    pub(super) broker: Option<Broker>,
    /// The groups that go on undisturbed.
    pub(super) stay: BTreeSet<String>,
    pub(super) changes: Changes,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// What becomes of the groups.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }
}

/// What becomes of the groups, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub started: Vec<String>,
    /// Those that finish what is in flight, and start again with what is new.
    pub restarted: Vec<String>,
    /// Those that finish what is in flight, and leave.
    pub ended: Vec<String>,
    /// Those that are not disturbed.
    pub kept: Vec<String>,
}

impl Planner {
    /// Compares, loads and asks; this may take as long as a start. None where the configuration is the same.
    ///
    /// # Errors
    /// Why it cannot be taken up.
    pub fn plan(self, written: &Config) -> Result<Option<Plan>, ChangeError> {
        let before = &*self.ready;
        if before.written == *written {
            return Ok(None);
        }
        let keys = needs_restart(&before.written, written);
        if !keys.is_empty() {
            return Err(ChangeError::NeedsRestart { keys });
        }
        let (lanes, room) = (written.lanes(), self.sandbox.lanes());
        if lanes > room {
            return Err(ChangeError::TooManyLanes { lanes, room });
        }
        let rules = rules::load(written, &before.rules)?;
        let provided = Registry::new(&written.registry, false).provide(written);
        let config = provided.map_err(DaemonError::from)?;
        let plugins = load_plugins(&self.sandbox, &config, &before.plugins, &self.metrics)?;
        let prepared = topics::prepared(&config)?;
        let ready = Ready::new((written.clone(), config), plugins, rules, prepared.as_ref());
        let changes = Changes::between(before, &ready);
        Ok(Some(Plan {
            stay: changes.kept.iter().cloned().collect(),
            changes,
            ready,
            broker: prepared.map(|prepared| prepared.broker),
        }))
    }
}

impl Changes {
    fn between(before: &Ready, after: &Ready) -> Self {
        let mut changes = Self::default();
        let ids = |ready: &Ready| -> Vec<String> {
            let groups = ready.config.groups.iter();
            groups.map(|group| group.id.clone()).collect()
        };
        let there = ids(before);
        for id in ids(after) {
            let (is_there, same) = (there.contains(&id), before.has_the_same(after, &id));
            match (is_there, same) {
                (false, _) => changes.started.push(id),
                (true, false) => changes.restarted.push(id),
                (true, true) => changes.kept.push(id),
            }
        }
        let is_gone = |id: &&String| !after.config.groups.iter().any(|group| group.id == **id);
        changes.ended = there.iter().filter(is_gone).cloned().collect();
        changes
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = [
            ("started", &self.started),
            ("restarted", &self.restarted),
            ("ended", &self.ended),
            ("not disturbed", &self.kept),
        ];
        let what = what.iter().filter(|(_, groups)| !groups.is_empty());
        let what: Vec<_> = what
            .map(|(what, groups)| format!("{what}: {}", groups.join(", ")))
            .collect();
        match what.is_empty() {
            true => f.write_str("no group is concerned"),
            false => write!(f, "groups {}", what.join("; ")),
        }
    }
}

/// The keys that differ and are read at the start only: connections, servers, and what they share with groups.
fn needs_restart(before: &Config, after: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    let mut differs = |key: &str, differs: bool| {
        if differs {
            keys.push(key.to_owned());
        }
    };
    // Named one by one, so that whoever adds a section decides whether it may change.
    let Config {
        kafka,
        plugins: _,
        validation,
        schema_registry,
        groups: _,
        topics: _,
        correlation,
        ingest,
        admin,
        drain_timeout,
        compile_cache,
        registry: _,
        // Of the environment, which a process keeps.
        tracing: _,
    } = after;
    let Kafka {
        brokers,
        properties,
        message_max_bytes,
        tls,
        sasl,
    } = kafka;
    differs("kafka.brokers", before.kafka.brokers != *brokers);
    let properties_differ = before.kafka.properties != *properties
        || before.kafka.message_max_bytes != *message_max_bytes;
    differs("kafka.properties", properties_differ);
    differs("kafka.tls", before.kafka.tls != *tls);
    differs("kafka.sasl", before.kafka.sasl != *sasl);
    let registry_differs = before.schema_registry != *schema_registry;
    differs("schema_registry", registry_differs);
    differs("correlation", before.correlation != *correlation);
    let Ingest {
        grpc,
        http,
        clients,
        producer,
        validate,
        tls,
        connections,
    } = ingest;
    differs("ingest.grpc", before.ingest.grpc != *grpc);
    differs("ingest.http", before.ingest.http != *http);
    differs("ingest.clients", before.ingest.clients != *clients);
    differs("ingest.producer", before.ingest.producer != *producer);
    differs("ingest.validate", before.ingest.validate != *validate);
    differs("ingest.tls", before.ingest.tls != *tls);
    differs(
        "ingest.connections",
        before.ingest.connections != *connections,
    );
    // The gateways keep the rules that they began with.
    let by_pattern = validate.by_pattern.iter().map(|(_, rules)| rules);
    let checked: BTreeSet<_> = validate.by_name.values().chain(by_pattern).collect();
    for rules in checked {
        let others = before.validation.get(rules) != validation.get(rules);
        differs(&format!("validation.{rules}"), others);
    }
    differs("admin", before.admin != *admin);
    differs("drain_timeout", before.drain_timeout != *drain_timeout);
    differs("compile_cache", before.compile_cache != *compile_cache);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn parsed(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.wasm"), "").unwrap();
        config::parse(text, "m.yaml", folder.path(), std::iter::empty(), &[]).unwrap()
    }

    const FIRST: &str = "kafka: { brokers: b }\n\
         plugins: { p: { path: p.wasm } }\n\
         groups:\n  - { id: a, routes: { t: p }, store: a }\n";

    #[test]
    fn what_groups_plugins_and_topics_are_may_change_while_the_host_runs() {
        let after = "kafka: { brokers: b }\n\
             plugins:\n  p: { path: p.wasm, grants: [logging] }\n  q: { path: p.wasm }\n\
             topics: { t: { partitions: 2 } }\n\
             groups:\n  - { id: b, routes: { t: q }, store: b, concurrency: 3 }\n";
        assert!(needs_restart(&parsed(FIRST), &parsed(after)).is_empty());
    }

    #[test]
    fn what_is_read_at_the_start_only_is_named_key_by_key() {
        let after = FIRST.replace("brokers: b", "brokers: c, properties: { linger.ms: 1 }")
            + "admin: { listen: \"127.0.0.1:1\" }\ndrain_timeout: 1s\ncompile_cache: off\n\
               correlation: { header: x }\ningest: { http: { listen: \"127.0.0.1:2\" } }\n";
        let error = ChangeError::NeedsRestart {
            keys: needs_restart(&parsed(FIRST), &parsed(&after)),
        };
        let said = error.to_string();
        for key in [
            "kafka.brokers",
            "kafka.properties",
            "correlation",
            "ingest.http",
            "admin",
            "drain_timeout",
        ] {
            assert!(said.contains(&format!("`{key}`")), "{key}: {said}");
        }
        assert!(!error.may_pass());
    }
}
