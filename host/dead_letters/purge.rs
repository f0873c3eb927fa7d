//! Dead letters that are removed for good: always the oldest of a partition, because Kafka deletes a log from its
//! beginning on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::Filter;
use super::letter::Letter;
use super::outbox::Outbox;
use super::redriven::forgotten;
use super::{DeadLetters, DeadLettersError};
use crate::kafka::reader::{Extent, Scan};

/// Up to where letters are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Those of one partition before an offset.
    Offset {
        /// The partition.
        partition: i32,
        /// The first offset that stays.
        offset: i64,
    },
    /// Of each partition those before the first that was given up at this time or later, in milliseconds since the
    /// Unix epoch.
    Time(i64),
    /// Of each partition those before the first that was not put back.
    Redriven,
    /// All of them.
    All,
}

/// What is removed of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doomed {
    /// The partition.
    pub partition: i32,
    /// The first offset that is removed.
    pub from: i64,
    /// The first offset that stays.
    pub before: i64,
    /// Letters in between.
    pub letters: u64,
    /// Those of them that were never put back.
    pub not_redriven: u64,
}

/// What is removed, by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// The partitions that lose something.
    pub doomed: Vec<Doomed>,
}

impl Purge {
    /// Letters that are removed.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.doomed.iter().map(|it| it.letters).sum()
    }

    /// Those of them that were never put back.
    #[must_use]
    pub fn not_redriven(&self) -> u64 {
        self.doomed.iter().map(|it| it.not_redriven).sum()
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let partitions = self.doomed.iter().map(|it| {
            json!({
                "partition": it.partition,
                "from_offset": it.from,
                "before_offset": it.before,
                "letters": it.letters,
                "not_redriven": it.not_redriven,
            })
        });
        json!({
            "letters": self.letters(),
            "not_redriven": self.not_redriven(),
            "partitions": partitions.collect::<Vec<_>>(),
        })
    }
}

impl DeadLetters {
    /// What a purge would remove.
    ///
    /// # Errors
    /// There is no such topic, or the cluster does not answer.
    pub fn doomed(&self, bound: Bound) -> Result<Purge, DeadLettersError> {
        let redriven = self.redriven()?;
        let mut doomed: BTreeMap<i32, Doomed> = BTreeMap::new();
        let mut stays: BTreeMap<i32, i64> = BTreeMap::new();
        let extents = self.extents()?;
        for extent in &extents {
            if let Some(first) = first_that_stays(extent, bound) {
                stays.insert(extent.partition, first);
            }
            doomed.insert(extent.partition, Doomed::none(extent));
        }
        self.scan(&Filter::default(), |letter| {
            let (partition, offset) = (letter.record.partition, letter.record.offset);
            let put_back = redriven.has(&letter);
            if stops(&letter, bound, put_back) {
                let first = stays.entry(partition).or_insert(offset);
                *first = offset.min(*first);
            }
            let before_all_that_stays = stays.get(&partition).is_none_or(|first| offset < *first);
            if let (true, Some(doomed)) = (before_all_that_stays, doomed.get_mut(&partition)) {
                doomed.letters += 1;
                doomed.not_redriven += u64::from(!put_back);
                doomed.before = offset + 1;
            }
            Ok(Scan::Continue)
        })?;
        let mut doomed: Vec<Doomed> = doomed.into_values().collect();
        doomed.retain(|it| it.letters > 0);
        Ok(Purge { doomed })
    }

    /// Removes what was found. It cannot be brought back.
    ///
    /// # Errors
    /// The cluster refuses or does not answer.
    pub fn purge(&self, purge: &Purge) -> Result<(), DeadLettersError> {
        let ends: BTreeMap<i32, i64> = purge
            .doomed
            .iter()
            .map(|it| (it.partition, it.before))
            .collect();
        if ends.is_empty() {
            return Ok(());
        }
        self.topics.delete_records(&self.topic, &ends)?;
        let redriven = self.redriven()?;
        let is_gone = |(partition, offset): &(i32, i64)| {
            ends.get(partition).is_some_and(|before| offset < before)
        };
        let mut gone = redriven.places().filter(is_gone).peekable();
        if gone.peek().is_none() {
            return Ok(());
        }
        let mut outbox = Outbox::new(&self.kafka)?;
        for place in gone {
            outbox.send(&forgotten(&self.topic, place), None)?;
        }
        outbox.finish()
    }
}

impl Doomed {
    fn none(extent: &Extent) -> Self {
        Self {
            partition: extent.partition,
            from: extent.from,
            before: extent.from,
            letters: 0,
            not_redriven: 0,
        }
    }
}

/// Where a bound by offset says so before anything is read.
fn first_that_stays(extent: &Extent, bound: Bound) -> Option<i64> {
    match bound {
        Bound::Offset { partition, offset } if partition == extent.partition => Some(offset),
        Bound::Offset { .. } => Some(extent.from),
        Bound::Time(_) | Bound::Redriven | Bound::All => None,
    }
}

/// Whether a letter and all behind it stay.
fn stops(letter: &Letter, bound: Bound, put_back: bool) -> bool {
    match bound {
        Bound::Offset { .. } | Bound::All => false,
        // One that does not say when it was given up is not removed by its time.
        Bound::Time(before_ms) => letter.failed_at_ms().is_none_or(|at| at >= before_ms),
        Bound::Redriven => !put_back,
    }
}
