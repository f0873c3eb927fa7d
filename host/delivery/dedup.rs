//! Which ids have been settled lately.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// A 128-bit hash of an event's id. Among 10 million ids the chance that any two collide is below
/// one in 10^24, so a hash stands for its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId(pub u128);

/// The ids of one partition that are remembered, bounded in number and in record time.
#[derive(Debug)]
pub struct Window {
    seen: HashSet<u128, BuildHasherDefault<AlreadyHashed>>,
    /// In the order of settling: both halves of the id, which pack tighter than the whole, and the record
    /// time in milliseconds.
    order: VecDeque<(u64, u64, i64)>,
    window_ms: i64,
    events_max: usize,
    newest_ms: i64,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(window_ms: i64, events_max: usize) -> Self {
        Self {
            seen: HashSet::default(),
            order: VecDeque::new(),
            window_ms,
            events_max,
            newest_ms: i64::MIN,
        }
    }

    /// Whether the id has been settled.
    #[must_use]
    #[inline]
    pub fn contains(&self, id: EventId) -> bool {
        self.seen.contains(&id.0)
    }

    /// Remembers a settled id; false when it was known. `record_ms` is the record's own time, so that a
    /// wrong wall clock neither forgets nor hoards.
    #[inline]
    pub fn insert(&mut self, id: EventId, record_ms: i64) -> bool {
        if !self.seen.insert(id.0) {
            return false;
        }
        self.order
            .push_back(((id.0 >> 64) as u64, id.0 as u64, record_ms));
        self.newest_ms = self.newest_ms.max(record_ms);
        let oldest_ms = self.newest_ms.saturating_sub(self.window_ms);
        while let Some((high, low, record_ms)) = self.order.front().copied() {
            if self.order.len() <= self.events_max && record_ms >= oldest_ms {
                break;
            }
            self.order.pop_front();
            self.seen.remove(&whole(high, low));
        }
        true
    }

    /// Forgets an id that was remembered before its event settled, because the event will run again.
    pub fn forget(&mut self, id: EventId) {
        if self.seen.remove(&id.0) {
            // It was remembered a moment ago, so it stands near the end.
            if let Some(at) = self
                .order
                .iter()
                .rposition(|(h, l, _)| whole(*h, *l) == id.0)
            {
                self.order.remove(at);
            }
        }
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

fn whole(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// Takes the low half of an id as its hash, because the id is one.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        self.0 = id as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_settled_wins() {
        let mut window = Window::new(1_000, 10);
        assert!(!window.contains(EventId(7)));
        assert!(window.insert(EventId(7), 0));
        assert!(window.contains(EventId(7)));
        assert!(!window.insert(EventId(7), 5));
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn a_forgotten_id_may_come_again() {
        let mut window = Window::new(1_000, 10);
        window.insert(EventId(1), 0);
        window.insert(EventId(2), 0);
        window.forget(EventId(1));
        assert!(!window.contains(EventId(1)) && window.contains(EventId(2)));
        assert!(window.insert(EventId(1), 0));
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn the_window_is_bounded_in_number() {
        let mut window = Window::new(i64::MAX, 3);
        for id in 0..5 {
            window.insert(EventId(id), 0);
        }
        assert_eq!(window.len(), 3);
        assert!(!window.contains(EventId(1)) && window.contains(EventId(2)));
    }

    #[test]
    fn the_window_is_bounded_in_record_time() {
        let mut window = Window::new(100, 10);
        window.insert(EventId(1), 1_000);
        window.insert(EventId(2), 1_100);
        assert!(window.contains(EventId(1)));
        window.insert(EventId(3), 1_101);
        assert!(!window.contains(EventId(1)) && window.contains(EventId(2)));
    }
}
