//! The sandbox by itself, without Kafka: what it loads and refuses, that every limit holds and lets pass
//! what stays within it, and that only events that succeed leave effects.
//!
//! The guests are in `tests/guests`; `make plugins` builds them.

mod adapters;
mod compiling;
mod effects;
mod life;
mod limits;
mod loading;
mod transcripts;
mod web;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use millrace::config::{Grants, Limits, Plugin};
use millrace::sandbox::{
    BatchAnswer, Effects, Fault, Instance, LoadError, LoadedPlugin, SLOT_WORDS, Sandbox,
    SandboxSettings, Span, encode_topics,
};

/// The one engine, as in the host.
pub(crate) fn sandbox() -> &'static Sandbox {
    static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| {
        // The guests are loaded again and again, with other limits each time.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sandbox");
        let settings = SandboxSettings {
            compile_cache: Some(cache),
            ..SandboxSettings::default()
        };
        Sandbox::start(settings).expect("the engine starts")
    });
    &SANDBOX
}

/// A guest's component file.
pub(crate) fn guest(name: &str) -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/guests/target", "plugins/dist"];
    let file = format!("{name}.wasm");
    folders
        .iter()
        .map(|folder| top.join(folder).join(&file))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{file} is not built: run `make plugins`"))
}

/// A configuration with everything granted that the guests use, and the default limits.
pub(crate) fn everything_granted(path: PathBuf) -> Plugin {
    Plugin {
        grants: Grants {
            logging: true,
            config: true,
            metrics: true,
            state: true,
            tally: true,
            journal: true,
            output_topics: ["outputs", "echo", "counts", "analytics.counts"]
                .map(str::to_owned)
                .to_vec(),
            ..Grants::default()
        },
        settings: [("window".to_owned(), "60s".to_owned())].into(),
        state_quota_bytes: 1 << 20,
        ..Plugin::of_component(path)
    }
}

/// Loads a guest with the default limits, as changed.
fn load(name: &str, change: impl FnOnce(&mut Limits)) -> Arc<LoadedPlugin> {
    let mut config = everything_granted(guest(name));
    change(&mut config.limits);
    let loaded = LoadedPlugin::load(sandbox(), name, &config);
    Arc::new(loaded.unwrap_or_else(|error| panic!("{error}")))
}

/// Makes an instance.
fn instance(plugin: &Arc<LoadedPlugin>) -> Instance {
    let made: Result<Instance, LoadError> = Instance::new(plugin);
    made.unwrap_or_else(|error| panic!("{error}"))
}

/// One event of a batch. Its offset is its place in the batch.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    value: Option<String>,
    key: Option<String>,
    partition: i32,
    group: u32,
    attempt: u32,
    /// In the packed form.
    headers: Vec<u8>,
}

impl Event {
    pub(crate) fn of_value(value: impl Into<String>) -> Self {
        Self {
            value: Some(value.into()),
            key: None,
            partition: 0,
            group: 0,
            attempt: 1,
            headers: Vec::new(),
        }
    }

    fn with_header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        let value_len = value.map_or(u32::MAX, |value| value.len() as u32);
        self.headers.extend((name.len() as u32).to_le_bytes());
        self.headers.extend(value_len.to_le_bytes());
        self.headers.extend(name.as_bytes());
        self.headers.extend(value.unwrap_or_default());
        self
    }

    fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    fn in_group(mut self, group: u32) -> Self {
        self.group = group;
        self
    }
}

/// Runs events as one batch.
pub(crate) fn run(instance: &mut Instance, events: &[Event]) -> Result<BatchAnswer, Fault> {
    let mut bytes = encode_topics(["events"].into_iter());
    let mut slots = vec![SLOT_WORDS as u64, Span::new(0, bytes.len()).0];
    for (offset, event) in events.iter().enumerate() {
        let mut span = |text: Option<&[u8]>| {
            text.map_or(Span::NULL, |text| {
                bytes.extend_from_slice(text);
                Span::new(bytes.len() - text.len(), text.len())
            })
        };
        let (key, value) = (event.key.as_ref(), event.value.as_ref());
        let key = span(key.map(String::as_bytes));
        let value = span(value.map(String::as_bytes));
        let headers = span((!event.headers.is_empty()).then_some(event.headers.as_slice()));
        slots.extend([
            u64::from(event.partition as u32) << 32,
            offset as u64,
            i64::MIN as u64,
            u64::from(event.attempt) | u64::from(event.group) << 32,
            key.0,
            value.0,
            headers.0,
        ]);
    }
    instance.call(&bytes, &slots, &[Arc::from("events")])
}

/// Runs one event of the guest `rogue` in an instance of its own.
fn run_rogue(plugin: &Arc<LoadedPlugin>, value: &str) -> Result<BatchAnswer, Fault> {
    run(&mut instance(plugin), &[Event::of_value(value)])
}

/// The journal lines of a call.
fn lines(effects: &Effects) -> Vec<String> {
    let text = |line: &millrace::sandbox::JournalLine| {
        let bytes = &effects.journal_bytes[line.start..line.start + line.len];
        String::from_utf8_lossy(bytes).into_owned()
    };
    effects.journal.iter().map(text).collect()
}
