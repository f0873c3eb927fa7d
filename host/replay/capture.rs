//! Where the records of a replay go: to files, one a topic, and to topics only where somebody asked for it. A line reads
//! back as an event of `millrace plugin run`. It must not know why a record was made.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use super::{ReplayError, Side};
use crate::authoring::fixture::Fixture;
use crate::config;
use crate::kafka::producer::{Delivery, GroupProducer, OutgoingRecord, SendFailure};
use crate::kafka::{KafkaError, is_topic_name};
use crate::pipeline::{Outlet, Producer};

/// Places that are left free in the channel of deliveries. The thread that writes here is the one that empties it, so it must
/// not fill it; the producer of records that are sent may add some in between.
const FREE_DELIVERIES: usize = 4_096;

/// A topic that records are sent to, in the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentTo {
    /// The topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: usize,
}

/// What was written, by topic.
type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Takes the records of a replay.
#[derive(Debug)]
pub struct Capture {
    outputs: PathBuf,
    dead_letters: PathBuf,
    dead_letter_topic: String,
    sent: BTreeMap<String, SentTo>,
    kafka: config::Kafka,
    counts: Counts,
}

impl Capture {
    /// Into the folder of a side, for a group with this dead-letter topic. `sent` says what is sent instead, by topic.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(
        side: &Side,
        dead_letter_topic: &str,
        sent: BTreeMap<String, SentTo>,
        kafka: &config::Kafka,
    ) -> Result<Self, ReplayError> {
        let outputs = side.outputs();
        std::fs::create_dir_all(&outputs).map_err(|error| ReplayError::io(&outputs, error))?;
        Ok(Self {
            outputs,
            dead_letters: side.dead_letters(),
            dead_letter_topic: dead_letter_topic.to_owned(),
            sent,
            kafka: kafka.clone(),
            counts: Counts::default(),
        })
    }

    /// How many records there were for each topic, dead letters left out.
    #[must_use]
    pub fn outputs(&self) -> BTreeMap<String, u64> {
        let mut counts = self.counted().clone();
        counts.remove(&self.dead_letter_topic);
        counts
    }

    /// How many dead letters there were.
    #[must_use]
    pub fn dead_letters(&self) -> u64 {
        let counts = self.counted();
        counts.get(&self.dead_letter_topic).copied().unwrap_or(0)
    }

    fn counted(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file_of(&self, topic: &str) -> PathBuf {
        if *topic == self.dead_letter_topic {
            return self.dead_letters.clone();
        }
        self.outputs.join(format!("{topic}.jsonl"))
    }
}

impl Outlet for Capture {
    fn open(&self, deliveries: Sender<Delivery>) -> Result<Box<dyn Producer>, KafkaError> {
        let producer = match self.sent.is_empty() {
            true => None,
            false => Some(GroupProducer::start(&self.kafka, deliveries.clone())?),
        };
        Ok(Box::new(Writer {
            capture: Self {
                outputs: self.outputs.clone(),
                dead_letters: self.dead_letters.clone(),
                dead_letter_topic: self.dead_letter_topic.clone(),
                sent: self.sent.clone(),
                kafka: self.kafka.clone(),
                counts: Arc::clone(&self.counts),
            },
            files: Mutex::default(),
            producer,
            deliveries,
        }))
    }
}

/// The producer of a replay.
#[derive(Debug)]
struct Writer {
    capture: Capture,
    /// Open files by topic.
    files: Mutex<BTreeMap<String, File>>,
    producer: Option<GroupProducer>,
    deliveries: Sender<Delivery>,
}

impl Writer {
    fn write(&self, record: &OutgoingRecord) -> Result<(), SendFailure> {
        let refused = |reason: String| SendFailure::Refused(reason);
        if !is_topic_name(&record.topic) {
            return Err(refused(format!("{:?} is no topic", record.topic)));
        }
        let mut line = line_of(record);
        line.push('\n');
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let path = || self.capture.file_of(&record.topic);
        let failed = |error: std::io::Error| refused(format!("{}: {error}", path().display()));
        if !files.contains_key(&record.topic) {
            let file = OpenOptions::new().create(true).append(true).open(path());
            files.insert(record.topic.clone(), file.map_err(failed)?);
        }
        let Some(file) = files.get_mut(&record.topic) else {
            return Ok(());
        };
        let before = file.metadata().map_err(failed)?.len();
        file.write_all(line.as_bytes()).map_err(|error| {
            // Half a line would make the next one unreadable too. Where it stays, the reader says so.
            let _cut = file.set_len(before);
            failed(error)
        })
    }

