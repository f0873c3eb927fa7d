//! Records that were written through a schema registry, and outputs that are: against a real registry (Apicurio), from
//! the bytes of a record to those of the next.

mod asking;
mod formats;
mod letters;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::schema_registry::{self, SchemaRegistry};
use crate::harness::topic::{Record, Stored, Topic, unique};
use crate::harness::wait;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A group of `relay`: what it is shown goes to `seen` as it is, and to `written` by a schema.
struct Relay {
    source: Topic,
    seen: Topic,
    written: Topic,
    dead_letters: Topic,
    group: String,
}

impl Relay {
    fn new(hint: &str) -> Self {
        let topic = |suffix: &str| Topic::create(kafka::shared(), &format!("{hint}{suffix}"), 1);
        Self {
            source: topic(""),
            seen: topic(".seen"),
            written: topic(".written"),
            dead_letters: topic(".dlq"),
            group: unique(hint),
        }
    }

    /// A host that decodes as `decode` says, with these lines of `schema_registry`.
    fn setup(&self, decode: &str, registry: &str) -> Setup {
        let (source, seen, written) = (self.source.name(), self.seen.name(), self.written.name());
        let config = format!(
            r#"
plugins:
  relay:
    path: {}
    grants: [config, "output:{seen}", "output:{written}"]
    config: {{ outputs: {seen} {written} }}
schema_registry:
{registry}
groups:
  - id: {}
    routes: {{ {source}: {{ plugin: relay, decode: {decode} }} }}
    dead_letter: {{ topic: {} }}
    store: store
"#,
            guest("relay"),
            self.group,
            self.dead_letters.name(),
        );
        Setup::new(kafka::shared(), &config)
    }

    /// The same, asking the shared registry, and writing outputs as `encode` says.
    fn asking(&self, decode: &str, encode: &str) -> Setup {
        let url = schema_registry::shared().url();
        let encode = format!("{{ {}: {encode} }}", self.written.name());
        self.setup(decode, &format!("  url: {url}\n  encode: {encode}"))
    }

    /// The first so many records of a topic, once they are there.
    #[track_caller]
    fn first(topic: &Topic, count: usize) -> Vec<Stored> {
        wait::eventually_some("the records", TIMEOUT, || {
            let records = topic.read_all();
            if records.len() < count {
                return Err(format!("{} of {count} in {}", records.len(), topic.name()));
            }
            Ok(records)
        })
    }

    /// What is shown of so many events.
    #[track_caller]
    fn shown(&self, count: usize) -> Vec<Value> {
        Self::first(&self.seen, count)
            .iter()
            .map(Stored::json)
            .collect()
    }

    /// Dead letters by where they come from, with cause, code and message.
    #[track_caller]
    fn given_up(&self, count: usize) -> BTreeMap<i64, (Stored, [String; 3])> {
        let letters = Self::first(&self.dead_letters, count);
        let letters = letters.into_iter().map(|letter| {
            let told = |name: &str| {
                let told = letter.header(&format!("millrace.dlq.{name}"));
                told.unwrap_or_default().to_owned()
            };
            let offset = told("origin.offset").parse().expect("a number");
            let why = ["cause", "code", "message"].map(told);
            (offset, (letter, why))
        });
        letters.collect()
    }
}

/// A value as it stands in a record that was written by this schema.
fn framed(id: u32, data: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], data].concat()
}

fn keyed(key: &str, value: Vec<u8>) -> Record {
    Record::new(key, value)
}

/// An Avro schema that no other test registers: schemas have the same number wherever they are the same.
fn own_avro(name: &str) -> String {
    let name = unique(name).replace(['-', '.'], "_");
    format!(
        r#"{{"type":"record","name":"{name}","fields":[{{"name":"id","type":"long"}},{{"name":"text","type":["null","string"],"default":null}}]}}"#
    )
}

/// `{"id": n, "text": null}` by that schema.
fn avro_of(n: u8) -> [u8; 2] {
    [n * 2, 0]
}

fn registry() -> &'static SchemaRegistry {
    schema_registry::shared()
}
