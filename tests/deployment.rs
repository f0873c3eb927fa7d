//! What an operator copies from `deploy/` and `docker-compose.yml`: every file parses, and names only
//! files, services, topics and metrics that exist. The tools that will read the files read them here. It starts no
//! container.

// The Helm chart, rendered and checked against Kubernetes' schemas.
mod chart;
// The page that lists each metric, against the source and a running host.
mod metrics_page;
// The dashboards, asked of a real Prometheus.
mod panels;
// What a release says of itself.
mod release;
// The alerts, each in a case where it fires and one where it does not.
mod rules;
// The unit of systemd.
mod unit_file;
// The workflows of the public repository, and how a release is made.
mod workflows;

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
    // What helm reads is YAML only once it is filled in.
    let templates = top().join("deploy/helm/millrace/templates");
    for file in files.iter().filter(|file| !file.starts_with(&templates)) {
        let text = fs::read_to_string(file).expect("it is text");
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
fn the_image_runs_as_nobody_and_compose_gives_it_no_rights() {
    let dockerfile = fs::read_to_string(top().join("deploy/Dockerfile")).expect("it is text");
    let stages = dockerfile.matches("\nFROM ").count();
    assert_eq!(stages, 2, "what builds is not what runs");
    let user = dockerfile.lines().rfind(|line| line.starts_with("USER "));
    assert_eq!(user, Some("USER 65532:65532"));
    let chart = parsed("deploy/helm/millrace/values.yaml");
    assert_eq!(chart["podSecurityContext"]["runAsUser"], "65532");

    let compose = parsed("docker-compose.yml");
    let host = &compose["services"]["millrace"];
    assert_eq!(host["read_only"], "true");
    assert_eq!(texts(&host["cap_drop"]), ["ALL"]);
    assert_eq!(texts(&host["security_opt"]), ["no-new-privileges:true"]);
    let grace = host["stop_grace_period"]
        .as_str()
        .and_then(|time| time.strip_suffix('s'));
    let grace: u64 = grace.and_then(|time| time.parse().ok()).expect("seconds");
    assert!(grace >= config().drain_timeout.as_secs() + 10);
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
    let listed = metrics_page::listed();
    let recorded = parsed("deploy/prometheus/rules.yml").to_string();
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
        .filter(|name| match name.contains(':') {
            true => !recorded.contains(&format!("\"record\":\"{name}\"")),
            false => !listed.contains_key(*name),
        })
        .collect();
    assert!(
        unknown.is_empty(),
        "neither exported nor recorded: {unknown:?}"
    );
}

/// Words that begin like a metric of the host, or are recorded by a rule, without what Prometheus appends to a
/// histogram's name.
fn metric_names(text: &str) -> Vec<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || "_:".contains(char)));
    words
        .filter(|word| {
            [
                "millrace_",
                "kafka_consumergroup_",
                "process_",
                "consumergroup_topic:",
            ]
            .iter()
            .any(|start| word.starts_with(start))
        })
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
