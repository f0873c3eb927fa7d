//! Events one at a time: a call for each, with a batch's own rules around them. It must not know the types of other
//! hosts' interfaces.

use std::sync::Arc;

use wasmtime::component::ComponentExportIndex;

use super::around::arm;
use super::{BatchAnswer, Handled, Instance};
use crate::sandbox::effects::Effects;
use crate::sandbox::fault::{Fault, FaultKind};
use crate::sandbox::host_state::HostState;
use crate::sandbox::interfaces::messaging::Arrived;
use crate::sandbox::load::Handler;
use crate::sandbox::nested;
use crate::sandbox::packed::{self, Answer, Output, SLOT_WORDS, Span};

impl Instance {
    /// Runs a component that takes one event a call, with the batch's own rules: after a failure, later events of
    /// the order group are held, and a failed event leaves no effects.
    pub(super) fn call_each(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        topics: &[Arc<str>],
    ) -> Result<BatchAnswer, Fault> {
        let mut batch = BatchAnswer::default();
        let mut effects = Effects::default();
        let mut held: Vec<u32> = Vec::new();
        let (mut bytes_made, bytes_max) = (0, self.plugin.limits.batch_hostcall_bytes);
        self.store.data_mut().earlier_state.clear();
        for (index, slot) in slots[2..].chunks_exact(SLOT_WORDS).enumerate() {
            let (index, group) = (index as u32, (slot[3] >> 32) as u32);
            if held.contains(&group) {
                batch.answers.push((index, Answer::Held));
                continue;
            }
            let outputs_before = batch.outputs.len();
            let answer = self.call_one(bytes, slot, topics, index, &mut batch.outputs)?;
            let state = self.store.data_mut();
            let outputs = &batch.outputs[outputs_before..];
            bytes_made += state.effect_bytes();
            // What was sent by a host function is counted as an effect already.
            if matches!(self.plugin.handler, Handler::Single(_)) {
                bytes_made += outputs.iter().map(Output::bytes).sum::<usize>();
            }
            // Each event is bounded by itself; an event alone is never refused for its neighbours.
            if index > 0 && bytes_made > bytes_max {
                let message =
                    format!("the effects and outputs of a batch take more than {bytes_max} bytes");
                return Err(Fault::of_limit(
                    FaultKind::Fuel,
                    "effect-bytes",
                    "batch_hostcall",
                    message,
                ));
            }
            match answer {
                Answer::Processed => take_effects(&mut effects, state, index),
                Answer::Filtered => {
                    take_effects(&mut effects, state, index);
                    batch.answers.push((index, answer));
                }
                answer => {
                    if !matches!(answer, Answer::Reject(_)) {
                        held.push(group);
                    }
                    batch.answers.push((index, answer));
                }
            }
        }
        effects.state = std::mem::take(&mut self.store.data_mut().earlier_state);
        self.store.data_mut().effects = effects;
        Ok(batch)
    }

    fn call_one(
        &mut self,
        bytes: &[u8],
        slot: &[u64],
        topics: &[Arc<str>],
        index: u32,
        outputs: &mut Vec<Output>,
    ) -> Result<Answer, Fault> {
        arm(&mut self.store, &self.plugin, 1).map_err(|error| self.fault(&error))?;
        self.store.data_mut().event_index = index;
        let headers = packed::headers(Span(slot[6]).of(bytes).unwrap_or_default())?;
        let event = Arrived {
            topic: topics
                .get(slot[0] as u32 as usize)
                .map_or("", |topic| topic),
            key: Span(slot[4]).of(bytes),
            value: Span(slot[5]).of(bytes),
            headers: &headers,
        };
        match self.plugin.handler {
            Handler::Single(export) => self.call_single(export, &event, slot, index, outputs),
            Handler::WasiMessaging(export) => {
                self.sending(&event, index, outputs, |it| it.call_wasi(export, &event))
            }
            Handler::WasmcloudMessaging(export) => self.sending(&event, index, outputs, |it| {
                it.call_wasmcloud(export, &event)
            }),
            Handler::Batch(_) => Ok(Answer::Processed),
        }
    }

    fn call_single(
        &mut self,
        export: ComponentExportIndex,
        event: &Arrived<'_>,
        slot: &[u64],
        index: u32,
        outputs: &mut Vec<Output>,
    ) -> Result<Answer, Fault> {
        let headers: Vec<nested::HeaderIn<'_>> = event
            .headers
            .iter()
            .map(|(name, value)| nested::HeaderIn {
                name: String::from_utf8_lossy(name).into_owned(),
                value: value.as_deref(),
            })
            .collect();
        let event = nested::EventIn {
            topic: event.topic,
            partition: (slot[0] >> 32) as u32 as i32,
            offset: slot[1] as i64,
            timestamp_ms: (slot[2] as i64 != i64::MIN).then_some(slot[2] as i64),
            key: event.key,
            value: event.value,
            headers: &headers,
            attempt: slot[3] as u32,
        };
        let answer = self
            .instance
            .get_func(&mut self.store, export)
            .ok_or_else(|| wasmtime::Error::msg("handle is not a function"))
            .and_then(|f| f.typed::<(nested::EventIn<'_>,), Handled>(&self.store))
            .and_then(|f| f.call(&mut self.store, (event,)));
        let (answer,) = answer.map_err(|error| self.fault(&error))?;
        Ok(match answer {
            Ok(nested::SuccessOut::Processed(made)) => {
                outputs.extend(
                    made.into_iter()
                        .map(|output| nested::output_of(index, output)),
                );
                Answer::Processed
            }
            Ok(nested::SuccessOut::Filtered) => Answer::Filtered,
            Err(failure) => match nested::problem_of(failure) {
                (2, problem) => Answer::Retry(problem),
                (3, problem) => Answer::Reject(problem),
                (_, problem) => Answer::Overloaded(problem),
            },
        })
    }
}

/// Moves the effects of one event's call to those of its batch.
fn take_effects(all: &mut Effects, state: &mut HostState, index: u32) {
    let made = &mut state.effects;
    let shift = all.journal_bytes.len();
    all.journal_bytes.append(&mut made.journal_bytes);
    all.journal.extend(made.journal.drain(..).map(|mut line| {
        (line.event_index, line.start) = (index, line.start + shift);
        line
    }));
    all.tallies.extend(made.tallies.drain(..).map(|mut change| {
        change.event_index = index;
        change
    }));
    all.metrics.extend(made.metrics.drain(..).map(|mut change| {
        change.event_index = index;
        change
    }));
    state
        .earlier_state
        .extend(made.state.drain(..).map(|mut write| {
            write.event_index = index;
            write
        }));
}
