//! What editors are told of the configuration. Every host that a test starts is held against it too (`harness::host`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

use crate::harness::config_schema::{expect_accepted, marks, printed};
use crate::harness::yaml;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Keys of the document that only a configuration has; Prometheus' rules have `groups` too.
fn is_configuration(document: &Value) -> bool {
    static SCHEMA: LazyLock<Value> = LazyLock::new(printed);
    let known = SCHEMA["properties"].as_object().expect("it has keys");
    let rules = document["groups"][0].get("rules").is_some();
    document
        .as_object()
        .is_some_and(|keys| !keys.is_empty() && keys.keys().all(|key| known.contains_key(key)))
        && !rules
}

/// The blocks of YAML in a page, with the line each begins at.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((line, text)) = lines.next() {
        if text.starts_with("```yaml") {
            let block = lines.by_ref().map(|(_, text)| text);
            let block: Vec<&str> = block.take_while(|text| *text != "```").collect();
            blocks.push((line + 1, block.join("\n")));
        }
    }
    blocks
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(top().join("docs")).expect("there is documentation");
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|it| it == "md"));
    pages.push(top().join("README.md"));
    pages
}

#[test]
fn editors_mark_nothing_in_any_example_of_the_documentation() {
    let mut held = 0;
    for page in pages() {
        for (line, block) in blocks(&text(&page)) {
            let document = yaml::parse_typed(&block);
            if document.is_ok_and(|document| is_configuration(&document)) {
                held += 1;
                expect_accepted(&format!("{}:{line}", page.display()), &block);
            }
        }
    }
    assert!(held >= 10, "only {held} examples were found");
}

#[test]
fn editors_mark_nothing_in_what_is_deployed() {
    for file in ["deploy/millrace.yaml", "fuzz/seeds/config/millrace.yaml"] {
        expect_accepted(file, &text(&top().join(file)));
    }
    for values in ["minimal", "everything"] {
        let file = top().join(format!("deploy/helm/millrace/ci/{values}-values.yaml"));
        let values = yaml::parse(&text(&file)).expect("it is YAML");
        let config = values["config"].as_str().expect("it has a configuration");
        expect_accepted(&file.display().to_string(), config);
    }
}

#[test]
fn editors_mark_what_is_wrong() {
    let sound = "kafka: { brokers: b }\nplugins: { p: { path: p.wasm } }\ngroups: [{ id: g, routes: { t: p } }]\n";
    expect_accepted("a sound configuration", sound);
    for (wrong, right) in [
        ("brokers: b", "broker: b"),
        ("path: p.wasm", "path: p.wasm, tick: 10"),
        ("path: p.wasm", "path: p.wasm, tick: 10 min"),
        ("path: p.wasm", "path: p.wasm, limits: { memory: 64mb }"),
        ("path: p.wasm", "path: p.wasm, limits: { outputs: -1 }"),
        ("path: p.wasm", "path: p.wasm, grants: [filesystem]"),
        ("path: p.wasm", "grants: []"),
        ("id: g", "id: g, ordering: keys"),
        ("id: g", "id: g, retry: { attempts: many }"),
        ("id: g", "id: g, commit_map: maybe"),
        ("t: p", "t: { plugin: p, plugn: p }"),
    ] {
        let text = sound.replace(wrong, right);
        assert!(!marks(&text).is_empty(), "nothing is marked in\n{text}");
    }
}

#[test]
fn no_section_of_the_schema_takes_a_key_that_it_does_not_name() {
    fn sections(schema: &Value) -> usize {
        match schema {
            Value::Object(keys) => {
                // A key may be called `properties` too, and then no type stands beside it.
                let here = keys.get("type").is_some_and(|it| it == "object")
                    && keys.contains_key("properties");
                if here {
                    assert_eq!(keys["additionalProperties"], false, "{schema:#}");
                    for (name, key) in keys["properties"].as_object().expect("keys") {
                        let told = key["description"].as_str();
                        assert!(
                            told.is_some_and(|told| told.ends_with('.')),
                            "{name}: {told:?}"
                        );
                    }
                }
                usize::from(here) + keys.values().map(sections).sum::<usize>()
            }
            Value::Array(items) => items.iter().map(sections).sum(),
            _ => 0,
        }
    }
    let schema = printed();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(sections(&schema) > 35);
}
