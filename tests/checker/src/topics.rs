//! What stands in Kafka when the run is over, read with the checker's own consumer.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, Timestamp, TopicPartitionList};
use serde::Deserialize;

use crate::evidence::Sample;
use crate::{CheckArgs, Unchecked};

/// For one exchange with a broker that is up, on a machine that does other things too.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Partition and offset in the source.
pub(crate) type Coordinates = (i32, i64);

/// An event as the source holds it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) at_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// A record of the output.
#[derive(Debug)]
pub(crate) enum Written {
    /// A copy of an event.
    Copy(Copy),
    /// An owner says that it gives the partition up.
    Closed { partition: i32, host: String },
}

/// A copy of an event.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) from: Coordinates,
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) host: String,
    /// When the broker wrote it, in milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
}

/// A dead letter.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) from: Coordinates,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) at_ms: i64,
}

/// Everything that the checker found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) source: BTreeMap<Coordinates, Event>,
    /// In the order of each partition of the output, which is that of the source.
    pub(crate) written: Vec<Written>,
    pub(crate) letters: Vec<Letter>,
    /// Source and copies of the neighbour.
    pub(crate) neighbour: Option<(BTreeMap<Coordinates, Event>, Vec<Written>)>,
    /// Commits and ends now.
    pub(crate) last: Sample,
    /// What could not be read as what it should be.
    pub(crate) strange: Vec<String>,
}

impl Found {
    pub(crate) fn read(args: &CheckArgs) -> Result<Self, Unchecked> {
        let brokers = &args.place.brokers;
        let mut strange = Vec::new();
        let source = source(&read_all(brokers, &args.place.source)?, &mut strange);
        let output = read_all(brokers, &args.output)?;
        let written = written(&output, &args.place.source, &mut strange);
        let letters = match &args.dead_letters {
            Some(topic) => letters(&read_all(brokers, topic)?, &mut strange),
            None => Vec::new(),
        };
        let neighbour = match (&args.neighbour_source, &args.neighbour_output) {
            (Some(from), Some(to)) => {
                let events = self::source(&read_all(brokers, from)?, &mut strange);
                let copies = self::written(&read_all(brokers, to)?, from, &mut strange);
                Some((events, copies))
            }
            _ => None,
        };
        let asker = asker(brokers, &args.place.group)?;
        let last = sample(&asker, &args.place.source)?;
        Ok(Self {
            source,
            written,
            letters,
            neighbour,
            last,
            strange,
        })
    }

    /// The copies in their order.
    pub(crate) fn copies(&self) -> impl Iterator<Item = &Copy> {
        copies(&self.written)
    }

    /// Where each finished event came from and when that was written: the copies, then the dead letters.
    pub(crate) fn finished(&self) -> impl Iterator<Item = (Coordinates, i64)> {
        let copies = self.copies().map(|copy| (copy.from, copy.at_ms));
        let letters = self.letters.iter();
        copies.chain(letters.map(|letter| (letter.from, letter.at_ms)))
    }
}

/// The copies among what was written.
pub(crate) fn copies(written: &[Written]) -> impl Iterator<Item = &Copy> {
    written.iter().filter_map(|written| match written {
        Written::Copy(copy) => Some(copy),
        Written::Closed { .. } => None,
    })
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_millis() as i64
}

/// A consumer that asks for commits of a group and never joins it.
pub(crate) fn asker(brokers: &str, group: &str) -> Result<BaseConsumer, Unchecked> {
    Ok(client(brokers).set("group.id", group).create()?)
}

/// What the group has committed, and where each partition ends.
pub(crate) fn sample(asker: &BaseConsumer, topic: &str) -> Result<Sample, Unchecked> {
    let mut list = TopicPartitionList::new();
    for partition in partitions(asker, topic)? {
        list.add_partition(topic, partition);
    }
    let committed = asker.committed_offsets(list, REQUEST_TIMEOUT)?;
    let mut found = BTreeMap::new();
    // Before the ends are asked for: a commit that is known is never older than the time it is noted with.
    let at_ms = now_ms();
    for element in committed.elements() {
        let offset = element.offset().to_raw().filter(|offset| *offset >= 0);
        let (_, end) = asker.fetch_watermarks(topic, element.partition(), REQUEST_TIMEOUT)?;
        found.insert(element.partition(), (offset, end));
    }
    Ok(Sample {
        at_ms,
        partitions: found,
    })
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.auto.commit", "false")
        // A broker that has just come back is found at once.
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        .set("log_level", "0");
    config
}

fn partitions(client: &BaseConsumer, topic: &str) -> Result<Vec<i32>, Unchecked> {
    let metadata = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
    let of_topic = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    let found: Vec<i32> = of_topic
        .map(rdkafka::metadata::MetadataPartition::id)
        .collect();
    if found.is_empty() {
        return Err(Unchecked(format!("topic {topic} does not exist")));
    }
    Ok(found)
}

