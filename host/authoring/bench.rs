//! How quick a plugin is: the same events through it over and over, in batches and alone, by the very sandbox and
//! batches that serve. What is measured is one lane without Kafka: packing, the call, and judging what it answered.
//! It must not know where events come from.

mod figures;
mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::figures::{Figures, Spread};
use self::load::Load;
use super::fixture::Fixture;
use super::rig::MemoryState;
use crate::pipeline::batch::Batch;
use crate::pipeline::{OutputPartitions, refused_output};
use crate::sandbox::{Answer, BatchAnswer, Effects, Fault, Instance, LoadError, LoadedPlugin};

/// How long a call of the host's should take at most; batches are made to fit it, there and here.
const CALL_GOAL: Duration = Duration::from_millis(20);

/// The share of the time that goes to events alone in their calls, in percent.
const ALONE_PERCENT: u32 = 25;

/// Calls without an event, to find out what crossing into the plugin takes. Their median is exact to nanoseconds.
const EMPTY_CALLS: usize = 501;

/// Calls whose times are kept. Past this many, a percentile says nothing more.
const TIMES_MAX: usize = 1 << 20;

/// Largest record that a producer of the host sends where nothing else is configured, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// For how long.
    pub time: Duration,
    /// Events of a call at most, at least 1; fewer where a call would take longer than the host lets it.
    pub batch: usize,
}

/// Measures a plugin.
///
/// # Errors
/// No instance of it can be made.
pub fn measure(
    plugin: &Arc<LoadedPlugin>,
    topic: &str,
    events: &[Fixture],
    settings: Settings,
) -> Result<Figures, LoadError> {
    let mut bench = Bench {
        instance: Instance::new(plugin)?,
        load: Load::new(topic, events),
        state: MemoryState::new(plugin.state_quota_bytes),
        plugin: Arc::clone(plugin),
        outcomes: BTreeMap::new(),
        failure: None,
    };
    let memory_bytes_at_first = bench.instance.memory_bytes();
    let batch = bench.fitting(settings.batch)?;
    let empty = bench.empty_call();
    bench.outcomes.clear();
    let alone_time = settings.time * ALONE_PERCENT / 100;
    let began = cpu_time();
    let together = bench.phase(batch, settings.time - alone_time)?;
    let cpu = cpu_time().saturating_sub(began);
    let alone = bench.phase(1, alone_time)?;
    Ok(Figures {
        batch,
        event_bytes: bench.load.event_bytes(),
        cpu_share: cpu.as_secs_f64() / together.took.as_secs_f64().max(f64::MIN_POSITIVE),
        together,
        alone,
        empty,
        memory_bytes: (memory_bytes_at_first, bench.instance.memory_bytes()),
        outcomes: bench.outcomes,
        failure: bench.failure,
    })
}

/// What was measured of calls of one size.
#[derive(Debug, Default)]
pub(super) struct Phase {
    /// The calls, of which each takes what is between handing events over and having the answer.
    pub(super) calls: Vec<Duration>,
    pub(super) events: u64,
    pub(super) packing: Duration,
    pub(super) calling: Duration,
    pub(super) judging: Duration,
    pub(super) took: Duration,
}

/// What this thread has had of the processor.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A plugin under load.
struct Bench {
    plugin: Arc<LoadedPlugin>,
    instance: Instance,
    load: Load,
    state: MemoryState,
    outcomes: BTreeMap<&'static str, u64>,
    /// What the first event that failed said.
    failure: Option<String>,
}

impl Bench {
    /// The size of batches whose calls are as long as the host lets them be.
    fn fitting(&mut self, most: usize) -> Result<usize, LoadError> {
        let mut size = 1;
        loop {
            // Twice, because in the first call everything is new.
            self.phase(size, Duration::ZERO)?;
            let took = self.phase(size, Duration::ZERO)?.calling;
            let next = (size * 4).min(most);
            if size >= most || took * (next / size) as u32 > CALL_GOAL {
                return Ok(size);
            }
            size = next;
        }
    }

