//! A member of a consumer group: one thread polls it, and rebalances are told to a [`Membership`] while it
//! does. Offsets are committed by hand and never stored automatically.
//!
//! It must not know batches, lanes or plugins.

#![allow(
    unsafe_code,
    reason = "header names may not be UTF-8, and watermarks and answers to commits are only in the C interface"
)]

mod lists;

use std::ffi::{CStr, CString, c_void};
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message, Offset as ClientOffset, TopicPartitionList};
use rdkafka_sys as sys;

use self::lists::{list, names};
use super::{KafkaError, client_with_defaults, log, log_error};
use crate::config;
use crate::delivery::offsets::Offset;

/// How long one question to the broker during an assignment may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a question is asked again before the assignment is given up. Half a minute in all, within
/// every default of `max.poll.interval.ms`.
const QUESTION_TRIES: u32 = 6;

/// Settings of the data path that operators may change; `make bench` compares consumers with the same.
pub const DEFAULTS: [(&str, &str); 8] = [
    // Once the local queue is full librdkafka sleeps this long; its default of a second halves throughput.
    ("fetch.queue.backoff.ms", "10"),
    // Bounds what is prefetched, by bytes and not by messages. A pause throws it away and fetches again.
    ("queued.max.messages.kbytes", "16384"),
    ("queued.min.messages", "1000000"),
    ("fetch.wait.max.ms", "100"),
    ("check.crcs", "true"),
    ("partition.assignment.strategy", "range,roundrobin"),
    ("session.timeout.ms", "45000"),
    ("max.poll.interval.ms", "300000"),
];

/// The offset at which consumption of a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAt(pub i64);

/// A partition offered by a rebalance, and what the broker knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The group's committed offset; none when there is none.
    pub committed: Option<Offset>,
    /// The oldest offset that the broker still has.
    pub oldest: Offset,
    /// The offset after the newest record.
    pub newest: Offset,
}

/// Told of rebalances and commits, on the thread that polls.
pub trait Membership: Send + Sync + 'static {
    /// Partitions are assigned; answers where each begins, in the same order.
    fn assigned(&self, offered: &[Offered]) -> Vec<StartAt>;

    /// Partitions are taken away. Everything of them that can be finished is finished when this returns;
    /// it answers what may be committed. `lost` means that another member may have them already, and
    /// nothing can be committed any more.
    fn revoked(&self, partitions: &[(String, i32)], lost: bool) -> Vec<(String, i32, Offset)>;

    /// The broker has acknowledged these offsets as committed.
    fn committed(&self, offsets: &[(String, i32, Offset)]);

    /// A commit was refused. It is tried again with the next one.
    fn commit_failed(&self, reason: &str);
}

/// A member of a consumer group. It is polled and dropped on one thread.
pub struct GroupConsumer<M: Membership> {
    consumer: BaseConsumer<Context<M>>,
}

impl<M: Membership> std::fmt::Debug for GroupConsumer<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupConsumer").finish_non_exhaustive()
    }
}

/// What a poll brought.
#[derive(Debug)]
pub enum Polled<'a> {
    /// A record.
    Record(Record<'a>),
    /// Nothing within the timeout.
    Nothing,
    /// The client cannot go on.
    Fatal(String),
}

impl<M: Membership> GroupConsumer<M> {
    /// Joins the group with these topics. Errors of the broker show later, in polls.
    ///
    /// # Errors
    /// librdkafka refused a property.
    pub fn join(
        kafka: &config::Kafka,
        group: &str,
        topics: &[&str],
        membership: M,
    ) -> Result<Self, KafkaError> {
        let mut settings = client_with_defaults(kafka, &DEFAULTS);
        settings
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Every assignment says where it begins; this is for an offset that retention has removed since.
            .set("auto.offset.reset", "earliest");
        // A producer's limit, which the consumer would warn about.
        settings.remove("message.max.bytes");
        let context = Context {
            membership,
            failed: Mutex::new(None),
        };
        let consumer: BaseConsumer<_> = settings
            .create_with_context(context)
            .map_err(KafkaError::Settings)?;
        consumer.subscribe(topics)?;
        Ok(Self { consumer })
    }

    /// Waits for the next record, and serves rebalances and commits meanwhile.
    #[inline]
    pub fn poll(&self, timeout: Duration) -> Polled<'_> {
        match self.consumer.poll(timeout) {
            Some(Ok(message)) => Polled::Record(Record { message }),
            Some(Err(error)) => self.failed(&error),
            None => match self.context().take_failure() {
                Some(failure) => Polled::Fatal(failure),
                None => Polled::Nothing,
            },
        }
    }

    /// The membership that was given.
    pub fn membership(&self) -> &M {
        &self.context().membership
    }

    /// Commits without waiting; [`Membership::committed`] hears of it.
    pub fn commit(&self, offsets: &[(String, i32, Offset)]) {
        let offsets = list(offsets);
        let client = self.consumer.client().native_ptr();
        // librdkafka answers an asynchronous commit only where a queue is named for the answer; with
        // `rd_kafka_commit`, which rdkafka calls, nobody would ever hear of it.
        // SAFETY: the client and the list live beyond the calls, the list is copied, and the queue is a
        // reference of its own that is given back.
        let answer = unsafe {
            let queue = sys::rd_kafka_queue_get_consumer(client);
            let answer = sys::rd_kafka_commit_queue(
                client,
                offsets.ptr(),
                queue,
                None,
                std::ptr::null_mut(),
            );
            sys::rd_kafka_queue_destroy(queue);
            answer
        };
        if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let code = RDKafkaErrorCode::from(answer);
            self.membership().commit_failed(&code.to_string());
        }
    }

    /// Commits and waits for the broker's answer.
    pub fn commit_and_wait(&self, offsets: &[(String, i32, Offset)]) {
        commit_and_wait(&self.consumer, offsets);
    }

    /// Stops fetching these partitions. What was prefetched of them is thrown away.
    ///
    /// # Errors
    /// A partition is not assigned any more.
    pub fn pause(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        Ok(self.consumer.pause(&names(partitions))?)
    }

    /// Fetches these partitions again.
    ///
    /// # Errors
    /// A partition is not assigned any more.
    pub fn resume(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        Ok(self.consumer.resume(&names(partitions))?)
    }

    /// The offset after the newest record, as of the last fetch; none before one.
    pub fn end_offset(&self, topic: &str, partition: i32) -> Option<Offset> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1_i64, -1_i64);
        // SAFETY: the client lives as long as `self`, the name is a C string, and both places are written
        // before the call returns.
        let answer = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(Offset(high))
    }

    fn context(&self) -> &Context<M> {
        self.consumer.context()
    }

    fn failed(&self, error: &ClientError) -> Polled<'_> {
        if let ClientError::MessageConsumptionFatal(code) = error {
            return Polled::Fatal(format!("the consumer cannot go on: {code}"));
        }
        // librdkafka goes on by itself after every other error.
        log_error(error, "while consuming");
        Polled::Nothing
    }
}

