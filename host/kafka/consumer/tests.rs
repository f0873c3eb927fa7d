//! What a member of a group hears, on the embedded broker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;
use crate::kafka::client;
use crate::kafka::embedded::EmbeddedBroker;

/// Begins at the beginning, and notes the commits that it hears of, the metadata that it is offered, and how often it was
/// told of a question that is asked again.
#[derive(Clone, Default)]
struct Hears(
    Arc<Mutex<Vec<(String, i32, Offset)>>>,
    Arc<Mutex<Vec<Vec<u8>>>>,
    Arc<AtomicUsize>,
);

impl Membership for Hears {
    fn assigned(&self, offered: &[Offered]) -> Vec<StartAt> {
        let metadata = offered.iter().map(|offered| offered.metadata.clone());
        self.1.lock().unwrap().extend(metadata);
        offered.iter().map(|_| StartAt(0)).collect()
    }

    fn revoked(&self, _partitions: &[(String, i32)], _lost: bool) -> Vec<Commit> {
        Vec::new()
    }

    fn waits(&self) {
        self.2.fetch_add(1, Ordering::Relaxed);
    }

    fn committed(&self, offsets: &[(String, i32, Offset)]) {
        self.0.lock().unwrap().extend_from_slice(offsets);
    }

    fn commit_failed(&self, reason: &str) {
        panic!("{reason}");
    }
}

#[test]
fn a_commit_that_nobody_waits_for_is_heard_of_when_the_broker_has_it() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let kafka = config::Kafka::at(broker.bootstrap_servers());
    let producer: BaseProducer = client(&kafka).create().unwrap();
    producer
        .send(BaseRecord::<(), str>::to("events").payload("x"))
        .unwrap();
    producer.flush(Duration::from_secs(5)).unwrap();
    let hears = Hears::default();
    let consumer = GroupConsumer::join(&kafka, "g", &["events".into()], hears.clone()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut asked = false;
    while hears.0.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "nothing was heard; asked: {asked}");
        if let Polled::Record(_) = consumer.poll(Duration::from_millis(50)) {
            consumer.commit(&[Commit {
                topic: "events".to_owned(),
                partition: 0,
                offset: Offset(1),
                metadata: "anything".to_owned(),
            }]);
            assert!(consumer.commit_under_way(), "its answer comes in a poll");
            asked = true;
        }
    }
    assert!(!consumer.commit_under_way());
    let heard = hears.0.lock().unwrap().clone();
    assert_eq!(heard, [("events".to_owned(), 0, Offset(1))]);
}

#[test]
fn metadata_that_is_no_text_is_offered_as_the_bytes_that_it_is() {
    const FOREIGN: [u8; 4] = [0xff, 0x00, 0xc3, 0x28];
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let kafka = config::Kafka::at(broker.bootstrap_servers());
    let tool: BaseConsumer = client(&kafka).set("group.id", "g").create().unwrap();
    let mut offsets = rdkafka::TopicPartitionList::new();
    offsets
        .add_partition_offset("events", 0, rdkafka::Offset::Offset(0))
        .unwrap();
    // SAFETY: the list has one element and owns its metadata, which is allocated as librdkafka frees it.
    unsafe {
        let metadata = sys::rd_kafka_mem_malloc(std::ptr::null_mut(), FOREIGN.len());
        std::ptr::copy_nonoverlapping(FOREIGN.as_ptr(), metadata.cast(), FOREIGN.len());
        let element = &mut *(*offsets.ptr()).elems;
        (element.metadata, element.metadata_size) = (metadata, FOREIGN.len());
    }
    tool.commit(&offsets, rdkafka::consumer::CommitMode::Sync)
        .unwrap();

    let hears = Hears::default();
    let consumer = GroupConsumer::join(&kafka, "g", &["events".into()], hears.clone()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while hears.1.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "nothing was offered");
        consumer.poll(Duration::from_millis(50));
    }
    assert_eq!(*hears.1.lock().unwrap(), [FOREIGN.to_vec()]);
}

#[test]
fn what_is_offered_to_a_member_that_leaves_is_left_to_others_at_once() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let kafka = config::Kafka::at(broker.bootstrap_servers());
    let hears = Hears::default();
    let consumer = GroupConsumer::join(&kafka, "g", &["events".into()], hears.clone()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    // SAFETY: the client lives until the end of the loop, and the queue is a reference of its own that is given back.
    let offers = || unsafe {
        let queue = sys::rd_kafka_queue_get_consumer(consumer.consumer.client().native_ptr());
        let length = sys::rd_kafka_queue_length(queue);
        sys::rd_kafka_queue_destroy(queue);
        length
    };
    while offers() == 0 {
        assert!(Instant::now() < end, "nothing was offered");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(consumer);
    assert_eq!(*hears.1.lock().unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(hears.2.load(Ordering::Relaxed), 0, "nothing was asked");
}