    /// What a call takes that has no event; none where nothing is called then, or the plugin cannot take it.
    fn empty_call(&mut self) -> Option<Duration> {
        if !self.plugin.takes_batches() {
            return None;
        }
        let batch = self.load.empty();
        let mut times = Vec::with_capacity(EMPTY_CALLS);
        for _ in 0..EMPTY_CALLS {
            let began = Instant::now();
            let answer = self
                .instance
                .call(&batch.bytes, &batch.slots, self.load.topics());
            times.push(began.elapsed());
            if answer.is_err() {
                self.instance = Instance::new(&self.plugin).ok()?;
                return None;
            }
        }
        times.sort_unstable();
        Some(times[times.len() / 2])
    }

    /// Calls with so many events each until the time is over; once at least.
    fn phase(&mut self, size: usize, time: Duration) -> Result<Phase, LoadError> {
        let mut phase = Phase::default();
        let mut batch = self.load.empty();
        let began = Instant::now();
        loop {
            let start = Instant::now();
            self.load.fill(&mut batch, size);
            let source = self
                .plugin
                .uses_state
                .then(|| self.load.source(&self.state, &batch));
            self.instance.set_state_source(source);
            let packed = Instant::now();
            let answer = self
                .instance
                .call(&batch.bytes, &batch.slots, self.load.topics());
            let answered = Instant::now();
            let judged = self.judge(&batch, answer);
            if judged.is_err() {
                // No longer of the phase's measure: a host waits for this too, but not for every event.
                self.instance = Instance::new(&self.plugin)?;
            }
            phase.packing += packed - start;
            phase.calling += answered - packed;
            phase.judging += answered.elapsed();
            phase.calls.push(answered - packed);
            phase.events += size as u64;
            if began.elapsed() >= time || phase.calls.len() >= TIMES_MAX {
                phase.took = began.elapsed();
                return Ok(phase);
            }
        }
    }

    /// What the host does with an answer before anything is settled. An error has spent the instance.
    fn judge(&mut self, batch: &Batch, answer: Result<BatchAnswer, Fault>) -> Result<(), ()> {
        let answer = answer.and_then(|answer| {
            let any = OutputPartitions::new();
            match refused_output(MESSAGE_BYTES_MAX, &any, &answer.outputs) {
                Some(fault) => Err(fault),
                None => Ok(answer),
            }
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                *self.outcomes.entry(fault.kind.word()).or_default() += batch.len() as u64;
                self.failure.get_or_insert(fault.message);
                return Err(());
            }
        };
        let mut plain = batch.len() as u64;
        let mut failed = Vec::new();
        for (index, answer) in &answer.answers {
            let (word, problem) = match answer {
                Answer::Processed => continue,
                Answer::Filtered => ("filtered", None),
                Answer::Retry(problem) => ("retry", Some(problem)),
                Answer::Reject(problem) => ("reject", Some(problem)),
                Answer::Overloaded(problem) => ("overloaded", Some(problem)),
                Answer::Held => ("held", None),
            };
            plain -= 1;
            *self.outcomes.entry(word).or_default() += 1;
            if word != "filtered" {
                failed.push(*index);
            }
            if let (None, Some(problem)) = (&self.failure, problem) {
                self.failure = Some(format!("{}: {}", problem.code, problem.message));
            }
        }
        *self.outcomes.entry("processed").or_default() += plain;
        let mut effects = std::mem::take(self.instance.effects());
        if !failed.is_empty() {
            effects.retain(|index| failed.binary_search(&index).is_err());
        }
        self.settle(batch, &mut effects);
        // The next call finds its memory again.
        effects.clear();
        *self.instance.effects() = effects;
        Ok(())
    }

    fn settle(&mut self, batch: &Batch, effects: &mut Effects) {
        for write in effects.state.drain(..) {
            let scope = self.load.scope(batch, write.event_index as usize);
            self.state.settle(&scope, write);
        }
    }
}