/// A record as Kafka holds it.
struct Stored {
    partition: i32,
    offset: i64,
    timestamp: Timestamp,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: BTreeMap<String, Vec<u8>>,
}

/// Every record up to where each partition ends now, in the order of partition and offset.
fn read_all(brokers: &str, topic: &str) -> Result<Vec<Stored>, Unchecked> {
    let reader: BaseConsumer = client(brokers)
        .set("group.id", "unused: nothing is committed")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let mut unfinished = partitions(&reader, topic)?;
    let mut list = TopicPartitionList::new();
    for partition in &unfinished {
        list.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    reader.assign(&list)?;
    let mut found = Vec::new();
    while !unfinished.is_empty() {
        match reader.poll(REQUEST_TIMEOUT) {
            Some(Ok(message)) => found.push(stored(&message)),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                unfinished.retain(|open| *open != partition);
            }
            Some(Err(error)) => return Err(Unchecked(format!("{topic} cannot be read: {error}"))),
            None => {
                return Err(Unchecked(format!(
                    "{topic} was silent for {REQUEST_TIMEOUT:?}"
                )));
            }
        }
    }
    found.sort_by_key(|record| (record.partition, record.offset));
    Ok(found)
}

fn stored(message: &impl Message) -> Stored {
    let headers = message.headers().map(|headers| {
        let header = |header: rdkafka::message::Header<'_, &[u8]>| {
            (
                header.key.to_owned(),
                header.value.unwrap_or_default().to_vec(),
            )
        };
        headers.iter().map(header).collect()
    });
    Stored {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

/// The broker's own time of a record. A topic without one cannot be judged by time.
fn appended_ms(record: &Stored, strange: &mut Vec<String>) -> i64 {
    match record.timestamp {
        Timestamp::LogAppendTime(ms) => ms,
        other => {
            strange.push(format!("a record without the broker's time: {other:?}"));
            0
        }
    }
}

fn source(records: &[Stored], strange: &mut Vec<String>) -> BTreeMap<Coordinates, Event> {
    #[derive(Deserialize)]
    struct Value {
        id: u64,
        seq: u64,
    }
    let mut events = BTreeMap::new();
    for record in records {
        match serde_json::from_slice::<Value>(record.value.as_deref().unwrap_or_default()) {
            Ok(Value { id, seq }) => {
                let event = Event {
                    id,
                    seq,
                    at_ms: appended_ms(record, strange),
                    key: record.key.clone(),
                    value: record.value.clone(),
                };
                events.insert((record.partition, record.offset), event);
            }
            Err(error) => strange.push(format!("not an event of this suite: {error}")),
        }
    }
    events
}

fn written(records: &[Stored], source: &str, strange: &mut Vec<String>) -> Vec<Written> {
    #[derive(Deserialize)]
    struct Value {
        #[serde(default)]
        closed: bool,
        #[serde(default)]
        id: u64,
        #[serde(default)]
        seq: u64,
        topic: String,
        partition: i32,
        #[serde(default)]
        offset: i64,
        host: String,
    }
    let mut written = Vec::new();
    for record in records {
        let value = record.value.as_deref().unwrap_or_default();
        match serde_json::from_slice::<Value>(value) {
            Ok(value) if value.topic != source => {
                strange.push(format!("a copy of another topic: {}", value.topic));
            }
            Ok(value) if value.closed => {
                let Value {
                    partition, host, ..
                } = value;
                written.push(Written::Closed { partition, host });
            }
            Ok(value) => written.push(Written::Copy(Copy {
                from: (value.partition, value.offset),
                id: value.id,
                seq: value.seq,
                key: record.key.clone(),
                host: value.host,
                at_ms: appended_ms(record, strange),
            })),
            Err(error) => strange.push(format!("not a copy: {error}")),
        }
    }
    written
}

fn letters(records: &[Stored], strange: &mut Vec<String>) -> Vec<Letter> {
    let mut letters = Vec::new();
    for record in records {
        let number = |name: &str| -> Option<i64> {
            let value = record.headers.get(&format!("millrace.dlq.origin.{name}"))?;
            std::str::from_utf8(value).ok()?.parse().ok()
        };
        let (Some(partition), Some(offset)) = (number("partition"), number("offset")) else {
            strange.push("a dead letter that does not say where it comes from".to_owned());
            continue;
        };
        letters.push(Letter {
            from: (partition as i32, offset),
            key: record.key.clone(),
            value: record.value.clone(),
            at_ms: appended_ms(record, strange),
        });
    }
    letters
}
