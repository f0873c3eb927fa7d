//! What a member of a group hears, on the embedded broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;
use crate::kafka::client;
use crate::kafka::embedded::EmbeddedBroker;

/// Begins at the beginning, and notes the commits that it hears of.
#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Vec<(String, i32, Offset)>>>);

impl Membership for Hears {
    fn assigned(&self, offered: &[Offered]) -> Vec<StartAt> {
        offered.iter().map(|_| StartAt(0)).collect()
    }

    fn revoked(&self, _partitions: &[(String, i32)], _lost: bool) -> Vec<(String, i32, Offset)> {
        Vec::new()
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
    let kafka = config::Kafka {
        brokers: broker.bootstrap_servers(),
        properties: BTreeMap::new(),
        message_max_bytes: 1_000_000,
    };
    let producer: BaseProducer = client(&kafka).create().unwrap();
    producer
        .send(BaseRecord::<(), str>::to("events").payload("x"))
        .unwrap();
    producer.flush(Duration::from_secs(5)).unwrap();
    let hears = Hears::default();
    let consumer = GroupConsumer::join(&kafka, "g", &["events"], hears.clone()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut asked = false;
    while hears.0.lock().unwrap().is_empty() {
        assert!(Instant::now() < end, "nothing was heard; asked: {asked}");
        if let Polled::Record(_) = consumer.poll(Duration::from_millis(50)) {
            consumer.commit(&[("events".to_owned(), 0, Offset(1))]);
            asked = true;
        }
    }
    let heard = hears.0.lock().unwrap().clone();
    assert_eq!(heard, [("events".to_owned(), 0, Offset(1))]);
}
