//! The books of one assigned partition: offsets, ledger, sums, and what waits to become durable.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::assignment::Assignment;
use crate::delivery::behind::{Behind, Marks, Standing};
use crate::delivery::commit_map;
use crate::delivery::ledger::{Ledger, Settled};
use crate::delivery::offsets::{Applied, Offset, OffsetTracker};
use crate::delivery::pace::Pace;
use crate::delivery::progress::{Progress, Seen};
use crate::delivery::retry::Millis;
use crate::kafka::consumer::Commit;
use crate::sandbox::{TallyChange, TallyOp, TickAnswer};
use crate::store::{Emission, PartitionRow, Sum};
use crate::telemetry::metrics::PartitionMetrics;

/// A commit that nobody has answered for so long is made again: its answer may have been lost with a
/// rebalance, and a partition where nothing more settles would keep its lag for ever. A broker that works hard
/// answers sooner, and one that does not has lost nothing by being asked twice.
const ASK_AGAIN_AFTER_MS: u64 = 10_000;

/// Settled sums by name.
type Sums = BTreeMap<String, (TallyOp, i64)>;

/// The books of one assignment, kept by the settling thread.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) assignment: Arc<Assignment>,
    /// The mark of the commit that it was taken up at, where an operator had set it.
    pub(crate) mark: Option<u64>,
    pub(crate) tracker: OffsetTracker,
    pub(crate) ledger: Ledger,
    /// The ledger as it was when the disk last took everything.
    durable: Ledger,
    pub(crate) metrics: PartitionMetrics,
    progress: Progress,
    standing: Standing,
    pub(crate) pace: Pace,
    /// How far it was behind at the last look; none before the first fetch.
    pub(crate) last_behind: Option<Behind>,
    /// What the broker has acknowledged as committed.
    pub(crate) acknowledged: Option<Offset>,
    /// How many events were settled when the polling thread was last asked to commit, and the offset.
    asked: (u64, Option<Offset>),
    /// When that was.
    asked_at: Millis,
    /// Whether the row in the store is behind.
    pub(crate) dirty: bool,
    sums: Sums,
    /// Sums that a running tick has been given; they are still settled.
    lent: Option<Sums>,
    changed_sums: BTreeSet<String>,
    pub(crate) next_tick: Instant,
    /// Emissions that the broker has not acknowledged, by number.
    pub(crate) outbox: BTreeMap<u64, Emission>,
}

impl Books {
    pub(crate) fn open(
        assignment: Arc<Assignment>,
        position: Offset,
        acknowledged: Option<Offset>,
        stored: (Vec<Sum>, Vec<Emission>),
        metrics: PartitionMetrics,
        next_tick: Instant,
        now: Millis,
    ) -> Self {
        let (sums, outbox) = stored;
        Self {
            tracker: OffsetTracker::starting_at(position),
            ledger: Ledger::default(),
            durable: Ledger::default(),
            metrics,
            progress: Progress::new(now),
            standing: Standing::new(position, now),
            pace: Pace::default(),
            last_behind: None,
            acknowledged,
            asked: (0, acknowledged),
            asked_at: Millis::default(),
            dirty: false,
            sums: sums
                .into_iter()
                .map(|sum| (sum.name, (op_of(sum.operation), sum.value)))
                .collect(),
            lent: None,
            changed_sums: BTreeSet::new(),
            next_tick,
            outbox: outbox
                .into_iter()
                .map(|emission| (emission.number, emission))
                .collect(),
            mark: None,
            assignment,
        }
    }

    /// What the ledger said then is durable now.
    pub(crate) fn kept(&mut self, then: Ledger) {
        self.durable = then;
        self.show(None);
    }

    /// Shows the ledger. An event counts as finished once that is durable: whoever reads so may rely on it, also
    /// when the host is killed the next moment. `behind` is none where nobody has looked.
    pub(crate) fn show(&mut self, behind: Option<Behind>) {
        // What has become durable may have been polled since the ledger was last looked at.
        self.ledger.polled = self.assignment.polled();
        let shown = self.ledger.left_as_in(&self.durable);
        self.metrics.publish(&shown, behind);
    }

    /// Joins a change to its sum.
    pub(crate) fn add(&mut self, change: TallyChange) {
        if !self.sums.contains_key(&change.name) {
            self.assignment.tallies.added(&change.name);
        }
        self.changed_sums.insert(change.name.clone());
        join(&mut self.sums, change.name, change.op, change.value);
    }

