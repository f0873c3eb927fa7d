//! What the threads of a group tell each other.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::assignment::Assignment;
use crate::delivery::ledger::Settled;
use crate::delivery::offsets::{Offset, Run};
use crate::kafka::consumer::{Commit, Offered, StartAt};
use crate::kafka::producer::OutgoingRecord;
use crate::sandbox::{Fault, StateWrite, TallyChange, TickAnswer, TickReason};

/// From the settling thread to a lane.
#[derive(Debug)]
pub(crate) enum ToLane {
    /// Run `on-tick` over these settled sums.
    Tick(TickJob),
    /// Forget what is held back of revoked assignments, and answer when everything started is handed over.
    Fence(Fence),
}

/// Marks the point where partitions are given up.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    /// Number of the drain, so that a late answer is not taken for the next drain's.
    pub(crate) drain: u64,
    pub(crate) assignments: Vec<Arc<Assignment>>,
}

/// One call of `on-tick`.
#[derive(Debug)]
pub(crate) struct TickJob {
    pub(crate) assignment: Arc<Assignment>,
    /// The topic that the plugin knows: a retry topic's source.
    pub(crate) topic: Arc<str>,
    pub(crate) reason: TickReason,
    pub(crate) now_ms: i64,
    pub(crate) sums: Vec<(String, i64)>,
}

/// From a lane to the settling thread.
#[derive(Debug)]
pub(crate) enum FromLane {
    Settlement(usize, Settlement),
    /// Takes a place in the queue for a part of the settlement that follows, so that the queue is bounded in
    /// bytes too.
    Place,
    Ticked {
        assignment: u64,
        result: Result<TickAnswer, Fault>,
    },
    FenceReached {
        lane: usize,
        drain: u64,
    },
}

/// What a batch came to. It settles as a whole, when all its records are acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) assignments: Vec<Arc<Assignment>>,
    pub(crate) runs: Vec<SettledRun>,
    /// Change in the number of events held back, by place in `assignments`.
    pub(crate) parked: Vec<(u32, i64)>,
    pub(crate) tallies: Vec<(u32, TallyChange)>,
    /// Whole lines for the plugin's journal, in runs of one assignment.
    pub(crate) journal: Vec<(u32, Vec<u8>)>,
    pub(crate) state: Vec<(u32, StateWrite)>,
    /// Outputs and dead letters, with the place in `assignments` that each belongs to.
    pub(crate) records: Vec<(u32, OutgoingRecord)>,
    /// Rises with each settlement of the lane that wrote state.
    pub(crate) state_serial: u64,
}

impl Settlement {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.parked.is_empty() && self.records.is_empty()
    }

    /// What its effects take, in bytes.
    pub(crate) fn effect_bytes(&self) -> usize {
        let state = self.state.iter().map(|(_, write)| write.bytes());
        let lines = self.journal.iter().map(|(_, lines)| lines.len());
        let tallies = self.tallies.iter().map(|(_, change)| change.name.len());
        state.sum::<usize>() + lines.sum::<usize>() + tallies.sum::<usize>()
    }

    /// What its effects and records take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let records = self.records.iter().map(|(_, record)| record.bytes());
        self.effect_bytes() + records.sum::<usize>()
    }

    /// Adds one line to the journal.
    pub(crate) fn append_line(&mut self, assignment: u32, line: &[u8]) {
        let lines = match self.journal.last_mut() {
            Some((last, lines)) if *last == assignment => lines,
            _ => {
                self.journal.push((assignment, Vec::new()));
                let Some((_, lines)) = self.journal.last_mut() else {
                    return;
                };
                lines
            }
        };
        lines.extend_from_slice(line);
        lines.push(b'\n');
    }

    /// Adds one settled event, joined with its neighbours where they are without a gap.
    pub(crate) fn settle(&mut self, assignment: u32, settled: Settled, seq: u64, offset: Offset) {
        if let Some(last) = self.runs.last_mut() {
            let run = &mut last.run;
            if last.assignment == assignment
                && last.settled == settled
                && run.first_seq + run.count == seq
                && run.first_offset.0 + run.count as i64 == offset.0
            {
                run.count += 1;
                return;
            }
        }
        let run = Run {
            first_seq: seq,
            first_offset: offset,
            count: 1,
        };
        self.runs.push(SettledRun {
            assignment,
            settled,
            run,
        });
    }
}

/// Events that left the data path the same way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SettledRun {
    /// Place in the settlement's list of assignments.
    pub(crate) assignment: u32,
    pub(crate) settled: Settled,
    pub(crate) run: Run,
}

/// Partitions whose books are open, and where reading begins.
pub(crate) type TakenUp = Vec<(Arc<Assignment>, StartAt)>;

/// From the polling thread to the settling thread.
#[derive(Debug)]
pub(crate) enum Control {
    Assign {
        offered: Vec<Offered>,
        reply: Sender<TakenUp>,
    },
    Revoke {
        assignments: Vec<Arc<Assignment>>,
        reason: TickReason,
        lost: bool,
        deadline: Instant,
        reply: Sender<Vec<Commit>>,
    },
    Committed(Vec<(String, i32, Offset)>),
    CommitFailed(String),
    Stop,
}
