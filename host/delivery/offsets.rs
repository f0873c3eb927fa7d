//! Which offsets of one assigned partition are settled, and how far a commit may go.
//!
//! Every polled event gets the next number of a dense sequence. A commit covers the longest run of
//! settled numbers from the first one on; compaction and transaction markers leave gaps in offsets but
//! none in the sequence, so contiguity is exact.

use std::collections::BTreeMap;
use std::fmt;

/// A Kafka offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The offset after this one, which is what Kafka wants committed.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Settled events with consecutive numbers and consecutive offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Number of the first event.
    pub first_seq: u64,
    /// Offset of the first event; the others follow without a gap.
    pub first_offset: Offset,
    /// How many events.
    pub count: u64,
}

/// Offsets from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The lowest.
    pub first: Offset,
    /// The highest.
    pub last: Offset,
}

/// An event was settled twice, or one that was never polled: the host's own bug, never the plugin's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event number {seq} was settled twice")]
pub struct SettledTwice {
    /// The number of the event.
    pub seq: u64,
}

/// Tracks one assignment of one partition.
#[derive(Debug)]
pub struct OffsetTracker {
    /// Everything below this number is settled.
    head: u64,
    /// Settled runs above the head, by the number of their first event; no two touch.
    above: BTreeMap<u64, Above>,
    position: Offset,
    settled: u64,
}

/// A settled run above the head.
#[derive(Debug, Clone, Copy)]
struct Above {
    /// The number after its last event.
    end_seq: u64,
    offsets: OffsetRange,
}

impl OffsetTracker {
    /// Starts at the offset of the first event that will be polled.
    #[must_use]
    pub fn starting_at(position: Offset) -> Self {
        Self {
            head: 0,
            above: BTreeMap::new(),
            position,
            settled: 0,
        }
    }

    /// Marks a run of events as settled.
    ///
    /// # Errors
    /// An event of the run had been settled before; nothing of the run is taken then.
    pub fn settle(&mut self, run: Run) -> Result<(), SettledTwice> {
        let last = Offset(run.first_offset.0 + run.count as i64 - 1);
        let end_seq = run.first_seq + run.count;
        if run.first_seq < self.head {
            return Err(SettledTwice { seq: run.first_seq });
        }
        // The common case: one lane settles in log order, and the run joins the head at once.
        if run.first_seq == self.head && self.above.is_empty() {
            self.advance(end_seq, last);
            self.settled += run.count;
            return Ok(());
        }
        let mut joined = Above {
            end_seq,
            offsets: OffsetRange {
                first: run.first_offset,
                last,
            },
        };
        let mut first_seq = run.first_seq;
        if let Some((before_seq, before)) = self.above.range(..end_seq).next_back() {
            let (before_seq, before) = (*before_seq, *before);
            if before.end_seq > run.first_seq {
                return Err(SettledTwice {
                    seq: before_seq.max(run.first_seq),
                });
            }
            if before.end_seq == run.first_seq {
                self.above.remove(&before_seq);
                (first_seq, joined.offsets.first) = (before_seq, before.offsets.first);
            }
        }
        if let Some(after) = self.above.remove(&end_seq) {
            (joined.end_seq, joined.offsets.last) = (after.end_seq, after.offsets.last);
        }
        self.settled += run.count;
        if first_seq == self.head {
            self.advance(joined.end_seq, joined.offsets.last);
        } else {
            self.above.insert(first_seq, joined);
        }
        Ok(())
    }

    fn advance(&mut self, end_seq: u64, last: Offset) {
        self.head = end_seq;
        self.position = last.next();
    }

    /// What may be committed: the offset after the last event below which everything is settled.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// How many events are settled.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// What is settled above [`Self::position`], lowest first. Gaps between two settled neighbours in the
    /// sequence hold no records, so a range may cover them.
    #[must_use]
    pub fn settled_above(&self) -> Vec<OffsetRange> {
        self.above.values().map(|run| run.offsets).collect()
    }
}

/// What an earlier owner of the partition settled, as the store remembers it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Everything below this offset; none when nothing is known.
    pub below: Option<Offset>,
    /// Further ranges above it, lowest first.
    pub ranges: Vec<OffsetRange>,
}

