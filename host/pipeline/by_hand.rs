//! A group whose parts are called one after the other on one thread, in an order that the caller chooses: the very
//! intake, lanes and settling that otherwise have threads. It must not know where records come from or how
//! time passes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::assembly::OwnLane;
use super::clock::Clock;
use super::intake::Intake;
use super::lane::IDLE;
use super::messages::{Control, FromLane};
use super::settling::{CommitDesk, Settling, SettlingEnds};
use crate::kafka::producer::Delivery;

/// A group on one thread.
pub(super) struct ByHand {
    pub(super) clock: Clock,
    pub(super) intake: Intake,
    pub(super) lanes: Vec<OwnLane>,
    pub(super) settling: Settling,
    pub(super) desk: CommitDesk,
    /// What lanes have answered and the settling side has not taken.
    pub(super) answered: VecDeque<FromLane>,
    pub(super) controls: Receiver<Control>,
    pub(super) next_settle: Instant,
    /// How long each lane has nothing to do, as of its last turn.
    waits: Vec<Duration>,
    answers: Receiver<FromLane>,
}

impl OwnLane {
    fn obey(&mut self) -> bool {
        let command = self.commands.try_recv();
        let told = command.is_ok();
        command.into_iter().for_each(|it| self.lane.obey(it));
        told
    }

    fn take_batch(&mut self) -> bool {
        let Ok(batch) = self.inbox.try_recv() else {
            return false;
        };
        while self.obey() {}
        self.lane.take_in(batch);
        true
    }
}

impl ByHand {
    /// A group whose first settle is due at once.
    pub(super) fn new(
        lanes: Vec<OwnLane>,
        intake: Intake,
        mut settling: Settling,
        ends: SettlingEnds,
    ) -> Self {
        settling.begin();
        let clock = settling.clock.clone();
        Self {
            next_settle: clock.instant(),
            clock,
            intake,
            waits: vec![Duration::ZERO; lanes.len()],
            lanes,
            settling,
            desk: ends.commit_desk,
            answered: VecDeque::new(),
            controls: ends.control,
            answers: ends.lanes,
        }
    }

    /// Batches that are sealed and not taken.
    pub(super) fn waiting_batches(&self) -> usize {
        self.lanes.iter().map(|lane| lane.inbox.len()).sum()
    }

    /// Lets a lane run what has waited there, and then a command, a batch, or one of each. Shows its answers.
    /// False where nothing came of it.
    pub(super) fn run_lane(
        &mut self,
        at: usize,
        command_or_batch: bool,
        mut seen: impl FnMut(&FromLane),
    ) -> bool {
        let own = &mut self.lanes[at];
        self.waits[at] = own.lane.run_what_waited();
        let mut worked = if command_or_batch {
            own.obey() || own.take_batch()
        } else {
            own.take_batch() | own.obey()
        };
        while let Ok(answer) = self.answers.try_recv() {
            seen(&answer);
            self.answered.push_back(answer);
            worked = true;
        }
        worked
    }

    /// When a lane has something to do next that it waits for, as of the lanes' last turns.
    pub(super) fn lanes_due(&self) -> Option<Instant> {
        let now = self.clock.instant();
        let ms = self.clock.now().0;
        let due = self
            .lanes
            .iter()
            .zip(&self.waits)
            .filter_map(|(own, wait)| {
                let holds = own.gauge.next_due().is_some();
                match own.lane.next_probe() {
                    Some(probe) => {
                        holds.then(|| now + Duration::from_millis(probe.0.saturating_sub(ms)))
                    }
                    None => (holds || *wait < IDLE).then(|| now + *wait),
                }
            });
        due.min()
    }

    /// The settling side takes up what a lane has answered, unless it has enough in hand.
    pub(super) fn take_answer(&mut self) -> bool {
        if self.settling.overfull() {
            return false;
        }
        let Some(answer) = self.answered.pop_front() else {
            return false;
        };
        self.settling.take_message(answer);
        self.settling.drain_further();
        true
    }

    /// The settling side takes up what the membership has told it.
    pub(super) fn take_control(&mut self, seen: impl FnOnce(&Control)) -> bool {
        let Ok(control) = self.controls.try_recv() else {
            return false;
        };
        seen(&control);
        self.settling.control(control);
        self.settling.drain_further();
        true
    }

    /// The broker has answered to a record.
    pub(super) fn delivered(&mut self, delivery: Delivery) {
        self.settling.delivered(delivery);
        self.settling.drain_further();
    }

    /// What was handed over to be kept becomes durable. False where nothing was.
    pub(super) fn keep(&mut self) -> bool {
        self.settling.keep_here(&self.desk)
    }

    /// Whether it is time to settle.
    pub(super) fn settle_is_due(&self) -> bool {
        self.clock.instant() >= self.next_settle
    }

    /// What the settling side does by the clock. False when it is not time for anything.
    pub(super) fn settle(&mut self) -> bool {
        let now = self.clock.instant();
        let overdue = self.settling.drain_deadline().is_some_and(|at| at <= now);
        let due = self.settle_is_due();
        if due {
            self.next_settle = now + self.settling.commit_interval;
            self.settling.settle_and_offer(now, &self.desk);
        }
        if due || overdue {
            self.settling.drain_further();
        }
        due || overdue
    }
}
