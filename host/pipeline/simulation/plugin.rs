//! The simulated plugin: it does what the nature of each event says, fails by chance, and now and then breaks
//! the contract in the ways that the host must see through.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::broker::Life;
use super::plan::{Nature, Plan};
use super::witness::{Handled, Witness};
use super::{Shared, Surroundings};
use crate::pipeline::clock::VirtualTime;
use crate::pipeline::lane::{Callee, CalleeInstance};
use crate::pipeline::messages::TickJob;
use crate::sandbox::{
    Answer, BatchAnswer, Effects, Fault, FaultKind, Output, Problem, SLOT_WORDS, Span, StateSource,
    TallyChange, TallyOp, TickAnswer, WebCounts, Worn,
};

/// Larger than this no record may be.
pub(super) const RECORD_BYTES_MAX: usize = 2_000;

/// The longest wait that it asks for.
const LONG_WAIT_MS: u64 = 2 * 60 * 60 * 1_000;

/// One life's plugin, which all of its lanes call.
pub(super) struct Plugin {
    life: Life,
    plan: Arc<Plan>,
    random: Rng,
    time: Arc<VirtualTime>,
    calm: Arc<AtomicBool>,
    witness: Shared<Witness>,
}

/// One event of a call.
struct Called {
    partition: i32,
    offset: i64,
    attempt: u32,
    group: u32,
    nature: Nature,
}

#[derive(Clone)]
pub(super) struct SimulatedCallee(Shared<Plugin>);

impl SimulatedCallee {
    pub(super) fn new(plugin: Plugin) -> Self {
        Self(Arc::new(Mutex::new(plugin)))
    }
}

struct Running {
    plugin: Shared<Plugin>,
    effects: Effects,
    /// Calls until it makes room for another.
    calls_left: u32,
}

impl fmt::Debug for SimulatedCallee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedCallee").finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Callee for SimulatedCallee {
    fn instance(&self) -> Result<Box<dyn CalleeInstance>, Fault> {
        let mut plugin = self.0.lock().unwrap();
        let chance = plugin.plan.chances.no_instance;
        if plugin.happens(chance) {
            return Err(fault(FaultKind::Host));
        }
        Ok(Box::new(Running {
            plugin: Arc::clone(&self.0),
            effects: Effects::default(),
            calls_left: plugin.random.u32(1..200),
        }))
    }
}

impl CalleeInstance for Running {
    fn call(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        _topics: &[Arc<str>],
        _state: Option<Box<dyn StateSource>>,
    ) -> Result<BatchAnswer, Fault> {
        self.effects.clear();
        self.calls_left = self.calls_left.saturating_sub(1);
        let mut plugin = self.plugin.lock().unwrap();
        plugin.call((bytes, slots), &mut self.effects)
    }

    fn tick(&mut self, job: TickJob) -> Result<TickAnswer, Fault> {
        self.plugin.lock().unwrap().tick(job)
    }

    fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    fn worn(&self) -> Option<Worn> {
        (self.calls_left == 0).then_some(Worn::Events)
    }

    fn take_dropped_lines(&mut self) -> u64 {
        0
    }

    fn web_requests(&mut self) -> WebCounts {
        WebCounts::default()
    }
}

impl Plugin {
    pub(super) fn new(life: Life, around: &Surroundings, random: Rng) -> Self {
        Self {
            life,
            plan: Arc::clone(&around.plan),
            random,
            time: Arc::clone(&around.time),
            calm: Arc::clone(&around.calm),
            witness: Arc::clone(&around.witness),
        }
    }

    /// Whether something of this chance out of 1 000 happens now. In the end nothing does.
    fn happens(&mut self, chance: u32) -> bool {
        chance > 0 && !self.calm.load(Ordering::Relaxed) && self.random.u32(0..1_000) < chance
    }

