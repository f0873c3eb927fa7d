//! Named values merged over a batch, with the changes of the current event undoable.
//!
//! Names are kept from batch to batch, so that a name seen before costs a lookup and no allocation.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Past this many names the table is emptied at the end of a batch, so that a plugin whose names never
/// repeat does not grow without bound.
const NAMES_MAX: usize = 4096;

pub(super) struct Entry<V> {
    place: u64,
    /// The start of the window that the value is counted in, where it is counted in one.
    pub(super) window: Option<i64>,
    pub(super) operation: u8,
    pub(super) name: Box<str>,
    pub(super) value: V,
    pub(super) event_index: u32,
    live: bool,
}

pub(super) struct Merged<V> {
    entries: Vec<Entry<V>>,
    table: HashTable<(u64, u32)>,
    hasher: DefaultHashBuilder,
    /// Entry, and its value before the current event; none when it had none.
    undo: Vec<(u32, Option<V>)>,
}

impl<V> Default for Merged<V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            undo: Vec::new(),
        }
    }
}

impl<V: Copy> Merged<V> {
    /// Joins a value to the named one, or makes it.
    #[inline]
    pub(super) fn change(
        &mut self,
        place: u64,
        (operation, window): (u8, Option<i64>),
        name: &str,
        event_index: u32,
        first: V,
        join: impl FnOnce(V) -> V,
    ) {
        let hash = self.hasher.hash_one((place, operation, window, name));
        let entries = &self.entries;
        let found = self.table.find(hash, |(_, at)| {
            let entry = &entries[*at as usize];
            entry.place == place
                && entry.operation == operation
                && entry.window == window
                && *entry.name == *name
        });
        let at = match found {
            Some((_, at)) => *at,
            None => {
                let at = self.entries.len() as u32;
                self.entries.push(Entry {
                    place,
                    operation,
                    window,
                    name: name.into(),
                    value: first,
                    event_index,
                    live: false,
                });
                self.table
                    .insert_unique(hash, (hash, at), |(hash, _)| *hash);
                at
            }
        };
        let entry = &mut self.entries[at as usize];
        if entry.live {
            self.undo.push((at, Some(entry.value)));
            entry.value = join(entry.value);
        } else {
            self.undo.push((at, None));
            (entry.value, entry.event_index, entry.live) = (first, event_index, true);
        }
    }

    #[inline]
    pub(super) fn keep(&mut self) {
        self.undo.clear();
    }

    pub(super) fn undo(&mut self) {
        while let Some((at, before)) = self.undo.pop() {
            let entry = &mut self.entries[at as usize];
            match before {
                Some(value) => entry.value = value,
                None => entry.live = false,
            }
        }
    }

    /// Hands out every live value, and starts the next batch with none.
    pub(super) fn drain<T>(&mut self, mut make: impl FnMut(&Entry<V>) -> T) -> Vec<T> {
        let mut out = Vec::new();
        for entry in &mut self.entries {
            if entry.live {
                out.push(make(entry));
                entry.live = false;
            }
        }
        if self.entries.len() > NAMES_MAX {
            self.entries.clear();
            self.table.clear();
        }
        out
    }
}
