//! What the publisher writes, read back from the embedded broker.
#![allow(
    unsafe_code,
    reason = "only rdkafka-sys can make a producer fail for good"
)]

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::*;
use crate::kafka::client;
use crate::kafka::embedded::EmbeddedBroker;

fn kafka(broker: &EmbeddedBroker) -> config::Kafka {
    config::Kafka::at(broker.bootstrap_servers())
}

fn publish(publisher: &Publisher, event: &Outgoing<'_>) -> Outcome {
    publisher.ensure_topic_blocking(event.topic)?;
    let (tell, told) = oneshot::channel();
    let done: Done = Box::new(move |outcome| drop(tell.send(outcome)));
    publisher.enqueue(event, done).map_err(|(error, _)| error)?;
    told.blocking_recv().unwrap()
}

fn read(consumer: &BaseConsumer) -> BorrowedMessage<'_> {
    consumer
        .poll(Duration::from_secs(5))
        .expect("a record in time")
        .unwrap()
}

#[test]
fn nulls_and_empty_bytes_stay_apart_and_headers_keep_their_order() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 3).unwrap();
    let publisher = Publisher::new(&kafka(&broker)).unwrap();
    let headers: [(&str, Option<&[u8]>); 3] = [("a", Some(b"1")), ("b", None), ("a", Some(b""))];
    let nothing = Outgoing {
        topic: "events",
        partition: Some(2),
        ..Outgoing::default()
    };
    let empty = Outgoing {
        key: Some(b""),
        value: Some(b""),
        headers: &headers,
        timestamp_ms: Some(1_234),
        ..nothing
    };
    assert_eq!(
        publish(&publisher, &nothing),
        Ok(Delivered {
            partition: 2,
            offset: 0
        })
    );
    assert_eq!(
        publish(&publisher, &empty),
        Ok(Delivered {
            partition: 2,
            offset: 1
        })
    );

    let consumer: BaseConsumer = client(&kafka(&broker))
        .set("group.id", "g")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    assigned
        .add_partition_offset("events", 2, Offset::Beginning)
        .unwrap();
    consumer.assign(&assigned).unwrap();
    let first = read(&consumer);
    assert_eq!((first.key(), first.payload()), (None, None));
    let second = read(&consumer);
    assert_eq!(
        (second.key(), second.payload()),
        (Some(&b""[..]), Some(&b""[..]))
    );
    assert_eq!(second.timestamp().to_millis(), Some(1_234));
    let found: Vec<_> = second
        .headers()
        .unwrap()
        .iter()
        .map(|h| (h.key, h.value))
        .collect();
    assert_eq!(found, headers);
}

#[test]
fn a_key_goes_where_java_clients_would_put_it() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 16).unwrap();
    let publisher = Publisher::new(&kafka(&broker)).unwrap();
    // The hashes are the Java client's, as librdkafka's own tests list them.
    for (key, hash) in [
        ("kafka", 0xd067_cf64_u32),
        ("giberish123456789", 0x8f55_2b0c),
        ("1234", 0x9fc9_7b14),
    ] {
        let event = Outgoing {
            topic: "events",
            key: Some(key.as_bytes()),
            ..Outgoing::default()
        };
        let partition = i32::try_from((hash & 0x7fff_ffff) % 16).unwrap();
        assert_eq!(publish(&publisher, &event).unwrap().partition, partition);
    }
}

#[test]
fn a_topic_created_after_it_was_refused_is_found() {
    let broker = EmbeddedBroker::start().unwrap();
    let publisher = Publisher::new(&kafka(&broker)).unwrap();
    let event = Outgoing {
        topic: "late",
        value: Some(b"x"),
        ..Outgoing::default()
    };
    assert_eq!(
        publish(&publisher, &event),
        Err(PublishError::UnknownTopic("late".into()))
    );
    broker.create_topic("late", 1).unwrap();
    let found = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        publish(&publisher, &event).is_ok()
    });
    assert!(found);
}

#[test]
fn an_event_above_the_size_of_the_producer_is_too_large() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let publisher = Publisher::new(&kafka(&broker)).unwrap();
    let value = vec![b'x'; 1_100_000];
    let event = Outgoing {
        topic: "events",
        value: Some(&value),
        ..Outgoing::default()
    };
    assert!(matches!(
        publish(&publisher, &event),
        Err(PublishError::TooLarge(_))
    ));
}

#[test]
fn a_producer_that_failed_for_good_is_replaced() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let publisher = Publisher::new(&kafka(&broker)).unwrap();
    let event = Outgoing {
        topic: "events",
        value: Some(b"x"),
        ..Outgoing::default()
    };
    publish(&publisher, &event).unwrap();
    let native = publisher.running().client().native_ptr();
    // SAFETY: the producer is alive, and the text is copied.
    unsafe {
        rdkafka_sys::rd_kafka_test_fatal_error(
            native,
            rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            c"made up by a test".as_ptr(),
        );
    }
    let recovered = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        publish(&publisher, &event).is_ok() && publisher.running().client().native_ptr() != native
    });
    assert!(recovered);
}
