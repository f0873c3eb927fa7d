//! The packed form of `batch-event-handler`: reads batches, runs the handler over them, writes results.
//!
//! It compiles natively too, so that a batch can be run and tested without a host.

use hashbrown::HashSet;

use crate::effects;
use crate::event::{self, Event};
use crate::outcome::{Failure, FailureKind, Output, Success};

/// The length that means null in a span and in packed headers.
pub const NULL_LEN: u32 = u32::MAX;

const OUTCOME_STRIDE: u64 = 4;
const OUTPUT_STRIDE: u64 = 6;
const FILTERED: u64 = 1;
const HELD: u64 = 5;

/// A start in its low and a length in its high 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl Span {
    /// The span that means null.
    pub const NULL: Self = Self((NULL_LEN as u64) << 32);

    /// The bytes it names; none when it is null or lies outside.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        let len = (self.0 >> 32) as u32;
        if len == NULL_LEN {
            return None;
        }
        let start = self.0 as u32 as usize;
        bytes.get(start..start.checked_add(len as usize)?)
    }
}

/// Results of a batch: only what is not plain success without outputs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Results {
    /// What the spans point into.
    pub bytes: Vec<u8>,
    /// Stride, then slots; empty when every event plainly succeeded.
    pub outcomes: Vec<u64>,
    /// Stride, then slots; empty when there are none.
    pub outputs: Vec<u64>,
}

impl Results {
    fn push_bytes(&mut self, bytes: &[u8]) -> u64 {
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        start | (bytes.len() as u64) << 32
    }

    fn push_optional(&mut self, bytes: Option<&[u8]>) -> u64 {
        bytes.map_or(Span::NULL.0, |bytes| self.push_bytes(bytes))
    }

    fn outcome(&mut self, index: usize, kind: u64, failure: Option<&Failure>) {
        if self.outcomes.is_empty() {
            self.outcomes.push(OUTCOME_STRIDE);
        }
        let (code, message, after_ms) = match failure {
            Some(failure) => (
                self.push_bytes(failure.code.as_bytes()),
                self.push_bytes(failure.message.as_bytes()),
                failure.after_ms.unwrap_or(u64::MAX),
            ),
            None => (Span::NULL.0, Span::NULL.0, u64::MAX),
        };
        self.outcomes
            .extend([index as u64 | kind << 32, code, message, after_ms]);
    }

    fn output(&mut self, index: usize, output: &Output) {
        if self.outputs.is_empty() {
            self.outputs.push(OUTPUT_STRIDE);
        }
        let partition = output.partition.unwrap_or(-1) as u32;
        let topic = self.push_bytes(output.topic.as_bytes());
        let key = self.push_optional(output.key.as_deref());
        let value = self.push_optional(output.value.as_deref());
        let headers = if output.headers.is_empty() {
            Span::NULL.0
        } else {
            let packed = pack_headers(&output.headers);
            self.push_bytes(&packed)
        };
        self.outputs.extend([
            index as u64 | u64::from(partition) << 32,
            output.timestamp_ms.unwrap_or(i64::MIN) as u64,
            topic,
            key,
            value,
            headers,
        ]);
    }
}

/// Headers in the packed form of the contract.
#[must_use]
pub fn pack_headers(headers: &[(String, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, value) in headers {
        packed.extend((name.len() as u32).to_le_bytes());
        packed.extend(
            value
                .as_ref()
                .map_or(NULL_LEN, |v| v.len() as u32)
                .to_le_bytes(),
        );
        packed.extend(name.as_bytes());
        packed.extend(value.iter().flatten());
    }
    packed
}

/// Runs the handler over a packed batch. Effects stay in [`effects`] until they are flushed; those of a
/// failed event are undone before the next one runs.
pub fn run<S: Into<Success>>(
    bytes: &[u8],
    slots: &[u64],
    mut handle: impl FnMut(&Event<'_>) -> Result<S, Failure>,
) -> Results {
    let mut results = Results::default();
    let [stride, topics, slots @ ..] = slots else {
        return results;
    };
    let topics = topic_table(Span(*topics).of(bytes).unwrap_or_default());
    // Allocates nothing until an event has failed.
    let mut held_groups: HashSet<u32> = HashSet::new();
    for (index, slot) in slots.chunks_exact((*stride).max(1) as usize).enumerate() {
        let Some(event) = event::read(bytes, slot, &topics) else {
            break;
        };
        let group = (slot[3] >> 32) as u32;
        if !held_groups.is_empty() && held_groups.contains(&group) {
            results.outcome(index, HELD, None);
            continue;
        }
        effects::begin(index as u32, slot[0]);
        match handle(&event).map(Into::into) {
            Ok(Success::Processed(outputs)) => {
                effects::keep();
                outputs
                    .iter()
                    .for_each(|output| results.output(index, output));
            }
            Ok(Success::Filtered) => {
                effects::keep();
                results.outcome(index, FILTERED, None);
            }
            Err(failure) => {
                effects::undo();
                results.outcome(index, failure.kind as u64, Some(&failure));
                if failure.kind != FailureKind::Reject {
                    held_groups.insert(group);
                }
            }
        }
    }
    results
}

fn topic_table(mut table: &[u8]) -> Vec<&str> {
    let mut topics = Vec::new();
    while let Some((len, rest)) = table.split_first_chunk::<4>() {
        let Some((name, rest)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else {
            break;
        };
        topics.push(std::str::from_utf8(name).unwrap_or_default());
        table = rest;
    }
    topics
}
