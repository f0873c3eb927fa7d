//! The kit in `sdk/conformance`: the plugin of every language does the same, on the real data path.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{equip, millrace};
use crate::harness::process;

/// A folder of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The scenarios of the kit, by name.
fn kit() -> Vec<String> {
    let entries = fs::read_dir(repository("sdk/conformance")).expect("it is there");
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<String> = files.map(|path| path.display().to_string()).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

/// Large components are compiled at low priority, beside the tests that run at the same time.
fn be_patient(folder: &Path) {
    let file = folder.join("plugin.yaml");
    let manifest = fs::read_to_string(&file).expect("it is there");
    if manifest.contains("compile_time") {
        return;
    }
    let patient = if manifest.contains("  limits: {") {
        manifest.replace("  limits: {", "  limits: { compile_time: 10m,")
    } else {
        format!("{manifest}  limits: {{ compile_time: 10m }}\n")
    };
    fs::write(file, patient).expect("it can be written");
}

/// Builds the plugin of a language in a copy of its folder, and plays the kit on it.
#[track_caller]
fn passes(language: &str) {
    let folder = process::folder("conformance");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(repository("sdk").join(language).join("conformance"))
        .arg(&folder)
        .status()
        .expect("cp can be run");
    assert!(copied.success());
    let folder = folder.join("conformance");
    equip(&folder);
    be_patient(&folder);
    millrace(&folder, &["plugin", "wit"], &[]).expect(0);
    let kit = kit();
    let args: Vec<&str> = ["plugin", "test", "."]
        .into_iter()
        .chain(kit.iter().map(String::as_str))
        .collect();
    let answer = millrace(&folder, &args, &[]).expect(0);
    assert!(answer.stdout.contains(" 0 failed"), "{}", answer.stdout);
    eprintln!("{language}\n{}", answer.stdout);
}

#[test]
fn rust_passes_the_kit() {
    passes("rust");
}

#[test]
fn javascript_passes_the_kit() {
    passes("js");
}

#[test]
fn typescript_passes_the_kit() {
    passes("ts");
}

#[test]
fn python_passes_the_kit() {
    passes("python");
}

#[test]
fn go_passes_the_kit() {
    passes("go");
}

#[test]
fn c_passes_the_kit() {
    passes("c");
}
