//! Versions of the guest `versioned`, made by changing its bytes, and a group that runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::host::{Host, Setup};
use super::kafka;
use super::main_flow::guest;
use super::topic::{Record, Stored, Topic, unique};
use super::wait;

/// A file at rest is taken within a second or two; the component may have to be compiled on a machine that
/// compiles others too.
pub(crate) const SERVES_TIMEOUT: Duration = Duration::from_secs(60);

/// The guest with this marker of eight characters, and with a version of its own where one is given.
pub(crate) fn component(marker: &str, version: Option<&str>) -> Vec<u8> {
    let mut bytes = fs::read(guest("versioned")).expect("it is built");
    let at = bytes
        .windows(24)
        .position(|window| window == b"version-marker: original")
        .expect("the marker stands in the component");
    assert_eq!(marker.len(), 8, "{marker}");
    bytes[at + 16..at + 24].copy_from_slice(marker.as_bytes());
    if let Some(version) = version {
        let name = "version";
        let len = |bytes: usize| u8::try_from(bytes).expect("it fits into one byte of LEB128");
        bytes.extend([0, len(1 + name.len() + version.len()), len(name.len())]);
        bytes.extend(name.bytes().chain(version.bytes()));
    }
    bytes
}

/// Puts these bytes in the place of a file in one step.
pub(crate) fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new");
    fs::write(&beside, bytes).expect("the folder can be written");
    fs::rename(&beside, file).expect("it can be moved");
}

/// One group that runs the guest.
#[derive(Debug)]
pub(crate) struct Versioned {
    pub(crate) source: Topic,
    pub(crate) outputs: Topic,
    pub(crate) dead_letters: Topic,
    pub(crate) group: String,
}

impl Versioned {
    pub(crate) fn new(hint: &str, partitions: i32) -> Self {
        let topic =
            |suffix: &str| Topic::create(kafka::shared(), &format!("{hint}{suffix}"), partitions);
        Self {
            source: topic(""),
            outputs: topic(".out"),
            dead_letters: topic(".dlq"),
            group: unique(hint),
        }
    }

    /// A configuration that loads the plugin from `path`, with further lines of the plugin.
    pub(crate) fn config(&self, path: &str, lines: &str) -> String {
        format!(
            "plugins:\n  versioned:\n    path: {path}\n    \
             grants: [config, state, tally, journal, \"output:{out}\"]\n    \
             journal: {{ path: versioned.log }}\n    config: {{ output: {out}, counts: {out} }}\n{lines}\
             groups:\n  - id: {group}\n    routes: {{ {source}: versioned }}\n    concurrency: 2\n    \
             retry: {{ attempts: 3, backoff: {{ initial: 100ms }} }}\n    \
             dead_letter: {{ topic: {letters} }}\n    store: store\n",
            out = self.outputs.name(),
            group = self.group,
            source = self.source.name(),
            letters = self.dead_letters.name(),
        )
    }

    /// A host whose plugin is the file `plugin.wasm` in its folder, with these bytes in it.
    pub(crate) fn setup(&self, bytes: &[u8], lines: &str) -> (Setup, PathBuf) {
        let setup = Setup::new(kafka::shared(), &self.config("plugin.wasm", lines));
        let file = setup.folder().join("plugin.wasm");
        fs::write(&file, bytes).expect("the folder can be written");
        (setup, file)
    }

    /// Sends one event, and waits for what the plugin made of it.
    #[track_caller]
    pub(crate) fn stamp_of(&self, id: u64) -> Stored {
        self.source
            .produce(&[Record::keyless(json!({ "id": id }).to_string())]);
        let found = || {
            let mut outputs = self.outputs.read_all();
            outputs.retain(|output| output.json()["id"] == id);
            outputs.pop().ok_or("no output")
        };
        wait::eventually_some("the output of an event", SERVES_TIMEOUT, found)
    }

    /// The outputs by id.
    pub(crate) fn stamps(&self) -> BTreeMap<u64, Vec<Stored>> {
        let mut stamps: BTreeMap<u64, Vec<Stored>> = BTreeMap::new();
        for output in self.outputs.read_all() {
            let id = output.json()["id"].as_u64().expect("a number");
            stamps.entry(id).or_default().push(output);
        }
        stamps
    }

    /// Waits until the group has committed all of its source.
    #[track_caller]
    pub(crate) fn wait_until_committed(&self) {
        wait::eventually("everything committed", SERVES_TIMEOUT, || {
            let ends = self.source.end_offsets();
            let committed = self.source.committed(&self.group);
            ends.iter()
                .all(|(partition, end)| *end == 0 || committed.get(partition) == Some(end))
        });
    }
}

/// What the host says of the plugin.
#[track_caller]
pub(crate) fn state(host: &Host) -> Value {
    let (status, body) = host.get("/v1/plugins").expect("the host answers");
    assert_eq!(status, 200, "{body}");
    let plugins: Value = serde_json::from_str(&body).expect("it is JSON");
    plugins[0].clone()
}

/// Waits until this version serves.
#[track_caller]
pub(crate) fn wait_for_version(host: &Host, version: &str) {
    wait::eventually_some("another version", SERVES_TIMEOUT, || {
        let state = state(host);
        if state["version"] == version {
            Ok(())
        } else {
            Err(state.to_string())
        }
    });
}

/// Waits until a version is refused for a reason that contains this.
#[track_caller]
pub(crate) fn wait_for_refusal(host: &Host, reason: &str) -> Value {
    wait::eventually_some("a refusal", SERVES_TIMEOUT, || {
        let state = state(host);
        let said = state["refused"]["reason"].as_str().unwrap_or_default();
        if said.contains(reason) {
            Ok(state)
        } else {
            Err(state.to_string())
        }
    })
}
