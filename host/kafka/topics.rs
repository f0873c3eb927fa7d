//! Creates topics and says which there are.
//!
//! Everything here blocks for up to the given time. It must not know which topics the host needs.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use super::{KafkaError, QuietContext, client, is_topic_name, log, log_error};
use crate::config;

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

/// Keeps what librdkafka complains about, because "no answer" alone helps nobody.
#[derive(Debug, Default)]
struct Complaints(Mutex<Option<String>>);

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_error(&error, reason);
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
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
        let asking = settings
            .create_with_context(Complaints::default())
            .map_err(KafkaError::Settings)?;
        Ok(Self {
            settings,
            brokers: kafka.brokers.clone(),
            timeout,
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
                reason: code.to_string(),
            }),
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`KafkaError::TopicExists`], [`KafkaError::TopicName`], [`KafkaError::Refused`], or
    /// [`KafkaError::Unreachable`].
    pub fn create(&self, spec: &TopicSpec) -> Result<(), KafkaError> {
        if !is_topic_name(&spec.name) {
            return Err(KafkaError::TopicName(spec.name.clone()));
        }
        // Asked first, because the admin client alone cannot tell why nobody answers.
        if self.describe(&spec.name)?.is_some() {
            return Err(KafkaError::TopicExists(spec.name.clone()));
        }
        let admin: AdminClient<QuietContext> = self
            .settings
            .create_with_context(QuietContext)
            .map_err(KafkaError::Settings)?;
        let replicas = spec.replication.map_or(-1, i32::from);
        let mut topic = NewTopic::new(
            &spec.name,
            i32::from(spec.partitions),
            TopicReplication::Fixed(replicas),
        );
        for (name, value) in &spec.settings {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(self.timeout))
            .operation_timeout(Some(self.timeout));
        let refused = |reason: String| KafkaError::Refused {
            action: format!("create topic {}", spec.name),
            reason,
        };
        let results = wait_for(admin.create_topics([&topic], &options)).map_err(|error| {
            refused(match error {
                // It answered the question before, so it is this one that it does not know.
                ClientError::AdminOp(Code::OperationTimedOut) => format!(
                    "no answer within {:?}; the broker that `millrace dev` embeds creates topics \
                     only from its own configuration",
                    self.timeout
                ),
                error => error.to_string(),
            })
        })?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, Code::TopicAlreadyExists)) => {
                    return Err(KafkaError::TopicExists(spec.name.clone()));
                }
                Err((_, code)) => return Err(refused(code.to_string())),
            }
        }
        Ok(())
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, KafkaError> {
        self.client
            .client()
            .fetch_metadata(topic, self.timeout)
            .map_err(|error| {
                // Serves what librdkafka has logged meanwhile, up to its error.
                self.client.poll(Duration::from_millis(10));
                match error.rdkafka_error_code() {
                    Some(
                        Code::BrokerTransportFailure
                        | Code::OperationTimedOut
                        | Code::AllBrokersDown
                        | Code::RequestTimedOut,
                    ) => {
                        let complaint = self.client.client().context().0.lock();
                        KafkaError::Unreachable {
                            brokers: self.brokers.clone(),
                            waited: self.timeout,
                            reason: complaint.unwrap_or_else(PoisonError::into_inner).clone(),
                        }
                    }
                    _ => KafkaError::Client(error),
                }
            })
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

/// Waits on this thread for a future that another thread completes, without a runtime: the admin
/// client offers nothing but futures, and its callers are plain threads.
fn wait_for<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut task = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut task) {
            return output;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::kafka::embedded::EmbeddedBroker;

    fn at(brokers: String) -> Topics {
        let kafka = config::Kafka {
            brokers,
            properties: std::collections::BTreeMap::new(),
            message_max_bytes: 1_000_000,
        };
        Topics::new(&kafka, Duration::from_secs(5)).unwrap()
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
    fn a_broker_that_is_not_there_is_named_with_the_reason() {
        let kafka = config::Kafka {
            brokers: "127.0.0.1:1".into(),
            properties: std::collections::BTreeMap::new(),
            message_max_bytes: 1_000_000,
        };
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
