//! What became of each event of a rehearsal, seen between the data path and the plugin, and in what the lanes
//! settle. It changes nothing of either.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::delivery::dead_letter;
use crate::delivery::ledger::Settled;
use crate::pipeline::clock::Clock;
use crate::pipeline::lane::{Callee, CalleeInstance, not_made};
use crate::pipeline::messages::{FromLane, Settlement, TickJob};
use crate::sandbox::{
    Answer, BatchAnswer, Effects, Fault, Instance, LoadedPlugin, Problem, SLOT_WORDS, StateSource,
    TickAnswer, WallClock, WebCounts, Worn,
};

/// Topic, partition and offset of an event.
pub type Place = (String, i32, i64);

/// One call of an event, or what spared it one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which event.
    pub place: Place,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The word of the outcome, as `processed`, `retry`, `trap` or `duplicate`.
    pub outcome: &'static str,
    /// The plugin's own word, or the name of the limit.
    pub code: String,
    /// What it said.
    pub message: String,
    /// How long the plugin asked to wait, in milliseconds.
    pub after_ms: Option<u64>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// A tick that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTick {
    /// The word of what it ended with, as `trap`.
    pub kind: &'static str,
    /// What it said.
    pub message: String,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) seen: Vec<Seen>,
    pub(super) failed_ticks: Vec<FailedTick>,
    settled: BTreeSet<Place>,
}

pub(super) type SharedRecord = Arc<Mutex<Record>>;

pub(super) fn lock(record: &SharedRecord) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Record {
    /// Takes up what a lane has answered.
    pub(super) fn answered(&mut self, answer: &FromLane, now_ms: u64) {
        match answer {
            FromLane::Settlement(_, settlement) => self.settled(settlement, now_ms),
            FromLane::Ticked {
                result: Err(fault), ..
            } => self.failed_ticks.push(FailedTick {
                kind: fault.kind.word(),
                message: fault.message.clone(),
            }),
            _ => {}
        }
    }

    fn settled(&mut self, settlement: &Settlement, now_ms: u64) {
        for settled in &settlement.runs {
            let assignment = &settlement.assignments[settled.assignment as usize];
            for number in 0..settled.run.count as i64 {
                let offset = settled.run.first_offset.0 + number;
                let place = (assignment.topic.to_string(), assignment.partition, offset);
                let spared = match settled.settled {
                    Settled::Duplicate => Some("duplicate"),
                    Settled::Recovered => Some("recovered"),
                    _ => None,
                };
                if let Some(outcome) = spared {
                    self.seen.push(Seen {
                        place: place.clone(),
                        attempt: 1,
                        outcome,
                        code: String::new(),
                        message: String::new(),
                        after_ms: None,
                        at_ms: now_ms,
                    });
                }
                self.settled.insert(place);
            }
        }
        for (_, record) in &settlement.records {
            self.refused_by_the_host(&record.headers);
        }
    }

    /// A dead letter of an event whose plugin was content: the host refused what it made.
    fn refused_by_the_host(&mut self, headers: &[dead_letter::Header]) {
        let header = |name: &str| dead_letter::fact(headers, name);
        let number = |name: &str| header(name)?.parse::<i64>().ok();
        let (Some(topic), Some(partition), Some(offset)) = (
            header("origin.topic"),
            number("origin.partition"),
            number("origin.offset"),
        ) else {
            return;
        };
        let place = (topic, partition as i32, offset);
        let last = self.seen.iter_mut().rfind(|seen| seen.place == place);
        if let Some(last) = last.filter(|last| last.outcome == "processed") {
            let cause = header("cause").unwrap_or_default();
            last.outcome = if cause == "capability" {
                "capability"
            } else {
                "output"
            };
            last.code = header("code").unwrap_or_default();
            last.message = header("message").unwrap_or_default();
        }
    }

    /// The outcomes from `from` on. An event whose plugin was content and that did not settle made something that
    /// the host refused.
    pub(super) fn since(&self, from: usize) -> Vec<Seen> {
        let mut since: Vec<Seen> = self.seen[from.min(self.seen.len())..].to_vec();
        for seen in &mut since {
            if matches!(seen.outcome, "processed" | "filtered")
                && seen.attempt == 1
                && !self.settled.contains(&seen.place)
            {
                seen.outcome = "output";
            }
        }
        since
    }
}

