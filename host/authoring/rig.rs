//! Runs events through one plugin, one call each, by the very sandbox that serves: what each came to, what it did,
//! and what it took. State and sums are kept in memory, and effects of events that fail are dropped, as the host does
//! it. Nothing waits here and nothing is tried again. It must not know Kafka, nor where events come from.

pub(super) mod lines;
mod report;
mod shown;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

pub use self::lines::Line;
pub use self::report::{Outcome, Ran, Sums, Ticked};
pub(super) use self::state::{MemoryState, Scope};
use super::fixture::Fixture;
use crate::delivery::lanes::OrderGroup;
use crate::delivery::offsets::{Applied, Offset};
use crate::pipeline::assignment::Assignment;
use crate::pipeline::batch::{Batch, EventKind, Place, pack_header};
use crate::pipeline::{OutputPartitions, refused_output};
use crate::sandbox::{
    Answer, BatchAnswer, Effects, Fault, FaultKind, Instance, LoadError, LoadedPlugin, Output,
    TickReason, Transcript, WallClock, encode_topics,
};
use crate::since_1970;

/// Fuel where only the figure is wanted: more than a deadline leaves time for.
pub const FUEL_UNBOUNDED: u64 = 1 << 50;

/// Largest record that a producer of the host sends where nothing else is configured, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// What is the same each time that an event is run, and what the cluster takes that its outputs would go to.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Where the wall clock stands, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Where random numbers begin.
    pub random_seed: u64,
    /// Largest record, in bytes.
    pub message_bytes_max: usize,
    /// How many partitions the topics of outputs have; one that is not there may have any.
    pub output_partitions: BTreeMap<String, usize>,
    /// What the host answered then, which it answers again; clock and random numbers are those in it.
    pub transcript: Option<Transcript>,
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(u64);

impl WallClock for Still {
    fn now_ms(&self) -> u64 {
        self.0
    }
}

/// A plugin with what it keeps between events.
#[derive(Debug)]
pub struct Rig {
    plugin: Arc<LoadedPlugin>,
    /// None leaves clock and random numbers to the machine, and takes what any cluster would.
    circumstances: Option<Circumstances>,
    instance: Option<Instance>,
    /// Where events come from that do not say.
    topic: String,
    state: MemoryState,
    sums: Sums,
    next_offsets: HashMap<(String, i32), i64>,
}

impl Rig {
    /// A rig of a plugin whose events come from `topic` where they do not say.
    ///
    /// # Errors
    /// No instance can be made of it: it does not fit its limits, or its `init` refuses.
    pub fn new(plugin: Arc<LoadedPlugin>, topic: impl Into<String>) -> Result<Self, LoadError> {
        Self::made(plugin, topic.into(), None)
    }

