//! The settle store of a group: one file, one durable transaction for each settle.
//!
//! What a transaction holds happened together: sums, state, journal positions, emissions and the offsets
//! whose events caused them. A file that cannot be believed is set aside with a message, never repaired.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::journal::JournalPosition;
use super::rows::{Emission, JournalRow, PartitionRow, StateRow, Sum};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const PARTITIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("partitions");
const SUMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sums");
const OUTBOX: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("outbox");
const JOURNALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("journals");
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

/// Version of the layout of the rows. A file of another version is set aside.
const LAYOUT: u64 = 1;

/// Memory for pages of the store, in bytes. It holds offsets and sums, and whatever state plugins keep.
const CACHE_BYTES: usize = 64 << 20;

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
}

/// One group's store, locked by this process.
#[derive(Debug)]
pub struct SettleStore {
    /// None only while it is opened again.
    database: RwLock<Option<Database>>,
    path: PathBuf,
    incarnation: u64,
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
    }
}

impl SettleStore {
    /// Opens the store in this folder, or makes it. A file that is damaged or of another layout is set
    /// aside beside it.
    ///
    /// # Errors
    /// The store is in use, or the folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("settle.redb");
        let io = |message: String| StoreError::Io {
            path: path.clone(),
            message,
        };
        std::fs::create_dir_all(folder).map_err(|error| io(error.to_string()))?;
        match Self::open_file(&path) {
            Ok(store) => Ok(store),
            Err(OpenFailure::InUse) => Err(StoreError::InUse { path }),
            Err(OpenFailure::Io(message)) => Err(io(message)),
            Err(OpenFailure::Unbelievable(message)) => {
                let aside = set_aside_name(&path);
                std::fs::rename(&path, &aside).map_err(|error| io(error.to_string()))?;
                tracing::error!(
                    store = %path.display(), set_aside = %aside.display(), reason = %message,
                    "the settle store cannot be believed and was set aside; sums and state in it are \
                     lost to this host, and events since the last commit run again"
                );
                Self::open_file(&path).map_err(|failure| io(failure.message()))
            }
        }
    }

    fn open_file(path: &Path) -> Result<Self, OpenFailure> {
        let database = create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenFailure::InUse,
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() != std::io::ErrorKind::InvalidData
                    && error.kind() != std::io::ErrorKind::UnexpectedEof =>
            {
                OpenFailure::Io(error.to_string())
            }
            error => OpenFailure::Unbelievable(error.to_string()),
        })?;
        let mut store = Self {
            database: RwLock::new(Some(database)),
            path: path.to_owned(),
            incarnation: 0,
        };
        let layout = store
            .initialise()
            .map_err(|error| OpenFailure::Unbelievable(error.to_string()))?;
        if layout != LAYOUT {
            return Err(OpenFailure::Unbelievable(format!(
                "its layout has version {layout}, and this host knows {LAYOUT}"
            )));
        }
        Ok(store)
    }

    fn initialise(&mut self) -> Result<u64, redb::Error> {
        let database = self
            .database
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(database) = database else {
            return Err(redb::Error::DatabaseAlreadyOpen);
        };
        let write = database.begin_write()?;
        let layout = {
            let mut meta = write.open_table(META)?;
            let layout = meta.get("layout")?.map_or(LAYOUT, |value| value.value());
            let incarnation = meta.get("incarnation")?.map(|value| value.value());
            self.incarnation = incarnation.unwrap_or_else(|| fastrand::u64(..));
            meta.insert("layout", layout)?;
            meta.insert("incarnation", self.incarnation)?;
            for table in [PARTITIONS, SUMS, OUTBOX, STATE] {
                write.open_table(table)?;
            }
            write.open_table(JOURNALS)?;
            layout
        };
        write.commit()?;
        Ok(layout)
    }

    /// A random number made with the file. It keeps emission ids of different stores apart.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

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

    /// Writes a settle. It is durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written; nothing of the settle happened.
    pub fn settle(&self, settle: &Settle) -> Result<(), StoreError> {
        self.write(|write| {
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
            for (plugin, JournalPosition { segment, len_bytes }) in &settle.journals {
                let row = JournalRow {
                    segment: *segment,
                    len_bytes: *len_bytes,
                };
                journals.insert(plugin.as_str(), &*row.encode_to_vec())?;
            }
            let mut state = write.open_table(STATE)?;
            for (key, value) in &settle.state {
                match value {
                    Some((value, expires_ms)) => {
                        let row = StateRow {
                            value: value.clone(),
                            expires_ms: *expires_ms,
                        };
                        state.insert(&**key, &*row.encode_to_vec())?;
                    }
                    None => {
                        state.remove(&**key)?;
                    }
                }
            }
            Ok(())
        })
    }

    fn read<T>(
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

    fn write<T>(
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
        match create(&self.path) {
            Ok(opened) => *database = Some(opened),
            Err(error) => tracing::error!(%error, "the settle store cannot be opened again"),
        }
    }

    fn io(&self, error: &redb::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            message: error.to_string(),
        }
    }
}

