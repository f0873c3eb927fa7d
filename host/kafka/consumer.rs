//! A member of a consumer group: one thread polls it, and rebalances are told to a [`Membership`] while it
//! does. Offsets are committed by hand and never stored automatically.
//!
//! It must not know batches, lanes or plugins.

#![allow(
    unsafe_code,
    reason = "watermarks and answers to commits are only in the C interface"
)]

mod context;
pub(super) mod lists;
mod record;

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::Offset as ClientOffset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka_sys as sys;

use self::context::{Context, commit_and_wait};
use self::lists::names;
pub use self::record::Record;
use super::security::refused;
use super::tokens::Keeper;
use super::{KafkaError, client_with_defaults, log_error};
use crate::config;
use crate::delivery::offsets::Offset;

/// Settings of the data path that operators may change; `make bench` compares consumers with the same.
pub const DEFAULTS: [(&str, &str); 9] = [
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
    // How soon new partitions are read, and new topics that a pattern matches. One small question each time.
    (TOPICS_REFRESH, "30000"),
];

/// How often a client asks which topics and partitions there are.
const TOPICS_REFRESH: &str = "topic.metadata.refresh.interval.ms";

/// Topics are not asked for more often than this, so that a slip in a property does not load the cluster.
const TOPICS_REFRESH_MIN: Duration = Duration::from_millis(100);

/// How often it is looked which topics and partitions there are; none where the operator turned it off.
#[must_use]
pub fn topics_refresh(kafka: &config::Kafka) -> Option<Duration> {
    let settings = client_with_defaults(kafka, &DEFAULTS);
    // What is no number is refused by librdkafka when the group joins.
    let ms = settings.get(TOPICS_REFRESH)?.parse().ok()?;
    Some(Duration::from_millis(ms).max(TOPICS_REFRESH_MIN))
}

/// How long a member may be away before another one may have its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberLimits {
    /// How long the whole process may stand still: a session, less the time since the last heartbeat before.
    pub pause_ms: u64,
    /// How long the consumer may go without a poll.
    pub max_poll_ms: u64,
}

impl MemberLimits {
    /// None: nobody else is there to have the partitions.
    pub const FOR_EVER: Self = Self {
        pause_ms: u64::MAX,
        max_poll_ms: u64::MAX,
    };

    /// As the properties say.
    #[must_use]
    pub fn new(kafka: &config::Kafka) -> Self {
        let settings = client_with_defaults(kafka, &DEFAULTS);
        // What is no number is refused by librdkafka when the group joins.
        let ms = |name| settings.get(name).and_then(|ms| ms.parse().ok());
        let session_ms: u64 = ms("session.timeout.ms").unwrap_or(45_000);
        let heartbeat_ms: u64 = ms("heartbeat.interval.ms").unwrap_or(3_000);
        Self {
            pause_ms: session_ms.saturating_sub(heartbeat_ms).max(session_ms / 2),
            max_poll_ms: ms("max.poll.interval.ms").unwrap_or(300_000),
        }
    }
}

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
    /// What was committed with it, by whichever tool; empty when nothing was.
    pub metadata: Vec<u8>,
    /// The oldest offset that the broker still has.
    pub oldest: Offset,
    /// The offset after the newest record.
    pub newest: Offset,
}

/// An offset to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset after the last record that is done with.
    pub offset: Offset,
    /// Goes with it, at most 4 096 bytes; empty is nothing. A broker that takes less gets none.
    pub metadata: String,
}

/// Told of rebalances and commits, on the thread that polls.
pub trait Membership: Send + Sync + 'static {
    /// Partitions are assigned; answers where each begins, in the same order.
    fn assigned(&self, offered: &[Offered]) -> Vec<StartAt>;

    /// Partitions are taken away. Everything of them that can be finished is finished when this returns;
    /// it answers what may be committed. `lost` means that another member may have them already, and
    /// nothing can be committed any more.
    fn revoked(&self, partitions: &[(String, i32)], lost: bool) -> Vec<Commit>;

    /// The polling thread waits for a broker that may be well again in a moment, and is not dead.
    fn waits(&self);

    /// The broker has acknowledged these offsets as committed.
    fn committed(&self, offsets: &[(String, i32, Offset)]);

    /// A commit was refused. It is tried again with the next one.
    fn commit_failed(&self, reason: &str);
}

/// A member of a consumer group. It is polled and dropped on one thread.
pub struct GroupConsumer<M: Membership> {
    consumer: BaseConsumer<Context<M>>,
    topics: Vec<Arc<str>>,
    /// A batch that cannot be unpacked was told of. It is fetched again and again.
    told_of_packed: AtomicBool,
}

