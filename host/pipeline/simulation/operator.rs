//! The simulated operator of one life: pauses some of what it handles, and resumes it, whenever the seed says so. A restart
//! forgets what was paused.

use std::sync::Arc;

use fastrand::Rng;

use super::broker::Life;
use super::plan::TOPIC;
use super::witness::Witness;
use super::{Shared, Surroundings};
use crate::delivery::pauses::Target;
use crate::pipeline::pauses::PauseDesk;

/// What an operator pauses, in the simulation's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paused {
    Group,
    Partition(i32),
    Key(u8),
}

impl Paused {
    fn target(self) -> Target {
        match self {
            Self::Group => Target::Group,
            Self::Partition(partition) => Target::Partition(TOPIC.to_owned(), partition),
            Self::Key(key) => Target::Key(TOPIC.to_owned(), vec![key]),
        }
    }

    /// Whether an event of this partition with this key has to wait.
    pub(super) fn holds(self, partition: i32, key: Option<u8>) -> bool {
        match self {
            Self::Key(paused) => key == Some(paused),
            _ => self.holds_partition(partition),
        }
    }

    /// Whether every event of this partition has to wait.
    pub(super) fn holds_partition(self, partition: i32) -> bool {
        match self {
            Self::Group => true,
            Self::Partition(paused) => paused == partition,
            Self::Key(_) => false,
        }
    }
}

/// Who pauses and resumes in one life of a host.
pub(super) struct Operator {
    life: Life,
    random: Rng,
    partitions: i32,
    witness: Shared<Witness>,
    pub(super) desk: Arc<PauseDesk>,
    paused: Vec<Paused>,
}

impl Operator {
    pub(super) fn new(life: Life, random: Rng, around: &Surroundings) -> Self {
        Self {
            life,
            random,
            partitions: around.plan.partitions,
            witness: Arc::clone(&around.witness),
            desk: Arc::default(),
            paused: Vec::new(),
        }
    }

    /// Pauses something, or resumes what is paused.
    pub(super) fn acts(&mut self) {
        if !self.paused.is_empty() && self.random.bool() {
            let at = self.random.usize(0..self.paused.len());
            self.resume(at);
            return;
        }
        let paused = match self.random.u8(0..4) {
            0 => Paused::Group,
            1 => Paused::Partition(self.random.i32(0..self.partitions)),
            _ => Paused::Key(self.random.u8(0..6)),
        };
        if self.paused.contains(&paused) {
            return;
        }
        self.paused.push(paused);
        let has_room = self.desk.pause(paused.target(), 0);
        let mut witness = self.witness.lock().unwrap();
        witness.pauses(self.life, paused, has_room);
    }

    /// Nothing stays paused.
    pub(super) fn resumes_all(&mut self) {
        while let Some(last) = self.paused.len().checked_sub(1) {
            self.resume(last);
        }
    }

    /// Whether everything of this partition is paused.
    pub(super) fn holds_partition(&self, partition: i32) -> bool {
        let mut paused = self.paused.iter();
        paused.any(|paused| paused.holds_partition(partition))
    }

    fn resume(&mut self, at: usize) {
        let paused = self.paused.swap_remove(at);
        let was = self.desk.resume(&paused.target());
        let mut witness = self.witness.lock().unwrap();
        witness.resumes(self.life, paused, was);
    }
}
