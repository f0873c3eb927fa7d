//! What this client may do with topics and groups, as the cluster itself says it. It must not know who needs which
//! right.

#![allow(
    unsafe_code,
    reason = "rdkafka has no way to ask for the operations that a client is authorised for"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use rdkafka_sys::{self as sys, rd_kafka_admin_op_t as Operation};

use super::topics::{Topics, plainly};
use super::{KafkaError, coordinator};

/// What a client may do with one topic or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Fetch from a topic; join a group and commit.
    pub read: bool,
    /// Produce to a topic.
    pub write: bool,
}

/// By name; none where the cluster does not say, as brokers before 2.3 do not.
pub type RightsByName = BTreeMap<String, Option<Rights>>;

/// Beyond its own limit of time, what librdkafka may take to tell that it is over.
const SPARE: Duration = Duration::from_secs(1);

impl Topics {
    /// What this client may do with each of these topics. One that the cluster does not show may nothing.
    ///
    /// # Errors
    /// [`KafkaError::Refused`] when the cluster does not say.
    pub fn rights_to_topics(&self, names: &[String]) -> Result<RightsByName, KafkaError> {
        let strings = Strings::new(names);
        let event = self.ask_rights(
            Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            "say what this client may do with topics",
            |client, options, queue| {
                let mut names = strings.pointers();
                // SAFETY: the names live until the call returns, which copies them; the collection is destroyed once.
                unsafe {
                    let topics = sys::rd_kafka_TopicCollection_of_topic_names(
                        names.as_mut_ptr(),
                        names.len(),
                    );
                    sys::rd_kafka_DescribeTopics(client, topics, options, queue);
                    sys::rd_kafka_TopicCollection_destroy(topics);
                }
            },
        )?;
        // SAFETY: the event is of this kind and lives until the end of this function, and everything below is its own.
        let rights = unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            slice(topics, count)
                .iter()
                .map(|topic| {
                    let mut count = 0;
                    let all = sys::rd_kafka_TopicDescription_authorized_operations(
                        *topic,
                        &raw mut count,
                    );
                    let error = sys::rd_kafka_TopicDescription_error(*topic);
                    let name = sys::rd_kafka_TopicDescription_name(*topic);
                    (text(name), rights(error, all, count).unwrap_or_default())
                })
                .collect()
        };
        Ok(rights)
    }

    /// What this client may do with each of these groups, whether or not they are there yet. The first who asks for a
    /// group has the cluster make what it keeps groups in, and is told nothing until that can be read: the question is
    /// repeated for as long as one may take.
    ///
    /// # Errors
    /// As of [`Topics::rights_to_topics`].
    pub fn rights_to_groups(&self, ids: &[String]) -> Result<RightsByName, KafkaError> {
        let until = Instant::now() + self.timeout();
        let begins = |told: &Result<Vec<(String, Told)>, _>| {
            let mut told = told.iter().flatten().map(|(_, told)| told);
            told.any(|told| told.is_err_and(coordinator::has_yet_to_begin))
        };
        let told = coordinator::asked(until, begins, || self.told_of_groups(ids))?;
        let told = told.into_iter();
        Ok(told
            .map(|(id, told)| (id, told.unwrap_or_default()))
            .collect())
    }

    fn told_of_groups(&self, ids: &[String]) -> Result<Vec<(String, Told)>, KafkaError> {
        let strings = Strings::new(ids);
        let event = self.ask_rights(
            Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            "say what this client may do with groups",
            |client, options, queue| {
                let mut ids = strings.pointers();
                // SAFETY: the names live until the call returns, which copies them.
                unsafe {
                    sys::rd_kafka_DescribeConsumerGroups(
                        client,
                        ids.as_mut_ptr(),
                        ids.len(),
                        options,
                        queue,
                    );
                }
            },
        )?;
        // SAFETY: as above.
        let rights = unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.0);
            let mut count = 0;
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
            slice(groups, count)
                .iter()
                .map(|group| {
                    let mut count = 0;
                    let all = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(
                        *group,
                        &raw mut count,
                    );
                    let error = sys::rd_kafka_ConsumerGroupDescription_error(*group);
                    let id = sys::rd_kafka_ConsumerGroupDescription_group_id(*group);
                    (text(id), rights(error, all, count))
                })
                .collect()
        };
        Ok(rights)
    }

    fn ask_rights(
        &self,
        operation: Operation,
        action: &str,
        send: impl FnOnce(
            *mut sys::rd_kafka_t,
            *const sys::rd_kafka_AdminOptions_t,
            *mut sys::rd_kafka_queue_t,
        ),
    ) -> Result<Event, KafkaError> {
        let refused = |code: Code| KafkaError::Refused {
            action: action.to_owned(),
            reason: plainly(code),
        };
        let client = self.client().client().native_ptr();
        let timeout_ms = |time: Duration| c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client outlives what is made of it here, and each is destroyed once: options and queue by their
        // guards, the event by its own, the error where there is one.
        unsafe {
            let options = Options(sys::rd_kafka_AdminOptions_new(client, operation));
            let queue = Queue(sys::rd_kafka_queue_new(client));
            let mut why = [0; 256];
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options.0,
                timeout_ms(self.timeout()),
                why.as_mut_ptr(),
                why.len(),
            );
            let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
            if !error.is_null() {
                let code = Code::from(sys::rd_kafka_error_code(error));
                sys::rd_kafka_error_destroy(error);
                return Err(refused(code));
            }
            send(client, options.0, queue.0);
            let event = Event(sys::rd_kafka_queue_poll(
                queue.0,
                timeout_ms(self.timeout() + SPARE),
            ));
            if event.0.is_null() {
                return Err(refused(Code::OperationTimedOut));
            }
            match Code::from(sys::rd_kafka_event_error(event.0)) {
                Code::NoError => Ok(event),
                code => Err(refused(code)),
            }
        }
    }
}

