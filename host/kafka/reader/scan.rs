//! Reads a topic from end to end, one record at a time, without holding more than librdkafka's own queue. It must not
//! know what is done with a record.

use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};

use super::{KafkaError, POLL, QuietContext, ReadRecord, Reader, owned};
use crate::kafka::consumer::Record;
use crate::kafka::log_error;

/// What a partition holds, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: i32,
    /// The oldest offset that is meant.
    pub from: i64,
    /// The offset after the newest that is meant.
    pub end: i64,
}

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// The next record is wanted.
    Continue,
    /// Nothing more is wanted.
    Enough,
}

impl Reader {
    /// What each partition of a topic holds now, by number; none where there is no such topic.
    ///
    /// # Errors
    /// No broker answers, or the cluster refuses.
    pub fn extents(&self, topic: &str) -> Result<Option<Vec<Extent>>, KafkaError> {
        let Some(summary) = self.topics.describe(topic)? else {
            return Ok(None);
        };
        let consumer = self.consumer()?;
        let extent = |partition| {
            let (from, end) = self.ends(&consumer, topic, partition)?;
            Ok(Extent {
                partition,
                from,
                end,
            })
        };
        let partitions = 0..summary.partitions as i32;
        partitions.map(extent).collect::<Result<_, _>>().map(Some)
    }

    /// Reads these parts of a topic and hands each record over as it comes: in the order of its partition, and
    /// partitions mixed. It waits for brokers as long as something comes within the time that one question may take.
    ///
    /// # Errors
    /// No broker answers, the cluster refuses, or `each` fails.
    pub fn scan<E: From<KafkaError>>(
        &self,
        topic: &str,
        extents: &[Extent],
        mut each: impl FnMut(ReadRecord) -> Result<Scan, E>,
    ) -> Result<(), E> {
        let mut open: Vec<Extent> = extents.to_vec();
        open.retain(|extent| extent.from < extent.end);
        if open.is_empty() {
            return Ok(());
        }
        let consumer = self.consumer()?;
        assign(&consumer, topic, &open)?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            match consumer.poll(POLL) {
                None if heard.elapsed() < self.timeout => {}
                None => return Err(self.silent(topic).into()),
                Some(Ok(message)) => {
                    let record = owned(&Record { message });
                    let at = open.iter().position(|it| it.partition == record.partition);
                    let Some(at) = at else { continue };
                    let end = open[at].end;
                    if record.offset + 1 >= end {
                        open.swap_remove(at);
                    }
                    if record.offset < end && each(record)? == Scan::Enough {
                        return Ok(());
                    }
                    // What is done with a record may take longer than a broker may be silent.
                    heard = Instant::now();
                }
                // Compaction and transactions leave gaps, so the end may come before the last offset.
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    open.retain(|extent| extent.partition != partition);
                }
                Some(Err(error)) => log_error(&error, "while reading"),
            }
        }
        Ok(())
    }

    fn silent(&self, topic: &str) -> KafkaError {
        KafkaError::Unreachable {
            brokers: self.brokers.clone(),
            waited: self.timeout,
            reason: Some(format!("topic {topic} could not be read to its end")),
        }
    }
}

fn assign(
    consumer: &BaseConsumer<QuietContext>,
    topic: &str,
    extents: &[Extent],
) -> Result<(), KafkaError> {
    let mut places = TopicPartitionList::new();
    for extent in extents {
        places.add_partition_offset(topic, extent.partition, Offset::Offset(extent.from))?;
    }
    Ok(consumer.assign(&places)?)
}
