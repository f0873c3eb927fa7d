//! The way of one topic's records to the broker: which of them may leave now.
//!
//! Order is kept: a record that comes back takes its old place, and nothing leaves before everything that
//! had left with it has come back too. It must not know the producer, or what a record is for.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Bytes on their way at once after a batch was refused as too large. Half of the largest batch that
/// librdkafka makes by default (`batch.size`); it is halved again with every further refusal.
const NARROW_BYTES: usize = 500_000;

/// The records of one topic that the broker has not acknowledged.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) topic: String,
    /// How many of them were refused at least once.
    pub(super) refused: usize,
    /// Those that are not with the producer: bytes by token.
    waiting: BTreeMap<usize, usize>,
    /// How many are with the producer, and their bytes.
    out: (usize, usize),
    /// After a refusal: nothing leaves before this.
    not_before: Option<Instant>,
    /// Bytes that may be out at once, so that no batch is larger. None until a batch was too large.
    out_bytes_max: Option<usize>,
    /// Whether the limit was lowered since everything had come back.
    narrowed: bool,
    /// Those that are too large by themselves, and when each is tried again. The others do not wait for them.
    too_large: VecDeque<(Instant, usize, usize)>,
}

impl Route {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            refused: 0,
            waiting: BTreeMap::new(),
            out: (0, 0),
            not_before: None,
            out_bytes_max: None,
            narrowed: false,
            too_large: VecDeque::new(),
        }
    }

    /// Takes a record in, or back in its place.
    pub(super) fn push(&mut self, token: usize, bytes: usize) {
        self.waiting.insert(token, bytes);
    }

    /// Puts a record aside that the topic does not take, until a time.
    pub(super) fn put_aside(&mut self, token: usize, bytes: usize, until: Instant) {
        self.too_large.push_back((until, token, bytes));
    }

    /// The record that may leave now, and whether it will share no batch with another.
    pub(super) fn next(&mut self, now: Instant) -> Option<(usize, bool)> {
        while let Some((_, token, bytes)) = self.too_large.pop_front_if(|(until, ..)| *until <= now)
        {
            self.waiting.insert(token, bytes);
        }
        let (token, bytes) = self.waiting.first_key_value()?;
        let (out, out_bytes) = self.out;
        if let Some(not_before) = self.not_before {
            if out > 0 || now < not_before {
                return None;
            }
            self.not_before = None;
        }
        let Some(bytes_max) = self.out_bytes_max else {
            return Some((*token, false));
        };
        if out > 0 && (self.narrowed || out_bytes + bytes > bytes_max) {
            return None;
        }
        self.narrowed = false;
        // One that fills the limit left alone, and nothing follows it before it is back.
        Some((*token, *bytes >= bytes_max))
    }

    /// The producer has taken the record that [`Self::next`] named.
    pub(super) fn sent_next(&mut self) {
        if let Some((_, bytes)) = self.waiting.pop_first() {
            self.out = (self.out.0 + 1, self.out.1 + bytes);
        }
    }

    /// The record that [`Self::next`] named does not leave.
    pub(super) fn drop_next(&mut self) {
        self.waiting.pop_first();
    }

    /// A record of this many bytes has come back from the producer, acknowledged or not.
    pub(super) fn returned(&mut self, bytes: usize) {
        self.out = (
            self.out.0.saturating_sub(1),
            self.out.1.saturating_sub(bytes),
        );
    }

    /// Lets nothing leave before a time, or before everything is back.
    pub(super) fn wait_until(&mut self, time: Instant) {
        self.not_before = self.not_before.max(Some(time));
    }

    /// A batch was too large: the next ones are smaller. All records of a refused batch say so, and count
    /// once.
    pub(super) fn narrow(&mut self) {
        if !std::mem::replace(&mut self.narrowed, true) {
            let halved = self.out_bytes_max.map_or(NARROW_BYTES, |max| max / 2);
            self.out_bytes_max = Some(halved.max(1));
        }
    }

    /// Whether records are with the producer.
    pub(super) fn is_busy(&self) -> bool {
        self.out.0 > 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends whatever may leave, and says which.
    fn leave(route: &mut Route, now: Instant) -> Vec<(usize, bool)> {
        let mut left = Vec::new();
        while let Some(next) = route.next(now) {
            route.sent_next();
            left.push(next);
        }
        left
    }

    fn route_of(bytes: &[usize]) -> Route {
        let mut route = Route::new("t");
        for (token, bytes) in bytes.iter().enumerate() {
            route.push(token, *bytes);
        }
        route
    }

    #[test]
    fn refused_records_leave_again_in_their_order_and_ahead_of_later_ones() {
        let now = Instant::now();
        let mut route = route_of(&[10; 4]);
        assert_eq!(leave(&mut route, now).len(), 4);
        route.push(4, 10);
        for token in [2, 0] {
            route.returned(10);
            route.push(token, 10);
            route.wait_until(now + Duration::from_secs(1));
        }
        let later = now + Duration::from_secs(2);
        assert_eq!(leave(&mut route, later), [], "1 and 3 are still out");
        route.returned(10);
        route.returned(10);
        assert_eq!(leave(&mut route, now), [], "it is too early");
        let tokens: Vec<_> = leave(&mut route, later).iter().map(|next| next.0).collect();
        assert_eq!(tokens, [0, 2, 4]);
    }

    /// A broker that refuses every batch above its limit: each record it can take gets through, and the one
    /// it cannot is found out, whatever stands beside it.
    #[test]
    fn the_record_that_is_too_large_is_told_from_those_that_were_refused_with_it() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let limit = random.usize(1_000..100_000);
            let sizes: Vec<usize> = (0..random.usize(1..60))
                .map(|_| match random.u8(0..10) {
                    0 => random.usize(limit + 1..=limit * 3),
                    _ => random.usize(50..=limit.min(5_000)),
                })
                .collect();
            let mut route = route_of(&sizes);
            let (mut through, mut blamed) = (Vec::new(), Vec::new());
            for round in 0.. {
                assert!(round < 200, "seed {seed}: it never ends");
                let left = leave(&mut route, Instant::now());
                if left.is_empty() {
                    break;
                }
                // The worst that the client can do: everything that is out becomes one batch.
                let batch: usize = left.iter().map(|(token, _)| sizes[*token]).sum();
                for (token, alone) in &left {
                    route.returned(sizes[*token]);
                    if batch <= limit {
                        through.push(*token);
                    } else if *alone {
                        assert_eq!(left.len(), 1, "seed {seed}: it was not alone");
                        blamed.push(*token);
                    } else {
                        route.narrow();
                        route.push(*token, sizes[*token]);
                    }
                }
            }
            let too_large = |token: &usize| sizes[*token] > limit;
            assert!(blamed.iter().all(too_large), "seed {seed}");
            assert!(!through.iter().any(too_large), "seed {seed}");
            assert_eq!(through.len() + blamed.len(), sizes.len(), "seed {seed}");
        }
    }
}
