//! Plugin state as a lane reads it: what it wrote lately and what the store has.
//!
//! One key lives on one lane, so what the lane wrote itself is never stale.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::assignment::Assignment;
use super::clock::wall_ms;
use crate::sandbox::{SLOT_WORDS, Span, StateSource, StateWrite};
use crate::store::{SettleStore, partition_key};

/// Past this many remembered writes, those that the store has are forgotten.
const REMEMBERED_MAX: usize = 10_000;

type Remembered = HashMap<Vec<u8>, (u64, Option<Vec<u8>>, Option<u64>)>;

/// The state of one lane.
#[derive(Debug)]
pub(crate) struct LaneState {
    plugin: Arc<str>,
    store: Arc<SettleStore>,
    /// What was written and may not be in the store yet, by full key, with the serial of its settlement.
    remembered: Arc<Mutex<Remembered>>,
    serial: u64,
    /// The last serial of this lane that the store has.
    stored: Arc<AtomicU64>,
}

impl LaneState {
    pub(crate) fn new(plugin: &str, store: Arc<SettleStore>, stored: Arc<AtomicU64>) -> Self {
        Self {
            plugin: plugin.into(),
            store,
            remembered: Arc::default(),
            serial: 0,
            stored,
        }
    }

    /// Remembers writes that are on their way to the store. Returns the serial to send with them.
    pub(crate) fn remember(&mut self, writes: &[(u32, StateWrite)]) -> u64 {
        if writes.is_empty() {
            return 0;
        }
        self.serial += 1;
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (_, write) in writes {
            let value = (self.serial, write.value.clone(), write.expires_ms);
            remembered.insert(write.key.clone(), value);
        }
        if remembered.len() > REMEMBERED_MAX {
            let stored = self.stored.load(Ordering::Acquire);
            remembered.retain(|_, (serial, ..)| *serial > stored);
        }
        self.serial
    }

    /// Forgets what was written of partitions that are given up: when they come back, the store says what
    /// is true.
    pub(crate) fn forget(&self, assignments: &[Arc<Assignment>]) {
        let prefixes: Vec<Vec<u8>> = assignments
            .iter()
            .map(|assignment| partition_key(&assignment.topic, assignment.partition))
            .collect();
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|key, _| !prefixes.iter().any(|prefix| key.starts_with(prefix)));
    }

    /// A source for one call, which knows the scope of each of its events.
    pub(crate) fn source(
        &self,
        slots: &[u64],
        bytes: &[u8],
        topics: &[Arc<str>],
    ) -> Box<dyn StateSource> {
        let scope = |slot: &[u64]| {
            let topic = topics
                .get(slot[0] as u32 as usize)
                .map_or("", |topic| topic);
            let mut scope = partition_key(topic, (slot[0] >> 32) as u32 as i32);
            scope.extend(self.plugin.bytes().chain([0]));
            let key = Span(slot[4]).of(bytes);
            // The length keeps a key and a name from being read as another key and name.
            scope.extend(key.map_or(u32::MAX, |key| key.len() as u32).to_be_bytes());
            scope.extend(key.unwrap_or_default());
            scope
        };
        Box::new(CallSource {
            scopes: slots[2..].chunks_exact(SLOT_WORDS).map(scope).collect(),
            store: Arc::clone(&self.store),
            remembered: Arc::clone(&self.remembered),
        })
    }
}

#[derive(Debug)]
struct CallSource {
    scopes: Vec<Vec<u8>>,
    store: Arc<SettleStore>,
    remembered: Arc<Mutex<Remembered>>,
}

impl StateSource for CallSource {
    fn key(&self, event_index: u32, name: &str) -> Vec<u8> {
        let mut key = self
            .scopes
            .get(event_index as usize)
            .cloned()
            .unwrap_or_default();
        key.extend(name.as_bytes());
        key
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let now_ms = wall_ms();
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value, expires_ms)) = remembered.get(key) {
            let alive = expires_ms.is_none_or(|expires| now_ms < expires);
            return Ok(value.clone().filter(|_| alive));
        }
        drop(remembered);
        self.store
            .state(key, now_ms)
            .map_err(|error| error.to_string())
    }
}
