//! Reading the settle store. Each read sees one settled state, whole.

use std::sync::PoisonError;

use prost::Message;
use redb::ReadableDatabase;

use super::{
    JOURNALS, META, OUTBOX, PARTITIONS, STATE, SUMS, SettleStore, StoreError, StoredPartition,
    after, partition_key,
};
use crate::store::journal::JournalPosition;
use crate::store::rows::{Emission, JournalRow, PartitionRow, StateRow, Sum};

impl SettleStore {
    /// The number that the next emission may have.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_emission(&self) -> Result<u64, StoreError> {
        self.read(|read| {
            let meta = read.open_table(META)?;
            Ok(meta.get("next_emission")?.map_or(0, |value| value.value()))
        })
    }

    /// Everything known of one topic-partition.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<StoredPartition, StoreError> {
        self.read(|read| {
            let key = partition_key(topic, partition);
            let (from, to) = (key.clone(), after(&key));
            let row = read.open_table(PARTITIONS)?.get(&*key)?;
            let row = row.and_then(|row| PartitionRow::decode(row.value()).ok());
            let mut stored = StoredPartition {
                row,
                ..StoredPartition::default()
            };
            for entry in read.open_table(SUMS)?.range(&*from..&*to)? {
                stored.sums.extend(Sum::decode(entry?.1.value()).ok());
            }
            for entry in read.open_table(OUTBOX)?.range(&*from..&*to)? {
                stored
                    .outbox
                    .extend(Emission::decode(entry?.1.value()).ok());
            }
            Ok(stored)
        })
    }

    /// How far the journal of this plugin is vouched for; none when it never was.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn journal(&self, plugin: &str) -> Result<Option<JournalPosition>, StoreError> {
        self.read(|read| {
            let row = read.open_table(JOURNALS)?.get(plugin)?;
            let row = row.and_then(|row| JournalRow::decode(row.value()).ok());
            Ok(row.map(|row| JournalPosition {
                segment: row.segment,
                len_bytes: row.len_bytes,
                began_ms: row.began_ms,
            }))
        })
    }

    /// The value under a full state key, unless its time has run out by `now_ms`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn state(&self, key: &[u8], now_ms: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|read| {
            let row = read.open_table(STATE)?.get(key)?;
            let row = row.and_then(|row| StateRow::decode(row.value()).ok());
            let row = row.filter(|row| row.expires_ms.is_none_or(|expires| now_ms < expires));
            Ok(row.map(|row| row.value))
        })
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database
            .as_ref()
            .ok_or_else(|| self.io(&redb::Error::PreviousIo))?;
        let transaction = database
            .begin_read()
            .map_err(|error| self.io(&error.into()))?;
        read(&transaction).map_err(|error| self.io(&error))
    }
}
