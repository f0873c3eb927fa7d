//! What an operator copies from `deploy/` and `docker-compose.yml`: every file parses, and names only
//! files, services, topics and metrics that exist. It starts no container.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

#[test]
fn every_yaml_and_json_file_parses() {
    let files = files_below("deploy", &["yml", "yaml", "json"]);
    assert!(files.len() >= 6, "only {files:?} below deploy/");
    for file in files {
        let text = fs::read_to_string(&file).expect("it is text");
        let error = if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            serde_json::from_str::<Value>(&text)
                .err()
                .map(|error| error.to_string())
        } else {
            Yaml::load_from_str(&text)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(error, None, "{}", file.display());
    }
}

#[test]
fn compose_names_only_files_and_services_that_exist() {
    let text = read("docker-compose.yml");
    let compose = yaml(&text);
    let services = compose
        .as_mapping_get("services")
        .expect("there are services");
    let names: BTreeSet<&str> = keys(services).into_iter().collect();
    for name in &names {
        let service = services.as_mapping_get(name).expect("it was listed");
        if let Some(build) = service.as_mapping_get("build") {
            let dockerfile = build.as_mapping_get("dockerfile").and_then(Yaml::as_str);
            assert!(
                exists(dockerfile.expect("the build names its file")),
                "{name}: {dockerfile:?}"
            );
        }
        for volume in service
            .as_mapping_get("volumes")
            .map(texts)
            .unwrap_or_default()
        {
            let source = volume.split(':').next().unwrap_or_default();
            let declared = compose
                .as_mapping_get("volumes")
                .is_some_and(|volumes| volumes.contains_mapping_key(source));
            assert!(
                declared || (source.starts_with("./") && exists(source)),
                "{name}: {volume}"
            );
        }
        if let Some(before) = service.as_mapping_get("depends_on") {
            let mut before: BTreeSet<&str> =
                texts(before).into_iter().chain(keys(before)).collect();
            before.retain(|before| !names.contains(before));
            assert!(before.is_empty(), "{name} depends on {before:?}");
        }
    }
}

#[test]
fn compose_makes_every_topic_that_its_host_uses() {
    let compose = read("docker-compose.yml");
    let made = compose
        .lines()
        .find_map(|line| line.trim().strip_prefix("TOPICS: "));
    let made: BTreeSet<&str> = made
        .expect("topics-init lists its topics")
        .trim_matches('"')
        .split(' ')
        .filter_map(|topic| topic.split(':').next())
        .collect();
    let text = read("deploy/millrace.yaml");
    let config = yaml(&text);
    let mut used = BTreeSet::new();
    for group in sequence(config.as_mapping_get("groups").expect("there are groups")) {
        used.extend(keys(
            group.as_mapping_get("routes").expect("a group has routes"),
        ));
        let dead_letter = group.as_mapping_get("dead_letter");
        used.extend(
            dead_letter
                .and_then(|it| it.as_mapping_get("topic"))
                .and_then(Yaml::as_str),
        );
    }
    let plugins = config.as_mapping_get("plugins").expect("there are plugins");
    for name in keys(plugins) {
        let plugin = plugins.as_mapping_get(name).expect("it was listed");
        let grants = plugin
            .as_mapping_get("grants")
            .map(texts)
            .unwrap_or_default();
        used.extend(
            grants
                .into_iter()
                .filter_map(|grant| grant.strip_prefix("output:")),
        );
        let path = plugin
            .as_mapping_get("path")
            .and_then(Yaml::as_str)
            .expect("a plugin has a path");
        let source = path
            .strip_prefix("/opt/millrace/")
            .and_then(|path| path.strip_suffix(".wasm"));
        assert!(
            exists(source.expect("the image has its plugins there")),
            "{name}: {path}"
        );
    }
    assert_eq!(used, made);
}

#[test]
fn prometheus_and_grafana_find_the_files_they_are_told_of() {
    let text = read("deploy/prometheus/prometheus.yml");
    for rules in texts(
        yaml(&text)
            .as_mapping_get("rule_files")
            .expect("there are rules"),
    ) {
        assert!(exists(&format!("deploy/prometheus/{rules}")), "{rules}");
    }
    let dashboards = read("deploy/grafana/provisioning/dashboards/millrace.yml");
    let mounted = "./deploy/grafana/dashboards:/etc/millrace-dashboards:ro";
    assert!(dashboards.contains("path: /etc/millrace-dashboards"));
    assert!(read("docker-compose.yml").contains(mounted));
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

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Yaml<'_> {
    let mut documents = Yaml::load_from_str(text).expect("it is YAML");
    assert_eq!(documents.len(), 1, "one document a file");
    documents.remove(0)
}

fn keys<'a>(mapping: &'a Yaml<'_>) -> Vec<&'a str> {
    let mapping = mapping.as_mapping().into_iter().flatten();
    mapping.filter_map(|(key, _)| key.as_str()).collect()
}

fn sequence<'a, 'b>(node: &'a Yaml<'b>) -> &'a [Yaml<'b>] {
    node.as_sequence()
        .map_or(&[], |sequence| sequence.as_slice())
}

fn texts<'a>(node: &'a Yaml<'_>) -> Vec<&'a str> {
    sequence(node).iter().filter_map(Yaml::as_str).collect()
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
