//! How long the group may go without its polling thread before its partitions must be thought lost.
//!
//! Another member gets the partitions when no heartbeat has come for a session, and when nobody has polled
//! for `max.poll.interval.ms`. A host that was stopped in its tracks, or a laptop that slept, hears of that
//! only after it has gone on for a moment; the time that has passed tells it at once.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::kafka::consumer::MemberLimits;

/// A clock that counts on while the machine sleeps, which the standard library's does not on Linux.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// The polling thread renews it; whoever sends or commits looks at it first.
#[derive(Debug)]
pub(crate) struct Lease {
    limits: MemberLimits,
    /// When the process was last seen running, and when the consumer was last polled; milliseconds.
    alive_ms: AtomicU64,
    polled_ms: AtomicU64,
    now_ms: fn() -> u64,
}

/// Why the partitions must be thought lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RanOut {
    #[error("the process stood still for {0} ms, and the session may have ended")]
    Paused(u64),
    #[error("the consumer was not polled for {0} ms, which is more than max.poll.interval.ms")]
    NotPolled(u64),
}

impl Lease {
    pub(crate) fn new(limits: MemberLimits) -> Self {
        Self::with_clock(limits, boot_ms)
    }

    fn with_clock(limits: MemberLimits, now_ms: fn() -> u64) -> Self {
        Self {
            limits,
            alive_ms: AtomicU64::new(now_ms()),
            polled_ms: AtomicU64::new(now_ms()),
            now_ms,
        }
    }

    /// The polling thread waits for something and is not dead. What has run out stays so: only
    /// [`Self::polled`] heals it.
    pub(crate) fn alive(&self) {
        let now_ms = (self.now_ms)();
        if self.ran_out_at(now_ms).is_none() {
            self.alive_ms.store(now_ms, Ordering::Release);
        }
    }

    /// The consumer is about to be polled, and everything that had run out has been given up.
    pub(crate) fn polled(&self) {
        let now_ms = (self.now_ms)();
        self.alive_ms.store(now_ms, Ordering::Release);
        self.polled_ms.store(now_ms, Ordering::Release);
    }

    /// Why nothing of the current assignments may be sent or committed; none while it may.
    pub(crate) fn ran_out(&self) -> Option<RanOut> {
        self.ran_out_at((self.now_ms)())
    }

    fn ran_out_at(&self, now_ms: u64) -> Option<RanOut> {
        let since = |at: &AtomicU64| now_ms.saturating_sub(at.load(Ordering::Acquire));
        let (paused_ms, unpolled_ms) = (since(&self.alive_ms), since(&self.polled_ms));
        if paused_ms >= self.limits.pause_ms {
            return Some(RanOut::Paused(paused_ms));
        }
        (unpolled_ms >= self.limits.max_poll_ms).then_some(RanOut::NotPolled(unpolled_ms))
    }
}

fn boot_ms() -> u64 {
    let now = clock_gettime(CLOCK);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NOW_MS: Cell<u64> = const { Cell::new(0) };
    }

    fn lease() -> Lease {
        NOW_MS.set(0);
        let limits = MemberLimits {
            pause_ms: 1_000,
            max_poll_ms: 5_000,
        };
        Lease::with_clock(limits, || NOW_MS.get())
    }

    #[test]
    fn a_pause_as_long_as_a_session_stays_known_until_the_consumer_is_polled_again() {
        let lease = lease();
        NOW_MS.set(999);
        assert_eq!(lease.ran_out(), None);
        NOW_MS.set(1_000);
        assert_eq!(lease.ran_out(), Some(RanOut::Paused(1_000)));
        lease.alive();
        assert_eq!(lease.ran_out(), Some(RanOut::Paused(1_000)));
        lease.polled();
        assert_eq!(lease.ran_out(), None);
    }

    #[test]
    fn a_polling_thread_that_waits_is_alive_and_yet_must_poll_in_time() {
        let lease = lease();
        for now_ms in (0..5_000).step_by(500) {
            NOW_MS.set(now_ms);
            assert_eq!(lease.ran_out(), None);
            lease.alive();
        }
        NOW_MS.set(5_000);
        assert_eq!(lease.ran_out(), Some(RanOut::NotPolled(5_000)));
    }
}
