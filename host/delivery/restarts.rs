//! When a plugin that keeps dying is started again. One event that is bad costs a new instance and no wait; a
//! plugin of which nothing succeeds waits longer and longer, so that it does not fill logs and dead letters at
//! full speed. Plain data; the caller waits.

use super::retry::Millis;

/// Faults in a row, with no success between, after which a plugin is not well.
const FAULTS_MAX: u32 = 16;

/// And for so long nothing has succeeded: keys that fail come in bunches, when their retries are due, and those
/// of others must not wait for them.
const WITHOUT_SUCCESS_MS: u64 = 1_000;

/// The first wait. Each further one is twice as long.
const FIRST_WAIT_MS: u64 = 1_000;

/// No wait is longer, because a plugin that is well again should not stand still for long.
const WAIT_MS_MAX: u64 = 16_000;

/// A plugin that did not have to wait for so long begins with the first wait again.
const HEALTHY_MS: u64 = 60_000;

/// The restarts of one plugin in one lane.
#[derive(Debug, Default)]
pub struct Restarts {
    faults_in_a_row: u32,
    last_success: Millis,
    /// The last wait, and when it ends or has ended.
    wait_ms: u64,
    until: Millis,
    waiting: bool,
}

impl Restarts {
    /// An instance has died. Returns how long the next one waits, in milliseconds, where it does.
    pub fn fault(&mut self, now: Millis) -> Option<u64> {
        self.faults_in_a_row = self.faults_in_a_row.saturating_add(1);
        let without_success = now.0.saturating_sub(self.last_success.0);
        let many = self.faults_in_a_row >= FAULTS_MAX && without_success >= WITHOUT_SUCCESS_MS;
        if self.waiting || many {
            self.wait(now)
        } else {
            None
        }
    }

    /// No instance could be made. Trying again at once would not help. Returns how long it waits, in
    /// milliseconds, where that is news.
    pub fn not_made(&mut self, now: Millis) -> Option<u64> {
        self.wait(now)
    }

    fn wait(&mut self, now: Millis) -> Option<u64> {
        // A tick may have died meanwhile; the wait ends all the same.
        if self.wait_left_ms(now) > 0 {
            return None;
        }
        let healthy = !self.waiting && now.0.saturating_sub(self.until.0) >= HEALTHY_MS;
        let longer = self.wait_ms.saturating_mul(2);
        self.wait_ms = if healthy || longer == 0 {
            FIRST_WAIT_MS
        } else {
            longer.min(WAIT_MS_MAX)
        };
        self.until = now.after(self.wait_ms);
        self.waiting = true;
        Some(self.wait_ms)
    }

    /// An event has gone well.
    pub fn success(&mut self, now: Millis) {
        (self.faults_in_a_row, self.last_success, self.waiting) = (0, now, false);
    }

    /// Whether the plugin is not well: events run one at a time, each after its wait, until one goes well.
    #[must_use]
    pub fn ailing(&self) -> bool {
        self.waiting
    }

    /// How long the next instance still waits, in milliseconds.
    #[must_use]
    pub fn wait_left_ms(&self, now: Millis) -> u64 {
        if self.waiting {
            self.until.0.saturating_sub(now.0)
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dies until it has to wait, from this time on; the wait.
    fn dying(restarts: &mut Restarts, from: u64) -> u64 {
        let mut waits = (0..100).filter_map(|at| restarts.fault(Millis(from + at * 100)));
        waits.next().unwrap()
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut restarts = Restarts::default();
        let mut now = Millis(5_000);
        for _ in 1..FAULTS_MAX {
            assert_eq!(restarts.fault(now), None);
            assert!(!restarts.ailing());
        }
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait_ms = restarts.fault(now).unwrap();
            assert_eq!(restarts.wait_left_ms(now), wait_ms);
            waits.push(wait_ms);
            now = now.after(wait_ms);
            assert!(restarts.ailing() && restarts.wait_left_ms(now) == 0);
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000]);
    }

    #[test]
    fn faults_between_successes_never_wait() {
        let mut restarts = Restarts::default();
        for at in 0..10_000 {
            // Bunches of failing keys, and a success every half second.
            assert_eq!(restarts.fault(Millis(at)), None);
            if at % 500 == 0 {
                restarts.success(Millis(at));
            }
        }
    }

    #[test]
    fn one_success_ends_the_wait_and_a_healthy_time_forgets_it() {
        let mut restarts = Restarts::default();
        assert_eq!(dying(&mut restarts, 5_000), 1_000);
        restarts.success(Millis(20_000));
        assert!(!restarts.ailing());
        assert_eq!(restarts.wait_left_ms(Millis(20_000)), 0);
        // Soon after, it goes on where it was.
        assert_eq!(dying(&mut restarts, 25_000), 2_000);
        restarts.success(Millis(60_000));
        assert_eq!(dying(&mut restarts, 60_000 + 2 * HEALTHY_MS), 1_000);
    }

    #[test]
    fn an_instance_that_cannot_be_made_waits_at_once() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.not_made(Millis(0)), Some(1_000));
        assert_eq!(restarts.not_made(Millis(999)), None);
        assert_eq!(restarts.wait_left_ms(Millis(999)), 1);
        assert_eq!(restarts.not_made(Millis(1_000)), Some(2_000));
        assert!(restarts.ailing());
    }
}
