//! When the next record may leave, so that a rate is never exceeded.

use std::time::{Duration, Instant};

/// What may be caught up on after a pause: a sleep that was a little too long costs no rate, and a broker that stood
/// still is not answered with a flood.
const CATCH_UP: Duration = Duration::from_millis(20);

/// So many a second, evenly.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// None leaves as fast as it can.
    pub(super) fn new(per_second: Option<f64>) -> Self {
        let interval = per_second.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Self {
            interval: interval.unwrap_or_default(),
            next: None,
        }
    }

    /// How long the next record has to wait; it counts as sent.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let Some(due) = self.next else {
            self.next = Some(now + self.interval);
            return Duration::ZERO;
        };
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = Some(due.max(earliest) + self.interval);
        due.saturating_duration_since(now)
    }

    /// The first record has arrived: the time is counted from here.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next = Some(now + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_its_rate_after_a_pause_either() {
        let mut pace = Pace::new(Some(100.0));
        let begun = Instant::now();
        assert_eq!(pace.next(begun), Duration::ZERO);
        pace.begin(begun);
        assert_eq!(pace.next(begun), Duration::from_millis(10));
        assert_eq!(pace.next(begun), Duration::from_millis(20));
        let later = begun + Duration::from_secs(60);
        let at_once = (0..100).filter(|_| pace.next(later).is_zero()).count();
        assert!(at_once <= 4, "{at_once} left at once after a pause");
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        let now = Instant::now();
        pace.begin(now);
        assert!((0..1_000).all(|_| pace.next(now).is_zero()));
    }
}
