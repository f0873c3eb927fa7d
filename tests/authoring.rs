//! What the author of a plugin does, typed as a person types it: a folder is begun, built, and told what is wrong
//! with it.
//!
//! All but Rust and Go are built by what `make setup-languages` installed; nothing is fetched here.

mod bench;
mod build;
mod conformance;
mod dev;
mod dlq;
mod inspect;
mod languages;
mod new;
mod run;
mod scenarios;
mod transcript;
mod wrong_turns;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;

use crate::harness::host::BINARY;
use crate::harness::process;
use crate::harness::toolchains::equip;

/// A first build compiles the crates that a plugin depends on, on a machine that runs other tests too.
const BUILD_TIMEOUT: Duration = Duration::from_mins(5);

/// How a command ended, and all it said.
#[derive(Debug)]
struct Answer {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Answer {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Standard error, which has all of these parts.
    #[track_caller]
    fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "{part:?} is not in:\n{}",
                self.stderr
            );
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Runs `millrace` in a folder, with these variables beside those of the test.
#[track_caller]
fn millrace(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Answer {
    let said = process::folder("said");
    let (stdout, stderr) = (said.join("stdout"), said.join("stderr"));
    let mut command = process::tethered(BINARY);
    command
        .args(args)
        .current_dir(folder)
        // Crates come from the cache, and are compiled once for all tests.
        .env("CARGO_NET_OFFLINE", "true")
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/authoring"),
        )
        .envs(env.iter().copied())
        .stdout(File::create(&stdout).expect("the folder can be written"))
        .stderr(File::create(&stderr).expect("the folder can be written"));
    let mut child = process::spawn(command).expect("the binary can be started");
    let what = format!("millrace {}", args.join(" "));
    let status = process::wait_for_exit(&mut child, &what, BUILD_TIMEOUT);
    let text = |file| fs::read_to_string(file).expect("what was said is text");
    Answer {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// The folder of a new plugin, with the packages that its language needs.
#[track_caller]
fn begun(name: &str, language: &str) -> PathBuf {
    let parent = process::folder("plugins");
    millrace(&parent, &["plugin", "new", name, "--lang", language], &[]).expect(0);
    let folder = parent.join(name);
    equip(&folder);
    folder
}

/// The file in the folder, with one part of its text replaced.
#[track_caller]
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("it is there");
    assert!(
        text.contains(from),
        "{from:?} is not in {}:\n{text}",
        file.display()
    );
    fs::write(file, text.replace(from, to)).expect("it can be written");
}

/// Every file below a folder, by its path from there, sorted.
fn files_below(folder: &Path) -> Vec<String> {
    let mut open = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("it is a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let short = path.strip_prefix(folder).expect("it lies below");
                files.push(short.display().to_string());
            }
        }
    }
    files.sort();
    files
}