    fn send_on(&self, token: usize, record: &OutgoingRecord) -> Option<Result<(), SendFailure>> {
        let (to, producer) = (
            self.capture.sent.get(&record.topic)?,
            self.producer.as_ref()?,
        );
        let partitions = to.partitions as i32;
        let renamed = OutgoingRecord {
            topic: to.topic.clone(),
            partition: record.partition.map(|partition| partition % partitions),
            ..record.clone()
        };
        Some(producer.send(token, &renamed))
    }
}

impl Producer for Writer {
    fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure> {
        if let Some(sent) = self.send_on(token, record) {
            sent?;
        } else {
            let free = self.deliveries.capacity().unwrap_or(usize::MAX) - self.deliveries.len();
            if free <= FREE_DELIVERIES {
                return Err(SendFailure::QueueFull);
            }
            self.write(record)?;
            let delivery = Delivery {
                token,
                result: Ok(()),
            };
            // Where there is no room after all, it is written once more, as any record may be.
            if self.deliveries.try_send(delivery).is_err() {
                return Err(SendFailure::QueueFull);
            }
        }
        *self
            .capture
            .counted()
            .entry(record.topic.clone())
            .or_default() += 1;
        Ok(())
    }

    fn given_up(&self) -> bool {
        self.producer.as_ref().is_some_and(GroupProducer::given_up)
    }

    fn hand_back(&mut self) {
        if let Some(producer) = &mut self.producer {
            producer.hand_back();
        }
    }

    fn replace(&mut self) -> Result<(), KafkaError> {
        self.producer
            .as_mut()
            .map_or(Ok(()), GroupProducer::replace)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let files = self.files.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (topic, file) in files {
            if let Err(error) = file.sync_all() {
                tracing::error!(%topic, %error, "what the replay wrote may not be on the disk");
            }
        }
    }
}

/// A record as one line.
fn line_of(record: &OutgoingRecord) -> String {
    Fixture {
        topic: Some(record.topic.clone()),
        partition: record.partition,
        offset: None,
        timestamp_ms: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.all_headers().cloned().collect(),
        attempt: None,
    }
    .to_line()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn records_are_written_as_events_and_acknowledged_while_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let side = Side::at(folder.path().to_owned());
        let kafka = config::Kafka::at("nowhere:1");
        let capture = Capture::new(&side, "g.dlq", BTreeMap::new(), &kafka).unwrap();
        let (deliver, deliveries) = bounded(FREE_DELIVERIES + 2);
        let writer = capture.open(deliver).unwrap();
        let record = |topic: &str, value: &str| OutgoingRecord {
            topic: topic.to_owned(),
            key: Some(b"k".to_vec()),
            value: Some(value.into()),
            ..OutgoingRecord::default()
        };
        writer.send(1, &record("out", "{\"n\":1}")).unwrap();
        writer.send(2, &record("g.dlq", "bad")).unwrap();
        let full = writer.send(3, &record("out", "later"));
        assert_eq!(full, Err(SendFailure::QueueFull));
        assert_eq!(deliveries.recv().map(|it| it.token), Ok(1));
        writer.send(3, &record("out", "later")).unwrap();
        assert!(matches!(
            writer.send(4, &record("../out", "x")),
            Err(SendFailure::QueueFull | SendFailure::Refused(_))
        ));
        drop(writer);
        let values = |path: PathBuf| -> Vec<Vec<u8>> {
            let read = Fixture::read_file(&path).unwrap();
            read.into_iter().filter_map(|it| it.value).collect()
        };
        let outputs = values(side.outputs().join("out.jsonl"));
        assert_eq!(outputs, [b"{\"n\":1}".to_vec(), b"later".to_vec()]);
        assert_eq!(values(side.dead_letters()), [b"bad".to_vec()]);
        assert_eq!(capture.outputs(), BTreeMap::from([("out".to_owned(), 2)]));
        assert_eq!(capture.dead_letters(), 1);
    }
}
