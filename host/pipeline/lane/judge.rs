//! What an answer means: settled, held back for a retry, or given up on.

use std::ops::Range;
use std::sync::Arc;

use super::super::batch::Batch;
use super::super::messages::Settlement;
use super::Lane;
use crate::delivery::dead_letter::{self, Cause, Facts};
use crate::delivery::ledger::Settled;
use crate::kafka::producer::OutgoingRecord;
use crate::sandbox::{Answer, BatchAnswer, Fault, FaultKind, Output, Problem};

/// The longest wait that a plugin may ask for. A key that waits holds the commit back, so this bounds what
/// runs again after a crash.
const AFTER_MS_MAX: u64 = 60 * 60 * 1_000;

/// The shortest wait after an overload, which counts as no attempt: without it an event could keep its lane
/// busy for ever.
const OVERLOADED_AFTER_MS_MIN: u64 = 10;

impl Lane {
    /// Judges the answers for a part of a batch. The answer's indexes count from the start of the part.
    pub(super) fn judge(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        answer: BatchAnswer,
        settlement: &mut Settlement,
    ) {
        let start = part.start;
        let mut special = answer.answers.into_iter().peekable();
        let mut failed: Vec<u32> = Vec::new();
        for index in part {
            let meta = batch.events[index];
            let local = (index - start) as u32;
            let answer = match special.next_if(|(at, _)| *at == local) {
                Some((_, answer)) => answer,
                None => Answer::Processed,
            };
            let settled = match answer {
                Answer::Processed => Settled::Processed,
                Answer::Filtered => Settled::Filtered,
                other => {
                    failed.push(local);
                    self.judge_failure(batch, index, other, settlement);
                    continue;
                }
            };
            settlement.settle(
                meta.assignment,
                settled,
                meta.seq,
                batch.view(index).offset(),
            );
            if !self.first_failures.is_empty() {
                let assignment = batch.assignment_of(meta).id;
                self.first_failures.remove(&(assignment, meta.seq));
            }
        }
        self.apply(batch, start, &failed, answer.outputs, settlement);
    }

    /// Judges an event whose call ended without an answer.
    pub(super) fn judge_fault(
        &mut self,
        batch: &Batch,
        index: usize,
        fault: &Fault,
        settlement: &mut Settlement,
    ) {
        let problem = Problem {
            code: fault.code.clone(),
            message: fault.message.clone(),
            after_ms: None,
        };
        let cause = match fault.kind {
            FaultKind::Trap => Cause::Trap,
            FaultKind::Deadline => Cause::Deadline,
            FaultKind::Memory => Cause::Memory,
            FaultKind::Fuel => Cause::Fuel,
            FaultKind::Capability => Cause::Capability,
            FaultKind::Output => Cause::Output,
            FaultKind::Host => {
                // The host's own trouble is no attempt of the event.
                tracing::error!(plugin = %self.settings.plugin.name(), reason = %fault.message,
                    "no instance of the plugin could be made; its events wait");
                let attempt = batch.view(index).attempt();
                self.park_for(
                    batch,
                    index,
                    attempt,
                    self.settings.backoff.max_ms,
                    settlement,
                );
                return;
            }
        };
        if cause.retriable() {
            self.try_again(batch, index, cause, &problem, settlement);
        } else {
            self.give_up(batch, index, cause, &problem, settlement);
        }
    }

    fn judge_failure(
        &mut self,
        batch: &Batch,
        index: usize,
        answer: Answer,
        settlement: &mut Settlement,
    ) {
        match answer {
            Answer::Reject(problem) => {
                self.give_up(batch, index, Cause::Reject, &problem, settlement);
            }
            Answer::Retry(problem) => {
                self.try_again(batch, index, Cause::Exhausted, &problem, settlement);
            }
            Answer::Overloaded(problem) => {
                let after_ms = problem.after_ms.unwrap_or(self.settings.backoff.initial_ms);
                let after_ms = after_ms.max(OVERLOADED_AFTER_MS_MIN);
                let attempt = batch.view(index).attempt();
                self.park_for(batch, index, attempt, after_ms, settlement);
            }
            Answer::Held => {
                let group = batch.events[index].group;
                if !self.park.holds(group) {
                    // What it waited for has been given up on, so it runs at once.
                    self.park.park(group, self.clock.now());
                }
                self.hold(batch, index, settlement);
            }
            Answer::Processed | Answer::Filtered => {}
        }
    }

    /// Holds an event back behind its key.
    pub(super) fn hold(&mut self, batch: &Batch, index: usize, settlement: &mut Settlement) {
        let attempt = batch.view(index).attempt();
        self.put_back(batch, index, attempt, settlement);
    }

