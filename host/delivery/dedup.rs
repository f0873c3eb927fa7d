//! Which ids have been settled lately.

mod table;

use std::collections::VecDeque;

use self::table::{Found, Numbers, Table};

/// A 128-bit hash of an event's id. Among 10 million ids the chance that any two collide is below
/// one in 10^24, so a hash stands for its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId(pub u128);

/// The record time of an id that does not count any more.
const FORGOTTEN_MS: i64 = i64::MIN;

/// The ids of one partition that are remembered, bounded in number and in record time.
///
/// The ids stand in the order in which they came, which is written and read from end to end; the table says
/// where in the order an id stands. So an event costs one access at random, to one cache line.
#[derive(Debug)]
pub struct Window {
    table: Table,
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
    id: [u64; 2],
    /// The record's own time, or [`FORGOTTEN_MS`].
    record_ms: i64,
}

impl Remembered {
    fn is(&self, id: [u64; 2]) -> bool {
        self.id == id && self.record_ms != FORGOTTEN_MS
    }
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(window_ms: i64, events_max: usize) -> Self {
        Self {
            table: Table::default(),
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
        self.place(halves(id)).is_some()
    }

    /// Remembers a settled id; false when it was known. `record_ms` is the record's own time, so that a
    /// wrong wall clock neither forgets nor hoards.
    #[inline]
    pub fn insert(&mut self, id: EventId, record_ms: i64) -> bool {
        let id = halves(id);
        let numbers = self.numbers();
        if self.table.is_full(numbers) {
            let order = &self.order;
            self.table.grow(numbers, |place| order[place].id);
        }
        let order = &self.order;
        match self.table.find(id, numbers, |place| order[place].is(id)) {
            Found::Known(_) => return false,
            Found::Free(free) => self.table.put(free, id, numbers.next()),
        }
        let record_ms = record_ms.max(FORGOTTEN_MS + 1);
        self.order.push_back(Remembered { id, record_ms });
        self.live += 1;
        self.newest_ms = self.newest_ms.max(record_ms);
        self.let_go();
        true
    }

    /// Reads what a lookup of the id would read first, so that the lookup finds it near. What it returns means
    /// nothing; it is there to be used, or the compiler would leave the reading out.
    #[inline]
    #[must_use]
    pub fn touch(&self, id: EventId) -> u32 {
        self.table.touch(halves(id))
    }

    /// Lets go of what is outside the window.
    fn let_go(&mut self) {
        let oldest_ms = self.newest_ms.saturating_sub(self.window_ms);
        while let Some(oldest) = self.order.front() {
            if self.order.len() <= self.events_max && oldest.record_ms >= oldest_ms {
                return;
            }
            self.live -= usize::from(oldest.record_ms != FORGOTTEN_MS);
            self.order.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Forgets an id that was remembered before its event settled, because the event will run again.
    pub fn forget(&mut self, id: EventId) {
        let known = self.place(halves(id));
        if let Some(remembered) = known.and_then(|place| self.order.get_mut(place)) {
            remembered.record_ms = FORGOTTEN_MS;
            self.live -= 1;
        }
    }

    /// Where the id stands in the order; none when it does not count.
    fn place(&self, id: [u64; 2]) -> Option<usize> {
        let is_it = |place: usize| self.order[place].is(id);
        match self.table.find(id, self.numbers(), is_it) {
            Found::Known(place) => Some(place),
            Found::Free(_) => None,
        }
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            first: self.first,
            count: self.order.len() as u32,
        }
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

/// The low half first.
fn halves(id: EventId) -> [u64; 2] {
    [id.0 as u64, (id.0 >> 64) as u64]
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
            assert!(window.table.ids_max() <= 128);
        }
        assert!((9_900..10_000).all(|id| window.contains(EventId(id))));
    }

    #[test]
    fn a_window_that_grows_while_its_numbers_wrap_loses_no_id() {
        let mut window = Window::new(i64::MAX, 20_000);
        window.first = u32::MAX - 10_000;
        let mut random = fastrand::Rng::with_seed(7);
        let ids: Vec<_> = (0..50_000).map(|_| EventId(random.u128(..))).collect();
        for (count, id) in ids.iter().enumerate() {
            assert!(window.insert(*id, 0), "id {count}");
            assert!(!window.insert(*id, 0), "id {count} again");
            let oldest = ids[(count + 1).saturating_sub(20_000)];
            assert!(window.contains(oldest), "the oldest at id {count}");
        }
        let (left, kept) = ids.split_at(30_000);
        assert!(left.iter().all(|id| !window.contains(*id)));
        assert!(kept.iter().all(|id| window.contains(*id)));
    }

    /// Against a model: any mixture of remembering and forgetting, in number and in time.
    #[test]
    fn the_window_agrees_with_a_list_of_ids() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut window = Window::new(300, 40);
            // Half-way through, the numbers wrap.
            window.first = u32::MAX - 500;
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
                        .is_some_and(|e| model.len() > 40 || !e.2 || e.1 < newest - 300)
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
