//! What plugin state takes in the store, by plugin and topic-partition, and where its expired entries lie.
//!
//! Counted when the store is opened, which reads all of it anyway, and kept in memory from then on. It must not
//! know what a quota is: whoever writes decides by it.

use std::collections::HashMap;
use std::sync::PoisonError;

use prost::Message;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::{STATE, SettleStore, StoreError, partition_key};
use crate::store::rows::StateRow;

/// Entries that one step of a sweep looks at, and their bytes: a few milliseconds of the settling thread.
const SWEEP_ENTRIES_MAX: usize = 2_000;
const SWEEP_BYTES_MAX: usize = 4 << 20;

/// Entries that one step removes; the transaction that it joins stays small.
const SWEEP_REMOVED_MAX: usize = 500;

/// The pause after a sweep that has reached the end, in milliseconds. Expired entries are never read, so there
/// is no hurry.
const SWEEP_PAUSE_MS: u64 = 10_000;

/// What the state of one plugin takes, in one topic-partition or in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateUsage {
    /// Entries, the expired ones that are still there included.
    pub entries: u64,
    /// Their keys and values as they are stored.
    pub bytes: u64,
    /// Entries with a time after which they expire.
    expiring: u64,
}

/// What a transaction changes of it.
#[derive(Debug, Default)]
pub(super) struct Changes(HashMap<Vec<u8>, [i64; 3]>);

/// Usage by scope, and how far the sweep has come.
#[derive(Debug, Default)]
pub(super) struct Usages {
    scopes: HashMap<Vec<u8>, StateUsage>,
    /// The last key that was looked at; none begins anew.
    swept_to: Option<Vec<u8>>,
    pause_until_ms: u64,
}

/// The part of a full key that names the topic-partition and the plugin. Neither name holds a zero byte.
fn scope_of(key: &[u8]) -> &[u8] {
    let zero = |from: usize| key.get(from..)?.iter().position(|byte| *byte == 0);
    let topic = zero(0);
    let end = topic.and_then(|topic| {
        let plugin = topic + 1 + size_of::<i32>();
        zero(plugin).map(|len| plugin + len + 1)
    });
    &key[..end.unwrap_or(0)]
}

/// Entries, bytes and expiring entries of one row.
fn measure(key: &[u8], row: &[u8]) -> [i64; 3] {
    let expires = StateRow::decode(row).is_ok_and(|row| row.expires_ms.is_some());
    [1, (key.len() + row.len()) as i64, i64::from(expires)]
}

impl Changes {
    pub(super) fn added(&mut self, key: &[u8], row: &[u8]) {
        self.change(key, row, 1);
    }

    pub(super) fn removed(&mut self, key: &[u8], row: &[u8]) {
        self.change(key, row, -1);
    }

    fn change(&mut self, key: &[u8], row: &[u8], sign: i64) {
        let scope = scope_of(key);
        let measured = measure(key, row);
        if !self.0.contains_key(scope) {
            self.0.insert(scope.to_vec(), [0; 3]);
        }
        if let Some(sums) = self.0.get_mut(scope) {
            for (sum, amount) in sums.iter_mut().zip(measured) {
                *sum += sign * amount;
            }
        }
    }
}

impl Usages {
    /// Counts everything.
    pub(super) fn count(database: &Database) -> Result<Self, redb::Error> {
        let mut all = Changes::default();
        for entry in database.begin_read()?.open_table(STATE)?.iter()? {
            let (key, row) = entry?;
            all.added(key.value(), row.value());
        }
        let mut usages = Self::default();
        usages.apply(all);
        Ok(usages)
    }

    pub(super) fn apply(&mut self, changes: Changes) {
        for (scope, [entries, bytes, expiring]) in changes.0 {
            let usage = self.scopes.entry(scope).or_default();
            usage.entries = usage.entries.saturating_add_signed(entries);
            usage.bytes = usage.bytes.saturating_add_signed(bytes);
            usage.expiring = usage.expiring.saturating_add_signed(expiring);
        }
        self.scopes.retain(|_, usage| usage.entries > 0);
    }

