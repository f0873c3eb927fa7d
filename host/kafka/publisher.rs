//! Writes events that come from outside: the gateway's and those of `millrace produce`.
//!
//! Idempotent and acknowledged by all in-sync replicas, in order for each partition, with a finite
//! time for each event. It must not know gRPC or where the events come from.

#![allow(
    unsafe_code,
    reason = "a ticket that librdkafka did not take is taken back from it"
)]

mod context;
mod figures;
mod receipts;

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{Producer, ThreadedProducer};
use rdkafka::util::IntoOpaque as _;
use tokio::sync::{Semaphore, oneshot};

use self::context::Context;
pub use self::figures::ProducerFigures;
pub use self::receipts::{Receipt, Receipts, Ticket};
use super::known_topics::{Knowledge, KnownTopics};
pub use super::outgoing::{Delivered, Done, Outcome, Outgoing, PublishError};
use super::outgoing::{check, invalid_name};
use super::partitioner::Partitioner;
use super::produce_call::{Call, Headers, produce};
use super::security::refused;
use super::tokens::Keeper;
use super::{KafkaError, client_with_defaults, is_topic_name};
use crate::config::{self, Acks, Partitioning, Producing};

/// How long the broker may take to say whether a topic exists. A request over a connection that is
/// up takes milliseconds; this covers connecting first, with one failed attempt.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Lookups block a thread each. Unknown topics are rare, and a client that invents names should not
/// take more threads than this.
const LOOKUPS_AT_ONCE: usize = 4;

/// Requests on their way to one broker. It serves those of a connection one after the other, each until every replica
/// has it, so that the second is there when the first is answered, and a third would only wait there; here it grows
/// meanwhile. And librdkafka's thread spins while a partition has a request on its way and more to send, unless requests
/// wait to be written.
const IN_FLIGHT: &str = "2";

/// A name of a topic has at most 249 bytes, and a zero behind them here.
const TOPIC_BYTES_MAX: usize = 250;

type RunningProducer = ThreadedProducer<Context>;

/// A producer shared by everyone who publishes. Flush it before it is dropped: dropping it gives up
/// on what is not yet acknowledged.
pub struct Publisher {
    producer: RwLock<Arc<RunningProducer>>,
    settings: ClientConfig,
    brokers: String,
    topics: Arc<KnownTopics>,
    partitioner: Partitioner,
    delivery_timeout: Duration,
    lookups: Semaphore,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// [`Self::with`] everything as it is by default.
    ///
    /// # Errors
    /// As for [`Self::with`].
    pub fn new(kafka: &config::Kafka) -> Result<Self, KafkaError> {
        Self::with(kafka, &Producing::default())
    }

    /// Sets the producer up. It connects in the background: a broker that is down shows in the
    /// answers to events, so that a gateway can start before Kafka does.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a property, [`KafkaError::Token`] when there is no token to log
    /// in with.
    pub fn with(kafka: &config::Kafka, producing: &Producing) -> Result<Self, KafkaError> {
        if producing.acks != Acks::All {
            tracing::warn!(
                acks = producing.acks.as_str(),
                "events count as acknowledged before every replica has them, as configured; one that was answered OK \
                 can be lost with its broker"
            );
        }
        let settings = settings(kafka, producing);
        let partitioner = Partitioner::new(producing);
        let topics = Arc::new(KnownTopics::new(partitioner.counts()));
        let producer = start(&settings, &topics, Keeper::of(kafka)?)?;
        // A property may say otherwise, and what librdkafka takes is what counts.
        let delivery_timeout = settings
            .get("delivery.timeout.ms")
            .and_then(|ms| ms.parse().ok());
        Ok(Self {
            producer: RwLock::new(Arc::new(producer)),
            delivery_timeout: delivery_timeout
                .map_or(producing.delivery_timeout, Duration::from_millis),
            settings,
            brokers: kafka.brokers.clone(),
            topics,
            partitioner,
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
        })
    }

