//! Which ids have been settled lately.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A 128-bit hash of an event's id. Among 10 million ids the chance that any two collide is below
/// one in 10^24, so a hash stands for its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId(pub u128);

/// The ids of one partition that are remembered, bounded in number and in record time.
///
/// The tables hold four bytes an id, its place in the order; the ids themselves stand in the order, which is
/// written and read from end to end. So a window of 100 000 ids stays within the second-level cache, where
/// a set of whole ids would not.
///
/// An id that leaves the window is not taken out of its table, which would be one more access at random for
/// every event: its number is out of the order, and that says enough. There are two tables, and when every id
/// of the older one has left, it is emptied at once and takes the new ones.
#[derive(Debug)]
pub struct Window {
    /// Numbers of the ids since `newer_begin`, found by the low half of the id.
    newer: HashTable<u32>,
    /// Numbers of those before, and of ids that have left.
    older: HashTable<u32>,
    newer_begin: u32,
    /// In the order of settling.
    order: VecDeque<Remembered>,
    /// Number of the first id in the order. Numbers wrap, which is harmless while fewer than 2^31 ids are
    /// remembered at once.
    first: u32,
    /// How many ids in the order count.
    live: usize,
    window_ms: i64,
    events_max: usize,
    newest_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    high: u64,
    low: u64,
    record_ms: i64,
    /// Whether the id still counts; it may have been forgotten.
    live: bool,
}

impl Remembered {
    fn is(&self, id: EventId) -> bool {
        self.low == id.0 as u64 && self.high == (id.0 >> 64) as u64 && self.live
    }
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(window_ms: i64, events_max: usize) -> Self {
        Self {
            newer: HashTable::new(),
            older: HashTable::new(),
            newer_begin: 0,
            order: VecDeque::new(),
            first: 0,
            live: 0,
            window_ms,
            events_max,
            newest_ms: i64::MIN,
        }
    }

    /// Whether the id has been settled.
    #[must_use]
    pub fn contains(&self, id: EventId) -> bool {
        self.place(id).is_some()
    }

    /// Remembers a settled id; false when it was known. `record_ms` is the record's own time, so that a
    /// wrong wall clock neither forgets nor hoards.
    #[inline]
    pub fn insert(&mut self, id: EventId, record_ms: i64) -> bool {
        let Self {
            newer,
            older,
            order,
            first,
            ..
        } = self;
        let (high, low) = ((id.0 >> 64) as u64, id.0 as u64);
        let number = first.wrapping_add(order.len() as u32);
        let is_it = |known: &u32| at(order, *first, *known).is_some_and(|known| known.is(id));
        let low_of = |known: &u32| at(order, *first, *known).map_or(0, |known| known.low);
        // The older table is asked first, so that the two accesses do not wait for each other.
        let in_older = older.find(low, is_it).is_some();
        match newer.entry(low, is_it, low_of) {
            Entry::Vacant(place) if !in_older => {
                place.insert(number);
            }
            _ => return false,
        }
        order.push_back(Remembered {
            high,
            low,
            record_ms,
            live: true,
        });
        self.live += 1;
        self.newest_ms = self.newest_ms.max(record_ms);
        self.let_go();
        true
    }

    /// Lets go of what is outside the window.
    fn let_go(&mut self) {
        let oldest_ms = self.newest_ms.saturating_sub(self.window_ms);
        while let Some(oldest) = self.order.front() {
            if self.order.len() <= self.events_max && oldest.record_ms >= oldest_ms {
                return;
            }
            self.live -= usize::from(oldest.live);
            self.order.pop_front();
            self.first = self.first.wrapping_add(1);
            // Only a difference has a sign, because numbers wrap.
            if self.first.wrapping_sub(self.newer_begin) as i32 >= 0 {
                std::mem::swap(&mut self.newer, &mut self.older);
                self.newer.clear();
                self.newer_begin = self.first.wrapping_add(self.order.len() as u32);
            }
        }
    }

    /// Forgets an id that was remembered before its event settled, because the event will run again.
    pub fn forget(&mut self, id: EventId) {
        let known = self.place(id);
        if let Some(remembered) = known.and_then(|place| self.order.get_mut(place)) {
            remembered.live = false;
            self.live -= 1;
        }
    }

    /// Where the id stands in the order; none when it does not count.
    fn place(&self, id: EventId) -> Option<usize> {
        let is_it = |known: &u32| {
            let known = at(&self.order, self.first, *known);
            known.is_some_and(|known| known.is(id))
        };
        let low = id.0 as u64;
        let number = self.newer.find(low, is_it);
        let number = number.or_else(|| self.older.find(low, is_it))?;
        Some(number.wrapping_sub(self.first) as usize)
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }
}

/// The id with this number; none when it has left the window.
#[inline]
fn at(order: &VecDeque<Remembered>, first: u32, number: u32) -> Option<&Remembered> {
    order.get(number.wrapping_sub(first) as usize)
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

    #[test]
    fn ids_that_have_left_take_no_room_for_long() {
        let mut window = Window::new(i64::MAX, 100);
        for id in 0..10_000 {
            window.insert(EventId(id), 0);
            assert!(window.newer.len() + window.older.len() <= 201);
        }
        assert!((9_900..10_000).all(|id| window.contains(EventId(id))));
    }

    /// Against a model: any mixture of remembering and forgetting, in number and in time.
    #[test]
    fn the_window_agrees_with_a_list_of_ids() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut window = Window::new(300, 40);
            let mut model: VecDeque<(u128, i64, bool)> = VecDeque::new();
            let (mut now, mut newest) = (0, i64::MIN);
            for _ in 0..2_000 {
                now += random.i64(0..12);
                let id = random.u128(0..80) << 64 | random.u128(0..3);
                let known = model.iter().any(|(known, _, live)| *live && *known == id);
                assert_eq!(window.contains(EventId(id)), known, "seed {seed}");
                if random.u8(0..4) == 0 {
                    window.forget(EventId(id));
                    model
                        .iter_mut()
                        .filter(|(known, ..)| *known == id)
                        .for_each(|e| e.2 = false);
                    continue;
                }
                assert_eq!(window.insert(EventId(id), now), !known, "seed {seed}");
                if !known {
                    model.push_back((id, now, true));
                    newest = newest.max(now);
                    while model
                        .front()
                        .is_some_and(|e| model.len() > 40 || e.1 < newest - 300)
                    {
                        model.pop_front();
                    }
                }
                assert_eq!(
                    window.len(),
                    model.iter().filter(|e| e.2).count(),
                    "seed {seed}"
                );
            }
        }
    }
}
