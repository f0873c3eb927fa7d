//! What two versions did on the same events, side by side. It must not know how either was called.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::batch::Batch;
use super::super::trial::{Difference, Differs, Found};
use crate::sandbox::{Answer, BatchAnswer, Effects, Fault, Output, StateSource};

/// Characters of each side of a difference that are kept.
const SHOWN_MAX: usize = 400;

/// What one version did on one event, without what nobody else would see: metrics, journal lines and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    outcome: &'static str,
    /// The plugin's own word for a failure, or the limit that was passed.
    code: String,
    outputs: Vec<Output>,
    /// The last value of each key; none is deleted.
    state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// What a call did to sums, by assignment, name and operation. The SDK adds up what the events of a batch do to
/// a sum, so there is no telling which event it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums(BTreeMap<(u32, String, u8), i64>);

impl Sums {
    /// Adds those of one call, without those of failed events. `start` is the place in the batch of its first.
    pub(super) fn add(
        &mut self,
        effects: Option<&Effects>,
        seen: &[Seen],
        batch: &Batch,
        start: usize,
    ) {
        for change in effects.iter().flat_map(|effects| &effects.tallies) {
            let index = change.event_index as usize;
            let (Some(seen), Some(meta)) = (seen.get(index), batch.events.get(start + index))
            else {
                continue;
            };
            if seen.succeeded() {
                let key = (meta.assignment, change.name.clone(), change.op as u8);
                let sum = self.0.entry(key);
                sum.and_modify(|sum| *sum = change.op.join(*sum, change.value))
                    .or_insert(change.value);
            }
        }
    }
}

impl Seen {
    fn new(outcome: &'static str, code: &str) -> Self {
        Self {
            outcome,
            code: code.to_owned(),
            outputs: Vec::new(),
            state: BTreeMap::new(),
        }
    }

    fn succeeded(&self) -> bool {
        matches!(self.outcome, "processed" | "filtered")
    }

    /// Whether it says something about the version: an overload says that there was none, and what is held
    /// was not run.
    fn counts(&self) -> bool {
        !matches!(self.outcome, "held" | "overloaded")
    }
}

/// What a call did, event by event. `effects` are those of the call.
pub(super) fn seen(
    answer: Result<&BatchAnswer, &Fault>,
    effects: Option<&Effects>,
    events: usize,
) -> Vec<Seen> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => return vec![Seen::new(fault.kind.word(), &fault.code); events],
    };
    let mut all = vec![Seen::new("processed", ""); events];
    for (index, answer) in &answer.answers {
        let (outcome, code) = match answer {
            Answer::Processed => ("processed", ""),
            Answer::Filtered => ("filtered", ""),
            Answer::Retry(problem) => ("retry", problem.code.as_str()),
            Answer::Reject(problem) => ("reject", problem.code.as_str()),
            Answer::Overloaded(_) => ("overloaded", ""),
            Answer::Held => ("held", ""),
        };
        if let Some(seen) = all.get_mut(*index as usize) {
            *seen = Seen::new(outcome, code);
        }
    }
    // A failure leaves nothing behind.
    let mut add = |index: u32, add: &mut dyn FnMut(&mut Seen)| {
        let seen = all.get_mut(index as usize);
        if let Some(seen) = seen.filter(|seen| seen.succeeded()) {
            add(seen);
        }
    };
    for output in &answer.outputs {
        add(output.event_index, &mut |seen| {
            seen.outputs.push(comparable(output));
        });
    }
    for write in effects.iter().flat_map(|effects| &effects.state) {
        add(write.event_index, &mut |seen| {
            seen.state.insert(write.key.clone(), write.value.clone());
        });
    }
    all
}

/// Without what differs between two calls of the very same version.
fn comparable(output: &Output) -> Output {
    Output {
        event_index: 0,
        timestamp_ms: None,
        ..output.clone()
    }
}

