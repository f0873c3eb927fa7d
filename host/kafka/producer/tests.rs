//! What the group's producer writes, read back from the embedded broker byte for byte.

use std::ffi::CStr;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::*;
use crate::kafka::client;
use crate::kafka::embedded::EmbeddedBroker;

type Header = (Vec<u8>, Option<Vec<u8>>);

fn kafka(broker: &EmbeddedBroker) -> config::Kafka {
    config::Kafka::at(broker.bootstrap_servers())
}

fn producer(broker: &EmbeddedBroker) -> (GroupProducer, Receiver<Delivery>) {
    let (deliver, deliveries) = bounded(100);
    (
        GroupProducer::start(&kafka(broker), deliver).unwrap(),
        deliveries,
    )
}

fn delivered(deliveries: &Receiver<Delivery>) -> Delivery {
    deliveries
        .recv_timeout(Duration::from_secs(20))
        .expect("a delivery in time")
}

fn record(headers: &[(&[u8], Option<&[u8]>)]) -> OutgoingRecord {
    OutgoingRecord {
        topic: "events".to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
            .collect(),
        ..OutgoingRecord::default()
    }
}

/// The headers of the record at an offset, as they lie in librdkafka's memory.
fn headers_at(broker: &EmbeddedBroker, offset: i64) -> Vec<Header> {
    let consumer: BaseConsumer = client(&kafka(broker))
        .set("group.id", "unused")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("events", 0, Offset::Offset(offset))
        .unwrap();
    consumer.assign(&from).unwrap();
    let message = consumer
        .poll(Duration::from_secs(20))
        .expect("a record in time")
        .unwrap();
    assert_eq!(message.offset(), offset);
    let mut found = Vec::new();
    // SAFETY: the message outlives the list that it owns; names are C strings, and values have the length
    // given.
    unsafe {
        let mut list = std::ptr::null_mut();
        sys::rd_kafka_message_headers(message.ptr(), &raw mut list);
        let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0_usize);
        let mut get = |at| {
            sys::rd_kafka_header_get_all(list, at, &raw mut name, &raw mut value, &raw mut len);
            (name, value, len)
        };
        for at in 0..sys::rd_kafka_header_cnt(list) {
            let (name, value, len) = get(at);
            let bytes = || std::slice::from_raw_parts(value.cast::<u8>(), len).to_vec();
            found.push((
                CStr::from_ptr(name).to_bytes().to_vec(),
                (!value.is_null()).then(bytes),
            ));
        }
    }
    found
}

#[test]
fn header_names_and_values_are_written_byte_for_byte() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let (producer, deliveries) = producer(&broker);
    let written = record(&[
        (b"\xff\xfe name", Some(b"\x80\x00\xff")),
        (b"twice", Some(b"1")),
        (b"twice", None),
        (b"empty", Some(b"")),
        (b"", Some(b"no name")),
        ("naïve".as_bytes(), Some(b"text")),
    ]);
    producer.send(7, &written).unwrap();
    assert_eq!(
        delivered(&deliveries),
        Delivery {
            token: 7,
            result: Ok(())
        }
    );
    assert_eq!(headers_at(&broker, 0), written.headers);
}

/// Kafka allows it. librdkafka hands names out as C strings, so the host sees such a name up to the zero
/// byte, whoever wrote it; the value is whole.
#[test]
fn a_name_with_a_zero_byte_is_written_whole_and_read_up_to_it() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let (producer, deliveries) = producer(&broker);
    producer
        .send(1, &record(&[(b"be\0fore", Some(b"va\0lue"))]))
        .unwrap();
    assert_eq!(delivered(&deliveries).result, Ok(()));
    assert_eq!(
        headers_at(&broker, 0),
        [(b"be".to_vec(), Some(b"va\0lue".to_vec()))]
    );
}

#[test]
fn a_thousand_headers_arrive_in_their_order() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let (producer, deliveries) = producer(&broker);
    let mut many = record(&[]);
    many.headers = (0..1_000_u32)
        .map(|n| {
            (
                n.to_be_bytes().map(|byte| byte | 0x80).to_vec(),
                Some(n.to_string().into_bytes()),
            )
        })
        .collect();
    producer.send(1, &many).unwrap();
    assert_eq!(delivered(&deliveries).result, Ok(()));
    assert_eq!(headers_at(&broker, 0), many.headers);
}

#[test]
fn a_producer_that_failed_for_good_hands_its_records_back_and_is_replaced() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic("events", 1).unwrap();
    let mut kafka = kafka(&broker);
    // Longer than the test: what is sent is still in the queue when the producer fails.
    kafka
        .properties
        .insert("linger.ms".to_owned(), "20000".to_owned());
    let (deliver, deliveries) = bounded(100);
    let mut producer = GroupProducer::start(&kafka, deliver).unwrap();
    producer.send(1, &record(&[])).unwrap();
    let reason = c"as if sequence numbers had been lost";
    // SAFETY: the client is alive and the reason is a C string, which is copied.
    unsafe {
        sys::rd_kafka_test_fatal_error(
            producer.producer.client().native_ptr(),
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            reason.as_ptr(),
        );
    }
    assert!(matches!(
        producer.send(2, &record(&[])),
        Err(SendFailure::Refused(_))
    ));
    assert!(producer.given_up());
    producer.hand_back();
    let back = delivered(&deliveries);
    assert!(
        matches!(
            back,
            Delivery {
                token: 1,
                result: Err(SendFailure::Refused(_))
            }
        ),
        "{back:?}"
    );
    producer.settings.set("linger.ms", "0");
    producer.replace().unwrap();
    assert!(!producer.given_up());
    producer.send(3, &record(&[])).unwrap();
    assert_eq!(
        delivered(&deliveries),
        Delivery {
            token: 3,
            result: Ok(())
        }
    );
}
