//! The breaker of one plugin in one group, shared by its lanes. While all is well the lanes only add to a
//! counter, once a batch; they lock when an event fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::delivery::breaker::{Breaker, BreakerSettings};
use crate::delivery::retry::Millis;

/// The breaker, shared.
#[derive(Debug)]
pub(crate) struct Outage {
    breaker: Mutex<Breaker>,
    open: AtomicBool,
    /// Events that went well.
    well: AtomicU64,
    /// How often it has closed.
    closed: AtomicU64,
}

impl Outage {
    pub(crate) fn new(settings: BreakerSettings) -> Self {
        Self {
            breaker: Mutex::new(Breaker::new(settings)),
            open: AtomicBool::new(false),
            well: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        }
    }

    /// Whether events have to wait.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Rises each time it closes: what was known of failing keys is then out of date.
    pub(crate) fn times_closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Events went well.
    pub(crate) fn well(&self, events: u64) {
        self.well.fetch_add(events, Ordering::Relaxed);
    }

    /// A key that had been well has failed. True when the breaker opens by it.
    pub(crate) fn failing(&self, now: Millis) -> bool {
        let well = self.well.load(Ordering::Relaxed);
        let opened = self.lock().failing(well, now);
        if opened {
            self.open.store(true, Ordering::Release);
        }
        opened
    }

    /// Asks for the next probe; see [`Breaker::take_probe`].
    pub(crate) fn take_probe(&self, now: Millis) -> bool {
        self.lock().take_probe(now)
    }

    /// When the next probe may be asked for; none while it is closed.
    pub(crate) fn next_probe(&self) -> Option<Millis> {
        self.lock().next_probe()
    }

    /// There was nothing to probe with.
    pub(crate) fn return_probe(&self) {
        self.lock().return_probe();
    }

    /// The probe has run.
    pub(crate) fn probed(&self, well: bool, now: Millis) {
        let mut breaker = self.lock();
        if well {
            breaker.close(now);
            self.closed.fetch_add(1, Ordering::Relaxed);
            self.open.store(false, Ordering::Release);
        } else {
            breaker.probe_failed(now);
        }
    }

    /// The clock with the time of outages taken off.
    pub(crate) fn without(&self, now: Millis) -> Millis {
        Millis(now.0.saturating_sub(self.lock().open_total_ms(now)))
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
