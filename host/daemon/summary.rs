//! What became of everything, printed when the daemon ends.

use std::fmt;

use serde::Serialize;

use crate::delivery::ledger::{Ledger, Settled};
use crate::pipeline::Totals;

/// The consumption summary of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// One for each group.
    pub groups: Vec<GroupSummary>,
}

/// What became of the events of one group.
#[derive(Debug, Clone, Serialize)]
pub struct GroupSummary {
    /// Its id.
    pub group: String,
    /// When the first event was taken, in milliseconds since the Unix epoch; none when there was none.
    pub first_event_at_ms: Option<u64>,
    /// When the last event settled.
    pub last_settled_at_ms: Option<u64>,
    /// Sums over its partitions.
    pub total: Counts,
    /// By partition.
    pub partitions: Vec<PartitionSummary>,
}

/// What became of the events of one partition.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionSummary {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// What became of its events.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Events by what became of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Counts {
    pub polled: u64,
    pub processed: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub dead: u64,
    pub moved: u64,
    pub recovered: u64,
    pub abandoned: u64,
}

impl Counts {
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self {
            polled: ledger.polled,
            processed: ledger.of(Settled::Processed),
            filtered: ledger.of(Settled::Filtered),
            duplicate: ledger.of(Settled::Duplicate),
            dead: ledger.of(Settled::Dead),
            moved: ledger.of(Settled::Moved),
            recovered: ledger.of(Settled::Recovered),
            abandoned: ledger.of(Settled::Abandoned),
        }
    }
}

impl GroupSummary {
    /// Of a group that worked from the first to the second of these times.
    pub(super) fn new(group: String, worked: Option<(u64, u64)>, totals: &Totals) -> Self {
        let mut total = Ledger::default();
        totals.values().for_each(|ledger| total.add(ledger));
        Self {
            group,
            first_event_at_ms: worked.map(|(first, _)| first),
            last_settled_at_ms: worked.map(|(_, last)| last),
            total: Counts::of(&total),
            partitions: totals
                .iter()
                .map(|((topic, partition), ledger)| PartitionSummary {
                    topic: topic.to_string(),
                    partition: *partition,
                    counts: Counts::of(ledger),
                })
                .collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Consumption summary")?;
        for group in &self.groups {
            let counts = &group.total;
            writeln!(
                f,
                "  {}: {} polled = {} processed + {} filtered + {} duplicate + {} dead + {} recovered \
                 + {} abandoned",
                group.group,
                counts.polled,
                counts.processed,
                counts.filtered,
                counts.duplicate,
                counts.dead,
                counts.recovered,
                counts.abandoned
            )?;
        }
        Ok(())
    }
}