    /// A rig in which an event ends the same each time, as far as that is the host's to decide.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn under(
        circumstances: Circumstances,
        plugin: Arc<LoadedPlugin>,
    ) -> Result<Self, LoadError> {
        Self::made(plugin, String::new(), Some(circumstances))
    }

    fn made(
        plugin: Arc<LoadedPlugin>,
        topic: String,
        circumstances: Option<Circumstances>,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            instance: Some(instance_of(&plugin, circumstances.as_ref())?),
            circumstances,
            topic,
            state: MemoryState::new(plugin.state_quota_bytes),
            sums: Sums::default(),
            next_offsets: HashMap::new(),
            plugin,
        })
    }

    /// Exchanges the plugin for another version and keeps what the one before has stored, as a reload does.
    ///
    /// # Errors
    /// As [`Self::new`]; the one before then stays.
    pub fn replace(&mut self, plugin: Arc<LoadedPlugin>) -> Result<(), LoadError> {
        self.instance = Some(instance_of(&plugin, self.circumstances.as_ref())?);
        self.plugin = plugin;
        Ok(())
    }

    /// Runs one event.
    pub fn run(&mut self, event: &Fixture) -> Ran {
        let event = self.placed(event);
        let scope = scope_of(&event);
        let batch = batch_of(&event);
        let topics = [Arc::from(event.topic.as_deref().unwrap_or_default())];
        let source = self
            .plugin
            .uses_state
            .then(|| self.state.source(vec![scope.clone()]));
        let (called, lines) = lines::caught(|| {
            let instance = self.instance()?;
            instance.set_state_source(source);
            let began = Instant::now();
            let answer = instance.call(&batch.bytes, &batch.slots, &topics);
            let took = began.elapsed();
            let effects = std::mem::take(instance.effects());
            let measured = (took, instance.fuel_used(), instance.memory_bytes());
            Ok((answer, effects, measured, instance.untold()))
        });
        let (answer, effects, (took, fuel, memory_bytes), untold) = match called {
            Ok(called) => called,
            Err(fault) => (Err(fault), Effects::default(), Default::default(), None),
        };
        let (outcome, outputs) = self.judge(answer);
        let ended_late =
            matches!(&outcome, Outcome::Fault(fault) if fault.kind == FaultKind::Deadline);
        let mut ran = Ran {
            event,
            outcome,
            outputs: Vec::new(),
            effects: Effects::default(),
            state: BTreeMap::new(),
            lines,
            took,
            fuel: fuel.filter(|_| !ended_late),
            memory_bytes,
            untold,
        };
        if ran.outcome.is_success() {
            ran.outputs = outputs;
            self.settle(&scope, effects, &mut ran);
        }
        ran
    }

    /// Calls `on-tick` for every topic-partition that had events, where the plugin has it.
    pub fn tick(&mut self, reason: TickReason) -> Vec<Ticked> {
        if !self.plugin.has_timer {
            return Vec::new();
        }
        let places: Vec<(String, i32)> = self.next_offsets.keys().cloned().collect();
        let mut places = places;
        places.sort_unstable();
        places
            .into_iter()
            .map(|(topic, partition)| self.tick_one(topic, partition, reason))
            .collect()
    }

    /// What has been summed and not taken.
    #[must_use]
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    fn tick_one(&mut self, topic: String, partition: i32, reason: TickReason) -> Ticked {
        let place = (topic, partition);
        let sums = self.sums.get(&place).cloned().unwrap_or_default();
        let list: Vec<(String, i64)> = sums.into_iter().collect();
        let (called, lines) = lines::caught(|| {
            let instance = self.instance()?;
            instance.set_state_source(None);
            let began = Instant::now();
            let answer = instance.tick(
                &place.0,
                partition,
                since_1970::now_timestamp_ms(),
                reason,
                list,
            );
            Ok((answer?, began.elapsed()))
        });
        let (outcome, outputs, took) = match called {
            Ok((answer, took)) => match self.refused(&answer.outputs) {
                Some(fault) => (self.spent(fault), Vec::new(), took),
                None => {
                    self.sums
                        .insert(place.clone(), answer.left.into_iter().collect());
                    (Outcome::Processed, answer.outputs, took)
                }
            },
            Err(fault) => (self.spent(fault), Vec::new(), Default::default()),
        };
        Ticked {
            topic: place.0,
            partition,
            outcome,
            outputs,
            lines,
            took,
        }
    }

    /// The live instance, made where a fault has ended the one before.
    fn instance(&mut self) -> Result<&mut Instance, Fault> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                instance_of(&self.plugin, self.circumstances.as_ref()).map_err(|error| Fault {
                    kind: FaultKind::Host,
                    code: "instance".to_owned(),
                    limit: error.limit(),
                    message: error.to_string(),
                    frames: Vec::new(),
                })?
            }
        };
        Ok(self.instance.insert(instance))
    }

    fn judge(&mut self, answer: Result<BatchAnswer, Fault>) -> (Outcome, Vec<Output>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return (self.spent(fault), Vec::new()),
        };
        if let Some(fault) = self.refused(&answer.outputs) {
            return (self.spent(fault), Vec::new());
        }
        let outcome = match answer.answers.into_iter().next() {
            None | Some((_, Answer::Processed)) => Outcome::Processed,
            Some((_, Answer::Filtered)) => Outcome::Filtered,
            Some((_, Answer::Retry(problem))) => Outcome::Retry(problem),
            Some((_, Answer::Reject(problem))) => Outcome::Reject(problem),
            Some((_, Answer::Overloaded(problem))) => Outcome::Overloaded(problem),
            Some((_, Answer::Held)) => self.spent(Fault {
                kind: FaultKind::Output,
                code: "order".to_owned(),
                message: "an event was held, and no earlier one had failed".to_owned(),
                limit: None,
                frames: Vec::new(),
            }),
        };
        (outcome, answer.outputs)
    }

    /// Why the cluster would not take the outputs. How many partitions a topic has only it knows.
    fn refused(&self, outputs: &[Output]) -> Option<Fault> {
        match &self.circumstances {
            Some(known) => {
                refused_output(known.message_bytes_max, &known.output_partitions, outputs)
            }
            None => refused_output(MESSAGE_BYTES_MAX, &OutputPartitions::new(), outputs),
        }
    }

    /// An instance is never used again after a fault.
    fn spent(&mut self, fault: Fault) -> Outcome {
        self.instance = None;
        Outcome::Fault(fault)
    }

    /// Lets the effects of an event count.
    fn settle(&mut self, scope: &Scope, mut effects: Effects, ran: &mut Ran) {
        for write in effects.state.drain(..) {
            let name = scope.name_of(&write.key);
            ran.state.insert(name, write.value.clone());
            self.state.settle(scope, write);
        }
        if !effects.tallies.is_empty() {
            let topic = ran.event.topic.clone().unwrap_or_default();
            let of_place = self.sums.entry((topic, ran.event.partition.unwrap_or(0)));
            let sums = of_place.or_default();
            for change in &effects.tallies {
                sums.entry(change.name.clone())
                    .and_modify(|sum| *sum = change.op.join(*sum, change.value))
                    .or_insert(change.value);
            }
        }
        ran.effects = effects;
    }

    /// The event with everything said that was left open.
    fn placed(&mut self, event: &Fixture) -> Fixture {
        let mut event = event.clone();
        let topic = event
            .topic
            .get_or_insert_with(|| self.topic.clone())
            .clone();
        let partition = *event.partition.get_or_insert(0);
        let next = self.next_offsets.entry((topic, partition)).or_insert(0);
        let offset = *event.offset.get_or_insert(*next);
        *next = offset.saturating_add(1);
        event
            .timestamp_ms
            .get_or_insert_with(since_1970::now_timestamp_ms);
        event.attempt.get_or_insert(1);
        event
    }
}

