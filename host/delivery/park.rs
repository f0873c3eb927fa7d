//! Keys that wait, each with the events that queue behind it in log order.
//!
//! A key that failed is let go carefully: one event first, and twice as many after each success, so that a key
//! that fails for ever costs one call an attempt however many events wait behind it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::lanes::{GroupMap, OrderGroup};
use super::retry::Millis;

/// Keys that wait, each with the events that queue behind it.
#[derive(Debug)]
pub struct Park<E> {
    keys: GroupMap<Parked<E>>,
    /// Due times; an entry whose key has left or was parked again is skipped.
    due: BinaryHeap<Reverse<(Millis, u64, OrderGroup)>>,
    next_ticket: u64,
    events: usize,
    bytes: usize,
}

/// How many events of a key are handed out at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance(usize);

impl Allowance {
    /// The key has failed: its first event alone.
    pub const ONE: Self = Self(1);
    /// The key waits for a reason outside itself.
    pub const ALL: Self = Self(usize::MAX);

    fn doubled(self) -> Self {
        Self(self.0.saturating_mul(2))
    }
}

/// Events whose time has come.
#[derive(Debug)]
pub struct Due<E> {
    /// To be run now, in log order for each key.
    pub events: Vec<E>,
    /// What of their keys is to be put back afterwards.
    pub rests: Vec<Rest<E>>,
}

/// The events of a key that were not handed out.
#[derive(Debug)]
pub struct Rest<E> {
    key: OrderGroup,
    parked: Parked<E>,
}

#[derive(Debug)]
struct Parked<E> {
    queue: VecDeque<(E, usize)>,
    bytes: usize,
    ticket: u64,
    allowance: Allowance,
}

impl<E> Default for Park<E> {
    fn default() -> Self {
        Self {
            keys: GroupMap::default(),
            due: BinaryHeap::new(),
            next_ticket: 0,
            events: 0,
            bytes: 0,
        }
    }
}

impl<E> Park<E> {
    /// How many events are held back.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether later events of this key must wait.
    #[must_use]
    pub fn holds(&self, key: OrderGroup) -> bool {
        !self.keys.is_empty() && self.keys.contains_key(&key)
    }