/// One record, in librdkafka's memory until it is dropped.
#[derive(Debug)]
pub struct Record<'a> {
    message: BorrowedMessage<'a>,
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

struct Context<M> {
    membership: M,
    /// Why an assignment could not be taken up.
    failed: Mutex<Option<String>>,
}

impl<M: Membership> Context<M> {
    fn take_failure(&self) -> Option<String> {
        self.failed.lock().ok()?.take()
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, offered: &TopicPartitionList) {
        let assign = || -> Result<(), ClientError> {
            let offered = questioned(|| known(consumer, offered))?;
            let starts = self.membership.assigned(&offered);
            let mut list = TopicPartitionList::with_capacity(starts.len());
            for (offered, start) in offered.iter().zip(starts) {
                let start = ClientOffset::Offset(start.0);
                list.add_partition_offset(&offered.topic, offered.partition, start)?;
            }
            // Pauses outlive a rebalance in librdkafka; a new assignment begins unpaused.
            match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_assign(&list)?,
                _ => consumer.assign(&list)?,
            }
            consumer.resume(&list)
        };
        if let Err(error) = assign()
            && let Ok(mut failed) = self.failed.lock()
        {
            *failed = Some(format!("an assignment could not be taken up: {error}"));
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, revoked: &TopicPartitionList) {
        let partitions: Vec<(String, i32)> = revoked
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        let lost = consumer.assignment_lost();
        let committable = self.membership.revoked(&partitions, lost);
        if !lost {
            commit_and_wait(consumer, &committable);
        }
        let unassigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(revoked),
            _ => consumer.unassign(),
        };
        if let Err(error) = unassigned {
            log_error(&error, "while giving partitions up");
        }
    }
}

impl<M: Membership> ClientContext for Context<M> {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        log_error(&error, reason);
    }
}

impl<M: Membership> ConsumerContext for Context<M> {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, partitions);
        } else {
            self.revoke(consumer, partitions);
        }
    }

    fn commit_callback(&self, result: Result<(), ClientError>, offsets: &TopicPartitionList) {
        let failed = |error: ClientError| match error.rdkafka_error_code() {
            // Nothing was stored since the last commit.
            Some(RDKafkaErrorCode::NoOffset) => {}
            _ => self.membership.commit_failed(&error.to_string()),
        };
        match result {
            Err(error) => failed(error),
            Ok(()) => {
                let mut committed = Vec::new();
                for element in offsets.elements() {
                    match (element.error(), element.offset()) {
                        (Ok(()), ClientOffset::Offset(offset)) => committed.push((
                            element.topic().to_owned(),
                            element.partition(),
                            Offset(offset),
                        )),
                        (Err(error), _) => failed(error),
                        _ => {}
                    }
                }
                self.membership.committed(&committed);
            }
        }
    }
}

fn commit_and_wait<M: Membership>(
    consumer: &BaseConsumer<Context<M>>,
    offsets: &[(String, i32, Offset)],
) {
    if offsets.is_empty() {
        return;
    }
    let membership = &consumer.context().membership;
    match consumer.commit(&list(offsets), CommitMode::Sync) {
        Ok(()) => membership.committed(offsets),
        Err(error) => membership.commit_failed(&error.to_string()),
    }
}

/// Asks again after a failure, because a group often moves just when its coordinator does.
fn questioned<T>(ask: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut tries = 1;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if tries == QUESTION_TRIES => return Err(error),
            Err(error) => log_error(&error, "while taking partitions up; asking again"),
        }
        tries += 1;
    }
}

fn known<M: Membership>(
    consumer: &BaseConsumer<Context<M>>,
    offered: &TopicPartitionList,
) -> Result<Vec<Offered>, ClientError> {
    if offered.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(offered.clone(), QUESTION_TIMEOUT)?;
    let mut known = Vec::with_capacity(offered.count());
    for element in committed.elements() {
        element.error()?;
        let (topic, partition) = (element.topic().to_owned(), element.partition());
        let (oldest, newest) = consumer.fetch_watermarks(&topic, partition, QUESTION_TIMEOUT)?;
        let committed = match element.offset() {
            ClientOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        };
        known.push(Offered {
            topic,
            partition,
            committed,
            oldest: Offset(oldest),
            newest: Offset(newest),
        });
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
