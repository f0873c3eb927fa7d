//! The clocks of a group: one that never goes back for everything that is waited for, and the wall clock for
//! people and records. Tests turn the hands themselves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::delivery::retry::Millis;

/// The clocks of a group.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// The machine's, counted since the group started.
    Machine(Instant),
    /// A simulated one: milliseconds since it started, at the beginning of the Unix epoch.
    #[cfg(test)]
    Simulated(std::sync::Arc<std::sync::atomic::AtomicU64>),
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
            #[cfg(test)]
            Self::Simulated(ms) => Millis(ms.load(std::sync::atomic::Ordering::Relaxed)),
        }
    }

    /// The wall clock, in milliseconds since the Unix epoch.
    pub(crate) fn wall_ms(&self) -> u64 {
        match self {
            Self::Machine(_) => wall_ms(),
            #[cfg(test)]
            Self::Simulated(_) => self.now().0,
        }
    }

    /// Now, for what is compared with other times of this clock.
    pub(crate) fn instant(&self) -> Instant {
        match self {
            Self::Machine(_) => Instant::now(),
            #[cfg(test)]
            Self::Simulated(_) => simulated_start() + Duration::from_millis(self.now().0),
        }
    }

    /// How long to wait for another thread that has this long. In a simulation the others stand still
    /// meanwhile, so that waiting would change nothing.
    pub(crate) fn patience(&self, time: Duration) -> Duration {
        match self {
            Self::Machine(_) => time,
            #[cfg(test)]
            Self::Simulated(_) => Duration::ZERO,
        }
    }
}

/// What the simulated clocks count from; only differences mean anything.
#[cfg(test)]
fn simulated_start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// The machine's wall clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    // A clock before 1970 reads as 1970; the time is for people and for record timestamps only.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}
