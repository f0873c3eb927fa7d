//! How far a redrive is, for whoever looks at it from elsewhere, and the wish that it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::redrive::Report;

/// How long the wish that it ends may be overlooked while it keeps to its rate.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How far a redrive is.
#[derive(Debug, Default)]
pub struct Progress {
    stopped: AtomicBool,
    report: Mutex<Report>,
}

impl Progress {
    /// Lets it end before the next letter.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end, or was.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// What has become of the letters so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let report = self.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, report: &Report) {
        let mut shown = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone_from(report);
    }

    /// Waits so long. Answers whether it is to go on then.
    pub(super) fn wait(&self, mut left: Duration) -> bool {
        while !left.is_zero() && !self.is_stopped() {
            let pause = left.min(LOOK_EVERY);
            thread::sleep(pause);
            left -= pause;
        }
        !self.is_stopped()
    }
}
