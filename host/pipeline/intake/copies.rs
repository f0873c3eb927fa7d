//! Records of a retry topic: events that come back with the coordinates that they had at first. They share a
//! lane with their key, for the plugin's state, and keep no order.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::super::batch::{EventKind, Place, pack_header};
use super::super::outside::{Arrival, Source};
use super::{Intake, partition_hash};
use crate::delivery::dead_letter::Header;
use crate::delivery::dedup::EventId;
use crate::delivery::lanes::{OrderBy, OrderGroup};
use crate::delivery::retry_copy::{self, RetryCopy};

impl Intake {
    /// Takes a record of a retry topic into the open batch of its lane.
    pub(super) fn take_copy(
        &mut self,
        at: usize,
        record: &impl Arrival,
        (kind, seq): (EventKind, u64),
        consumer: &impl Source,
    ) {
        let local = &self.locals[at];
        let assignment = Arc::clone(&local.assignment);
        let offset = record.offset();
        let mut headers: Vec<Header> = Vec::new();
        record.for_each_header(|name, value| {
            headers.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        });
        let copy = RetryCopy::read(&headers);
        headers.retain(|(name, _)| !retry_copy::is_host_header(name));
        let place = place(
            &self.routing.now.topics,
            assignment.source_index(),
            record,
            copy.as_ref(),
        );
        let topic = &self.routing.now.topics[place.topic_index as usize];
        // What comes back waits by itself and holds up nothing else of its key.
        let itself = OrderGroup::new(local.hash, Some(xxh3_64(&offset.0.to_le_bytes())));
        let of_key = match self.order_by {
            OrderBy::Partition => None,
            OrderBy::Key => record.key().map(xxh3_64),
            OrderBy::Id => Some(itself.0),
        };
        let lanes_group = OrderGroup::new(partition_hash(topic, place.partition), of_key);
        let plugin_at = assignment.plugin_index;
        let lanes = &mut self.plugins[plugin_at].lanes;
        let lane_at = lanes_group.lane(lanes.len());
        let lane = &mut lanes[lane_at];
        lane.open.push(
            &assignment,
            (kind, seq, offset, itself),
            place,
            (record.key(), record.value()),
            |bytes| {
                for (name, value) in &headers {
                    pack_header(bytes, name, value.as_deref());
                }
            },
        );
        if let Some(copy) = copy {
            if self.dedup.is_some() {
                // After a crash the same copy may have been written twice.
                let id = format!(
                    "{topic}/{}/{}/{}",
                    place.partition, place.offset, place.attempt
                );
                lane.open
                    .set_last_id(Some(EventId(xxh3_128(id.as_bytes()))));
            }
            if kind == EventKind::New {
                lane.open.last_came_back(copy.due_ms, copy.first_failed_ms);
            }
        }
        if lane.is_full() {
            self.hand_over(plugin_at, lane_at, consumer);
        }
    }
}

/// What the plugin sees as the event's place. A record that no host has written is shown as the source's.
fn place(
    topics: &[Arc<str>],
    source_index: u32,
    record: &impl Arrival,
    copy: Option<&RetryCopy>,
) -> Place {
    let Some(copy) = copy else {
        return Place {
            topic_index: source_index,
            partition: record.partition(),
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
            attempt: 1,
        };
    };
    let topic_index = topics.iter().position(|topic| **topic == *copy.topic);
    Place {
        topic_index: topic_index.map_or(source_index, |at| at as u32),
        partition: copy.partition,
        offset: copy.offset,
        timestamp_ms: copy.timestamp_ms,
        attempt: copy.attempt,
    }
}
