//! What `millrace dev` runs: its own example or an operator's configuration, on the embedded broker
//! and in a folder of its own.
//!
//! It must not know what happens while it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::folder::Folder;
use crate::config::{self, Config, ConfigError};
use crate::kafka::embedded::EmbeddedBroker;

/// The topic of the example.
pub(super) const TOPIC: &str = "user-events";

/// The plugins of the example.
const PLUGINS: [&str; 3] = ["analytics.wasm", "audit.wasm", "dead-letters.wasm"];

/// Ways to log in to a real cluster, which the embedded broker would not understand.
const LOGIN_PREFIXES: [&str; 4] = ["security.", "sasl.", "ssl.", "enable.ssl."];

/// What the command line says about the configuration.
#[derive(Debug, Default)]
pub(super) struct Wishes<'a> {
    pub(super) sets: &'a [String],
    pub(super) grpc: Option<&'a str>,
    pub(super) admin: Option<&'a str>,
}

impl Wishes<'_> {
    /// As arguments of `--set`; the last one wins.
    fn sets(&self, brokers: &str) -> Vec<String> {
        let mut sets = self.sets.to_vec();
        sets.push(format!("kafka.brokers={brokers}"));
        sets.extend(self.grpc.map(|it| format!("ingest.grpc.listen={it}")));
        sets.extend(self.admin.map(|it| format!("admin.listen={it}")));
        sets
    }
}

/// The example, with everything that it writes in `folder`. Its text stays there as `millrace.yaml`,
/// for whoever wants to go on from it.
pub(super) fn example(
    brokers: &str,
    plugins: &Path,
    folder: &Folder,
    wishes: &Wishes<'_>,
) -> anyhow::Result<Config> {
    let text = example_text(brokers, plugins, folder.stores());
    let file = folder.path().join("millrace.yaml");
    std::fs::write(&file, &text)?;
    // Variables that configure a daemon are not meant for the example. Where this machine keeps its caches is.
    let places = ["HOME", "XDG_CACHE_HOME"];
    let env = config::process_environment().filter(|(name, _)| places.contains(&name.as_str()));
    let config = config::parse(
        &text,
        &file.display().to_string(),
        folder.path(),
        env,
        &wishes.sets(brokers),
    )?;
    Ok(config)
}

fn example_text(brokers: &str, plugins: &Path, stores: &Path) -> String {
    let [analytics, audit, dead_letters] = PLUGINS.map(|name| quoted(&plugins.join(name)));
    let store = |group: &str| quoted(&stores.join(group));
    let [of_analytics, of_audit, of_dead_letters] =
        ["analytics-service", "audit-service", "dead-letters"].map(store);
    format!(
        r#"kafka:
  brokers: {brokers}
plugins:
  analytics:
    path: {analytics}
    grants: [metrics, tally, "output:analytics.counts"]
    tick: 2s
  audit:
    path: {audit}
    grants: [journal]
    journal: {{ path: audit.log, rotate: 100MiB }}
  dead-letters:
    path: {dead_letters}
    grants: [journal]
    journal: {{ path: dead-letters.log, rotate: 100MiB }}
groups:
  - id: analytics-service
    routes: {{ {TOPIC}: analytics }}
    ordering: key
    dedup: {{ id: "json:/id", window: 24h }}
    retry: {{ attempts: 5, backoff: {{ initial: 100ms, max: 30s }} }}
    dead_letter: {{ topic: {TOPIC}.dlq }}
    store: {of_analytics}
  - id: audit-service
    routes: {{ {TOPIC}: audit }}
    store: {of_audit}
  - id: dead-letters
    routes: {{ {TOPIC}.dlq: dead-letters }}
    store: {of_dead_letters}
ingest:
  grpc: {{ listen: 127.0.0.1:0 }}
admin: {{ listen: 127.0.0.1:0 }}
drain_timeout: 5s
"#
    )
}

/// As YAML in double quotes, of which JSON is a part; `${` would be a variable.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy())
        .to_string()
        .replace("${", "$${")
}

