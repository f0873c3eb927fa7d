//! One instance of a plugin, owned by one lane: calls it, and says how the call ended.

mod around;
mod each;
mod foreign;
mod making;
mod measured;
mod types;

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{ComponentType, Lift, Lower};

use self::around::{arm, arm_other, caught};
use super::effects::Effects;
use super::fault::{Fault, FaultKind, hostcall_limit};
use super::host_state::{HostState, StateSource, Sums};
use super::interfaces::WebCounts;
use super::load::{Handler, LoadedPlugin};
use super::nested;
use super::packed::{self, Answer, Output, SLOT_WORDS};
use super::transcript::Transcript;

/// What a batch came to.
#[derive(Debug, Default)]
pub struct BatchAnswer {
    /// The outcomes that are not plain success, by event index, in their order.
    pub answers: Vec<(u32, Answer)>,
    /// Records to produce, in the order of their events.
    pub outputs: Vec<Output>,
}

/// What a tick came to.
#[derive(Debug, Default)]
pub struct TickAnswer {
    /// Sums that were taken.
    pub taken: Vec<(String, i64)>,
    /// Sums that were left.
    pub left: Vec<(String, i64)>,
    /// Records to produce.
    pub outputs: Vec<Output>,
}

/// Why `on-tick` is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum TickReason {
    /// The interval has passed.
    #[component(name = "interval")]
    Interval,
    /// The partition is given up in a rebalance.
    #[component(name = "revoked")]
    Revoked,
    /// The host shuts down.
    #[component(name = "shutdown")]
    Shutdown,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct PackedEvents<'a> {
    bytes: &'a [u8],
    slots: &'a [u64],
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct PackedResults {
    bytes: Vec<u8>,
    outcomes: Vec<u64>,
    outputs: Vec<u64>,
}

/// Why an instance that is well makes room for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worn {
    /// It has handled as many events as it may.
    Events,
    /// Its memory has grown as far as it may.
    Memory,
    /// It holds a good part of the messages that it may, and gives none back.
    Handles,
}

impl Worn {
    /// The word in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Memory => "memory",
            Self::Handles => "handles",
        }
    }
}

/// What `handle` and `on-tick` return.
type Handled = (Result<nested::SuccessOut, nested::FailureOut>,);
type Ticked = (Result<Vec<nested::OutputOut>, nested::FailureOut>,);

/// A live instance. After a fault it is spent and must be dropped.
pub struct Instance {
    plugin: Arc<LoadedPlugin>,
    store: Store<HostState>,
    instance: wasmtime::component::Instance,
    /// Events that were handed to it.
    events: u64,
    /// Its memory when it was ready, in bytes.
    memory_bytes_at_first: usize,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("plugin", &self.plugin.name)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// Why the instance should make room for a new one, where it should.
    #[must_use]
    pub fn worn(&self) -> Option<Worn> {
        let recycle = self.plugin.recycle;
        let memory_bytes = self.store.data().limits.memory_bytes();
        // A new instance has no less than it began with.
        let grown = memory_bytes > self.memory_bytes_at_first;
        if recycle.events.is_some_and(|events| self.events >= events) {
            Some(Worn::Events)
        } else if grown && recycle.memory_bytes.is_some_and(|max| memory_bytes > max) {
            Some(Worn::Memory)
        } else if self.store.data().messaging.forgets() {
            Some(Worn::Handles)
        } else {
            None
        }
    }

    /// Log lines of the plugin that were dropped since this was asked last, of any of its instances.
    pub fn take_dropped_lines(&mut self) -> u64 {
        self.plugin.log.take_dropped()
    }

    /// Where state is read from during the calls that follow.
    pub fn set_state_source(&mut self, source: Option<Box<dyn StateSource>>) {
        self.store.data_mut().state_source = source;
    }

    /// Runs events. `slots` is in the packed form: stride, span of the topic table, then the slots.
    /// Effects are read with [`Self::effects`] before the next call.
    ///
    /// # Errors
    /// The call ended without an answer, or with one that breaks the contract.
    pub fn call(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        topics: &[Arc<str>],
    ) -> Result<BatchAnswer, Fault> {
        let events = slots.len().saturating_sub(2) / SLOT_WORDS;
        self.events += events as u64;
        let answer = caught(|| {
            let answer = match self.plugin.handler {
                Handler::Batch(_) => self.call_batch(bytes, slots, events)?,
                Handler::Single(_) | Handler::WasiMessaging(_) | Handler::WasmcloudMessaging(_) => {
                    self.call_each(bytes, slots, topics)?
                }
            };
            self.check_outputs(&answer.outputs)?;
            Ok(answer)
        });
        let answer = answer.and_then(|answer| answer);
        answer.map_err(|fault| fault.of_plugin(&self.plugin.name))
    }

    /// Effects of the last call. They count only where the outcome of their event does.
    pub fn effects(&mut self) -> &mut Effects {
        &mut self.store.data_mut().effects
    }

    /// What HTTP requests came to since this was last asked. They count whether or not their call ended well.
    pub fn web_requests(&mut self) -> WebCounts {
        self.store.data().take_web_counts()
    }

    /// What the host answered in the last call, without what is secret; none where the instance does not record, or
    /// that was too much. Asked for before the instance is dropped, and of a call for one event.
    pub fn transcript(&mut self) -> Option<Transcript> {
        let tape = self.store.data().tape.clone()?;
        let mut transcript = tape.transcript(self.fuel_used())?;
        transcript.redact(&self.plugin.secrets);
        Some(transcript)
    }