/// What the cluster says of one topic or group; none where it says nothing of rights.
type Told = Result<Option<Rights>, Code>;

/// Reads what the cluster says of one topic or group.
///
/// # Safety
/// `error` is null or lives; `operations` is null, or `count` of them live.
unsafe fn rights(
    error: *const sys::rd_kafka_error_t,
    operations: *const sys::rd_kafka_AclOperation_t,
    count: usize,
) -> Told {
    // SAFETY: by the caller.
    let code = match error.is_null() {
        true => Code::NoError,
        false => Code::from(unsafe { sys::rd_kafka_error_code(error) }),
    };
    match code {
        Code::NoError if operations.is_null() => Ok(None),
        Code::NoError => {
            // A broker may name an operation that this library does not know, so they are read as numbers.
            // SAFETY: by the caller; an operation is a C enumeration, of the size of an int.
            let all = unsafe { slice(operations.cast::<c_int>(), count) };
            let may = |one: sys::rd_kafka_AclOperation_t| all.contains(&(one as c_int));
            Ok(Some(Rights {
                read: may(sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ),
                write: may(sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE),
            }))
        }
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed => Ok(Some(Rights {
            read: false,
            write: false,
        })),
        code => {
            tracing::debug!(%code, "the cluster does not say what this client may do");
            Err(code)
        }
    }
}

/// # Safety
/// `name` is null, or a string that lives.
unsafe fn text(name: *const c_char) -> String {
    match name.is_null() {
        true => String::new(),
        // SAFETY: by the caller.
        false => unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned(),
    }
}

/// # Safety
/// `first` is null, or the first of `count` that live for as long as the slice is used.
unsafe fn slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    match first.is_null() {
        true => &[],
        // SAFETY: by the caller.
        false => unsafe { std::slice::from_raw_parts(first, count) },
    }
}

/// Names as C has them.
struct Strings(Vec<CString>);

impl Strings {
    /// A name with a zero in it is none of a topic or group, and is asked for as an empty one.
    fn new(names: &[String]) -> Self {
        let names = names.iter();
        Self(
            names
                .map(|name| CString::new(name.as_str()).unwrap_or_default())
                .collect(),
        )
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.0.iter().map(|name| name.as_ptr()).collect()
    }
}

struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: it was made by librdkafka and is destroyed here only.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) };
    }
}

struct Queue(*mut sys::rd_kafka_queue_t);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: as of the options.
        unsafe { sys::rd_kafka_queue_destroy(self.0) };
    }
}

struct Event(*mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: as of the options.
            unsafe { sys::rd_kafka_event_destroy(self.0) };
        }
    }
}