/// Counts what both did, and gathers where they differ. `start` is the place in the batch of the first event.
pub(super) fn compare(
    (batch, topics): (&Batch, &[Arc<str>]),
    start: usize,
    (served, tried): (&[Seen], &[Seen]),
    found: &mut Found,
) {
    for (at, (served, tried)) in served.iter().zip(tried).enumerate() {
        if !(served.counts() && tried.counts()) {
            continue;
        }
        let event = batch.view(start + at);
        // A repeated attempt says nothing new of either.
        let first = event.attempt() == 1;
        for (record, seen) in [(&mut found.serving, served), (&mut found.candidate, tried)] {
            record.events += 1;
            record.failed += u64::from(first && !seen.succeeded());
        }
        let Some(differs) = differs(served, tried) else {
            continue;
        };
        let [serving, candidate] = show(differs, served, tried);
        found.differences.push(Difference {
            differs,
            topic: Arc::clone(&topics[event.topic_index() as usize]),
            partition: event.partition(),
            offset: event.offset(),
            serving,
            candidate,
        });
    }
}

fn differs(served: &Seen, tried: &Seen) -> Option<Differs> {
    if (served.outcome, &served.code) != (tried.outcome, &tried.code) {
        Some(Differs::Outcome)
    } else if served.outputs != tried.outputs {
        Some(Differs::Outputs)
    } else if served.state != tried.state {
        Some(Differs::State)
    } else {
        None
    }
}

/// Compares what both did to sums in a whole call. Where an outcome differs, sums must.
pub(super) fn compare_sums(
    (batch, topics): (&Batch, &[Arc<str>]),
    served: &Sums,
    tried: &Sums,
    found: &mut Found,
) {
    let by_outcome = |difference: &Difference| difference.differs == Differs::Outcome;
    if served == tried || found.differences.iter().any(by_outcome) {
        return;
    }
    for (at, assignment) in batch.assignments.iter().enumerate() {
        let [serving, candidate] = [(served, tried), (tried, served)].map(|(own, other)| {
            let own = own.0.iter().filter(|(key, _)| key.0 as usize == at);
            let own = own.filter(|(key, value)| other.0.get(*key) != Some(value));
            let own: Vec<_> = own
                .map(|((_, name, _), value)| format!("{name} {value}"))
                .collect();
            shortened(&format!("sums of a batch [{}]", own.join(", ")))
        });
        let first = batch
            .events
            .iter()
            .find(|meta| meta.assignment as usize == at);
        if let Some(first) = first.filter(|_| serving != candidate) {
            found.differences.push(Difference {
                differs: Differs::Sums,
                topic: Arc::clone(&topics[assignment.source_index() as usize]),
                partition: assignment.partition,
                offset: first.offset,
                serving,
                candidate,
            });
        }
    }
}

fn shortened(text: &str) -> String {
    text.trim_end().chars().take(SHOWN_MAX).collect()
}

/// Both sides for a person, from where they part.
fn show(differs: Differs, served: &Seen, tried: &Seen) -> [String; 2] {
    let other = |of: &Seen| {
        if std::ptr::eq(of, served) {
            tried
        } else {
            served
        }
    };
    [served, tried].map(|seen| {
        let text = match differs {
            Differs::Outcome => format!("{} {}", seen.outcome, seen.code),
            Differs::Outputs => {
                let pairs = seen.outputs.iter().zip(&other(seen).outputs);
                let same = pairs.take_while(|(a, b)| a == b).count();
                let first = seen.outputs.get(same).map_or_else(
                    || "none".to_owned(),
                    |output| {
                        format!(
                            "{} key {} value {}",
                            output.topic,
                            text(&output.key),
                            text(&output.value)
                        )
                    },
                );
                format!(
                    "{} outputs; number {}: {first}",
                    seen.outputs.len(),
                    same + 1
                )
            }
            Differs::State | Differs::Sums => {
                let theirs = other(seen);
                let state = seen.state.iter();
                let own = state.filter(|(key, value)| theirs.state.get(*key) != Some(value));
                let own: Vec<_> = own.map(|(_, value)| text(value)).collect();
                format!("state [{}]", own.join(", "))
            }
        };
        shortened(&text)
    })
}

fn text(bytes: &Option<Vec<u8>>) -> String {
    match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).into_owned(),
        None => "null".to_owned(),
    }
}

/// What a shadow wrote in calls before, which its later events read as if it had been applied.
#[derive(Debug, Default)]
pub(super) struct Written(Arc<HashMap<Vec<u8>, Option<Vec<u8>>>>);