    /// What the last call asked for and its transcript does not hold, where there is something.
    #[must_use]
    pub fn untold(&self) -> Option<&'static str> {
        self.store.data().tape.as_ref()?.missing()
    }

    /// Runs `on-tick` for one topic-partition over its settled sums.
    ///
    /// # Errors
    /// The call ended without an answer, failed by the plugin's own word, or broke the contract.
    pub fn tick(
        &mut self,
        topic: &str,
        partition: i32,
        now_ms: i64,
        reason: TickReason,
        sums: Vec<(String, i64)>,
    ) -> Result<TickAnswer, Fault> {
        let call = (topic, partition, now_ms, reason);
        let answer = caught(|| self.call_tick(call, sums)).and_then(|answer| answer);
        answer.map_err(|fault| fault.of_plugin(&self.plugin.name))
    }

    fn call_tick(
        &mut self,
        call: (&str, i32, i64, TickReason),
        sums: Vec<(String, i64)>,
    ) -> Result<TickAnswer, Fault> {
        let Some(export) = self.plugin.on_tick else {
            return Ok(TickAnswer {
                left: sums,
                ..TickAnswer::default()
            });
        };
        arm_other(&mut self.store, &self.plugin).map_err(|error| self.fault(&error))?;
        self.store.data_mut().sums = Some(Sums {
            left: sums,
            taken: Vec::new(),
        });
        let answer = self
            .instance
            .get_func(&mut self.store, export)
            .ok_or_else(|| wasmtime::Error::msg("on-tick is not a function"))
            .and_then(|f| f.typed::<(&str, i32, i64, TickReason), Ticked>(&self.store))
            .and_then(|f| f.call(&mut self.store, call));
        let sums = self.store.data_mut().sums.take().unwrap_or_default();
        let (outputs,) = answer.map_err(|error| self.fault(&error))?;
        let outputs = outputs.map_err(|failure| {
            let problem = nested::problem_of(failure);
            Fault::new(FaultKind::Trap, &problem.1.code, &problem.1.message)
        })?;
        let outputs: Vec<Output> = outputs
            .into_iter()
            .map(|o| nested::output_of(0, o))
            .collect();
        self.check_outputs(&outputs)?;
        Ok(TickAnswer {
            taken: sums.taken,
            left: sums.left,
            outputs,
        })
    }

    fn call_batch(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        events: usize,
    ) -> Result<BatchAnswer, Fault> {
        let Handler::Batch(export) = self.plugin.handler else {
            return Ok(BatchAnswer::default());
        };
        arm(&mut self.store, &self.plugin, events).map_err(|error| self.fault(&error))?;
        let answer = self
            .instance
            .get_func(&mut self.store, export)
            .ok_or_else(|| wasmtime::Error::msg("handle-batch is not a function"))
            .and_then(|f| f.typed::<(PackedEvents<'_>,), (PackedResults,)>(&self.store))
            .and_then(|f| f.call(&mut self.store, (PackedEvents { bytes, slots },)));
        let (results,) = answer.map_err(|error| self.fault(&error))?;
        Ok(BatchAnswer {
            answers: packed::outcomes(&results.outcomes, &results.bytes, events)?,
            outputs: packed::outputs(
                &results.outputs,
                &results.bytes,
                events,
                hostcall_limit(&self.plugin.limits, events as u32),
            )?,
        })
    }

    /// Every output must be granted and within its limits.
    fn check_outputs(&self, outputs: &[Output]) -> Result<(), Fault> {
        let limits = &self.plugin.limits;
        let (mut of_event, mut count, mut bytes) = (u32::MAX, 0_usize, 0_usize);
        for output in outputs {
            if !self.plugin.output_topics.contains(&output.topic) {
                let message = format!(
                    "an output to topic {:?}, which is not granted (`output:{}`)",
                    output.topic, output.topic
                );
                return Err(Fault::new(FaultKind::Capability, "output-topic", message));
            }
            if output.event_index != of_event {
                (of_event, count, bytes) = (output.event_index, 0, 0);
            }
            count += 1;
            bytes += output.bytes();
            if count > limits.outputs {
                let message = format!("more than {} outputs", limits.outputs);
                return Err(Fault::of_limit(
                    FaultKind::Output,
                    "outputs",
                    "outputs",
                    message,
                ));
            }
            if bytes > limits.output_bytes {
                let message = format!("more than {} bytes of outputs", limits.output_bytes);
                return Err(Fault::of_limit(
                    FaultKind::Output,
                    "output-size",
                    "output_size",
                    message,
                ));
            }
        }
        Ok(())
    }

    fn fault(&self, error: &wasmtime::Error) -> Fault {
        fault_of(error, &self.plugin, self.store.data())
    }
}

/// Why a call ended. A trap says nothing of why, and what the guest said before it does.
fn fault_of(error: &wasmtime::Error, plugin: &LoadedPlugin, state: &HostState) -> Fault {
    let mut fault = Fault::of_error(error, &plugin.limits, &state.limits, state.events);
    if fault.kind == FaultKind::Trap {
        let said = state.last_words();
        if !said.is_empty() {
            fault.message = format!("{}; it said: {said}", fault.message);
        }
    }
    fault
}
