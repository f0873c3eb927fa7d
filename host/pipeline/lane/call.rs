//! Calling the plugin: an instance where there is none, a batch at once, and one by one after a fault.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::messages::Settlement;
use super::callee::{CalleeInstance, TakenUp};
use super::{CALL_GOAL, Lane};
use crate::sandbox::{BatchAnswer, Fault, SLOT_WORDS};

/// After this many faults in a row, with no success between, a new instance waits.
const FAULTS_BEFORE_DELAY: u32 = 16;

/// The longest such wait. It is short, because a lane that waits answers nobody.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(1);

impl Lane {
    /// Runs the admitted events with the version that is called, and judges them.
    pub(super) fn handle_by_one(&mut self, batch: &Batch, settlement: &mut Settlement) {
        match self.call(batch, &batch.slots) {
            Ok(answer) => match self.misbehaviour(batch, &answer) {
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
        let mut single = Batch::new(&self.settings.topic_table);
        for index in 0..batch.len() {
            if self.park.holds(batch.events[index].group) || self.outage_is_on() {
                self.park_part(batch, index..index + 1, settlement);
                continue;
            }
            single.begin(&self.settings.topic_table);
            single.push_owned(&batch.take_out(index, batch.view(index).attempt()));
            let answer = self.call(&single, &single.slots);
            let answer = answer.and_then(|answer| match self.misbehaviour(&single, &answer) {
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
        }
    }

    fn call(&mut self, batch: &Batch, slots: &[u64]) -> Result<BatchAnswer, Fault> {
        let events = (slots.len() - 2) / SLOT_WORDS;
        let topics = std::sync::Arc::clone(&self.settings.topics);
        let uses_state = self.called.version().uses_state;
        let source = self
            .state
            .as_ref()
            .filter(|_| uses_state)
            .map(|state| state.source(slots, &batch.bytes, &topics));
        let began = self.clock.instant();
        self.gauge
            .busy_since_ms
            .store(self.clock.now().0 + 1, Ordering::Relaxed);
        let answer = self
            .instance()
            .and_then(|instance| instance.call(&batch.bytes, slots, &topics, source));
        self.gauge.busy_since_ms.store(0, Ordering::Relaxed);
        let took = self.clock.instant().duration_since(began);
        self.metrics.call(took, events);
        self.fit_batches(took, events);
        if answer.is_ok() {
            self.faults_in_a_row = 0;
        }
        answer
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
        let Some(taken_up) = self.called.take_up() else {
            return;
        };
        let group = &self.settings.group;
        match taken_up {
            TakenUp::Swapped => {
                let version = self.called.version();
                self.faults_in_a_row = 0;
                self.metrics.set_version(version.labels());
                tracing::info!(%group, plugin = %version.plugin, lane = self.settings.index,
                    version = %version.name, digest = %version.digest, "a lane calls another version");
            }
            TakenUp::Refused(version, fault) => {
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

    /// The lane's instance, made where there is none.
    pub(super) fn instance(&mut self) -> Result<&mut Box<dyn CalleeInstance>, Fault> {
        if self.called.instance.is_none()
            && let Some(excess) = self.faults_in_a_row.checked_sub(FAULTS_BEFORE_DELAY)
        {
            let delay = Duration::from_millis(10) * 2_u32.pow(excess.min(8));
            self.clock.sleep(delay.min(RESTART_DELAY_MAX));
        }
        self.called.instance()
    }

    /// Drops the instance after a fault. It must never be used again.
    pub(super) fn spent(&mut self, fault: &Fault) {
        self.called.instance = None;
        self.faults_in_a_row = self.faults_in_a_row.saturating_add(1);
        self.metrics.fault(fault.kind);
    }
}