    pub(super) fn forget(&mut self, partition: &[u8]) {
        self.scopes.retain(|scope, _| !scope.starts_with(partition));
    }
}

impl SettleStore {
    /// What the state of a plugin takes in one topic-partition, as of the last settle.
    #[must_use]
    pub fn state_usage(&self, topic: &str, partition: i32, plugin: &str) -> StateUsage {
        let mut scope = partition_key(topic, partition);
        scope.extend(plugin.bytes().chain([0]));
        let usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
        usages.scopes.get(&scope).copied().unwrap_or_default()
    }

    /// What the state of a plugin takes in all topic-partitions, as of the last settle.
    #[must_use]
    pub fn state_usage_of(&self, plugin: &str) -> StateUsage {
        let usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
        let of_plugin = |scope: &[u8]| {
            let rest = scope.strip_suffix(&[0]);
            rest.is_some_and(|rest| {
                let topic = rest.iter().position(|byte| *byte == 0);
                topic.and_then(|topic| rest.get(topic + 1 + size_of::<i32>()..))
                    == Some(plugin.as_bytes())
            })
        };
        let scopes = usages.scopes.iter().filter(|(scope, _)| of_plugin(scope));
        scopes.fold(StateUsage::default(), |sum, (_, usage)| StateUsage {
            entries: sum.entries + usage.entries,
            bytes: sum.bytes + usage.bytes,
            expiring: sum.expiring + usage.expiring,
        })
    }

