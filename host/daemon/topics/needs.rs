//! Which topics a configuration needs and what for, and how those are made that the host makes. It must not ask the
//! cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use super::matching::outputs;
use crate::config::{Config, Group};
use crate::kafka::topics::TopicSpec;

/// The dead-letter topic of a group whose largest source has this many partitions.
pub(super) fn dead_letters(group: &Group, partitions: usize) -> TopicSpec {
    let dead_letter = &group.dead_letter;
    // A dead letter keeps its record's time, and the broker deletes by that time: with the usual
    // retention, the dead letter of an old record would be gone within minutes.
    let keep = dead_letter
        .retention
        .map_or_else(|| "-1".to_owned(), milliseconds);
    let wanted = dead_letter.partitions.map_or(partitions, usize::from);
    spec(&dead_letter.topic, wanted, Some(keep))
}

/// A topic that a plugin writes to.
pub(super) fn output(topic: &str, partitions: usize) -> TopicSpec {
    spec(topic, partitions, None)
}

/// A retry topic of a source with this many partitions. A retry copy is stamped with the time of its writing, so that a
/// plain retention counts from there.
pub(super) fn retries(group: &Group, topic: &str, partitions: usize) -> TopicSpec {
    spec(topic, partitions, Some(milliseconds(group.retry.retention)))
}

fn spec(name: &str, partitions: usize, retention_ms: Option<String>) -> TopicSpec {
    let settings = retention_ms.map(|keep| ("retention.ms".to_owned(), keep));
    TopicSpec {
        name: name.to_owned(),
        partitions: partitions.try_into().unwrap_or(u16::MAX),
        replication: None,
        settings: settings.into_iter().collect(),
    }
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// What one topic is needed for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// Who reads it, in words.
    pub(super) read_by: Vec<String>,
    /// What is written to it, in words.
    pub(super) written: Vec<String>,
    /// How the host makes it where it is missing; none where it does not.
    pub(super) made: Option<TopicSpec>,
    /// The configuration says that the host does not make it.
    pub(super) not_made: bool,
}

/// Every topic that the configuration names or its patterns match. `partitions` says how many a topic has.
pub(super) fn of(
    config: &Config,
    groups: &[Group],
    partitions: impl Fn(&str) -> Option<usize>,
) -> BTreeMap<String, Need> {
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    for (topic, plan) in &config.topics {
        let need = needs.entry(topic.clone()).or_default();
        need.not_made = !plan.create;
        need.made = plan.create.then(|| plan.spec(topic));
    }
    for group in groups {
        let id = &group.id;
        let mut write = |spec: TopicSpec, what: String| {
            let need = needs.entry(spec.name.clone()).or_default();
            need.written.push(what);
            if !need.not_made {
                need.made.get_or_insert(spec);
            }
        };
        let sources = group.routes.keys();
        let most = sources
            .clone()
            .filter_map(|source| partitions(source))
            .max();
        let most = most.unwrap_or(1);
        write(
            dead_letters(group, most),
            format!("the dead letters of group {id}"),
        );
        for topic in outputs(config, group) {
            write(output(topic, most), format!("outputs of group {id}"));
        }
        for (source, topic) in &group.retry.topics {
            let wanted = partitions(source).unwrap_or(1);
            write(
                retries(group, topic, wanted),
                format!("retries of group {id}"),
            );
        }
        for topic in sources.chain(group.retry.topics.values()) {
            let need = needs.entry(topic.clone()).or_default();
            need.read_by.push(format!("group {id}"));
        }
    }
    needs
}
