//! The Helm chart, rendered by helm with each set of values below its `ci` folder: Kubernetes' own schemas accept it, the
//! host accepts the configuration in it, and values that make no sense are refused before anything is rendered.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millrace::config;
use serde_json::Value;

use super::{files_below, texts, top};
use crate::harness::prometheus::promtool;
use crate::harness::{process, toolchains, yaml};

const CHART: &str = "deploy/helm/millrace";

/// The oldest that Chart.yaml allows, one that is widespread, and the newest whose schemas are there.
const KUBERNETES: [&str; 3] = ["1.27", "1.33", "1.37"];

#[test]
fn helm_lints_and_renders_the_chart_with_every_set_of_values() {
    for values in value_sets() {
        let linted = helm(&["lint", "--strict", CHART], &values);
        assert!(linted.status.success(), "{}", said(&linted));
        assert!(!rendered(&values).is_empty());
    }
}

#[test]
fn kubernetes_schemas_accept_what_is_rendered() {
    let folder = process::folder("manifests");
    let mut files = Vec::new();
    for values in value_sets() {
        let name = values.file_stem().expect("it has a name");
        let file = folder.join(name).with_extension("yaml");
        // The kinds of the Prometheus operator are not Kubernetes' own; they are looked at below.
        let core = rendered(&values)
            .into_iter()
            .filter(|manifest| manifest.parsed["apiVersion"] != "monitoring.coreos.com/v1");
        let texts: Vec<String> = core.map(|manifest| manifest.text).collect();
        fs::write(&file, texts.join("\n---\n")).expect("the folder can be written");
        files.push(file);
    }
    for version in KUBERNETES {
        let tool = toolchains::tool("manifests/bin/kubernetes-validate", "setup-deploy");
        let checked = Command::new(tool)
            .args(["--strict", "--quiet", "--kubernetes-version", version])
            .args(&files)
            .output()
            .expect("kubernetes-validate can be started");
        assert!(checked.status.success(), "{version}: {}", said(&checked));
    }
}

#[test]
fn the_rules_in_the_chart_are_valid_and_the_monitor_scrapes_the_port_of_the_pods() {
    let everything = rendered(&values("everything"));
    let rule = only(&everything, "PrometheusRule");
    let (_, spec) = rule.text.split_once("\nspec:\n").expect("it has a spec");
    let file = process::folder("rules").join("rules.yml");
    fs::write(&file, spec.replace("\n  ", "\n")).expect("the folder can be written");
    let checked = promtool().args(["check", "rules"]).arg(file).output();
    let checked = checked.expect("promtool can be started");
    assert!(checked.status.success(), "{}", said(&checked));

    let monitor = &only(&everything, "PodMonitor").parsed["spec"];
    let pod = &only(&everything, "StatefulSet").parsed["spec"]["template"];
    let selector = monitor["selector"]["matchLabels"].as_object();
    for (label, value) in selector.expect("it selects") {
        assert_eq!(&pod["metadata"]["labels"][label], value);
    }
    let port = &monitor["podMetricsEndpoints"][0]["port"];
    let ports = pod["spec"]["containers"][0]["ports"].as_array();
    assert!(
        ports
            .expect("a list")
            .iter()
            .any(|each| &each["name"] == port)
    );
    assert_eq!(monitor["jobLabel"], "app.kubernetes.io/name");
    assert_eq!(
        pod["metadata"]["labels"]["app.kubernetes.io/name"],
        "millrace"
    );
}

#[test]
fn every_dashboard_is_a_config_map_that_grafana_looks_for() {
    let maps = rendered(&values("everything"));
    for file in files_below("deploy/grafana/dashboards", &["json"]) {
        let name = file.file_name().expect("it has a name").to_string_lossy();
        let map = maps
            .iter()
            .find(|map| map.parsed["data"].get(&*name).is_some());
        let map = &map
            .unwrap_or_else(|| panic!("no ConfigMap has {name}"))
            .parsed;
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let dashboard = map["data"][&*name].as_str().expect("it is text");
        let read = |text: &str| -> Value { serde_json::from_str(text).expect("it is JSON") };
        let delivered = fs::read_to_string(&file).expect("it is text");
        assert_eq!(read(dashboard), read(&delivered), "{name}");
    }
}

