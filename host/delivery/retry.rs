//! When a failed event runs again, and when it is given up on.

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

/// When a failed event is tried again, and where it waits.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub attempts_max: u32,
    /// Delays between them.
    pub backoff: Backoff,
    /// From the first failure to giving up, in milliseconds, whatever attempts are left.
    pub max_age_ms: u64,
    /// The longest that an event may hold its key and the commit, in milliseconds.
    pub max_park_ms: u64,
    /// Whether every retry waits in the retry topic rather than in memory.
    pub by_topic: bool,
}

/// A failed event that another attempt may help.
#[derive(Debug, Clone, Copy)]
pub struct Failing {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// Since its first failure, in milliseconds.
    pub age_ms: u64,
    /// Since it began to hold its key, in milliseconds, without the time of outages.
    pub held_ms: u64,
    /// The wait that the plugin asks for, in milliseconds; it wins over the backoff.
    pub after_ms: Option<u64>,
    /// The cause is outside, and hits every event.
    pub outage: bool,
    /// What is held back fills its budget.
    pub pressed: bool,
    /// A random number from 0 to 1, for the jitter.
    pub random: f64,
}

/// What becomes of it. Waits are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the attempt that comes next, and the wait before it"
)]
pub enum Next {
    /// Its key waits with it. The attempt does not count during an outage.
    Park { attempt: u32, after_ms: u64 },
    /// It goes to the retry topic.
    Move { attempt: u32, after_ms: u64 },
    /// It holds its key and the commit too long, or too much: it goes to the retry topic, or to the dead
    /// letters where there is none.
    Evict { attempt: u32, after_ms: u64 },
    /// No attempt is left.
    Exhausted,
    /// It is too old.
    Expired,
}

impl RetryPolicy {
    /// Decides.
    #[must_use]
    pub fn next(&self, failing: &Failing) -> Next {
        let Failing { attempt, .. } = *failing;
        let backoff_ms = || self.backoff.delay_ms(attempt, failing.random);
        let after_ms = failing
            .after_ms
            .unwrap_or_else(backoff_ms)
            .min(self.max_age_ms);
        if failing.outage {
            return Next::Park { attempt, after_ms };
        }
        if attempt >= self.attempts_max {
            return Next::Exhausted;
        }
        if failing.age_ms >= self.max_age_ms {
            return Next::Expired;
        }
        let attempt = attempt + 1;
        if self.by_topic {
            Next::Move { attempt, after_ms }
        } else if failing.pressed || failing.held_ms >= self.max_park_ms {
            Next::Evict { attempt, after_ms }
        } else {
            Next::Park { attempt, after_ms }
        }
    }

    /// How long an event that waits this long may hold its key, in milliseconds.
    #[must_use]
    pub fn holds_ms(&self, after_ms: u64, held_ms: u64) -> u64 {
        after_ms.min(self.max_park_ms.saturating_sub(held_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 3,
            backoff: Backoff {
                initial_ms: 100,
                factor: 2.0,
                max_ms: 1_000,
                jitter: 0.0,
            },
            max_age_ms: 60_000,
            max_park_ms: 5_000,
            by_topic: false,
        }
    }

    const FIRST: Failing = Failing {
        attempt: 1,
        age_ms: 0,
        held_ms: 0,
        after_ms: None,
        outage: false,
        pressed: false,
        random: 0.0,
    };

    #[test]
    fn an_event_waits_longer_each_time_until_no_attempt_is_left() {
        let next = |attempt| policy().next(&Failing { attempt, ..FIRST });
        let park = |attempt, after_ms| Next::Park { attempt, after_ms };
        assert_eq!(
            [next(1), next(2), next(3)],
            [park(2, 100), park(3, 200), Next::Exhausted]
        );
    }

    #[test]
    fn the_plugins_own_wait_wins_up_to_the_age_that_an_event_may_reach() {
        let next = |after_ms| {
            let after_ms = Some(after_ms);
            policy().next(&Failing { after_ms, ..FIRST })
        };
        let park = |after_ms| Next::Park {
            attempt: 2,
            after_ms,
        };
        assert_eq!([next(7), next(9_999_999)], [park(7), park(60_000)]);
        assert_eq!(policy().holds_ms(60_000, 1_000), 4_000);
    }

    #[test]
    fn an_outage_costs_no_attempt_and_no_event() {
        let next = policy().next(&Failing {
            attempt: 3,
            age_ms: 99_000,
            outage: true,
            ..FIRST
        });
        let attempt = 3;
        assert!(matches!(next, Next::Park { attempt: a, .. } if a == attempt));
    }

    #[test]
    fn what_is_too_old_is_given_up_and_what_holds_its_key_too_long_is_evicted() {
        let expired = policy().next(&Failing {
            age_ms: 60_000,
            ..FIRST
        });
        assert_eq!(expired, Next::Expired);
        for (held_ms, pressed) in [(5_000, false), (0, true)] {
            let evicted = policy().next(&Failing {
                held_ms,
                pressed,
                ..FIRST
            });
            assert!(matches!(evicted, Next::Evict { attempt: 2, .. }));
        }
    }

    #[test]
    fn by_topic_every_retry_goes_there() {
        let by_topic = RetryPolicy {
            by_topic: true,
            ..policy()
        };
        let moved = Next::Move {
            attempt: 2,
            after_ms: 100,
        };
        assert_eq!(by_topic.next(&FIRST), moved);
    }

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
}
