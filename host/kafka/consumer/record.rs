//! One record as librdkafka holds it: read where it lies, never copied here. It must not know who reads it.

#![allow(
    unsafe_code,
    reason = "header names may not be UTF-8, and are only in the C interface as bytes"
)]

use std::ffi::{CStr, c_void};

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use crate::delivery::offsets::Offset;

/// One record, in librdkafka's memory until it is dropped.
#[derive(Debug)]
pub struct Record<'a> {
    pub(in crate::kafka) message: BorrowedMessage<'a>,
}

impl Record<'_> {
    /// Equal for records of one topic, as long as the consumer lives; cheaper than its name.
    #[must_use]
    #[inline]
    pub fn topic_token(&self) -> usize {
        self.message.topic_ptr() as usize
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    /// The partition.
    #[must_use]
    #[inline]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// The offset.
    #[must_use]
    #[inline]
    pub fn offset(&self) -> Offset {
        Offset(self.message.offset())
    }

    /// Record time in milliseconds since the Unix epoch.
    #[must_use]
    #[inline]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp().to_millis()
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    /// The value; none is a tombstone.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        self.message.payload()
    }

    /// Calls `each` with every header: the bytes of its name, and its value unless it is null.
    pub fn for_each_header(&self, mut each: impl FnMut(&[u8], Option<&[u8]>)) {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message is alive, and the list that is returned belongs to it.
        let answer = unsafe { sys::rd_kafka_message_headers(self.message.ptr(), &raw mut headers) };
        if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return;
        }
        for index in 0.. {
            let (mut name, mut value, mut len) =
                (std::ptr::null(), std::ptr::null::<c_void>(), 0_usize);
            // SAFETY: the list lives as long as the message; past its end the call answers an error. The
            // name is a C string and the value has `len` bytes, both owned by the list.
            unsafe {
                let answer = sys::rd_kafka_header_get_all(
                    headers,
                    index,
                    &raw mut name,
                    &raw mut value,
                    &raw mut len,
                );
                if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                let bytes =
                    (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), len));
                each(CStr::from_ptr(name).to_bytes(), bytes);
            }
        }
    }
}