#[test]
fn the_host_accepts_the_configuration_and_the_environment_that_the_chart_gives_it() {
    for set in ["minimal", "everything"] {
        let manifests = rendered(&values(set));
        let host = Pod::of(&manifests);
        assert_eq!(host.args[..2], ["run", "--config"], "{set}");
        let map = manifests
            .iter()
            .find_map(|each| each.parsed["data"]["millrace.yaml"].as_str());
        let folder = process::folder("chart");
        let file = folder.join("millrace.yaml");
        // What the Secret of files holds.
        let secrets = folder.to_str().expect("it is text");
        fs::write(folder.join("ca.crt"), "").expect("the folder can be written");
        let text = map.expect("there is one");
        let text = text.replace("/etc/millrace/secrets", secrets);
        fs::write(&file, text).expect("the folder can be written");
        let secrets = ["KAFKA_USERNAME", "KAFKA_PASSWORD"].map(|name| (name, "secret"));
        let env = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = env.into_iter().chain(host.env.clone());
        // What the image sets.
        let env = env.chain([(
            "XDG_STATE_HOME".to_owned(),
            "/var/lib/millrace/state".to_owned(),
        )]);
        let plugin = if set == "minimal" {
            "audit"
        } else {
            "analytics"
        };
        let path = top().join(format!("plugins/dist/{plugin}.wasm"));
        let sets = [format!("plugins.{plugin}.path={}", path.display())];
        let config = config::load(&file, env, &sets);
        let config = config.unwrap_or_else(|error| panic!("{set}: {error}"));
        assert_eq!(config.admin.listen.to_string(), "0.0.0.0:9464");
        let static_member = config.kafka.properties.get("group.instance.id");
        assert_eq!(static_member.map(String::as_str), Some("rel-millrace-0"));
        assert!(config.groups[0].store.starts_with("/var/lib/millrace"));
        assert_eq!(config.ingest.grpc.is_some(), set == "everything");
        assert_eq!(config.ingest.http.is_some(), set == "everything");
        assert!(config.admin.token.is_some(), "{set}");
        assert!(config.drain_timeout.as_secs() + 10 < host.grace_seconds);
    }
}

#[test]
fn another_configuration_makes_other_pods() {
    let checksum = |more: &[&str]| {
        let output = helm(
            &[&["template", "rel", CHART][..], more].concat(),
            &values("minimal"),
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("checksum/config"));
        line.unwrap_or_else(|| panic!("{}", said(&output)))
            .to_owned()
    };
    let before = checksum(&[]);
    assert_eq!(before, checksum(&["--set", "logLevel=debug"]));
    assert_ne!(before, checksum(&["--set", "config=groups: []"]));
}

