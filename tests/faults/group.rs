//! A consumer group as its broker sees it: who has which partitions, and in which generation.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::harness::topic::Topic;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Where brokers keep what they know of groups.
const GROUPS_TOPIC: &str = "__consumer_offsets";

/// The partitions that each client has of a topic, by `client.id`; empty while the group changes.
pub(crate) fn owners(brokers: &str, group: &str, topic: &str) -> BTreeMap<String, Vec<i32>> {
    let asker: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("a consumer can be made");
    let Ok(list) = asker.fetch_group_list(Some(group), REQUEST_TIMEOUT) else {
        return BTreeMap::new();
    };
    let stable = list
        .groups()
        .iter()
        .filter(|group| group.state() == "Stable");
    let members = stable.flat_map(|group| group.members());
    let mut owners: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for member in members {
        let assignment = member.assignment().unwrap_or_default();
        let found = Bytes(assignment).assigned(topic).unwrap_or_default();
        owners
            .entry(member.client_id().to_owned())
            .or_default()
            .extend(found);
    }
    owners
}

/// The newest generation of a group that the broker has written down.
///
/// # Panics
/// When it has written none.
#[track_caller]
pub(crate) fn generation(brokers: &str, group: &str) -> i32 {
    let records = Topic::named(brokers, GROUPS_TOPIC).read_all();
    let mut generations = records.iter().filter_map(|record| {
        let mut key = Bytes(record.key.as_deref()?);
        // Version 2 of a key is for what is known of a group as a whole.
        let of_group = key.number::<2>()? == 2 && key.text()? == group.as_bytes();
        let mut value = Bytes(record.value.as_deref()?);
        let (_version, _protocol) = (value.number::<2>()?, value.text()?);
        let generation = value.number::<4>()?;
        of_group.then_some(generation as i32)
    });
    let newest = generations.by_ref().max();
    newest.unwrap_or_else(|| panic!("the broker knows no generation of {group}"))
}

/// Kafka's own way to write numbers and texts: the highest byte first, lengths in front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const LEN: usize>(&mut self) -> Option<u32> {
        let bytes = self.take(LEN)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u32::from(*byte)),
        )
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.number::<2>()?;
        self.take(len as usize)
    }

    /// The partitions of one topic in a member's assignment.
    fn assigned(&mut self, topic: &str) -> Option<Vec<i32>> {
        let _version = self.number::<2>()?;
        let mut found = Vec::new();
        for _ in 0..self.number::<4>()? {
            let is_it = self.text()? == topic.as_bytes();
            for _ in 0..self.number::<4>()? {
                let partition = self.number::<4>()? as i32;
                found.extend(is_it.then_some(partition));
            }
        }
        Some(found)
    }
}