    /// How long an event may wait for its acknowledgement.
    #[must_use]
    pub fn delivery_timeout(&self) -> Duration {
        self.delivery_timeout
    }

    /// The producer's own figures; none before the first interval, and where none are taken.
    #[must_use]
    pub fn figures(&self) -> Option<ProducerFigures> {
        let producer = self.running();
        let figures = producer.client().context().figures.lock();
        figures.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an event into the queue to the broker and returns at once. `done` is called when the
    /// broker has answered or the event's time is over. The topic should have been checked before.
    ///
    /// # Errors
    /// When the event could not be queued. `done` comes back uncalled; after
    /// [`PublishError::Overloaded`], wait a little and try again.
    pub fn enqueue(&self, event: &Outgoing<'_>, done: Done) -> Result<(), (PublishError, Done)> {
        self.hand_over(event, Ticket::Call(done))
            .map_err(|(error, ticket)| match ticket {
                Ticket::Call(done) => (error, done),
                // It is the ticket of above that comes back.
                Ticket::Entry { .. } => (error, Box::new(drop) as Done),
            })
    }

    /// [`Self::enqueue`] for many events, whose answers are gathered. What was not queued is not answered either.
    ///
    /// # Errors
    /// When the event could not be queued.
    pub fn enqueue_for(
        &self,
        event: &Outgoing<'_>,
        receipts: &Arc<Receipts>,
        (number, label): (u64, u32),
    ) -> Result<(), PublishError> {
        let receipts = Arc::clone(receipts);
        self.hand_over(
            event,
            Ticket::Entry {
                receipts,
                number,
                label,
            },
        )
        .map_err(|(error, _)| error)
    }

    fn hand_over(
        &self,
        event: &Outgoing<'_>,
        ticket: Ticket,
    ) -> Result<(), (PublishError, Ticket)> {
        let partition = check(event).and_then(|()| {
            let turns = self
                .partitioner
                .counts()
                .then(|| self.topics.turns(event.topic))
                .flatten();
            self.partitioner.choose(event, turns.as_deref())
        });
        let partition = match partition {
            Ok(partition) => partition,
            Err(error) => return Err((error, ticket)),
        };
        // A copy on the stack; an allocation for each event would cost more.
        let mut topic = [0_u8; TOPIC_BYTES_MAX];
        let bytes = event.topic.as_bytes();
        let name = topic.get_mut(..=bytes.len()).and_then(|name| {
            name[..bytes.len()].copy_from_slice(bytes);
            CStr::from_bytes_with_nul(name).ok()
        });
        let Some(name) = name else {
            return Err((invalid_name(event.topic), ticket));
        };
        let producer = self.running();
        let headers = event.headers.iter();
        let headers = Headers::of(
            event.headers.len(),
            headers.map(|(name, value)| (name.as_bytes(), *value)),
        );
        let opaque = Box::new(ticket).into_ptr();
        let call = Call {
            topic: name,
            partition,
            key: event.key,
            value: event.value,
            timestamp_ms: event.timestamp_ms,
            opaque,
        };
        produce(producer.client().native_ptr(), &call, headers).map_err(|code| {
            let context = producer.client().context();
            let error = context.classify(code, event.topic, partition.unwrap_or(-1));
            // SAFETY: the pointer was made of a box above, and librdkafka, which did not take the record, has dropped
            // it.
            let ticket: Box<Ticket> = unsafe { Box::from_ptr(opaque) };
            (error, *ticket)
        })
    }

    /// Checks the topic, writes one event and waits until the broker has acknowledged it.
    ///
    /// # Errors
    /// Whatever kept the event from being acknowledged.
    pub async fn publish(self: &Arc<Self>, event: &Outgoing<'_>) -> Outcome {
        self.ensure_topic(event.topic).await?;
        let (tell, told) = oneshot::channel();
        let done: Done = Box::new(move |outcome| drop(tell.send(outcome)));
        self.enqueue(event, done).map_err(|(error, _)| error)?;
        told.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Refuses a topic that does not exist, without creating it. Known topics cost a hash lookup.
    ///
    /// # Errors
    /// [`PublishError::UnknownTopic`], [`PublishError::Invalid`] for a name that cannot be a topic,
    /// or [`PublishError::Unavailable`] when the broker does not answer.
    pub async fn ensure_topic(self: &Arc<Self>, topic: &str) -> Result<(), PublishError> {
        if let Some(answer) = self.remembered(topic) {
            return answer;
        }
        let _turn = self.lookups.acquire().await.map_err(|_| given_up())?;
        if let Some(answer) = self.remembered(topic) {
            return answer;
        }
        let (publisher, topic) = (Arc::clone(self), topic.to_owned());
        tokio::task::spawn_blocking(move || publisher.ensure_topic_blocking(&topic))
            .await
            .unwrap_or_else(|_| Err(given_up()))
    }

    /// [`Self::ensure_topic`] for threads that may block, for up to [`LOOKUP_TIMEOUT`].
    ///
    /// # Errors
    /// As [`Self::ensure_topic`].
    pub fn ensure_topic_blocking(&self, topic: &str) -> Result<(), PublishError> {
        if let Some(answer) = self.remembered(topic) {
            return answer;
        }
        let metadata = self
            .running()
            .client()
            .fetch_metadata(Some(topic), LOOKUP_TIMEOUT);
        let code = match &metadata {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                found.map_or(Some(Code::UnknownTopic), |found| {
                    found.error().map(Code::from)
                })
            }
            Err(error) => error.rdkafka_error_code().or(Some(Code::Fail)),
        };
        let topics = metadata.iter().flat_map(|metadata| metadata.topics());
        let partitions = topics
            .map(|topic| topic.partitions().len())
            .next()
            .unwrap_or(0);
        let (knowledge, answer) = match code {
            None | Some(Code::LeaderNotAvailable) => (Knowledge::Exists(partitions), Ok(())),
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic) => (
                Knowledge::Absent,
                Err(PublishError::UnknownTopic(topic.to_owned())),
            ),
            Some(Code::TopicAuthorizationFailed) => {
                return Err(PublishError::Denied(topic.to_owned()));
            }
            Some(_) => (Knowledge::NoAnswer, Err(self.unreachable())),
        };
        self.topics.learn(topic, knowledge, Instant::now());
        answer
    }

