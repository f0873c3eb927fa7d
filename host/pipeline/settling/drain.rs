//! Giving partitions up in order: what was started is finished, the last tick is emitted, and everything is
//! durable before the offsets are handed back. Nothing new is started meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::super::assignment::Assignment;
use super::super::books::Books;
use super::super::messages::{Fence, ToLane};
use super::super::sending::WaitedForBy;
use super::Settling;
use crate::kafka::consumer::Commit;
use crate::sandbox::TickReason;

type Committable = Vec<Commit>;

/// Partitions on their way out.
#[derive(Debug)]
pub(super) struct Drain {
    assignments: Vec<Arc<Assignment>>,
    reason: TickReason,
    /// Another member may have them already, so nothing of them is emitted any more.
    lost: bool,
    deadline: Instant,
    reply: Sender<Committable>,
    /// Rises with each drain.
    number: u64,
    /// Lanes that have not reached the fence.
    fences: Vec<usize>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Lanes finish what they had started; their settlements are acknowledged.
    Finishing,
    /// The last ticks run.
    Ticking,
    /// Their emissions are acknowledged.
    Emitting,
}

impl Drain {
    pub(super) fn new(
        assignments: Vec<Arc<Assignment>>,
        reason: TickReason,
        lost: bool,
        deadline: Instant,
        reply: Sender<Committable>,
    ) -> Self {
        let fences = Vec::new();
        Self {
            assignments,
            reason,
            lost,
            deadline,
            reply,
            number: 0,
            fences,
            phase: Phase::Finishing,
        }
    }

    pub(super) fn fence_reached(&mut self, lane: usize, drain: u64) {
        if drain == self.number {
            self.fences.retain(|waiting| *waiting != lane);
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.assignments
            .iter()
            .map(|assignment| assignment.id)
            .collect()
    }
}

impl Settling {
    /// Begins to give partitions up.
    pub(super) fn revoke(&mut self, mut drain: Drain) {
        self.work.next_drain += 1;
        drain.number = self.work.next_drain;
        for (index, lane) in self.lanes.iter().enumerate() {
            // A lane that has gone has nothing left to finish.
            let fence = Fence {
                drain: drain.number,
                assignments: drain.assignments.clone(),
            };
            if lane.commands.send(ToLane::Fence(fence)).is_ok() {
                drain.fences.push(index);
            }
        }
        if drain.lost {
            self.metrics
                .lost_partitions
                .inc_by(drain.assignments.len() as u64);
            self.forget_given_up();
        }
        self.work.drain = Some(drain);
    }

    /// Takes the steps of giving partitions up whose time has come.
    pub(in crate::pipeline) fn drain_further(&mut self) {
        while self.drain_one_step() {}
    }

    /// When the drain has to be over, where there is one.
    pub(in crate::pipeline) fn drain_deadline(&self) -> Option<Instant> {
        self.work.drain.as_ref().map(|drain| drain.deadline)
    }

