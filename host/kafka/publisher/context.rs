//! What librdkafka tells the publisher: answers to events, errors and log lines.
//!
//! Its functions run on the thread that serves librdkafka and must not block. It must not know who
//! published an event.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, Statistics};

use super::figures::ProducerFigures;
use super::receipts::Ticket;
use crate::kafka::known_topics::KnownTopics;
use crate::kafka::outgoing::{Delivered, PublishError};
use crate::kafka::tokens::{self, Keeper};
use crate::kafka::{log, log_error};

pub(super) struct Context {
    pub(super) topics: Arc<KnownTopics>,
    /// Set when librdkafka gave the producer up: an idempotent producer cannot go on after some
    /// errors, and only a new one helps.
    pub(super) fatal: AtomicBool,
    /// The latest complaint about a connection, to be shown when nothing answers.
    pub(super) complaint: Mutex<Option<String>>,
    /// As of the last interval; none before one, and where none are taken.
    pub(super) figures: Mutex<Option<ProducerFigures>>,
    pub(super) tokens: Option<Arc<Keeper>>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        tokens::current(self.tokens.as_ref())
    }

    fn stats(&self, statistics: Statistics) {
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(statistics.into());
    }

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
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.answer(match result {
            Ok(message) => Ok(Delivered {
                partition: message.partition(),
                // librdkafka has a number of its own for what it does not know.
                offset: message.offset().max(-1),
            }),
            Err((error, message)) => Err(match error.rdkafka_error_code() {
                Some(code) => self.classify(code, message.topic(), message.partition()),
                None => PublishError::Invalid(error.to_string()),
            }),
        });
    }
}

impl Context {
    pub(super) fn classify(
        &self,
        code: RDKafkaErrorCode,
        topic: &str,
        partition: i32,
    ) -> PublishError {
        use RDKafkaErrorCode as Code;
        match code {
            Code::QueueFull => PublishError::Overloaded,
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => PublishError::TooLarge(
                format!("the event is larger than topic {topic} or this gateway accepts"),
            ),
            Code::UnknownTopic | Code::UnknownTopicOrPartition => {
                self.topics.forget(topic);
                PublishError::UnknownTopic(topic.to_owned())
            }
            Code::UnknownPartition => {
                PublishError::Invalid(format!("topic {topic} has no partition {partition}"))
            }
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                PublishError::Denied(topic.to_owned())
            }
            Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation => {
                PublishError::Invalid(format!("the broker refused the event: {code}"))
            }
            code => {
                if code == Code::Fatal {
                    self.fatal.store(true, Ordering::Relaxed);
                }
                PublishError::Unavailable(format!(
                    "the broker did not acknowledge the event: {code}; send it again"
                ))
            }
        }
    }
}
