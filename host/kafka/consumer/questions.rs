//! What an assignment has to ask the broker before it can be taken up. It must not know what the answers
//! decide.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use super::{Context, Membership, Offered};
use crate::delivery::offsets::Offset;
use crate::kafka::log_error;

/// How long one question to the broker during an assignment may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a question is asked again before the assignment is given up. Half a minute in all, within
/// every default of `max.poll.interval.ms`.
const QUESTION_TRIES: u32 = 6;

/// Asks again after a failure, because a group often moves just when its coordinator does.
pub(super) fn questioned<T>(ask: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut tries = 1;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if tries == QUESTION_TRIES => return Err(error),
            Err(error) => log_error(&error, "while taking partitions up; asking again"),
        }
        tries += 1;
    }
}

pub(super) fn known<M: Membership>(
    consumer: &BaseConsumer<Context<M>>,
    offered: &TopicPartitionList,
) -> Result<Vec<Offered>, ClientError> {
    if offered.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(offered.clone(), QUESTION_TIMEOUT)?;
    let mut known = Vec::with_capacity(offered.count());
    for element in committed.elements() {
        element.error()?;
        let (topic, partition) = (element.topic().to_owned(), element.partition());
        let (oldest, _) = consumer.fetch_watermarks(&topic, partition, QUESTION_TIMEOUT)?;
        let committed = match element.offset() {
            ClientOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        };
        known.push(Offered {
            topic,
            partition,
            committed,
            oldest: Offset(oldest),
        });
    }
    Ok(known)
}
