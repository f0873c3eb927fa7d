//! Topics before the groups start: sources must exist; dead-letter, output and retry topics are created
//! where they are missing, and so are those that the configuration names. What matches is found.

mod asked;
mod declared;
mod following;
mod matching;
mod needs;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use self::asked::ask;
pub(super) use self::following::Following;
pub(super) use self::matching::outputs;
use self::matching::with_matched;
use super::DaemonError;
use crate::config::{Config, Group};
use crate::kafka::KafkaError;
use crate::kafka::topics::{TopicSpec, Topics};
use crate::pipeline::TOPICS_MAX;

/// How long the broker may take to answer at start.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// What the groups begin with.
pub(super) struct Prepared {
    pub(super) broker: Broker,
    /// With the topics that their patterns match.
    pub(super) groups: Vec<Group>,
    /// How many partitions each output topic and each retry topic has.
    pub(super) partitions: BTreeMap<String, usize>,
}

/// Checks and creates what a configuration asks for; none where it asks for nothing.
///
/// # Errors
/// As of [`prepare`].
pub(super) fn prepared(config: &Config) -> Result<Option<Prepared>, DaemonError> {
    if config.groups.is_empty() && config.topics.is_empty() {
        return Ok(None);
    }
    prepare(config, TIMEOUT).map(Some)
}

/// Checks and creates. The broker may take `timeout` for each answer.
///
/// # Errors
/// A source is missing, a topic may not be created or has too few partitions, or the broker does not
/// answer.
fn prepare(config: &Config, timeout: Duration) -> Result<Prepared, DaemonError> {
    let broker = Broker {
        topics: Topics::new(&config.kafka, timeout)?,
        brokers: config.kafka.brokers.clone(),
    };
    broker.prepare_declared(config)?;
    let mut partitions = BTreeMap::new();
    // Dead letters and outputs of one group are often the source of another.
    for group in broker.matched(config)? {
        broker.create_targets(config, &group, &mut partitions)?;
    }
    let groups = broker.matched(config)?;
    for group in &groups {
        let topics = group.routes.len() + group.retry.topics.len();
        if topics > TOPICS_MAX {
            let group = group.id.clone();
            return Err(DaemonError::TooManyTopics { group, topics });
        }
        for source in group.routes.keys() {
            let Some(found) = broker.partitions(source)? else {
                let (group, topic) = (group.id.clone(), source.clone());
                return Err(DaemonError::NoTopic { group, topic });
            };
            if let Some(retry) = group.retry.topics.get(source) {
                let found = broker.create_retry(group, (source, found), retry)?;
                partitions.insert(retry.clone(), found);
            }
        }
    }
    Ok(Prepared {
        broker,
        groups,
        partitions,
    })
}

/// A group with the topics that its patterns match now; none where the configuration has no such group. Nothing is made.
///
/// # Errors
/// The broker does not answer.
pub fn matched_group(
    config: &Config,
    id: &str,
    timeout: Duration,
) -> Result<Option<Group>, DaemonError> {
    let broker = Broker {
        topics: Topics::new(&config.kafka, timeout)?,
        brokers: config.kafka.brokers.clone(),
    };
    let groups = broker.matched(config)?;
    Ok(groups.into_iter().find(|group| group.id == id))
}

/// Who is asked.
pub(super) struct Broker {
    topics: Topics,
    /// For the command that a message gives.
    brokers: String,
}

impl Broker {
    /// The groups with the topics that there are now and that their patterns match.
    fn matched(&self, config: &Config) -> Result<Vec<Group>, DaemonError> {
        if config.groups.iter().all(|group| group.patterns.is_empty()) {
            return Ok(config.groups.clone());
        }
        let listed = self.topics.list()?;
        Ok(with_matched(
            config,
            listed.iter().map(|topic| topic.name.as_str()),
        ))
    }

    fn partitions(&self, topic: &str) -> Result<Option<usize>, DaemonError> {
        let found = self.topics.describe(topic)?;
        Ok(found.map(|found| found.partitions))
    }

    /// Everything that events of the group may be sent to, its retry topics aside.
    fn create_targets(
        &self,
        config: &Config,
        group: &Group,
        output_partitions: &mut BTreeMap<String, usize>,
    ) -> Result<(), DaemonError> {
        let mut partitions = 1;
        for source in group.routes.keys() {
            partitions = partitions.max(self.partitions(source)?.unwrap_or(1));
        }
        self.create_missing(group, &needs::dead_letters(group, partitions))?;
        for output in outputs(config, group) {
            let found = self.create_missing(group, &needs::output(output, partitions))?;
            output_partitions.insert(output.to_owned(), found);
        }
        Ok(())
    }

    /// An event keeps the number of its partition in the retry topic, so that it comes back to the host
    /// that has the partition of its source.
    fn create_retry(
        &self,
        group: &Group,
        (source, partitions): (&str, usize),
        topic: &str,
    ) -> Result<usize, DaemonError> {
        let found = self.create_missing(group, &needs::retries(group, topic, partitions))?;
        if found >= partitions {
            return Ok(found);
        }
        // The source has grown.
        match self.topics.widen(topic, partitions) {
            Ok(()) => {
                tracing::info!(group = %group.id, %topic, found, partitions, "a retry topic follows its source");
                Ok(partitions)
            }
            Err(error) => {
                tracing::debug!(%error, "a retry topic cannot follow its source");
                Err(DaemonError::RetryPartitions {
                    group: group.id.clone(),
                    topic: topic.to_owned(),
                    found,
                    source_topic: source.to_owned(),
                    wanted: partitions,
                })
            }
        }
    }

