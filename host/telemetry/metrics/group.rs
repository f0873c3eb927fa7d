//! Figures of a group.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use super::PartitionMetrics;
use super::families::{GroupFamilies, PartitionFamilies};
use crate::store::StateUsage;

/// Figures of one group.
#[derive(Debug, Clone)]
pub struct GroupMetrics {
    group: String,
    partitions: PartitionFamilies,
    /// Ledgers that did not close.
    pub ledger_holes: IntCounter,
    /// Commits that the broker acknowledged.
    pub commits: IntCounter,
    /// Commits that it refused.
    pub commit_failures: IntCounter,
    /// Partitions found rewound.
    pub rewinds: IntCounter,
    /// Partitions that another host had gone on with.
    pub stale_stores: IntCounter,
    /// Emissions acknowledged.
    pub emissions: IntCounter,
    /// Settles that the disk refused.
    pub settle_failures: IntCounter,
    /// Offsets that were deleted before they were read.
    pub lost_records: IntCounter,
    refused_records: IntGaugeVec,
    /// Partitions that another member may have had before they were given up here.
    pub lost_partitions: IntCounter,
    breaker_open: IntGaugeVec,
    state: [IntGaugeVec; 2],
    /// Rebuilds of deduplication that were ended before they were done.
    pub rebuild_timeouts: IntCounter,
}

impl GroupMetrics {
    pub(super) fn new(
        families: &GroupFamilies,
        partitions: &PartitionFamilies,
        group: &str,
    ) -> Self {
        let of = |counter: &IntCounterVec| counter.with_label_values(&[group]);
        Self {
            group: group.to_owned(),
            partitions: partitions.clone(),
            ledger_holes: of(&families.ledger_holes),
            commits: of(&families.commits),
            commit_failures: of(&families.commit_failures),
            rewinds: of(&families.rewinds),
            stale_stores: of(&families.stale_stores),
            emissions: of(&families.emissions),
            settle_failures: of(&families.settle_failures),
            lost_records: of(&families.lost_records),
            refused_records: families.refused_records.clone(),
            lost_partitions: of(&families.lost_partitions),
            breaker_open: families.breaker_open.clone(),
            state: [families.state_bytes.clone(), families.state_entries.clone()],
            rebuild_timeouts: of(&families.rebuild_timeouts),
        }
    }

    /// Whether the breaker of a plugin is open. Set once a settle, so its handle is looked up.
    pub fn breaker(&self, plugin: &str, open: bool) {
        let labels = [self.group.as_str(), plugin];
        let gauge = self.breaker_open.with_label_values(&labels);
        gauge.set(i64::from(open));
    }

    /// What the state of a plugin takes. Set once a settle, so its handles are looked up.
    pub fn state(&self, plugin: &str, usage: StateUsage) {
        let labels = [self.group.as_str(), plugin];
        for (gauge, value) in self.state.iter().zip([usage.bytes, usage.entries]) {
            gauge.with_label_values(&labels).set(value as i64);
        }
    }

    /// How many records for a topic were refused and are still not acknowledged. Rare, so its handle is
    /// looked up.
    pub fn refused_records(&self, topic: &str, records: usize) {
        let labels = [self.group.as_str(), topic];
        let gauge = self.refused_records.with_label_values(&labels);
        gauge.set(records as i64);
    }

    /// Handles of one partition.
    #[must_use]
    pub fn partition(&self, topic: &str, partition: i32) -> PartitionMetrics {
        PartitionMetrics::new(&self.partitions, &self.group, topic, partition)
    }
}
