//! Poison or outage: whether failures are the events' own, or come from something behind the plugin.
//!
//! What counts is how keys that were well a moment ago do now. A key that has failed already says nothing
//! new when it fails again, so a few bad keys never look like an outage, however often they are tried; while
//! in an outage every key that is tried fails for the first time.

use std::collections::VecDeque;

use super::retry::Millis;

/// When the breaker opens, and how it probes.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerSettings {
    /// Share of the latest outcomes that have to be failures, 0 to 1.
    pub threshold: f64,
    /// Different keys that have to fail, at least 1.
    pub keys_min: usize,
    /// Failures count together only within this time, in milliseconds.
    pub window_ms: u64,
    /// Wait before the first probe, in milliseconds. Each further wait is twice as long.
    pub probe_initial_ms: u64,
    /// No wait is longer, in milliseconds.
    pub probe_max_ms: u64,
}

/// The breaker of one plugin in one group.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    /// The latest failures of keys that had been well: how many outcomes there were until then, and when.
    failures: VecDeque<(u64, Millis)>,
    failures_total: u64,
    open: Option<Open>,
    /// Milliseconds that it has been open, over all times that are over.
    open_total_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: Millis,
    probe_at: Millis,
    interval_ms: u64,
    probing: bool,
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: VecDeque::new(),
            failures_total: 0,
            open: None,
            open_total_ms: 0,
        }
    }

    /// A key that had been well has failed. `well_total` counts the events that succeeded so far. True when
    /// the breaker opens by it.
    pub fn failing(&mut self, well_total: u64, now: Millis) -> bool {
        if self.open.is_some() {
            return false;
        }
        self.failures_total += 1;
        let outcomes = well_total + self.failures_total;
        self.failures.push_back((outcomes, now));
        // So many failures of different keys among so few outcomes are the threshold.
        let keys_min = self.settings.keys_min.max(1);
        let sample = (keys_min as f64 / self.settings.threshold.max(f64::EPSILON)).ceil() as u64;
        let begin = Millis(now.0.saturating_sub(self.settings.window_ms));
        while self
            .failures
            .front()
            .is_some_and(|(at, when)| at + sample <= outcomes || *when < begin)
        {
            self.failures.pop_front();
        }
        if self.failures.len() < keys_min {
            return false;
        }
        self.failures.clear();
        self.open = Some(Open {
            since: now,
            probe_at: now.after(self.settings.probe_initial_ms),
            interval_ms: self.settings.probe_initial_ms,
            probing: false,
        });
        true
    }

    /// Whether events have to wait.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Hands out the next probe when its time has come. Whoever gets it runs one event and answers with
    /// [`Self::probe_failed`] or [`Self::close`].
    pub fn take_probe(&mut self, now: Millis) -> bool {
        match self.open.as_mut() {
            Some(open) if !open.probing && now >= open.probe_at => {
                open.probing = true;
                true
            }
            _ => false,
        }
    }

    /// When the next probe may be handed out; none while it is closed.
    #[must_use]
    pub fn next_probe(&self) -> Option<Millis> {
        self.open.map(|open| open.probe_at)
    }

    /// The probe told nothing, because there was no event to run: another one may have it.
    pub fn return_probe(&mut self) {
        if let Some(open) = self.open.as_mut() {
            open.probing = false;
        }
    }

    /// The probe failed; the next one waits longer.
    pub fn probe_failed(&mut self, now: Millis) {
        let max_ms = self.settings.probe_max_ms;
        if let Some(open) = self.open.as_mut() {
            open.probing = false;
            open.interval_ms = open.interval_ms.saturating_mul(2).min(max_ms);
            open.probe_at = now.after(open.interval_ms);
        }
    }

    /// The probe succeeded: events flow again.
    pub fn close(&mut self, now: Millis) {
        if let Some(open) = self.open.take() {
            self.open_total_ms += now.0.saturating_sub(open.since.0);
        }
    }

    /// How long it has been open in all, in milliseconds. What must not run out during an outage is measured
    /// with this taken off.
    #[must_use]
    pub fn open_total_ms(&self, now: Millis) -> u64 {
        let current = self
            .open
            .map_or(0, |open| now.0.saturating_sub(open.since.0));
        self.open_total_ms + current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings {
            threshold: 0.5,
            keys_min: 5,
            window_ms: 10_000,
            probe_initial_ms: 1_000,
            probe_max_ms: 4_000,
        })
    }

    #[test]
    fn it_opens_when_enough_keys_fail_with_little_success_between() {
        let mut breaker = breaker();
        for n in 0..4 {
            assert!(!breaker.failing(n, Millis(n)));
        }
        assert!(breaker.failing(5, Millis(5)), "5 of the last 10");
        assert!(breaker.is_open());
    }

    #[test]
    fn a_few_failures_among_many_successes_never_open_it() {
        let mut breaker = breaker();
        for n in 0..10_000 {
            assert!(!breaker.failing(n * 99, Millis(n)));
        }
    }

    #[test]
    fn failures_that_are_far_apart_in_time_do_not_count_together() {
        let mut breaker = breaker();
        for n in 0..100 {
            assert!(!breaker.failing(0, Millis(n * 2_501)));
        }
        assert!((0..4).any(|_| breaker.failing(0, Millis(99 * 2_501))));
    }

    #[test]
    fn probes_come_one_at_a_time_at_growing_intervals_until_one_succeeds() {
        let mut breaker = breaker();
        while !breaker.failing(0, Millis(100)) {}
        assert!(!breaker.take_probe(Millis(1_099)));
        let mut now = 1_100;
        for interval in [2_000, 4_000, 4_000] {
            assert!(breaker.take_probe(Millis(now)));
            assert!(!breaker.take_probe(Millis(now + 500)), "one at a time");
            breaker.probe_failed(Millis(now));
            assert!(!breaker.take_probe(Millis(now + interval - 1)));
            now += interval;
        }
        assert!(breaker.take_probe(Millis(now)));
        breaker.return_probe();
        assert!(breaker.take_probe(Millis(now)));
        breaker.close(Millis(now + 10));
        assert!(!breaker.is_open());
        assert_eq!(breaker.open_total_ms(Millis(now + 99)), now + 10 - 100);
    }

    #[test]
    fn it_opens_again_only_by_new_failures() {
        let mut breaker = breaker();
        while !breaker.failing(0, Millis(0)) {}
        breaker.close(Millis(2_000));
        let opened: Vec<bool> = (0..5).map(|_| breaker.failing(0, Millis(2_001))).collect();
        assert_eq!(opened, [false, false, false, false, true]);
    }
}
