//! What the data path reaches outside of itself: where records come from, where they go, and what is
//! durable. Apart from Kafka and the settle store there are the simulated ones of tests.

use std::fmt::Debug;

use crossbeam_channel::Sender;

use super::member::Member;
use crate::delivery::offsets::Offset;
use crate::kafka::KafkaError;
use crate::kafka::consumer::{Commit, GroupConsumer, Record};
use crate::kafka::producer::{Delivery, GroupProducer, OutgoingRecord, SendFailure};
use crate::store::{Settle, SettleStore, StateUsage, StoreError, StoredPartition};

/// One record that has been read.
pub(crate) trait Arrival {
    /// Equal for records of one topic, as long as its source lives.
    fn topic_token(&self) -> usize;
    fn topic(&self) -> &str;
    fn partition(&self) -> i32;
    fn offset(&self) -> Offset;
    fn timestamp_ms(&self) -> Option<i64>;
    fn key(&self) -> Option<&[u8]>;
    /// None is a tombstone.
    fn value(&self) -> Option<&[u8]>;
    /// Calls `each` with every header.
    fn for_each_header(&self, each: impl FnMut(&[u8], Option<&[u8]>));
}

/// A member of a consumer group.
pub(crate) trait Source {
    fn membership(&self) -> &Member;
    /// Stops fetching these partitions.
    fn pause(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError>;
    /// Fetches these partitions again.
    fn resume(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError>;
    /// The offset after the newest record; none before the first fetch.
    fn end_offset(&self, topic: &str, partition: i32) -> Option<Offset>;
    /// Commits without waiting; the membership hears of it.
    fn commit(&self, commits: &[Commit]);
    /// Whether a commit that was not waited for has no answer yet. Another beside it could reach the broker first.
    fn commit_under_way(&self) -> bool;
}

/// Takes records to the broker.
pub(crate) trait Producer: Debug + Send {
    /// Queues a record; its delivery follows, unless it is refused at once.
    fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure>;
    /// Whether nothing can be sent until it is replaced.
    fn given_up(&self) -> bool;
    /// Makes one that was given up hand back what it holds: a delivery follows for each record.
    fn hand_back(&mut self);
    /// Puts a new one in the place of one that was given up and holds no record.
    fn replace(&mut self) -> Result<(), KafkaError>;
}

/// Where a group's records go, where that is not the cluster that it reads.
pub(crate) trait Outlet: Debug {
    /// Takes records from now on. A delivery follows for each; the one who is told is the one who sends, so a full channel
    /// must refuse records rather than wait.
    fn open(&self, deliveries: Sender<Delivery>) -> Result<Box<dyn Producer>, KafkaError>;
}

/// The settle store of a group.
pub(crate) trait Store: Debug + Send + Sync {
    /// A number of its own, that keeps emission ids of different stores apart.
    fn incarnation(&self) -> u64;
    /// The number that the next emission may have.
    fn next_emission(&self) -> Result<u64, StoreError>;
    /// Everything known of one topic-partition.
    fn partition(&self, topic: &str, partition: i32) -> Result<StoredPartition, StoreError>;
    /// Forgets everything of one topic-partition.
    fn forget(&self, topic: &str, partition: i32) -> Result<(), StoreError>;
    /// Writes a settle. It is durable when this returns; after an error nothing of it happened.
    fn settle(&self, settle: &Settle) -> Result<(), StoreError>;
    /// Full keys of state whose time has run out, as far as a bounded step finds them.
    fn expired_state(&self, now_ms: u64) -> Result<Vec<Vec<u8>>, StoreError>;
    /// What the state of a plugin takes.
    fn state_usage_of(&self, plugin: &str) -> StateUsage;
}

impl Arrival for Record<'_> {
    #[inline]
    fn topic_token(&self) -> usize {
        self.topic_token()
    }

    fn topic(&self) -> &str {
        self.topic()
    }

    #[inline]
    fn partition(&self) -> i32 {
        self.partition()
    }

    #[inline]
    fn offset(&self) -> Offset {
        self.offset()
    }

    #[inline]
    fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp_ms()
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        self.key()
    }

    #[inline]
    fn value(&self) -> Option<&[u8]> {
        self.value()
    }

    #[inline]
    fn for_each_header(&self, each: impl FnMut(&[u8], Option<&[u8]>)) {
        self.for_each_header(each);
    }
}

impl Source for GroupConsumer<Member> {
    fn membership(&self) -> &Member {
        self.membership()
    }

    fn pause(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        self.pause(partitions)
    }

    fn resume(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        self.resume(partitions)
    }

    fn end_offset(&self, topic: &str, partition: i32) -> Option<Offset> {
        self.end_offset(topic, partition)
    }

    fn commit(&self, commits: &[Commit]) {
        self.commit(commits);
    }

    fn commit_under_way(&self) -> bool {
        self.commit_under_way()
    }
}

impl Producer for GroupProducer {
    fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure> {
        self.send(token, record)
    }

    fn given_up(&self) -> bool {
        self.given_up()
    }

    fn hand_back(&mut self) {
        self.hand_back();
    }

    fn replace(&mut self) -> Result<(), KafkaError> {
        self.replace()
    }
}

impl Store for SettleStore {
    fn incarnation(&self) -> u64 {
        SettleStore::incarnation(self)
    }

    fn next_emission(&self) -> Result<u64, StoreError> {
        SettleStore::next_emission(self)
    }

    fn partition(&self, topic: &str, partition: i32) -> Result<StoredPartition, StoreError> {
        SettleStore::partition(self, topic, partition)
    }

    fn forget(&self, topic: &str, partition: i32) -> Result<(), StoreError> {
        SettleStore::forget(self, topic, partition)
    }

    fn settle(&self, settle: &Settle) -> Result<(), StoreError> {
        SettleStore::settle(self, settle)
    }

    fn expired_state(&self, now_ms: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        SettleStore::expired_state(self, now_ms)
    }

    fn state_usage_of(&self, plugin: &str) -> StateUsage {
        SettleStore::state_usage_of(self, plugin)
    }
}