/// An operator's configuration, turned away from everything that is real: its brokers, and the stores
/// and journals of the daemon that runs with it elsewhere.
pub(super) fn own(
    file: &Path,
    brokers: &str,
    folder: &Folder,
    wishes: &Wishes<'_>,
) -> Result<Config, ConfigError> {
    let env = config::process_environment();
    let mut config = config::load(file, env, &wishes.sets(brokers))?;
    config
        .kafka
        .properties
        .retain(|name, _| !LOGIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    // The broker of its own speaks in the clear and asks nobody who they are.
    (config.kafka.tls, config.kafka.sasl) = (None, None);
    let stores = folder.stores();
    for (at, group) in config.groups.iter_mut().enumerate() {
        // The number keeps ids apart that differ only in what a file name cannot hold.
        let id = group.id.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        group.store = stores.join(format!("{at}-{id}"));
    }
    for (name, plugin) in &mut config.plugins {
        if let Some(journal) = &mut plugin.journal {
            journal.path = folder.path().join(format!("{name}.log"));
        }
    }
    Ok(config)
}

/// The folder that holds the plugins of the example.
pub(super) fn find_plugins(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let candidates = match named {
        Some(folder) => vec![folder.to_owned()],
        None => {
            let mut candidates = vec![PathBuf::from("plugins/dist")];
            let executable = std::env::current_exe().ok();
            let beside = executable.as_deref().and_then(Path::parent);
            candidates.extend(beside.map(|beside| beside.join("plugins")));
            candidates.extend(beside.map(Path::to_owned));
            candidates
        }
    };
    let missing = |folder: &Path| {
        PLUGINS
            .into_iter()
            .find(|name| !folder.join(name).is_file())
    };
    if let Some(found) = candidates.iter().find(|folder| missing(folder).is_none()) {
        return Ok(std::path::absolute(found)?);
    }
    let looked: Vec<String> = candidates
        .iter()
        .filter_map(|folder| Some(format!("{} in {}", missing(folder)?, folder.display())))
        .collect();
    bail!(
        "the plugins of the example are missing: no {}; build them with `make plugins`, or name their \
         folder with --plugins",
        looked.join(", no ")
    )
}

/// Creates every topic that the configuration names, and `also`. The embedded broker takes them from
/// nobody else.
pub(super) fn create_topics(
    broker: &EmbeddedBroker,
    config: &Config,
    also: Option<&str>,
    partitions: u16,
) -> anyhow::Result<Vec<String>> {
    let mut topics: BTreeSet<&str> = also.into_iter().collect();
    for group in &config.groups {
        topics.extend(group.routes.keys().map(String::as_str));
        topics.insert(&group.dead_letter.topic);
        topics.extend(group.retry.topics.values().map(String::as_str));
    }
    topics.extend(config.topics.keys().map(String::as_str));
    for plugin in config.plugins.values() {
        topics.extend(plugin.grants.output_topics.iter().map(String::as_str));
    }
    for topic in &topics {
        if !crate::kafka::is_topic_name(topic) {
            return Err(crate::kafka::KafkaError::TopicName((*topic).to_owned()).into());
        }
        broker.create_topic(topic, partitions)?;
    }
    // Made by `millrace dlq redrive` elsewhere; nobody reads it but that.
    let letters: BTreeSet<&str> = config
        .groups
        .iter()
        .map(|it| it.dead_letter.topic.as_str())
        .collect();
    for topic in letters {
        let remembered = config::redriven_topic(topic);
        if crate::kafka::is_topic_name(&remembered) && !topics.contains(&*remembered) {
            broker.create_topic(&remembered, 1)?;
        }
    }
    Ok(topics.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugins(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix("a \"b\" ${c}").tempdir();
        let folder = folder.unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn the_example_is_a_valid_configuration_wherever_its_plugins_are() {
        let plugins = plugins(&PLUGINS);
        let folder = Folder::open(None).unwrap();
        let wishes = Wishes {
            sets: &["kafka.brokers=elsewhere:9092".to_owned()],
            admin: Some("127.0.0.1:4321"),
            grpc: None,
        };
        let config = example("127.0.0.1:1234", plugins.path(), &folder, &wishes).unwrap();
        assert_eq!(config.kafka.brokers, "127.0.0.1:1234");
        assert_eq!(config.admin.listen.port(), 4321);
        assert_eq!(
            config.plugins["audit"].path,
            plugins.path().join("audit.wasm")
        );
        assert!(
            config
                .groups
                .iter()
                .all(|group| group.store.starts_with(folder.path()))
        );
    }

    #[test]
    fn a_configuration_of_ones_own_touches_nothing_of_its_daemon() {
        let place = plugins(&["audit.wasm"]);
        let file = place.path().join("millrace.yaml");
        let text = "kafka:\n  brokers: real:9092\n  properties: { security.protocol: SSL, linger.ms: 7 }\n\
                    plugins:\n  audit: { path: audit.wasm, grants: [journal], journal: { path: real.log } }\n\
                    groups:\n  - { id: a/b, routes: { t: audit }, store: real, dead_letter: { topic: d } }\n";
        std::fs::write(&file, text).unwrap();
        let folder = Folder::open(None).unwrap();
        let config = own(&file, "127.0.0.1:1", &folder, &Wishes::default()).unwrap();
        assert_eq!(config.kafka.brokers, "127.0.0.1:1");
        let properties: Vec<_> = config.kafka.properties.keys().collect();
        assert_eq!(properties, ["linger.ms"]);
        assert_eq!(config.groups[0].store, folder.stores().join("0-a-b"));
        let journal = config.plugins["audit"].journal.as_ref().unwrap();
        assert_eq!(journal.path, folder.path().join("audit.log"));
    }

    #[test]
    fn a_missing_plugin_is_named_with_what_to_do() {
        let folder = plugins(&["analytics.wasm", "dead-letters.wasm"]);
        let error = find_plugins(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("no audit.wasm in "), "{error}");
        assert!(error.contains("make plugins"), "{error}");
        std::fs::write(folder.path().join("audit.wasm"), "").unwrap();
        assert_eq!(find_plugins(Some(folder.path())).unwrap(), folder.path());
    }
}
