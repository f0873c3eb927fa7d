//! What librdkafka calls while it is polled: rebalances and answers to commits, told to the [`Membership`].
//! It must not know what a partition is used for.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as ClientOffset, TopicPartitionList};

use super::lists::{list, metadata};
use super::{Commit, Membership, Offered};
use crate::delivery::offsets::Offset;
use crate::kafka::tokens::{self, Keeper};
use crate::kafka::{coordinator, log, log_error};

/// How long one question to the broker during an assignment may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a question is asked again and again before the assignment is given up: within every default of
/// `max.poll.interval.ms`, and longer than a coordinator takes to move.
const QUESTION_TIME: Duration = Duration::from_secs(30);

/// A commit without an answer for so long counts as answered: longer than librdkafka tries a request, or keeps one for a
/// coordinator that is away. Commits must not end for ever with an answer that was lost.
const COMMIT_TIMEOUT: Duration = Duration::from_mins(2);

/// The consumer's ears.
pub(super) struct Context<M> {
    membership: M,
    /// Why an assignment could not be taken up.
    failed: Mutex<Option<String>>,
    /// The broker takes less metadata than Kafka's default; commits go without it.
    metadata_refused: AtomicBool,
    /// When the commit was asked for that has no answer yet.
    commit_asked: Mutex<Option<Instant>>,
    /// Nothing more is taken up.
    leaving: AtomicBool,
    tokens: Option<Arc<Keeper>>,
}

impl<M: Membership> Context<M> {
    pub(super) fn new(membership: M, tokens: Option<Arc<Keeper>>) -> Self {
        Self {
            membership,
            failed: Mutex::new(None),
            metadata_refused: AtomicBool::new(false),
            commit_asked: Mutex::new(None),
            leaving: AtomicBool::new(false),
            tokens,
        }
    }

    pub(super) fn membership(&self) -> &M {
        &self.membership
    }

    /// Commits as librdkafka wants them.
    pub(super) fn list(&self, commits: &[Commit]) -> TopicPartitionList {
        list(commits, !self.metadata_refused.load(Ordering::Relaxed))
    }

    /// Whether a commit was refused for its metadata, which is left out from now on.
    fn refuses_metadata(&self, error: &ClientError) -> bool {
        let refused = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetMetadataTooLarge);
        if refused && !self.metadata_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the broker takes less than 4096 bytes with a commit (offset.metadata.max.bytes); what is \
                 settled above a commit is not written there any more, and runs again when another host \
                 takes over"
            );
        }
        refused
    }

    /// A commit is under way from now on.
    pub(super) fn commit_asked(&self) {
        *self.asked() = Some(Instant::now());
    }

    /// Whether a commit is under way.
    pub(super) fn commit_under_way(&self) -> bool {
        self.asked().is_some_and(|at| at.elapsed() < COMMIT_TIMEOUT)
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        let asked = self.commit_asked.lock();
        asked.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take_failure(&self) -> Option<String> {
        self.failed.lock().ok()?.take()
    }

    /// Partitions that are offered from now on are left to others.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, offered: &TopicPartitionList) {
        if self.leaving.load(Ordering::Acquire) {
            // A rebalance may have been on its way. librdkafka answers no question about offsets while it leaves a
            // group, and waits for this call.
            if let Err(error) = consumer.unassign() {
                log_error(&error, "while leaving the group");
            }
            return;
        }
        let assign = || -> Result<(), ClientError> {
            let offered = questioned(&self.membership, || known(consumer, offered))?;
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
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        tokens::current(self.tokens.as_ref())
    }

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
        *self.asked() = None;
        let failed = |error: ClientError| match error.rdkafka_error_code() {
            // Nothing was stored since the last commit.
            Some(RDKafkaErrorCode::NoOffset) => {}
            _ => {
                self.refuses_metadata(&error);
                self.membership.commit_failed(&error.to_string());
            }
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

/// Commits and waits for the answer.
pub(super) fn commit_and_wait<M: Membership>(
    consumer: &BaseConsumer<Context<M>>,
    commits: &[Commit],
) {
    if commits.is_empty() {
        return;
    }
    let context = consumer.context();
    let commit = || consumer.commit(&context.list(commits), CommitMode::Sync);
    let answer = match commit() {
        Err(error) if context.refuses_metadata(&error) => commit(),
        answer => answer,
    };
    match answer {
        Ok(()) => {
            let committed = commits.iter();
            let committed: Vec<_> = committed
                .map(|commit| (commit.topic.clone(), commit.partition, commit.offset))
                .collect();
            context.membership.committed(&committed);
        }
        Err(error) => context.membership.commit_failed(&error.to_string()),
    }
}

/// Asks again after a failure that may pass, because a group often moves just when its coordinator does, and a
/// coordinator that comes back refuses at once until it has read its log.
fn questioned<M: Membership, T>(
    membership: &M,
    ask: impl Fn() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let until = Instant::now() + QUESTION_TIME;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if !may_pass(&error) || Instant::now() >= until => return Err(error),
            Err(error) => log_error(&error, "while taking partitions up; asking again"),
        }
        thread::sleep(coordinator::PAUSE);
        membership.waits();
    }
}

/// Whether the broker, or the way to it, may be well again in a moment.
fn may_pass(error: &ClientError) -> bool {
    use RDKafkaErrorCode as Code;
    let passing = [
        Code::LeaderNotAvailable,
        Code::NotLeaderForPartition,
        Code::UnknownTopicOrPartition,
        Code::NetworkException,
        Code::RequestTimedOut,
        Code::BrokerNotAvailable,
        Code::BrokerTransportFailure,
        Code::AllBrokersDown,
        Code::OperationTimedOut,
    ];
    error
        .rdkafka_error_code()
        .is_some_and(|code| coordinator::has_yet_to_begin(code) || passing.contains(&code))
}

fn known<M: Membership>(
    consumer: &BaseConsumer<Context<M>>,
    offered: &TopicPartitionList,
) -> Result<Vec<Offered>, ClientError> {
    if offered.count() == 0 {
        return Ok(Vec::new());
    }
    let committed = consumer.committed_offsets(offered.clone(), QUESTION_TIMEOUT)?;
    let metadata = metadata(&committed);
    let mut known = Vec::with_capacity(offered.count());
    for (element, metadata) in committed.elements().iter().zip(metadata) {
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
            metadata,
            oldest: Offset(oldest),
            newest: Offset(newest),
        });
    }
    Ok(known)
}
