//! What an operator copies from `deploy/` and `docker-compose.yml`: every file parses, and names only
//! files, services, topics and metrics that exist. It starts no container.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use millrace::config::{self, Config};
use serde_json::Value;

use crate::harness::yaml;

#[test]
fn every_yaml_and_json_file_parses() {
    let files = files_below("deploy", &["yml", "yaml", "json"]);
    assert!(files.len() >= 6, "only {files:?} below deploy/");
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let parsed = if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            yaml::parse(&text)
        };
        parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[test]
fn compose_names_only_files_and_services_that_exist() {
    let compose = parsed("docker-compose.yml");
    let services = compose["services"].as_object().expect("there are services");
    for (name, service) in services {
        if let Some(dockerfile) = service["build"]["dockerfile"].as_str() {
            assert!(exists(dockerfile), "{name}: {dockerfile}");
        }
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            let declared = compose["volumes"].get(source).is_some();
            assert!(
                declared || (source.starts_with("./") && exists(source)),
                "{name}: {volume}"
            );
        }
        let after = &service["depends_on"];
        for after in texts(after).into_iter().chain(keys(after)) {
            assert!(services.contains_key(after), "{name} depends on {after}");
        }
    }
}

#[test]
fn compose_makes_every_topic_that_its_host_uses() {
    let compose = parsed("docker-compose.yml");
    let made = compose["services"]["topics-init"]["environment"]["TOPICS"].as_str();
    let made: BTreeSet<&str> = made
        .expect("topics-init lists its topics")
        .split(' ')
        .filter_map(|topic| topic.split(':').next())
        .collect();
    let config = config();
    let mut used = BTreeSet::new();
    for group in &config.groups {
        used.extend(group.routes.keys().map(String::as_str));
        used.insert(&group.dead_letter.topic);
        used.extend(group.retry.topics.values().map(String::as_str));
    }
    for plugin in config.plugins.values() {
        used.extend(plugin.grants.output_topics.iter().map(String::as_str));
    }
    assert_eq!(used, made);
}

#[test]
fn prometheus_and_grafana_find_the_files_they_are_told_of() {
    for rules in texts(&parsed("deploy/prometheus/prometheus.yml")["rule_files"]) {
        assert!(exists(&format!("deploy/prometheus/{rules}")), "{rules}");
    }
    let provider = parsed("deploy/grafana/provisioning/dashboards/millrace.yml");
    let folder = provider["providers"][0]["options"]["path"]
        .as_str()
        .expect("it names a folder");
    let compose = parsed("docker-compose.yml");
    let mounted = format!("./deploy/grafana/dashboards:{folder}:ro");
    assert!(texts(&compose["services"]["grafana"]["volumes"]).contains(&mounted.as_str()));
    assert!(!files_below("deploy/grafana/dashboards", &["json"]).is_empty());
}

#[test]
fn dashboards_and_alerts_ask_only_for_metrics_that_the_host_exports() {
    let telemetry: String = files_below("host", &["rs"])
        .iter()
        .filter(|file| {
            file.strip_prefix(top())
                .is_ok_and(|path| path.to_string_lossy().contains("telemetry"))
        })
        .map(|file| fs::read_to_string(file).expect("it is text"))
        .collect();
    let mut asked = BTreeSet::new();
    for file in files_below("deploy", &["json", "yml"]) {
        let text = fs::read_to_string(&file).expect("it is text");
        asked.extend(
            metric_names(&text)
                .into_iter()
                .filter(|name| !name.is_empty()),
        );
    }
    assert!(asked.len() > 10, "only {asked:?}");
    let unknown: Vec<&String> = asked
        .iter()
        .filter(|name| !telemetry.contains(&format!("\"{name}\"")))
        .collect();
    assert!(
        unknown.is_empty(),
        "not exported by host/telemetry: {unknown:?}"
    );
}

/// Words that begin like a metric of the host, without what Prometheus appends to a histogram's name.
fn metric_names(text: &str) -> Vec<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words
        .filter(|word| word.starts_with("millrace_") || word.starts_with("kafka_consumergroup_"))
        .map(|word| {
            let histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| word.strip_suffix(end));
            histogram.unwrap_or(word).to_owned()
        })
        .collect()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn exists(path: &str) -> bool {
    top().join(path).exists()
}

fn parsed(path: &str) -> Value {
    let text = fs::read_to_string(top().join(path));
    let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
    yaml::parse(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The configuration that the compose file mounts, read by the host's own reader; the plugins of the
/// image are those that are built here.
fn config() -> Config {
    let written = parsed("deploy/millrace.yaml");
    let here = top().display();
    let mut sets = Vec::new();
    for (name, plugin) in written["plugins"].as_object().expect("there are plugins") {
        let path = plugin["path"].as_str().expect("a plugin has a path");
        let file = path
            .strip_prefix("/opt/millrace/plugins/")
            .expect("the image has them there");
        sets.push(format!("plugins.{name}.path={here}/plugins/dist/{file}"));
    }
    config::load(
        &top().join("deploy/millrace.yaml"),
        std::iter::empty(),
        &sets,
    )
    .unwrap_or_else(|error| panic!("{error}\n(`make plugins` builds the plugins)"))
}

fn keys(mapping: &Value) -> Vec<&str> {
    mapping
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

fn texts(sequence: &Value) -> Vec<&str> {
    sequence
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn files_below(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut open = vec![top().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("the folder exists").flatten() {
            let path = entry.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                open.push(path);
            } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
                files.push(path);
            }
        }
    }
    files
}
