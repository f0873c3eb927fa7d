//! Dead letters as an operator works with them: found, grouped by what went wrong, written out, put back and removed.
//! Letters are read one after the other and none is kept but the newest, so a topic may hold any number. It must not
//! know who asks.

mod asked;
mod board;
mod clusters;
mod filter;
mod id;
mod letter;
mod newest;
mod outbox;
mod pace;
mod progress;
mod purge;
mod redrive;
mod redriven;
mod signature;
mod told;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::asked::{moment, rate};
pub use self::board::Board;
pub use self::clusters::{CLUSTERS_MAX, Cluster, Clusters};
pub use self::filter::Filter;
pub use self::id::{LetterId, NotAnId};
pub use self::letter::Letter;
pub use self::newest::{LISTED_MAX, Newest};
pub use self::outbox::Outbox;
pub use self::progress::Progress;
pub use self::purge::{Bound, Doomed, Purge};
pub use self::redrive::{Judged, REDRIVES_MAX, Report, Wish};
pub use self::redriven::Redriven;
pub use self::work::{Task, Work};
use crate::config;
use crate::kafka::KafkaError;
use crate::kafka::reader::{Extent, Reader, Scan};
use crate::kafka::topics::Topics;

/// A cluster that is up answers in milliseconds. A topic that is read to its end may be silent for as long.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The cluster.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The topic of dead letters is missing.
    #[error("there is no topic {0}; `millrace topics list` shows which there are")]
    NoTopic(String),
    /// The letter is missing.
    #[error(
        "there is no record at offset {} of partition {} of topic {}; `--last 10` shows the newest",
        .0.offset, .0.partition, .0.topic
    )]
    NoLetter(LetterId),
    /// What was put back cannot be remembered, so nothing is.
    #[error(
        "nothing was put back, because it could not be remembered: {source}; make the topic with `millrace topics create \
         {name} --partitions 1 --cleanup compact`"
    )]
    NoMarks {
        /// The topic that remembers.
        name: String,
        /// Why it is not there.
        source: KafkaError,
    },
    /// Events would come back for ever.
    #[error(
        "topic {0} is the topic of dead letters itself: what is put back there is a dead letter again; name another with --to"
    )]
    Loop(String),
    /// A record was not acknowledged.
    #[error("topic {topic} did not take a record: {reason}")]
    NotTaken {
        /// The topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// A letter could not be judged at all.
    #[error("{0}")]
    Judge(String),
    /// What was found cannot be handed on.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

/// The dead letters of one topic.
#[derive(Debug)]
pub struct DeadLetters {
    kafka: config::Kafka,
    reader: Reader,
    topics: Topics,
    topic: String,
}

impl DeadLetters {
    /// Prepares to read; nothing is sent yet.
    ///
    /// # Errors
    /// A property of Kafka is refused.
    pub fn of(kafka: &config::Kafka, topic: impl Into<String>) -> Result<Self, DeadLettersError> {
        Self::within(kafka, topic, TIMEOUT)
    }

    /// The same for who waits only so long for each answer of the cluster.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn within(
        kafka: &config::Kafka,
        topic: impl Into<String>,
        timeout: Duration,
    ) -> Result<Self, DeadLettersError> {
        Ok(Self {
            reader: Reader::new(kafka, timeout)?,
            topics: Topics::new(kafka, timeout)?,
            kafka: kafka.clone(),
            topic: topic.into(),
        })
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// One letter.
    ///
    /// # Errors
    /// There is none at this place, or the cluster does not answer.
    pub fn letter(&self, id: &LetterId) -> Result<Letter, DeadLettersError> {
        let record = self.reader.at(&id.topic, id.partition, id.offset)?;
        let record = record.ok_or_else(|| DeadLettersError::NoLetter(id.clone()))?;
        Ok(Letter::new(record))
    }

    /// The newest letters, oldest of them first.
    ///
    /// # Errors
    /// There is no such topic, or the cluster does not answer.
    pub fn newest(&self, count: usize) -> Result<Vec<Letter>, DeadLettersError> {
        let newest = self.reader.newest(&self.topic, count)?;
        let newest = newest.ok_or_else(|| DeadLettersError::NoTopic(self.topic.clone()))?;
        Ok(newest.into_iter().map(Letter::new).collect())
    }

    /// How many partitions these topics have; those that are not there are left out.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn partitions_of(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, usize>, DeadLettersError> {
        let mut found = BTreeMap::new();
        for topic in topics {
            if let Some(summary) = self.topics.describe(topic)? {
                found.insert(topic.clone(), summary.partitions);
            }
        }
        Ok(found)
    }

    /// What was put back already.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn redriven(&self) -> Result<Redriven, DeadLettersError> {
        Redriven::load(&self.reader, &self.topic)
    }

    /// Hands over every letter that is meant, in the order of its partition.
    ///
    /// # Errors
    /// There is no such topic, the cluster does not answer, or `each` fails.
    pub fn scan(
        &self,
        filter: &Filter,
        each: impl FnMut(Letter) -> Result<Scan, DeadLettersError>,
    ) -> Result<(), DeadLettersError> {
        self.scan_while(|| true, filter, each)
    }

    /// The same for as long as `go_on` says so.
    fn scan_while(
        &self,
        go_on: impl Fn() -> bool,
        filter: &Filter,
        mut each: impl FnMut(Letter) -> Result<Scan, DeadLettersError>,
    ) -> Result<(), DeadLettersError> {
        let extents = narrowed(self.extents()?, filter);
        self.reader.scan(&self.topic, &extents, |record| {
            if !go_on() {
                return Ok(Scan::Enough);
            }
            let letter = Letter::new(record);
            if filter.takes(&letter) {
                each(letter)
            } else {
                Ok(Scan::Continue)
            }
        })
    }

    fn extents(&self) -> Result<Vec<Extent>, DeadLettersError> {
        let extents = self.reader.extents(&self.topic)?;
        extents.ok_or_else(|| DeadLettersError::NoTopic(self.topic.clone()))
    }
}

/// Where letters are named, only what lies from the first to the last of them is read.
fn narrowed(extents: Vec<Extent>, filter: &Filter) -> Vec<Extent> {
    if filter.ids.is_empty() {
        return extents;
    }
    let narrow = |extent: Extent| {
        let ids = filter
            .ids
            .iter()
            .filter(|id| id.partition == extent.partition);
        let offsets: Vec<i64> = ids.map(|id| id.offset).collect();
        let (first, last) = (offsets.iter().min()?, offsets.iter().max()?);
        Some(Extent {
            from: extent.from.max(*first),
            end: extent.end.min(last.saturating_add(1)),
            ..extent
        })
    };
    extents.into_iter().filter_map(narrow).collect()
}