    fn try_again(
        &mut self,
        batch: &Batch,
        index: usize,
        cause: Cause,
        problem: &Problem,
        settlement: &mut Settlement,
    ) {
        let attempt = batch.view(index).attempt();
        if attempt >= self.settings.attempts_max {
            self.give_up(batch, index, cause, problem, settlement);
            return;
        }
        let meta = batch.events[index];
        let key = (batch.assignment_of(meta).id, meta.seq);
        self.first_failures
            .entry(key)
            .or_insert_with(|| self.clock.wall_ms());
        self.metrics.retry();
        let backoff_ms = self.settings.backoff.delay_ms(attempt, self.random.f64());
        let after_ms = problem.after_ms.unwrap_or(backoff_ms);
        self.park_for(batch, index, attempt + 1, after_ms, settlement);
    }

    fn park_for(
        &mut self,
        batch: &Batch,
        index: usize,
        attempt: u32,
        after_ms: u64,
        settlement: &mut Settlement,
    ) {
        // The clock shows whole milliseconds that have passed: one more, so that no attempt is early.
        let due = self.clock.now().after(after_ms.min(AFTER_MS_MAX) + 1);
        self.park.park(batch.events[index].group, due);
        self.put_back(batch, index, attempt, settlement);
    }

    fn put_back(&mut self, batch: &Batch, index: usize, attempt: u32, settlement: &mut Settlement) {
        let meta = batch.events[index];
        let event = batch.take_out(index, attempt);
        let mut windows = self.windows.iter_mut();
        let window = windows.find(|(known, _)| Arc::ptr_eq(known, &event.assignment));
        if let (Some(id), Some((_, window))) = (meta.id, window) {
            // Its id counts as seen when it settles.
            window.forget(id);
        }
        let size = event.size_bytes();
        self.park.push(meta.group, event, size);
        settlement.parked.push((meta.assignment, 1));
    }

    /// Sends the event to the dead-letter topic. It settles when the broker has it.
    fn give_up(
        &mut self,
        batch: &Batch,
        index: usize,
        cause: Cause,
        problem: &Problem,
        settlement: &mut Settlement,
    ) {
        let meta = batch.events[index];
        let assignment = batch.assignment_of(meta);
        let event = batch.view(index);
        let now_ms = self.clock.wall_ms();
        let first_ms = self
            .first_failures
            .remove(&(assignment.id, meta.seq))
            .unwrap_or(now_ms);
        let facts = Facts {
            origin: (&assignment.topic, assignment.partition, event.offset()),
            timestamp_ms: event.timestamp_ms(),
            group: &self.settings.group,
            plugin: self.settings.plugin.name(),
            digest: self.settings.plugin.digest(),
            cause,
            code: &problem.code,
            message: &problem.message,
            attempts: event.attempt(),
            failed_at_ms: (first_ms, now_ms),
        };
        let record = OutgoingRecord {
            topic: self.settings.dead_letter_topic.clone(),
            partition: None,
            timestamp_ms: event.timestamp_ms(),
            key: event.key().map(<[u8]>::to_vec),
            value: event.value().map(<[u8]>::to_vec),
            headers: dead_letter::headers(event.header_list(), &facts),
        };
        settlement.records.push((meta.assignment, record));
        settlement.settle(meta.assignment, Settled::Dead, meta.seq, event.offset());
        self.metrics.dead_letter(cause);
    }

    /// Hands the effects of the events that succeeded to the settlement.
    fn apply(
        &mut self,
        batch: &Batch,
        start: usize,
        failed: &[u32],
        outputs: Vec<Output>,
        settlement: &mut Settlement,
    ) {
        let stands = |index: u32| failed.binary_search(&index).is_err();
        let assignment_of =
            |event_index: u32| batch.events[start + event_index as usize].assignment;
        for output in outputs
            .into_iter()
            .filter(|output| stands(output.event_index))
        {
            let assignment = assignment_of(output.event_index);
            settlement.records.push((assignment, outgoing(output)));
        }
        let Some(instance) = self.instance.as_mut() else {
            return;
        };
        let effects = instance.effects();
        if effects.is_empty() {
            return;
        }
        if !failed.is_empty() {
            effects.retain(stands);
        }
        for line in &effects.journal {
            let text = &effects.journal_bytes[line.start..line.start + line.len];
            settlement.append_line(assignment_of(line.event_index), text);
        }
        for change in effects.tallies.drain(..) {
            settlement
                .tallies
                .push((assignment_of(change.event_index), change));
        }
        self.metrics.plugin_changes(&effects.metrics);
        for write in effects.state.drain(..) {
            settlement
                .state
                .push((assignment_of(write.event_index), write));
        }
        effects.clear();
    }
}

pub(super) fn outgoing(output: Output) -> OutgoingRecord {
    OutgoingRecord {
        topic: output.topic,
        partition: output.partition,
        timestamp_ms: output.timestamp_ms,
        key: output.key,
        value: output.value,
        headers: output.headers,
    }
}
