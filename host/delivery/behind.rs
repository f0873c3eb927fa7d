//! How far a partition is behind, in events and in time. The time is the age of the first event that has not
//! settled, told from marks: which record was read when, noted now and then. It must not know a clock.

use std::collections::VecDeque;

use super::offsets::Offset;
use super::retry::Millis;

/// Marks that are kept. With two a second that is over four minutes of reading ahead of what settles; past it every
/// second mark goes, and the age gets coarser.
const MARKS_MAX: usize = 512;

/// How far a partition is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Behind {
    /// Events between what is settled and the end of the partition.
    pub events: i64,
    /// The age of the first of them, in milliseconds of record time.
    pub age_ms: u64,
}

/// A record that was read, and its time in milliseconds since the Unix epoch.
pub type Mark = (Offset, i64);

/// What was read when, in one partition.
#[derive(Debug, Default)]
pub struct Marks(VecDeque<Mark>);

impl Marks {
    /// Notes a record that was read. One that is not behind the last one is known already.
    pub fn note(&mut self, mark: Mark) {
        if self.0.back().is_some_and(|last| mark.0 <= last.0) {
            return;
        }
        if self.0.len() >= MARKS_MAX {
            let mut even = false;
            self.0.retain(|_| {
                even = !even;
                even
            });
        }
        self.0.push_back(mark);
    }

    /// The time of the record at `position`, between those of the marks around it. None where nothing from there on
    /// has been noted.
    fn time_ms(&mut self, position: Offset) -> Option<i64> {
        while self.0.get(1).is_some_and(|second| second.0 <= position) {
            self.0.pop_front();
        }
        let &(before, before_ms) = self.0.front()?;
        if position <= before {
            return Some(before_ms);
        }
        let &(after, after_ms) = self.0.get(1)?;
        // Offsets lie far below 2^53, and a part of the way is close enough.
        let part = (position.0 - before.0) as f64 / (after.0 - before.0).max(1) as f64;
        Some(before_ms + (part * after_ms.saturating_sub(before_ms) as f64) as i64)
    }
}

/// Since when a partition stands where it stands, for what has not been read yet.
#[derive(Debug)]
pub struct Standing {
    position: Offset,
    since: Millis,
}

impl Standing {
    /// Begins now.
    #[must_use]
    pub fn new(position: Offset, now: Millis) -> Self {
        Self {
            position,
            since: now,
        }
    }

    /// Takes a look: everything below `position` is settled, the partition ends at `end`, and the wall clock shows
    /// `wall_ms`. What nobody has read yet is as old as the time for which nothing has moved; but a single record
    /// that nobody has read may be the marker at the end of a transaction, which nobody ever will, and has no age.
    pub fn look(
        &mut self,
        (position, end): (Offset, Offset),
        marks: &mut Marks,
        now: Millis,
        wall_ms: u64,
    ) -> Behind {
        let events = (end.0 - position.0).max(0);
        if position != self.position || events == 0 {
            self.position = position;
            self.since = now;
        }
        if events == 0 {
            return Behind::default();
        }
        let wall_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
        let age_ms = match marks.time_ms(position) {
            // A record may claim to come from the future.
            Some(time_ms) => u64::try_from(wall_ms.saturating_sub(time_ms)).unwrap_or(0),
            None if events > 1 => now.0.saturating_sub(self.since.0),
            None => 0,
        };
        Behind { events, age_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(of: &[(i64, i64)]) -> Marks {
        let mut marks = Marks::default();
        for &(offset, time_ms) in of {
            marks.note((Offset(offset), time_ms));
        }
        marks
    }

    fn age_ms(marks: &mut Marks, position: i64, end: i64, wall_ms: u64) -> u64 {
        let mut standing = Standing::new(Offset(position), Millis(0));
        let at = (Offset(position), Offset(end));
        standing.look(at, marks, Millis(0), wall_ms).age_ms
    }

    #[test]
    fn the_age_is_that_of_the_first_event_that_has_not_settled() {
        let mut marks = marks(&[(10, 1_000), (20, 2_000), (30, 10_000)]);
        assert_eq!(age_ms(&mut marks, 10, 40, 11_000), 10_000);
        assert_eq!(age_ms(&mut marks, 15, 40, 11_000), 9_500);
        assert_eq!(age_ms(&mut marks, 25, 40, 11_000), 5_000);
        assert_eq!(age_ms(&mut marks, 30, 40, 11_000), 1_000);
        assert_eq!(age_ms(&mut marks, 40, 40, 11_000), 0, "nothing is behind");
    }

    #[test]
    fn before_the_first_mark_the_age_is_that_of_the_first_mark() {
        assert_eq!(age_ms(&mut marks(&[(10, 1_000)]), 7, 40, 3_000), 2_000);
    }

    #[test]
    fn a_record_from_the_future_has_no_age() {
        assert_eq!(age_ms(&mut marks(&[(10, 9_000)]), 10, 40, 3_000), 0);
    }

    #[test]
    fn what_nobody_has_read_is_as_old_as_the_time_for_which_nothing_moves() {
        let mut marks = marks(&[(10, 1_000)]);
        let mut standing = Standing::new(Offset(11), Millis(0));
        let mut look = |position, end, now| {
            let at = (Offset(position), Offset(end));
            standing.look(at, &mut marks, Millis(now), 1_000_000)
        };
        assert_eq!(look(11, 11, 50_000), Behind::default());
        let behind = |events, age_ms| Behind { events, age_ms };
        assert_eq!(look(11, 13, 50_250), behind(2, 250));
        assert_eq!(look(11, 14, 53_000), behind(3, 3_000));
        assert_eq!(look(12, 14, 54_000), behind(2, 0));
        assert_eq!(look(13, 14, 60_000), behind(1, 0));
        assert_eq!(look(13, 14, 90_000), behind(1, 0), "a marker is never read");
    }

    #[test]
    fn marks_have_an_end_and_stay_in_order() {
        let mut marks = Marks::default();
        for offset in 0..10_000 {
            marks.note((Offset(offset), offset));
            marks.note((Offset(offset / 2), 0));
        }
        assert!(marks.0.len() <= MARKS_MAX);
        // Coarser, and still right where time passes evenly.
        assert_eq!(age_ms(&mut marks, 5_000, 10_000, 10_000), 5_000);
        assert_eq!(age_ms(&mut marks, 9_999, 10_000, 10_000), 1);
    }
}
