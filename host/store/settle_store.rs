//! The settle store of a group: one file, one durable transaction for each settle.
//!
//! What a transaction holds happened together: sums, state, journal positions, emissions and the offsets
//! whose events caused them. A file that cannot be believed is set aside with a message, never repaired.
//! It must not know what the rows mean.

mod beside;
mod opening;
mod reading;
mod usage;
mod writing;

use std::path::PathBuf;
use std::sync::{Mutex, RwLock};

use redb::{Database, TableDefinition};

pub use self::beside::{DifferentRow, RowDifferences, shown_key};
pub(crate) use self::opening::{STORE_FILE, SWAP_PENDING};
pub use self::usage::StateUsage;
use self::usage::Usages;
use super::journal::JournalPosition;
use super::rows::{Emission, PartitionRow, Sum};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const PARTITIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("partitions");
const SUMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sums");
const OUTBOX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("outbox");
const JOURNALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("journals");
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// The store cannot be used. The operator must act.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each field is")]
pub enum StoreError {
    #[error(
        "the settle store {} is in use by another process; give each host its own folder \
         (groups[].store)", path.display()
    )]
    InUse { path: PathBuf },
    #[error("the settle store {}: {message}", path.display())]
    Io { path: PathBuf, message: String },
    #[error("there is no settle store at {}", path.display())]
    NotThere { path: PathBuf },
    #[error(
        "the settle store {} was to be swapped with that of a replay, and that was not finished: run `millrace replay swap` \
         again", path.display()
    )]
    SwapUnfinished { path: PathBuf },
}

/// One group's store, locked by this process.
#[derive(Debug)]
pub struct SettleStore {
    /// None only while it is opened again.
    database: RwLock<Option<Database>>,
    path: PathBuf,
    incarnation: u64,
    usages: Mutex<Usages>,
}

/// What is stored of one topic-partition.
#[derive(Debug, Default, PartialEq)]
pub struct StoredPartition {
    /// Offsets; none when nothing is known.
    pub row: Option<PartitionRow>,
    /// Sums not yet emitted.
    pub sums: Vec<Sum>,
    /// Emissions not yet acknowledged.
    pub outbox: Vec<Emission>,
}

/// A value of plugin state, and when it runs out in milliseconds since the Unix epoch.
pub type StateValue = (Vec<u8>, Option<u64>);

/// Everything that becomes durable together.
#[derive(Debug, Default)]
pub struct Settle {
    /// Offsets by topic-partition.
    pub partitions: Vec<(String, i32, PartitionRow)>,
    /// Sums by topic-partition and whether they are still there.
    pub sums: Vec<(String, i32, Sum, bool)>,
    /// New emissions by topic-partition.
    pub emissions: Vec<(String, i32, Emission)>,
    /// Numbers of emissions that the broker has acknowledged, by topic-partition.
    pub acknowledged_emissions: Vec<(String, i32, u64)>,
    /// How far journals reach, by plugin.
    pub journals: Vec<(String, JournalPosition)>,
    /// State by full key: value and expiry; none deletes.
    pub state: Vec<(Vec<u8>, Option<StateValue>)>,
    /// Full keys of state whose time has run out. What is written under them in the same settle stays.
    pub expired: Vec<Vec<u8>>,
}

impl Settle {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
            && self.sums.is_empty()
            && self.emissions.is_empty()
            && self.acknowledged_emissions.is_empty()
            && self.journals.is_empty()
            && self.state.is_empty()
            && self.expired.is_empty()
    }

    /// Adds what happened after it.
    pub fn append(&mut self, later: Self) {
        self.partitions.extend(later.partitions);
        self.sums.extend(later.sums);
        self.emissions.extend(later.emissions);
        self.acknowledged_emissions
            .extend(later.acknowledged_emissions);
        self.journals.extend(later.journals);
        self.state.extend(later.state);
        self.expired.extend(later.expired);
    }

    /// Takes everything of one topic-partition out again.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        let other = |of: &str, number: i32| *of != *topic || number != partition;
        self.partitions.retain(|(of, number, _)| other(of, *number));
        self.sums.retain(|(of, number, ..)| other(of, *number));
        self.emissions.retain(|(of, number, _)| other(of, *number));
        self.acknowledged_emissions
            .retain(|(of, number, _)| other(of, *number));
        let prefix = partition_key(topic, partition);
        self.state.retain(|(key, _)| !key.starts_with(&prefix));
    }
}

impl SettleStore {
    /// A random number made when the store was opened. It keeps ids of emissions apart that were numbered by
    /// different stores, or by one that was put back to an earlier state.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn io(&self, error: &redb::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            message: error.to_string(),
        }
    }
}

/// The start of every key of a topic-partition. Topic names hold no zero byte.
pub(crate) fn partition_key(topic: &str, partition: i32) -> Vec<u8> {
    let mut key = topic.as_bytes().to_vec();
    key.push(0);
    key.extend(partition.to_be_bytes());
    key
}

fn outbox_key(topic: &str, partition: i32, number: u64) -> Vec<u8> {
    let mut key = partition_key(topic, partition);
    key.extend(number.to_be_bytes());
    key
}

/// The first key after all that start with this one, which ends in a partition number.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if let Some(raised) = last.checked_add(1) {
            next.push(raised);
            break;
        }
    }
    next
}

#[cfg(test)]
mod tests;
