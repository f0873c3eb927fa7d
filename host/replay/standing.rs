//! The partitions that a group reads: how far each reaches, where the group stands in it, and where a position lies. It
//! must not change anything.

use std::collections::BTreeMap;

use super::{Position, ReplayError};
use crate::delivery::offsets::Offset;
use crate::kafka::group_offsets::GroupOffsets;

/// One partition, and where a group stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The oldest offset that the broker still has.
    pub oldest: Offset,
    /// The offset after the newest record.
    pub newest: Offset,
    /// What the group has committed; none where nothing is.
    pub committed: Option<Offset>,
}

/// A topic, and which of its partitions are meant; none means all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The topic.
    pub topic: String,
    /// Its partitions.
    pub partitions: Option<Vec<i32>>,
}

impl Chosen {
    /// Reads `TOPIC`, or `TOPIC:0,2`.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (topic, numbers) = match text.split_once(':') {
            None => (text, None),
            Some((topic, numbers)) => (topic, Some(numbers)),
        };
        let number = |text: &str| text.parse::<i32>().ok().filter(|number| *number >= 0);
        let numbers = numbers.map(|numbers| numbers.split(',').map(number).collect());
        match numbers {
            Some(None) => Err(format!(
                "`{text}` names no partitions: write TOPIC, or TOPIC:0,2"
            )),
            partitions => Ok(Self {
                topic: topic.to_owned(),
                partitions: partitions.flatten(),
            }),
        }
    }
}

/// Where the group stands in each partition of these topics, by topic and partition. Where anything was chosen, only in
/// that.
///
/// # Errors
/// The cluster does not say, or something was chosen that is not there.
pub fn standings(
    offsets: &GroupOffsets,
    topics: &[String],
    chosen: &[Chosen],
) -> Result<Vec<Standing>, ReplayError> {
    let mut places = Vec::new();
    for (topic, wanted) in wanted(topics, chosen)? {
        let count = offsets.partitions(topic)?;
        let count = count.ok_or_else(|| ReplayError::NoTopic(topic.to_owned()))? as i32;
        let missing = wanted.iter().find(|partition| **partition >= count);
        if let Some(partition) = missing {
            return Err(ReplayError::NoPartition {
                topic: topic.to_owned(),
                partition: *partition,
                count,
            });
        }
        let all = (0..count).filter(|partition| wanted.is_empty() || wanted.contains(partition));
        places.extend(all.map(|partition| (topic.to_owned(), partition)));
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let committed = offsets.committed(&places)?;
    let places = places.into_iter().zip(committed);
    places
        .map(|((topic, partition), committed)| {
            let (oldest, newest) = offsets.ends(&topic, partition)?;
            Ok(Standing {
                topic,
                partition,
                oldest,
                newest,
                committed: committed.offset,
            })
        })
        .collect()
}

/// The partitions that were chosen of each topic; an empty list means all of them.
fn wanted<'t>(
    topics: &'t [String],
    chosen: &[Chosen],
) -> Result<BTreeMap<&'t str, Vec<i32>>, ReplayError> {
    if chosen.is_empty() {
        return Ok(topics
            .iter()
            .map(|topic| (topic.as_str(), Vec::new()))
            .collect());
    }
    let mut wanted: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for one in chosen {
        let topic = topics.iter().find(|topic| **topic == one.topic);
        let topic = topic.ok_or_else(|| ReplayError::NotRead {
            topic: one.topic.clone(),
            read: topics.join(", "),
        })?;
        let of_topic = chosen.iter().filter(|other| other.topic == one.topic);
        let numbers: Option<Vec<_>> = of_topic.map(|other| other.partitions.clone()).collect();
        // A topic that is named once without numbers is meant whole.
        wanted.insert(topic, numbers.unwrap_or_default().concat());
    }
    Ok(wanted)
}

/// Where a position lies in each of these partitions. What lies outside of a partition is moved to its nearest end.
///
/// # Errors
/// The cluster does not say.
pub fn locate(
    offsets: &GroupOffsets,
    position: Position,
    standings: &[Standing],
) -> Result<Vec<Offset>, ReplayError> {
    let at_time = match position {
        Position::Time(time_ms) => {
            let places: Vec<(String, i32)> = standings
                .iter()
                .map(|of| (of.topic.clone(), of.partition))
                .collect();
            offsets.at_time(&places, time_ms)?
        }
        _ => vec![None; standings.len()],
    };
    let each = standings.iter().zip(at_time);
    Ok(each
        .map(|(of, at_time)| {
            let offset = match position {
                Position::Earliest => of.oldest,
                Position::Latest => of.newest,
                // A group that has committed nothing has everything before it.
                Position::Committed => of.committed.unwrap_or(of.oldest),
                Position::Offset(offset) => Offset(offset),
                Position::Time(_) => at_time.unwrap_or(of.newest),
            };
            offset.max(of.oldest).min(of.newest)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_chosen_by_topic_and_number() {
        let chosen = |topic: &str, partitions: Option<&[i32]>| Chosen {
            topic: topic.to_owned(),
            partitions: partitions.map(<[i32]>::to_vec),
        };
        assert_eq!(Chosen::parse("orders"), Ok(chosen("orders", None)));
        assert_eq!(
            Chosen::parse("orders:0,2"),
            Ok(chosen("orders", Some(&[0, 2])))
        );
        for text in ["orders:", "orders:a", "orders:-1", "orders:1,"] {
            assert!(Chosen::parse(text).is_err(), "{text}");
        }
        let topics = ["a".to_owned(), "b".to_owned()];
        let all = wanted(&topics, &[]).unwrap();
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), ["a", "b"]);
        let some = [chosen("b", Some(&[1])), chosen("b", Some(&[3]))];
        let some = wanted(&topics, &some).unwrap();
        assert_eq!(some.into_iter().collect::<Vec<_>>(), [("b", vec![1, 3])]);
        let whole = [chosen("b", Some(&[1])), chosen("b", None)];
        assert_eq!(wanted(&topics, &whole).unwrap()["b"], Vec::<i32>::new());
        assert!(matches!(
            wanted(&topics, &[chosen("c", None)]),
            Err(ReplayError::NotRead { .. })
        ));
    }
}
