//! `millrace plugin new` and `millrace plugin wit`: what is written, and what is refused.

use std::fs;

use serde_json::json;

use super::{begun, edit, files_below, millrace};
use crate::harness::process;

/// What every plugin has, whatever it is written in.
const OF_ALL: [&str; 5] = [
    ".gitignore",
    "README.md",
    "fixtures/events.jsonl",
    "plugin.yaml",
    "tests/first.yaml",
];

#[test]
fn a_plugin_begins_with_all_that_it_is_built_and_tried_with() {
    for (language, own) in [
        (
            "rust",
            [
                "Cargo.toml",
                "Cargo.lock",
                "src/lib.rs",
                "vendor/millrace-sdk/wit/types.wit",
            ],
        ),
        (
            "js",
            [
                "package.json",
                "src/plugin.js",
                "vendor/millrace/index.js",
                "wit/plugin.wit",
            ],
        ),
        (
            "ts",
            [
                "tsconfig.json",
                "src/plugin.ts",
                "vendor/millrace/index.d.ts",
                "wit/plugin.wit",
            ],
        ),
    ] {
        let parent = process::folder("plugins");
        let args = [
            "plugin",
            "new",
            "my-plugin",
            "--lang",
            language,
            "--output",
            "json",
        ];
        let answer = millrace(&parent, &args, &[]).expect(0).json();
        let folder = parent.join("my-plugin");
        let files = files_below(&folder);
        for file in OF_ALL.iter().chain(&own) {
            assert!(
                files.iter().any(|there| there == file),
                "{language}: no {file} in {files:#?}"
            );
        }
        let told = answer["files"].as_array().unwrap();
        let mut told: Vec<&str> = told.iter().filter_map(|file| file.as_str()).collect();
        told.sort_unstable();
        assert_eq!(told, files, "{language}");
        for file in files {
            let text = fs::read_to_string(folder.join(&file)).unwrap();
            assert!(
                !text.contains("{{"),
                "{language}: {file} has a gap that nobody filled"
            );
        }
    }
}

#[test]
fn a_name_that_means_something_in_a_contract_or_has_a_number_in_it_is_a_name_like_any_other() {
    for name in ["world", "orders-2"] {
        let folder = begun(name, "js");
        millrace(&folder, &["plugin", "build"], &[]).expect(0);
    }
}

#[test]
fn what_to_type_next_stands_below_the_answer() {
    let parent = process::folder("plugins");
    let answer = millrace(&parent, &["plugin", "new", "a", "--lang", "rust"], &[]).expect(0);
    assert!(
        answer
            .stdout
            .ends_with("\n\n  cd a\n  millrace plugin dev\n"),
        "{}",
        answer.stdout
    );
    let answer = millrace(&parent, &["plugin", "new", "b", "--lang", "ts"], &[]).expect(0);
    assert!(
        answer
            .stdout
            .contains("  cd b\n  npm install\n  millrace plugin dev\n"),
        "{}",
        answer.stdout
    );
}

#[test]
fn a_folder_that_is_there_and_a_name_that_is_none_are_refused() {
    let parent = process::folder("plugins");
    fs::write(parent.join("taken"), "mine").unwrap();
    let taken = millrace(&parent, &["plugin", "new", "taken", "--lang", "rust"], &[]).expect(1);
    taken
        .says(&["taken is there already, and is left as it is: choose another name, or remove it"]);
    assert_eq!(fs::read_to_string(parent.join("taken")).unwrap(), "mine");
    let name = millrace(
        &parent,
        &["plugin", "new", "My_Plugin", "--lang", "rust"],
        &[],
    )
    .expect(1);
    name.says(&["`My_Plugin` cannot be the name of a plugin: use 1 to 64 of a-z, 0-9 and `-`"]);
    assert_eq!(files_below(&parent), ["taken"]);
}

#[test]
fn a_language_that_there_is_not_lists_those_there_are() {
    let parent = process::folder("plugins");
    let answer = millrace(&parent, &["plugin", "new", "a", "--lang", "cobol"], &[]).expect(2);
    answer.says(&["'cobol'", "possible values: rust, js, ts"]);
}

#[test]
fn the_contract_and_the_sdk_are_written_anew_and_the_rest_is_left_alone() {
    let folder = begun("renewed", "js");
    let contract = folder.join("wit/deps/millrace-plugin/types.wit");
    let before = fs::read_to_string(&contract).unwrap();
    edit(&contract, "attempt: u32,", "");
    fs::remove_file(folder.join("vendor/millrace/text.js")).unwrap();
    fs::write(folder.join("wit/plugin.wit"), "package my:own;\n").unwrap();
    let answer = millrace(&folder, &["plugin", "wit", "--output", "json"], &[]).expect(0);
    let written = [
        "wit/deps/millrace-plugin/types.wit",
        "vendor/millrace/text.js",
    ];
    assert_eq!(answer.json(), json!({ "written": written }));
    assert_eq!(fs::read_to_string(&contract).unwrap(), before);
    assert_eq!(
        fs::read_to_string(folder.join("wit/plugin.wit")).unwrap(),
        "package my:own;\n"
    );
    let again = millrace(&folder, &["plugin", "wit"], &[]).expect(0);
    assert_eq!(
        again.stdout,
        "the contract and the SDK are this host's already\n"
    );
}

#[test]
fn a_rust_handler_that_counts_events_is_under_15_lines_of_its_author() {
    let folder = begun("counts", "rust");
    let source = fs::read_to_string(folder.join("src/lib.rs")).expect("it is there");
    let handler = source.split("#[cfg(test)]").next().unwrap_or_default();
    assert!(
        handler.contains("metrics::counter_add"),
        "it counts: {handler}"
    );
    let lines = handler.lines().map(str::trim);
    let own = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    assert!(own.count() < 15, "{handler}");
}
