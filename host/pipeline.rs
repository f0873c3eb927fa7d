//! The data path of a consumer group.
//!
//! ```text
//!  Kafka -> poll -> open batch of a lane -> admit: revoked? settled before? parked? id known?
//!                                        -> prepare, where the route asks for it: decode, check against rules
//!                                        -> call the plugin, at once or one by one after a fault
//!                                        -> judge: processed, filtered, retry, reject, fault
//!        records (outputs, dead letters) -> broker -> acknowledged
//!        effects (sums, state, journal)  -> settle: journals synced, store durable
//!                                        -> commit
//! ```
//!
//! Four kinds of thread: `poll` owns the consumer, each `lane::Lane` owns a plugin instance,
//! `settling::Settling` keeps the books, and `keeper::Keeper` writes to the disk for it. They share nothing that
//! changes for each event. It must not know gRPC, HTTP or the command line.

mod assembly;
pub(crate) mod assignment;
pub(crate) mod batch;
mod books;
mod by_hand;
mod clock;
mod identity;
mod intake;
mod keeper;
mod lane;
mod lane_state;
mod lease;
mod member;
mod messages;
mod outage;
mod outside;
mod pauses;
mod rebuild;
mod rehearsal;
mod routing;
mod sending;
mod settling;
#[cfg(test)]
mod simulation;
mod start;
mod status;
mod tally_names;
mod tap;
mod trial;
mod versions;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[cfg(feature = "fuzzing")]
pub(crate) use self::batch::fuzz_batch;
pub(crate) use self::lane::{OutputPartitions, refused_output};
pub(crate) use outside::{Outlet, Producer};
pub use pauses::{PAUSES_MAX, PauseDesk};
pub use rehearsal::{FailedTick, Place, Rehearsal, RehearsalError, RehearsalParts, Seen, Written};
pub use routing::{OfTopics, Sources, TOPICS_MAX};
pub(crate) use start::{Aside, Ends};
pub use start::{GroupParts, StartError};
pub use status::GroupStatus;
pub use tap::{Beginning, Tap, TapFilter, Tapped, Taps};
pub use trial::{Difference, Differs, End, Round, Trial};
pub use versions::{Published, Refusal, Version, Versions};
pub use view::{GroupView, LaneView, PartitionView, PluginView, TopicView, Waits};

use self::intake::Intake;
use self::member::Member;
use self::messages::Control;
use self::outside::Source;
use self::rebuild::Rebuilds;
use self::routing::RoutingView;
use self::settling::CommitDesk;
use crate::delivery::ledger::Ledger;
use crate::kafka::KafkaError;
use crate::kafka::consumer::{GroupConsumer, Polled};

/// How long the polling thread sleeps when there is nothing to do, and how long it goes on while records
/// only trickle in. Commits and shutdown wait twice as long at most.
const IDLE_POLL: Duration = Duration::from_millis(50);

/// While a batch is open because its lane is busy, the lane is looked at this often.
const BUSY_POLL: Duration = Duration::from_millis(1);

/// Records taken between two looks at everything else, so that a flood cannot starve commits.
const RECORDS_AT_ONCE: usize = 4_096;

/// Records between two looks at the clock, which costs as much as a record. Each may wait for its lane for
/// as long as one event takes, so this many of the slowest events that are not paused for take a second.
const RECORDS_BETWEEN_LOOKS: usize = 16;

/// How often the ends of partitions are noted. The lag is for people and alerts.
const NOTE_ENDS_EVERY: Duration = Duration::from_millis(500);

/// What became of the events of a group, by topic and partition.
pub type Totals = BTreeMap<(Arc<str>, i32), Ledger>;

/// A running group.
#[derive(Debug)]
pub struct Group {
    id: String,
    sources: Sources,
    pauses: Arc<PauseDesk>,
    status: Arc<GroupStatus>,
    stop: Arc<AtomicBool>,
    poll: JoinHandle<()>,
    settling: JoinHandle<Totals>,
    keeper: Option<JoinHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
}

impl Group {
    /// The id in the configuration.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the outside may know while it runs.
    #[must_use]
    pub fn status(&self) -> Arc<GroupStatus> {
        Arc::clone(&self.status)
    }

    /// What it reads, which may change while it runs.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// What an operator has paused of it.
    #[must_use]
    pub fn pauses(&self) -> Arc<PauseDesk> {
        Arc::clone(&self.pauses)
    }

    /// Asks the group to finish what is in flight, commit and leave.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Waits until the group has left. Returns what became of its events.
    #[must_use]
    pub fn join(self) -> Totals {
        // A thread that panicked has said so; the others still have their part to finish.
        let panicked = |thread: &str| {
            tracing::error!(group = %self.id, thread, "a thread of the group panicked");
        };
        if self.poll.join().is_err() {
            panicked("poll");
        }
        for lane in self.lanes {
            if lane.join().is_err() {
                panicked("lane");
            }
        }
        let totals = self.settling.join().unwrap_or_else(|_| {
            panicked("settle");
            Totals::new()
        });
        if self.keeper.is_some_and(|keeper| keeper.join().is_err()) {
            panicked("keeper");
        }
        totals
    }
}