#[test]
fn hosts_run_without_rights_and_keep_their_settle_store() {
    for values in value_sets() {
        let manifests = rendered(&values);
        let set = &only(&manifests, "StatefulSet").parsed["spec"];
        let pod = &set["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], "true");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert_eq!(pod["automountServiceAccountToken"], "false");
        let container = &pod["containers"][0];
        let rights = &container["securityContext"];
        assert_eq!(rights["readOnlyRootFilesystem"], "true");
        assert_eq!(rights["allowPrivilegeEscalation"], "false");
        assert_eq!(texts(&rights["capabilities"]["drop"]), ["ALL"]);
        let data = "/var/lib/millrace";
        let mounts = container["volumeMounts"].as_array().expect("a list");
        assert!(mounts.iter().any(|mount| mount["mountPath"] == data));
        let claims = set["volumeClaimTemplates"].as_array().map_or(0, Vec::len);
        let ephemeral = values.ends_with("ephemeral-values.yaml");
        assert_eq!(claims, usize::from(!ephemeral), "{}", values.display());
    }
}

#[test]
fn values_that_make_no_sense_are_refused_with_their_place() {
    for (value, place) in [
        ("replicaCount=-1", "replicaCount"),
        ("replicaCount=two", "replicaCount"),
        ("replicas=3", "replicas"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=9f86d08", "digest"),
        ("kafka.brokers=kafka", "brokers"),
        ("kafka.staticMembership=pod", "staticMembership"),
        ("existingSecret=Kafka Login", "existingSecret"),
        ("admin.port=0", "port"),
        ("ingest.grpc.port=70000", "port"),
        ("ingest.service.type=Ingress", "type"),
        ("persistence.size=big", "size"),
        ("persistence.accessModes={ReadWriteMany}", "accessModes"),
        ("resources.limits.memory=lots", "memory"),
        (
            "terminationGracePeriodSeconds=5",
            "terminationGracePeriodSeconds",
        ),
        ("probes.startup.failureThreshold=0", "failureThreshold"),
        ("metrics.podMonitor.interval=15", "interval"),
        ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
        ("extraEnv={TZ}", "extraEnv"),
    ] {
        let refused = helm(
            &["template", "rel", CHART, "--set", value],
            &values("minimal"),
        );
        assert!(!refused.status.success(), "{value} was taken");
        assert!(
            said(&refused).contains(place),
            "{value}: {}",
            said(&refused)
        );
    }
    for (args, place) in [
        (["--set", "config="], "config is empty"),
        (
            ["--set", "admin.existingSecret="],
            "admin.existingSecret is empty",
        ),
        (["--set-json", "config={\"groups\":[]}"], "config"),
    ] {
        let args = [&["template", "rel", CHART][..], &args].concat();
        let refused = helm(&args, &values("minimal"));
        assert!(!refused.status.success(), "{args:?}");
        assert!(
            said(&refused).contains(place),
            "{args:?}: {}",
            said(&refused)
        );
    }
}

#[test]
fn chart_and_host_have_one_version() {
    let text = fs::read_to_string(top().join(CHART).join("Chart.yaml")).expect("it is text");
    let chart = yaml::parse(&text).expect("it is YAML");
    for version in ["version", "appVersion"] {
        assert_eq!(chart[version], env!("CARGO_PKG_VERSION"), "{version}");
    }
}

/// One manifest of what helm printed.
struct Manifest {
    text: String,
    parsed: Value,
}

/// What a pod starts its host with.
struct Pod {
    args: Vec<String>,
    env: BTreeMap<String, String>,
    grace_seconds: u64,
}

impl Pod {
    fn of(manifests: &[Manifest]) -> Self {
        let pod = &only(manifests, "StatefulSet").parsed["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let mut env = BTreeMap::new();
        for variable in container["env"].as_array().expect("a list") {
            let name = variable["name"].as_str().expect("it has a name");
            // The kubelet puts the name of the pod in.
            let value = match variable["valueFrom"]["secretKeyRef"].is_object() {
                true => "a-token-that-nobody-guesses",
                false => variable["value"].as_str().unwrap_or("rel-millrace-0"),
            };
            env.insert(
                name.to_owned(),
                value.replace("$(POD_NAME)", "rel-millrace-0"),
            );
        }
        let grace = pod["terminationGracePeriodSeconds"].as_str();
        Self {
            args: texts(&container["args"])
                .into_iter()
                .map(str::to_owned)
                .collect(),
            env,
            grace_seconds: grace
                .and_then(|grace| grace.parse().ok())
                .expect("a number"),
        }
    }
}

fn only<'a>(manifests: &'a [Manifest], kind: &str) -> &'a Manifest {
    let mut found = manifests.iter().filter(|each| each.parsed["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "a second {kind}");
    first
}

fn rendered(values: &Path) -> Vec<Manifest> {
    let output = helm(&["template", "rel", CHART, "--namespace", "events"], values);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("it is text");
    let documents = text
        .split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"));
    let documents = documents.filter(|document| {
        document
            .lines()
            .any(|line| !line.is_empty() && !line.starts_with('#'))
    });
    documents
        .map(|document| Manifest {
            parsed: yaml::parse(document).unwrap_or_else(|error| panic!("{error} in\n{document}")),
            text: document.to_owned(),
        })
        .collect()
}

fn helm(args: &[&str], values: &Path) -> Output {
    let home = process::folder("helm");
    let mut command = Command::new(toolchains::tool("deploy/helm", "setup-deploy"));
    // A helm that was not built by its authors takes a cluster of old for granted.
    if args[0] == "template" {
        command.args(args).args(["--kube-version", "1.33.0"]);
    } else {
        command.args(args);
    }
    command
        .arg("--values")
        .arg(values)
        .current_dir(top())
        .env("HELM_CACHE_HOME", &home)
        .env("HELM_CONFIG_HOME", &home)
        .env("HELM_DATA_HOME", &home)
        .output()
        .expect("helm can be started")
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn values(set: &str) -> PathBuf {
    top().join(CHART).join(format!("ci/{set}-values.yaml"))
}

fn value_sets() -> Vec<PathBuf> {
    let sets = files_below(&format!("{CHART}/ci"), &["yaml"]);
    assert!(sets.len() >= 3, "only {sets:?}");
    sets
}