    /// Holds the key until `due`, and then hands out as many of its events as `allowance` says. Events are
    /// added with [`Self::push`].
    pub fn park(&mut self, key: OrderGroup, due: Millis, allowance: Allowance) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let parked = self.keys.entry(key).or_insert_with(|| Parked {
            queue: VecDeque::new(),
            bytes: 0,
            ticket,
            allowance,
        });
        parked.ticket = ticket;
        parked.allowance = allowance;
        self.due.push(Reverse((due, ticket, key)));
    }

    /// Queues an event behind its key, which must be held.
    pub fn push(&mut self, key: OrderGroup, event: E, bytes: usize) {
        if let Some(parked) = self.keys.get_mut(&key) {
            parked.queue.push_back((event, bytes));
            parked.bytes += bytes;
            self.events += 1;
            self.bytes += bytes;
        }
    }

    /// When the next key is due; none when nothing is held.
    pub fn next_due(&mut self) -> Option<Millis> {
        self.skip_stale();
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    /// Lets keys that are held until `from` or longer be due now.
    pub fn wake(&mut self, from: Millis, now: Millis) {
        let due = std::mem::take(&mut self.due).into_iter();
        self.due = due
            .map(|Reverse((at, ticket, key))| {
                Reverse((if at >= from { now } else { at }, ticket, key))
            })
            .collect();
    }

    /// Lets go of keys that are due, until this many events or bytes have been handed out. A key comes
    /// with its events in log order; what of it is not handed out comes apart, and must be put back behind
    /// it with [`Self::put_back`] when the others have run.
    pub fn take_due(&mut self, now: Millis, events_max: usize, bytes_max: usize) -> Due<E> {
        let mut due = Due {
            events: Vec::new(),
            rests: Vec::new(),
        };
        let mut bytes_sum = 0;
        while due.events.len() < events_max
            && bytes_sum < bytes_max
            && self.next_due().is_some_and(|at| at <= now)
        {
            let Some(Reverse((_, _, key))) = self.due.pop() else {
                break;
            };
            let Some(mut parked) = self.take(key) else {
                continue;
            };
            let events_max = events_max.min(due.events.len().saturating_add(parked.allowance.0));
            while due.events.len() < events_max
                && bytes_sum < bytes_max
                && let Some((event, bytes)) = parked.queue.pop_front()
            {
                bytes_sum += bytes;
                parked.bytes -= bytes;
                due.events.push(event);
            }
            if !parked.queue.is_empty() {
                due.rests.push(Rest { key, parked });
            }
        }
        due
    }

    /// Puts the rest of a key back: behind the key where it is held again. Otherwise what ran went well:
    /// the rest is due now, and twice as much of it at once.
    pub fn put_back(&mut self, rest: Rest<E>, now: Millis) {
        let Rest { key, mut parked } = rest;
        if !self.holds(key) {
            self.park(key, now, parked.allowance.doubled());
        }
        self.events += parked.queue.len();
        self.bytes += parked.bytes;
        if let Some(held) = self.keys.get_mut(&key) {
            // Few events have failed and many may wait behind them, so the few are moved.
            while let Some(first) = held.queue.pop_back() {
                parked.queue.push_front(first);
            }
            held.queue = parked.queue;
            held.bytes += parked.bytes;
        }
    }

    /// Takes the first event of the key with the longest queue, which is the one that fills the park, among
    /// those that `eligible` names. What was behind it must be put back. None when there is none.
    pub fn take_longest(&mut self, eligible: impl Fn(&E) -> bool) -> Option<(E, Option<Rest<E>>)> {
        let first_may_go =
            |parked: &Parked<E>| parked.queue.front().is_some_and(|(e, _)| eligible(e));
        let longest = self
            .keys
            .iter()
            .filter(|(_, parked)| first_may_go(parked))
            // Of queues that are equally long, the one that has waited since earlier.
            .max_by_key(|(_, parked)| (parked.queue.len(), Reverse(parked.ticket)));
        let key = *longest?.0;
        let mut parked = self.take(key)?;
        let (event, bytes) = parked.queue.pop_front()?;
        parked.bytes -= bytes;
        parked.allowance = Allowance::ONE;
        let rest = (!parked.queue.is_empty()).then_some(Rest { key, parked });
        Some((event, rest))
    }

    /// Drops the events that `keep` refuses, and hands them out.
    pub fn forget(&mut self, mut keep: impl FnMut(&E) -> bool) -> Vec<E> {
        let mut out = Vec::new();
        for parked in self.keys.values_mut() {
            for (event, bytes) in std::mem::take(&mut parked.queue) {
                if keep(&event) {
                    parked.queue.push_back((event, bytes));
                } else {
                    parked.bytes -= bytes;
                    self.events -= 1;
                    self.bytes -= bytes;
                    out.push(event);
                }
            }
        }
        self.keys.retain(|_, parked| !parked.queue.is_empty());
        out
    }

    fn take(&mut self, key: OrderGroup) -> Option<Parked<E>> {
        let parked = self.keys.remove(&key)?;
        self.events -= parked.queue.len();
        self.bytes -= parked.bytes;
        Some(parked)
    }

    fn skip_stale(&mut self) {
        while let Some(Reverse((_, ticket, key))) = self.due.peek() {
            if self
                .keys
                .get(key)
                .is_some_and(|parked| parked.ticket == *ticket)
            {
                return;
            }
            self.due.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: OrderGroup = OrderGroup(1);
    const OTHER: OrderGroup = OrderGroup(2);

    #[test]
    fn events_queue_behind_their_key_and_leave_in_order() {
        let mut park = Park::default();
        park.park(KEY, Millis(50), Allowance::ALL);
        park.push(KEY, "a1", 10);
        park.push(KEY, "a2", 10);
        assert!(park.holds(KEY) && !park.holds(OTHER));
        assert!(
            park.take_due(Millis(49), 100, 100).events.is_empty(),
            "never early"
        );
        assert_eq!(park.take_due(Millis(50), 100, 100).events, ["a1", "a2"]);
        assert_eq!((park.events(), park.bytes()), (0, 0));
        assert!(!park.holds(KEY));
    }

    #[test]
    fn a_key_parked_again_is_due_at_its_new_time_only() {
        let mut park = Park::default();
        park.park(KEY, Millis(10), Allowance::ONE);
        park.push(KEY, 1, 0);
        park.park(KEY, Millis(90), Allowance::ONE);
        assert_eq!(park.next_due(), Some(Millis(90)));
        assert!(park.take_due(Millis(10), 9, 9).events.is_empty());
    }

    #[test]
    fn keys_that_are_held_for_good_are_due_when_they_are_woken_and_others_when_they_were() {
        let for_good = Millis(u64::MAX / 2);
        let mut park = Park::default();
        park.park(KEY, for_good, Allowance::ALL);
        park.push(KEY, "a1", 1);
        park.push(KEY, "a2", 1);
        park.park(OTHER, Millis(50), Allowance::ONE);
        park.push(OTHER, "b", 1);
        park.wake(for_good, Millis(10));
        assert_eq!(park.take_due(Millis(10), 9, 9).events, ["a1", "a2"]);
        assert_eq!(park.next_due(), Some(Millis(50)));
    }

    #[test]
    fn forgetting_leaves_the_other_events_in_order() {
        let mut park = Park::default();
        park.park(KEY, Millis(1), Allowance::ALL);
        park.park(OTHER, Millis(2), Allowance::ALL);
        for n in 0..4 {
            park.push(KEY, n, 1);
        }
        park.push(OTHER, 5, 1);
        assert_eq!(park.forget(|n| n % 2 == 0).len(), 3);
        assert_eq!(park.take_due(Millis(9), 9, 9).events, [0, 2]);
        assert_eq!(park.next_due(), None);
    }

    #[test]
    fn a_long_key_comes_in_parts_and_keeps_its_order() {
        let mut park = Park::default();
        park.park(KEY, Millis(1), Allowance::ALL);
        for n in 0..5 {
            park.push(KEY, n, 10);
        }
        let mut due = park.take_due(Millis(1), 2, 1_000);
        assert_eq!(due.events, [0, 1]);
        assert!(
            !park.holds(KEY),
            "while a part runs, nothing of the key is in the park"
        );
        // The second of the part failed and is held again, until 50.
        park.park(KEY, Millis(50), Allowance::ALL);
        park.push(KEY, 1, 10);
        park.put_back(due.rests.remove(0), Millis(2));
        assert!(park.take_due(Millis(49), 9, 1_000).events.is_empty());
        let mut due = park.take_due(Millis(50), 9, 25);
        assert_eq!(due.events, [1, 2, 3], "until the bytes are reached");
        park.put_back(due.rests.remove(0), Millis(50));
        assert_eq!(park.take_due(Millis(50), 9, 1_000).events, [4]);
        assert_eq!((park.events(), park.bytes()), (0, 0));
    }

    #[test]
    fn a_key_that_failed_is_let_go_one_event_first_and_twice_as_many_after_each_success() {
        let mut park = Park::default();
        park.park(KEY, Millis(1), Allowance::ONE);
        for n in 0..8 {
            park.push(KEY, n, 1);
        }
        let mut taken = Vec::new();
        for _ in 0..4 {
            let mut due = park.take_due(Millis(1), 100, 100);
            taken.push(due.events);
            if let Some(rest) = due.rests.pop() {
                park.put_back(rest, Millis(1));
            }
        }
        assert_eq!(taken, [vec![0], vec![1, 2], vec![3, 4, 5, 6], vec![7]]);
    }

    #[test]
    fn the_key_that_fills_the_park_gives_its_first_event_up() {
        let mut park = Park::default();
        park.park(OTHER, Millis(1), Allowance::ONE);
        park.push(OTHER, 9, 1);
        park.park(KEY, Millis(1_000), Allowance::ONE);
        park.push(KEY, 0, 1);
        park.push(KEY, 1, 1);
        let (event, rest) = park.take_longest(|_| true).unwrap();
        assert_eq!(event, 0);
        park.put_back(rest.unwrap(), Millis(5));
        assert_eq!(park.take_due(Millis(5), 9, 9).events, [9, 1]);
        assert!(park.take_longest(|_| true).is_none());
    }
}
