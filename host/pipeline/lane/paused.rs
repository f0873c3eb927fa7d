//! What of a lane an operator has paused: its events are held back behind their keys, like those that wait for a retry,
//! and run when the pause ends. None of them is given up meanwhile.

use std::sync::Arc;

use super::super::batch::EventView;
use super::Lane;
use crate::delivery::lanes::{GroupMap, OrderGroup};
use crate::delivery::pauses::Pauses;
use crate::delivery::retry::Millis;

/// When events are due that wait for the end of a pause. Far beyond any clock, with room to add to it.
pub(super) const UNTIL_RESUMED: Millis = Millis(u64::MAX / 2);

/// What is paused at the moment, as a lane asks for it.
pub(super) struct Pausing {
    pauses: Arc<Pauses>,
    plugin: String,
    topics: Arc<[Arc<str>]>,
    /// Of the batch that is looked at: what keeps its order with an event that is paused waits behind it.
    waiting: GroupMap<()>,
}

impl Pausing {
    /// Whether an event has to wait.
    pub(super) fn holds(&self, event: &EventView<'_>) -> bool {
        let topic = self.topics.get(event.topic_index() as usize);
        topic.is_some_and(|topic| {
            let (partition, key) = (event.partition(), event.key());
            self.pauses.hold(&self.plugin, topic, partition, key)
        })
    }

    /// The same, or whether it stands behind one of its batch that has to wait.
    pub(super) fn holds_in_batch(&mut self, event: &EventView<'_>, group: OrderGroup) -> bool {
        let waits = self.waiting.contains_key(&group) || self.holds(event);
        if waits {
            self.waiting.insert(group, ());
        }
        waits
    }
}

impl Lane {
    /// Looks between two batches whether something else is paused. What waits for the end of a pause is due then, and
    /// waits again where another pause holds it.
    pub(super) fn take_up_pauses(&mut self) {
        if !self.settings.pauses.refresh() {
            return;
        }
        let now = self.clock.now();
        self.park.wake(UNTIL_RESUMED, now);
        // The time of a pause is none that an event has held its key for.
        let holds_since = self.without_outages(now);
        for failed in self.failed_before.values_mut() {
            if std::mem::take(&mut failed.paused) {
                failed.holds_since = holds_since;
            }
        }
    }

    /// What is paused; none where nothing of the group is.
    pub(super) fn pausing(&self) -> Option<Pausing> {
        let pauses = self.settings.pauses.now();
        (!pauses.is_empty()).then(|| Pausing {
            pauses: Arc::clone(pauses),
            plugin: self.plugin().to_owned(),
            topics: Arc::clone(&self.settings.routing.now.topics),
            waiting: GroupMap::default(),
        })
    }
}
