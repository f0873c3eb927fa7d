//! The events of a bench, in batches, over and over.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::authoring::fixture::Fixture;
use crate::authoring::rig::{MemoryState, Scope};
use crate::delivery::lanes::OrderGroup;
use crate::delivery::offsets::{Applied, Offset};
use crate::pipeline::assignment::Assignment;
use crate::pipeline::batch::{Batch, EventKind, Place, pack_header};
use crate::sandbox::{StateSource, encode_topics};
use crate::since_1970;

/// The events, and where the next batch begins.
pub(super) struct Load {
    events: Vec<(Fixture, Arc<Assignment>)>,
    topics: Vec<Arc<str>>,
    topic_table: Vec<u8>,
    at: usize,
    offset: i64,
    now_ms: i64,
}

impl Load {
    /// There must be an event. Those that do not say come from `topic`.
    pub(super) fn new(topic: &str, events: &[Fixture]) -> Self {
        let mut topics: Vec<Arc<str>> = Vec::new();
        let mut assignments: HashMap<(usize, i32), Arc<Assignment>> = HashMap::new();
        let mut placed = |event: &Fixture| {
            let topic = event.topic.as_deref().unwrap_or(topic);
            let known = topics.iter().position(|known| **known == *topic);
            let at = known.unwrap_or_else(|| {
                topics.push(Arc::from(topic));
                topics.len() - 1
            });
            let partition = event.partition.unwrap_or(0);
            let id = assignments.len() as u64;
            let assignment = assignments.entry((at, partition)).or_insert_with(|| {
                let from = (Arc::clone(&topics[at]), at as u32);
                let applied = Applied::default();
                Arc::new(Assignment::new(id, from, partition, 0, Offset(0), applied))
            });
            (event.clone(), Arc::clone(assignment))
        };
        let events = events.iter().map(&mut placed).collect();
        Self {
            events,
            topic_table: encode_topics(topics.iter().map(|topic| &**topic)),
            topics,
            at: 0,
            offset: 0,
            now_ms: since_1970::now_timestamp_ms(),
        }
    }

    pub(super) fn topics(&self) -> &[Arc<str>] {
        &self.topics
    }

    /// The mean of key and value, in bytes.
    pub(super) fn event_bytes(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let all = self
            .events
            .iter()
            .map(|(event, _)| len(&event.key) + len(&event.value));
        all.sum::<usize>() / self.events.len().max(1)
    }

    pub(super) fn empty(&self) -> Batch {
        Batch::new(&self.topic_table)
    }

    /// Puts the next events into a batch, as the polling thread does it.
    pub(super) fn fill(&mut self, batch: &mut Batch, size: usize) {
        batch.begin(&self.topic_table);
        for _ in 0..size {
            let (event, assignment) = &self.events[self.at];
            self.at = (self.at + 1) % self.events.len();
            let offset = Offset(self.offset);
            self.offset += 1;
            let place = Place {
                topic_index: assignment.topic_index,
                partition: assignment.partition,
                offset,
                timestamp_ms: event.timestamp_ms.or(Some(self.now_ms)),
                attempt: event.attempt.unwrap_or(1),
            };
            let group = OrderGroup::new(assignment.id, event.key.as_deref().map(xxh3_64));
            let meta = (EventKind::New, offset.0 as u64, offset, group);
            let content = (event.key.as_deref(), event.value.as_deref());
            batch.push(assignment, meta, place, content, |bytes| {
                for (name, value) in &event.headers {
                    pack_header(bytes, name, value.as_deref());
                }
            });
        }
    }

    /// Where the events of a batch have their state.
    pub(super) fn source(&self, state: &MemoryState, batch: &Batch) -> Box<dyn StateSource> {
        state.source(
            (0..batch.len())
                .map(|index| self.scope(batch, index))
                .collect(),
        )
    }

    pub(super) fn scope(&self, batch: &Batch, index: usize) -> Scope {
        let event = batch.view(index);
        let topic = &self.topics[event.topic_index() as usize];
        Scope::new(topic, event.partition(), event.key())
    }
}
