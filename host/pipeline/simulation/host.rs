//! One life of a simulated host: the real intake, lanes, settling and membership, called on one thread in the
//! order that the seed chooses, between a simulated consumer, wire and disk.

mod birth;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use fastrand::Rng;

use super::broker::{Life, Log, Read, Wire};
use super::consumer::Consumer;
use super::operator::Operator;
use super::plugin::SimulatedCallee;
use super::store::Disk;
use super::{PLUGIN, Shared, Surroundings};
use crate::kafka::consumer::{Commit, Offered};
use crate::pipeline::assembly::OwnLane;
use crate::pipeline::by_hand::ByHand;
use crate::pipeline::commit;
use crate::pipeline::messages::{Control, FromLane};
use crate::pipeline::outside::Source as _;
use crate::pipeline::versions::{Version, Versions};
use crate::sandbox::TickReason;

/// Answers of lanes that may wait for the settling thread. Few, so that lanes are stopped by it.
const ANSWERS: usize = 8;

/// Commands and messages that may wait before another rebalance is told: few, as each brings a few more.
const ROOM: usize = 64;

/// Partitions on their way out.
struct Leaving {
    answer: Receiver<Vec<Commit>>,
    partitions: Vec<i32>,
    lost: bool,
    shut_down: bool,
    deadline: Instant,
}

/// A host while it runs.
pub(super) struct Host {
    pub(super) life: Life,
    around: Arc<Surroundings>,
    random: Rng,
    group: ByHand,
    disk: Shared<Disk>,
    wire: Arc<Wire>,
    consumer: Consumer,
    pub(super) operator: Operator,
    versions: Arc<Versions>,
    callee: SimulatedCallee,
    leaving: Option<Leaving>,
    /// Whether it has left in order.
    pub(super) over: bool,
}

impl Host {
    fn chance(&mut self, chance: u32) -> bool {
        chance > 0 && !self.around.is_calm() && self.random.u32(0..1_000) < chance
    }

    /// Does one thing that can be done, beginning the search anywhere. False when there is nothing to do.
    pub(super) fn step(&mut self, logs: &mut [Log]) -> bool {
        let kinds = 7 + self.group.lanes.len();
        let start = self.random.usize(0..kinds);
        (0..kinds).any(|number| match (start + number) % kinds {
            0 => self.poll(logs),
            1 => self.group.take_answer(),
            2 => self.take_control(),
            3 => self.take_delivery(),
            4 => self.settle(),
            5 => self.consumer_step(logs),
            6 => self.keep(),
            lane => self.lane_step(lane - 7),
        })
    }

    /// The polling thread: records in, batches out, commits.
    fn poll(&mut self, logs: &[Log]) -> bool {
        if self.leaving.is_some() {
            return false;
        }
        let before = self.consumer.changes() + self.group.waiting_batches();
        let mut read = 0;
        for _ in 0..self.random.usize(1..=8) {
            let Some(event) = self.consumer.next(logs) else {
                break;
            };
            let record = Read::new(event, self.around.plan.value_bytes);
            self.group.intake.take(&record, &self.consumer);
            read += 1;
        }
        if !self.consumer.has_next(logs) || self.random.bool() {
            self.group.intake.seal_for_idle_lanes();
        }
        self.group.intake.refresh(self.consumer.membership());
        self.group.intake.regulate(&self.consumer);
        self.check_park();
        self.check_pauses();
        commit(&self.consumer, &self.group.desk);
        read > 0 || self.consumer.changes() + self.group.waiting_batches() != before
    }

    /// What is held back beyond its budget stops the consumer.
    fn check_park(&self) {
        let budget = self.around.plan.park_events;
        let over = self
            .group
            .lanes
            .iter()
            .any(|lane| lane.gauge.parked().0 > budget);
        let paused = self.group.intake.plugins.iter().all(|plugin| plugin.paused);
        if (over || paused) && self.consumer.reads_any() {
            let mut witness = self.around.witness.lock().unwrap();
            witness.wrong(|| "more is held back than may be, and reading goes on".to_owned());
        }
    }

    /// Nothing is fetched of a partition that is paused, unless ids are read again that are to be known.
    fn check_pauses(&self) {
        let current = self.consumer.membership().assignments();
        let mut read = current.iter().filter(|assignment| {
            self.consumer.reads(assignment.partition) && !assignment.rebuild.is_running()
        });
        if let Some(read) = read.find(|it| self.operator.holds_partition(it.partition)) {
            let (life, partition) = (self.life, read.partition);
            let mut witness = self.around.witness.lock().unwrap();
            witness.wrong(|| format!("{life:?} reads p{partition}, which is paused"));
        }
    }