fn create(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create(path)
}

enum OpenFailure {
    InUse,
    Io(String),
    Unbelievable(String),
}

impl OpenFailure {
    fn message(self) -> String {
        match self {
            Self::InUse => "in use".to_owned(),
            Self::Io(message) | Self::Unbelievable(message) => message,
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

fn set_aside_name(path: &Path) -> PathBuf {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    path.with_extension(format!("redb.set-aside-{}", now.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::offsets::{Applied, Offset, OffsetRange};

    fn settle_of(topic: &str) -> Settle {
        let applied = Applied {
            below: Some(Offset(10)),
            ranges: vec![OffsetRange {
                first: Offset(12),
                last: Offset(13),
            }],
        };
        let sum = Sum {
            plugin: "p".into(),
            name: "n".into(),
            operation: 0,
            value: -3,
        };
        let emission = Emission {
            number: 7,
            id: "x-7".into(),
            ..Emission::default()
        };
        Settle {
            partitions: vec![(
                topic.into(),
                1,
                PartitionRow::new(Some(Offset(9)), &applied),
            )],
            sums: vec![(topic.into(), 1, sum, true)],
            emissions: vec![(topic.into(), 1, emission)],
            journals: vec![(
                "p".into(),
                JournalPosition {
                    segment: 2,
                    len_bytes: 99,
                },
            )],
            state: vec![(b"k".to_vec(), Some((b"v".to_vec(), Some(50))))],
            ..Settle::default()
        }
    }

    #[test]
    fn what_was_settled_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        store.settle(&settle_of("t")).unwrap();
        store.settle(&settle_of("t2")).unwrap();
        let incarnation = store.incarnation();
        drop(store);
        let store = SettleStore::open(folder.path()).unwrap();
        assert_eq!(store.incarnation(), incarnation);
        let stored = store.partition("t", 1).unwrap();
        assert_eq!(stored.row.unwrap().applied().end(), Some(Offset(14)));
        assert_eq!((stored.sums.len(), stored.outbox.len()), (1, 1));
        assert_eq!(store.next_emission().unwrap(), 8);
        assert_eq!(
            store.journal("p").unwrap(),
            Some(JournalPosition {
                segment: 2,
                len_bytes: 99
            })
        );
        assert_eq!(store.state(b"k", 49).unwrap(), Some(b"v".to_vec()));
        assert_eq!(store.state(b"k", 50).unwrap(), None, "its time has run out");
        assert_eq!(store.partition("t", 0).unwrap(), StoredPartition::default());
    }

    #[test]
    fn forgetting_one_partition_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        store.settle(&settle_of("t")).unwrap();
        store.settle(&settle_of("t2")).unwrap();
        store.forget("t", 1).unwrap();
        assert_eq!(store.partition("t", 1).unwrap(), StoredPartition::default());
        assert!(store.partition("t2", 1).unwrap().row.is_some());
    }

    #[test]
    fn a_store_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = SettleStore::open(folder.path()).unwrap();
        assert!(matches!(
            SettleStore::open(folder.path()),
            Err(StoreError::InUse { .. })
        ));
    }

    #[test]
    fn a_damaged_store_is_set_aside_and_never_believed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("settle.redb"), b"this is no database").unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        assert_eq!(store.partition("t", 1).unwrap(), StoredPartition::default());
        let names = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name());
        assert!(
            names
                .into_iter()
                .any(|n| n.to_string_lossy().contains("set-aside"))
        );
    }

    #[test]
    fn a_failed_write_happens_not_at_all_and_the_next_one_works() {
        let folder = tempfile::tempdir().unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        let failed = store.write::<()>(|write| {
            write
                .open_table(PARTITIONS)?
                .insert(&b"t"[..], &b"half"[..])?;
            Err(redb::Error::PreviousIo)
        });
        assert!(failed.is_err());
        store.settle(&settle_of("t")).unwrap();
        assert!(store.partition("t", 1).unwrap().row.is_some());
        store
            .read(|read| {
                assert!(read.open_table(PARTITIONS)?.get(&b"t"[..])?.is_none());
                Ok(())
            })
            .unwrap();
    }
}
