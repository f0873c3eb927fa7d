//! Records byte for byte: names of headers that are not text too, which rdkafka neither writes nor reads.

#![allow(
    unsafe_code,
    reason = "rdkafka takes the names of headers as text, and Kafka does not promise that they are"
)]

use std::ffi::{CStr, CString, c_void};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};
use rdkafka_sys::{self as sys, rd_kafka_vtype_t as Kind};

use super::topic::Topic;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A header: the bytes of its name, and its value unless it is null.
pub(crate) type Header = (Vec<u8>, Option<Vec<u8>>);

/// A record: absent and empty are different things throughout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
    pub(crate) timestamp_ms: i64,
}

impl Raw {
    pub(crate) fn new(key: Option<&[u8]>, value: Option<&[u8]>, timestamp_ms: i64) -> Self {
        Self {
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
            timestamp_ms,
        }
    }

    pub(crate) fn header(mut self, name: &[u8], value: Option<&[u8]>) -> Self {
        self.headers
            .push((name.to_vec(), value.map(<[u8]>::to_vec)));
        self
    }

    /// The value of the first header of this name, as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let mut named = self
            .headers
            .iter()
            .filter(|(each, _)| each == name.as_bytes());
        let (_, value) = named.next()?;
        Some(String::from_utf8(value.clone()?).expect("the header is text"))
    }
}

/// Writes the records to partition 0 and waits until they are acknowledged.
#[track_caller]
pub(crate) fn produce(topic: &Topic, records: &[Raw]) {
    produce_to(topic, 0, records);
}

/// The same to any partition, with a client that has not seen the topic before.
#[track_caller]
pub(crate) fn produce_to(topic: &Topic, partition: i32, records: &[Raw]) {
    let written = write(topic, partition, records);
    assert_eq!(written, records.len() as i64, "a record was refused");
}

/// Whether the broker takes this record; it is written when it does.
pub(crate) fn is_taken(topic: &Topic, record: &Raw) -> bool {
    write(topic, 0, std::slice::from_ref(record)) == 1
}

/// Sends the records, and says how many the broker took.
fn write(topic: &Topic, partition: i32, records: &[Raw]) -> i64 {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "100000000")
        .create()
        .expect("a producer can be made");
    let before = topic.end_offsets()[&partition];
    let name = CString::new(topic.name()).expect("a topic");
    let pointer = |bytes: &Option<Vec<u8>>| -> (*const c_void, usize) {
        let bytes = bytes.as_ref();
        (
            bytes.map_or(std::ptr::null(), |bytes| bytes.as_ptr().cast()),
            bytes.map_or(0, Vec::len),
        )
    };
    for record in records {
        let ((key, key_len), (value, value_len)) = (pointer(&record.key), pointer(&record.value));
        // SAFETY: every pointer is valid during the calls, which copy; the headers belong to librdkafka
        // once the record is queued, and the test ends where it is not.
        unsafe {
            let headers = sys::rd_kafka_headers_new(record.headers.len());
            for (name, value) in &record.headers {
                let (value, len) = pointer(value);
                let name_len = name.len() as isize;
                sys::rd_kafka_header_add(
                    headers,
                    name.as_ptr().cast(),
                    name_len,
                    value,
                    len as isize,
                );
            }
            let queued = sys::rd_kafka_producev(
                producer.client().native_ptr(),
                Kind::RD_KAFKA_VTYPE_TOPIC,
                name.as_ptr(),
                Kind::RD_KAFKA_VTYPE_PARTITION,
                partition,
                Kind::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                Kind::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                Kind::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                Kind::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp_ms,
                Kind::RD_KAFKA_VTYPE_HEADERS,
                headers,
                Kind::RD_KAFKA_VTYPE_END,
            );
            assert_eq!(queued, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        }
    }
    producer.flush(TIMEOUT).expect("everything is answered");
    topic.end_offsets()[&partition] - before
}

/// Every record of partition 0 up to where it ends now.
pub(crate) fn read_all(topic: &Topic) -> Vec<Raw> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", topic.brokers())
        .set("group.id", "unused: nothing is committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .expect("a consumer can be made");
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic.name(), 0, Offset::Beginning)
        .expect("the offset is valid");
    reader.assign(&from).expect("it can be assigned");
    let mut found = Vec::new();
    loop {
        match reader.poll(TIMEOUT) {
            Some(Ok(message)) => found.push(raw(&message)),
            Some(Err(KafkaError::PartitionEOF(_))) => return found,
            Some(Err(error)) => panic!("{} cannot be read: {error}", topic.name()),
            None => panic!("{} was silent for {TIMEOUT:?}", topic.name()),
        }
    }
}

fn raw(message: &BorrowedMessage<'_>) -> Raw {
    let mut headers = Vec::new();
    // SAFETY: the message outlives the list that it owns; names are C strings, and values have the length
    // given.
    unsafe {
        let mut list = std::ptr::null_mut();
        if sys::rd_kafka_message_headers(message.ptr(), &raw mut list)
            == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            for at in 0..sys::rd_kafka_header_cnt(list) {
                let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0_usize);
                sys::rd_kafka_header_get_all(list, at, &raw mut name, &raw mut value, &raw mut len);
                let bytes = || std::slice::from_raw_parts(value.cast::<u8>(), len).to_vec();
                let name = CStr::from_ptr(name).to_bytes().to_vec();
                headers.push((name, (!value.is_null()).then(bytes)));
            }
        }
    }
    Raw {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
    }
}
