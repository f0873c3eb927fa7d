//! Writes events that come from outside: the gateway's and those of `millrace produce`.
//!
//! Idempotent and acknowledged by all in-sync replicas, in order for each partition, with a finite
//! time for each event. It must not know gRPC or where the events come from.

mod context;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::sync::{Semaphore, oneshot};

use self::context::Context;
use super::known_topics::{Knowledge, KnownTopics};
pub use super::outgoing::{Delivered, Done, Outcome, Outgoing, PublishError};
use super::outgoing::{check, invalid_name};
use super::{KafkaError, client_with_defaults, is_topic_name};
use crate::config;

/// How long an event may wait for its acknowledgement. A partition leader fails over in a few
/// seconds; a single broker that was killed is let in again by its controller after 9 s and was seen
/// to take 15 s in all. Events survive both.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the broker may take to say whether a topic exists. A request over a connection that is
/// up takes milliseconds; this covers connecting first, with one failed attempt.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Lookups block a thread each. Unknown topics are rare, and a client that invents names should not
/// take more threads than this.
const LOOKUPS_AT_ONCE: usize = 4;

/// Defaults of the producer; the operator's properties win.
const DEFAULTS: [(&str, &str); 4] = [
    // Bounds the memory of everything unacknowledged. At 200-byte events this is 300 000 of them,
    // above what librdkafka's own limit of 100 000 messages lets in.
    ("queue.buffering.max.kbytes", "65536"),
    // Enough for a batch to form under load, and not felt by a lone publisher.
    ("linger.ms", "2"),
    // The same partition for the same key as Java clients choose.
    ("partitioner", "murmur2_random"),
    // A topic's absence is checked before; this is for one that is deleted later.
    ("topic.metadata.propagation.max.ms", "5000"),
];

type RunningProducer = ThreadedProducer<Context>;

/// A producer shared by everyone who publishes. Flush it before it is dropped: dropping it gives up
/// on what is not yet acknowledged.
pub struct Publisher {
    producer: RwLock<Arc<RunningProducer>>,
    settings: ClientConfig,
    brokers: String,
    topics: Arc<KnownTopics>,
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
    /// Sets the producer up. It connects in the background: a broker that is down shows in the
    /// answers to events, so that a gateway can start before Kafka does.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a property.
    pub fn new(kafka: &config::Kafka) -> Result<Self, KafkaError> {
        let mut settings = client_with_defaults(kafka, &DEFAULTS);
        settings.remove("request.required.acks");
        settings
            .set("acks", "all")
            .set("enable.idempotence", "true");
        if !["delivery.timeout.ms", "message.timeout.ms"]
            .iter()
            .any(|name| kafka.properties.contains_key(*name))
        {
            settings.set(
                "delivery.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            );
        }
        let topics = Arc::new(KnownTopics::default());
        Ok(Self {
            producer: RwLock::new(Arc::new(start(&settings, &topics)?)),
            settings,
            brokers: kafka.brokers.clone(),
            topics,
            lookups: Semaphore::new(LOOKUPS_AT_ONCE),
        })
    }

    /// Puts an event into the queue to the broker and returns at once. `done` is called when the
    /// broker has answered or the event's time is over. The topic should have been checked before.
    ///
    /// # Errors
    /// When the event could not be queued. `done` comes back uncalled; after
    /// [`PublishError::Overloaded`], wait a little and try again.
    pub fn enqueue(&self, event: &Outgoing<'_>, done: Done) -> Result<(), (PublishError, Done)> {
        if let Err(error) = check(event) {
            return Err((error, done));
        }
        let producer = self.running();
        let mut record =
            BaseRecord::<[u8], [u8], Box<Done>>::with_opaque_to(event.topic, Box::new(done));
        record.partition = event.partition;
        record.key = event.key;
        record.payload = event.value;
        record.timestamp = event.timestamp_ms;
        if !event.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(event.headers.len());
            record.headers = Some(event.headers.iter().fold(empty, |headers, (key, value)| {
                headers.insert(Header { key, value: *value })
            }));
        }
        producer.send(record).map_err(|(error, record)| {
            let partition = event.partition.unwrap_or(-1);
            let error = producer
                .client()
                .context()
                .classify(&error, event.topic, partition);
            (error, *record.delivery_opaque)
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
        let (knowledge, answer) = match code {
            None | Some(Code::LeaderNotAvailable) => (Knowledge::Exists, Ok(())),
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
        match self.topics.get(topic, Instant::now()) {
            Some(Knowledge::Exists) => Some(Ok(())),
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
            match start(&self.settings, &self.topics) {
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

fn start(
    settings: &ClientConfig,
    topics: &Arc<KnownTopics>,
) -> Result<RunningProducer, KafkaError> {
    let context = Context {
        topics: Arc::clone(topics),
        fatal: AtomicBool::new(false),
        complaint: Mutex::new(None),
    };
    settings
        .create_with_context(context)
        .map_err(KafkaError::Settings)
}

fn given_up() -> PublishError {
    PublishError::Unavailable("the producer is shutting down; send the event again".to_owned())
}

#[cfg(test)]
mod tests;
