//! Offsets and partitions as librdkafka wants them. It must not know what they are for.

use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use crate::delivery::offsets::Offset;

pub(super) fn list(offsets: &[(String, i32, Offset)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (topic, partition, offset) in offsets {
        let mut element = list.add_partition(topic, *partition);
        // Only a negative number is refused, and no settled offset is one.
        let _accepted = element.set_offset(ClientOffset::Offset(offset.0));
    }
    list
}

pub(super) fn names(partitions: &[(String, i32)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
