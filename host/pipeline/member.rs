//! The group's membership: what a rebalance means for the assignments. Runs on the polling thread, inside
//! its polls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::assignment::Assignment;
use super::messages::Control;
use super::status::GroupStatus;
use crate::delivery::offsets::Offset;
use crate::kafka::consumer::{Membership, Offered, StartAt};
use crate::sandbox::TickReason;

/// How long the settling thread may take beyond a drain's own deadline to answer. It answers at the
/// deadline at the latest; this covers a slow write of the store.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// One group's membership.
#[derive(Debug)]
pub(crate) struct Member {
    control: Sender<Control>,
    current: Mutex<Vec<Arc<Assignment>>>,
    /// Rises with every change of `current`.
    pub(crate) generation: AtomicU64,
    drain_timeout: Duration,
    status: Arc<GroupStatus>,
}

impl Member {
    pub(crate) fn new(
        control: Sender<Control>,
        drain_timeout: Duration,
        status: Arc<GroupStatus>,
    ) -> Self {
        Self {
            control,
            current: Mutex::default(),
            generation: AtomicU64::new(0),
            drain_timeout,
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
    pub(crate) fn shut_down(&self) -> Vec<(String, i32, Offset)> {
        let all = self.assignments();
        self.give_up(all, TickReason::Shutdown, false)
    }

    fn give_up(
        &self,
        assignments: Vec<Arc<Assignment>>,
        reason: TickReason,
        lost: bool,
    ) -> Vec<(String, i32, Offset)> {
        for assignment in &assignments {
            assignment.revoke();
        }
        self.change(|current| current.retain(|assignment| !assignment.is_revoked()));
        if assignments.is_empty() {
            return Vec::new();
        }
        let (reply, answer) = bounded(1);
        let deadline = Instant::now() + self.drain_timeout;
        let control = Control::Revoke {
            assignments,
            reason,
            lost,
            deadline,
            reply,
        };
        if self.control.send(control).is_err() {
            return Vec::new();
        }
        answer
            .recv_timeout(self.drain_timeout + ANSWER_MARGIN)
            .unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Assignment>>)) {
        change(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl Membership for Member {
    fn assigned(&self, offered: &[Offered]) -> Vec<StartAt> {
        let (reply, answer) = bounded(1);
        let control = Control::Assign {
            offered: offered.to_vec(),
            reply,
        };
        let taken_up = match self.control.send(control) {
            Ok(()) => answer.recv().unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let (assignments, starts): (Vec<_>, Vec<_>) = taken_up.into_iter().unzip();
        self.change(|current| current.extend(assignments));
        self.status.set_joined();
        starts
    }

    fn revoked(&self, partitions: &[(String, i32)], lost: bool) -> Vec<(String, i32, Offset)> {
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

    fn commit_failed(&self, reason: &str) {
        let _ended = self.control.send(Control::CommitFailed(reason.to_owned()));
    }
}
