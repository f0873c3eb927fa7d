//! The clocks of a group: one that never goes back for everything that is waited for, and the wall clock for
//! people and records. In a rehearsal somebody else turns the hands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::delivery::retry::Millis;
use crate::since_1970;

/// The clocks of a group.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// The machine's, counted since the group started.
    Machine(Instant),
    /// One that stands still until it is set.
    Virtual(Arc<VirtualTime>),
}

/// A time that stands still until it is set.
#[derive(Debug)]
pub(crate) struct VirtualTime {
    /// Milliseconds since it began.
    ms: AtomicU64,
    /// What the wall clock showed then, in milliseconds since the Unix epoch.
    began_wall_ms: u64,
}

impl VirtualTime {
    /// Begins when a wall clock shows this, in milliseconds since the Unix epoch.
    pub(crate) fn beginning_at(wall_ms: u64) -> Self {
        Self {
            ms: AtomicU64::new(0),
            began_wall_ms: wall_ms,
        }
    }

    /// Milliseconds since it began.
    pub(crate) fn ms(&self) -> u64 {
        self.ms.load(Ordering::Relaxed)
    }

    /// Sets it to so many milliseconds since it began.
    pub(crate) fn set_ms(&self, ms: u64) {
        self.ms.store(ms, Ordering::Relaxed);
    }
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self::Machine(Instant::now())
    }

    /// Milliseconds since the group started.
    pub(crate) fn now(&self) -> Millis {
        match self {
            Self::Machine(started) => Millis(started.elapsed().as_millis() as u64),
            Self::Virtual(time) => Millis(time.ms()),
        }
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) fn wall_ms(&self) -> u64 {
        match self {
            Self::Machine(_) => since_1970::now_ms(),
            Self::Virtual(time) => time.began_wall_ms + time.ms(),
        }
    }

    /// Now, for what is compared with other times of this clock.
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Self::Machine(_) => Instant::now(),
            Self::Virtual(time) => virtual_start() + Duration::from_millis(time.ms()),
        }
    }

    /// How long to wait for another thread that has this long. In virtual time the others stand still
    /// meanwhile, so that waiting would change nothing.
    pub(crate) fn patience(&self, time: Duration) -> Duration {
        match self {
            Self::Machine(_) => time,
            Self::Virtual(_) => Duration::ZERO,
        }
    }
}

/// What virtual clocks count from; only differences mean anything.
fn virtual_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
