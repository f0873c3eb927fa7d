//! Topics before the groups start: sources must exist; dead-letter and output topics are created where
//! they are missing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::DaemonError;
use crate::config::Config;
use crate::kafka::KafkaError;
use crate::kafka::topics::{TopicSpec, Topics};

/// How long the broker may take to answer at start.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Checks and creates. Returns how many partitions each topic has that outputs may go to.
///
/// # Errors
/// A source is missing, the broker does not answer, or a topic may not be created.
pub(super) fn prepare(config: &Config) -> Result<BTreeMap<String, usize>, DaemonError> {
    let mut output_partitions = BTreeMap::new();
    let topics = Topics::new(&config.kafka, TIMEOUT)?;
    // Dead letters of one group are often the source of another.
    for group in &config.groups {
        let mut partitions = 1;
        for topic in group.routes.keys() {
            if let Some(found) = topics.describe(topic)? {
                partitions = partitions.max(found.partitions);
            }
        }
        // A dead letter keeps its record's time, and the broker deletes by that time: with the usual
        // retention, the dead letter of an old record would be gone within minutes.
        let keep = vec![("retention.ms".to_owned(), "-1".to_owned())];
        create_missing(&topics, &group.dead_letter.topic, partitions, keep)?;
        for plugin in group
            .routes
            .values()
            .filter_map(|name| config.plugins.get(name))
        {
            for output in &plugin.grants.output_topics {
                create_missing(&topics, output, partitions, Vec::new())?;
                if let Some(found) = topics.describe(output)? {
                    output_partitions.insert(output.clone(), found.partitions);
                }
            }
        }
    }
    for group in &config.groups {
        for topic in group.routes.keys() {
            if topics.describe(topic)?.is_none() {
                let (group, topic) = (group.id.clone(), topic.clone());
                return Err(DaemonError::NoTopic { group, topic });
            }
        }
    }
    Ok(output_partitions)
}

fn create_missing(
    topics: &Topics,
    name: &str,
    partitions: usize,
    settings: Vec<(String, String)>,
) -> Result<(), DaemonError> {
    if topics.describe(name)?.is_some() {
        return Ok(());
    }
    let spec = TopicSpec {
        name: name.to_owned(),
        partitions: partitions.try_into().unwrap_or(u16::MAX),
        replication: None,
        settings,
    };
    match topics.create(&spec) {
        // Another host has just done it.
        Ok(()) | Err(KafkaError::TopicExists(_)) => {
            tracing::info!(topic = %name, partitions, "topic created");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
