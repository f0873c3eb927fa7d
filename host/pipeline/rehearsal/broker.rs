//! The broker of a rehearsal: topics as lists in memory, and a consumer and a producer that reach them at once and
//! without fail. It must not know what records mean, nor how time passes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64;

use crate::delivery::offsets::Offset;
use crate::kafka::KafkaError;
use crate::kafka::consumer::{Commit, Membership as _, Offered};
use crate::kafka::producer::{Delivery, OutgoingRecord, SendFailure};
use crate::pipeline::member::Member;
use crate::pipeline::messages::TakenUp;
use crate::pipeline::outside::{Arrival, Producer, Source};

/// A record in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its time in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in their order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether the group wrote it, rather than whoever rehearses.
    pub by_group: bool,
    /// Place of its topic, from 1.
    topic_token: usize,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: Vec<Arc<Written>>,
    committed: Option<Offset>,
    metadata: Vec<u8>,
}

/// Every topic.
#[derive(Debug, Default)]
pub(super) struct Broker {
    topics: BTreeMap<String, Vec<Log>>,
    /// Topics in the order in which they were made: the place of each never changes.
    order: Vec<String>,
    /// Everything that was written, in its order.
    written: Vec<Arc<Written>>,
}

/// A broker that a consumer, a producer and whoever rehearses hold.
pub(super) type SharedBroker = Arc<Mutex<Broker>>;

pub(super) fn lock(broker: &SharedBroker) -> MutexGuard<'_, Broker> {
    broker.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn end(&self) -> i64 {
        self.records.last().map_or(0, |newest| newest.offset + 1)
    }

    fn next(&self, from: i64) -> Option<&Arc<Written>> {
        let at = self.records.partition_point(|record| record.offset < from);
        self.records.get(at)
    }
}

impl Broker {
    /// Makes a topic, where it is not there.
    pub(super) fn create(&mut self, topic: &str, partitions: usize) {
        if !self.topics.contains_key(topic) {
            self.order.push(topic.to_owned());
        }
        let logs = self.topics.entry(topic.to_owned()).or_default();
        logs.resize_with(partitions.max(logs.len()), Log::default);
    }

    pub(super) fn partitions(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, Vec::len)
    }

    /// The offset after the newest record.
    pub(super) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.log(topic, partition).map_or(0, Log::end)
    }

    /// What is committed.
    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<Offset> {
        self.log(topic, partition)?.committed
    }

    /// Everything that was written, in its order.
    pub(super) fn written(&self) -> &[Arc<Written>] {
        &self.written
    }

    fn log(&self, topic: &str, partition: i32) -> Option<&Log> {
        self.topics.get(topic)?.get(partition as usize)
    }

    /// Appends a record. Its offset is the next one, or the one that it has where that is higher.
    pub(super) fn append(&mut self, mut record: Written) -> Arc<Written> {
        self.create(&record.topic, record.partition as usize + 1);
        let token = self.order.iter().position(|topic| *topic == record.topic);
        record.topic_token = token.unwrap_or(0) + 1;
        let logs = self.topics.entry(record.topic.clone()).or_default();
        let log = &mut logs[record.partition as usize];
        record.offset = record.offset.max(log.end());
        let record = Arc::new(record);
        log.records.push(Arc::clone(&record));
        self.written.push(Arc::clone(&record));
        record
    }

    /// A partition as a rebalance offers it.
    fn offer(&self, topic: &str, partition: i32) -> Option<Offered> {
        let log = self.log(topic, partition)?;
        Some(Offered {
            topic: topic.to_owned(),
            partition,
            committed: log.committed,
            metadata: log.metadata.clone(),
            oldest: Offset(0),
            newest: Offset(log.end()),
        })
    }

    /// Every partition of these topics.
    pub(super) fn offer_all(&self, topics: &[Arc<str>]) -> Vec<Offered> {
        let partitions = |topic: &Arc<str>| {
            let topic = Arc::clone(topic);
            (0..self.partitions(&topic) as i32)
                .filter_map(move |partition| self.offer(&topic, partition))
        };
        topics.iter().flat_map(partitions).collect()
    }

    fn commit(&mut self, commit: &Commit) {
        let logs = self.topics.get_mut(&commit.topic);
        if let Some(log) = logs.and_then(|logs| logs.get_mut(commit.partition as usize)) {
            log.committed = Some(commit.offset);
            log.metadata = commit.metadata.clone().into_bytes();
        }
    }

    /// The partition of a record that does not say one.
    fn partition_of(&self, topic: &str, key: Option<&[u8]>) -> i32 {
        let partitions = self.partitions(topic).max(1) as u64;
        key.map_or(0, |key| (xxh3_64(key) % partitions) as i32)
    }
}

impl Written {
    /// A record that whoever rehearses writes.
    pub fn event(topic: &str, partition: i32, timestamp_ms: i64) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
            offset: 0,
            timestamp_ms,
            key: None,
            value: None,
            headers: Vec::new(),
            by_group: false,
            topic_token: 0,
        }
    }
}

