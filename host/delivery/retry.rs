//! When a failed event runs again, and what waits behind it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::lanes::OrderGroup;

/// A time in milliseconds of a clock that never goes back. Only differences mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This many milliseconds later.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Exponential backoff with jitter.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// Delay before the second attempt, in milliseconds.
    pub initial_ms: u64,
    /// Each further delay is this many times the one before.
    pub factor: f64,
    /// No delay is longer, in milliseconds.
    pub max_ms: u64,
    /// Share of each delay that is random, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// The delay after this many failed attempts (from 1), for a random number from 0 to 1. Jitter only
    /// shortens, so that `max_ms` stays the longest.
    #[must_use]
    pub fn delay_ms(&self, failed_attempts: u32, random: f64) -> u64 {
        let exponent = f64::from(failed_attempts.saturating_sub(1));
        let full = (self.initial_ms as f64 * self.factor.powf(exponent)).min(self.max_ms as f64);
        (full * (1.0 - self.jitter * random)) as u64
    }
}

/// Keys that wait for a retry, each with the events that queue behind it in log order.
#[derive(Debug)]
pub struct Park<E> {
    keys: HashMap<OrderGroup, Parked<E>>,
    /// Due times; an entry whose key has left or was parked again is skipped.
    due: BinaryHeap<Reverse<(Millis, u64, OrderGroup)>>,
    next_ticket: u64,
    events: usize,
    bytes: usize,
}

/// Events whose time has come.
#[derive(Debug)]
pub struct Due<E> {
    /// To be run now, in log order for each key.
    pub events: Vec<E>,
    /// What of the last key is to be put back afterwards.
    pub rest: Option<Rest<E>>,
}

/// The events of a key that did not fit.
#[derive(Debug)]
pub struct Rest<E> {
    key: OrderGroup,
    queue: VecDeque<(E, usize)>,
}

#[derive(Debug)]
struct Parked<E> {
    queue: VecDeque<(E, usize)>,
    ticket: u64,
}

impl<E> Default for Park<E> {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
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

    /// Holds the key until `due`. Events are added with [`Self::push`].
    pub fn park(&mut self, key: OrderGroup, due: Millis) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.keys
            .entry(key)
            .or_insert_with(|| Parked {
                queue: VecDeque::new(),
                ticket,
            })
            .ticket = ticket;
        self.due.push(Reverse((due, ticket, key)));
    }

    /// Queues an event behind its key, which must be held.
    pub fn push(&mut self, key: OrderGroup, event: E, bytes: usize) {
        if let Some(parked) = self.keys.get_mut(&key) {
            parked.queue.push_back((event, bytes));
            self.events += 1;
            self.bytes += bytes;
        }
    }

    /// When the next key is due; none when nothing is held.
    pub fn next_due(&mut self) -> Option<Millis> {
        self.skip_stale();
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    /// Lets go of keys that are due, until this many events or bytes have been handed out. A key comes
    /// with its events in log order; what of the last key does not fit is handed out apart, and must be
    /// put back behind it with [`Self::put_back`] when the others have run.
    pub fn take_due(&mut self, now: Millis, events_max: usize, bytes_max: usize) -> Due<E> {
        let mut due = Due {
            events: Vec::new(),
            rest: None,
        };
        let mut bytes_sum = 0;
        while due.rest.is_none() && self.next_due().is_some_and(|at| at <= now) {
            if due.events.len() >= events_max || bytes_sum >= bytes_max {
                break;
            }
            let Some(Reverse((_, _, key))) = self.due.pop() else {
                break;
            };
            let Some(mut parked) = self.keys.remove(&key) else {
                continue;
            };
            while let Some((event, bytes)) = parked.queue.pop_front() {
                self.events -= 1;
                self.bytes -= bytes;
                bytes_sum += bytes;
                due.events.push(event);
                if due.events.len() >= events_max || bytes_sum >= bytes_max {
                    break;
                }
            }
            if !parked.queue.is_empty() {
                for (_, bytes) in &parked.queue {
                    self.events -= 1;
                    self.bytes -= bytes;
                }
                due.rest = Some(Rest {
                    key,
                    queue: parked.queue,
                });
            }
        }
        due
    }

    /// Puts the rest of a key back: behind the key where it is held again, and due now otherwise.
    pub fn put_back(&mut self, rest: Rest<E>, now: Millis) {
        if !self.holds(rest.key) {
            self.park(rest.key, now);
        }
        for (event, bytes) in rest.queue {
            self.push(rest.key, event, bytes);
        }
    }

    /// Drops the events that `keep` refuses, and hands them out.
    pub fn forget(&mut self, mut keep: impl FnMut(&E) -> bool) -> Vec<E> {
        let mut out = Vec::new();
        for parked in self.keys.values_mut() {
            for (event, bytes) in std::mem::take(&mut parked.queue) {
                if keep(&event) {
                    parked.queue.push_back((event, bytes));
                } else {
                    self.events -= 1;
                    self.bytes -= bytes;
                    out.push(event);
                }
            }
        }
        self.keys.retain(|_, parked| !parked.queue.is_empty());
        out
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
    fn delays_grow_to_the_maximum_and_jitter_only_shortens() {
        let backoff = Backoff {
            initial_ms: 100,
            factor: 2.0,
            max_ms: 350,
            jitter: 0.5,
        };
        let delays: Vec<u64> = (1..=4).map(|n| backoff.delay_ms(n, 0.0)).collect();
        assert_eq!(delays, [100, 200, 350, 350]);
        assert_eq!(backoff.delay_ms(1, 1.0), 50);
    }

    #[test]
    fn events_queue_behind_their_key_and_leave_in_order() {
        let mut park = Park::default();
        park.park(KEY, Millis(50));
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
        park.park(KEY, Millis(10));
        park.push(KEY, 1, 0);
        park.park(KEY, Millis(90));
        assert_eq!(park.next_due(), Some(Millis(90)));
        assert!(park.take_due(Millis(10), 9, 9).events.is_empty());
    }

    #[test]
    fn forgetting_leaves_the_other_events_in_order() {
        let mut park = Park::default();
        park.park(KEY, Millis(1));
        park.park(OTHER, Millis(2));
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
        park.park(KEY, Millis(1));
        for n in 0..5 {
            park.push(KEY, n, 10);
        }
        let due = park.take_due(Millis(1), 2, 1_000);
        assert_eq!(due.events, [0, 1]);
        assert!(
            !park.holds(KEY),
            "while a part runs, nothing of the key is in the park"
        );
        // The second of the part failed and is held again, until 50.
        park.park(KEY, Millis(50));
        park.push(KEY, 1, 10);
        park.put_back(due.rest.unwrap(), Millis(2));
        assert!(park.take_due(Millis(49), 9, 1_000).events.is_empty());
        let due = park.take_due(Millis(50), 9, 25);
        assert_eq!(due.events, [1, 2, 3], "until the bytes are reached");
        park.put_back(due.rest.unwrap(), Millis(50));
        assert_eq!(park.take_due(Millis(50), 9, 1_000).events, [4]);
        assert_eq!((park.events(), park.bytes()), (0, 0));
    }
}
