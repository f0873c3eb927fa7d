//! Two settle stores held against each other, and what one takes over from the other before it takes its place. It must
//! not know why there are two.

use prost::Message;
use redb::{ReadTransaction, ReadableTable, TableDefinition};

use super::{JOURNALS, OUTBOX, PARTITIONS, STATE, SUMS, SettleStore, StoreError};
use crate::store::rows::{StateRow, Sum};

/// A row that differs, as a person may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferentRow {
    /// Its key: of state with topic, partition, plugin, event key and name; of a sum with topic, partition, plugin and name.
    pub key: Vec<u8>,
    /// The value in the first store; none where it is not there.
    pub ours: Option<Vec<u8>>,
    /// The value in the other one.
    pub theirs: Option<Vec<u8>>,
}

/// How the rows of a table differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowDifferences {
    /// Rows that are the same in both.
    pub same: u64,
    /// Rows that both have with other values.
    pub different: u64,
    /// Rows of the first store alone.
    pub only_ours: u64,
    /// Rows of the other alone.
    pub only_theirs: u64,
    /// The first of those that are not the same.
    pub first: Vec<DifferentRow>,
}

impl RowDifferences {
    /// Whether there are none.
    #[must_use]
    pub fn none(&self) -> bool {
        self.different + self.only_ours + self.only_theirs == 0
    }

    fn add(&mut self, key: &[u8], (ours, theirs): (Option<Vec<u8>>, Option<Vec<u8>>), most: usize) {
        match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => {
                self.same += 1;
                return;
            }
            (Some(_), Some(_)) => self.different += 1,
            (Some(_), None) => self.only_ours += 1,
            (None, Some(_)) => self.only_theirs += 1,
            (None, None) => return,
        }
        if self.first.len() < most {
            self.first.push(DifferentRow {
                key: key.to_vec(),
                ours,
                theirs,
            });
        }
    }
}

/// What is compared of a row; none where it counts as not there.
type Meaning<'f> = &'f dyn Fn(&[u8]) -> Option<Vec<u8>>;

impl SettleStore {
    /// How the state differs from that of another store; the first `most` differences are kept. Entries whose time is over
    /// by `now_ms` count as not there, and when the others expire is not compared.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn compare_state(
        &self,
        other: &Self,
        now_ms: u64,
        most: usize,
    ) -> Result<RowDifferences, StoreError> {
        let value = |row: &[u8]| {
            let row = StateRow::decode(row).ok()?;
            let alive = row.expires_ms.is_none_or(|expires| now_ms < expires);
            alive.then_some(row.value)
        };
        self.compare(other, STATE, &value, most)
    }

    /// How the sums that no tick has taken differ from those of another store.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn compare_sums(&self, other: &Self, most: usize) -> Result<RowDifferences, StoreError> {
        let value = |row: &[u8]| {
            let sum = Sum::decode(row).ok()?;
            Some(sum.value.to_string().into_bytes())
        };
        self.compare(other, SUMS, &value, most)
    }

    fn compare(
        &self,
        other: &Self,
        table: TableDefinition<'static, &'static [u8], &'static [u8]>,
        value: Meaning<'_>,
        most: usize,
    ) -> Result<RowDifferences, StoreError> {
        let mut found = RowDifferences::default();
        let mut failed = None;
        self.read(|ours| {
            let compared = other.read(|theirs| merged(ours, theirs, table, value, most));
            match compared {
                Ok(compared) => found = compared,
                Err(error) => failed = Some(error),
            }
            Ok(())
        })?;
        failed.map_or(Ok(found), Err)
    }

    /// How many emissions have not been acknowledged.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unsent_emissions(&self) -> Result<u64, StoreError> {
        self.read(|read| Ok(read.open_table(OUTBOX)?.iter()?.count() as u64))
    }

    /// Takes over what the other store knows and this one cannot: how far the journals reach, and the offsets of partitions
    /// for which `foreign` says so.
    ///
    /// # Errors
    /// A file cannot be read or written; nothing has changed then.
    pub fn take_over(
        &self,
        other: &Self,
        foreign: impl Fn(&str, i32) -> bool,
    ) -> Result<(), StoreError> {
        let (journals, partitions) = other.read(|read| {
            let mut journals = Vec::new();
            for entry in read.open_table(JOURNALS)?.iter()? {
                let (plugin, row) = entry?;
                journals.push((plugin.value().to_owned(), row.value().to_vec()));
            }
            let mut partitions = Vec::new();
            for entry in read.open_table(PARTITIONS)?.iter()? {
                let (key, row) = entry?;
                let (topic, partition) = place_of(key.value());
                if foreign(&topic, partition) {
                    partitions.push((key.value().to_vec(), row.value().to_vec()));
                }
            }
            Ok((journals, partitions))
        })?;
        self.write(|write| {
            let mut table = write.open_table(JOURNALS)?;
            table.retain(|_, _| false)?;
            for (plugin, row) in &journals {
                table.insert(plugin.as_str(), row.as_slice())?;
            }
            let mut table = write.open_table(PARTITIONS)?;
            for (key, row) in &partitions {
                table.insert(key.as_slice(), row.as_slice())?;
            }
            Ok(())
        })
    }
}