    /// Returns how many partitions the topic has.
    fn create_missing(&self, group: &Group, spec: &TopicSpec) -> Result<usize, DaemonError> {
        let (name, partitions) = (spec.name.as_str(), usize::from(spec.partitions));
        match self.topics.describe(name) {
            Ok(None) => {}
            Ok(Some(found)) => return Ok(found.partitions),
            // A cluster that hides a topic does not say whether it exists.
            Err(KafkaError::Refused { reason, .. }) => {
                return Err(DaemonError::NotShown {
                    group: group.id.clone(),
                    topic: name.to_owned(),
                    reason,
                    command: self.command(spec),
                });
            }
            Err(error) => return Err(error.into()),
        }
        match self.topics.create(spec) {
            Ok(()) => {
                tracing::info!(topic = %name, partitions, "topic created");
                Ok(partitions)
            }
            // Another host has just done it.
            Err(KafkaError::TopicExists(_)) => Ok(self.partitions(name)?.unwrap_or(partitions)),
            Err(KafkaError::Refused { reason, .. }) => Err(DaemonError::NotCreated {
                group: group.id.clone(),
                topic: name.to_owned(),
                reason,
                command: self.command(spec),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// What somebody with more rights can type.
    fn command(&self, spec: &TopicSpec) -> String {
        let settings = spec.settings.iter();
        let settings: String = settings
            .map(|(name, value)| format!(" --config {name}={value}"))
            .collect();
        let replication = spec.replication;
        let replication = replication.map_or_else(String::new, |it| format!(" --replication {it}"));
        format!(
            "millrace topics create {} --partitions {}{replication}{settings} --brokers {}",
            spec.name, spec.partitions, self.brokers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::kafka::embedded::EmbeddedBroker;

    /// Two groups on `orders`, the second of which also takes the dead letters of the first.
    fn config(broker: &EmbeddedBroker) -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.wasm"), "").unwrap();
        let text = format!(
            "kafka: {{ brokers: \"{}\" }}\n\
             plugins:\n  p: {{ path: p.wasm, grants: [\"output:out\"] }}\n\
             groups:\n\
             \x20 - {{ id: a, routes: {{ orders: p }}, retry: {{ mode: topic }}, store: a }}\n\
             \x20 - {{ id: b, routes: {{ a.dlq: p, orders: p }}, store: b, dead_letter: {{ partitions: 2, \
             retention: 30d }} }}\n",
            broker.bootstrap_servers()
        );
        let parsed = config::parse(&text, "m.yaml", folder.path(), std::iter::empty(), &[]);
        parsed.unwrap()
    }

    fn refusal(config: &Config, timeout: Duration) -> String {
        prepare(config, timeout).err().unwrap().to_string()
    }

    fn broker(topics: &[(&str, u16)]) -> EmbeddedBroker {
        let broker = EmbeddedBroker::start().unwrap();
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions).unwrap();
        }
        broker
    }

    #[test]
    fn what_is_there_is_taken_as_it_is() {
        let broker = broker(&[
            ("orders", 3),
            ("a.dlq", 1),
            ("out", 5),
            ("orders.a.retry", 4),
            ("b.dlq", 1),
        ]);
        let partitions = prepare(&config(&broker), TIMEOUT).unwrap().partitions;
        let expected = [("out", 5), ("orders.a.retry", 4)];
        assert_eq!(
            partitions,
            expected
                .map(|(topic, count)| (topic.to_owned(), count))
                .into()
        );
    }

    #[test]
    fn a_retry_topic_with_too_few_partitions_is_refused_with_what_to_do() {
        let broker = broker(&[
            ("orders", 3),
            ("a.dlq", 1),
            ("out", 5),
            ("orders.a.retry", 2),
            ("b.dlq", 1),
        ]);
        let short = Duration::from_secs(2);
        assert_eq!(
            refusal(&config(&broker), short),
            "group a: retry topic orders.a.retry has 2 partitions and its source orders has 3, but an event \
             keeps the number of its partition; give the retry topic 3 partitions, or name another one as \
             `retry.topic`"
        );
    }

    /// The embedded broker creates no topics for its clients, like a cluster that does not permit it.
    #[test]
    fn a_topic_that_cannot_be_created_is_named_with_the_command_that_creates_it() {
        let broker = broker(&[
            ("orders", 3),
            ("a.dlq", 1),
            ("out", 5),
            ("orders.a.retry", 3),
        ]);
        let short = Duration::from_secs(2);
        let said = refusal(&config(&broker), short);
        let expected = format!(
            "; let somebody who may create it run `millrace topics create b.dlq --partitions 2 --config \
             retention.ms=2592000000 --brokers {}`",
            broker.bootstrap_servers()
        );
        assert!(
            said.starts_with(
                "group b: topic b.dlq does not exist, and the cluster did not create it: "
            ),
            "{said}"
        );
        assert!(said.ends_with(&expected), "{said}");
    }
}
