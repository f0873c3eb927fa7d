//! Components in registries: pushed, pulled, and run from there, with a real registry server and without one.

mod scripted;
mod servers;

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use millrace::sandbox::digest_of;
use serde_json::json;

use crate::harness::host::{Exit, command, command_with};
use crate::harness::main_flow::guest;
use crate::harness::registry::{PASSWORD, Registry, USER};
use crate::harness::versions::{Versioned, component};
use crate::harness::{kafka, process};

/// `EX_CONFIG` and `EX_UNAVAILABLE` of sysexits.h.
const BAD_CONFIGURATION: i32 = 78;
const UNAVAILABLE: i32 = 69;

/// Pushes a file, and says what it is pinned by.
#[track_caller]
fn push(file: &Path, to: &str) -> String {
    let pushed = command(&["plugin", "push", &file.display().to_string(), to]);
    pushed.expect_code(0).stdout.trim().to_owned()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, bytes).expect("the folder can be written");
    file
}

/// What `validate` says of a plugin from there. What it fetches stays in the folder, and so does the configuration.
fn validate(folder: &Path, path: &str, lines: &str) -> Exit {
    let text = format!(
        "kafka: {{ brokers: \"127.0.0.1:1\" }}\nplugins:\n  p:\n    path: \"{path}\"\n    grants: [config, state, \
         tally, journal]\n    journal: {{ path: j.log }}\n    config: {{ output: o, counts: o }}\n{lines}\
         ingest: {{ grpc: {{ listen: \"127.0.0.1:0\" }} }}\nregistry: {{ cache: cache }}\n"
    );
    let file = write(folder, "millrace.yaml", text.as_bytes());
    command(&["validate", "-c", &file.display().to_string()])
}

#[track_caller]
fn assert_says(exit: &Exit, code: i32, parts: &[&str]) {
    assert_eq!(exit.code, Some(code), "{}", exit.stderr);
    for part in parts {
        assert!(
            exit.stderr.contains(part),
            "{part:?} is not in: {}",
            exit.stderr
        );
    }
}

#[test]
fn what_is_pushed_is_pulled_byte_for_byte_and_is_the_same_artifact_again() {
    let registry = Registry::start();
    let folder = process::folder("push");
    let bytes = component("packaged", Some("1.2.3"));
    let file = write(&folder, "plugin.wasm", &bytes);
    let to = format!("oci://{}/team/orders:1.2.3", registry.host());
    let pinned = push(&file, &to);
    assert!(pinned.starts_with(&format!("{to}@sha256:")), "{pinned}");
    assert_eq!(
        push(&file, &to),
        pinned,
        "the same component is the same artifact"
    );

    for from in [&to, &pinned] {
        let pulled = folder.join("pulled.wasm");
        let args = [
            "plugin",
            "pull",
            from,
            "-o",
            &pulled.display().to_string(),
            "--output",
            "json",
        ];
        let said = command(&args).expect_code(0).json();
        assert_eq!(said["reference"], pinned.as_str());
        assert_eq!(said["component"], format!("sha256:{}", digest_of(&bytes)));
        assert_eq!(fs::read(&pulled).expect("it is there"), bytes);
    }
}

#[test]
fn the_layout_is_that_of_the_wasm_working_group() {
    let registry = Registry::start();
    let folder = process::folder("layout");
    let bytes = component("packaged", Some("1.2.3"));
    let file = write(&folder, "plugin.wasm", &bytes);
    push(&file, &format!("oci://{}/orders:1", registry.host()));
    let manifest = registry.json("orders/manifests/1");
    assert_eq!(manifest["schemaVersion"], 2);
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let layer = json!({
        "mediaType": "application/wasm",
        "digest": format!("sha256:{}", digest_of(&bytes)),
        "size": bytes.len(),
    });
    assert_eq!(manifest["layers"], json!([layer]));
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.version"],
        "1.2.3"
    );
    let digest = manifest["config"]["digest"].as_str().expect("it is text");
    let config = registry.json(&format!("orders/blobs/{digest}"));
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("wasm"), &json!("wasip2"))
    );
    assert_eq!(config["layerDigests"], json!([layer["digest"]]));
    let has = |list: &str, wanted: &str| {
        let names = config["component"][list].as_array().expect("a list");
        assert!(
            names.contains(&json!(wanted)),
            "{wanted} is not in {names:?}"
        );
    };
    has("imports", "millrace:plugin/state@0.1.0");
    has("exports", "millrace:plugin/batch-event-handler@0.1.0");
}

