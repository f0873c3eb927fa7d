//! Sample events as a person sends them, with `millrace produce`, and what is known of them afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use serde_json::Value;

use super::topic::{Record, Topic};
use super::{host, process};

/// What was sent to a topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// All records.
    pub(crate) total: u64,
    /// Well-formed events by type, each id once.
    pub(crate) by_type: BTreeMap<String, u64>,
    /// Exact repeats of well-formed events.
    pub(crate) duplicates: u64,
    /// Malformed events.
    pub(crate) bad: u64,
    /// The values of the malformed events; several may be equal.
    bad_values: BTreeSet<Option<Vec<u8>>>,
}

impl Sent {
    /// Well-formed events, each id once.
    pub(crate) fn unique(&self) -> u64 {
        self.by_type.values().sum()
    }

    /// Whether a record with this value is one of the malformed ones.
    pub(crate) fn is_bad(&self, value: &Option<Vec<u8>>) -> bool {
        self.bad_values.contains(value)
    }

    /// Counts malformed records that a test made itself.
    pub(crate) fn add_bad(&mut self, records: &[Record]) {
        self.total += records.len() as u64;
        self.bad += records.len() as u64;
        let values = records.iter().map(|record| record.value.clone());
        self.bad_values.extend(values);
    }

    fn from_record(file: &PathBuf) -> Self {
        let text = fs::read_to_string(file).expect("produce has recorded what it sent");
        let mut sent = Self::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line of the record is JSON");
            let text = |name: &str| line[name].as_str().expect("it is text").to_owned();
            sent.total += 1;
            match text("kind").as_str() {
                "good" => *sent.by_type.entry(text("event_type")).or_default() += 1,
                "duplicate" => sent.duplicates += 1,
                _ => {
                    sent.bad += 1;
                    sent.bad_values.insert(Some(text("value").into_bytes()));
                }
            }
        }
        sent
    }
}

/// Sends sample events with further arguments of `millrace produce`, each acknowledged.
///
/// # Panics
/// When one was not, or when what it says it sent is not what it recorded.
#[track_caller]
pub(crate) fn produce(topic: &Topic, args: &[&str]) -> Sent {
    let record = process::folder("produce").join("sent.jsonl");
    let fixed = [
        "produce",
        "--topic",
        topic.name(),
        "--brokers",
        topic.brokers(),
        "--output",
        "json",
        "--record",
        record.to_str().expect("the folder's name is text"),
    ];
    let said = host::command(&[&fixed, args].concat())
        .expect_code(0)
        .json();
    let sent = Sent::from_record(&record);
    let counts =
        ["total", "acknowledged", "duplicates", "malformed"].map(|name| said[name].as_u64());
    let recorded = [sent.total, sent.total, sent.duplicates, sent.bad].map(Some);
    assert_eq!(counts, recorded, "{said}");
    sent
}

/// The same, while the test goes on.
pub(crate) fn produce_meanwhile(topic: &Topic, args: &[&str]) -> JoinHandle<Sent> {
    let topic = topic.clone();
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    thread::spawn(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        produce(&topic, &args)
    })
}