/// The polling thread: takes records in, seals batches, commits what has settled, and leaves in order.
fn poll(
    mut consumer: GroupConsumer<Member>,
    mut intake: Intake,
    mut rebuilds: Rebuilds,
    mut routing: RoutingView,
    (commit_desk, control): (&CommitDesk, &crossbeam_channel::Sender<Control>),
    stop: &AtomicBool,
) {
    let mut ends_noted = Instant::now();
    while !stop.load(Ordering::Acquire) {
        if let Err(error) = keep_what_is_ours(&consumer) {
            intake.status.fail(error.to_string());
            break;
        }
        if routing.refresh()
            && let Err(error) = read_from(&mut consumer, &routing, &intake.status)
        {
            intake.status.fail(error.to_string());
            break;
        }
        let mut timeout = Duration::ZERO;
        let round = Instant::now();
        for taken in 0..RECORDS_AT_ONCE {
            match consumer.poll(timeout) {
                Polled::Record(record) => {
                    intake.take(&record, &consumer);
                    let long = taken % RECORDS_BETWEEN_LOOKS == 0 && round.elapsed() >= IDLE_POLL;
                    if !timeout.is_zero() || long {
                        // Neither a trickle nor a slow lane that is waited for may starve commits, any
                        // more than a flood.
                        break;
                    }
                }
                Polled::Nothing if timeout.is_zero() => {
                    // Nothing more is ready, so nobody is kept waiting for a fuller batch.
                    let open = intake.seal_for_idle_lanes();
                    // A trickle that never lets a poll time out must not starve commits either.
                    if round.elapsed() >= IDLE_POLL {
                        break;
                    }
                    timeout = if open { BUSY_POLL } else { IDLE_POLL };
                }
                Polled::Nothing => break,
                Polled::OutOfRange(reason) => {
                    tracing::error!(%reason, "records are gone that were not read yet, or their topic was made \
                        anew; partitions are taken up again from what is committed");
                    // What is settled of them must not be committed to a topic that may be another one.
                    consumer.membership().lose_all();
                    if let Err(error) = consumer.rejoin() {
                        intake.status.stop(error.to_string());
                        stop.store(true, Ordering::Release);
                    }
                    break;
                }
                Polled::Fatal(why) => {
                    tracing::error!(reason = %why, "the group stops");
                    intake.status.stop(why);
                    stop.store(true, Ordering::Release);
                    break;
                }
            }
        }
        intake.refresh(consumer.membership());
        intake.regulate(&consumer);
        rebuilds.watch(&consumer);
        commit(&consumer, commit_desk);
        if ends_noted.elapsed() >= NOTE_ENDS_EVERY {
            ends_noted = Instant::now();
            intake.note_ends(&consumer);
        }
    }
    leave(consumer, intake, control);
}

/// Gives up at once what another member may have already, before anything of it is taken in, sent or
/// committed.
fn keep_what_is_ours(consumer: &GroupConsumer<Member>) -> Result<(), KafkaError> {
    let member = consumer.membership();
    if let Some(reason) = member.lease.ran_out() {
        tracing::warn!(%reason, "partitions are thought lost; they are taken up again from what is committed");
        member.lose_all();
        consumer.rejoin()?;
    } else if consumer.assignment_lost() {
        member.lose_all();
    }
    member.lease.polled();
    Ok(())
}

/// Reads what the routing says from now on.
fn read_from(
    consumer: &mut GroupConsumer<Member>,
    routing: &RoutingView,
    status: &GroupStatus,
) -> Result<(), KafkaError> {
    let topics = &routing.now.subscribed;
    if consumer.read_from(topics)? {
        tracing::info!(?topics, "these topics are read from now on");
    }
    if topics.is_empty() {
        // There is nothing that could be assigned.
        status.set_joined();
    }
    Ok(())
}

/// Commits what has settled. An assignment that has ended meanwhile is left out: its last commit has been
/// made, and a later one would take it back.
fn commit(consumer: &impl Source, commit_desk: &CommitDesk) {
    // One after the other: of two on their way, the client may try the older one again after the newer one, and
    // the group's offset would go back. What waits on the desk is replaced by what comes after it.
    if consumer.commit_under_way() {
        return;
    }
    let mut asked =
        std::mem::take(&mut *commit_desk.lock().unwrap_or_else(PoisonError::into_inner));
    if asked.is_empty() {
        return;
    }
    let current = consumer.membership().assignments();
    let commits: Vec<_> = current
        .iter()
        .filter_map(|assignment| asked.remove(&assignment.id))
        .collect();
    if !commits.is_empty() {
        consumer.commit(&commits);
    }
}

/// Finishes what was started, commits it, and leaves the group.
fn leave(
    consumer: GroupConsumer<Member>,
    mut intake: Intake,
    control: &crossbeam_channel::Sender<Control>,
) {
    intake.note_ends(&consumer);
    let committable = consumer.membership().shut_down();
    consumer.commit_and_wait(&committable);
    intake.hand_over_all();
    // Dropping the intake closes the lanes' inboxes; dropping the consumer leaves the group.
    drop(intake);
    drop(consumer);
    // The settling thread ends at once when it has already gone.
    let _ended = control.send(Control::Stop);
}