fn instance_of(
    plugin: &Arc<LoadedPlugin>,
    circumstances: Option<&Circumstances>,
) -> Result<Instance, LoadError> {
    match circumstances {
        Some(Circumstances {
            transcript: Some(told),
            ..
        }) => Instance::replaying(plugin, told),
        Some(fixed) => {
            let clock = Arc::new(Still(fixed.wall_ms));
            Instance::repeatable(plugin, clock, fixed.random_seed)
        }
        None => Instance::new(plugin),
    }
}

fn scope_of(event: &Fixture) -> Scope {
    Scope::new(
        event.topic.as_deref().unwrap_or_default(),
        event.partition.unwrap_or(0),
        event.key.as_deref(),
    )
}

/// A batch of one event, as a lane hands it over.
fn batch_of(event: &Fixture) -> Batch {
    let topic = event.topic.as_deref().unwrap_or_default();
    let partition = event.partition.unwrap_or(0);
    let offset = Offset(event.offset.unwrap_or(0));
    let from = (Arc::from(topic), 0);
    let applied = Applied::default();
    let assignment = Arc::new(Assignment::new(0, from, partition, 0, offset, applied));
    let mut batch = Batch::new(&encode_topics([topic].into_iter()));
    let place = Place {
        topic_index: 0,
        partition,
        offset,
        timestamp_ms: event.timestamp_ms,
        attempt: event.attempt.unwrap_or(1),
    };
    let meta = (EventKind::New, 0, offset, OrderGroup(0));
    let content = (event.key.as_deref(), event.value.as_deref());
    batch.push(&assignment, meta, place, content, |bytes| {
        for (name, value) in &event.headers {
            pack_header(bytes, name, value.as_deref());
        }
    });
    batch
}
