//! Which partition an event goes to, where the key does not decide it inside librdkafka.
//!
//! It must not talk to a broker: how many partitions a topic has is told to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::outgoing::{Outgoing, PublishError};
use crate::config::{Partitioning, Producing};
use crate::delivery::json_pointer;

/// Chooses partitions.
#[derive(Debug)]
pub(super) struct Partitioner {
    how: Partitioning,
    /// When a sticky partition is left for another one.
    stay_bytes: usize,
    stay: Duration,
}

/// What is remembered of one topic.
#[derive(Debug, Default)]
pub(super) struct Turns {
    partitions: AtomicU32,
    next: AtomicU32,
    stuck: Mutex<Option<Stuck>>,
}

#[derive(Debug)]
struct Stuck {
    partition: u32,
    bytes: usize,
    since: Instant,
}

impl Turns {
    /// The topic has so many partitions now.
    pub(super) fn set_partitions(&self, partitions: usize) {
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        self.partitions.store(partitions, Ordering::Relaxed);
    }
}

impl Partitioner {
    pub(super) fn new(producing: &Producing) -> Self {
        Self {
            how: producing.partitioning.clone(),
            stay_bytes: producing.batch_bytes as usize,
            // At a linger of nothing, still long enough for a batch.
            stay: producing.linger.max(Duration::from_millis(1)),
        }
    }

    /// Whether it must know how many partitions a topic has.
    pub(super) fn counts(&self) -> bool {
        !matches!(self.how, Partitioning::Key | Partitioning::Explicit)
    }

    /// The partition of an event; none leaves it to librdkafka, which hashes the key as Java clients do.
    pub(super) fn choose(
        &self,
        event: &Outgoing<'_>,
        turns: Option<&Turns>,
    ) -> Result<Option<i32>, PublishError> {
        if event.partition.is_some() {
            return Ok(event.partition);
        }
        let count = turns.map_or(0, |turns| turns.partitions.load(Ordering::Relaxed));
        let chosen = match (&self.how, turns) {
            (Partitioning::Key, _) => return Ok(None),
            (Partitioning::Explicit, _) => {
                return Err(PublishError::Invalid(
                    "the event names no partition, and this producer is configured to take it from the event \
                     (`partitioning: explicit`)"
                        .to_owned(),
                ));
            }
            (Partitioning::Field(path), _) => {
                let field = event
                    .value
                    .and_then(|value| json_pointer::scalar_at(value, path));
                let Some(field) = field else {
                    let pointer = path.join("/");
                    return Err(PublishError::Invalid(format!(
                        "the event has no text, number or boolean at `/{pointer}` of its value, which decides its \
                         partition"
                    )));
                };
                by_hash(&field, count)
            }
            // A topic that nothing is known of has been forgotten this very moment; librdkafka finds a place.
            (_, None) => None,
            (Partitioning::RoundRobin, Some(turns)) => turns
                .next
                .fetch_add(1, Ordering::Relaxed)
                .checked_rem(count),
            (Partitioning::Sticky, Some(turns)) => self.stick(event, turns, count),
        };
        Ok(chosen.and_then(|partition| i32::try_from(partition).ok()))
    }

    fn stick(&self, event: &Outgoing<'_>, turns: &Turns, count: u32) -> Option<u32> {
        if count == 0 {
            return None;
        }
        let bytes = event.key.map_or(0, <[u8]>::len) + event.value.map_or(0, <[u8]>::len);
        let now = Instant::now();
        let mut stuck = turns.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = |at: &&mut Stuck| {
            at.partition < count
                && at.bytes < self.stay_bytes
                && now.duration_since(at.since) < self.stay
        };
        if let Some(at) = stuck.as_mut().filter(stays) {
            at.bytes += bytes;
            return Some(at.partition);
        }
        let before = stuck.as_ref().map(|at| at.partition);
        let mut partition = fastrand::u32(..count);
        if Some(partition) == before {
            partition = (partition + 1) % count;
        }
        *stuck = Some(Stuck {
            partition,
            bytes,
            since: now,
        });
        Some(partition)
    }
}

