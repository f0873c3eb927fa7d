//! One instance of a plugin, owned by one lane: calls it, and says how the call ended.

mod around;
mod types;

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{ComponentType, Lift, Lower};

use self::around::{arm, arm_other, caught};
use super::effects::Effects;
use super::fault::{Fault, FaultKind, hostcall_limit, shown};
use super::host_state::{HostState, StateSource, Sums};
use super::interfaces::WebCounts;
use super::load::{Handler, LoadedPlugin};
use super::load_error::LoadError;
use super::nested;
use super::packed::{self, Answer, Output, SLOT_WORDS, Span};

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
}

impl Worn {
    /// The word in metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Memory => "memory",
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
    /// Makes an instance and runs its `init`, where it has one.
    ///
    /// # Errors
    /// The instance does not fit its limits, its start traps, or its `init` refuses.
    pub fn new(plugin: &Arc<LoadedPlugin>) -> Result<Self, LoadError> {
        let made = caught(|| Self::make(plugin)).and_then(|made| made);
        let mut made = made.map_err(|fault| {
            let fault = fault.of_plugin(&plugin.name);
            LoadError::Init {
                plugin: plugin.name.clone(),
                message: fault.message,
                limit: fault.limit,
            }
        })?;
        made.check_types()?;
        Ok(made)
    }

    fn make(plugin: &Arc<LoadedPlugin>) -> Result<Self, Fault> {
        let mut store = Store::new(plugin.pre.engine(), HostState::new(plugin));
        store.limiter(|state| &mut state.limits);
        // Handles of the component's own resources lie in the host's memory too.
        store.set_max_component_handles(plugin.limits.resources);
        let made = arm_other(&mut store, plugin)
            .and_then(|()| plugin.pre.instantiate(&mut store))
            .map_err(|error| fault_of(&error, plugin, store.data()));
        let mut made = Self {
            plugin: Arc::clone(plugin),
            instance: made?,
            store,
            events: 0,
            memory_bytes_at_first: 0,
        };
        if let Some(export) = made.plugin.init {
            let answer = made
                .instance
                .get_func(&mut made.store, export)
                .ok_or_else(|| wasmtime::Error::msg("init is not a function"))
                .and_then(|init| init.typed::<(), (Result<(), String>,)>(&made.store))
                .and_then(|init| init.call(&mut made.store, ()));
            let (answer,) = answer.map_err(|error| made.fault(&error))?;
            answer.map_err(|message| Fault::new(FaultKind::Host, "init", shown(&message)))?;
        }
        made.memory_bytes_at_first = made.store.data().limits.memory_bytes();
        Ok(made)
    }

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
                Handler::Single(_) => self.call_each(bytes, slots, topics)?,
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

    /// Runs a component of the world `handler`, one call an event, with the batch's own rules: after a
    /// failure, later events of the order group are held, and a failed event leaves no effects.
    fn call_each(
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
            bytes_made += state.effect_bytes() + outputs.iter().map(Output::bytes).sum::<usize>();
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
        let Handler::Single(export) = self.plugin.handler else {
            return Ok(Answer::Processed);
        };
        arm(&mut self.store, &self.plugin, 1).map_err(|error| self.fault(&error))?;
        self.store.data_mut().event_index = index;
        let headers = packed::headers(Span(slot[6]).of(bytes).unwrap_or_default())?;
        let headers: Vec<nested::HeaderIn<'_>> = headers
            .iter()
            .map(|(name, value)| nested::HeaderIn {
                name: String::from_utf8_lossy(name).into_owned(),
                value: value.as_deref(),
            })
            .collect();
        let event = nested::EventIn {
            topic: topics
                .get(slot[0] as u32 as usize)
                .map_or("", |topic| topic),
            partition: (slot[0] >> 32) as u32 as i32,
            offset: slot[1] as i64,
            timestamp_ms: (slot[2] as i64 != i64::MIN).then_some(slot[2] as i64),
            key: Span(slot[4]).of(bytes),
            value: Span(slot[5]).of(bytes),
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
