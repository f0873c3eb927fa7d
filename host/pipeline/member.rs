//! The group's membership: what a rebalance means for the assignments. Runs on the polling thread, inside
//! its polls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::assignment::Assignment;
use super::clock::Clock;
use super::lease::Lease;
use super::messages::{Control, TakenUp};
use super::status::GroupStatus;
use crate::delivery::offsets::Offset;
use crate::kafka::consumer::{Commit, Membership, Offered, StartAt};
use crate::sandbox::TickReason;

/// How long the settling thread may take beyond a drain's own deadline to answer. It answers at the
/// deadline at the latest; this covers a slow write of the store.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// While the polling thread waits for the settling thread it says this often that it is alive. Far below
/// any session.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// One group's membership.
#[derive(Debug)]
pub(crate) struct Member {
    control: Sender<Control>,
    current: Mutex<Vec<Arc<Assignment>>>,
    /// Rises with every change of `current`.
    pub(crate) generation: AtomicU64,
    drain_timeout: Duration,
    clock: Clock,
    pub(crate) lease: Arc<Lease>,
    status: Arc<GroupStatus>,
}

impl Member {
    pub(crate) fn new(
        control: Sender<Control>,
        drain_timeout: Duration,
        (clock, lease): (Clock, Arc<Lease>),
        status: Arc<GroupStatus>,
    ) -> Self {
        Self {
            control,
            current: Mutex::default(),
            generation: AtomicU64::new(0),
            drain_timeout,
            clock,
            lease,
            status,
        }
    }

    pub(crate) fn assignments(&self) -> Vec<Arc<Assignment>> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Gives everything up because the host shuts down. Answers what may be committed.
    pub(crate) fn shut_down(&self) -> Vec<Commit> {
        let all = self.assignments();
        self.give_up(all, TickReason::Shutdown, false)
    }

    /// Gives everything up because another member may have it already: nothing more of it is sent or
    /// committed.
    pub(crate) fn lose_all(&self) {
        let all = self.assignments();
        if !all.is_empty() {
            self.give_up(all, TickReason::Revoked, true);
        }
    }

    fn give_up(
        &self,
        assignments: Vec<Arc<Assignment>>,
        reason: TickReason,
        lost: bool,
    ) -> Vec<Commit> {
        let deadline = self.clock.instant() + self.drain_timeout + ANSWER_MARGIN;
        let answer = self.begin_giving_up(assignments, reason, lost);
        let committable = answer.and_then(|answer| self.wait_for(&answer, Some(deadline)));
        committable.unwrap_or_default()
    }

    /// Nothing of these is started any more. What may be committed is answered when the rest is finished;
    /// nothing is where nobody answers.
    pub(super) fn begin_giving_up(
        &self,
        assignments: Vec<Arc<Assignment>>,
        reason: TickReason,
        lost: bool,
    ) -> Option<Receiver<Vec<Commit>>> {
        for assignment in &assignments {
            if lost {
                assignment.lose();
            } else {
                assignment.revoke();
            }
        }
        self.change(|current| current.retain(|assignment| !assignment.is_revoked()));
        if assignments.is_empty() {
            return None;
        }
        let (reply, answer) = bounded(1);
        let deadline = self.clock.instant() + self.drain_timeout;
        let control = Control::Revoke {
            assignments,
            reason,
            lost,
            deadline,
            reply,
        };
        self.control.send(control).ok().map(|()| answer)
    }

    /// Asks for the books of these partitions; none is answered when nobody keeps any.
    pub(super) fn begin_taking_up(&self, offered: &[Offered]) -> Option<Receiver<TakenUp>> {
        let (reply, answer) = bounded(1);
        let control = Control::Assign {
            offered: offered.to_vec(),
            reply,
        };
        self.control.send(control).ok().map(|()| answer)
    }

    /// The books are open. Answers where each partition begins.
    pub(super) fn end_taking_up(&self, taken_up: TakenUp) -> Vec<StartAt> {
        let (assignments, starts): (Vec<_>, Vec<_>) = taken_up.into_iter().unzip();
        self.change(|current| current.extend(assignments));
        self.status.set_joined();
        starts
    }

    /// Waits for an answer of the settling thread, until it comes, the time is over or the thread has gone.
    fn wait_for<T>(&self, answer: &Receiver<T>, deadline: Option<Instant>) -> Option<T> {
        loop {
            match answer.recv_timeout(ALIVE_EVERY) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    self.lease.alive();
                    if deadline.is_some_and(|deadline| self.clock.instant() >= deadline) {
                        return None;
                    }
                }
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Assignment>>)) {
        change(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl Membership for Member {
    fn assigned(&self, offered: &[Offered]) -> Vec<StartAt> {
        // librdkafka may fail to say that a partition was lost before it comes back.
        let again = offered
            .iter()
            .map(|offered| (offered.topic.clone(), offered.partition));
        self.revoked(&again.collect::<Vec<_>>(), true);
        let answer = self.begin_taking_up(offered);
        let taken_up = answer.and_then(|answer| self.wait_for(&answer, None));
        self.end_taking_up(taken_up.unwrap_or_default())
    }

    fn revoked(&self, partitions: &[(String, i32)], lost: bool) -> Vec<Commit> {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::does("no-epoch-fence") {
            return Vec::new();
        }
        let revoked = self.assignments().into_iter().filter(|assignment| {
            partitions.iter().any(|(topic, partition)| {
                **topic == *assignment.topic && *partition == assignment.partition
            })
        });
        self.give_up(revoked.collect(), TickReason::Revoked, lost)
    }

    fn committed(&self, offsets: &[(String, i32, Offset)]) {
        // The settling thread has gone only when the process is ending.
        let _ended = self.control.send(Control::Committed(offsets.to_vec()));
    }

    fn waits(&self) {
        self.lease.alive();
    }

    fn commit_failed(&self, reason: &str) {
        let _ended = self.control.send(Control::CommitFailed(reason.to_owned()));
    }
}
