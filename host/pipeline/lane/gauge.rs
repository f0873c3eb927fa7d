//! What a lane shows of itself while it works: how busy it is, and what it holds back. Figures only; it must not
//! know what anybody makes of them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::BATCH_EVENTS_MAX;
use crate::delivery::retry::Millis;

/// What the polling thread sees of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneGauge {
    /// When the current call began, in milliseconds since the group started, plus one; 0 is idle.
    pub(super) busy_since_ms: AtomicU64,
    pub(super) events_limit: AtomicUsize,
    pub(super) parked_events: AtomicUsize,
    pub(super) parked_bytes: AtomicUsize,
    pub(super) copies_events: AtomicUsize,
    pub(super) copies_bytes: AtomicUsize,
    /// When the next key that is held back is due, plus one; 0 is none.
    pub(super) next_due_ms: AtomicU64,
}

impl LaneGauge {
    /// How long the current call has been running.
    pub(crate) fn busy_ms(&self, now: Millis) -> Option<u64> {
        let since = self.busy_since_ms.load(Ordering::Relaxed);
        since
            .checked_sub(1)
            .map(|since| now.0.saturating_sub(since))
    }

    /// Events that the next batch should hold at most.
    pub(crate) fn events_limit(&self) -> usize {
        self.events_limit
            .load(Ordering::Relaxed)
            .clamp(1, BATCH_EVENTS_MAX)
    }

    /// When the next key that is held back is due.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        let due = self.next_due_ms.load(Ordering::Relaxed);
        due.checked_sub(1).map(Millis)
    }

    /// Events and bytes held back, copies from a retry topic apart.
    pub(crate) fn parked(&self) -> (usize, usize) {
        (
            self.parked_events.load(Ordering::Relaxed),
            self.parked_bytes.load(Ordering::Relaxed),
        )
    }

    /// Events and bytes held back that came from a retry topic.
    pub(crate) fn copies(&self) -> (usize, usize) {
        (
            self.copies_events.load(Ordering::Relaxed),
            self.copies_bytes.load(Ordering::Relaxed),
        )
    }
}
