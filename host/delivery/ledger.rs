//! What became of every polled event of one partition. The sums must close; a hole is an alarm.

/// How an event left the data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Settled {
    /// The handler finished it.
    Processed,
    /// The handler did not want it.
    Filtered,
    /// Its id had been settled before.
    Duplicate,
    /// It is in the dead-letter topic.
    Dead,
    /// It is in a retry topic.
    Moved,
    /// It was settled before a crash, and recognised now.
    Recovered,
    /// The partition was taken away before it settled.
    Abandoned,
}

impl Settled {
    /// Every way, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Processed,
        Self::Filtered,
        Self::Duplicate,
        Self::Dead,
        Self::Moved,
        Self::Recovered,
        Self::Abandoned,
    ];

    /// The word that metrics and summaries use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Filtered => "filtered",
            Self::Duplicate => "duplicate",
            Self::Dead => "dead",
            Self::Moved => "moved",
            Self::Recovered => "recovered",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Counts of one partition, or sums over several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events taken from Kafka.
    pub polled: u64,
    counts: [u64; Settled::ALL.len()],
    /// Events held back for a retry, or behind one.
    pub parked: u64,
}

/// The sums do not close: an event was lost or counted twice inside the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger does not close: {polled} events polled, {counted} counted as finished, \
     {settled} settled by offset, {parked} parked"
)]
pub struct Hole {
    /// Events taken from Kafka.
    pub polled: u64,
    /// Events counted by how they left.
    pub counted: u64,
    /// Events settled by their offsets.
    pub settled: u64,
    /// Events held back.
    pub parked: u64,
}

impl Ledger {
    /// Counts events that left the data path.
    pub fn count(&mut self, settled: Settled, events: u64) {
        self.counts[settled as usize] += events;
    }

    /// How many left this way.
    #[must_use]
    pub fn of(&self, settled: Settled) -> u64 {
        self.counts[settled as usize]
    }

    /// How many left in any way.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many are still in the data path, parked ones apart.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.polled.saturating_sub(self.finished() + self.parked)
    }

    /// The same events, of which only those have left that `durable` knows of; the others are in flight.
    #[must_use]
    pub fn left_as_in(&self, durable: &Self) -> Self {
        Self {
            counts: durable.counts,
            ..*self
        }
    }

    /// Checks the counts against the offsets, which are tracked apart from them.
    ///
    /// # Errors
    /// Returns the numbers that do not close.
    pub fn check(&self, settled_by_offset: u64) -> Result<(), Hole> {
        let counted = self.finished();
        if counted == settled_by_offset && counted + self.parked <= self.polled {
            return Ok(());
        }
        Err(Hole {
            polled: self.polled,
            counted,
            settled: settled_by_offset,
            parked: self.parked,
        })
    }

    /// Adds the counts of another partition.
    pub fn add(&mut self, other: &Self) {
        self.polled += other.polled;
        self.parked += other.parked;
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_closes_over_every_way_out() {
        let mut ledger = Ledger {
            polled: 20,
            parked: 2,
            ..Ledger::default()
        };
        for settled in Settled::ALL {
            ledger.count(settled, 2);
        }
        assert_eq!(ledger.in_flight(), 4);
        assert!(ledger.check(14).is_ok());
    }

    #[test]
    fn what_is_not_durable_yet_is_in_flight() {
        let mut ledger = Ledger {
            polled: 9,
            parked: 1,
            ..Ledger::default()
        };
        ledger.count(Settled::Processed, 2);
        let durable = ledger;
        ledger.count(Settled::Processed, 3);
        let shown = ledger.left_as_in(&durable);
        assert_eq!((shown.finished(), shown.in_flight()), (2, 6));
        assert_eq!((ledger.finished(), ledger.in_flight()), (5, 3));
    }

    #[test]
    fn an_event_counted_without_its_offset_is_a_hole() {
        let mut ledger = Ledger {
            polled: 3,
            ..Ledger::default()
        };
        ledger.count(Settled::Processed, 2);
        assert!(ledger.check(1).is_err());
        ledger.count(Settled::Dead, 2);
        assert!(ledger.check(4).is_err(), "more than were polled");
    }
}
