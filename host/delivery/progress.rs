//! Whether a partition that has something to do gets on.

use super::offsets::Offset;
use super::retry::Millis;

/// How long a partition may settle nothing before that is reported. Above every single wait that is meant
/// to be: a call at its deadline, the backoff's default maximum of 30 s, a rebalance.
pub const STALLED_AFTER_MS: u64 = 60_000;

/// Why a partition settles nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The store or a journal cannot be written.
    Store,
    /// Its records are not acknowledged.
    Broker,
    /// A call does not return.
    Plugin,
    /// A key waits for a retry, and holds everything else back or the commit.
    Parked,
    /// Something outside fails, and every event waits until it is well again.
    Breaker,
    /// An operator has paused it, or a key of it.
    Paused,
    /// Nothing more is fetched, because there is no room for it.
    Full,
    /// None of these.
    Unknown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Store,
        Self::Broker,
        Self::Plugin,
        Self::Parked,
        Self::Breaker,
        Self::Paused,
        Self::Full,
        Self::Unknown,
    ];

    /// The word that metrics use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Broker => "broker",
            Self::Plugin => "plugin",
            Self::Parked => "parked",
            Self::Breaker => "breaker",
            Self::Paused => "paused",
            Self::Full => "full",
            Self::Unknown => "unknown",
        }
    }
}

/// What is seen of a partition at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Events taken from Kafka.
    pub polled: u64,
    /// Events settled.
    pub settled: u64,
    /// What may be committed.
    pub position: Offset,
    /// The offset after the newest record; none before the first fetch.
    pub end: Option<Offset>,
}

/// The progress of one assigned partition.
#[derive(Debug)]
pub struct Progress {
    settled: u64,
    /// The end of the partition when something last settled.
    end: Option<Offset>,
    since: Millis,
}

impl Progress {
    /// Begins now.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self {
            settled: 0,
            end: None,
            since: now,
        }
    }

    /// Takes a look. Answers for how many milliseconds nothing has settled, when that is too long.
    pub fn look(&mut self, seen: Seen, now: Millis) -> Option<u64> {
        if seen.settled != self.settled {
            self.settled = seen.settled;
            self.end = seen.end;
            self.since = now;
        } else if !self.has_work(seen) {
            self.since = now;
        }
        let idle_ms = now.0.saturating_sub(self.since.0);
        (idle_ms >= STALLED_AFTER_MS).then_some(idle_ms)
    }

    /// For how many milliseconds nothing had settled at the last look, as of now; 0 where there was nothing to do.
    #[must_use]
    pub fn idle_ms(&self, now: Millis) -> u64 {
        now.0.saturating_sub(self.since.0)
    }

    /// A transaction ends with a marker, which no one reads: the last one looks like a record that is never
    /// settled.
    fn has_work(&self, seen: Seen) -> bool {
        let unread = match (seen.end, self.end) {
            (Some(end), Some(before)) => end > before && end > seen.position,
            (Some(end), None) => end.0 > seen.position.0 + 1,
            (None, _) => false,
        };
        seen.polled > seen.settled || unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(polled: u64, settled: u64, end: i64) -> Seen {
        Seen {
            polled,
            settled,
            position: Offset(settled as i64),
            end: Some(Offset(end)),
        }
    }

    #[test]
    fn an_event_that_does_not_settle_in_time_is_a_stall_until_something_settles() {
        let mut progress = Progress::new(Millis(0));
        assert_eq!(progress.look(seen(5, 0, 5), Millis(59_999)), None);
        assert_eq!(progress.look(seen(5, 0, 5), Millis(60_000)), Some(60_000));
        assert_eq!(progress.look(seen(5, 0, 5), Millis(75_000)), Some(75_000));
        assert_eq!(progress.look(seen(5, 1, 5), Millis(76_000)), None);
        assert_eq!(progress.look(seen(5, 1, 5), Millis(135_000)), None);
        assert_eq!(progress.look(seen(5, 1, 5), Millis(136_000)), Some(60_000));
    }

    #[test]
    fn a_partition_without_work_never_stalls() {
        let mut progress = Progress::new(Millis(0));
        assert_eq!(progress.look(seen(0, 0, 0), Millis(100_000)), None);
        assert_eq!(progress.look(seen(3, 3, 3), Millis(200_000)), None);
        // The marker of a transaction stands behind the last record.
        assert_eq!(progress.look(seen(4, 4, 5), Millis(300_000)), None);
        assert_eq!(progress.look(seen(4, 4, 5), Millis(900_000)), None);
        // Work that comes after a long rest has its time too.
        assert_eq!(progress.look(seen(5, 4, 6), Millis(900_001)), None);
        assert_eq!(progress.look(seen(5, 4, 6), Millis(959_999)), None);
        assert_eq!(progress.look(seen(5, 4, 6), Millis(960_000)), Some(60_000));
    }

    #[test]
    fn records_that_are_there_and_are_not_read_are_a_stall() {
        let mut progress = Progress::new(Millis(0));
        assert_eq!(progress.look(seen(0, 0, 9), Millis(60_000)), Some(60_000));
        let mut progress = Progress::new(Millis(0));
        assert_eq!(progress.look(seen(0, 0, 1), Millis(60_000)), None);
        assert_eq!(progress.look(seen(2, 2, 2), Millis(61_000)), None);
        assert_eq!(progress.look(seen(2, 2, 9), Millis(121_000)), Some(60_000));
    }
}
