//! What an answer means: settled, held back for a retry, or given up on.

use std::ops::Range;

use super::super::batch::Batch;
use super::super::messages::Settlement;
use super::check::RECORD_OVERHEAD_BYTES;
use super::outputs::{hand_on, outgoing};
use super::{FailedBefore, Lane};
use crate::delivery::dead_letter::{self, Cause, Facts};
use crate::delivery::ledger::Settled;
use crate::delivery::park::Allowance;
use crate::delivery::retry::{Failing, Next};
use crate::delivery::retry_copy::RetryCopy;
use crate::kafka::producer::OutgoingRecord;
use crate::sandbox::{
    Answer, BatchAnswer, Fault, FaultKind, Output, Problem, Transcript, WAITING_DEADLINE,
};

/// The longest wait after an overload, which counts as no attempt. A key that waits holds the commit back, so
/// this bounds what runs again after a crash.
pub(super) const OVERLOADED_AFTER_MS_MAX: u64 = 60 * 60 * 1_000;

/// The shortest wait after an overload, which counts as no attempt: without it an event could keep its lane
/// busy for ever.
pub(super) const OVERLOADED_AFTER_MS_MIN: u64 = 10;

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
        let watched = self.is_watched().then(|| Self::filtered(&answer.answers));
        self.trace_answers(batch, &part, &answer.answers);
        let mut special = answer.answers.into_iter().peekable();
        let mut failed: Vec<u32> = Vec::new();
        let (events, mut well) = (part.len(), 0);
        for index in part.clone() {
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
                    // A plugin that refuses an event is well itself.
                    well += usize::from(matches!(other, Answer::Reject(_)));
                    // An outage is told by what went well between failures, and much of a batch may have.
                    self.count_well(std::mem::take(&mut well));
                    self.judge_failure(batch, index, other, settlement);
                    continue;
                }
            };
            well += 1;
            settlement.settle(meta.assignment, settled, meta.seq, meta.offset);
            if self.waited && !self.failed_before.is_empty() {
                self.recovered(batch, index);
            }
        }
        self.count_well(well);
        self.record.events += events as u64;
        self.metrics.judged(events);
        if let Some(filtered) = watched {
            self.show_well(batch, part, (&failed, &filtered));
        }
        self.apply(batch, start, &failed, answer.outputs, settlement);
        self.judge_no_more();
    }

    fn count_well(&mut self, events: usize) {
        self.well += events as u64;
        if let Some(outage) = &self.settings.outage {
            outage.well(events as u64);
        }
    }

    /// A repeated attempt says nothing new of the version.
    fn count_failure(&mut self, batch: &Batch, index: usize) {
        self.record.failed += u64::from(batch.view(index).attempt() == 1);
    }

    /// Judges an event whose call ended without an answer.
    pub(super) fn judge_fault(
        &mut self,
        batch: &Batch,
        index: usize,
        fault: &Fault,
        settlement: &mut Settlement,
    ) {
        self.trace_fault(batch, index, fault);
        self.judge_faulty(batch, index, fault, settlement);
        self.judge_no_more();
    }

    fn judge_faulty(
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
            frames: fault.frames.clone(),
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
                if self.restarts.ailing() {
                    // The next instance waits, and that is wait enough.
                    self.park_part(batch, index..index + 1, settlement);
                } else {
                    tracing::error!(plugin = %self.plugin(), reason = %fault.message,
                        "the host could not serve a plugin's call; its event waits");
                    let after_ms = self.settings.retry.backoff.max_ms;
                    self.wait_for(batch, index, after_ms, settlement);
                }
                return;
            }
        };
        self.metrics.judged(1);
        self.record.events += 1;
        self.count_failure(batch, index);
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
                self.count_failure(batch, index);
                self.give_up(batch, index, Cause::Reject, &problem, settlement);
            }
            Answer::Retry(problem) => {
                self.count_failure(batch, index);
                self.try_again(batch, index, Cause::Exhausted, &problem, settlement);
            }
            Answer::Overloaded(problem) => {
                let initial_ms = self.settings.retry.backoff.initial_ms;
                let after_ms = problem.after_ms.unwrap_or(initial_ms);
                let after_ms = after_ms.clamp(OVERLOADED_AFTER_MS_MIN, OVERLOADED_AFTER_MS_MAX);
                self.show_failed(batch, index, "overloaded", &problem);
                self.wait_for(batch, index, after_ms, settlement);
            }
            Answer::Held => {
                let group = batch.events[index].group;
                if !self.park.holds(group) {
                    // What it waited for has been given up on, so it runs at once.
                    self.park.park(group, self.clock.now(), Allowance::ONE);
                }
                self.hold(batch, index, settlement);
            }
            Answer::Processed | Answer::Filtered => {}
        }
    }

    /// A failed event that another attempt may help.
    fn try_again(
        &mut self,
        batch: &Batch,
        index: usize,
        cause: Cause,
        problem: &Problem,
        settlement: &mut Settlement,
    ) {
        let meta = batch.events[index];
        let by_outage = cause == Cause::Exhausted || problem.code == WAITING_DEADLINE;
        if by_outage {
            self.note_failing(meta.group);
        }
        let (now, now_ms) = (self.clock.now(), self.clock.wall_ms());
        let failed = self
            .failed_before
            .get(&(batch.assignment_of(meta).id, meta.seq));
        let next = self.settings.retry.next(&Failing {
            attempt: batch.view(index).attempt(),
            age_ms: failed.map_or(0, |failed| now_ms.saturating_sub(failed.first_ms)),
            held_ms: failed.map_or(0, |failed| self.held_ms(failed, now)),
            after_ms: problem.after_ms,
            outage: by_outage && self.outage_is_open(),
            pressed: self.pressed(),
            random: self.random.f64(),
        });
        match next {
            Next::Park { attempt, after_ms } => {
                self.wait_for_attempt(batch, index, (attempt, after_ms, problem), settlement);
            }
            Next::Move { attempt, after_ms } | Next::Evict { attempt, after_ms } => {
                self.move_away(batch, index, (attempt, after_ms, problem), settlement);
            }
            Next::Exhausted => self.give_up(batch, index, cause, problem, settlement),
            Next::Expired => self.give_up(batch, index, Cause::Expired, problem, settlement),
        }
    }

    /// Holds the event's key back for this attempt.
    fn wait_for_attempt(
        &mut self,
        batch: &Batch,
        index: usize,
        (attempt, after_ms, problem): (u32, u64, &Problem),
        settlement: &mut Settlement,
    ) {
        let meta = batch.events[index];
        let (now, now_ms) = (self.clock.now(), self.clock.wall_ms());
        let (attempts_due, holds_since) = (now.after(after_ms + 1), self.without_outages(now));
        let key = (batch.assignment_of(meta).id, meta.seq);
        let failed = self.failed_before.entry(key).or_insert(FailedBefore {
            first_ms: now_ms,
            holds_since,
            not_before: attempts_due,
            problem: None,
            not_ready: false,
            paused: false,
        });
        failed.not_before = attempts_due;
        failed.problem = Some(problem.clone());
        failed.not_ready = false;
        let held_ms = holds_since.0.saturating_sub(failed.holds_since.0);
        self.show_failed(batch, index, "retry", problem);
        if attempt > batch.view(index).attempt() {
            self.metrics.retry();
        }
        // The clock shows whole milliseconds that have passed: one more, so that no attempt is early.
        let holds_ms = self.settings.retry.holds_ms(after_ms + 1, held_ms);
        self.park
            .park(meta.group, now.after(holds_ms), Allowance::ONE);
        self.put_back(batch, index, attempt, settlement);
    }

    /// Holds the event's key back for a reason that is no failure of it.
    fn wait_for(
        &mut self,
        batch: &Batch,
        index: usize,
        after_ms: u64,
        settlement: &mut Settlement,
    ) {
        let due = self.clock.now().after(after_ms + 1);
        self.park
            .park(batch.events[index].group, due, Allowance::ONE);
        self.hold(batch, index, settlement);
    }

    /// Gives an event up that waits and must not wait any longer: its next attempt is made from the retry
    /// topic, where there is one.
    pub(super) fn evict(&mut self, batch: &Batch, index: usize, settlement: &mut Settlement) {
        self.remember_id(batch, index);
        let meta = batch.events[index];
        let key = (batch.assignment_of(meta).id, meta.seq);
        let failed = self.failed_before.get(&key);
        let now = self.clock.now();
        let after_ms = failed.map_or(0, |failed| failed.not_before.0.saturating_sub(now.0));
        let problem = failed.and_then(|failed| failed.problem.clone());
        let problem = problem.unwrap_or_default();
        if self.retry_topic(batch, index).is_some() {
            let attempt = batch.view(index).attempt();
            self.move_away(batch, index, (attempt, after_ms, &problem), settlement);
        } else {
            // It carries the number of the attempt that it waited for.
            let attempts = batch.view(index).attempt().saturating_sub(1);
            let why = (Cause::Evicted, attempts);
            self.give_up_after(batch, index, why, &problem, settlement);
        }
    }

    fn retry_topic(&self, batch: &Batch, index: usize) -> Option<&(String, usize)> {
        let source = batch.assignment_of(batch.events[index]).source_index();
        self.settings
            .routing
            .now
            .retry_topics
            .get(source as usize)?
            .as_ref()
    }

    /// Sends the event to the retry topic, or to the dead letters where there is none. It settles when the
    /// broker has it.
    fn move_away(
        &mut self,
        batch: &Batch,
        index: usize,
        (attempt, after_ms, problem): (u32, u64, &Problem),
        settlement: &mut Settlement,
    ) {
        let meta = batch.events[index];
        let assignment = batch.assignment_of(meta);
        let Some((topic, partitions)) = self.retry_topic(batch, index) else {
            self.give_up(batch, index, Cause::Evicted, problem, settlement);
            return;
        };
        let event = batch.view(index);
        let now_ms = self.clock.wall_ms();
        let failed = self.failed_before.get(&(assignment.id, meta.seq));
        let copy = RetryCopy {
            topic: self.settings.routing.now.topics[event.topic_index() as usize].to_string(),
            partition: event.partition(),
            offset: event.offset(),
            timestamp_ms: event.timestamp_ms(),
            attempt,
            // One more, because the clock shows whole milliseconds that have passed.
            due_ms: now_ms + after_ms + 1,
            first_failed_ms: failed.map_or(now_ms, |failed| failed.first_ms),
        };
        let mut record = OutgoingRecord {
            topic: topic.clone(),
            // A source that has grown has more partitions than its retry topic.
            partition: Some(assignment.partition % (*partitions).max(1) as i32),
            // The time of writing, so that the topic's retention counts from now.
            timestamp_ms: None,
            key: event.key().map(<[u8]>::to_vec),
            value: event.value().map(<[u8]>::to_vec),
            headers: copy.headers(event.header_list()),
            ..OutgoingRecord::default()
        };
        if record.bytes() + RECORD_OVERHEAD_BYTES > self.settings.message_bytes_max {
            // A dead letter sheds the headers that make it too large; a retry copy needs its own.
            self.give_up(batch, index, Cause::Evicted, problem, settlement);
            return;
        }
        self.trace_record(batch, index, &mut record);
        settlement.records.push((meta.assignment, record));
        settlement.settle(meta.assignment, Settled::Moved, meta.seq, meta.offset);
        self.show_failed(batch, index, "moved", problem);
        self.failed_before.remove(&(assignment.id, meta.seq));
        self.metrics.retry();
    }

    /// Sends the event to the dead-letter topic. It settles when the broker has it.
    pub(super) fn give_up(
        &mut self,
        batch: &Batch,
        index: usize,
        cause: Cause,
        problem: &Problem,
        settlement: &mut Settlement,
    ) {
        let why = (cause, batch.view(index).attempt());
        self.give_up_after(batch, index, why, problem, settlement);
    }

    fn give_up_after(
        &mut self,
        batch: &Batch,
        index: usize,
        (cause, attempts): (Cause, u32),
        problem: &Problem,
        settlement: &mut Settlement,
    ) {
        self.tell_given_up(batch, index, (cause, attempts), problem);
        let meta = batch.events[index];
        let assignment = batch.assignment_of(meta);
        let event = batch.view(index);
        let now_ms = self.clock.wall_ms();
        let failed = self.failed_before.remove(&(assignment.id, meta.seq));
        let first_ms = failed.map_or(now_ms, |failed| failed.first_ms);
        let version = self.called.version();
        let told = self.told.as_ref().map(Transcript::to_bytes);
        let facts = Facts {
            origin: (
                &self.settings.routing.now.topics[event.topic_index() as usize],
                event.partition(),
                event.offset(),
            ),
            timestamp_ms: event.timestamp_ms(),
            group: &self.settings.group,
            plugin: &version.plugin,
            version: &version.name,
            digest: &version.digest,
            cause,
            code: &problem.code,
            message: &problem.message,
            frames: &problem.frames,
            attempts,
            failed_at_ms: (first_ms, now_ms),
            transcript: told.as_deref(),
        };
        let mut record = OutgoingRecord {
            topic: self.settings.dead_letter_topic.clone(),
            timestamp_ms: event.timestamp_ms(),
            key: event.key().map(<[u8]>::to_vec),
            value: event.value().map(<[u8]>::to_vec),
            headers: dead_letter::headers(event.header_list(), &facts, self.settings.dialect),
            ..OutgoingRecord::default()
        };
        self.trace_record(batch, index, &mut record);
        settlement.records.push((meta.assignment, record));
        #[cfg(feature = "sabotage")]
        if crate::sabotage::does("skip-dead-letter") {
            settlement.records.pop();
        }
        settlement.settle(meta.assignment, Settled::Dead, meta.seq, meta.offset);
        self.show_failed(batch, index, "dead", problem);
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
        for mut output in outputs
            .into_iter()
            .filter(|output| stands(output.event_index))
        {
            let index = start + output.event_index as usize;
            hand_on(&self.settings, batch.view(index), &mut output);
            let assignment = assignment_of(output.event_index);
            let mut record = outgoing(output, self.called.version());
            self.trace_record(batch, index, &mut record);
            settlement.records.push((assignment, record));
        }
        let Some(instance) = self.called.instance.as_mut() else {
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
            if let Some(state) = self.state.as_mut() {
                state.remember(&write);
            }
            settlement
                .state
                .push((assignment_of(write.event_index), write));
        }
        effects.clear();
    }
}
