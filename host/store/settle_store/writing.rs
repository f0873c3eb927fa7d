//! Writing the settle store: one transaction a settle, durable when it returns.

use std::sync::PoisonError;

use prost::Message;
use redb::Durability;

use super::usage::Changes;
use super::{
    JOURNALS, META, OUTBOX, PARTITIONS, STATE, SUMS, Settle, SettleStore, StoreError, after,
    outbox_key, partition_key,
};
use crate::store::rows::{JournalRow, StateRow};

impl SettleStore {
    /// Writes a settle. It is durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written; nothing of the settle happened.
    pub fn settle(&self, settle: &Settle) -> Result<(), StoreError> {
        let changes = self.write(|write| {
            let mut partitions = write.open_table(PARTITIONS)?;
            for (topic, partition, row) in &settle.partitions {
                let key = partition_key(topic, *partition);
                partitions.insert(&*key, &*row.encode_to_vec())?;
            }
            let mut sums = write.open_table(SUMS)?;
            for (topic, partition, sum, there) in &settle.sums {
                let mut key = partition_key(topic, *partition);
                key.extend(sum.plugin.bytes().chain([0]).chain(sum.name.bytes()));
                if *there {
                    sums.insert(&*key, &*sum.encode_to_vec())?;
                } else {
                    sums.remove(&*key)?;
                }
            }
            let mut outbox = write.open_table(OUTBOX)?;
            let mut meta = write.open_table(META)?;
            for (topic, partition, emission) in &settle.emissions {
                outbox.insert(
                    &*outbox_key(topic, *partition, emission.number),
                    &*emission.encode_to_vec(),
                )?;
                meta.insert("next_emission", emission.number + 1)?;
            }
            for (topic, partition, number) in &settle.acknowledged_emissions {
                outbox.remove(&*outbox_key(topic, *partition, *number))?;
            }
            let mut journals = write.open_table(JOURNALS)?;
            for (plugin, position) in &settle.journals {
                let row = JournalRow {
                    segment: position.segment,
                    len_bytes: position.len_bytes,
                    began_ms: position.began_ms,
                };
                journals.insert(plugin.as_str(), &*row.encode_to_vec())?;
            }
            write_state(write, settle)
        })?;
        let mut usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
        usages.apply(changes);
        Ok(())
    }

    /// Forgets everything of one topic-partition, because another host has gone on with it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&self, topic: &str, partition: i32) -> Result<(), StoreError> {
        self.write(|write| {
            let key = partition_key(topic, partition);
            let (from, to) = (key.clone(), after(&key));
            write.open_table(PARTITIONS)?.remove(&*key)?;
            write
                .open_table(SUMS)?
                .retain_in(&*from..&*to, |_, _| false)?;
            write
                .open_table(OUTBOX)?
                .retain_in(&*from..&*to, |_, _| false)?;
            write
                .open_table(STATE)?
                .retain_in(&*from..&*to, |_, _| false)?;
            Ok(())
        })?;
        let mut usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
        usages.forget(&partition_key(topic, partition));
        Ok(())
    }

    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let done = self.try_write(write);
        if done.is_err() {
            self.open_again();
        }
        done.map_err(|error| self.io(&error))
    }

    fn try_write<T>(
        &self,
        write: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, redb::Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(redb::Error::PreviousIo)?;
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let out = write(&transaction)?;
        transaction.commit()?;
        Ok(out)
    }

    /// After a failed write redb refuses everything until the file is opened again, which also undoes what
    /// was half written. Where that fails too, the next write tries again.
    fn open_again(&self) {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // The file is locked until the old handle is gone.
        drop(database.take());
        match super::opening::create(&self.path) {
            Ok(opened) => *database = Some(opened),
            Err(error) => tracing::error!(%error, "the settle store cannot be opened again"),
        }
    }
}

/// Removes what has expired, then writes. Returns what that changes of the room it takes.
fn write_state(write: &redb::WriteTransaction, settle: &Settle) -> Result<Changes, redb::Error> {
    let mut changes = Changes::default();
    let mut state = write.open_table(STATE)?;
    for key in &settle.expired {
        if let Some(row) = state.remove(&**key)? {
            changes.removed(key, row.value());
        }
    }
    for (key, value) in &settle.state {
        let Some((value, expires_ms)) = value else {
            if let Some(row) = state.remove(&**key)? {
                changes.removed(key, row.value());
            }
            continue;
        };
        let row = StateRow {
            value: value.clone(),
            expires_ms: *expires_ms,
        };
        let row = row.encode_to_vec();
        if let Some(before) = state.insert(&**key, &*row)? {
            changes.removed(key, before.value());
        }
        changes.added(key, &row);
    }
    Ok(changes)
}
