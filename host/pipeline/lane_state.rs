//! Plugin state as a lane reads it: what it wrote lately and what the store has.
//!
//! One key lives on one lane, so what the lane wrote itself is never stale.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::assignment::Assignment;
use super::clock::Clock;
use crate::sandbox::{SLOT_WORDS, Span, StateSource, StateWrite};
use crate::store::{SettleStore, partition_key};

/// Past this many remembered writes, those that the store has are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// The serial of its settlement, the value, and when that expires.
type Written = (u64, Option<Vec<u8>>, Option<u64>);

/// What a lane wrote and the store may not have yet.
#[derive(Debug, Default)]
struct Remembered {
    /// By full key.
    values: HashMap<Vec<u8>, Written>,
    /// Serial, scope and bytes of what was written, oldest first.
    unsettled: VecDeque<(u64, Vec<u8>, usize)>,
}

/// What the state of a plugin may take.
#[derive(Debug, Clone)]
pub(crate) struct StateQuota {
    pub(crate) plugin: Arc<str>,
    /// For each topic-partition, keys included.
    pub(crate) bytes_max: u64,
}

/// The state of one lane.
#[derive(Debug)]
pub(crate) struct LaneState {
    quota: StateQuota,
    store: Arc<SettleStore>,
    remembered: Arc<Mutex<Remembered>>,
    serial: u64,
    /// The last serial of this lane that the store has.
    stored: Arc<AtomicU64>,
    clock: Clock,
}

impl LaneState {
    pub(crate) fn new(
        quota: StateQuota,
        (store, stored): (Arc<SettleStore>, Arc<AtomicU64>),
        clock: Clock,
    ) -> Self {
        Self {
            clock,
            quota,
            store,
            remembered: Arc::default(),
            serial: 0,
            stored,
        }
    }

    /// Remembers a write of an event that succeeded, so that the next event of its key reads it. It goes to the
    /// store with the settlement that is sealed next.
    pub(crate) fn remember(&mut self, write: &StateWrite) {
        let serial = self.serial + 1;
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let value = (serial, write.value.clone(), write.expires_ms);
        remembered.values.insert(write.key.clone(), value);
        let Some(value) = &write.value else { return };
        let bytes = write.key.len() + value.len();
        let scope = scope_of(&write.key, &self.quota.plugin);
        match remembered.unsettled.back_mut() {
            Some((last, of, sum)) if *last == serial && of == scope => *sum += bytes,
            _ => remembered
                .unsettled
                .push_back((serial, scope.to_vec(), bytes)),
        }
    }

    /// The value that was written here under a full key, unless its time has run out; none where the store knows
    /// best.
    pub(crate) fn written_lately(&self, key: &[u8], now_ms: u64) -> Option<Option<Vec<u8>>> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (_, value, expires_ms) = remembered.values.get(key)?;
        let alive = expires_ms.is_none_or(|expires| now_ms < expires);
        Some(value.clone().filter(|_| alive))
    }

    /// Ends a settlement with what was written since the last one. Returns the serial to send with it.
    pub(crate) fn seal(&mut self) -> u64 {
        self.serial += 1;
        let stored = self.stored.load(Ordering::Acquire);
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.forget_stored(stored);
        if remembered.values.len() > REMEMBERED_MAX {
            remembered.values.retain(|_, (serial, ..)| *serial > stored);
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
        let kept = |key: &[u8]| !prefixes.iter().any(|prefix| key.starts_with(prefix));
        remembered.values.retain(|key, _| kept(key));
        remembered.unsettled.retain(|(_, scope, _)| kept(scope));
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
            let place = (topic, (slot[0] >> 32) as u32 as i32);
            full_key(place, &self.quota.plugin, Span(slot[4]).of(bytes), "")
        };
        Box::new(CallSource {
            scopes: slots[2..].chunks_exact(SLOT_WORDS).map(scope).collect(),
            quota: self.quota.clone(),
            store: Arc::clone(&self.store),
            remembered: Arc::clone(&self.remembered),
            stored: Arc::clone(&self.stored),
            clock: self.clock.clone(),
            written: Cell::new(0),
        })
    }
}