#[test]
fn what_is_not_there_or_not_what_it_is_pinned_to_is_told() {
    let registry = Registry::start();
    let folder = process::folder("absent");
    let file = write(&folder, "plugin.wasm", &component("packaged", None));
    let host = registry.host();
    push(&file, &format!("oci://{host}/orders:1"));
    let other = digest_of(b"something else");
    for (from, part) in [
        (
            format!("oci://{host}/orders:2"),
            "there is nothing of that name (status 404, manifest unknown)",
        ),
        (
            format!("oci://{host}/others:1"),
            "there is nothing of that name (status 404",
        ),
        (format!("oci://{host}/orders@sha256:{other}"), "status 404"),
    ] {
        assert_says(&command(&["plugin", "pull", &from]), 1, &[&from, part]);
    }
    let from = format!("oci://{host}/orders@sha256:{other}");
    assert_says(
        &validate(&folder, &from, ""),
        BAD_CONFIGURATION,
        &["plugin p: ", &from, "status 404"],
    );
    let text = write(&folder, "plugin.txt", b"no component");
    let refused = command(&[
        "plugin",
        "push",
        &text.display().to_string(),
        &format!("oci://{host}/x:1"),
    ]);
    assert_says(
        &refused,
        1,
        &["it is not a component", "millrace plugin build"],
    );
}

#[test]
fn a_registry_that_asks_for_a_login_is_told_the_one_of_docker() {
    let registry = Registry::start_with_login();
    let host = registry.host();
    let folder = process::folder("login");
    let bytes = component("packaged", None);
    let file = write(&folder, "plugin.wasm", &bytes).display().to_string();
    let to = format!("oci://{host}/orders:1");
    let push = |password: Option<&str>| {
        if let Some(password) = password {
            let auth = BASE64_STANDARD.encode(format!("{USER}:{password}"));
            let login = json!({ "auths": { &host: { "auth": auth } } });
            write(&folder, "config.json", login.to_string().as_bytes());
        }
        let docker = folder.display().to_string();
        command_with(
            &["plugin", "push", &file, &to],
            &[("DOCKER_CONFIG", &docker)],
        )
    };
    let login = format!("docker login {host}");
    let place = folder.join("config.json").display().to_string();
    assert_says(
        &push(None),
        1,
        &["wants to know who asks (status 401", &login, &place],
    );
    let wrong = push(Some("a guess"));
    assert_says(&wrong, 1, &["refuses millrace (status 401", &place]);
    assert!(!wrong.stderr.contains("a guess"), "{}", wrong.stderr);
    let pinned = push(Some(PASSWORD)).expect_code(0).stdout;
    let pinned = pinned.trim();

    let refused = validate(&folder, pinned, "");
    assert_says(
        &refused,
        BAD_CONFIGURATION,
        &["plugin p: ", "wants to know who asks"],
    );
    let text = fs::read_to_string(folder.join("millrace.yaml")).expect("it is there");
    let text = text.replace(
        "{ cache: cache }",
        "{ cache: cache, credentials: config.json }",
    );
    let config = write(&folder, "millrace.yaml", text.as_bytes())
        .display()
        .to_string();
    command(&["validate", "-c", &config]).expect_code(0);
}

#[test]
fn what_is_not_pinned_is_refused_with_what_to_write() {
    let registry = Registry::start();
    let folder = process::folder("pin");
    let file = write(&folder, "plugin.wasm", &component("packaged", None));
    let to = format!("oci://{}/orders:1", registry.host());
    let pinned = push(&file, &to);
    let refused = validate(&folder, &to, "");
    assert_says(
        &refused,
        BAD_CONFIGURATION,
        &["is not pinned", &format!("`path: {pinned}`")],
    );
    validate(&folder, &pinned, "").expect_code(0);
    let candidate = format!("    shadow: {{ path: \"{to}\" }}\n");
    let refused = validate(&folder, &pinned, &candidate);
    assert_says(&refused, BAD_CONFIGURATION, &["is not pinned"]);
}

#[test]
fn what_was_changed_in_the_cache_is_not_used() {
    let mut registry = Registry::start();
    let folder = process::folder("tampered");
    let bytes = component("packaged", None);
    let file = write(&folder, "plugin.wasm", &bytes);
    let pinned = push(&file, &format!("oci://{}/orders:1", registry.host()));
    validate(&folder, &pinned, "").expect_code(0);
    let entry = folder
        .join("cache")
        .join(digest_of(&bytes))
        .with_extension("blob");
    assert_eq!(fs::read(&entry).expect("it is kept"), bytes);

    registry.stop();
    validate(&folder, &pinned, "").expect_code(0);
    fs::write(&entry, component("tampered", None)).expect("it can be written");
    let refused = validate(&folder, &pinned, "");
    assert_says(
        &refused,
        UNAVAILABLE,
        &["plugin p: ", &pinned, "cannot be reached"],
    );
    registry.start_again();
    validate(&folder, &pinned, "").expect_code(0);
    assert_eq!(
        fs::read(&entry).expect("it is kept"),
        bytes,
        "it was replaced"
    );
}

