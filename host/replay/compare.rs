//! What a replay came to, held against what there is: the rows of two stores, and the outputs in files against those in
//! their topics. It must not change anything.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use super::{Position, ReplayError, Side, locate, standings};
use crate::authoring::fixture::Fixture;
use crate::kafka::consumer::Record;
use crate::kafka::group_offsets::GroupOffsets;
use crate::kafka::reader::Reader;
use crate::store::{RowDifferences, SettleStore};

/// Different outputs that are remembered at once: 100 MB or so.
const OUTPUTS_MAX: usize = 2_000_000;

/// How two stores differ; the first is the live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDifferences {
    /// State of plugins.
    pub state: RowDifferences,
    /// Sums that no tick has taken.
    pub sums: RowDifferences,
}

/// How the outputs for a topic differ: keys and values are compared, and how often each comes. Order, headers and times
/// are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputDifferences {
    /// The topic.
    pub topic: String,
    /// Outputs that both have.
    pub same: u64,
    /// Outputs of the replay alone.
    pub only_side: u64,
    /// Records of the topic alone: of other events and other writers too.
    pub only_live: u64,
    /// The first lines that only the replay has.
    pub first_side: Vec<String>,
    /// Partition and offset of the first records that only the topic has.
    pub first_live: Vec<(i32, i64)>,
}

/// Compares the store of the live group, which must not be running, with that of the side.
///
/// # Errors
/// One of them is in use, is not there, or cannot be read.
pub fn compare_stores(
    live: &Path,
    side: &Side,
    now_ms: u64,
    most: usize,
) -> Result<StoreDifferences, ReplayError> {
    let live = SettleStore::open_existing(live)?;
    let side = SettleStore::open_existing(&side.store())?;
    Ok(StoreDifferences {
        state: live.compare_state(&side, now_ms, most)?,
        sums: live.compare_sums(&side, most)?,
    })
}

/// How often something came, less how often it came on the other side; and where first.
struct Seen {
    more_in_topic: i64,
    first: (i32, i64),
}

/// Compares the outputs of the side for one topic with the records that the topic has from this position on.
///
/// # Errors
/// The file or the topic cannot be read, or there are too many of them.
pub fn compare_outputs(
    (offsets, reader): (&GroupOffsets, &Reader),
    side: &Side,
    (topic, from): (&str, Position),
    most: usize,
) -> Result<OutputDifferences, ReplayError> {
    let mut seen: HashMap<u128, Seen> = HashMap::new();
    let mut too_many = false;
    let ranges = ranges_in(offsets, topic, from)?;
    reader.each(topic, &ranges, |record: &Record<'_>| {
        let at = (record.partition(), record.offset().0);
        too_many |= seen.len() >= OUTPUTS_MAX;
        if !too_many {
            let seen = seen
                .entry(hash(record.key(), record.value()))
                .or_insert(Seen {
                    more_in_topic: 0,
                    first: at,
                });
            seen.more_in_topic += 1;
        }
    })?;
    if too_many {
        return Err(ReplayError::TooManyOutputs(topic.to_owned()));
    }
    let mut found = OutputDifferences {
        topic: topic.to_owned(),
        ..OutputDifferences::default()
    };
    each_line(
        &side.outputs().join(format!("{topic}.jsonl")),
        |line, event| {
            let of = seen.get_mut(&hash(event.key.as_deref(), event.value.as_deref()));
            match of.filter(|seen| seen.more_in_topic > 0) {
                Some(seen) => {
                    seen.more_in_topic -= 1;
                    found.same += 1;
                }
                None => {
                    found.only_side += 1;
                    if found.first_side.len() < most {
                        found.first_side.push(line.to_owned());
                    }
                }
            }
        },
    )?;
    let left = seen.values().filter(|seen| seen.more_in_topic > 0);
    let mut first: Vec<(i32, i64)> = left.clone().map(|seen| seen.first).collect();
    found.only_live = left.map(|seen| seen.more_in_topic as u64).sum();
    first.sort_unstable();
    first.truncate(most);
    found.first_live = first;
    Ok(found)
}

/// What of a topic is compared; nothing where it does not exist.
fn ranges_in(
    offsets: &GroupOffsets,
    topic: &str,
    from: Position,
) -> Result<Vec<(i32, i64, i64)>, ReplayError> {
    if offsets.partitions(topic)?.is_none() {
        return Ok(Vec::new());
    }
    let standings = standings(offsets, &[topic.to_owned()], &[])?;
    let from = locate(offsets, from, &standings)?;
    let each = standings.iter().zip(from);
    Ok(each
        .map(|(of, from)| (of.partition, from.0, of.newest.0))
        .filter(|(_, from, until)| from < until)
        .collect())
}

/// Calls `each` with every line of a file, and the event that it is; a file that is not there has none.
fn each_line(path: &Path, mut each: impl FnMut(&str, &Fixture)) -> Result<(), ReplayError> {
    let failed = |error| ReplayError::io(path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for line in BufReader::new(file).lines() {
        let line = line.map_err(failed)?;
        let event = Fixture::parse(&line);
        let event = event.map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        each(&line, &event);
    }
    Ok(())
}

/// Of key and value; null and empty are different things.
fn hash(key: Option<&[u8]>, value: Option<&[u8]>) -> u128 {
    let mut hash = Xxh3Default::new();
    for part in [key, value] {
        let len = part.map_or(u64::MAX, |part| part.len() as u64);
        hash.update(&len.to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_and_where_a_key_ends_are_told_apart() {
        let all = [
            hash(None, None),
            hash(Some(b""), None),
            hash(None, Some(b"")),
            hash(Some(b"a"), Some(b"b")),
            hash(Some(b"ab"), Some(b"")),
        ];
        let distinct: std::collections::BTreeSet<u128> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(hash(Some(b"a"), Some(b"b")), hash(Some(b"a"), Some(b"b")));
    }
}
