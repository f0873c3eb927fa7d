//! The range of a replay: from which offset to before which, in each partition, and how far it has come. It must not
//! change anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Chosen, Position, ReplayError, Standing, locate, standings};
use crate::delivery::offsets::Offset;
use crate::kafka::group_offsets::GroupOffsets;
use crate::kafka::reader::Reader;
use crate::pipeline::Ends;

/// What is replayed of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset behind the last.
    pub until: i64,
    /// The offset of the last record in between; none where there is no record.
    pub last: Option<i64>,
    /// The oldest offset that the broker still had.
    pub oldest: i64,
    /// Where the live group stood; none where it had committed nothing.
    pub committed: Option<i64>,
}

impl Range {
    /// The offset behind the last record that is taken.
    pub(super) fn end(&self) -> Offset {
        Offset(self.last.map_or(self.from, |last| last + 1))
    }
}

/// The ranges of every partition of the topics that anything was chosen of; nothing is replayed of partitions that were
/// not chosen.
///
/// # Errors
/// The cluster does not say, or something was chosen that is not there.
pub fn ranges(
    (offsets, reader): (&GroupOffsets, &Reader),
    topics: &[String],
    chosen: &[Chosen],
    (from, to): (Position, Position),
) -> Result<Vec<Range>, ReplayError> {
    // This tells what was chosen and is not there.
    let wanted = standings(offsets, topics, chosen)?;
    let of_wanted = |topic: &&String| wanted.iter().any(|of| of.topic == **topic);
    let topics: Vec<String> = topics.iter().filter(of_wanted).cloned().collect();
    let all = standings(offsets, &topics, &[])?;
    let from = locate(offsets, from, &all)?;
    let until = locate(offsets, to, &all)?;
    let each = all.iter().zip(from.into_iter().zip(until));
    each.map(|(of, (from, until))| {
        let is_wanted = |one: &Standing| one.topic == of.topic && one.partition == of.partition;
        let (from, until) = match wanted.iter().any(is_wanted) {
            true => (from.0, until.0.max(from.0)),
            false => (of.newest.0, of.newest.0),
        };
        Ok(Range {
            topic: of.topic.clone(),
            partition: of.partition,
            from,
            until,
            last: reader.last_before(&of.topic, of.partition, (from, until))?,
            oldest: of.oldest.0,
            committed: of.committed.map(|offset| offset.0),
        })
    })
    .collect()
}

/// Where the partitions of a replay end.
pub(crate) fn ends_of(ranges: &[Range]) -> Ends {
    let ends = ranges.iter();
    ends.map(|range| ((range.topic.clone(), range.partition), range.end()))
        .collect::<BTreeMap<_, _>>()
}

/// Offsets that the side group has not settled yet.
///
/// # Errors
/// The cluster does not say.
pub fn remaining(side: &GroupOffsets, ranges: &[Range]) -> Result<i64, ReplayError> {
    let places: Vec<(String, i32)> = ranges
        .iter()
        .map(|range| (range.topic.clone(), range.partition))
        .collect();
    let committed = side.committed(&places)?;
    let each = ranges.iter().zip(committed);
    let left = each.map(|(range, committed)| {
        let at = committed.offset.map_or(range.from, |offset| offset.0);
        (range.end().0 - at).max(0)
    });
    Ok(left.sum())
}
