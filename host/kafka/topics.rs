//! Creates topics and says which there are.
//!
//! Everything here blocks for up to the given time. It must not know which topics the host needs.

mod admin;

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

pub(super) use self::admin::plainly;
use super::security::{Refusal, refused};
use super::tokens::{self, Keeper};
use super::{
    KafkaError, QuietContext, client, client_with_defaults, is_topic_name, log, log_error,
};
use crate::config;
use crate::delivery::offsets::Offset;

/// How long one question is waited for before it is looked whether the brokers refuse this host. A handshake takes
/// some milliseconds.
const SLICE: Duration = Duration::from_secs(1);

/// A broker that hangs up so often before it has answered anything does not do so by chance. librdkafka tells the first
/// two times, and then keeps quiet for half a minute.
const HANG_UPS: u32 = 2;

/// Enough for what has queued up.
const SERVE: Duration = Duration::from_millis(10);

/// What a new topic should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions, at least 1.
    pub partitions: u16,
    /// How many replicas of each; none leaves it to the broker.
    pub replication: Option<u16>,
    /// Topic settings such as `retention.ms`.
    pub settings: Vec<(String, String)>,
}

/// What a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many replicas its first partition has.
    pub replication: usize,
}

/// What a partition of a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDetails {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it; none at the moment where nobody does.
    pub leader: Option<i32>,
    /// The brokers that have it.
    pub replicas: Vec<i32>,
    /// Those of them that have everything.
    pub in_sync: Vec<i32>,
    /// The oldest offset and the one after the newest; none where nobody said.
    pub offsets: Option<(i64, i64)>,
}

/// One setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSetting {
    /// Such as `retention.ms`.
    pub name: String,
    /// What it is.
    pub value: String,
    /// Whether it was set for this topic; otherwise the broker's default holds.
    pub own: bool,
}

/// Keeps what librdkafka complains about, because "no answer" alone helps nobody.
#[derive(Debug)]
pub(super) struct Complaints {
    latest: Mutex<Option<String>>,
    /// That the two sides do not accept each other, which no waiting mends.
    refusal: Mutex<Option<Refusal>>,
    /// `security.protocol` as it was set.
    protocol: String,
    /// How often a broker hung up.
    hung_up: AtomicU32,
    tokens: Option<Arc<Keeper>>,
}

impl Complaints {
    fn new(kafka: &config::Kafka, settings: &ClientConfig) -> Result<Self, KafkaError> {
        let protocol = settings.get("security.protocol").unwrap_or("plaintext");
        Ok(Self {
            protocol: protocol.to_ascii_lowercase(),
            hung_up: AtomicU32::new(0),
            latest: Mutex::default(),
            refusal: Mutex::default(),
            tokens: Keeper::of(kafka)?,
        })
    }

    fn keep(&self, refusal: Option<Refusal>) {
        if refusal.is_some() {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        }
    }
}