    /// The settled sums that no tick has been given.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (&str, TallyOp, i64)> {
        let sums = self.sums.iter();
        sums.map(|(name, (op, value))| (name.as_str(), *op, *value))
    }

    /// Gives all settled sums to a tick. They count as settled until [`Self::end_tick`].
    pub(crate) fn lend_sums(&mut self) -> Vec<(String, i64)> {
        let lent = std::mem::take(&mut self.sums);
        let given = lent
            .iter()
            .map(|(name, (_, value))| (name.clone(), *value))
            .collect();
        self.lent = Some(lent);
        given
    }

    /// Whether a tick is running.
    pub(crate) fn ticking(&self) -> bool {
        self.lent.is_some()
    }

    /// Takes back what a tick did not take; everything, when it failed.
    pub(crate) fn end_tick(&mut self, answer: Option<&TickAnswer>) {
        // A plugin may take any number of sums, and this thread is shared: no search through a list.
        let taken = answer.into_iter().flat_map(|answer| &answer.taken);
        let taken: HashSet<&str> = taken.map(|(name, _)| name.as_str()).collect();
        for (name, (op, value)) in self.lent.take().unwrap_or_default() {
            if taken.contains(name.as_str()) {
                self.changed_sums.insert(name);
            } else {
                join(&mut self.sums, name, op, value);
            }
        }
        if answer.is_some_and(|answer| !answer.taken.is_empty()) {
            self.assignment.tallies.left(self.sums.keys());
        }
    }

    /// The rows of the sums that changed since the last call, and whether each is still there.
    pub(crate) fn changed_sums(&mut self, plugin: &str) -> Vec<(Sum, bool)> {
        let changed = std::mem::take(&mut self.changed_sums);
        changed
            .into_iter()
            .map(|name| {
                let lent = self.lent.as_ref().and_then(|lent| lent.get(&name));
                let joined = match (self.sums.get(&name), lent) {
                    (Some((op, a)), Some((_, b))) => Some((*op, op.join(*a, *b))),
                    (one, other) => one.or(other).copied(),
                };
                let (op, value) = joined.unwrap_or((TallyOp::Add, 0));
                let sum = Sum {
                    plugin: plugin.to_owned(),
                    name,
                    operation: number_of(op),
                    value,
                };
                (sum, joined.is_some())
            })
            .collect()
    }

    /// The row of this partition as it stands.
    pub(crate) fn row(&self) -> PartitionRow {
        PartitionRow::new(self.acknowledged, &self.applied()).taken_up_at(self.mark)
    }

    /// Everything that is settled. What was before a crash stays so until it has been read again.
    fn applied(&self) -> Applied {
        let known = &self.assignment.applied;
        if self.tracker.settled() == 0 {
            return known.clone();
        }
        known.union(&Applied {
            below: Some(self.tracker.position()),
            ranges: self.tracker.settled_above(),
        })
    }

    /// What may be committed as it stands, with what is settled above it where that is wanted.
    pub(crate) fn commit(&self, with_map: bool) -> Commit {
        let offset = self.tracker.position();
        let metadata = if with_map {
            commit_map::encode(offset, &self.applied().above(offset))
        } else {
            String::new()
        };
        Commit {
            topic: self.assignment.topic.to_string(),
            partition: self.assignment.partition,
            offset,
            metadata,
        }
    }

    /// What may be committed and has not been asked for. Counts as asked for from now on.
    pub(crate) fn next_commit(&mut self, with_map: bool, now: Millis) -> Option<Commit> {
        let (settled, position) = (self.tracker.settled(), self.tracker.position());
        let unanswered = self.asked.1 != self.acknowledged;
        if unanswered && now.0.saturating_sub(self.asked_at.0) >= ASK_AGAIN_AFTER_MS {
            self.ask_again();
        }
        let (asked_settled, asked) = self.asked;
        let news = asked.is_none_or(|asked| position > asked) || with_map;
        if settled == asked_settled || !news {
            return None;
        }
        self.asked = (settled, Some(position));
        self.asked_at = now;
        Some(self.commit(with_map))
    }

    /// The last commit was refused: everything since the last acknowledged one may be asked for again.
    pub(crate) fn ask_again(&mut self) {
        self.asked = (0, self.acknowledged);
    }

    /// For how long nothing has settled, in milliseconds, when that is too long.
    pub(crate) fn idle_ms(&mut self, now: Millis) -> Option<u64> {
        let of = &self.assignment;
        let seen = Seen {
            polled: of.polled(),
            settled: self.tracker.settled() + self.ledger.of(Settled::Abandoned),
            position: self.tracker.position(),
            // What is read again behind the commit has its own time.
            end: of.end_offset().filter(|_| !of.rebuild.is_running()),
        };
        self.progress.look(seen, now)
    }

    /// How far the group is behind the end of the partition; none before the first fetch.
    pub(crate) fn behind(&mut self, now: Millis, wall_ms: u64) -> Option<Behind> {
        let at = (self.tracker.position(), self.assignment.end_offset()?);
        let standing = &mut self.standing;
        let look = |marks: &mut Marks| standing.look(at, marks, now, wall_ms);
        let behind = self.assignment.with_marks(look);
        self.pace.look(self.tracker.settled(), behind.events, now);
        self.last_behind = Some(behind);
        Some(behind)
    }

    /// For how long nothing has settled, in milliseconds, whether or not that is too long; 0 where there is nothing
    /// to do.
    pub(crate) fn waits_ms(&self, now: Millis) -> u64 {
        self.progress.idle_ms(now)
    }
}

fn join(sums: &mut Sums, name: String, op: TallyOp, value: i64) {
    sums.entry(name)
        .and_modify(|(known, sum)| *sum = known.join(*sum, value))
        .or_insert((op, value));
}

fn op_of(number: u32) -> TallyOp {
    match number {
        1 => TallyOp::Max,
        2 => TallyOp::Min,
        _ => TallyOp::Add,
    }
}

fn number_of(op: TallyOp) -> u32 {
    match op {
        TallyOp::Add => 0,
        TallyOp::Max => 1,
        TallyOp::Min => 2,
    }
}
