//! What an operator has paused of a group, shared by all its threads: whoever pauses writes it here, and each thread
//! looks between two batches, at the price of one atomic load. It outlives the group's threads, so that a pause holds
//! over a rebalance and over another configuration. It must not know who pauses.

use std::sync::{Arc, Mutex, PoisonError};

use super::assignment::Assignment;
use crate::delivery::offsets::Offset;
use crate::delivery::pauses::{Pauses, Target};
use crate::latest::{Latest, Seen};

/// Pauses of one group at most. Each key that is paused is one, and a plugin or a topic is paused as a whole.
pub const PAUSES_MAX: usize = 1_000;

/// Where the pauses lie that hold from now on.
#[derive(Debug, Default)]
pub struct PauseDesk {
    pauses: Arc<Latest<Pauses>>,
    /// Partitions of which nothing is fetched for that.
    stopped: Mutex<Vec<Arc<Assignment>>>,
}

impl PauseDesk {
    /// What is paused.
    #[must_use]
    pub fn current(&self) -> Arc<Pauses> {
        self.pauses.current()
    }

    /// Pauses this from the next batch of every lane on. False where there is no room for a further pause.
    pub fn pause(&self, target: Target, since_ms: u64) -> bool {
        self.pauses.change(|pauses| {
            let next = pauses.with(target, since_ms);
            let has_room = next.all().len() <= PAUSES_MAX;
            has_room.then_some(next)
        })
    }

    /// Ends a pause. False where there is none.
    pub fn resume(&self, target: &Target) -> bool {
        self.pauses.change(|pauses| {
            let next = pauses.without(target);
            (next != *pauses).then_some(next)
        })
    }

    /// Takes up how far partitions reach of which nothing is fetched: no fetch says so any more, and their lag grows.
    pub fn note_ends(&self, mut end_of: impl FnMut(&str, i32) -> Option<Offset>) {
        let stopped = self
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for assignment in stopped.iter().filter(|stopped| !stopped.is_revoked()) {
            // Who does not answer for one partition would be waited for with each of the others.
            let Some(end) = end_of(&assignment.topic, assignment.partition) else {
                return;
            };
            assignment.set_end_offset(end);
        }
    }

    /// As a thread of the group with these plugins sees it.
    pub(crate) fn view(self: &Arc<Self>, plugins: &[String]) -> PauseView {
        PauseView {
            seen: self.pauses.seen(),
            desk: Arc::clone(self),
            plugins: plugins.into(),
        }
    }
}

/// The pauses as one thread sees them.
#[derive(Debug)]
pub(crate) struct PauseView {
    desk: Arc<PauseDesk>,
    seen: Seen<Pauses>,
    /// In the order of their places.
    plugins: Arc<[String]>,
}

impl PauseView {
    /// Takes up what is paused from now on. Says whether that is something else.
    #[inline]
    pub(crate) fn refresh(&mut self) -> bool {
        self.seen.refresh()
    }

    /// What is paused, as of the last look.
    pub(crate) fn now(&self) -> &Arc<Pauses> {
        &self.seen.now
    }

    /// Nothing is fetched of these, because they are paused.
    pub(crate) fn stop(&self, stopped: Vec<Arc<Assignment>>) {
        *self
            .desk
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = stopped;
    }

    /// Whether a whole partition of a source topic is paused, by the place of its plugin.
    pub(crate) fn hold_partition(&self, plugin_index: usize, topic: &str, partition: i32) -> bool {
        let plugin = self.plugins.get(plugin_index);
        plugin.is_some_and(|plugin| self.now().hold_partition(plugin, topic, partition))
    }
}
