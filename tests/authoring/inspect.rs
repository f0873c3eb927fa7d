//! `millrace plugin inspect`: what a component is, and what else a file may be.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Answer, millrace};
use crate::harness::process;
use crate::sandbox::guest;

fn inspect(file: &Path, args: &[&str]) -> Answer {
    let file = file.display().to_string();
    let mut all = vec!["plugin", "inspect", &file];
    all.extend(args);
    millrace(Path::new("/"), &all, &[])
}

#[test]
fn a_component_tells_its_world_and_the_grants_that_its_imports_need() {
    let answer = inspect(&guest("one-at-a-time"), &["--output", "json"])
        .expect(0)
        .json();
    assert_eq!(answer["world"], "handler");
    assert_eq!(answer["options"], json!([]));
    assert_eq!(
        answer["grants"],
        json!(["journal", "metrics", "state", "tally"])
    );
    assert_eq!(
        answer["bytes"],
        json!(fs::metadata(guest("one-at-a-time")).unwrap().len())
    );
    let made_by = answer["made_by"].to_string();
    assert!(made_by.contains("rustc"), "{made_by}");
    let answer = inspect(&guest("analytics"), &["--compile"]).expect(0);
    for part in [
        "batch-handler, with timer",
        "metrics, tally",
        "sha256:",
        "denied",
        "compiled in",
    ] {
        assert!(
            answer.stdout.contains(part),
            "{part:?} is not in:\n{}",
            answer.stdout
        );
    }
}

#[test]
fn what_a_host_could_not_load_ends_with_one_and_why() {
    let answer = inspect(&guest("wants-more"), &[]).expect(1);
    assert!(answer.stdout.contains("lacks"), "{}", answer.stdout);
    let answer = inspect(&guest("refuses"), &["--compile"]).expect(1);
    assert!(
        answer.stdout.contains("its init refused"),
        "{}",
        answer.stdout
    );
}

#[test]
fn a_file_that_is_no_component_is_told_by_what_it_is() {
    let folder = process::folder("inspected");
    let file = folder.join("it.wasm");
    for (bytes, parts) in [
        (
            wat::parse_str("(module)").unwrap(),
            ["core module", "wasm32-wasip2"],
        ),
        (
            wat::parse_str("(component)").unwrap(),
            ["WIT package", "has no code"],
        ),
        (b"(component)".to_vec(), ["as text", "build it"]),
        (b"hello".to_vec(), ["not WebAssembly", "first bytes"]),
    ] {
        fs::write(&file, bytes).unwrap();
        inspect(&file, &[]).expect(2).says(&parts);
    }
    inspect(&folder, &[]).expect(2).says(&["is a folder"]);
    inspect(&folder.join("none"), &[])
        .expect(2)
        .says(&["cannot read"]);
}