    /// Looks a bounded step further for entries whose time has run out by `now_ms`. Whoever settles next should
    /// remove them with it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn expired_state(&self, now_ms: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let from = {
            let mut usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
            let none = usages.scopes.values().all(|usage| usage.expiring == 0);
            if none {
                usages.swept_to = None;
            }
            if none || now_ms < usages.pause_until_ms {
                return Ok(Vec::new());
            }
            usages.swept_to.take()
        };
        let (mut expired, mut looked_at, mut last) = (Vec::new(), (0, 0), None);
        self.read(|read| {
            let table = read.open_table(STATE)?;
            let start = from.as_deref().unwrap_or_default();
            for entry in table.range(start..)? {
                let (key, row) = entry?;
                let (key, row) = (key.value(), row.value());
                looked_at = (looked_at.0 + 1, looked_at.1 + key.len() + row.len());
                let row = StateRow::decode(row).ok();
                let expires_ms = row.and_then(|row| row.expires_ms);
                if expires_ms.is_some_and(|expires| now_ms >= expires) {
                    expired.push(key.to_vec());
                }
                if looked_at.0 >= SWEEP_ENTRIES_MAX
                    || looked_at.1 >= SWEEP_BYTES_MAX
                    || expired.len() >= SWEEP_REMOVED_MAX
                {
                    // The first key after this one.
                    last = Some([key, &[0]].concat());
                    break;
                }
            }
            Ok(())
        })?;
        let mut usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none() {
            usages.pause_until_ms = now_ms + SWEEP_PAUSE_MS;
        }
        usages.swept_to = last;
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Settle, StateValue};
    use super::*;

    /// The full key of an entry, as lanes make it.
    fn key(partition: i32, plugin: &str, name: u32) -> Vec<u8> {
        let mut key = partition_key("t", partition);
        key.extend(plugin.bytes().chain([0]).chain(name.to_be_bytes()));
        key
    }

    fn settle(store: &SettleStore, state: Vec<(Vec<u8>, Option<StateValue>)>) {
        let settle = Settle {
            state,
            ..Settle::default()
        };
        store.settle(&settle).unwrap();
    }

    /// Sweeps until nothing more is found, and removes it. Returns how many steps removed how many.
    fn sweep(store: &SettleStore, now_ms: u64) -> Vec<usize> {
        let mut steps = Vec::new();
        loop {
            let expired = store.expired_state(now_ms).unwrap();
            let removed = expired.len();
            let settle = Settle {
                expired,
                ..Settle::default()
            };
            store.settle(&settle).unwrap();
            steps.push(removed);
            let usages = store.usages.lock().unwrap();
            if usages.swept_to.is_none() {
                return steps;
            }
        }
    }

    #[test]
    fn usage_is_what_stands_in_the_store_and_is_known_again_after_opening() {
        let folder = tempfile::tempdir().unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        let value = |bytes: usize| Some((vec![1; bytes], None));
        settle(
            &store,
            vec![
                (key(0, "a", 1), value(100)),
                (key(0, "a", 2), value(100)),
                (key(1, "a", 1), value(100)),
                (key(0, "b", 1), value(100)),
            ],
        );
        let before = store.state_usage("t", 0, "a");
        assert_eq!(before.entries, 2);
        assert!((200..300).contains(&before.bytes), "{before:?}");
        settle(
            &store,
            vec![(key(0, "a", 1), value(1_100)), (key(0, "a", 2), None)],
        );
        let after = store.state_usage("t", 0, "a");
        assert_eq!(after.entries, 1);
        assert!((1_100..1_200).contains(&after.bytes), "{after:?}");
        assert_eq!(store.state_usage_of("a").entries, 2);
        assert_eq!(store.state_usage_of("c"), StateUsage::default());
        let all = ["a", "b"].map(|plugin| store.state_usage_of(plugin));
        drop(store);
        let store = SettleStore::open(folder.path()).unwrap();
        assert_eq!(["a", "b"].map(|plugin| store.state_usage_of(plugin)), all);
        store.forget("t", 0).unwrap();
        assert_eq!(store.state_usage("t", 0, "a"), StateUsage::default());
        assert_eq!(store.state_usage("t", 1, "a").entries, 1);
    }

    #[test]
    fn expired_entries_are_swept_in_bounded_steps_also_after_opening_again() {
        const ENTRIES: u32 = 3_000;
        let folder = tempfile::tempdir().unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        let entry = |n: u32| {
            let expires_ms = [None, Some(50), Some(500)][n as usize % 3];
            (key(0, "a", n), Some((vec![1; 10], expires_ms)))
        };
        settle(&store, (0..ENTRIES).map(entry).collect());
        assert_eq!(sweep(&store, 49).iter().sum::<usize>(), 0, "none is due");
        drop(store);
        let store = SettleStore::open(folder.path()).unwrap();
        let steps = sweep(&store, 50);
        assert_eq!(steps.iter().sum::<usize>(), ENTRIES as usize / 3);
        assert!(
            steps.iter().all(|removed| *removed <= SWEEP_REMOVED_MAX),
            "{steps:?}"
        );
        assert_eq!(
            store.state_usage_of("a").entries,
            u64::from(ENTRIES) / 3 * 2
        );
        assert_eq!(store.expired_state(500).unwrap().len(), 0, "it pauses");
        assert_eq!(
            sweep(&store, 50 + SWEEP_PAUSE_MS).iter().sum::<usize>(),
            1_000
        );
        drop(store);
        let store = SettleStore::open(folder.path()).unwrap();
        assert_eq!(store.state_usage_of("a").entries, u64::from(ENTRIES) / 3);
        assert_eq!(
            store.expired_state(u64::MAX / 2).unwrap(),
            Vec::<Vec<u8>>::new()
        );
        assert_eq!(
            store.state(&key(0, "a", 0), 1_000).unwrap(),
            Some(vec![1; 10])
        );
    }

    #[test]
    fn an_entry_that_is_written_again_before_it_is_swept_stays() {
        let folder = tempfile::tempdir().unwrap();
        let store = SettleStore::open(folder.path()).unwrap();
        settle(&store, vec![(key(0, "a", 1), Some((vec![1], Some(50))))]);
        let expired = store.expired_state(60).unwrap();
        assert_eq!(expired.len(), 1);
        let again = Settle {
            expired,
            state: vec![(key(0, "a", 1), Some((vec![2], Some(100))))],
            ..Settle::default()
        };
        store.settle(&again).unwrap();
        assert_eq!(store.state(&key(0, "a", 1), 60).unwrap(), Some(vec![2]));
        assert_eq!(store.state_usage_of("a").entries, 1);
    }
}
