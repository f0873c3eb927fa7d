//! Topics before the groups start: sources must exist; dead-letter and output topics are created where
//! they are missing.

use std::time::Duration;

use super::DaemonError;
use crate::config::Config;
use crate::kafka::KafkaError;
use crate::kafka::topics::{TopicSpec, Topics};

/// How long the broker may take to answer at start.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Checks and creates.
///
/// # Errors
/// A source is missing, the broker does not answer, or a topic may not be created.
pub(super) fn prepare(config: &Config) -> Result<(), DaemonError> {
    let topics = Topics::new(&config.kafka, TIMEOUT)?;
    // Dead letters of one group are often the source of another.
    for group in &config.groups {
        let mut partitions = 1;
        for topic in group.routes.keys() {
            if let Some(found) = topics.describe(topic)? {
                partitions = partitions.max(found.partitions);
            }
        }
        create_missing(&topics, &group.dead_letter_topic, partitions)?;
        for plugin in group
            .routes
            .values()
            .filter_map(|name| config.plugins.get(name))
        {
            for output in &plugin.grants.output_topics {
                create_missing(&topics, output, partitions)?;
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
    Ok(())
}

fn create_missing(topics: &Topics, name: &str, partitions: usize) -> Result<(), DaemonError> {
    if topics.describe(name)?.is_some() {
        return Ok(());
    }
    let spec = TopicSpec {
        name: name.to_owned(),
        partitions: partitions.try_into().unwrap_or(u16::MAX),
        replication: None,
        settings: Vec::new(),
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
