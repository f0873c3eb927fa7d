//! What came of an event or of a tick.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lines::Line;
use crate::authoring::fixture::Fixture;
use crate::sandbox::{Effects, Fault, Output, Problem};

/// Named sums of each topic-partition.
pub type Sums = BTreeMap<(String, i32), BTreeMap<String, i64>>;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Processed,
    /// Looked at and not wanted.
    Filtered,
    /// A host would try it again.
    Retry(Problem),
    /// A host would make a dead letter of it.
    Reject(Problem),
    /// A host would try it again, and not count it.
    Overloaded(Problem),
    /// The call ended without an answer that counts. A host would try it again, or give it up.
    Fault(Fault),
}

impl Outcome {
    /// The word for it, as in metrics and scenarios.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Filtered => "filtered",
            Self::Retry(_) => "retry",
            Self::Reject(_) => "reject",
            Self::Overloaded(_) => "overloaded",
            Self::Fault(fault) => fault.kind.word(),
        }
    }

    /// Whether the event is finished and its effects count.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Processed | Self::Filtered)
    }

    /// Code and message of a failure.
    #[must_use]
    pub fn why(&self) -> Option<(&str, &str)> {
        match self {
            Self::Processed | Self::Filtered => None,
            Self::Retry(problem) | Self::Reject(problem) | Self::Overloaded(problem) => {
                Some((&problem.code, &problem.message))
            }
            Self::Fault(fault) => Some((&fault.code, &fault.message)),
        }
    }

    /// How long the plugin asks to wait, in milliseconds.
    #[must_use]
    pub fn after_ms(&self) -> Option<u64> {
        match self {
            Self::Retry(problem) | Self::Overloaded(problem) => problem.after_ms,
            _ => None,
        }
    }

    /// Functions of the plugin that it trapped in, innermost first.
    #[must_use]
    pub fn frames(&self) -> &[String] {
        match self {
            Self::Fault(fault) => &fault.frames,
            _ => &[],
        }
    }
}

/// What came of one event.
#[derive(Debug)]
pub struct Ran {
    /// The event, with nothing left open.
    pub event: Fixture,
    /// What became of it.
    pub outcome: Outcome,
    /// Records that it made; none where it failed.
    pub outputs: Vec<Output>,
    /// Metrics, sums and journal lines; none where it failed.
    pub effects: Effects,
    /// What it wrote to the state of its key, by name, at last; nothing where it deleted.
    pub state: BTreeMap<String, Option<Vec<u8>>>,
    /// What it logged, however it ended.
    pub lines: Vec<Line>,
    /// The call, from handing the event over to having its answer checked.
    pub took: Duration,
    /// Fuel of the call, where it is metered and known: a call that its deadline ended does not say.
    pub fuel: Option<u64>,
    /// Memory of the instance after the call, in bytes.
    pub memory_bytes: usize,
    /// What it asked for and was not told, where it was to be told what an earlier call was.
    pub untold: Option<&'static str>,
}

impl Ran {
    /// The lines that it wrote to the journal.
    #[must_use]
    pub fn journal(&self) -> Vec<String> {
        let bytes = &self.effects.journal_bytes;
        let lines = self.effects.journal.iter();
        let text = lines.filter_map(|line| bytes.get(line.start..line.start + line.len));
        text.map(|text| String::from_utf8_lossy(text).into_owned())
            .collect()
    }
}

/// What came of a tick of one topic-partition.
#[derive(Debug)]
pub struct Ticked {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Processed, or a fault.
    pub outcome: Outcome,
    /// Records that it made.
    pub outputs: Vec<Output>,
    /// What it logged.
    pub lines: Vec<Line>,
    /// The call.
    pub took: Duration,
}

impl Ticked {
    /// Whether there is nothing to tell of it.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.outcome.is_success() && self.outputs.is_empty() && self.lines.is_empty()
    }
}
