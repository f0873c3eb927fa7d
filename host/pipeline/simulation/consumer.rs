//! The simulated consumer of one life: where it reads, what is paused, and commits that are answered late,
//! refused, or stored without an answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;

use super::broker::{Life, Log};
use super::plan::{Event, TOPIC};
use super::store::Disk;
use super::{Shared, Surroundings};
use crate::delivery::offsets::Offset;
use crate::kafka::KafkaError;
use crate::kafka::consumer::{Commit, Membership as _, Offered};
use crate::pipeline::member::Member;
use crate::pipeline::messages::TakenUp;
use crate::pipeline::outside::Source;

#[derive(Debug)]
struct Reading {
    next: i64,
    paused: bool,
}

/// One life's consumer.
pub(super) struct Consumer {
    life: Life,
    member: Member,
    random: RefCell<Rng>,
    around: Arc<Surroundings>,
    disk: Shared<Disk>,
    reading: RefCell<BTreeMap<i32, Reading>>,
    unanswered: RefCell<Vec<Vec<Commit>>>,
    /// Rises with everything that is asked of it.
    changes: Cell<usize>,
}

impl Consumer {
    pub(super) fn new(
        life: Life,
        member: Member,
        random: Rng,
        around: &Arc<Surroundings>,
        disk: &Shared<Disk>,
    ) -> Self {
        Self {
            life,
            member,
            random: RefCell::new(random),
            around: Arc::clone(around),
            disk: Arc::clone(disk),
            reading: RefCell::default(),
            unanswered: RefCell::default(),
            changes: Cell::new(0),
        }
    }

    pub(super) fn changes(&self) -> usize {
        self.changes.get()
    }

    fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Whether any partition is read at the moment.
    pub(super) fn reads_any(&self) -> bool {
        self.reading
            .borrow()
            .values()
            .any(|reading| !reading.paused)
    }

    /// Whether this partition is read at the moment.
    pub(super) fn reads(&self, partition: i32) -> bool {
        let reading = self.reading.borrow();
        reading.get(&partition).is_some_and(|it| !it.paused)
    }

    /// Whether there is a record to read.
    pub(super) fn has_next(&self, logs: &[Log]) -> bool {
        let reading = self.reading.borrow();
        reading.iter().any(|(partition, reading)| {
            !reading.paused && logs[*partition as usize].next(reading.next).is_some()
        })
    }

