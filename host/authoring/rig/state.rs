//! State of a plugin in memory, with the scopes that the host gives it: one event sees what its key of its partition
//! has written, and nothing else. It must not know what an outcome is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sandbox::{StateSource, StateWrite};
use crate::since_1970;

/// What has settled, by full key. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct MemoryState {
    entries: Arc<Mutex<Entries>>,
    /// For each topic-partition, keys included, in bytes.
    quota_bytes: u64,
}

#[derive(Debug, Default)]
struct Entries {
    values: HashMap<Vec<u8>, Entry>,
    /// What each topic-partition takes, in bytes.
    taken: HashMap<Vec<u8>, u64>,
}

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    expires_ms: Option<u64>,
}

/// Where an event's state lies.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The bytes that every key of the topic-partition begins with.
    partition: usize,
    bytes: Vec<u8>,
}

impl Scope {
    pub(crate) fn new(topic: &str, partition: i32, key: Option<&[u8]>) -> Self {
        let mut bytes = topic.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend(partition.to_be_bytes());
        let partition = bytes.len();
        // The length keeps a key and a name from being read as another key and name.
        bytes.extend(key.map_or(u32::MAX, |key| key.len() as u32).to_be_bytes());
        bytes.extend(key.unwrap_or_default());
        Self { partition, bytes }
    }

    /// The name that the plugin gave an entry in this scope.
    pub(crate) fn name_of(&self, key: &[u8]) -> String {
        String::from_utf8_lossy(key.get(self.bytes.len()..).unwrap_or_default()).into_owned()
    }
}

impl MemoryState {
    pub(crate) fn new(quota_bytes: u64) -> Self {
        Self {
            entries: Arc::default(),
            quota_bytes,
        }
    }

    /// A source for one call, of events with these scopes.
    pub(crate) fn source(&self, scopes: Vec<Scope>) -> Box<dyn StateSource> {
        Box::new(Source {
            scopes,
            state: self.clone(),
        })
    }

    /// Takes a write of an event that went well.
    pub(crate) fn settle(&self, scope: &Scope, write: StateWrite) {
        let mut entries = self.entries();
        let Entries { values, taken } = &mut *entries;
        let partition = taken
            .entry(scope.bytes[..scope.partition].to_vec())
            .or_default();
        let key_bytes = write.key.len();
        let before = match write.value {
            Some(value) => {
                *partition += (key_bytes + value.len()) as u64;
                let entry = Entry {
                    value,
                    expires_ms: write.expires_ms,
                };
                values.insert(write.key, entry)
            }
            None => values.remove(&write.key),
        };
        let freed = before.map_or(0, |before| key_bytes + before.value.len());
        *partition = partition.saturating_sub(freed as u64);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Source {
    scopes: Vec<Scope>,
    state: MemoryState,
}

impl StateSource for Source {
    fn key(&self, event_index: u32, name: &str) -> Vec<u8> {
        let scope = self.scopes.get(event_index as usize);
        let mut key = scope.map_or(Vec::new(), |scope| scope.bytes.clone());
        key.extend(name.as_bytes());
        key
    }

    fn now_ms(&self) -> u64 {
        since_1970::now_ms()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let entries = self.state.entries();
        let alive = |entry: &&Entry| {
            entry
                .expires_ms
                .is_none_or(|expires| since_1970::now_ms() < expires)
        };
        let found = entries.values.get(key).filter(alive);
        Ok(found.map(|entry| entry.value.clone()))
    }

    /// Counts what has settled, and not what the same call has written before.
    fn room_for(&self, key: &[u8], value_bytes: usize) -> Result<(), String> {
        let entries = self.state.entries();
        let partition = |scope: &&Scope| key.starts_with(&scope.bytes);
        let scope = self.scopes.iter().find(partition);
        let taken = scope.map_or(0, |scope| {
            let of_it = entries.taken.get(&scope.bytes[..scope.partition]);
            of_it.copied().unwrap_or(0)
        });
        let replaced = entries.values.get(key);
        let replaced = replaced.map_or(0, |entry| key.len() + entry.value.len()) as u64;
        let bytes = (key.len() + value_bytes) as u64;
        if taken.saturating_sub(replaced) + bytes > self.state.quota_bytes {
            return Err(format!(
                "the state of this partition has no room for {bytes} bytes more: {taken} bytes of {} are taken",
                self.state.quota_bytes
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(source: &dyn StateSource, name: &str, value: Option<&[u8]>) -> StateWrite {
        StateWrite {
            event_index: 0,
            key: source.key(0, name),
            value: value.map(<[u8]>::to_vec),
            expires_ms: None,
        }
    }

    #[test]
    fn each_key_of_each_partition_has_its_own_entries() {
        let state = MemoryState::new(1 << 20);
        let at = |partition, key: &str| Scope::new("t", partition, Some(key.as_bytes()));
        let source = state.source(vec![at(0, "a")]);
        let written = write(&*source, "seen", Some(b"1"));
        assert_eq!(at(0, "a").name_of(&written.key), "seen");
        state.settle(&at(0, "a"), written);
        let read = |scope: Scope| {
            let source = state.source(vec![scope]);
            source.get(&source.key(0, "seen")).unwrap()
        };
        assert_eq!(read(at(0, "a")).as_deref(), Some(&b"1"[..]));
        assert_eq!(read(at(0, "b")), None);
        assert_eq!(read(at(1, "a")), None);
        assert_eq!(read(Scope::new("t", 0, None)), None);
        state.settle(&at(0, "a"), write(&*source, "seen", None));
        assert_eq!(read(at(0, "a")), None);
    }

    #[test]
    fn a_value_whose_time_has_run_out_is_gone() {
        let state = MemoryState::new(1 << 20);
        let scope = Scope::new("t", 0, None);
        let source = state.source(vec![scope.clone()]);
        let expired = StateWrite {
            expires_ms: Some(since_1970::now_ms() - 1),
            ..write(&*source, "n", Some(b"1"))
        };
        state.settle(&scope, expired);
        assert_eq!(source.get(&source.key(0, "n")), Ok(None));
    }

    #[test]
    fn a_partition_has_no_more_than_its_quota_and_what_is_replaced_makes_room() {
        let state = MemoryState::new(60);
        let scope = Scope::new("t", 0, None);
        let source = state.source(vec![scope.clone()]);
        let key = source.key(0, "n");
        assert_eq!(source.room_for(&key, 40), Ok(()));
        state.settle(&scope, write(&*source, "n", Some(&[0; 40])));
        assert_eq!(source.room_for(&key, 40), Ok(()), "it is replaced");
        assert!(source.room_for(&source.key(0, "m"), 40).is_err());
        state.settle(&scope, write(&*source, "n", None));
        assert_eq!(source.room_for(&source.key(0, "m"), 40), Ok(()));
    }
}
