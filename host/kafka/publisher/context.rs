//! What librdkafka tells the publisher: answers to events, errors and log lines.
//!
//! Its functions run on the thread that serves librdkafka and must not block. It must not know who
//! published an event.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::kafka::known_topics::KnownTopics;
use crate::kafka::outgoing::{Delivered, Done, PublishError};
use crate::kafka::{log, log_error};

pub(super) struct Context {
    pub(super) topics: Arc<KnownTopics>,
    /// Set when librdkafka gave the producer up: an idempotent producer cannot go on after some
    /// errors, and only a new one helps.
    pub(super) fatal: AtomicBool,
    /// The latest complaint about a connection, to be shown when nothing answers.
    pub(super) complaint: Mutex<Option<String>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_error(&error, reason);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.fatal.store(true, Ordering::Relaxed),
            // It says only that the others, which say more, have happened.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => {
                *self
                    .complaint
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
            }
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Done>;

    fn delivery(&self, result: &DeliveryResult<'_>, done: Box<Done>) {
        done(match result {
            Ok(message) => Ok(Delivered {
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, message)) => {
                Err(self.classify(error, message.topic(), message.partition()))
            }
        });
    }
}

impl Context {
    pub(super) fn classify(
        &self,
        error: &ClientError,
        topic: &str,
        partition: i32,
    ) -> PublishError {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => PublishError::Overloaded,
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => PublishError::TooLarge(
                format!("the event is larger than topic {topic} or this gateway accepts"),
            ),
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
                self.topics.forget(topic);
                PublishError::UnknownTopic(topic.to_owned())
            }
            Some(Code::UnknownPartition) => {
                PublishError::Invalid(format!("topic {topic} has no partition {partition}"))
            }
            Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                PublishError::Denied(topic.to_owned())
            }
            Some(code @ (Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation)) => {
                PublishError::Invalid(format!("the broker refused the event: {code}"))
            }
            Some(code) => {
                if code == Code::Fatal {
                    self.fatal.store(true, Ordering::Relaxed);
                }
                PublishError::Unavailable(format!(
                    "the broker did not acknowledge the event: {code}; send it again"
                ))
            }
            None => PublishError::Invalid(error.to_string()),
        }
    }
}
