//! The producer of a group: outputs, dead letters and emissions, idempotent and acknowledged by all.
//!
//! Every record has a token; its delivery comes back over a channel. It must not know what a record is for.

#![allow(
    unsafe_code,
    reason = "whether librdkafka has given a producer up is only in the C interface"
)]

use std::error::Error;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use crossbeam_channel::Sender;
use rdkafka::client::OAuthToken;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, config::RDKafkaLogLevel};
use rdkafka_sys as sys;

use super::produce_call::{Call, Headers, produce};
use super::security::refused;
use super::tokens::{self, Keeper};
use super::{KafkaError, client_with_defaults, log, log_error};
use crate::config;
use crate::telemetry::traces::OpenSpan;

/// Settings that operators may change.
const DEFAULTS: [(&str, &str); 6] = [
    // The same partition for the same key as Java clients choose.
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "65536"),
    // After this the record is handed back, and its owner sends it again: nothing is lost by a short time.
    ("delivery.timeout.ms", "30000"),
    ("topic.metadata.propagation.max.ms", "5000"),
    // A topic that was missing or denied is refused locally until its metadata is read again. The default
    // of five minutes would hold partitions back for as long after the topic has been mended.
    ("topic.metadata.refresh.interval.ms", "5000"),
];

/// The largest that librdkafka allows for `message.max.bytes`.
const RECORD_BYTES_MAX: &str = "1000000000";

/// Headers that many records have in common, made once.
pub type SharedHeaders = Arc<[(Vec<u8>, Option<Vec<u8>>)]>;

/// A record to produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// Where it goes.
    pub topic: String,
    /// None lets the partitioner choose by the key.
    pub partition: Option<i32>,
    /// Record time in milliseconds since the Unix epoch; none takes the time of producing.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Names and values; a value may be null.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Further headers, behind those.
    pub shared_headers: Option<SharedHeaders>,
    /// The span in which it is sent, where one is recorded.
    pub span: Option<OpenSpan>,
}

impl OutgoingRecord {
    /// All of its headers, in their order.
    pub fn all_headers(&self) -> impl Iterator<Item = &(Vec<u8>, Option<Vec<u8>>)> {
        self.headers
            .iter()
            .chain(self.shared_headers.iter().flat_map(|shared| shared.iter()))
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self
            .all_headers()
            .map(|(name, value)| name.len() + len(value))
            .sum();
        len(&self.key) + len(&self.value) + headers
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The token it was sent with.
    pub token: usize,
    /// Acknowledged, or why not.
    pub result: Result<(), SendFailure>,
}

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendFailure {
    /// The local queue is full; try again in a moment.
    QueueFull,
    /// The record is larger than the topic takes. Sending it again unchanged cannot help.
    TooLarge,
    /// Anything else: the broker is away, the topic is missing, the right is. It may be mended outside.
    Refused(String),
}

/// The producer of a group.
pub struct GroupProducer {
    producer: ThreadedProducer<Context>,
    settings: ClientConfig,
    /// Whether a producer that was given up has been told to hand back what it holds.
    purged: bool,
}

impl std::fmt::Debug for GroupProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupProducer").finish_non_exhaustive()
    }
}

impl GroupProducer {
    /// Starts the producer. Deliveries are sent to `deliveries`, which must be emptied while
    /// [`Self::send`] is tried again, or its bound stops the producer.
    ///
    /// # Errors
    /// librdkafka refused a property.
    pub fn start(kafka: &config::Kafka, deliveries: Sender<Delivery>) -> Result<Self, KafkaError> {
        let mut settings = client_with_defaults(kafka, &DEFAULTS);
        settings
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // What is too large is for the broker to say: the sizes of outputs are checked before, and a dead
            // letter is as large as its record, which some topic has taken, and a little larger.
            .set("message.max.bytes", RECORD_BYTES_MAX);
        Ok(Self {
            producer: launch(&settings, deliveries, Keeper::of(kafka)?)?,
            settings,
            purged: false,
        })
    }

    /// Whether librdkafka gave the producer up: an idempotent one cannot go on after some errors. Nothing
    /// can be sent until it is replaced.
    #[must_use]
    pub fn given_up(&self) -> bool {
        // SAFETY: the client lives as long as `self`, and no text is asked for.
        let fatal = unsafe {
            sys::rd_kafka_fatal_error(self.producer.client().native_ptr(), std::ptr::null_mut(), 0)
        };
        fatal != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Makes a producer that was given up hand back what it still holds. A delivery follows for each record.
    pub fn hand_back(&mut self) {
        if !std::mem::replace(&mut self.purged, true) {
            self.producer
                .purge(PurgeConfig::default().queue().inflight());
        }
    }

    /// Puts a new producer in the place of one that was given up and holds no record any more.
    ///
    /// # Errors
    /// librdkafka could not start another; the old one stays.
    pub fn replace(&mut self) -> Result<(), KafkaError> {
        let context = self.producer.client().context();
        let (deliveries, tokens) = (context.deliveries.clone(), context.tokens.clone());
        let new = launch(&self.settings, deliveries, tokens)?;
        let old = std::mem::replace(&mut self.producer, new);
        self.purged = false;
        // Dropping it waits for its threads, which events should not have to.
        std::thread::spawn(move || drop(old));
        Ok(())
    }

    /// Queues a record; its [`Delivery`] follows.
    ///
    /// # Errors
    /// The record was not queued, and no delivery follows.
    pub fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure> {
        let topic = CString::new(record.topic.as_str())
            .map_err(|_| SendFailure::Refused("the topic's name holds a zero byte".to_owned()))?;
        let headers = record.all_headers();
        let headers = Headers::of(
            record.all_headers().count(),
            headers.map(|(name, value)| (name.as_slice(), value.as_deref())),
        );
        let call = Call {
            topic: &topic,
            partition: record.partition,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp_ms: record.timestamp_ms,
            // The token is the pointer, as rdkafka does it for a number, and reads it back in `delivery`.
            opaque: token as *mut c_void,
        };
        produce(self.producer.client().native_ptr(), &call, headers).map_err(failure)
    }
}

fn launch(
    settings: &ClientConfig,
    deliveries: Sender<Delivery>,
    tokens: Option<Arc<Keeper>>,
) -> Result<ThreadedProducer<Context>, KafkaError> {
    settings
        .create_with_context(Context { deliveries, tokens })
        .map_err(refused)
}

fn failure(code: Code) -> SendFailure {
    match code {
        Code::QueueFull => SendFailure::QueueFull,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => SendFailure::TooLarge,
        code => SendFailure::Refused(code.to_string()),
    }
}

struct Context {
    deliveries: Sender<Delivery>,
    tokens: Option<Arc<Keeper>>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        tokens::current(self.tokens.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(match error.rdkafka_error_code() {
                Some(code) => failure(code),
                None => SendFailure::Refused(error.to_string()),
            }),
        };
        // When the group has gone, nobody waits for this delivery.
        let _gone = self.deliveries.send(Delivery { token, result });
    }
}

#[cfg(test)]
mod tests;
