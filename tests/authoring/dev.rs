//! `millrace plugin dev`: built, run over its events, and both again with every change.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::{edit, millrace};
use crate::harness::host::BINARY;
use crate::harness::topic::{Record, Topic};
use crate::harness::{kafka, process, wait};
use crate::sandbox::guest;

/// Components are compiled first, on a machine that may be busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The folder of a plugin whose build is a copy, so that only the loop is tested.
fn plugin() -> PathBuf {
    let folder = process::folder("dev-plugin");
    let component = guest("counter-state");
    let manifest = format!(
        "name: counter\nlanguage: other\nbuild: {{ command: [cp, {}, out.wasm], component: out.wasm }}\n\
         topics: [orders]\nplugin: {{ grants: [state, \"output:counts\"] }}\n",
        component.display()
    );
    fs::write(folder.join("plugin.yaml"), manifest).unwrap();
    fs::create_dir(folder.join("fixtures")).unwrap();
    fs::write(
        folder.join("fixtures/a.jsonl"),
        "{\"key\":\"a\",\"value\":1}\n{\"key\":\"a\",\"value\":2}\n",
    )
    .unwrap();
    folder
}

#[test]
fn once_builds_runs_the_fixtures_and_ends() {
    let folder = plugin();
    let answer = millrace(&folder, &["plugin", "dev", "--once"], &[]).expect(0);
    for part in [
        "-- built ./dist/counter.wasm",
        "orders/0@0",
        " fuel",
        "counts a 2",
        "count = 2",
        "2 events: 2 processed",
    ] {
        assert!(
            answer.stdout.contains(part),
            "{part:?} is not in:\n{}",
            answer.stdout
        );
    }
    fs::write(folder.join("fixtures/b.jsonl"), "{\"value\":\"reject\"}\n").unwrap();
    millrace(&folder, &["plugin", "dev", "--once"], &[]).expect(1);
    edit(&folder.join("plugin.yaml"), "[cp,", "[\"false\",");
    millrace(&folder, &["plugin", "dev", "--once"], &[]).expect(2);
    let elsewhere = millrace(&process::folder("none"), &["plugin", "dev"], &[]).expect(2);
    elsewhere.says(&["plugin.yaml"]);
}

/// A running `millrace plugin dev` that answers in JSON.
struct Dev {
    child: Child,
    said: PathBuf,
}

impl Dev {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let said = process::folder("dev-said").join("stdout");
        let mut command = process::tethered(BINARY);
        command
            .args(["plugin", "dev", "--output", "json"])
            .args(args)
            .current_dir(folder)
            .stdout(File::create(&said).unwrap());
        Self {
            child: process::spawn(command).expect("the binary can be started"),
            said,
        }
    }

    /// Waits until so many of the lines satisfy this.
    #[track_caller]
    fn told(&self, what: &str, count: usize, holds: impl Fn(&Value) -> bool) {
        wait::eventually_some(what, TIMEOUT, || {
            let said = fs::read_to_string(&self.said).unwrap();
            let lines = said
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let found = lines.filter(|line| holds(line)).count();
            if found == count { Ok(()) } else { Err(said) }
        });
    }

    fn stop(mut self) {
        process::signal(&self.child, "INT");
        let status = process::wait_for_exit(&mut self.child, "plugin dev", TIMEOUT);
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_change_builds_and_runs_again_and_a_broken_build_is_shown() {
    let folder = plugin();
    let dev = Dev::start(&folder, &[]);
    let is_event = |line: &Value| line["outcome"] == "processed";
    let is_built = |line: &Value| line["built"].is_object();
    dev.told("the first build", 1, is_built);
    dev.told("the events", 2, is_event);
    // Other events need no build.
    fs::write(
        folder.join("fixtures/a.jsonl"),
        "{\"key\":\"a\",\"value\":3}\n",
    )
    .unwrap();
    dev.told("the new event", 3, is_event);
    dev.told("no further build", 1, is_built);
    edit(&folder.join("plugin.yaml"), "[cp,", "[\"false\",");
    dev.told("what is wrong with the build", 1, |line| {
        line["error"].is_string()
    });
    edit(&folder.join("plugin.yaml"), "[\"false\",", "[cp,");
    dev.told("the second build", 2, is_built);
    dev.told("the event again", 4, is_event);
    fs::write(folder.join("fixtures/a.jsonl"), "{\"vlaue\":3}\n").unwrap();
    dev.told("what is wrong with the event", 1, |line| {
        let error = line["error"].as_str().unwrap_or_default();
        error.contains("a.jsonl:1:2: unknown key `vlaue`")
    });
    dev.stop();
}

#[test]
fn a_live_topic_runs_through_the_plugin_and_nothing_is_committed() {
    let topic = Topic::create(kafka::shared(), "live", 2);
    let folder = plugin();
    topic.produce(&[Record::new("a", "before")]);
    let live = [
        "--from",
        topic.name(),
        "--from-beginning",
        "--brokers",
        topic.brokers(),
    ];
    let dev = Dev::start(&folder, &live);
    dev.told("the event from before", 1, |line| {
        line["state"]["count"] == "1"
    });
    topic.produce(&[Record::new("a", "after")]);
    dev.told("the event that came", 1, |line| {
        line["state"]["count"] == "2"
    });
    dev.stop();
    assert_eq!(topic.committed("millrace-side-reader").values().max(), None);
    let none = [
        "plugin",
        "dev",
        "--from",
        "no-such-topic",
        "--brokers",
        topic.brokers(),
    ];
    let answer = millrace(&folder, &none, &[]).expect(2);
    answer.says(&["no-such-topic", "millrace topics list"]);
}
