//! One assignment of one partition: what the polling thread, the lanes and the settling thread share of it.
//!
//! A partition that comes back is a new assignment, so what belongs to the old one can never be mistaken
//! for the new one's.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::rebuild::Rebuild;
use super::tally_names::TallyNames;
use crate::delivery::behind::Marks;
use crate::delivery::offsets::{Applied, Offset};

/// One assignment of one partition.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Unique in the life of the group.
    pub(crate) id: u64,
    pub(crate) topic: Arc<str>,
    /// Place of the topic in the group's topic table.
    pub(crate) topic_index: u32,
    pub(crate) partition: i32,
    /// For a retry topic: the place of its source in the group's topic table.
    pub(crate) retry_of: Option<u32>,
    /// Place of the plugin among the group's plugins.
    pub(crate) plugin_index: usize,
    /// Records below were committed before; they only teach deduplication what was seen.
    pub(crate) committed: Offset,
    /// What this host settled before a crash, beyond the commit.
    pub(crate) applied: Applied,
    /// Records from here on are new for sure.
    pub(crate) new_from: Offset,
    /// How many events have been taken from Kafka.
    polled: AtomicU64,
    /// The offset after the newest record, as of the last fetch; negative before one.
    end_offset: AtomicI64,
    /// Which record was read when; touched twice a second by the polling thread, and once a settle.
    marks: Mutex<Marks>,
    revoked: AtomicBool,
    lost: AtomicBool,
    paused: AtomicBool,
    /// Reading behind the commit, where deduplication needs it.
    pub(crate) rebuild: Rebuild,
    pub(crate) tallies: TallyNames,
}

impl Assignment {
    pub(crate) fn new(
        id: u64,
        (topic, topic_index): (Arc<str>, u32),
        partition: i32,
        plugin_index: usize,
        committed: Offset,
        applied: Applied,
    ) -> Self {
        let new_from = applied.end().unwrap_or(committed).max(committed);
        Self {
            id,
            topic,
            topic_index,
            retry_of: None,
            partition,
            plugin_index,
            committed,
            applied,
            new_from,
            polled: AtomicU64::new(0),
            end_offset: AtomicI64::new(-1),
            marks: Mutex::default(),
            revoked: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            rebuild: Rebuild::none(),
            tallies: TallyNames::default(),
        }
    }

    /// Gives it the names of its sums.
    pub(crate) fn with_tallies(mut self, tallies: TallyNames) -> Self {
        self.tallies = tallies;
        self
    }

    /// Marks it as one of a retry topic, where it is.
    pub(crate) fn retrying(mut self, retry_of: Option<u32>) -> Self {
        self.retry_of = retry_of;
        self
    }

    /// The topic that its events came from at first.
    pub(crate) fn source_index(&self) -> u32 {
        self.retry_of.unwrap_or(self.topic_index)
    }

    /// Nothing of it may be started any more.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// Another member may have the partition already: what was started may not be finished either.
    pub(crate) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.revoke();
    }

    /// Whether nothing more of it is fetched, because there is no room.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }

    pub(crate) fn polled(&self) -> u64 {
        self.polled.load(Ordering::Acquire)
    }

    /// Set by the polling thread, which alone counts.
    pub(crate) fn set_polled(&self, events: u64) {
        self.polled.store(events, Ordering::Release);
    }

    pub(crate) fn end_offset(&self) -> Option<Offset> {
        Some(self.end_offset.load(Ordering::Relaxed))
            .filter(|end| *end >= 0)
            .map(Offset)
    }

    pub(crate) fn set_end_offset(&self, end: Offset) {
        self.end_offset.store(end.0, Ordering::Relaxed);
    }

    /// Notes the newest record that was read, where it has a time.
    pub(crate) fn note_read(&self, offset: Offset, time_ms: Option<i64>) {
        if let Some(time_ms) = time_ms {
            self.with_marks(|marks| marks.note((offset, time_ms)));
        }
    }

    /// What was read when.
    pub(crate) fn with_marks<T>(&self, look: impl FnOnce(&mut Marks) -> T) -> T {
        look(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