/// Walks both tables in the order of their keys.
fn merged(
    ours: &ReadTransaction,
    theirs: &ReadTransaction,
    table: TableDefinition<'static, &'static [u8], &'static [u8]>,
    value: Meaning<'_>,
    most: usize,
) -> Result<RowDifferences, redb::Error> {
    let (ours, theirs) = (ours.open_table(table)?, theirs.open_table(table)?);
    let (mut ours, mut theirs) = (ours.iter()?, theirs.iter()?);
    let mut found = RowDifferences::default();
    let (mut our, mut their) = (ours.next().transpose()?, theirs.next().transpose()?);
    loop {
        let order = match (&our, &their) {
            (None, None) => return Ok(found),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((our, _)), Some((their, _))) => our.value().cmp(their.value()),
        };
        let key = match order {
            std::cmp::Ordering::Greater => their.as_ref().map(|(key, _)| key.value().to_vec()),
            _ => our.as_ref().map(|(key, _)| key.value().to_vec()),
        };
        let mut rows = (None, None);
        if order.is_le() {
            rows.0 = our.take().and_then(|(_, row)| value(row.value()));
            our = ours.next().transpose()?;
        }
        if order.is_ge() {
            rows.1 = their.take().and_then(|(_, row)| value(row.value()));
            their = theirs.next().transpose()?;
        }
        found.add(&key.unwrap_or_default(), rows, most);
    }
}

/// The topic and the partition in front of a key.
fn place_of(key: &[u8]) -> (String, i32) {
    let zero = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
    let topic = String::from_utf8_lossy(&key[..zero]).into_owned();
    let number = key.get(zero + 1..).and_then(<[u8]>::first_chunk);
    (topic, number.map_or(-1, |bytes| i32::from_be_bytes(*bytes)))
}

/// The key of a row for a person: topic, partition and plugin, then what follows, with `\x00` for what is no text.
#[must_use]
pub fn shown_key(key: &[u8]) -> String {
    let (topic, partition) = place_of(key);
    let rest = key.get(topic.len() + 1 + size_of::<i32>()..);
    let rest = rest.unwrap_or_default();
    let zero = rest.iter().position(|byte| *byte == 0);
    let (plugin, rest) = rest.split_at(zero.unwrap_or(rest.len()));
    // State has the length of the event's key before it; all ones where there is no key.
    let rest = rest.get(1..).unwrap_or_default();
    let own = match rest.split_first_chunk() {
        Some((len, rest)) if u32::from_be_bytes(*len) as usize <= rest.len() => {
            let (event, name) = rest.split_at(u32::from_be_bytes(*len) as usize);
            format!("{} {}", event.escape_ascii(), name.escape_ascii())
        }
        Some((len, rest)) if u32::from_be_bytes(*len) == u32::MAX => {
            format!("null {}", rest.escape_ascii())
        }
        _ => rest.escape_ascii().to_string(),
    };
    format!("{topic}/{partition} {} {own}", plugin.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::super::{Settle, partition_key};
    use super::*;
    use crate::store::journal::JournalPosition;
    use crate::store::rows::PartitionRow;

    fn key(event: &str, name: &str) -> Vec<u8> {
        let mut key = partition_key("t", 1);
        key.extend(b"p\0");
        key.extend((event.len() as u32).to_be_bytes());
        key.extend(event.bytes().chain(name.bytes()));
        key
    }

    fn store(folder: &std::path::Path, state: &[(&str, &str)], journal_bytes: u64) -> SettleStore {
        let store = SettleStore::open(folder).unwrap();
        let state = state.iter();
        let state = state.map(|(event, value)| {
            let value = (value.as_bytes().to_vec(), None);
            (key(event, "count"), Some(value))
        });
        let position = JournalPosition {
            len_bytes: journal_bytes,
            ..JournalPosition::default()
        };
        let row = |below| PartitionRow {
            settled_below: Some(below),
            ..PartitionRow::default()
        };
        let settle = Settle {
            state: state.collect(),
            journals: vec![("p".into(), position)],
            partitions: vec![
                ("t".into(), 1, row(journal_bytes as i64)),
                ("t.retry".into(), 1, row(7)),
            ],
            ..Settle::default()
        };
        store.settle(&settle).unwrap();
        store
    }

    #[test]
    fn rows_are_compared_in_the_order_of_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let ours = [("a", "1"), ("b", "2"), ("d", "4")];
        let ours = store(&folder.path().join("ours"), &ours, 1);
        let theirs = [("a", "1"), ("b", "3"), ("c", "9")];
        let theirs = store(&folder.path().join("theirs"), &theirs, 1);
        let found = ours.compare_state(&theirs, 0, 2).unwrap();
        let counts = (
            found.same,
            found.different,
            found.only_ours,
            found.only_theirs,
        );
        assert_eq!(counts, (1, 1, 1, 1));
        let first: Vec<String> = found.first.iter().map(|row| shown_key(&row.key)).collect();
        assert_eq!(first, ["t/1 p b count", "t/1 p c count"]);
        assert!(ours.compare_sums(&theirs, 9).unwrap().none());
    }

    #[test]
    fn journals_and_foreign_partitions_are_taken_over_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let side = store(&folder.path().join("side"), &[("a", "1")], 10);
        let live = store(&folder.path().join("live"), &[("a", "2")], 99);
        side.take_over(&live, |topic, _| topic != "t").unwrap();
        let journal = side.journal("p").unwrap();
        assert_eq!(journal.map(|position| position.len_bytes), Some(99));
        let below = |topic| side.partition(topic, 1).unwrap().row.unwrap().settled_below;
        assert_eq!((below("t"), below("t.retry")), (Some(10), Some(7)));
        assert_eq!(
            side.state(&key("a", "count"), 0).unwrap(),
            Some(b"1".to_vec())
        );
        assert_eq!(live.unsent_emissions().unwrap(), 0);
    }
}