impl<M: Membership> Drop for GroupConsumer<M> {
    fn drop(&mut self) {
        // Leaving the group polls it to the end.
        self.context().leave();
    }
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
    /// The offset of a partition is not in its log any more: retention was faster, or the topic was made anew.
    /// Nothing more of that partition comes before [`GroupConsumer::rejoin`].
    OutOfRange(String),
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
        topics: &[Arc<str>],
        membership: M,
    ) -> Result<Self, KafkaError> {
        let mut settings = client_with_defaults(kafka, &DEFAULTS);
        settings
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Every assignment says where it begins. An offset that is not there any more is told to the group,
            // which must not go on as if nothing were missing.
            .set("auto.offset.reset", "error");
        // A producer's limit, which the consumer would warn about.
        settings.remove("message.max.bytes");
        let consumer: BaseConsumer<_> = settings
            .create_with_context(Context::new(membership, Keeper::of(kafka)?))
            .map_err(refused)?;
        let mut joined = Self {
            consumer,
            topics: Vec::new(),
            told_of_packed: AtomicBool::new(false),
        };
        joined.read_from(topics)?;
        Ok(joined)
    }

    /// Reads these topics from now on. Where they are not those of before, everything assigned is given up in order,
    /// told to the membership in later polls, and the group assigns anew. Without a topic it leaves the group. Says
    /// whether they are others.
    ///
    /// # Errors
    /// librdkafka has given up on the group.
    pub fn read_from(&mut self, topics: &[Arc<str>]) -> Result<bool, KafkaError> {
        if self.topics == topics {
            return Ok(false);
        }
        self.topics = topics.to_vec();
        if topics.is_empty() {
            // An empty subscription is refused.
            self.consumer.unsubscribe();
        } else {
            self.subscribe()?;
        }
        Ok(true)
    }

    fn subscribe(&self) -> Result<(), KafkaError> {
        let topics: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
        Ok(self.consumer.subscribe(&topics)?)
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

    /// Leaves the group and joins it again, because what was assigned must be thought lost. The assignment
    /// that follows begins at what is committed then.
    ///
    /// # Errors
    /// librdkafka has given up on the group.
    pub fn rejoin(&self) -> Result<(), KafkaError> {
        self.consumer.unsubscribe();
        self.subscribe()
    }

    /// Whether librdkafka knows the assignment to be lost. It knows before it says so in a poll, because the
    /// news queues behind records.
    pub fn assignment_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    /// The membership that was given.
    pub fn membership(&self) -> &M {
        self.context().membership()
    }

    /// Commits without waiting; [`Membership::committed`] hears of it.
    pub fn commit(&self, commits: &[Commit]) {
        let offsets = self.context().list(commits);
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
        } else {
            self.context().commit_asked();
        }
    }

    /// Whether a commit that was not waited for has no answer yet. librdkafka tries a commit again by itself, after a
    /// pause of random length, so that of two on their way the older one may be the last that the broker hears of.
    #[must_use]
    pub fn commit_under_way(&self) -> bool {
        self.context().commit_under_way()
    }

    /// Commits and waits for the broker's answer.
    pub fn commit_and_wait(&self, commits: &[Commit]) {
        commit_and_wait(&self.consumer, commits);
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

    /// The offset after the last record that was polled; none before the first of this assignment.
    pub fn position(&self, topic: &str, partition: i32) -> Option<Offset> {
        let list = names(&[(topic.to_owned(), partition)]);
        // SAFETY: the client and the list live beyond the call, which only writes offsets into the list.
        let answer =
            unsafe { sys::rd_kafka_position(self.consumer.client().native_ptr(), list.ptr()) };
        if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        match list.elements().first()?.offset() {
            ClientOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        }
    }

    /// Goes on at another offset. Records that were fetched before do not come any more.
    ///
    /// # Errors
    /// The partition is not assigned any more.
    pub fn seek(&self, topic: &str, partition: i32, to: Offset) -> Result<(), KafkaError> {
        let to = ClientOffset::Offset(to.0);
        // No time: the fetcher takes it up by itself, and polls must not wait for it.
        Ok(self.consumer.seek(topic, partition, to, Duration::ZERO)?)
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
            let (code, reason) = match self.consumer.client().fatal_error() {
                Some((code, reason)) => (code, reason),
                None => (*code, code.to_string()),
            };
            return Polled::Fatal(match code {
                RDKafkaErrorCode::FencedInstanceId => {
                    "another member of the group has joined with the \
                    same group.instance.id; give each host its own in kafka.properties"
                        .to_owned()
                }
                _ => format!("the consumer cannot go on: {reason}"),
            });
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => {
                return Polled::OutOfRange(error.to_string());
            }
            Some(
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed),
            ) => {
                return Polled::Fatal(format!(
                    "the cluster does not let this group read ({code}); check its access rules"
                ));
            }
            Some(RDKafkaErrorCode::BadCompression)
                if !self.told_of_packed.swap(true, Ordering::Relaxed) =>
            {
                tracing::warn!(
                    "a compressed batch cannot be unpacked, and its partition waits: it is damaged, or larger than half of \
                     receive.message.max.bytes once it is unpacked; raise that in kafka.properties, or move the group's \
                     offset past the batch"
                );
            }
            _ => {}
        }
        // librdkafka goes on by itself after every other error.
        log_error(error, "while consuming");
        Polled::Nothing
    }
}

#[cfg(test)]
mod tests;