/// A plugin that is watched, and reads the clock of the rehearsal.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) loaded: Arc<LoadedPlugin>,
    pub(super) record: SharedRecord,
    pub(super) clock: Clock,
}

#[derive(Debug)]
struct WatchedInstance {
    instance: Instance,
    record: SharedRecord,
    clock: Clock,
}

impl WallClock for Clock {
    fn now_ms(&self) -> u64 {
        self.wall_ms()
    }
}

impl Callee for Watched {
    fn instance(&self) -> Result<Box<dyn CalleeInstance>, Fault> {
        let clock: Arc<dyn WallClock> = Arc::new(self.clock.clone());
        let made = Instance::with_clock(&self.loaded, Some(clock));
        Ok(Box::new(WatchedInstance {
            instance: made.map_err(|error| not_made(&error))?,
            record: Arc::clone(&self.record),
            clock: self.clock.clone(),
        }))
    }
}

impl CalleeInstance for WatchedInstance {
    fn call(
        &mut self,
        bytes: &[u8],
        slots: &[u64],
        topics: &[Arc<str>],
        state: Option<Box<dyn StateSource>>,
    ) -> Result<BatchAnswer, Fault> {
        let answer = CalleeInstance::call(&mut self.instance, bytes, slots, topics, state);
        let events: Vec<&[u64]> = slots[2..].chunks_exact(SLOT_WORDS).collect();
        let mut record = lock(&self.record);
        let at_ms = self.clock.wall_ms();
        match &answer {
            Ok(answer) => {
                let mut special = answer.answers.iter().peekable();
                for (index, slot) in events.iter().enumerate() {
                    let answer = special.next_if(|(at, _)| *at as usize == index);
                    let answer = answer.map_or(&Answer::Processed, |(_, answer)| answer);
                    record.seen.extend(seen(slot, topics, answer, at_ms));
                }
            }
            // The events of a larger call run again, one by one.
            Err(fault) if events.len() == 1 => {
                let problem = Problem {
                    code: fault.code.clone(),
                    message: fault.message.clone(),
                    ..Problem::default()
                };
                let word = fault.kind.word();
                record
                    .seen
                    .push(seen_as(events[0], topics, word, &problem, at_ms));
            }
            Err(_) => {}
        }
        answer
    }

    fn tick(&mut self, job: TickJob) -> Result<TickAnswer, Fault> {
        CalleeInstance::tick(&mut self.instance, job)
    }

    fn effects(&mut self) -> &mut Effects {
        self.instance.effects()
    }

    fn worn(&self) -> Option<Worn> {
        self.instance.worn()
    }

    fn take_dropped_lines(&mut self) -> u64 {
        self.instance.take_dropped_lines()
    }

    fn web_requests(&mut self) -> WebCounts {
        self.instance.web_requests()
    }
}

/// None for an event that was held behind another of its key.
fn seen(slot: &[u64], topics: &[Arc<str>], answer: &Answer, at_ms: u64) -> Option<Seen> {
    let nothing = Problem::default();
    let (outcome, problem) = match answer {
        Answer::Processed => ("processed", &nothing),
        Answer::Filtered => ("filtered", &nothing),
        Answer::Retry(problem) => ("retry", problem),
        Answer::Reject(problem) => ("reject", problem),
        Answer::Overloaded(problem) => ("overloaded", problem),
        Answer::Held => return None,
    };
    Some(seen_as(slot, topics, outcome, problem, at_ms))
}

fn seen_as(
    slot: &[u64],
    topics: &[Arc<str>],
    outcome: &'static str,
    problem: &Problem,
    at_ms: u64,
) -> Seen {
    let topic = topics.get(slot[0] as u32 as usize);
    Seen {
        place: (
            topic.map_or_else(String::new, ToString::to_string),
            (slot[0] >> 32) as u32 as i32,
            slot[1] as i64,
        ),
        attempt: slot[3] as u32,
        outcome,
        code: problem.code.clone(),
        message: problem.message.clone(),
        after_ms: problem.after_ms,
        at_ms,
    }
}
