//! The producer of a group: outputs, dead letters and emissions, idempotent and acknowledged by all.
//!
//! Every record has a token; its delivery comes back over a channel. It must not know what a record is for.

use crossbeam_channel::Sender;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::{KafkaError, client_with_defaults, log, log_error};
use crate::config;

/// Settings that operators may change.
const DEFAULTS: [(&str, &str); 5] = [
    // The same partition for the same key as Java clients choose.
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "65536"),
    // After this the record is handed back, and its owner sends it again: nothing is lost by a short time.
    ("delivery.timeout.ms", "30000"),
    ("topic.metadata.propagation.max.ms", "5000"),
];

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
}

impl OutgoingRecord {
    /// Bytes of key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self
            .headers
            .iter()
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
    deliveries: Sender<Delivery>,
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
            .set("enable.idempotence", "true");
        Self::with_settings(settings, deliveries)
    }

    fn with_settings(
        settings: ClientConfig,
        deliveries: Sender<Delivery>,
    ) -> Result<Self, KafkaError> {
        let context = Context {
            deliveries: deliveries.clone(),
        };
        let producer = settings
            .create_with_context(context)
            .map_err(KafkaError::Settings)?;
        Ok(Self {
            producer,
            settings,
            deliveries,
        })
    }

    /// Throws away everything that has not left yet, and goes on with a new producer. To take records out of
    /// an idempotent producer's queue would leave a hole in its numbers.
    ///
    /// # Errors
    /// librdkafka could not make another one; the old one goes on then.
    pub fn renew(&mut self) -> Result<(), KafkaError> {
        let new = Self::with_settings(self.settings.clone(), self.deliveries.clone())?;
        let old = std::mem::replace(self, new);
        // It answers for what it throws away while it goes, which may take a moment that nobody should wait
        // for, and fills the channel that the caller empties.
        std::thread::spawn(move || drop(old));
        Ok(())
    }

    /// Queues a record; its [`Delivery`] follows.
    ///
    /// # Errors
    /// The record was not queued, and no delivery follows.
    pub fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure> {
        let mut out = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, token);
        out.partition = record.partition;
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        out.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for (name, value) in &record.headers {
                let name = String::from_utf8_lossy(name);
                headers = headers.insert(Header {
                    key: &name,
                    value: value.as_ref(),
                });
            }
            out.headers = Some(headers);
        }
        self.producer
            .send(out)
            .map_err(|(error, _)| failure(&error))
    }
}

fn failure(error: &ClientError) -> SendFailure {
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => SendFailure::QueueFull,
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => SendFailure::TooLarge,
        _ => SendFailure::Refused(error.to_string()),
    }
}

struct Context {
    deliveries: Sender<Delivery>,
}

impl ClientContext for Context {
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
            Err((error, _)) => Err(failure(error)),
        };
        // When the group has gone, nobody waits for this delivery.
        let _gone = self.deliveries.send(Delivery { token, result });
    }
}
