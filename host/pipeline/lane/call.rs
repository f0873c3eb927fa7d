//! Calling the plugin: an instance where there is none, a batch at once, one by one after a fault, and ticks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::messages::{FromLane, Settlement, TickJob};
use super::super::versions::Version;
use super::callee::{CalleeInstance, TakenUp};
use super::{CALL_GOAL, Lane, encoding, outputs};
use crate::delivery::restarts::Restarts;
use crate::sandbox::{BatchAnswer, Fault, Transcript};

/// A settlement that has grown past this is handed over while its batch runs on, event by event: each event may write
/// as much as a whole batch.
const SETTLEMENT_BYTES_MAX: usize = 4 << 20;

/// Events of the first calls of a version, before it is known how quick they are. The deadline is one for a whole
/// batch, and a plugin that waits for others may need it for an event.
pub(super) fn events_at_first(version: &Version) -> usize {
    if version.asks_others { 1 } else { 64 }
}

impl Lane {
    /// Runs the admitted events with the version that is called, and judges them.
    pub(super) fn handle_by_one(&mut self, batch: &Batch, settlement: &mut Settlement) {
        if batch.len() > 1 && self.called.version().transcripts {
            // What the host answered in a call for many tells nothing of one.
            self.one_by_one(batch, settlement);
        } else {
            self.at_once(batch, settlement);
        }
        self.told = None;
    }

    fn at_once(&mut self, batch: &Batch, settlement: &mut Settlement) {
        match self.call(batch) {
            Ok(mut answer) => match self.misbehaviour(batch, &mut answer) {
                None => {
                    self.shadow(batch, Ok(&answer));
                    self.judge(batch, 0..batch.len(), answer, settlement);
                }
                Some(fault) => self.after_fault(batch, fault, settlement),
            },
            Err(fault) => self.after_fault(batch, fault, settlement),
        }
    }

    /// One bad event must cost only itself: after a fault the events run again one by one, each fault in
    /// an instance of its own.
    fn after_fault(&mut self, batch: &Batch, fault: Fault, settlement: &mut Settlement) {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::does("die-with-plugin") {
            std::process::abort();
        }
        self.spent(&fault);
        if batch.len() == 1 {
            self.shadow(batch, Err(&fault));
            self.judge_fault(batch, 0, &fault, settlement);
            return;
        }
        self.one_by_one(batch, settlement);
    }

    fn one_by_one(&mut self, batch: &Batch, settlement: &mut Settlement) {
        let mut single = Batch::new(&self.settings.routing.now.table);
        for index in 0..batch.len() {
            // Each may take as long as a deadline.
            if self.set_aside(batch, index, settlement) {
                continue;
            }
            single.begin(&self.settings.routing.now.table);
            single.push_from(batch, index);
            let answer = self.call(&single);
            let answer =
                answer.and_then(|mut answer| match self.misbehaviour(&single, &mut answer) {
                    None => Ok(answer),
                    Some(fault) => Err(fault),
                });
            match answer {
                Ok(answer) => {
                    self.shadow(&single, Ok(&answer));
                    self.judge(batch, index..index + 1, answer, settlement);
                }
                Err(fault) => {
                    self.shadow(&single, Err(&fault));
                    self.spent(&fault);
                    self.judge_fault(batch, index, &fault, settlement);
                }
            }
            let slow = self.called.instance.is_none();
            if slow || settlement.bytes() >= SETTLEMENT_BYTES_MAX {
                // A batch of nothing but loops takes a deadline each: nobody waits for all of them.
                self.hand_over(batch, std::mem::take(settlement));
            }
        }
    }

    /// Runs `on-tick`.
    pub(in crate::pipeline) fn tick(&mut self, job: TickJob) {
        self.take_up_topics();
        self.take_up_versions();
        let assignment = job.assignment.id;
        if let Some(fault) = self.tick_waits_for_schemas() {
            let result = Err(fault);
            let _ended = self
                .ends
                .settle
                .send(FromLane::Ticked { assignment, result });
            return;
        }
        let result = self.instance().and_then(|instance| instance.tick(job));
        self.count_web_requests();
        let result = result.and_then(|mut answer| {
            let now_ms = self.clock.wall_ms();
            match encoding::made_ready(&self.settings, &mut answer.outputs, now_ms) {
                None => {
                    let version = self.called.version();
                    answer
                        .outputs
                        .iter_mut()
                        .for_each(|made| outputs::mark(made, version));
                    Ok(answer)
                }
                Some(fault) => Err(fault),
            }
        });
        if let Err(fault) = &result {
            self.spent(fault);
        }
        let _ended = self
            .ends
            .settle
            .send(FromLane::Ticked { assignment, result });
    }