    fn call(
        &mut self,
        shown: (&[u8], &[u64]),
        effects: &mut Effects,
    ) -> Result<BatchAnswer, Fault> {
        // Now and then a call takes so long that batches shrink.
        if self.random.u8(0..8) == 0 {
            let took = self.random.u64(0..120);
            self.time.set_ms(self.time.ms() + took);
        }
        let events = self.read(shown);
        let chances = self.plan.chances.clone();
        let down = events.iter().any(|event| event.nature == Nature::Trapping);
        if down || self.happens(chances.batch_traps) {
            let kinds = [FaultKind::Trap, FaultKind::Deadline, FaultKind::Memory];
            let kind = kinds[self.random.usize(0..kinds.len())];
            return Err(self.down(&events, kind));
        }
        if events
            .iter()
            .any(|event| event.nature == Nature::NotGranted)
        {
            return Err(self.down(&events, FaultKind::Capability));
        }
        if self.happens(chances.contract_broken) {
            // Held, and nothing before it has failed.
            self.down(&events, FaultKind::Output);
            tally(effects, 0, "bad");
            return Ok(BatchAnswer {
                answers: vec![(0, Answer::Held)],
                outputs: vec![output(0, b'x', &events[0], 0, 0)],
            });
        }
        Ok(self.answer(&events, effects))
    }

    fn answer(&mut self, events: &[Called], effects: &mut Effects) -> BatchAnswer {
        let mut answer = BatchAnswer::default();
        let mut failed_groups: Vec<u32> = Vec::new();
        let mut handled = Vec::new();
        let mut refused = false;
        for (index, event) in events.iter().enumerate() {
            let index = index as u32;
            if failed_groups.contains(&event.group) {
                answer.answers.push((index, Answer::Held));
                handled.push(Handled::Held);
                continue;
            }
            let (said, what) = self.decide(event);
            match &said {
                Answer::Processed => {
                    tally(effects, index, &event.offset.to_string());
                    let outputs = match event.nature {
                        Nature::Fine { outputs } => outputs,
                        _ => 1,
                    };
                    let padding = if event.nature == Nature::TooLarge {
                        refused = true;
                        RECORD_BYTES_MAX
                    } else {
                        0
                    };
                    let outputs =
                        (0..outputs).map(|number| output(index, b'o', event, number, padding));
                    answer.outputs.extend(outputs);
                }
                Answer::Filtered => {}
                _ => {
                    // Effects of an event that failed must never be seen.
                    tally(effects, index, "bad");
                    answer.outputs.push(output(index, b'x', event, 0, 0));
                }
            }
            if matches!(said, Answer::Retry(_) | Answer::Overloaded(_)) {
                failed_groups.push(event.group);
            }
            if said != Answer::Processed {
                answer.answers.push((index, said));
            }
            handled.push(what);
        }
        if refused {
            self.down(events, FaultKind::Output);
        } else {
            self.tell(events, &handled);
        }
        answer
    }

    fn decide(&mut self, event: &Called) -> (Answer, Handled) {
        let chances = self.plan.chances.clone();
        if self.happens(chances.overloaded) {
            return self.overloaded();
        }
        let wants_retry =
            matches!(event.nature, Nature::Flaky { failures } if event.attempt <= failures);
        if wants_retry || self.happens(chances.retry) {
            return self.retry(event.attempt);
        }
        match event.nature {
            Nature::Unwanted => (Answer::Filtered, Handled::Filtered),
            Nature::Rejected => (Answer::Reject(Problem::default()), Handled::Dead),
            _ => (Answer::Processed, Handled::Processed),
        }
    }

    fn retry(&mut self, attempt: u32) -> (Answer, Handled) {
        let own_wait = self.plan.chances.own_wait;
        let after_ms = self.happens(own_wait).then(|| {
            let most = [5_000, LONG_WAIT_MS][self.random.usize(0..2)];
            self.random.u64(0..most)
        });
        let least = self.plan.backoff.delay_ms(attempt, 1.0);
        let wait = after_ms.unwrap_or(least).min(self.plan.max_age_ms);
        let problem = Problem {
            after_ms,
            ..Problem::default()
        };
        let what = self.failed(attempt, wait);
        (Answer::Retry(problem), what)
    }

