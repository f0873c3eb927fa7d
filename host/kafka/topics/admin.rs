//! What is asked of the cluster's controller about topics: making, widening, and what is configured. It must not know
//! which topics there should be.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::{TopicSetting, TopicSpec, Topics};
use crate::kafka::security::refused;
use crate::kafka::{KafkaError, QuietContext, is_topic_name};

impl Topics {
    /// Creates a topic.
    ///
    /// # Errors
    /// [`KafkaError::TopicExists`], [`KafkaError::TopicName`], [`KafkaError::Refused`], or
    /// [`KafkaError::Unreachable`].
    pub fn create(&self, spec: &TopicSpec) -> Result<(), KafkaError> {
        self.ask_to_create(spec, false)
    }

    /// Whether the cluster would create a topic for this client. Nothing is made.
    ///
    /// # Errors
    /// As of [`Topics::create`].
    pub fn may_create(&self, spec: &TopicSpec) -> Result<(), KafkaError> {
        self.ask_to_create(spec, true)
    }

    fn ask_to_create(&self, spec: &TopicSpec, only_validate: bool) -> Result<(), KafkaError> {
        if !is_topic_name(&spec.name) {
            return Err(KafkaError::TopicName(spec.name.clone()));
        }
        // Asked first, because the admin client alone cannot tell why nobody answers.
        if self.describe(&spec.name)?.is_some() {
            return Err(KafkaError::TopicExists(spec.name.clone()));
        }
        let replicas = spec.replication.map_or(-1, i32::from);
        let mut topic = NewTopic::new(
            &spec.name,
            i32::from(spec.partitions),
            TopicReplication::Fixed(replicas),
        );
        for (name, value) in &spec.settings {
            topic = topic.set(name, value);
        }
        let action = format!("create topic {}", spec.name);
        let (admin, options) = self.admin()?;
        let options = options.validate_only(only_validate);
        let results = wait_for(admin.create_topics([&topic], &options))
            .map_err(|error| self.unanswered(&action, error))?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, Code::TopicAlreadyExists)) => {
                    return Err(KafkaError::TopicExists(spec.name.clone()));
                }
                Err((_, code)) => {
                    let reason = self.why_not_created(spec, code);
                    return Err(KafkaError::Refused { action, reason });
                }
            }
        }
        Ok(())
    }

    /// Gives a topic that has fewer partitions this many.
    ///
    /// # Errors
    /// [`KafkaError::Refused`], or [`KafkaError::Unreachable`].
    pub fn widen(&self, topic: &str, partitions: usize) -> Result<(), KafkaError> {
        let action = format!("give topic {topic} {partitions} partitions");
        let (admin, options) = self.admin()?;
        let wanted = NewPartitions::new(topic, partitions);
        let results = wait_for(admin.create_partitions([&wanted], &options))
            .map_err(|error| self.unanswered(&action, error))?;
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some((_, code)) => Err(KafkaError::Refused {
                action,
                reason: plainly(code),
            }),
        }
    }

    /// What is configured for a topic, by name.
    ///
    /// # Errors
    /// [`KafkaError::Refused`], or [`KafkaError::Unreachable`].
    pub fn settings(&self, topic: &str) -> Result<Vec<TopicSetting>, KafkaError> {
        let action = format!("say how topic {topic} is configured");
        let (admin, options) = self.admin()?;
        let results =
            wait_for(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))
                .map_err(|error| self.unanswered(&action, error))?;
        let mut settings = Vec::new();
        for result in results {
            let resource = result.map_err(|code| KafkaError::Refused {
                action: action.clone(),
                reason: plainly(code),
            })?;
            settings.extend(resource.entries.into_iter().map(|entry| TopicSetting {
                name: entry.name,
                value: entry.value.unwrap_or_default(),
                own: entry.source == ConfigSource::DynamicTopic,
            }));
        }
        settings.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(settings)
    }

    /// Removes the oldest records of a topic: of each partition those before an offset.
    ///
    /// # Errors
    /// [`KafkaError::Refused`], or [`KafkaError::Unreachable`].
    pub fn delete_records(
        &self,
        topic: &str,
        before: &BTreeMap<i32, i64>,
    ) -> Result<(), KafkaError> {
        let action = format!("remove records of topic {topic}");
        let (admin, options) = self.admin()?;
        let mut places = TopicPartitionList::new();
        for (partition, offset) in before {
            places.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let removed = wait_for(admin.delete_records(&places, &options))
            .map_err(|error| self.unanswered(&action, error))?;
        for partition in removed.elements() {
            partition.error().map_err(|error| KafkaError::Refused {
                action: action.clone(),
                reason: error
                    .rdkafka_error_code()
                    .map_or_else(|| error.to_string(), plainly),
            })?;
        }
        Ok(())
    }

    fn admin(&self) -> Result<(AdminClient<QuietContext>, AdminOptions), KafkaError> {
        let admin = self
            .settings
            .create_with_context(self.context.clone())
            .map_err(refused)?;
        let options = AdminOptions::new()
            .request_timeout(Some(self.timeout))
            .operation_timeout(Some(self.timeout));
        Ok((admin, options))
    }

    /// No answer to a question of this kind.
    fn unanswered(&self, action: &str, error: ClientError) -> KafkaError {
        let reason = match error {
            // A broker that answers other questions does not know this one.
            ClientError::AdminOp(Code::OperationTimedOut) if self.brokers().is_ok() => format!(
                "no answer within {:?}; the broker that `millrace dev` embeds creates topics \
                 only from its own configuration",
                self.timeout
            ),
            error => error.to_string(),
        };
        KafkaError::Refused {
            action: action.to_owned(),
            reason,
        }
    }

    fn why_not_created(&self, spec: &TopicSpec, code: Code) -> String {
        match (code, spec.replication) {
            (Code::InvalidReplicationFactor, Some(wanted)) => match self.brokers() {
                Ok(brokers) => format!(
                    "it has {brokers} {}, and {wanted} replicas of each partition were asked for; ask for at most \
                     {brokers}",
                    if brokers == 1 { "broker" } else { "brokers" }
                ),
                Err(_) => plainly(code),
            },
            (Code::InvalidConfig, _) => {
                let settings = spec.settings.iter();
                let settings: Vec<String> = settings
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                format!(
                    "it does not take one of the settings {}; check their names and values",
                    settings.join(", ")
                )
            }
            _ => plainly(code),
        }
    }
}

/// What an answer of the cluster means for who asked.
pub(in crate::kafka) fn plainly(code: Code) -> String {
    match code {
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            format!("this client is not authorised for it ({code})")
        }
        Code::PolicyViolation => format!("a policy of the cluster forbids it ({code})"),
        code => code.to_string(),
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
