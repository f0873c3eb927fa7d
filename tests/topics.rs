//! Topics: those that the command line makes and shows, those that the configuration names, and those that patterns
//! match, at the start and while events flow.

mod commands;
mod declared;
mod growing;
mod patterns;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::host::Setup;
use crate::harness::kafka;
use crate::harness::main_flow::guest;
use crate::harness::topic::{Topic, unique};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Groups of copiers, below one prefix of topics.
struct Copiers {
    /// What the names of the topics begin with.
    base: String,
    copies: Topic,
    group: String,
}

/// Where a copied event stood, and who copied it.
type Copied = (String, i64, i64, String);

impl Copiers {
    fn new(hint: &str, partitions: i32) -> Self {
        Self {
            base: unique(hint),
            copies: Topic::create(kafka::shared(), &format!("{hint}-copies"), partitions),
            group: unique(&format!("{hint}-group")),
        }
    }

    /// A topic below the prefix.
    fn topic(&self, name: &str, partitions: i32) -> Topic {
        let name = format!("{}.{name}", self.base);
        Topic::create_with(kafka::shared(), &name, partitions, &[])
    }

    fn named(&self, name: &str) -> Topic {
        Topic::named(kafka::shared(), &format!("{}.{name}", self.base))
    }

    /// A host with one group. `BASE` in its routes and settings is the prefix.
    fn setup(&self, plugins: &[&str], routes: &str, settings: &str) -> Setup {
        let copies = self.copies.name();
        let plugins: String = plugins
            .iter()
            .map(|name| {
                format!(
                    "  {name}:\n    path: {}\n    grants: [config, \"output:{copies}\", \"output:BASE.out\"]\n    \
                     config: {{ output: {copies}, host: {name} }}\n",
                    guest("copy")
                )
            })
            .collect();
        let config = format!(
            "kafka:\n  brokers: {}\n  properties: {{ topic.metadata.refresh.interval.ms: 500 }}\n\
             plugins:\n{plugins}\
             groups:\n  - id: {}\n    routes: {routes}\n    store: store\n{settings}",
            kafka::shared(),
            self.group,
        );
        Setup::new(kafka::shared(), &config.replace("BASE", &self.base))
    }

    /// How often each event was copied. The records that close a partition are left out.
    fn copied(&self) -> BTreeMap<Copied, usize> {
        let mut copied = BTreeMap::new();
        for copy in self.copies.read_all() {
            let copy = copy.json();
            if copy.get("closed").is_some() {
                continue;
            }
            let text = |name: &str| copy[name].as_str().expect("a text").to_owned();
            let number = |name: &str| copy[name].as_i64().expect("a number");
            let place = (
                text("topic"),
                number("partition"),
                number("offset"),
                text("host"),
            );
            *copied.entry(place).or_insert(0) += 1;
        }
        copied
    }
}

/// Every event of the topics, as copied by this plugin.
fn all_of(topics: &[&Topic], plugin: &str) -> Vec<Copied> {
    let mut all = Vec::new();
    for topic in topics {
        for (partition, end) in topic.end_offsets() {
            let events = (0..end).map(|offset| {
                (
                    topic.name().to_owned(),
                    i64::from(partition),
                    offset,
                    plugin.to_owned(),
                )
            });
            all.extend(events);
        }
    }
    all.sort();
    all
}

/// The answer of `millrace topics` with these arguments, on the shared broker.
fn ask(args: &[&str]) -> Value {
    let all = [
        &["topics"],
        args,
        &["--brokers", kafka::shared(), "--output", "json"],
    ]
    .concat();
    crate::harness::host::command(&all).expect_code(0).json()
}
