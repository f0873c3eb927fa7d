//! What the checker answers: each invariant with its state, and the figures of the table.

use std::collections::BTreeMap;

use serde::Serialize;

/// Examples that are kept of each violation. More would hide the first ones.
const EXAMPLES_MAX: usize = 10;

/// What is known of one invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Ok,
    Violated,
    /// Nothing was noted that it could be checked with.
    Unchecked,
}

/// One invariant.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) state: State,
    /// How often it was violated.
    pub(crate) count: u64,
    /// What was looked at, in words.
    pub(crate) looked_at: String,
    pub(crate) examples: Vec<String>,
}

/// All invariants, by their names `I1` to `I10`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// What was done to the system, and how often.
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Duplicates that the faults of the run explain.
    pub(crate) duplicates_allowed: u64,
    pub(crate) reordered: u64,
    /// From the end of a fault until every partition with something to do had moved on; the longest.
    pub(crate) recover_ms: Option<i64>,
    /// Copies of an owner after the next owner's first.
    pub(crate) late: u64,
    pub(crate) invariants: BTreeMap<&'static str, Finding>,
}

impl Report {
    /// Notes what was found: each item is a violation.
    pub(crate) fn found(
        &mut self,
        name: &'static str,
        looked_at: String,
        violations: impl IntoIterator<Item = String>,
    ) {
        let mut violations = violations.into_iter();
        let examples: Vec<String> = violations.by_ref().take(EXAMPLES_MAX).collect();
        let count = (examples.len() + violations.count()) as u64;
        let state = if count == 0 {
            State::Ok
        } else {
            State::Violated
        };
        let finding = Finding {
            state,
            count,
            looked_at,
            examples,
        };
        self.invariants.insert(name, finding);
    }

    /// Notes that an invariant could not be looked at, and why.
    pub(crate) fn unchecked(&mut self, name: &'static str, why: &str) {
        let finding = Finding {
            state: State::Unchecked,
            count: 0,
            looked_at: why.to_owned(),
            examples: Vec::new(),
        };
        self.invariants.insert(name, finding);
    }

    /// Whether one is violated.
    pub(crate) fn is_red(&self) -> bool {
        let violated = |finding: &Finding| finding.state == State::Violated;
        self.invariants.values().any(violated)
    }
}