    fn overloaded(&mut self) -> (Answer, Handled) {
        let after_ms = (self.random.u8(0..2) == 0).then(|| self.random.u64(0..3_000));
        let wait = after_ms.unwrap_or(self.plan.backoff.initial_ms);
        let problem = Problem {
            after_ms,
            ..Problem::default()
        };
        let not_before = self.now() + wait;
        (
            Answer::Overloaded(problem),
            Handled::Overloaded { not_before },
        )
    }

    /// A failure that counts: once more after the wait, or dead.
    fn failed(&self, attempt: u32, wait: u64) -> Handled {
        if attempt >= self.plan.attempts_max {
            Handled::Dead
        } else {
            let not_before = self.now() + wait;
            Handled::Failed { not_before }
        }
    }

    /// The call ends without an answer that the host believes. Events of a larger call run again one by
    /// one; a lone event has failed.
    fn down(&mut self, events: &[Called], kind: FaultKind) -> Fault {
        if let [event] = events {
            let what = if kind == FaultKind::Capability {
                Handled::Dead
            } else {
                let least = self.plan.backoff.delay_ms(event.attempt, 1.0);
                let least = least.min(self.plan.max_age_ms);
                self.failed(event.attempt, least)
            };
            self.tell(events, &[what]);
        } else {
            let life = self.life;
            let mut witness = self.witness.lock().unwrap();
            witness.note(|| format!("{life:?} a call of {} events: {kind:?}", events.len()));
        }
        fault(kind)
    }

    fn tell(&self, events: &[Called], handled: &[Handled]) {
        let mut witness = self.witness.lock().unwrap();
        for (event, what) in events.iter().zip(handled) {
            witness.handled(self.life, (event.partition, event.offset), *what);
        }
    }

    fn read(&self, (bytes, slots): (&[u8], &[u64])) -> Vec<Called> {
        let now = self.now();
        let mut witness = self.witness.lock().unwrap();
        let called = |slot: &[u64]| {
            let (partition, offset) = ((slot[0] >> 32) as i32, slot[1] as i64);
            let attempt = slot[3] as u32;
            witness.called(self.life, (partition, offset), attempt, now);
            witness.shown(
                (partition, offset),
                [4, 5, 6].map(|word| Span(slot[word]).of(bytes)),
            );
            Called {
                partition,
                offset,
                attempt,
                group: (slot[3] >> 32) as u32,
                nature: witness.nature((partition, offset)),
            }
        };
        slots[2..].chunks_exact(SLOT_WORDS).map(called).collect()
    }

    fn tick(&mut self, job: TickJob) -> Result<TickAnswer, Fault> {
        let fails = self.plan.chances.tick_fails;
        if self.happens(fails) {
            return Err(fault(FaultKind::Trap));
        }
        let calm = self.calm.load(Ordering::Relaxed);
        let (taken, left): (Vec<_>, Vec<_>) = job
            .sums
            .into_iter()
            .partition(|_| calm || self.random.u8(0..4) > 0);
        let mut outputs = Vec::new();
        if !taken.is_empty() {
            let text: String = taken
                .iter()
                .map(|(name, value)| format!("{name}={value};"))
                .collect();
            outputs.push(Output {
                topic: "counts".to_owned(),
                key: Some(vec![b'e', job.assignment.partition as u8]),
                value: Some(text.into_bytes()),
                ..Output::default()
            });
        }
        Ok(TickAnswer {
            taken,
            left,
            outputs,
        })
    }

    fn now(&self) -> u64 {
        self.time.ms()
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        code: kind.word().to_owned(),
        message: String::new(),
        limit: None,
        frames: Vec::new(),
    }
}

fn tally(effects: &mut Effects, event_index: u32, name: &str) {
    effects.tallies.push(TallyChange {
        event_index,
        op: TallyOp::Add,
        name: name.to_owned(),
        value: 1,
    });
}

/// A record that names the event it was made of.
fn output(event_index: u32, kind: u8, event: &Called, number: u8, padding: usize) -> Output {
    let mut key = vec![kind, event.partition as u8, number];
    key.extend(event.offset.to_be_bytes());
    Output {
        event_index,
        topic: "outputs".to_owned(),
        key: Some(key),
        value: (padding > 0).then(|| vec![0; padding]),
        ..Output::default()
    }
}
