//! One call that hands a record to librdkafka, with everything that a record can have, and what it takes along.
//!
//! rdkafka's own wrapper takes only headers whose names are text, and allocates for each record. It must not know what
//! a record is for.

#![allow(
    unsafe_code,
    reason = "rdkafka takes the names of headers as text, and Kafka does not promise that they are"
)]

use std::ffi::{CStr, c_void};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka_sys::{self as sys, rd_kafka_vtype_t as Kind};

/// `RD_KAFKA_PARTITION_UA`: the partitioner chooses.
const PARTITION_BY_KEY: i32 = -1;

/// A record as it is handed over. All of it is copied.
pub(super) struct Call<'a> {
    pub(super) topic: &'a CStr,
    /// None lets the partitioner choose.
    pub(super) partition: Option<i32>,
    /// Null and empty are different things.
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// None takes the time of producing.
    pub(super) timestamp_ms: Option<i64>,
    /// Comes back with the delivery, whatever becomes of the record.
    pub(super) opaque: *mut c_void,
}

/// Hands the record over. The delivery of a record that was not taken never comes.
///
/// # Errors
/// librdkafka's reason for not taking it.
pub(super) fn produce(
    client: *mut sys::rd_kafka_t,
    call: &Call<'_>,
    headers: Headers,
) -> Result<(), Code> {
    let arguments = [
        argument(Kind::RD_KAFKA_VTYPE_TOPIC, |u| u.cstr = call.topic.as_ptr()),
        argument(Kind::RD_KAFKA_VTYPE_PARTITION, |u| {
            u.i32_ = call.partition.unwrap_or(PARTITION_BY_KEY);
        }),
        argument(Kind::RD_KAFKA_VTYPE_MSGFLAGS, |u| {
            u.i = sys::RD_KAFKA_MSG_F_COPY;
        }),
        argument(Kind::RD_KAFKA_VTYPE_KEY, |u| u.mem = bytes(call.key)),
        argument(Kind::RD_KAFKA_VTYPE_VALUE, |u| u.mem = bytes(call.value)),
        argument(Kind::RD_KAFKA_VTYPE_OPAQUE, |u| u.ptr = call.opaque),
        argument(Kind::RD_KAFKA_VTYPE_TIMESTAMP, |u| {
            u.i64_ = call.timestamp_ms.unwrap_or(0);
        }),
        argument(Kind::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers.0),
    ];
    // SAFETY: whoever has the pointer keeps the client alive; every other pointer is valid during the call, which
    // copies what it is given, and takes the headers over only when it succeeds.
    let error = unsafe { sys::rd_kafka_produceva(client, arguments.as_ptr(), arguments.len()) };
    if error.is_null() {
        headers.given_away();
        return Ok(());
    }
    // SAFETY: a failed call returns an error that belongs to the caller.
    let (code, fatal) = unsafe {
        let read = (
            sys::rd_kafka_error_code(error),
            sys::rd_kafka_error_is_fatal(error),
        );
        sys::rd_kafka_error_destroy(error);
        read
    };
    // The code says what once made the client give up, and the flag that it has.
    Err(if fatal == 0 { code.into() } else { Code::Fatal })
}

/// One argument of a produce call.
fn argument(
    kind: Kind,
    set: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1),
) -> sys::rd_kafka_vu_t {
    let mut argument = sys::rd_kafka_vu_t {
        vtype: kind,
        u: sys::rd_kafka_vu_s__bindgen_ty_1 { _pad: [0; 64] },
    };
    set(&mut argument.u);
    argument
}

/// Bytes as librdkafka takes them: null and empty are different things.
fn bytes(bytes: Option<&[u8]>) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
        ptr: pointer(bytes).cast_mut(),
        size: bytes.map_or(0, <[u8]>::len),
    }
}

/// Of an empty slice it is not null either.
fn pointer(bytes: Option<&[u8]>) -> *const c_void {
    bytes.map_or(std::ptr::null(), |bytes| bytes.as_ptr().cast())
}

/// Headers in librdkafka's memory; null where there are none.
pub(super) struct Headers(*mut sys::rd_kafka_headers_t);

impl Headers {
    /// Copies names and values, in their order.
    pub(super) fn of<'a>(
        count: usize,
        headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Self {
        if count == 0 {
            return Self(std::ptr::null_mut());
        }
        // SAFETY: the list is made here and belongs to the result; names and values are copied with the
        // lengths given, so a name may hold any byte.
        unsafe {
            let list = sys::rd_kafka_headers_new(count);
            for (name, value) in headers {
                sys::rd_kafka_header_add(
                    list,
                    name.as_ptr().cast(),
                    name.len() as isize,
                    pointer(value),
                    value.map_or(0, <[u8]>::len) as isize,
                );
            }
            Self(list)
        }
    }

    /// They belong to librdkafka now.
    fn given_away(mut self) {
        self.0 = std::ptr::null_mut();
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list was made by `of` and nobody took it over.
            unsafe { sys::rd_kafka_headers_destroy(self.0) };
        }
    }
}
