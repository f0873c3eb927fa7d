//! The newest of many letters, however many go by. It must not know what is told of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde_json::Value;

use super::letter::Letter;

/// Letters that are listed at once: they are held in memory, at about a kilobyte each.
pub const LISTED_MAX: usize = 10_000;

/// When, in which partition, and at which offset.
type Place = (i64, i32, i64);

/// What was listed.
#[derive(Debug, Clone)]
pub struct Newest {
    limit: usize,
    /// The oldest on top.
    kept: BinaryHeap<Reverse<(Place, String)>>,
    /// How many there were in all.
    pub matched: u64,
}

impl Newest {
    /// Keeps this many, at most [`LISTED_MAX`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.min(LISTED_MAX),
            kept: BinaryHeap::new(),
            matched: 0,
        }
    }

    /// Takes a letter up, if it is newer than what is kept.
    pub fn add(&mut self, letter: &Letter, redriven: bool) {
        self.matched += 1;
        let record = &letter.record;
        let place = (
            letter.failed_at_ms().unwrap_or(i64::MIN),
            record.partition,
            record.offset,
        );
        let full = self.kept.len() >= self.limit;
        if full && self.kept.peek().is_none_or(|oldest| place < oldest.0.0) {
            return;
        }
        let mut summary = letter.summary();
        summary["redriven"] = redriven.into();
        // As text, which takes a third of the memory.
        self.kept.push(Reverse((place, summary.to_string())));
        if full {
            self.kept.pop();
        }
    }

    /// What is told of each, the newest last.
    #[must_use]
    pub fn sorted(self) -> Vec<Value> {
        let mut kept: Vec<_> = self.kept.into_iter().map(|it| it.0).collect();
        kept.sort_unstable();
        let read = |(_, text): (Place, String)| serde_json::from_str(&text).unwrap_or_default();
        kept.into_iter().map(read).collect()
    }
}
