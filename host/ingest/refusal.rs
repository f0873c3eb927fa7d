//! What became of an event that was handed in, in words that every gateway translates into its own.
//!
//! It must not know gRPC or HTTP.

use std::time::Duration;

use crate::kafka::publisher::{Delivered, PublishError};
use crate::schema::Flaw;

/// What became of an event.
pub(crate) type Answer = Result<Delivered, Refusal>;

/// How long to wait where too much is in flight: the broker acknowledges thousands of events in that time.
const OVERLOADED_RETRY: Duration = Duration::from_millis(250);

/// How long to wait where the broker does not answer: a leader fails over in a few seconds.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(2);

/// What an answer is counted and told as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The broker has acknowledged the event.
    Ok,
    /// The event breaks a rule.
    Invalid,
    /// More bytes than allowed.
    TooLarge,
    /// The topic does not exist.
    UnknownTopic,
    /// The client, or the host itself, may not write there.
    Denied,
    /// Too much is in flight; nothing was sent.
    Overloaded,
    /// No acknowledgement; the event may have been written.
    Unavailable,
    /// Nobody known has asked; nothing was sent.
    Unauthenticated,
    /// The time that the client gave was over.
    DeadlineExceeded,
}

impl Status {
    /// Every status.
    pub(crate) const ALL: [Self; 9] = [
        Self::Ok,
        Self::Invalid,
        Self::TooLarge,
        Self::UnknownTopic,
        Self::Denied,
        Self::Overloaded,
        Self::Unavailable,
        Self::Unauthenticated,
        Self::DeadlineExceeded,
    ];

    /// Its name on the wire, in every gateway.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Invalid => "INVALID",
            Self::TooLarge => "TOO_LARGE",
            Self::UnknownTopic => "UNKNOWN_TOPIC",
            Self::Denied => "DENIED",
            Self::Overloaded => "OVERLOADED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
        }
    }

    /// What an answer is told as.
    pub(crate) fn of(answer: &Answer) -> Self {
        answer.as_ref().err().map_or(Self::Ok, Refusal::status)
    }
}

/// Why an event, or a whole request, was not taken in. The message is for people, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// What the way to Kafka says.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The request shows no token, or one that nobody has.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The client is known, and has no right to the topic.
    #[error(
        "client {client} may not publish to topic {topic}; let the operator add it to the topics of this client \
         under ingest.clients"
    )]
    NoRight {
        /// The client's name in the configuration.
        client: String,
        /// The topic as the event named it.
        topic: String,
    },
    /// The event breaks the rules of its topic.
    #[error("{0}")]
    Flawed(#[from] Flaw),
    /// Too many requests, connections or events at once; nothing was sent.
    #[error("{0}; nothing was sent, send it again later")]
    Busy(&'static str),
    /// The client's deadline was over before the event was sent, so it was not.
    #[error("the deadline was over before the event could be sent; nothing was sent")]
    TooLate,
    /// The client's deadline was over before the broker's acknowledgement.
    #[error(
        "the deadline was over before the broker acknowledged; the event may have been written, so give it an \
         idempotency key and send it again"
    )]
    Unanswered,
}

impl Refusal {
    /// What it is counted and told as.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Publish(error) => match error {
                PublishError::Invalid(_) => Status::Invalid,
                PublishError::TooLarge(_) => Status::TooLarge,
                PublishError::UnknownTopic(_) => Status::UnknownTopic,
                PublishError::Denied(_) => Status::Denied,
                PublishError::Overloaded => Status::Overloaded,
                PublishError::Unavailable(_) => Status::Unavailable,
            },
            Self::Unauthenticated(_) => Status::Unauthenticated,
            Self::NoRight { .. } => Status::Denied,
            Self::Flawed(_) => Status::Invalid,
            Self::Busy(_) => Status::Overloaded,
            Self::TooLate | Self::Unanswered => Status::DeadlineExceeded,
        }
    }

    /// How long to wait before the same is sent again; none where sending it again cannot help, or need not wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.status() {
            Status::Overloaded => Some(OVERLOADED_RETRY),
            Status::Unavailable => Some(UNAVAILABLE_RETRY),
            _ => None,
        }
    }
}