impl ClientContext for Complaints {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        tokens::current(self.tokens.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
        // A broker that hangs up is no error to librdkafka, and stands in its log only. Once may happen to anybody.
        if facility == "FAIL"
            && message.contains("Disconnected")
            && self.hung_up.fetch_add(1, Ordering::Relaxed) + 1 >= HANG_UPS
        {
            self.keep(Refusal::of_hanging_up(&self.protocol, message));
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_error(&error, reason);
        self.keep(Refusal::of(error.rdkafka_error_code(), reason));
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Complaints {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, _opaque: ()) {}
}

/// A short-lived connection for asking about topics.
pub struct Topics {
    settings: ClientConfig,
    brokers: String,
    timeout: Duration,
    /// For the client that creates.
    context: QuietContext,
    /// A producer that produces nothing: the kind of client whose events can be polled, and it joins
    /// no group.
    client: BaseProducer<Complaints>,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics")
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

impl Topics {
    /// Prepares to ask; `timeout` bounds each question. Nothing is sent yet.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a property.
    pub fn new(kafka: &config::Kafka, timeout: Duration) -> Result<Self, KafkaError> {
        let settings = client(kafka);
        // Why a broker hangs up stands in this line of the log.
        let asking = client_with_defaults(kafka, &[("log.connection.close", "true")]);
        let asking = asking
            .create_with_context(Complaints::new(kafka, &settings)?)
            .map_err(refused)?;
        Ok(Self {
            settings,
            brokers: kafka.brokers.clone(),
            timeout,
            context: QuietContext::new(kafka)?,
            client: asking,
        })
    }

    /// All topics, by name, without Kafka's internal ones.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] when no broker answers.
    pub fn list(&self) -> Result<Vec<TopicSummary>, KafkaError> {
        let metadata = self.metadata(None)?;
        let mut topics: Vec<_> = metadata
            .topics()
            .iter()
            .filter(|topic| !topic.name().starts_with("__"))
            .map(summary)
            .collect();
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// One topic, or none when it does not exist. It is not created.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] when no broker answers, [`KafkaError::Refused`] when the cluster
    /// does not say.
    pub fn describe(&self, name: &str) -> Result<Option<TopicSummary>, KafkaError> {
        if !is_topic_name(name) {
            return Err(KafkaError::TopicName(name.to_owned()));
        }
        let metadata = self.metadata(Some(name))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) => Ok(Some(summary(topic))),
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => Ok(None),
            Some(code) => Err(KafkaError::Refused {
                action: format!("describe topic {name}"),
                reason: admin::plainly(code),
            }),
        }
    }

    /// One topic with its partitions, or none when it does not exist. It is not created.
    ///
    /// # Errors
    /// As of [`Topics::describe`].
    pub fn details(&self, name: &str) -> Result<Option<Vec<PartitionDetails>>, KafkaError> {
        if self.describe(name)?.is_none() {
            return Ok(None);
        }
        let metadata = self.metadata(Some(name))?;
        let topics = metadata.topics().iter();
        let partitions = topics.filter(|topic| topic.name() == name);
        let partitions = partitions.flat_map(rdkafka::metadata::MetadataTopic::partitions);
        let mut partitions: Vec<_> = partitions
            .map(|partition| {
                let leader = Some(partition.leader()).filter(|leader| *leader >= 0);
                // Without a leader nobody knows, and the question would wait for one.
                let offsets = leader.and_then(|_| {
                    let client = self.client.client();
                    client
                        .fetch_watermarks(name, partition.id(), self.timeout)
                        .ok()
                });
                PartitionDetails {
                    partition: partition.id(),
                    leader,
                    replicas: partition.replicas().to_vec(),
                    in_sync: partition.isr().to_vec(),
                    offsets,
                }
            })
            .collect();
        partitions.sort_by_key(|partition| partition.partition);
        Ok(Some(partitions))
    }

    /// The client, for other questions.
    pub(super) fn client(&self) -> &BaseProducer<Complaints> {
        &self.client
    }

    /// The longest that an answer is waited for.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The offset after the newest record of a partition.
    ///
    /// # Errors
    /// Nobody answers, or not with an offset.
    pub fn end(&self, topic: &str, partition: i32) -> Result<Offset, KafkaError> {
        let client = self.client.client();
        let found = client.fetch_watermarks(topic, partition, self.timeout);
        found
            .map(|(_, end)| Offset(end))
            .map_err(KafkaError::Client)
    }

    /// How many brokers the cluster has.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] when none answers.
    pub fn brokers(&self) -> Result<usize, KafkaError> {
        Ok(self.metadata(None)?.brokers().len())
    }

    /// Asks in slices, so that a refusal is told at once and not when the time is over.
    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, KafkaError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            // Serves what librdkafka has to say, and its wish for a token.
            self.client.poll(SERVE);
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = self
                .client
                .client()
                .fetch_metadata(topic, left.min(SLICE).max(SERVE));
            let error = match asked {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            self.client.poll(SERVE);
            let complaints = self.client.client().context();
            let refusal = complaints
                .refusal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(refusal) = refusal {
                return Err(refusal.error(&self.brokers));
            }
            match error.rdkafka_error_code() {
                Some(
                    Code::BrokerTransportFailure
                    | Code::OperationTimedOut
                    | Code::AllBrokersDown
                    | Code::RequestTimedOut,
                ) if left > SLICE => {}
                Some(
                    Code::BrokerTransportFailure
                    | Code::OperationTimedOut
                    | Code::AllBrokersDown
                    | Code::RequestTimedOut,
                ) => {
                    let complaint = complaints.latest.lock();
                    return Err(KafkaError::Unreachable {
                        brokers: self.brokers.clone(),
                        waited: self.timeout,
                        reason: complaint.unwrap_or_else(PoisonError::into_inner).clone(),
                    });
                }
                _ => return Err(KafkaError::Client(error)),
            }
        }
    }
}

fn summary(topic: &rdkafka::metadata::MetadataTopic) -> TopicSummary {
    let partitions = topic.partitions();
    TopicSummary {
        name: topic.name().to_owned(),
        partitions: partitions.len(),
        replication: partitions
            .first()
            .map_or(0, |partition| partition.replicas().len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::embedded::EmbeddedBroker;

    fn at(brokers: String) -> Topics {
        Topics::new(&config::Kafka::at(brokers), Duration::from_secs(5)).unwrap()
    }

    #[test]
    fn topics_are_listed_and_an_unknown_one_is_not_created_by_asking() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("b", 3).unwrap();
        broker.create_topic("a", 1).unwrap();
        let topics = at(broker.bootstrap_servers());
        assert_eq!(topics.describe("nowhere").unwrap(), None);
        assert_eq!(topics.describe("b").unwrap().unwrap().partitions, 3);
        let names: Vec<_> = topics
            .list()
            .unwrap()
            .into_iter()
            .map(|topic| topic.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn creating_says_what_is_wrong() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("there", 1).unwrap();
        let topics = at(broker.bootstrap_servers());
        let spec = |name: &str| TopicSpec {
            name: name.into(),
            partitions: 1,
            replication: None,
            settings: Vec::new(),
        };
        assert!(matches!(
            topics.create(&spec("there")),
            Err(KafkaError::TopicExists(_))
        ));
        assert!(matches!(
            topics.create(&spec("a b")),
            Err(KafkaError::TopicName(_))
        ));
        // The embedded broker has no CreateTopics, which the error must survive.
        assert!(matches!(
            topics.create(&spec("new")),
            Err(KafkaError::Refused { .. })
        ));
    }

    #[test]
    fn who_may_not_ask_is_told_so() {
        for code in [
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
        ] {
            assert!(admin::plainly(code).contains("not authorised"), "{code}");
        }
        assert!(admin::plainly(Code::PolicyViolation).contains("policy"));
    }

    #[test]
    fn a_broker_that_is_not_there_is_named_with_the_reason() {
        let kafka = config::Kafka::at("127.0.0.1:1");
        let topics = Topics::new(&kafka, Duration::from_millis(800)).unwrap();
        let started = Instant::now();
        let message = topics.list().unwrap_err().to_string();
        assert!(
            message.contains("127.0.0.1:1") && message.contains("refused"),
            "{message}"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