impl Arrival for Written {
    fn topic_token(&self) -> usize {
        self.topic_token
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn partition(&self) -> i32 {
        self.partition
    }

    fn offset(&self) -> Offset {
        Offset(self.offset)
    }

    fn timestamp_ms(&self) -> Option<i64> {
        Some(self.timestamp_ms)
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn for_each_header(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
        for (name, value) in &self.headers {
            each(name, value.as_deref());
        }
    }
}

/// Records that the group has sent and that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Wire(Mutex<VecDeque<(usize, OutgoingRecord)>>);

impl Wire {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(usize, OutgoingRecord)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the oldest record, and says so.
    pub(super) fn deliver(&self, broker: &SharedBroker, now_ms: u64) -> Option<Delivery> {
        let (token, record) = self.lock().pop_front()?;
        let mut broker = lock(broker);
        let partition = record
            .partition
            .unwrap_or_else(|| broker.partition_of(&record.topic, record.key.as_deref()));
        broker.append(Written {
            headers: record.all_headers().cloned().collect(),
            offset: 0,
            timestamp_ms: record.timestamp_ms.unwrap_or(now_ms as i64),
            key: record.key,
            value: record.value,
            by_group: true,
            partition,
            topic_token: 0,
            topic: record.topic,
        });
        Some(Delivery {
            token,
            result: Ok(()),
        })
    }
}

impl Producer for Arc<Wire> {
    fn send(&self, token: usize, record: &OutgoingRecord) -> Result<(), SendFailure> {
        self.lock().push_back((token, record.clone()));
        Ok(())
    }

    fn given_up(&self) -> bool {
        false
    }

    fn hand_back(&mut self) {}

    fn replace(&mut self) -> Result<(), KafkaError> {
        self.lock().clear();
        Ok(())
    }
}

#[derive(Debug)]
struct Reading {
    next: i64,
    paused: bool,
}

/// The only member of its group.
#[derive(Debug)]
pub(super) struct Consumer {
    member: Member,
    broker: SharedBroker,
    reading: RefCell<BTreeMap<(String, i32), Reading>>,
    unanswered: RefCell<VecDeque<Vec<Commit>>>,
}

impl Consumer {
    pub(super) fn new(member: Member, broker: &SharedBroker) -> Self {
        Self {
            member,
            broker: Arc::clone(broker),
            reading: RefCell::default(),
            unanswered: RefCell::default(),
        }
    }

    /// Partitions are its own from now on.
    pub(super) fn assign(&self, offered: &[Offered], taken_up: TakenUp) {
        let starts = self.member.end_taking_up(taken_up);
        let mut all = self.reading.borrow_mut();
        for (offered, start) in offered.iter().zip(starts) {
            let reading = Reading {
                next: start.0,
                paused: false,
            };
            all.insert((offered.topic.clone(), offered.partition), reading);
        }
    }

    /// Nothing is its own any more.
    pub(super) fn unassign_all(&self) {
        self.reading.borrow_mut().clear();
    }

    /// Reads the next record of any partition.
    pub(super) fn next(&self) -> Option<Arc<Written>> {
        let broker = lock(&self.broker);
        let mut all = self.reading.borrow_mut();
        all.iter_mut().find_map(|((topic, partition), reading)| {
            if reading.paused {
                return None;
            }
            let record = Arc::clone(broker.log(topic, *partition)?.next(reading.next)?);
            reading.next = record.offset + 1;
            Some(record)
        })
    }

    /// The broker answers the oldest commit.
    pub(super) fn answer_commit(&self) -> bool {
        let Some(commits) = self.unanswered.borrow_mut().pop_front() else {
            return false;
        };
        self.commit_now(&commits);
        true
    }

    /// Commits, and hears of it.
    pub(super) fn commit_now(&self, commits: &[Commit]) {
        if commits.is_empty() {
            return;
        }
        let mut broker = lock(&self.broker);
        commits.iter().for_each(|commit| broker.commit(commit));
        drop(broker);
        let offsets: Vec<_> = commits
            .iter()
            .map(|commit| (commit.topic.clone(), commit.partition, commit.offset))
            .collect();
        self.member.committed(&offsets);
    }

    fn set_paused(&self, partitions: &[(String, i32)], paused: bool) {
        let mut all = self.reading.borrow_mut();
        for place in partitions {
            if let Some(reading) = all.get_mut(place) {
                reading.paused = paused;
            }
        }
    }
}

impl Source for Consumer {
    fn membership(&self) -> &Member {
        &self.member
    }

    fn pause(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        self.set_paused(partitions, true);
        Ok(())
    }

    fn resume(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        self.set_paused(partitions, false);
        Ok(())
    }

    fn end_offset(&self, topic: &str, partition: i32) -> Option<Offset> {
        Some(Offset(lock(&self.broker).end(topic, partition)))
    }

    fn commit(&self, commits: &[Commit]) {
        self.unanswered.borrow_mut().push_back(commits.to_vec());
    }

    fn commit_under_way(&self) -> bool {
        !self.unanswered.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_its_token_when_others_come_before_it() {
        let mut broker = Broker::default();
        let mut token = |topic: &str| broker.append(Written::event(topic, 0, 5)).topic_token();
        let before = token("orders");
        assert_ne!(token("copies"), before);
        assert_eq!(token("orders"), before);
    }

    #[test]
    fn offsets_rise_by_one_and_leave_the_gaps_that_are_asked_for() {
        let mut broker = Broker::default();
        let mut offset = |asked: i64| {
            let mut event = Written::event("orders", 1, 5);
            event.offset = asked;
            broker.append(event).offset
        };
        assert_eq!([offset(0), offset(0), offset(7), offset(0)], [0, 1, 7, 8]);
        assert_eq!(
            broker.end("orders", 0),
            0,
            "the other partition is there, and empty"
        );
        assert_eq!(broker.partitions("orders"), 2);
    }
}
