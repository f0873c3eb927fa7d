//! `millrace plugin build`: from a new folder to a component that a host loads, in each language.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{begun, edit, equip, millrace};
use crate::harness::process;

/// Builds, and lets a host load the component.
#[track_caller]
fn builds(folder: &Path, name: &str) {
    let answer = millrace(folder, &["plugin", "build", "--output", "json"], &[]).expect(0);
    let built = answer.json();
    assert_eq!(built["component"], json!(format!("./dist/{name}.wasm")));
    assert_eq!(built["uses"], json!(["metrics"]));
    assert_eq!(built["notes"], json!([]));
    assert_eq!(built["changed"], json!(true));
    let component = folder.join(format!("dist/{name}.wasm"));
    let bytes = fs::read(&component).unwrap();
    assert_eq!(built["bytes"], json!(bytes.len()));
    let config = format!(
        "kafka: {{ brokers: localhost:9092 }}\nplugins:\n  {name}: {{ path: dist/{name}.wasm, grants: [metrics] }}\ngroups:\n  - id: g\n    routes: {{ a: \
         {name} }}\n    dead_letter: {{ topic: d }}\n    store: s\n"
    );
    fs::write(folder.join("millrace.yaml"), config).unwrap();
    millrace(folder, &["validate", "-c", "millrace.yaml"], &[]).expect(0);
}

#[test]
fn a_new_plugin_in_rust_builds_without_a_network() {
    let folder = begun("first-rust", "rust");
    builds(&folder, "first-rust");
    let again = millrace(&folder, &["plugin", "build", "--output", "json"], &[]).expect(0);
    assert_eq!(
        again.json()["changed"],
        json!(false),
        "the same source makes the same component"
    );
}

#[test]
fn a_new_plugin_in_javascript_builds() {
    builds(&begun("first-js", "js"), "first-js");
}

#[test]
fn a_new_plugin_in_typescript_builds() {
    builds(&begun("first-ts", "ts"), "first-ts");
}

#[test]
fn a_new_plugin_in_python_builds() {
    builds(&begun("first-python", "python"), "first-python");
}

#[test]
fn a_new_plugin_in_go_builds() {
    builds(&begun("first-go", "go"), "first-go");
}

#[test]
fn a_new_plugin_in_c_builds() {
    builds(&begun("first-c", "c"), "first-c");
}

#[test]
fn the_first_tests_of_a_new_plugin_in_rust_pass() {
    let folder = begun("tested-rust", "rust");
    let mut cargo = std::process::Command::new("cargo");
    cargo
        .args(["test", "--offline", "--locked"])
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/authoring"),
        )
        .current_dir(&folder);
    let answer = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&answer.stdout);
    assert!(
        answer.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    assert!(said.contains("2 passed"), "{said}");
}

#[test]
fn the_conformance_plugins_build() {
    for language in ["rust", "js", "ts", "python", "go", "c"] {
        let folder = process::folder("conformance");
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("sdk")
            .join(language)
            .join("conformance");
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(&from)
            .arg(&folder)
            .status()
            .unwrap();
        assert!(copied.success());
        let folder = folder.join("conformance");
        equip(&folder);
        millrace(&folder, &["plugin", "wit"], &[]).expect(0);
        let built = millrace(&folder, &["plugin", "build", "--output", "json"], &[])
            .expect(0)
            .json();
        assert_eq!(
            built["uses"],
            json!(["config", "logging", "metrics", "state"]),
            "{language}"
        );
    }
}

#[test]
fn a_plugin_is_built_from_outside_of_its_folder_too() {
    let folder = begun("elsewhere", "js");
    let parent = folder.parent().unwrap();
    millrace(parent, &["plugin", "build", "elsewhere"], &[]).expect(0);
    assert!(folder.join("dist/elsewhere.wasm").exists());
}

#[test]
fn a_plugin_imports_only_what_its_source_uses() {
    let folder = begun("frugal", "js");
    edit(
        &folder.join("src/plugin.js"),
        "metrics.counterAdd",
        "// metrics.counterAdd",
    );
    edit(
        &folder.join("wit/plugin.wit"),
        "include millrace:plugin/with-metrics@0.1.0;",
        "",
    );
    edit(&folder.join("plugin.yaml"), "[metrics]", "[]");
    let answer = millrace(&folder, &["plugin", "build"], &[]).expect(0);
    assert!(
        answer.stdout.contains("; uses no grant\n"),
        "{}",
        answer.stdout
    );
}

#[test]
fn a_line_on_the_console_goes_the_way_of_the_log() {
    let folder = begun("talkative", "js");
    let source = folder.join("src/plugin.js");
    fs::write(
        &source,
        "export function handle() {\n  console.log(\"seen\");\n}\n",
    )
    .unwrap();
    edit(
        &folder.join("wit/plugin.wit"),
        "with-metrics@",
        "with-logging@",
    );
    edit(&folder.join("plugin.yaml"), "[metrics]", "[logging]");
    let answer = millrace(&folder, &["plugin", "build"], &[]).expect(0);
    assert!(
        answer.stdout.contains("; uses logging\n"),
        "{}",
        answer.stdout
    );
}