/// The partition of these bytes among so many, as Java clients choose it for a key.
pub(crate) fn by_hash(bytes: &[u8], partitions: u32) -> Option<u32> {
    (murmur2(bytes) & 0x7fff_ffff).checked_rem(partitions)
}

/// The hash of 32 bits that Kafka's Java clients use (MurmurHash2 by Austin Appleby, with their seed).
fn murmur2(bytes: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java counts in 32 bits too.
    let mut hash = SEED ^ (bytes.len() as u32);
    let mut words = bytes.chunks_exact(4);
    for word in words.by_ref() {
        let mut word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(MIX);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MIX) ^ word.wrapping_mul(MIX);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (at, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn partitioner(how: Partitioning) -> Partitioner {
        Partitioner::new(&Producing {
            partitioning: how,
            batch_bytes: 100,
            linger: Duration::from_secs(600),
            ..Producing::default()
        })
    }

    fn turns(partitions: usize) -> Turns {
        let turns = Turns::default();
        turns.set_partitions(partitions);
        turns
    }

    #[test]
    fn the_hash_is_that_of_kafka() {
        // The values that Kafka's own tests hold.
        for (text, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn round_robin_goes_through_all_whatever_the_key_and_a_named_partition_wins() {
        let (partitioner, turns) = (partitioner(Partitioning::RoundRobin), turns(3));
        let event = Outgoing {
            key: Some(b"same"),
            ..Outgoing::default()
        };
        let chosen: Vec<_> = (0..6)
            .map(|_| partitioner.choose(&event, Some(&turns)).unwrap())
            .collect();
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2].map(Some));
        let named = Outgoing {
            partition: Some(7),
            ..event
        };
        assert_eq!(partitioner.choose(&named, Some(&turns)), Ok(Some(7)));
    }

    #[test]
    fn sticky_stays_for_a_batch_and_then_goes_elsewhere() {
        let (partitioner, turns) = (partitioner(Partitioning::Sticky), turns(4));
        let event = Outgoing {
            value: Some(&[b'x'; 25]),
            ..Outgoing::default()
        };
        let choose = || partitioner.choose(&event, Some(&turns)).unwrap().unwrap();
        let chosen: Vec<i32> = (0..40).map(|_| choose()).collect();
        for batch in chosen.chunks(4) {
            assert_eq!(batch.iter().collect::<BTreeSet<_>>().len(), 1, "{chosen:?}");
        }
        assert!(
            chosen
                .chunks(4)
                .zip(chosen.chunks(4).skip(1))
                .all(|(one, next)| one[0] != next[0])
        );
    }

    #[test]
    fn a_field_decides_like_a_key_would_and_must_be_there() {
        let partitioner = partitioner(Partitioning::Field(vec!["user".into(), "id".into()]));
        let turns = turns(12);
        let with = |value: &'static str| Outgoing {
            value: Some(value.as_bytes()),
            ..Outgoing::default()
        };
        let chosen = partitioner
            .choose(&with(r#"{"user":{"id":"abc"}}"#), Some(&turns))
            .unwrap();
        assert_eq!(chosen, by_hash(b"abc", 12).map(|p| p as i32));
        for bad in [r#"{"user":{}}"#, "[", r#"{"user":{"id":null}}"#] {
            let refused = partitioner.choose(&with(bad), Some(&turns)).unwrap_err();
            assert!(refused.to_string().contains("`/user/id`"), "{refused}");
        }
    }

    #[test]
    fn explicit_takes_no_event_without_a_partition() {
        let refused = partitioner(Partitioning::Explicit)
            .choose(&Outgoing::default(), None)
            .unwrap_err();
        assert!(
            refused.to_string().contains("names no partition"),
            "{refused}"
        );
    }
}
