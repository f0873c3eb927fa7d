//! What the outside may know of a group while it runs: whether it has joined, and what it waits for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::tap::Taps;
use super::view::GroupView;

/// The state of one group, read by health checks and the summary.
#[derive(Debug, Default)]
pub struct GroupStatus {
    joined: AtomicBool,
    unable: AtomicBool,
    broken: AtomicBool,
    first_event_at_ms: AtomicU64,
    last_settled_at_ms: AtomicU64,
    trouble: Mutex<Option<String>>,
    notes: Mutex<Vec<String>>,
    routing_note: Mutex<Option<String>>,
    failure: Mutex<Option<String>>,
    view: Mutex<Arc<GroupView>>,
    taps: Arc<Taps>,
}

impl GroupStatus {
    /// Whether partitions have been assigned at least once, even if none fell to this member.
    #[must_use]
    pub fn joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// What keeps events from settling at the moment; none when they do.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether this host cannot settle anything at the moment, for a reason of its own: its disk. A broker that
    /// is away is no such reason.
    #[must_use]
    pub fn unable(&self) -> bool {
        self.unable.load(Ordering::Relaxed)
    }

    /// What else a person should know: partitions that settle nothing, what is still being learned, and topics that
    /// cannot be read.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock();
        let notes = notes.unwrap_or_else(PoisonError::into_inner).clone();
        let routing = self.routing_note.lock();
        let routing = routing.unwrap_or_else(PoisonError::into_inner).clone();
        notes.into_iter().chain(routing).collect()
    }

    /// The group as it was last drawn.
    #[must_use]
    pub fn view(&self) -> Arc<GroupView> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&view)
    }

    /// Those who look at its events live.
    #[must_use]
    pub fn taps(&self) -> &Arc<Taps> {
        &self.taps
    }

    /// Why the group has stopped for good; none while it works.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// When the first event was taken and the last one settled, in milliseconds since the Unix epoch;
    /// none before that.
    #[must_use]
    pub fn worked_ms(&self) -> Option<(u64, u64)> {
        let first = self.first_event_at_ms.load(Ordering::Relaxed);
        let last = self.last_settled_at_ms.load(Ordering::Relaxed);
        (first > 0 && last > 0).then_some((first, last))
    }

    pub(super) fn set_joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_unable(&self, unable: bool) {
        self.unable.store(unable, Ordering::Relaxed);
    }

    pub(super) fn began_at(&self, wall_ms: u64) {
        self.first_event_at_ms.store(wall_ms, Ordering::Relaxed);
    }

    pub(super) fn settled_at(&self, wall_ms: u64) {
        self.last_settled_at_ms.store(wall_ms, Ordering::Relaxed);
    }

    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn set_notes(&self, notes: Vec<String>) {
        *self.notes.lock().unwrap_or_else(PoisonError::into_inner) = notes;
    }

    pub(super) fn set_view(&self, view: GroupView) {
        let view = Arc::new(view);
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    pub(super) fn set_routing_note(&self, note: Option<String>) {
        *self
            .routing_note
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = note;
    }

    /// Whether it has stopped because the host itself is at fault.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The group stops for a reason outside of the host; other groups go on.
    pub(super) fn stop(&self, why: String) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// The group stops because of a bug of the host.
    pub(super) fn fail(&self, why: String) {
        self.broken.store(true, Ordering::Relaxed);
        self.stop(why);
    }
}