    /// Waits until everything queued is acknowledged or given up on. Blocks.
    ///
    /// # Errors
    /// [`KafkaError::NotFlushed`] when `timeout` is over first.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        let producer = self.running();
        producer.flush(timeout).map_err(|_| KafkaError::NotFlushed {
            events: usize::try_from(producer.in_flight_count()).unwrap_or(0),
            waited: timeout,
        })
    }

    fn remembered(&self, topic: &str) -> Option<Result<(), PublishError>> {
        match self.topics.get(topic, Instant::now) {
            Some(Knowledge::Exists(_)) => Some(Ok(())),
            Some(Knowledge::Absent) => Some(Err(PublishError::UnknownTopic(topic.to_owned()))),
            Some(Knowledge::NoAnswer) => Some(Err(self.unreachable())),
            None => (!is_topic_name(topic)).then(|| Err(invalid_name(topic))),
        }
    }

    fn unreachable(&self) -> PublishError {
        let producer = self.running();
        let complaint = producer.client().context().complaint.lock();
        let reason = complaint.unwrap_or_else(PoisonError::into_inner).clone();
        let brokers = self.brokers.clone();
        let error = KafkaError::Unreachable {
            brokers,
            waited: LOOKUP_TIMEOUT,
            reason,
        };
        PublishError::Unavailable(error.to_string())
    }

    /// The producer, replaced first when librdkafka gave the old one up.
    fn running(&self) -> Arc<RunningProducer> {
        let given_up =
            |producer: &RunningProducer| producer.client().context().fatal.load(Ordering::Relaxed);
        let producer = Arc::clone(&self.producer.read().unwrap_or_else(PoisonError::into_inner));
        if !given_up(&producer) {
            return producer;
        }
        let mut current = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if given_up(&current) {
            let tokens = current.client().context().tokens.clone();
            match start(&self.settings, &self.topics, tokens) {
                Ok(new) => {
                    tracing::warn!("the producer failed for good and was replaced");
                    let old = std::mem::replace(&mut *current, Arc::new(new));
                    drop(producer);
                    // Dropping it waits for its threads, which no caller should have to.
                    std::thread::spawn(move || drop(old));
                }
                Err(error) => tracing::error!(%error, "the producer could not be replaced"),
            }
        }
        Arc::clone(&current)
    }
}

