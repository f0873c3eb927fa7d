//! The workflows of the public repository: actionlint accepts them, and they run only what the Makefile has.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use super::{files_below, top};
use crate::harness::{toolchains, yaml};

#[test]
fn actionlint_accepts_the_workflows() {
    let files = files_below(".github/workflows", &["yml"]);
    assert!(files.len() >= 4, "only {files:?}");
    let output = Command::new(toolchains::tool("deploy/actionlint", "setup-deploy"))
        // They would be taken from whatever is installed.
        .args(["-shellcheck=", "-pyflakes="])
        .args(files)
        .current_dir(top())
        .output()
        .expect("actionlint can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn workflows_run_targets_that_exist_with_no_more_rights_than_they_need() {
    let makefile = fs::read_to_string(top().join("Makefile")).expect("it is text");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.strip_prefix(".PHONY: "))
        .collect();
    for file in files_below(".github/workflows", &["yml"]) {
        let text = fs::read_to_string(&file).expect("it is text");
        let workflow = yaml::parse(&text).expect("it is YAML");
        assert_eq!(
            workflow["permissions"],
            serde_json::json!({ "contents": "read" }),
            "{}",
            file.display()
        );
        for (name, job) in workflow["jobs"].as_object().expect("there are jobs") {
            assert!(
                job["timeout-minutes"].is_string(),
                "{name} may run for ever"
            );
            let matrix = super::texts(&job["strategy"]["matrix"]["bench"]);
            let steps = job["steps"].as_array().expect("a list");
            let run = steps.iter().filter_map(|step| step["run"].as_str());
            let typed = run
                .flat_map(str::lines)
                .filter_map(|line| line.trim().strip_prefix("make "));
            // What comes after a redirection or a pipe is another program.
            let words = typed.flat_map(|line| {
                line.split_whitespace()
                    .take_while(|word| !word.contains(['>', '|']))
            });
            for word in words {
                let is_target = word
                    .chars()
                    .all(|char| char.is_ascii_lowercase() || char == '-');
                assert!(!is_target || targets.contains(word), "{name}: make {word}");
            }
            for target in matrix {
                assert!(targets.contains(target), "{name}: make {target}");
            }
        }
    }
}
