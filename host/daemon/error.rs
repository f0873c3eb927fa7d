//! Why the daemon cannot start, in words that say what to do.

use crate::admin::AdminError;
use crate::ingest::GatewayError;
use crate::kafka::KafkaError;
use crate::pipeline::{StartError, TOPICS_MAX};
use crate::registry::FetchError;
use crate::sandbox::LoadError;
use crate::schema::SchemaError;
use crate::telemetry::traces::CollectorError;

/// Why the daemon cannot start. Nothing has been consumed then.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages of the sources say everything")]
pub enum DaemonError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Plugin(#[from] LoadError),
    #[error(transparent)]
    Schemas(#[from] SchemaError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Collector(#[from] CollectorError),
    #[error(
        "group {group}: topic {topic} does not exist; create it with `millrace topics create {topic} --partitions N`"
    )]
    NoTopic { group: String, topic: String },
    #[error(
        "group {group}: topic {topic} does not exist, and the cluster did not create it: {reason}; let somebody who may create it run `{command}`"
    )]
    NotCreated {
        group: String,
        topic: String,
        reason: String,
        command: String,
    },
    #[error(
        "group {group}: the cluster does not show topic {topic} to the host: {reason}; permit the host to use it, and where it does not exist, let somebody who may create it run `{command}`"
    )]
    NotShown {
        group: String,
        topic: String,
        reason: String,
        command: String,
    },
    #[error(
        "group {group}: retry topic {topic} has {found} partitions and its source {source_topic} has {wanted}, but an event keeps the number of its partition; give the retry topic {wanted} partitions, or name another one as `retry.topic`"
    )]
    RetryPartitions {
        group: String,
        topic: String,
        found: usize,
        source_topic: String,
        wanted: usize,
    },
    #[error(
        "group {group}: its routes lead to {topics} topics with their retry topics, and a group can have {most}; write narrower patterns, or a second group",
        most = TOPICS_MAX
    )]
    TooManyTopics { group: String, topics: usize },
    #[error(
        "topic {topic} does not exist, and topics.{topic}.create is false; let somebody who may create it run `{command}`"
    )]
    DeclaredMissing { topic: String, command: String },
    #[error(
        "topic {topic} does not exist, and the cluster did not create it: {reason}; let somebody who may create it run `{command}`, or correct topics.{topic}"
    )]
    DeclaredNotCreated {
        topic: String,
        reason: String,
        command: String,
    },
    #[error(
        "the cluster does not show topic {topic} to the host: {reason}; permit the host to use it, and where it does not exist, let somebody who may create it run `{command}`"
    )]
    DeclaredNotShown {
        topic: String,
        reason: String,
        command: String,
    },
    #[error("group {group}: {source}")]
    Group { group: String, source: StartError },
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("the host cannot start: {0}")]
    Host(String),
    /// Of a running host.
    #[error(
        "a group did not start with the new configuration ({new}), nor again with the one before ({before}); the host ends"
    )]
    NoWayBack { new: String, before: Box<Self> },
}

impl DaemonError {
    /// Whether waiting may help: somebody does not answer who may answer later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Kafka(KafkaError::Unreachable { .. }) => true,
            Self::Fetch(error) => error.source.may_pass(),
            _ => false,
        }
    }
}