    fn call(&mut self, batch: &Batch) -> Result<BatchAnswer, Fault> {
        let events = batch.len();
        let (bytes, slots) = batch.shown();
        let topics = std::sync::Arc::clone(&self.settings.routing.now.topics);
        let uses_state = self.called.version().uses_state;
        let source = self
            .state
            .as_ref()
            .filter(|_| uses_state)
            .map(|state| state.source(slots, bytes, &topics));
        let began = self.clock.instant();
        self.note_busy();
        self.note_call_begins();
        let answer = self
            .instance()
            .and_then(|instance| instance.call(bytes, slots, &topics, source));
        self.note_call_ended();
        self.gauge.busy_since_ms.store(0, Ordering::Relaxed);
        self.count_web_requests();
        let took = self.clock.instant().duration_since(began);
        self.metrics.call(took, events);
        self.fit_batches(took, events);
        if answer.is_ok() {
            self.restarts.success(self.clock.now());
        }
        self.told = self.told_in_call(events, answer.as_ref().ok());
        if let Some(instance) = self.called.instance.as_mut() {
            let lines = instance.take_dropped_lines();
            if lines > 0 {
                self.metrics.limit("log_lines", lines);
            }
        }
        answer
    }

    /// What the host answered in the call for one event that may yet become a dead letter, where that is recorded.
    fn told_in_call(&mut self, events: usize, answer: Option<&BatchAnswer>) -> Option<Transcript> {
        // The host may refuse what an event made.
        let is_well = answer.is_some_and(|a| a.answers.is_empty() && a.outputs.is_empty());
        if events > 1 || is_well || !self.called.version().transcripts {
            return None;
        }
        self.called.instance.as_mut()?.transcript()
    }

    /// Shows the polling thread that the lane is at work in the plugin.
    pub(super) fn note_busy(&self) {
        let since = self.clock.now().0 + 1;
        self.gauge.busy_since_ms.store(since, Ordering::Relaxed);
    }

    /// Counted before a fault drops the instance: requests have left, whatever their events came to.
    pub(super) fn count_web_requests(&mut self) {
        if let Some(instance) = self.called.instance.as_mut() {
            self.metrics.web_requests(instance.web_requests());
        }
    }

    /// Lets batches grow while calls are quick, and shrinks them at once when one was not.
    fn fit_batches(&self, took: Duration, events: usize) {
        let per_event = took.as_nanos() / events.max(1) as u128;
        let fitting = (CALL_GOAL.as_nanos() / per_event.max(1)) as usize;
        let limit = self.gauge.events_limit.load(Ordering::Relaxed);
        self.gauge.events_limit.store(
            fitting.clamp(1, limit.saturating_mul(2).min(super::BATCH_EVENTS_MAX)),
            Ordering::Relaxed,
        );
    }

    /// Looks between two batches whether another version serves, and calls that one from here on.
    pub(super) fn take_up_versions(&mut self) {
        self.take_up_candidate();
        if !self.called.is_behind() {
            return;
        }
        let began = self.clock.instant();
        self.note_busy();
        let taken_up = self.called.take_up();
        self.gauge.busy_since_ms.store(0, Ordering::Relaxed);
        let took_us = self.clock.instant().duration_since(began).as_micros() as u64;
        let group = &self.settings.group;
        match taken_up {
            None => {}
            Some(TakenUp::Swapped) => {
                let version = self.called.version();
                self.restarts = Restarts::default();
                self.metrics.set_version(version.labels());
                // Nothing is known of how quick it is.
                let events = events_at_first(version);
                self.gauge.events_limit.store(events, Ordering::Relaxed);
                tracing::info!(%group, plugin = %version.plugin, lane = self.settings.index,
                    version = %version.name, digest = %version.digest, took_us, "a lane calls another version");
            }
            Some(TakenUp::Refused(version, fault)) => {
                self.metrics.version_refused();
                tracing::error!(%group, plugin = %version.plugin, lane = self.settings.index,
                    version = %version.name, digest = %version.digest, reason = %fault.message,
                    "no instance of another version could be made; it is taken back, and the one before serves on");
            }
        }
    }

    /// The plugin's name.
    pub(super) fn plugin(&self) -> &str {
        &self.called.version().plugin
    }

    /// The lane's instance, made where there is none, and made anew where it is worn.
    pub(super) fn instance(&mut self) -> Result<&mut Box<dyn CalleeInstance>, Fault> {
        let worn = self.called.instance.as_ref();
        if let Some(worn) = worn.and_then(|instance| instance.worn()) {
            self.metrics.recycled(worn);
            self.called.instance = None;
        }
        self.called.instance()
    }

    /// Drops the instance after a fault. It must never be used again.
    pub(super) fn spent(&mut self, fault: &Fault) {
        let was_made = self.called.instance.take().is_some();
        self.metrics.fault(fault.kind);
        if let Some(limit) = fault.limit {
            self.metrics.limit(limit, 1);
        }
        let now = self.clock.now();
        let wait_ms = if was_made {
            self.restarts.fault(now)
        } else {
            self.restarts.not_made(now)
        };
        if let Some(wait_ms) = wait_ms {
            self.metrics.restart_delayed();
            tracing::warn!(group = %self.settings.group, plugin = self.plugin(), wait_ms,
                reason = %fault.message, "nothing goes well in this plugin: its next instance waits, and its events with it");
        }
    }
}
