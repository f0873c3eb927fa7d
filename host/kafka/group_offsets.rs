//! What a consumer group has committed, who is in it, and setting its offsets while nobody is. It joins no group, and
//! must not know why offsets are set.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use super::aside::{aside, served};
use super::consumer::Commit;
use super::consumer::lists::{list, metadata, names};
use super::security::refused;
use super::topics::Topics;
use super::{KafkaError, QuietContext, coordinator};
use crate::config;
use crate::delivery::offsets::Offset;

/// A member of a group, as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// What the coordinator calls it; it begins with `group.instance.id` where there is one.
    pub id: String,
    /// `client.id`.
    pub client: String,
    /// Its address.
    pub host: String,
}

/// What a group has committed in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset; none where nothing is committed.
    pub offset: Option<Offset>,
    /// What was committed with it.
    pub metadata: Vec<u8>,
}

/// The offsets of one group, from outside.
pub struct GroupOffsets {
    consumer: BaseConsumer<QuietContext>,
    topics: Topics,
    group: String,
    timeout: Duration,
}

impl std::fmt::Debug for GroupOffsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupOffsets")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl GroupOffsets {
    /// Prepares to ask; `timeout` bounds each question. It is made sure that a broker answers.
    ///
    /// # Errors
    /// librdkafka refuses a property, or no broker answers.
    pub fn new(kafka: &config::Kafka, group: &str, timeout: Duration) -> Result<Self, KafkaError> {
        let topics = Topics::new(kafka, timeout)?;
        // This tells why nobody answers, which the questions below do not.
        topics.brokers()?;
        let mut settings = aside(kafka);
        settings.set("group.id", group);
        // Static members are known by it, and this is none.
        settings.remove("group.instance.id");
        let consumer = settings
            .create_with_context(QuietContext::new(kafka)?)
            .map_err(refused)?;
        served(&consumer);
        Ok(Self {
            consumer,
            topics,
            group: group.to_owned(),
            timeout,
        })
    }

    /// Who is in the group.
    ///
    /// # Errors
    /// The cluster does not say.
    pub fn members(&self) -> Result<Vec<GroupMember>, KafkaError> {
        let groups = self
            .consumer
            .fetch_group_list(Some(&self.group), self.timeout)
            .map_err(|error| self.refused("say who is in", &error))?;
        let of_group = groups.groups().iter();
        let of_group = of_group.filter(|group| group.name() == self.group);
        let members = of_group.flat_map(|group| group.members());
        let members = members.map(|member| GroupMember {
            id: member.id().to_owned(),
            client: member.client_id().to_owned(),
            host: member.client_host().to_owned(),
        });
        Ok(members.collect())
    }

    /// How many partitions a topic has; none where it does not exist.
    ///
    /// # Errors
    /// The cluster does not say.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>, KafkaError> {
        Ok(self.topics.describe(topic)?.map(|topic| topic.partitions))
    }

    /// What the group has committed in these partitions, in their order.
    ///
    /// # Errors
    /// The cluster does not say.
    pub fn committed(&self, of: &[(String, i32)]) -> Result<Vec<Committed>, KafkaError> {
        let committed = self.of_coordinator(|| {
            let committed = self.consumer.committed_offsets(names(of), self.timeout)?;
            for element in committed.elements() {
                element.error()?;
            }
            Ok(committed)
        });
        let committed =
            committed.map_err(|error| self.refused("say what is committed by", &error))?;
        let metadata = metadata(&committed);
        let elements = committed.elements();
        let each = elements.iter().zip(metadata);
        Ok(each
            .map(|(element, metadata)| Committed {
                offset: offset_of(element.offset()),
                metadata,
            })
            .collect())
    }

    /// The oldest offset of a partition, and the one after its newest record.
    ///
    /// # Errors
    /// The cluster does not say.
    pub fn ends(&self, topic: &str, partition: i32) -> Result<(Offset, Offset), KafkaError> {
        let ends = self
            .consumer
            .fetch_watermarks(topic, partition, self.timeout);
        let (oldest, newest) = ends.map_err(|error| KafkaError::Refused {
            action: format!("say how far partition {partition} of topic {topic} reaches"),
            reason: error.to_string(),
        })?;
        Ok((Offset(oldest), Offset(newest)))
    }

    /// The first offset in each of these partitions whose record has this time or a later one, in milliseconds since the
    /// Unix epoch; none where there is no such record yet.
    ///
    /// # Errors
    /// The cluster does not say.
    pub fn at_time(
        &self,
        of: &[(String, i32)],
        time_ms: i64,
    ) -> Result<Vec<Option<Offset>>, KafkaError> {
        let mut times = TopicPartitionList::with_capacity(of.len());
        for (topic, partition) in of {
            times.add_partition_offset(topic, *partition, ClientOffset::Offset(time_ms))?;
        }
        let found = self.consumer.offsets_for_times(times, self.timeout);
        let unsaid = |error: &ClientError| KafkaError::Refused {
            action: "say which offsets belong to the time".to_owned(),
            reason: error.to_string(),
        };
        let found = found.map_err(|error| unsaid(&error))?;
        let elements = found.elements();
        let each = elements.iter().map(|element| {
            element.error().map_err(|error| unsaid(&error))?;
            Ok(offset_of(element.offset()))
        });
        each.collect()
    }

    /// Commits these offsets for the group. The coordinator refuses where the group has members.
    ///
    /// # Errors
    /// It was refused, in part or as a whole; [`KafkaError::Refused`] says why.
    pub fn set(&self, commits: &[Commit]) -> Result<(), KafkaError> {
        let action = "set the offsets of";
        let commits_of_group = list(commits, true);
        self.of_coordinator(|| self.consumer.commit(&commits_of_group, CommitMode::Sync))
            .map_err(|error| self.refused(action, &error))?;
        let of: Vec<(String, i32)> = commits
            .iter()
            .map(|commit| (commit.topic.clone(), commit.partition))
            .collect();
        // An answer may have said no for single partitions.
        let committed = self.committed(&of)?;
        let mut pairs = commits.iter().zip(committed);
        match pairs.find(|(commit, committed)| committed.offset != Some(commit.offset)) {
            None => Ok(()),
            Some((commit, committed)) => Err(KafkaError::Refused {
                action: format!("{action} group {}", self.group),
                reason: format!(
                    "partition {} of topic {} stands at {:?} and not at {}",
                    commit.partition,
                    commit.topic,
                    committed.offset.map(|offset| offset.0),
                    commit.offset
                ),
            }),
        }
    }

    /// Asks what the group's coordinator answers. One that moves to another broker, or that was made a moment ago, is
    /// asked again until it is there or the time is over.
    fn of_coordinator<T>(
        &self,
        ask: impl Fn() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let until = Instant::now() + self.timeout;
        let begins = |answer: &Result<T, ClientError>| {
            let code = answer
                .as_ref()
                .err()
                .and_then(ClientError::rdkafka_error_code);
            code.is_some_and(coordinator::has_yet_to_begin)
        };
        coordinator::asked(until, begins, ask)
    }

    fn refused(&self, action: &str, error: &ClientError) -> KafkaError {
        let reason = match error.rdkafka_error_code() {
            Some(
                Code::UnknownMemberId
                | Code::IllegalGeneration
                | Code::RebalanceInProgress
                | Code::NonEmptyGroup,
            ) => "it has members; stop every host of the group first".to_owned(),
            Some(Code::OffsetMetadataTooLarge) => {
                "the broker takes less metadata with a commit than a mark of 60 bytes; raise \
                 offset.metadata.max.bytes there"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        KafkaError::Refused {
            action: format!("{action} group {}", self.group),
            reason,
        }
    }
}

fn offset_of(offset: ClientOffset) -> Option<Offset> {
    match offset {
        ClientOffset::Offset(offset) => Some(Offset(offset)),
        _ => None,
    }
}
