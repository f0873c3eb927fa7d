//! How fast a partition gets on, and when it will have caught up. Told from looks of the last half minute, so that
//! one batch more or less changes little. It must not know a clock.

use std::collections::VecDeque;

use super::retry::Millis;

/// Between two looks that count.
const LOOK_EVERY_MS: u64 = 2_000;

/// Looks that are kept: with one each two seconds, half a minute.
const LOOKS_MAX: usize = 16;

/// What was seen at one time.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Millis,
    settled: u64,
    lag: i64,
}

/// The pace of one partition.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Look>);

/// Events a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speed {
    /// That settle.
    pub settles: f64,
    /// By which the lag falls; negative where it rises.
    pub catches_up: f64,
}

impl Speed {
    /// How long it takes until a lag of so many events is gone, in seconds. None where it does not fall.
    #[must_use]
    pub fn drains_in_s(self, lag: i64) -> Option<f64> {
        match lag {
            ..=0 => Some(0.0),
            // Slower than one event in ten seconds is noise.
            lag => (self.catches_up >= 0.1).then(|| lag as f64 / self.catches_up),
        }
    }
}

impl std::ops::Add for Speed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            settles: self.settles + other.settles,
            catches_up: self.catches_up + other.catches_up,
        }
    }
}

impl Pace {
    /// Takes a look: so many events have settled since the partition was assigned, and so many are behind.
    pub fn look(&mut self, settled: u64, lag: i64, at: Millis) {
        let early = |last: &Look| at.0.saturating_sub(last.at.0) < LOOK_EVERY_MS;
        if self.0.back().is_some_and(early) {
            return;
        }
        if self.0.len() == LOOKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Look { at, settled, lag });
    }

    /// Its speed; none before there are two looks.
    #[must_use]
    pub fn speed(&self) -> Option<Speed> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let ms = last.at.0.saturating_sub(first.at.0);
        let a_second = |change: f64| change * 1_000.0 / ms as f64;
        (ms > 0).then(|| Speed {
            settles: a_second(last.settled.saturating_sub(first.settled) as f64),
            catches_up: a_second((first.lag - last.lag) as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(looks: impl Iterator<Item = (u64, u64, i64)>) -> Pace {
        let mut pace = Pace::default();
        for (at, settled, lag) in looks {
            pace.look(settled, lag, Millis(at));
        }
        pace
    }

    #[test]
    fn a_lag_that_falls_is_gone_when_it_has_fallen_to_nothing() {
        // Each second 30 settle and 10 arrive.
        let pace = pace((0..10).map(|s| (s * 1_000, s * 30, 1_000 - s as i64 * 20)));
        let speed = pace.speed().unwrap();
        assert_eq!((speed.settles, speed.catches_up), (30.0, 20.0));
        assert_eq!(speed.drains_in_s(840), Some(42.0));
        assert_eq!(speed.drains_in_s(0), Some(0.0));
    }

    #[test]
    fn a_lag_that_stands_or_rises_is_never_gone() {
        let stands = pace((0..5).map(|s| (s * 2_000, 0, 7))).speed().unwrap();
        let rises = pace((0..5).map(|s| (s * 2_000, 0, s as i64)));
        assert_eq!(stands.drains_in_s(7), None);
        assert_eq!(rises.speed().unwrap().drains_in_s(7), None);
        assert_eq!(Pace::default().speed(), None);
        assert_eq!(pace(std::iter::once((0, 1, 1))).speed(), None);
    }

    #[test]
    fn only_the_last_half_minute_counts() {
        let fast_once = (0..30).map(|s| (s * 2_000, if s < 10 { s * 1_000 } else { 10_000 }, 5));
        let speed = pace(fast_once).speed().unwrap();
        assert_eq!(speed.settles, 0.0);
    }
}
