//! The plugin `witness`, as tests run it: it does what its events say, and what it did can be read back from
//! its journal and its counts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::host::Setup;
use super::kafka;
use super::main_flow::{Place, guest, journal_lines, place_of};
use super::topic::{Stored, Topic, unique};

/// One group that runs it.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) source: Topic,
    pub(crate) dead_letters: Topic,
    pub(crate) group: String,
    counts: Topic,
}

impl Witness {
    /// Makes the topics.
    pub(crate) fn new(hint: &str, partitions: i32) -> Self {
        let topic = |suffix: &str, partitions| {
            Topic::create(kafka::shared(), &format!("{hint}{suffix}"), partitions)
        };
        Self {
            source: topic("", partitions),
            dead_letters: topic(".dlq", 1),
            counts: topic(".counts", 1),
            group: unique(hint),
        }
    }

    /// The entry under `plugins`.
    pub(crate) fn plugin(&self) -> String {
        format!(
            r#"
  witness:
    path: {}
    grants: [tally, journal, config, "output:{counts}"]
    journal: {{ path: witness.log }}
    config: {{ counts: {counts} }}
    tick: 300ms
    limits: {{ deadline: 300ms }}"#,
            guest("witness"),
            counts = self.counts.name(),
        )
    }

    /// The entry under `groups`, with further routes and settings.
    pub(crate) fn group(&self, routes: &str, settings: &str) -> String {
        format!(
            r#"
  - id: {}
    routes: {{ {}: witness{routes} }}
    dead_letter: {{ topic: {} }}
    store: store/witness
{settings}"#,
            self.group,
            self.source.name(),
            self.dead_letters.name(),
        )
    }

    /// A whole configuration, with settings of the group.
    pub(crate) fn config(&self, settings: &str) -> String {
        let (plugin, group) = (self.plugin(), self.group("", settings));
        format!("plugins:{plugin}\ngroups:{group}\n")
    }

    /// What the journal says, in its order.
    #[track_caller]
    pub(crate) fn lines(&self, setup: &Setup) -> Vec<Value> {
        journal_lines(&setup.folder().join("witness.log"))
    }

    /// Where the journalled events stood, in the order of the topic, repeats included.
    #[track_caller]
    pub(crate) fn places(&self, setup: &Setup) -> Vec<Place> {
        let mut places: Vec<Place> = self.lines(setup).iter().map(place_of).collect();
        places.sort_unstable();
        places
    }

    /// How many records its ticks have sent, repeats included.
    pub(crate) fn emissions(&self) -> usize {
        self.counts.read_all().len()
    }

    /// How many successes were counted, over distinct emissions.
    #[track_caller]
    pub(crate) fn counted(&self) -> i64 {
        let id = |record: &Stored| {
            record
                .header("millrace.emission")
                .expect("an id")
                .to_owned()
        };
        let records = self.counts.read_all();
        let emissions: BTreeMap<_, _> = records.iter().map(|record| (id(record), record)).collect();
        let count = |record: &&Stored| record.json().as_i64().expect("a number");
        emissions.values().map(count).sum()
    }
}
