//! The producer of a group: outputs, dead letters and emissions, idempotent and acknowledged by all.
//!
//! Every record has a token; its delivery comes back over a channel. It must not know what a record is for.

#![allow(
    unsafe_code,
    reason = "rdkafka takes the names of headers as text, and Kafka does not promise that they are"
)]

use std::ffi::{CString, c_void};
use std::sync::Arc;

use crossbeam_channel::Sender;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, config::RDKafkaLogLevel};
use rdkafka_sys::{self as sys, rd_kafka_vtype_t as Kind};

use super::{KafkaError, client_with_defaults, log, log_error};
use crate::config;

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

/// `RD_KAFKA_PARTITION_UA`: the partitioner chooses.
const PARTITION_BY_KEY: i32 = -1;

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
            producer: launch(&settings, deliveries)?,
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
        let deliveries = self.producer.client().context().deliveries.clone();
        let new = launch(&self.settings, deliveries)?;
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
        let headers = Headers::of(record);
        let arguments = [
            argument(Kind::RD_KAFKA_VTYPE_TOPIC, |u| u.cstr = topic.as_ptr()),
            argument(Kind::RD_KAFKA_VTYPE_PARTITION, |u| {
                u.i32_ = record.partition.unwrap_or(PARTITION_BY_KEY);
            }),
            argument(Kind::RD_KAFKA_VTYPE_MSGFLAGS, |u| {
                u.i = sys::RD_KAFKA_MSG_F_COPY;
            }),
            argument(Kind::RD_KAFKA_VTYPE_KEY, |u| u.mem = bytes(&record.key)),
            argument(Kind::RD_KAFKA_VTYPE_VALUE, |u| u.mem = bytes(&record.value)),
            // The token is the pointer, as rdkafka does it for a number, and reads it back in `delivery`.
            argument(Kind::RD_KAFKA_VTYPE_OPAQUE, |u| {
                u.ptr = token as *mut c_void;
            }),
            argument(Kind::RD_KAFKA_VTYPE_TIMESTAMP, |u| {
                u.i64_ = record.timestamp_ms.unwrap_or(0);
            }),
            argument(Kind::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers.0),
        ];
        // SAFETY: the client lives as long as `self`; every pointer is valid during the call, which copies
        // what it is given, and takes the headers over only when it succeeds.
        let error = unsafe {
            sys::rd_kafka_produceva(
                self.producer.client().native_ptr(),
                arguments.as_ptr(),
                arguments.len(),
            )
        };
        if error.is_null() {
            headers.given_away();
            return Ok(());
        }
        // SAFETY: a failed call returns an error that belongs to the caller.
        let code = unsafe {
            let code = sys::rd_kafka_error_code(error);
            sys::rd_kafka_error_destroy(error);
            code
        };
        Err(failure(code.into()))
    }
}

fn launch(
    settings: &ClientConfig,
    deliveries: Sender<Delivery>,
) -> Result<ThreadedProducer<Context>, KafkaError> {
    settings
        .create_with_context(Context { deliveries })
        .map_err(KafkaError::Settings)
}

/// One argument of a produce call.
fn argument(
    kind: Kind,
    set: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1),
) -> sys::rd_kafka_vu_t {
    let mut argument = sys::rd_kafka_vu_t {
        vtype: kind,
        u: sys::rd_kafka_vu_s__bindgen_ty_1 { _pad: [0; 64] },
    };
    set(&mut argument.u);
    argument
}

/// Bytes as librdkafka takes them: null and empty are different things.
fn bytes(bytes: &Option<Vec<u8>>) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: pointer(bytes.as_deref()).cast_mut(),
        size: bytes.as_ref().map_or(0, Vec::len),
    }
}

/// Of an empty slice it is not null either.
fn pointer(bytes: Option<&[u8]>) -> *const c_void {
    bytes.map_or(std::ptr::null(), |bytes| bytes.as_ptr().cast())
}

/// Headers in librdkafka's memory; null where there are none.
struct Headers(*mut sys::rd_kafka_headers_t);

impl Headers {
    fn of(record: &OutgoingRecord) -> Self {
        let count = record.all_headers().count();
        if count == 0 {
            return Self(std::ptr::null_mut());
        }
        // SAFETY: the list is made here and belongs to the result; names and values are copied with the
        // lengths given, so a name may hold any byte.
        unsafe {
            let list = sys::rd_kafka_headers_new(count);
            for (name, value) in record.all_headers() {
                sys::rd_kafka_header_add(
                    list,
                    name.as_ptr().cast(),
                    name.len() as isize,
                    pointer(value.as_deref()),
                    value.as_ref().map_or(0, Vec::len) as isize,
                );
            }
            Self(list)
        }
    }

    /// They belong to librdkafka now.
    fn given_away(mut self) {
        self.0 = std::ptr::null_mut();
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list was made by `of` and nobody took it over.
            unsafe { sys::rd_kafka_headers_destroy(self.0) };
        }
    }
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
