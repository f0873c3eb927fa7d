//! An event on its way out, its rules, and what can become of it.
//!
//! It must not know rdkafka: these are the words that the gateway and the publisher share.

use super::{KafkaError, is_topic_name};

/// One event to be written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The partition, when the key should not decide it.
    pub partition: Option<i32>,
    /// The key; none is a null key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Milliseconds since 1970, above 0; none is now.
    pub timestamp_ms: Option<i64>,
}

/// Where an acknowledged event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Its partition.
    pub partition: i32,
    /// Its offset there; -1 where it is not known, because nobody acknowledges.
    pub offset: i64,
}

/// Why an event was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The event breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// More bytes than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The topic does not exist.
    #[error("topic {0} does not exist; create it with `millrace topics create {0} --partitions N`")]
    UnknownTopic(String),
    /// The cluster does not let this client write there.
    #[error("the Kafka cluster does not allow writing to topic {0}; check its access rules")]
    Denied(String),
    /// The queue to the broker is full; nothing was sent.
    #[error("too many events wait for the broker; send it again later")]
    Overloaded,
    /// No acknowledgement; the event may have been written all the same.
    #[error("{0}")]
    Unavailable(String),
}

impl PublishError {
    /// The cause in one word, for counts.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::TooLarge(_) => "too_large",
            Self::UnknownTopic(_) => "unknown_topic",
            Self::Denied(_) => "denied",
            Self::Overloaded => "overloaded",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// What became of an event.
pub type Outcome = Result<Delivered, PublishError>;

/// Called once with what became of an event, on the thread that serves librdkafka: it must not block.
pub type Done = Box<dyn FnOnce(Outcome) + Send + Sync>;

/// What librdkafka would not refuse, or would quietly read as something else.
pub(super) fn check(event: &Outgoing<'_>) -> Result<(), PublishError> {
    let invalid = |message: &str| Err(PublishError::Invalid(message.to_owned()));
    if !is_topic_name(event.topic) {
        return Err(invalid_name(event.topic));
    }
    if event.partition.is_some_and(|partition| partition < 0) {
        return invalid("a partition is a number from 0; leave it out to let the key decide");
    }
    if event.timestamp_ms.is_some_and(|timestamp| timestamp <= 0) {
        return invalid("timestamp_ms is milliseconds since 1970, above 0; leave it out for now");
    }
    if event
        .headers
        .iter()
        .any(|(name, _)| name.is_empty() || name.contains('\0'))
    {
        return invalid("a header needs a name, without zero bytes");
    }
    Ok(())
}

pub(super) fn invalid_name(topic: &str) -> PublishError {
    PublishError::Invalid(KafkaError::TopicName(topic.to_owned()).to_string())
}