/// The full key of a name in the state of one key; without a name, what they all begin with.
pub(crate) fn full_key(
    (topic, partition): (&str, i32),
    plugin: &str,
    key: Option<&[u8]>,
    name: &str,
) -> Vec<u8> {
    let mut full = partition_key(topic, partition);
    full.extend(plugin.bytes().chain([0]));
    // The length keeps a key and a name from being read as another key and name.
    full.extend(key.map_or(u32::MAX, |key| key.len() as u32).to_be_bytes());
    full.extend(key.unwrap_or_default());
    full.extend(name.bytes());
    full
}

impl Remembered {
    fn forget_stored(&mut self, stored: u64) {
        let settled = |(serial, ..): &(u64, Vec<u8>, usize)| *serial <= stored;
        while self.unsettled.front().is_some_and(settled) {
            self.unsettled.pop_front();
        }
    }
}

/// The part of a full key that names the topic-partition and the plugin.
fn scope_of<'k>(key: &'k [u8], plugin: &str) -> &'k [u8] {
    // Topic names hold no zero byte; after it come the partition's number, the plugin, and a zero byte again.
    let topic = key.iter().position(|byte| *byte == 0).unwrap_or(0);
    let end = topic + 1 + size_of::<i32>() + plugin.len() + 1;
    key.get(..end).unwrap_or(key)
}

#[derive(Debug)]
struct CallSource {
    scopes: Vec<Vec<u8>>,
    quota: StateQuota,
    store: Arc<SettleStore>,
    remembered: Arc<Mutex<Remembered>>,
    stored: Arc<AtomicU64>,
    clock: Clock,
    /// Bytes that this call has written, over all scopes.
    written: Cell<usize>,
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

    fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let now_ms = self.now_ms();
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value, expires_ms)) = remembered.values.get(key) {
            let alive = expires_ms.is_none_or(|expires| now_ms < expires);
            return Ok(value.clone().filter(|_| alive));
        }
        drop(remembered);
        self.store
            .state(key, now_ms)
            .map_err(|error| error.to_string())
    }

    /// What has settled, what this lane has written since, and this call's own writes all count, each write as
    /// if its key were new; only near the quota is it looked up what a write replaces. Lanes of one partition
    /// do not see what the others wrote since the last settle.
    fn room_for(&self, key: &[u8], value_bytes: usize) -> Result<(), String> {
        let scope = scope_of(key, &self.quota.plugin);
        let (topic, partition) = place_of(scope);
        let settled = self
            .store
            .state_usage(&topic, partition, &self.quota.plugin);
        let bytes = key.len() + value_bytes;
        let unsettled: usize = {
            let mut remembered = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            remembered.forget_stored(self.stored.load(Ordering::Acquire));
            let of_scope = remembered.unsettled.iter().filter(|(_, of, _)| of == scope);
            of_scope.map(|(.., bytes)| bytes).sum()
        };
        let taken = settled.bytes + (unsettled + self.written.get() + bytes) as u64;
        if taken > self.quota.bytes_max {
            let replaced = self.get(key)?.map_or(0, |value| key.len() + value.len());
            if bytes > replaced && taken - replaced as u64 > self.quota.bytes_max {
                return Err(format!(
                    "the state of plugin {} in partition {partition} of topic {topic} has no room for {bytes} \
                     bytes more: {} bytes of {} are taken",
                    self.quota.plugin,
                    taken - bytes as u64,
                    self.quota.bytes_max
                ));
            }
        }
        self.written.set(self.written.get() + bytes);
        Ok(())
    }
}

/// The topic and the partition that a scope names.
fn place_of(scope: &[u8]) -> (String, i32) {
    let zero = scope.iter().position(|byte| *byte == 0).unwrap_or(0);
    let number = scope.get(zero + 1..).and_then(|rest| rest.first_chunk());
    let partition = number.map_or(0, |number| i32::from_be_bytes(*number));
    (
        String::from_utf8_lossy(&scope[..zero]).into_owned(),
        partition,
    )
}
