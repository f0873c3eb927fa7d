//! Calling the plugin: an instance where there is none, a batch at once, and one by one after a fault.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::batch::Batch;
use super::super::messages::Settlement;
use super::callee::CalleeInstance;
use super::{CALL_GOAL, Lane};
use crate::sandbox::{BatchAnswer, Fault, FaultKind, SLOT_WORDS};

/// After this many faults in a row, with no success between, a new instance waits.
const FAULTS_BEFORE_DELAY: u32 = 16;

/// The longest such wait. It is short, because a lane that waits answers nobody.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(1);

impl Lane {
    /// Runs the admitted events and judges them.
    pub(super) fn handle(&mut self, batch: &Batch, settlement: &mut Settlement) {
        match self.call(batch, &batch.slots) {
            Ok(answer) => match self.misbehaviour(batch, &answer) {
                None => self.judge(batch, 0..batch.len(), answer, settlement),
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
                Ok(answer) => self.judge(batch, index..index + 1, answer, settlement),
                Err(fault) => {
                    self.spent(&fault);
                    self.judge_fault(batch, index, &fault, settlement);
                }
            }
        }
    }

    fn call(&mut self, batch: &Batch, slots: &[u64]) -> Result<BatchAnswer, Fault> {
        let events = (slots.len() - 2) / SLOT_WORDS;
        let topics = std::sync::Arc::clone(&self.settings.topics);
        let source = self
            .state
            .as_ref()
            .map(|state| state.source(slots, &batch.bytes, &topics));
        let began = self.clock.instant();
        self.gauge
            .busy_since_ms
            .store(self.clock.now().0 + 1, Ordering::Relaxed);
        let answer = self
            .instance()
            .and_then(|instance| instance.call(&batch.bytes, slots, &topics, source));
        self.gauge.busy_since_ms.store(0, Ordering::Relaxed);
        self.count_web_requests();
        let took = self.clock.instant().duration_since(began);
        self.metrics.call(took, events);
        self.fit_batches(took, events);
        if answer.is_ok() {
            self.faults_in_a_row = 0;
        }
        answer
    }

    /// Counted before a fault drops the instance: requests have left, whatever their events came to.
    pub(super) fn count_web_requests(&mut self) {
        if let Some(instance) = self.instance.as_mut() {
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

    /// The lane's instance, made where there is none.
    pub(super) fn instance(&mut self) -> Result<&mut Box<dyn CalleeInstance>, Fault> {
        if self.instance.is_none() {
            if let Some(excess) = self.faults_in_a_row.checked_sub(FAULTS_BEFORE_DELAY) {
                let delay = Duration::from_millis(10) * 2_u32.pow(excess.min(8));
                self.clock.sleep(delay.min(RESTART_DELAY_MAX));
            }
            self.instance = Some(self.settings.plugin.instance()?);
        }
        self.instance.as_mut().ok_or_else(|| Fault {
            kind: FaultKind::Host,
            code: "instance".to_owned(),
            message: "no instance".to_owned(),
            frames: Vec::new(),
        })
    }

    /// Drops the instance after a fault. It must never be used again.
    pub(super) fn spent(&mut self, fault: &Fault) {
        self.instance = None;
        self.faults_in_a_row = self.faults_in_a_row.saturating_add(1);
        self.metrics.fault(fault.kind);
    }
}