impl Written {
    pub(super) fn extend(&mut self, seen: &[Seen]) {
        let written = seen.iter().flat_map(|seen| &seen.state);
        let written = written.map(|(key, value)| (key.clone(), value.clone()));
        Arc::make_mut(&mut self.0).extend(written);
    }

    /// A source that looks here first.
    pub(super) fn over(&self, source: Box<dyn StateSource>) -> Box<dyn StateSource> {
        let written = Arc::clone(&self.0);
        Box::new(Overlay { written, source })
    }
}

#[derive(Debug)]
struct Overlay {
    written: Arc<HashMap<Vec<u8>, Option<Vec<u8>>>>,
    source: Box<dyn StateSource>,
}

impl StateSource for Overlay {
    fn key(&self, event_index: u32, name: &str) -> Vec<u8> {
        self.source.key(event_index, name)
    }

    fn now_ms(&self) -> u64 {
        self.source.now_ms()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self.written.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.source.get(key),
        }
    }

    fn room_for(&self, key: &[u8], value_bytes: usize) -> Result<(), String> {
        self.source.room_for(key, value_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Problem, StateWrite};

    fn output(event_index: u32, value: &str, at: i64) -> Output {
        Output {
            event_index,
            topic: "out".to_owned(),
            partition: None,
            timestamp_ms: Some(at),
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }
    }

    fn effects(state: &[(u32, &str)]) -> Effects {
        let write = |(event_index, value): &(u32, &str)| StateWrite {
            event_index: *event_index,
            key: b"key".to_vec(),
            value: Some(value.as_bytes().to_vec()),
            expires_ms: None,
        };
        Effects {
            state: state.iter().map(write).collect(),
            ..Effects::default()
        }
    }

    fn rejected(code: &str) -> Answer {
        Answer::Reject(Problem {
            code: code.to_owned(),
            message: format!("at {code}"),
            ..Problem::default()
        })
    }

    #[test]
    fn outcome_outputs_and_state_are_compared_and_times_are_not() {
        let answer =
            |answers: Vec<(u32, Answer)>, outputs: Vec<Output>| BatchAnswer { answers, outputs };
        let one = answer(
            vec![(2, rejected("a"))],
            vec![output(0, "same", 1), output(1, "one", 1)],
        );
        let other = answer(
            vec![(2, rejected("b"))],
            vec![output(0, "same", 2), output(1, "other", 1)],
        );
        let (of_one, of_other) = (effects(&[(3, "x")]), effects(&[(3, "y")]));
        let served = seen(Ok(&one), Some(&of_one), 4);
        let tried = seen(Ok(&other), Some(&of_other), 4);
        let found: Vec<_> = served
            .iter()
            .zip(&tried)
            .map(|(a, b)| differs(a, b))
            .collect();
        let all = [
            None,
            Some(Differs::Outputs),
            Some(Differs::Outcome),
            Some(Differs::State),
        ];
        assert_eq!(found, all);
        let shown = show(Differs::Outputs, &served[1], &tried[1]);
        assert_eq!(shown[1], "1 outputs; number 1: out key null value other");
    }

    #[test]
    fn what_a_failed_event_did_is_no_difference() {
        let answer = BatchAnswer {
            answers: vec![(0, rejected("a"))],
            outputs: vec![output(0, "x", 1)],
        };
        let bare = BatchAnswer {
            answers: vec![(0, rejected("a"))],
            outputs: Vec::new(),
        };
        let of_one = effects(&[(0, "x")]);
        let (served, tried) = (
            seen(Ok(&answer), Some(&of_one), 1),
            seen(Ok(&bare), None, 1),
        );
        assert_eq!(differs(&served[0], &tried[0]), None);
    }

    #[test]
    fn only_the_last_write_of_a_key_counts() {
        let (one, other) = (effects(&[(0, "old"), (0, "new")]), effects(&[(0, "new")]));
        let answer = BatchAnswer::default();
        assert_eq!(
            seen(Ok(&answer), Some(&one), 1),
            seen(Ok(&answer), Some(&other), 1)
        );
    }
}