    fn lane_step(&mut self, at: usize) -> bool {
        if self.group.answered.len() >= ANSWERS {
            return false;
        }
        if self.random.u8(0..32) == 0 {
            self.change_version();
        }
        let (witness, life) = (&self.around.witness, self.life);
        let worked = self.group.run_lane(at, self.random.bool(), |answer| {
            if let FromLane::Settlement(_, settlement) = answer {
                witness.lock().unwrap().settles(life, settlement);
            }
        });
        self.around.witness.lock().unwrap().lane_rests();
        worked
    }

    /// Another version serves, which may be one that no instance can be made of.
    fn change_version(&mut self) {
        if self.random.u8(0..4) > 0 {
            let callee = Box::new(self.callee.clone());
            let has_timer = self.around.plan.tick_ms.is_some();
            self.versions
                .publish(Arc::new(Version::simulated(PLUGIN, has_timer, callee)));
        } else {
            self.versions.step_back();
        }
    }

    fn take_control(&mut self) -> bool {
        let (witness, life) = (&self.around.witness, self.life);
        self.group.take_control(|control| {
            if let Control::Revoke {
                assignments,
                lost: true,
                ..
            } = control
            {
                witness.lock().unwrap().lost(life, assignments);
            }
        })
    }

    fn take_delivery(&mut self) -> bool {
        let fails = if self.around.is_calm() {
            0
        } else {
            self.around.plan.chances.send_fails
        };
        let Some(delivery) = self.wire.answer(fails) else {
            return false;
        };
        self.group.delivered(delivery);
        true
    }

    /// What the settling thread does by the clock. The disk may be full.
    fn settle(&mut self) -> bool {
        if self.group.settle_is_due() {
            let full = self.chance(self.around.plan.chances.store_fails);
            self.disk.lock().unwrap().full = full;
        }
        let draining = self.group.settling.drain_deadline().is_some();
        let shown = self.shown_as_finished();
        let worked = self.group.settle();
        // A drain waits for the disk; otherwise the keeper has not had its turn.
        if !draining && self.shown_as_finished() > shown {
            let mut witness = self.around.witness.lock().unwrap();
            witness.wrong(|| "events are shown as finished before that is durable".to_owned());
        }
        self.check_what_is_shown();
        worked
    }

    fn shown_as_finished(&self) -> u64 {
        let books = self.group.settling.work.books.values();
        books
            .map(|books| books.metrics.published().finished())
            .sum()
    }

    /// The keeper's thread: what it was given becomes durable.
    fn keep(&mut self) -> bool {
        let kept = self.group.keep();
        self.check_what_is_shown();
        kept
    }

    /// Whoever looks between two settles sees a ledger that adds up too.
    fn check_what_is_shown(&self) {
        for books in self.group.settling.work.books.values() {
            let shown = books.metrics.published();
            if shown.finished() + shown.parked > shown.polled {
                let mut witness = self.around.witness.lock().unwrap();
                witness.wrong(|| format!("more is shown as finished than as polled: {shown:?}"));
            }
        }
    }

    /// Its keeper ends, with what it was given and has not kept.
    pub(super) fn lose_keeper(&mut self) {
        drop(self.group.settling.keeping.give_thread());
    }

    /// The consumer's own work: answers to commits, and partitions that can be let go of.
    fn consumer_step(&mut self, logs: &mut [Log]) -> bool {
        if self.group.controls.len() > ROOM / 2 {
            return false;
        }
        let answer = self
            .leaving
            .as_ref()
            .map(|leaving| leaving.answer.try_recv());
        let committable = match answer {
            Some(Ok(committable)) => committable,
            Some(Err(TryRecvError::Disconnected)) => Vec::new(),
            None | Some(Err(TryRecvError::Empty)) => return self.consumer.answer_commit(logs),
        };
        // Commits are answered in their order, and the last one is waited for.
        while self.consumer.answer_commit(logs) {
            self.take_control();
        }
        if let Some(leaving) = self.leaving.take() {
            if !leaving.lost {
                self.consumer.commit_last(&committable, logs);
            }
            let in_time = self.group.clock.instant() < leaving.deadline;
            self.consumer.unassign(&leaving.partitions, in_time, logs);
            self.over = leaving.shut_down;
        }
        true
    }

