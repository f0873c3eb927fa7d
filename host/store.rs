//! What a group keeps on disk: the settle store, and the journals it vouches for.
//!
//! The only user of redb. It must not know Kafka clients, plugins or threads: it reads and writes rows.

mod journal;
mod rows;
mod settle_store;

pub use journal::{Journal, JournalError, JournalPosition, Rotation};
pub use rows::EmissionHeader;
pub use rows::{Emission, PartitionRow, Sum};
pub use settle_store::{
    DifferentRow, RowDifferences, Settle, SettleStore, StateUsage, StateValue, StoreError,
    StoredPartition, shown_key,
};
pub(crate) use settle_store::{STORE_FILE, SWAP_PENDING, partition_key};