    /// Takes the next step when the last one is done. Says whether there is a further one to try.
    fn drain_one_step(&mut self) -> bool {
        let Some(drain) = self.work.drain.as_ref() else {
            return false;
        };
        if self.clock.instant() >= drain.deadline {
            tracing::warn!(group = %self.group, phase = ?drain.phase,
                "not everything could be finished in time (drain_timeout); the rest runs again");
            self.end_drain();
            return false;
        }
        if !drain.lost
            && let Some(reason) = self.lease.ran_out()
        {
            tracing::warn!(group = %self.group, %reason,
                "partitions that were being given up are thought lost; nothing more of them is sent");
            self.lose_drain();
            return true;
        }
        let ids = drain.ids();
        let (phase, lost) = (drain.phase, drain.lost);
        let ticking = ids
            .iter()
            .any(|id| self.work.books.get(id).is_some_and(Books::ticking));
        let step_done = match phase {
            // A tick that was on its way has not seen everything, so it cannot be the last one.
            Phase::Finishing => {
                let sent = lost || self.work.waiting.iter().all(|queue| queue.is_empty());
                drain.fences.is_empty() && sent && !ticking
            }
            Phase::Ticking => !ticking,
            Phase::Emitting => ids.iter().all(|id| {
                let acknowledged = |number| self.work.sent.contains(&(*id, number));
                self.work
                    .books
                    .get(id)
                    .is_none_or(|books| books.outbox.keys().all(|number| acknowledged(*number)))
            }),
        };
        if !step_done {
            return false;
        }
        let next = match (phase, drain.lost) {
            (Phase::Finishing, false) => Phase::Ticking,
            (Phase::Ticking, false) => Phase::Emitting,
            (Phase::Emitting, _) | (_, true) => {
                self.end_drain();
                return false;
            }
        };
        let reason = drain.reason;
        if let Some(drain) = self.work.drain.as_mut() {
            drain.phase = next;
        }
        match next {
            Phase::Ticking => {
                for id in ids {
                    let books = self.work.books.get(&id);
                    let has_timer = books.is_some_and(|books| {
                        self.plugins[books.assignment.plugin_index]
                            .versions
                            .has_timer()
                    });
                    if has_timer {
                        self.start_tick(id, reason);
                    }
                }
            }
            // Emissions leave only after they are durable.
            Phase::Emitting => self.settle(),
            Phase::Finishing => {}
        }
        true
    }

    fn lose_drain(&mut self) {
        if let Some(drain) = self.work.drain.as_mut() {
            drain.lost = true;
            drain.assignments.iter().for_each(|of| of.lose());
            let lost = drain.assignments.len() as u64;
            self.metrics.lost_partitions.inc_by(lost);
        }
        self.forget_given_up();
    }

    /// Settles what there is, hands back what may be committed, and closes the books.
    fn end_drain(&mut self) {
        self.settle();
        let Some(drain) = self.work.drain.take() else {
            return;
        };
        // The disk was waited for, and meanwhile another member may have got them.
        let lost = drain.lost || self.lease.ran_out().is_some();
        let mut committable = Vec::new();
        for id in drain.ids() {
            let Some(books) = self.work.books.remove(&id) else {
                continue;
            };
            let settled = books.tracker.settled() > 0 && !self.work.failing && !lost;
            if settled {
                committable.push(books.commit(self.commit_map));
            }
            if self.work.failing {
                // It was not committed and runs again. Written later, it would stand beside what the next
                // owner of these rows makes of the same events.
                let of = &books.assignment;
                self.work.pending.forget(&of.topic, of.partition);
                self.work.unsent.retain(|(unsent, _)| *unsent != id);
            }
            self.close(books);
        }
        if drain.lost && self.work.books.is_empty() {
            self.work.waiting.iter_mut().for_each(VecDeque::clear);
            self.work.waiting_bytes = 0;
            self.sending.forget_all();
        } else {
            self.forget_given_up();
        }
        // The polling thread waits for this answer, or the process is ending.
        let _ended = drain.reply.send(committable);
    }

    /// Lets go of the records of assignments that were given up or lost: their events do not settle here any
    /// more, and nothing of them is sent again. Other events of the same settlements wait for their own.
    fn forget_given_up(&mut self) {
        let books = &self.work.books;
        let given_up = |id: u64| books.get(&id).is_none_or(|it| it.assignment.is_lost());
        for by in self.sending.forget(given_up) {
            if let WaitedForBy::Settlement { lane, serial, .. } = by {
                let mut waiting = self.work.waiting[lane].iter_mut();
                if let Some(waiting) = waiting.find(|waiting| waiting.serial == serial) {
                    waiting.unacknowledged -= 1;
                }
            }
        }
        for lane in 0..self.work.waiting.len() {
            self.apply_acknowledged(lane);
        }
    }
}
