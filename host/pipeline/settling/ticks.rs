//! Ticks: settled sums are lent to the plugin, and what it emits becomes durable before it is sent.

use std::sync::Arc;
use std::time::Instant;

use super::super::messages::{TickJob, ToLane};
use super::super::sending::WaitedForBy;
use super::Settling;
use crate::kafka::producer::OutgoingRecord;
use crate::sandbox::{Fault, Output, TickAnswer, TickReason};
use crate::store::{Emission, EmissionHeader};

impl Settling {
    /// Starts the ticks that are due.
    pub(super) fn start_ticks(&mut self, now: Instant) {
        let due: Vec<u64> = self
            .work
            .books
            .values()
            .filter(|books| {
                let plugin = &self.plugins[books.assignment.plugin_index].versions;
                plugin.has_timer()
                    && books.next_tick <= now
                    && !books.ticking()
                    // The last tick of a partition that is given up is the drain's to start.
                    && !books.assignment.is_revoked()
            })
            .map(|books| books.assignment.id)
            .collect();
        for id in due {
            self.start_tick(id, TickReason::Interval);
        }
    }

    pub(super) fn start_tick(&mut self, id: u64, reason: TickReason) {
        let Some(books) = self.work.books.get_mut(&id) else {
            return;
        };
        let plugin = &self.plugins[books.assignment.plugin_index];
        books.next_tick = self.clock.instant() + plugin.tick;
        // The ticks of one partition stay on one lane, so that a plugin sees them in order.
        let lane = plugin.lanes[books.assignment.partition as usize % plugin.lanes.len()];
        let job = TickJob {
            assignment: Arc::clone(&books.assignment),
            topic: Arc::clone(&self.routing.now.topics[books.assignment.source_index() as usize]),
            reason,
            now_ms: self.clock.wall_ms() as i64,
            sums: books.lend_sums(),
        };
        if self.lanes[lane]
            .commands
            .try_send(ToLane::Tick(job))
            .is_err()
        {
            // The lane has more commands waiting than it can take; the next interval asks again.
            books.end_tick(None);
        }
    }

    /// Sums taken and emissions made by a tick become durable together.
    pub(super) fn ticked(&mut self, id: u64, result: Result<TickAnswer, Fault>) {
        let Some(books) = self.work.books.get_mut(&id) else {
            return;
        };
        let of = Arc::clone(&books.assignment);
        if of.is_lost() {
            books.end_tick(None);
            return;
        }
        let plugin = self.plugins[of.plugin_index].versions.plugin();
        match result {
            Ok(answer) => {
                books.end_tick(Some(&answer));
                books.dirty |= !answer.taken.is_empty() || !answer.outputs.is_empty();
                for output in answer.outputs {
                    let number = self.work.next_emission;
                    self.work.next_emission += 1;
                    let emission = emission(self.store.incarnation(), number, plugin, output);
                    self.work.pending_bytes += emission.bytes();
                    books.outbox.insert(number, emission.clone());
                    let row = (of.topic.to_string(), of.partition, emission.clone());
                    self.work.pending.emissions.push(row);
                    self.work.unsent.push((id, emission));
                }
            }
            Err(fault) => {
                tracing::warn!(%plugin, topic = %of.topic, partition = of.partition,
                    kind = fault.kind.word(), message = %fault.message,
                    "on-tick failed; its sums stay and the next tick gets them");
                books.end_tick(None);
            }
        }
    }

    /// Sends an emission that is durable. That of a partition that was given up or lost waits in the store.
    pub(super) fn send_emission(&mut self, assignment: u64, emission: &Emission) {
        let books = self.work.books.get(&assignment);
        if books.is_none_or(|books| books.assignment.is_lost()) {
            return;
        }
        let mut headers: Vec<(Vec<u8>, Option<Vec<u8>>)> = emission
            .headers
            .iter()
            .map(|h| (h.name.clone(), h.value.clone()))
            .collect();
        headers.push((
            b"millrace.emission".to_vec(),
            Some(emission.id.clone().into_bytes()),
        ));
        let record = OutgoingRecord {
            topic: emission.topic.clone(),
            partition: emission.partition,
            timestamp_ms: emission.timestamp_ms,
            key: emission.key.clone(),
            value: emission.value.clone(),
            headers,
            ..OutgoingRecord::default()
        };
        let by = WaitedForBy::Emission {
            assignment,
            number: emission.number,
        };
        self.sending.send(record, by);
    }
}

/// An emission with its stable id: unique by the store it was made in and its number there.
fn emission(incarnation: u64, number: u64, plugin: &str, output: Output) -> Emission {
    Emission {
        number,
        id: format!("{incarnation:016x}-{number}"),
        plugin: plugin.to_owned(),
        topic: output.topic,
        partition: output.partition,
        key: output.key,
        value: output.value,
        timestamp_ms: output.timestamp_ms,
        headers: output
            .headers
            .into_iter()
            .map(|(name, value)| EmissionHeader { name, value })
            .collect(),
    }
}