    /// Whether a rebalance can be told to it now.
    pub(super) fn listens(&self) -> bool {
        let busy = |own: &OwnLane| own.commands.len() > ROOM / 2;
        self.leaving.is_none()
            && self.group.controls.len() < ROOM / 2
            && !self.group.lanes.iter().any(busy)
    }

    /// The partitions that it believes to have.
    pub(super) fn partitions(&self) -> Vec<i32> {
        let current = self.consumer.membership().assignments();
        current
            .iter()
            .map(|assignment| assignment.partition)
            .collect()
    }

    /// Partitions are taken away.
    pub(super) fn give_up(&mut self, partitions: &[i32], lost: bool, shut_down: bool) {
        let member = self.consumer.membership();
        let mut revoked = member.assignments();
        revoked.retain(|assignment| partitions.contains(&assignment.partition));
        {
            let mut witness = self.around.witness.lock().unwrap();
            for assignment in &revoked {
                witness.given_up(self.life, assignment, lost);
            }
        }
        let reason = if shut_down {
            TickReason::Shutdown
        } else {
            TickReason::Revoked
        };
        let drain_timeout = Duration::from_millis(self.around.plan.drain_timeout_ms);
        let deadline = self.group.clock.instant() + drain_timeout;
        match member.begin_giving_up(revoked, reason, lost) {
            Some(answer) => {
                self.leaving = Some(Leaving {
                    answer,
                    partitions: partitions.to_vec(),
                    lost,
                    shut_down,
                    deadline,
                });
            }
            None => self.over = shut_down,
        }
    }

    /// Partitions are assigned.
    pub(super) fn assign(&mut self, offered: &[Offered]) {
        let mut witness = self.around.witness.lock().unwrap();
        witness.arrives(self.life, offered, &self.disk.lock().unwrap());
        drop(witness);
        let answer = self.consumer.membership().begin_taking_up(offered);
        while self.take_control() {}
        let taken_up = answer.and_then(|answer| answer.try_recv().ok());
        self.consumer.assign(offered, taken_up.unwrap_or_default());
        let mut witness = self.around.witness.lock().unwrap();
        witness.arrives(self.life, &[], &self.disk.lock().unwrap());
    }

    /// It is gone from one moment to the next.
    pub(super) fn crash(self) {
        self.wire.cut();
    }

    /// It has left in order.
    pub(super) fn finish(mut self) {
        self.group.intake.hand_over_all();
        self.wire.cut();
        self.group.settling.finish();
    }

    /// When something is due.
    pub(super) fn next_times(&mut self, times: &mut Vec<u64>) {
        let now = self.group.clock.instant();
        let settling = [
            Some(self.group.next_settle),
            self.group.settling.drain_deadline(),
        ];
        let waits = settling.into_iter().flatten();
        let ms = self.group.clock.now().0;
        times.extend(waits.map(|at| ms + at.saturating_duration_since(now).as_millis() as u64));
        let lanes = self.group.lanes.iter();
        times.extend(lanes.filter_map(|own| Some(own.gauge.next_due()?.0)));
    }

    /// What is under way; nothing when it rests, and then its books must be closed.
    pub(super) fn under_way(&mut self) -> Option<&'static str> {
        let own = self.partitions();
        let mut lanes = self.group.lanes.iter();
        let under_way = [
            (
                "an event is held back",
                lanes.any(|own| own.gauge.next_due().is_some()),
            ),
            ("partitions are given up", self.leaving.is_some()),
            ("a lane has answered", !self.group.answered.is_empty()),
            ("a record is under way", !self.wire.is_empty()),
            ("a message waits", !self.group.controls.is_empty()),
            ("a batch waits", self.group.waiting_batches() > 0),
            ("the disk works", self.group.settling.is_keeping()),
            ("an emission is not acknowledged", {
                let disk = self.disk.lock().unwrap();
                disk.outbox.keys().any(|(of, _)| own.contains(of))
            }),
        ];
        let under_way = under_way.into_iter().find(|(_, is)| *is);
        if under_way.is_none() {
            let mut witness = self.around.witness.lock().unwrap();
            for books in self.group.settling.work.books.values() {
                let polled = books.assignment.polled();
                witness.closes(books.assignment.partition, &books.ledger, polled);
            }
        }
        under_way.map(|(what, _)| what)
    }

    /// Whether a ledger did not close.
    pub(super) fn has_hole(&self) -> bool {
        self.group.settling.metrics.ledger_holes.get() > 0
    }
}
