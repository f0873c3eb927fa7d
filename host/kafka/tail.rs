//! A topic read from the side: all of its partitions, from now or from their beginning on, without a group and
//! without committing anything, so that nobody notices. It must not know what records are for.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};

use super::aside::{aside, served};
use super::consumer::Record;
use super::security::refused;
use super::{KafkaError, QuietContext};
use crate::config;

/// A cluster that is up answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The reader of one topic.
pub struct Tail {
    consumer: BaseConsumer<QuietContext>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").finish_non_exhaustive()
    }
}

impl Tail {
    /// Begins to read.
    ///
    /// # Errors
    /// No broker answers, or there is no such topic.
    pub fn open(
        kafka: &config::Kafka,
        topic: &str,
        from_beginning: bool,
    ) -> Result<Self, KafkaError> {
        let mut settings = aside(kafka);
        settings.set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer<_> = settings
            .create_with_context(QuietContext::new(kafka)?)
            .map_err(refused)?;
        served(&consumer);
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT);
        let metadata = metadata.map_err(|error| KafkaError::Unreachable {
            brokers: kafka.brokers.clone(),
            waited: TIMEOUT,
            reason: Some(error.to_string()),
        })?;
        let partitions = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions());
        let start = if from_beginning {
            Offset::Beginning
        } else {
            Offset::End
        };
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(topic, partition.id(), start)?;
        }
        if list.count() == 0 {
            return Err(KafkaError::Refused {
                action: format!("show topic {topic}"),
                reason: "there is no such topic; `millrace topics list` shows those that are there"
                    .to_owned(),
            });
        }
        consumer.assign(&list)?;
        Ok(Self { consumer })
    }

    /// Waits for the next record; none where there was none in time. Brokers that are away are waited for.
    ///
    /// # Errors
    /// The client cannot go on.
    pub fn poll(&self, timeout: Duration) -> Result<Option<Record<'_>>, KafkaError> {
        match self.consumer.poll(timeout) {
            Some(Ok(message)) => Ok(Some(Record { message })),
            Some(Err(error @ ClientError::MessageConsumptionFatal(_))) => Err(error.into()),
            Some(Err(_)) | None => Ok(None),
        }
    }
}