    /// Reads a record of any partition.
    pub(super) fn next<'a>(&self, logs: &'a [Log]) -> Option<&'a Event> {
        let mut reading = self.reading.borrow_mut();
        let start = self.random.borrow_mut().usize(0..reading.len().max(1));
        let partitions: Vec<i32> = reading.keys().copied().collect();
        let (before, after) = partitions.split_at(start);
        for partition in after.iter().chain(before) {
            let log = &logs[*partition as usize];
            if let Some(reading) = reading.get_mut(partition).filter(|it| !it.paused)
                && let Some(event) = log.next(reading.next)
            {
                reading.next = event.offset + 1;
                return Some(event);
            }
        }
        None
    }

    /// Partitions are the host's from now on.
    pub(super) fn assign(&self, offered: &[Offered], taken_up: TakenUp) {
        {
            let mut witness = self.around.witness.lock().unwrap();
            let disk = self.disk.lock().unwrap();
            for (assignment, _) in &taken_up {
                witness.assigned(self.life, assignment, &disk);
            }
        }
        let starts = self.member.end_taking_up(taken_up);
        for (offered, start) in offered.iter().zip(starts) {
            let reading = Reading {
                next: start.0,
                paused: false,
            };
            self.reading.borrow_mut().insert(offered.partition, reading);
        }
        self.changed();
    }

    /// Partitions are the host's no more.
    pub(super) fn unassign(&self, partitions: &[i32], in_time: bool, logs: &mut [Log]) {
        let mut witness = self.around.witness.lock().unwrap();
        for partition in partitions {
            self.reading.borrow_mut().remove(partition);
            witness.ended(self.life, *partition, in_time);
            let log = &mut logs[*partition as usize];
            if log.owner == Some(self.life) {
                log.owner = None;
            }
        }
        self.changed();
    }

    /// The broker answers one of the commits that it has not answered, in no order: the client tries each of them again
    /// in its own time.
    pub(super) fn answer_commit(&self, logs: &mut [Log]) -> bool {
        let mut unanswered = self.unanswered.borrow_mut();
        if unanswered.is_empty() {
            return false;
        }
        let which = self.random.borrow_mut().usize(..unanswered.len());
        let commit = unanswered.swap_remove(which);
        drop(unanswered);
        self.store_commit(&commit, logs);
        true
    }

    /// The last commit of partitions that are given up.
    pub(super) fn commit_last(&self, commits: &[Commit], logs: &mut [Log]) {
        if commits.is_empty() {
            return;
        }
        self.check(commits, true);
        self.store_commit(commits, logs);
    }

    fn store_commit(&self, commits: &[Commit], logs: &mut [Log]) {
        let fails = self.around.plan.chances.commit_fails;
        let fails = !self.around.is_calm() && self.random.borrow_mut().u32(0..1_000) < fails;
        // What belongs to another owner is refused, and with it the whole commit: it has an old generation.
        let owned = |commit: &Commit| logs[commit.partition as usize].owner == Some(self.life);
        let refused = !commits.iter().all(owned) || (fails && self.random.borrow_mut().bool());
        if !refused {
            let mut witness = self.around.witness.lock().unwrap();
            for commit in commits {
                let log = &mut logs[commit.partition as usize];
                let (before, now) = (log.committed, Some(commit.offset.0));
                if now < before {
                    witness.wrong(|| format!("{commit:?} goes back from {before:?}"));
                }
                log.committed = now;
                log.metadata = commit.metadata.clone().into_bytes();
            }
        }
        let offsets = commits
            .iter()
            .map(|commit| (commit.topic.clone(), commit.partition, commit.offset))
            .collect::<Vec<_>>();
        let life = self.life;
        let mut witness = self.around.witness.lock().unwrap();
        witness.note(|| {
            format!(
                "{life:?} commit {offsets:?} refused: {refused}, answered: {}",
                !fails
            )
        });
        drop(witness);
        if refused || fails {
            self.member.commit_failed("simulated");
        } else {
            self.member.committed(&offsets);
        }
    }

    fn check(&self, commits: &[Commit], last: bool) {
        let mut witness = self.around.witness.lock().unwrap();
        let disk = self.disk.lock().unwrap();
        for commit in commits {
            witness.commits(self.life, commit.partition, commit.offset.0, last, &disk);
        }
    }
}

impl Source for Consumer {
    fn membership(&self) -> &Member {
        &self.member
    }

    fn pause(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        let mut all = self.reading.borrow_mut();
        for (_, partition) in partitions {
            if let Some(reading) = all.get_mut(partition) {
                reading.paused = true;
            }
        }
        self.changed();
        Ok(())
    }

    fn resume(&self, partitions: &[(String, i32)]) -> Result<(), KafkaError> {
        let mut all = self.reading.borrow_mut();
        let mut random = self.random.borrow_mut();
        for (_, partition) in partitions {
            if let Some(reading) = all.get_mut(partition) {
                // After a resume librdkafka has been seen to begin again at an older position.
                if reading.paused && random.u32(0..1_000) < self.around.plan.chances.fetched_again {
                    reading.next = (reading.next - random.i64(0..5)).max(0);
                }
                reading.paused = false;
            }
        }
        self.changed();
        Ok(())
    }

    fn end_offset(&self, topic: &str, _partition: i32) -> Option<Offset> {
        assert_eq!(topic, TOPIC);
        None
    }

    fn commit(&self, commits: &[Commit]) {
        self.check(commits, false);
        self.unanswered.borrow_mut().push(commits.to_vec());
        self.changed();
    }

    fn commit_under_way(&self) -> bool {
        !self.unanswered.borrow().is_empty()
    }
}
