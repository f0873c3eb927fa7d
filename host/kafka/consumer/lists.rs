//! Offsets and partitions as librdkafka wants them. It must not know what they are for.

#![allow(
    unsafe_code,
    reason = "metadata of a commit may not be UTF-8, and rdkafka gives it as text only"
)]

use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use super::Commit;

pub(in crate::kafka) fn list(commits: &[Commit], with_metadata: bool) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for commit in commits {
        let mut element = list.add_partition(&commit.topic, commit.partition);
        // Only a negative number is refused, and no settled offset is one.
        let _accepted = element.set_offset(ClientOffset::Offset(commit.offset.0));
        if with_metadata && !commit.metadata.is_empty() {
            element.set_metadata(&commit.metadata);
        }
    }
    list
}

pub(in crate::kafka) fn names(partitions: &[(String, i32)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}

/// The metadata of each element, in their order. Any tool may have written it, so it is bytes.
pub(in crate::kafka) fn metadata(list: &TopicPartitionList) -> Vec<Vec<u8>> {
    // SAFETY: the list is alive and holds `cnt` elements; the metadata of each is owned by the list, and is
    // null or `metadata_size` bytes long.
    unsafe {
        let list = &*list.ptr();
        let elements = match list.elems.is_null() {
            true => &[],
            false => std::slice::from_raw_parts(list.elems, list.cnt as usize),
        };
        let bytes = elements
            .iter()
            .map(|element| match element.metadata.is_null() {
                true => Vec::new(),
                false => std::slice::from_raw_parts(element.metadata.cast(), element.metadata_size)
                    .to_vec(),
            });
        bytes.collect()
    }
}