#[test]
fn what_is_larger_than_the_plugin_may_be_is_not_fetched() {
    let registry = Registry::start();
    let folder = process::folder("large");
    let file = write(&folder, "plugin.wasm", &component("packaged", None));
    let pinned = push(&file, &format!("oci://{}/orders:1", registry.host()));
    let refused = validate(&folder, &pinned, "    limits: { component_size: 10KiB }\n");
    assert_says(
        &refused,
        BAD_CONFIGURATION,
        &["more than the 10240 bytes", "limits.component_size"],
    );
}

#[test]
fn a_host_runs_a_plugin_from_a_registry_and_again_when_the_registry_is_gone() {
    let mut registry = Registry::start();
    let folder = process::folder("runs");
    let file = write(
        &folder,
        "plugin.wasm",
        &component("packaged", Some("1.0.0")),
    );
    let pinned = push(&file, &format!("oci://{}/orders:1", registry.host()));
    let versioned = Versioned::new("registry", 1);
    let config = versioned.config(&format!("\"{pinned}\""), "");
    let setup = crate::harness::host::Setup::new(
        kafka::shared(),
        &format!("{config}registry: {{ cache: cache }}\n"),
    );
    let host = setup.start();
    assert_eq!(versioned.stamp_of(1).json()["marker"], "packaged");
    host.sigterm().expect_code(0);

    registry.stop();
    let host = setup.start();
    assert_eq!(versioned.stamp_of(2).json()["marker"], "packaged");
    let admin = host.admin().to_string();
    let reloaded = command(&[
        "plugin",
        "reload",
        "versioned",
        "--admin",
        &admin,
        "--output",
        "json",
    ]);
    assert_eq!(reloaded.expect_code(0).json()["version"], "1.0.0");
    host.sigterm().expect_code(0);
}

/// Made for wasmCloud, pushed, and run on Kafka with nothing but a configuration.
#[test]
fn a_component_made_for_another_host_runs_from_a_registry() {
    use crate::harness::topic::{Record, Topic, unique};
    use crate::harness::{host::Setup, wait};

    let registry = Registry::start();
    let file = PathBuf::from(guest("wasmcloud-messaging"));
    let pinned = push(&file, &format!("oci://{}/foreign:1", registry.host()));
    let topic = |hint| Topic::create(kafka::shared(), hint, 1);
    let (source, answers, letters) = (topic("foreign"), topic("foreign.out"), topic("foreign.dlq"));
    let config = format!(
        "plugins:\n  foreign:\n    path: \"{pinned}\"\n    grants: [\"output:{out}\"]\ngroups:\n  - id: {group}\n    \
         routes: {{ {source}: foreign }}\n    retry: {{ attempts: 2, backoff: {{ initial: 100ms }} }}\n    \
         dead_letter: {{ topic: {letters} }}\n    store: store\nregistry: {{ cache: cache }}\n",
        out = answers.name(),
        group = unique("foreign"),
        source = source.name(),
        letters = letters.name(),
    );
    let host = Setup::new(kafka::shared(), &config).start();
    let to = |value: &str| Record::new("key", value).header("reply-to", answers.name());
    source.produce(&[to("hello"), to("fail"), to("again")]);
    let patience = crate::harness::versions::SERVES_TIMEOUT;
    let answered = wait::eventually_some("two answers", patience, || {
        let read = answers.read_all();
        if read.len() == 2 {
            Ok(read)
        } else {
            Err(format!("{read:?}"))
        }
    });
    let said = |at: usize| {
        String::from_utf8_lossy(answered[at].value.as_deref().unwrap_or_default()).into_owned()
    };
    assert_eq!(said(0), format!("{} hello", source.name()));
    assert_eq!(
        said(1),
        format!("{} again", source.name()),
        "the failed event sent nothing"
    );
    assert_eq!(answered[0].key.as_deref(), Some(&b"key"[..]));
    assert_eq!(answered[0].header("reply-to"), Some("answers"));
    assert_eq!(
        letters.read_all().len(),
        1,
        "what never gets better is given up"
    );
    host.sigterm().expect_code(0);
}
