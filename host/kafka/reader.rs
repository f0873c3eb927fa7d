//! Reads single records where they lie: joins no group, commits nothing, and leaves no trace on the cluster. It must
//! not know what they are read for.

mod scan;

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::{Offset, TopicPartitionList};

pub use self::scan::{Extent, Scan};
use super::aside::{aside, served};
use super::consumer::Record;
use super::security::refused;
use super::topics::Topics;
use super::{KafkaError, QuietContext, log_error};
use crate::config;

/// How long one poll waits. Fetches of a healthy broker answer sooner.
const POLL: Duration = Duration::from_millis(100);

/// How much further back the last record is looked for, where there was none nearer.
const REACH_FACTOR: i64 = 64;

/// A record as it lies in its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its time in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in their order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A short-lived connection for reading.
pub struct Reader {
    settings: ClientConfig,
    context: QuietContext,
    topics: Topics,
    brokers: String,
    timeout: Duration,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Prepares to read; `timeout` bounds each question. Nothing is sent yet.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn new(kafka: &config::Kafka, timeout: Duration) -> Result<Self, KafkaError> {
        let mut settings = aside(kafka);
        settings
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            // What is read ahead of whoever looks at it, in KiB: some batches of each partition.
            .set("queued.max.messages.kbytes", "8192")
            // A queue that was full is filled again at once, and not a second later.
            .set("fetch.queue.backoff.ms", "10")
            // A partition has ended only after the broker has waited this long for more.
            .set("fetch.wait.max.ms", "50");
        // A producer's limit, which the consumer would warn about.
        settings.remove("message.max.bytes");
        Ok(Self {
            settings,
            context: QuietContext::new(kafka)?,
            topics: Topics::new(kafka, timeout)?,
            brokers: kafka.brokers.clone(),
            timeout,
        })
    }

    /// The record at this place; none where the topic or the record is not there.
    ///
    /// # Errors
    /// No broker answers, or the cluster refuses.
    pub fn at(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Option<ReadRecord>, KafkaError> {
        if self.topics.describe(topic)?.is_none() {
            return Ok(None);
        }
        let consumer = self.consumer()?;
        let (oldest, end) = self.ends(&consumer, topic, partition)?;
        if !(oldest..end).contains(&offset) {
            return Ok(None);
        }
        let mut read = self.read(&consumer, topic, &[(partition, offset, offset + 1)])?;
        Ok(read.pop().filter(|record| record.offset == offset))
    }

    /// The newest records of a topic over all partitions, oldest of them first; none where there is no such topic.
    ///
    /// # Errors
    /// As for [`Self::at`].
    pub fn newest(&self, topic: &str, count: usize) -> Result<Option<Vec<ReadRecord>>, KafkaError> {
        let Some(summary) = self.topics.describe(topic)? else {
            return Ok(None);
        };
        let consumer = self.consumer()?;
        let mut ranges = Vec::new();
        for partition in 0..summary.partitions as i32 {
            let (oldest, end) = self.ends(&consumer, topic, partition)?;
            let from = (end - count as i64).max(oldest);
            if from < end {
                ranges.push((partition, from, end));
            }
        }
        let mut read = self.read(&consumer, topic, &ranges)?;
        read.sort_by_key(|record| (record.timestamp_ms, record.partition, record.offset));
        Ok(Some(read.split_off(read.len().saturating_sub(count))))
    }

    /// Calls `each` with every record of a topic from one offset to before another, by partition. No range is empty.
    ///
    /// # Errors
    /// As for [`Self::at`].
    pub fn each(
        &self,
        topic: &str,
        ranges: &[(i32, i64, i64)],
        each: impl FnMut(&Record<'_>),
    ) -> Result<(), KafkaError> {
        if ranges.is_empty() {
            return Ok(());
        }
        self.read_each(&self.consumer()?, topic, ranges, each)
    }

    /// The offset of the last record of a partition from one offset to before another; none where there is no record.
    /// Compaction and transactions leave gaps, so it need not be the one before the end.
    ///
    /// # Errors
    /// As for [`Self::at`].
    pub fn last_before(
        &self,
        topic: &str,
        partition: i32,
        (from, until): (i64, i64),
    ) -> Result<Option<i64>, KafkaError> {
        let consumer = self.consumer()?;
        let mut reach = 1;
        let mut end = until;
        while from < end {
            let begin = (until - reach).max(from);
            let mut last = None;
            self.read_each(&consumer, topic, &[(partition, begin, end)], |record| {
                last = Some(record.offset().0);
            })?;
            if last.is_some() {
                return Ok(last);
            }
            end = begin;
            reach *= REACH_FACTOR;
        }
        Ok(None)
    }

    fn consumer(&self) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        let consumer: BaseConsumer<_> = self
            .settings
            .create_with_context(self.context.clone())
            .map_err(refused)?;
        served(&consumer);
        Ok(consumer)
    }

    /// The oldest offset, and the one after the newest.
    fn ends(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        topic: &str,
        partition: i32,
    ) -> Result<(i64, i64), KafkaError> {
        let ends = consumer.fetch_watermarks(topic, partition, self.timeout);
        ends.map_err(|error| KafkaError::Refused {
            action: format!("say how far partition {partition} of topic {topic} reaches"),
            reason: error.to_string(),
        })
    }

    /// Reads partitions from one offset to before another.
    fn read(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        topic: &str,
        ranges: &[(i32, i64, i64)],
    ) -> Result<Vec<ReadRecord>, KafkaError> {
        let mut read = Vec::new();
        self.read_each(consumer, topic, ranges, |record| read.push(owned(record)))?;
        Ok(read)
    }

    /// Calls `each` with every record of partitions from one offset to before another.
    fn read_each(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        topic: &str,
        ranges: &[(i32, i64, i64)],
        mut each: impl FnMut(&Record<'_>),
    ) -> Result<(), KafkaError> {
        let mut places = TopicPartitionList::new();
        for (partition, from, _) in ranges {
            places.add_partition_offset(topic, *partition, Offset::Offset(*from))?;
        }
        consumer.assign(&places)?;
        let mut open: Vec<(i32, i64)> = ranges.iter().map(|(at, _, end)| (*at, *end)).collect();
        let mut deadline = Instant::now() + self.timeout;
        while !open.is_empty() {
            if Instant::now() >= deadline {
                return Err(KafkaError::Unreachable {
                    brokers: self.brokers.clone(),
                    waited: self.timeout,
                    reason: Some(format!("topic {topic} could not be read to its end")),
                });
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    // What takes long and goes on is no cluster that does not answer.
                    deadline = Instant::now() + self.timeout;
                    let record = Record { message };
                    let (partition, offset) = (record.partition(), record.offset().0);
                    open.retain(|(at, end)| *at != partition || offset + 1 < *end);
                    let mut ranges = ranges.iter();
                    if ranges.any(|(at, _, end)| *at == partition && offset < *end) {
                        each(&record);
                    }
                }
                // Compaction and transactions leave gaps, so the end may come before the last offset.
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    open.retain(|(at, _)| *at != partition);
                }
                Some(Err(error)) => log_error(&error, "while reading"),
            }
        }
        Ok(())
    }
}

fn owned(record: &Record<'_>) -> ReadRecord {
    let mut headers = Vec::new();
    record.for_each_header(|name, value| {
        headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
    });
    ReadRecord {
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset().0,
        timestamp_ms: record.timestamp_ms(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers,
    }
}