/// What librdkafka is told where nothing of the producer is configured; `make bench-ingest` compares with the same.
#[must_use]
pub fn default_settings(kafka: &config::Kafka) -> ClientConfig {
    settings(kafka, &Producing::default())
}

/// What librdkafka is told. What the section of the producer does not change, the operator's properties may.
fn settings(kafka: &config::Kafka, producing: &Producing) -> ClientConfig {
    let unchanged = Producing::default();
    let (mut defaults, mut fixed) = (Vec::new(), Vec::new());
    for (one, default) in tunable(producing).into_iter().zip(tunable(&unchanged)) {
        if one == default {
            &mut defaults
        } else {
            &mut fixed
        }
        .push(one);
    }
    // A topic's absence is checked before; this is for one that is deleted later.
    defaults.push(("topic.metadata.propagation.max.ms", "5000".to_owned()));
    let defaults: Vec<_> = defaults
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut settings = client_with_defaults(kafka, &defaults);
    for (name, other) in super::ALIASES {
        if fixed.iter().any(|(fixed, _)| *fixed == name) {
            settings.remove(other);
        }
    }
    for (name, value) in &fixed {
        settings.set(*name, value);
    }
    // Where it is not idempotent, nothing else keeps the order of what is sent again.
    let in_flight = if producing.idempotence {
        IN_FLIGHT
    } else {
        "1"
    };
    settings.remove("request.required.acks");
    settings
        .set("acks", producing.acks.as_str())
        .set("enable.idempotence", producing.idempotence.to_string())
        .set("max.in.flight.requests.per.connection", in_flight);
    settings
}

/// What operators may also say as properties of all clients.
fn tunable(producing: &Producing) -> [(&'static str, String); 9] {
    let ms = |time: Duration| time.as_millis().to_string();
    [
        ("batch.num.messages", producing.batch_events.to_string()),
        ("batch.size", producing.batch_bytes.to_string()),
        ("linger.ms", ms(producing.linger)),
        (
            "compression.type",
            producing.compression.as_str().to_owned(),
        ),
        ("delivery.timeout.ms", ms(producing.delivery_timeout)),
        (
            "queue.buffering.max.messages",
            producing.queue_events.to_string(),
        ),
        (
            "queue.buffering.max.kbytes",
            producing.queue_bytes.div_ceil(1024).to_string(),
        ),
        (
            "statistics.interval.ms",
            ms(producing.statistics.unwrap_or_default()),
        ),
        // The same partition for the same key as Java clients choose. Events that have their partition already are
        // not asked about.
        (
            "partitioner",
            match producing.partitioning {
                Partitioning::Key | Partitioning::Explicit | Partitioning::Field(_) => {
                    "murmur2_random"
                }
                Partitioning::RoundRobin | Partitioning::Sticky => "random",
            }
            .to_owned(),
        ),
    ]
}

fn start(
    settings: &ClientConfig,
    topics: &Arc<KnownTopics>,
    tokens: Option<Arc<Keeper>>,
) -> Result<RunningProducer, KafkaError> {
    let context = Context {
        topics: Arc::clone(topics),
        fatal: AtomicBool::new(false),
        complaint: Mutex::new(None),
        figures: Mutex::new(None),
        tokens,
    };
    settings.create_with_context(context).map_err(refused)
}

fn given_up() -> PublishError {
    PublishError::Unavailable("the producer is shutting down; send the event again".to_owned())
}

#[cfg(test)]
mod tests;