impl Applied {
    /// Whether the event at this offset was settled before.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        self.below.is_some_and(|below| offset < below) || {
            let above = self.ranges.partition_point(|range| range.last < offset);
            let range = self.ranges.get(above);
            range.is_some_and(|range| range.first <= offset)
        }
    }

    /// What is settled at this offset and above it, as ranges.
    #[must_use]
    pub fn above(&self, offset: Offset) -> Vec<OffsetRange> {
        let below = self.below.filter(|below| *below > offset);
        let below = below.map(|below| OffsetRange {
            first: offset,
            last: Offset(below.0 - 1),
        });
        let ranges = self.ranges.iter().filter(|range| range.last >= offset);
        let ranges = ranges.map(|range| OffsetRange {
            first: range.first.max(offset),
            last: range.last,
        });
        below.into_iter().chain(ranges).collect()
    }

    /// Everything that either of two knows as settled.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut below = self.below.max(other.below);
        let mut ranges: Vec<OffsetRange> =
            self.ranges.iter().chain(&other.ranges).copied().collect();
        ranges.sort_by_key(|range| range.first);
        let mut joined: Vec<OffsetRange> = Vec::new();
        for range in ranges {
            if let Some(below) = below.as_mut().filter(|below| range.first <= **below) {
                *below = (*below).max(range.last.next());
                continue;
            }
            match joined
                .last_mut()
                .filter(|last| range.first <= last.last.next())
            {
                Some(last) => last.last = last.last.max(range.last),
                None => joined.push(range),
            }
        }
        Self {
            below,
            ranges: joined,
        }
    }

    /// The first offset above everything settled; none when nothing is known.
    #[must_use]
    pub fn end(&self) -> Option<Offset> {
        self.ranges
            .last()
            .map(|range| range.last.next())
            .max(self.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first_seq: u64, first_offset: i64, count: u64) -> Run {
        Run {
            first_seq,
            first_offset: Offset(first_offset),
            count,
        }
    }

    #[test]
    fn a_commit_never_passes_an_unsettled_event() {
        let mut tracker = OffsetTracker::starting_at(Offset(100));
        tracker.settle(run(1, 101, 3)).unwrap();
        assert_eq!(tracker.position(), Offset(100));
        tracker.settle(run(0, 100, 1)).unwrap();
        assert_eq!(tracker.position(), Offset(104));
        assert_eq!(tracker.settled(), 4);
    }

    #[test]
    fn gaps_in_the_log_do_not_hold_the_commit_back() {
        let mut tracker = OffsetTracker::starting_at(Offset(5));
        tracker.settle(run(0, 5, 1)).unwrap();
        tracker.settle(run(1, 90, 1)).unwrap();
        assert_eq!(tracker.position(), Offset(91));
    }

    #[test]
    fn what_is_settled_above_the_position_is_listed_as_ranges() {
        let mut tracker = OffsetTracker::starting_at(Offset(0));
        tracker.settle(run(1, 1, 2)).unwrap();
        tracker.settle(run(4, 9, 1)).unwrap();
        let applied = Applied {
            below: Some(tracker.position()),
            ranges: tracker.settled_above(),
        };
        assert_eq!(
            applied.ranges,
            [
                OffsetRange {
                    first: Offset(1),
                    last: Offset(2)
                },
                OffsetRange {
                    first: Offset(9),
                    last: Offset(9)
                }
            ]
        );
        assert!(applied.contains(Offset(2)) && !applied.contains(Offset(3)));
        assert_eq!(applied.end(), Some(Offset(10)));
    }

    #[test]
    fn what_either_knows_is_settled_in_the_union() {
        let range = |first, last| OffsetRange {
            first: Offset(first),
            last: Offset(last),
        };
        let one = Applied {
            below: Some(Offset(10)),
            ranges: vec![range(20, 25), range(40, 41)],
        };
        let two = Applied {
            below: Some(Offset(5)),
            ranges: vec![range(10, 12), range(26, 30)],
        };
        let both = one.union(&two);
        assert_eq!(both.below, Some(Offset(13)));
        assert_eq!(both.ranges, [range(20, 30), range(40, 41)]);
        assert_eq!(both, two.union(&one));
        assert_eq!(Applied::default().union(&one), one);
    }

    #[test]
    fn settling_an_event_twice_is_noticed() {
        let mut tracker = OffsetTracker::starting_at(Offset(0));
        tracker.settle(run(0, 0, 2)).unwrap();
        assert_eq!(tracker.settle(run(1, 1, 1)), Err(SettledTwice { seq: 1 }));
        tracker.settle(run(3, 3, 1)).unwrap();
        assert_eq!(tracker.settle(run(3, 3, 1)), Err(SettledTwice { seq: 3 }));
    }

    /// Against a model: any order of settling, with gaps in the offsets, keeps the position at the lowest
    /// unsettled event.
    #[test]
    fn the_position_is_always_the_lowest_unsettled_event() {
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut offsets: Vec<i64> = vec![1_000];
            for _ in 0..random.usize(1..60) {
                let last = offsets[offsets.len() - 1];
                offsets.push(last + 1 + random.i64(0..3));
            }
            let mut order: Vec<usize> = (0..offsets.len()).collect();
            random.shuffle(&mut order);
            let mut tracker = OffsetTracker::starting_at(Offset(offsets[0]));
            let mut settled = vec![false; offsets.len()];
            for seq in order {
                tracker.settle(run(seq as u64, offsets[seq], 1)).unwrap();
                settled[seq] = true;
                let lowest = settled.iter().position(|done| !done);
                let expected = match lowest {
                    Some(0) => Offset(offsets[0]),
                    Some(at) => Offset(offsets[at - 1]).next(),
                    None => Offset(offsets[offsets.len() - 1]).next(),
                };
                assert_eq!(tracker.position(), expected, "seed {seed}");
            }
        }
    }
}
