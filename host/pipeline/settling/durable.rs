//! Making durable what has been applied: it is handed to the keeper, and once that has answered, emissions are sent
//! and the offsets are offered for commit.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::keeper::{Kept, ToKeep};
use super::{CommitDesk, EFFECT_BYTES_MAX, Settling, Work};
use crate::delivery::ledger::Ledger;
use crate::kafka::consumer::Commit;
use crate::store::{Emission, Settle};

/// How often a failed write of the store or a journal is reported. It is tried again at every commit.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long the disk may take before lanes have to wait for it: several times what a shared one needs for a sync. What
/// is read meanwhile runs again after a crash.
const DISK_SLOW_AFTER: Duration = Duration::from_secs(2);

/// How long it may take before that is trouble to be told.
const DISK_HANGS_AFTER: Duration = Duration::from_secs(10);

/// What follows once the keeper has made it durable.
#[derive(Debug)]
pub(super) struct UnderWay {
    since: Instant,
    /// What its state and its lines take, in bytes.
    bytes: usize,
    /// State serials that it covers, by lane.
    serials: HashMap<usize, u64>,
    /// Emissions that may be sent then.
    unsent: Vec<(u64, Emission)>,
    /// What may be committed then, by assignment.
    commits: Vec<(u64, Commit)>,
    /// The ledgers that are durable then, by assignment.
    ledgers: Vec<(u64, Ledger)>,
}

impl Settling {
    pub(super) fn append_journal(&mut self, plugin_index: usize, lines: Vec<u8>) {
        self.work.pending_bytes += lines.len();
        match self.work.pending_lines.last_mut() {
            Some((of, last)) if *of == plugin_index => last.extend_from_slice(&lines),
            _ => self.work.pending_lines.push((plugin_index, lines)),
        }
    }

    /// Whether so much waits to become durable that it should not wait for the interval.
    pub(super) fn has_enough(&self) -> bool {
        let work = &self.work;
        // After a failure the interval sets the pace.
        work.under_way.is_none() && !work.failing && work.pending_bytes >= EFFECT_BYTES_MAX
    }

    /// Whether the disk has not answered for so long that no more should be taken in.
    pub(super) fn disk_is_slow(&self) -> bool {
        self.disk_waited_for() >= DISK_SLOW_AFTER
    }

    fn disk_waited_for(&self) -> Duration {
        let now = self.clock.instant();
        let since = self.work.under_way.as_ref().map(|work| work.since);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Makes everything that has been applied durable, and waits for it.
    pub(super) fn settle(&mut self) {
        self.wait_for_keeper();
        self.begin_settle();
        self.wait_for_keeper();
    }

    /// Waits until the keeper has answered.
    fn wait_for_keeper(&mut self) {
        if self.work.under_way.is_none() {
            return;
        }
        match self.keeping.wait() {
            Some(kept) => self.kept(kept),
            // Its thread has ended, and with it the group: nothing of this is durable, nor may be committed.
            None => self.work.failing = true,
        }
    }

    /// Hands over everything that has been applied, unless the keeper still has work.
    pub(super) fn begin_settle(&mut self) {
        self.work.overdue = self.work.under_way.is_some();
        if self.work.overdue {
            let waited = self.disk_waited_for();
            if waited >= DISK_HANGS_AFTER {
                self.status.set_unable(true);
                let trouble = format!("the disk has not answered for {} s", waited.as_secs());
                self.status.set_trouble(Some(trouble));
            }
            return;
        }
        self.collect_rows();
        let commits = self.commits();
        let ledgers = self.work.books.iter();
        let ledgers = ledgers.map(|(id, books)| (*id, books.ledger)).collect();
        let work = &mut self.work;
        let to_keep = ToKeep {
            settle: std::mem::take(&mut work.pending),
            lines: std::mem::take(&mut work.pending_lines),
            now_ms: self.clock.wall_ms(),
        };
        work.under_way = Some(UnderWay {
            since: self.clock.instant(),
            bytes: std::mem::take(&mut work.pending_bytes),
            serials: std::mem::take(&mut work.pending_serials),
            unsent: std::mem::take(&mut work.unsent),
            commits,
            ledgers,
        });
        self.keeping.begin(to_keep);
    }

    /// Takes the keeper's answer, and offers for commit what is durable.
    pub(super) fn kept_and_offer(&mut self, kept: Kept, desk: &CommitDesk) {
        self.kept(kept);
        if self.thought_lost() {
            return;
        }
        self.offer_commits(desk);
        if self.work.overdue && !self.work.failing {
            self.begin_settle();
        }
    }

    /// Does the keeper's work where it has no thread of its own; false when there is none.
    pub(in crate::pipeline) fn keep_here(&mut self, desk: &CommitDesk) -> bool {
        let kept = self.keeping.wait();
        let worked = kept.is_some();
        if let Some(kept) = kept {
            self.kept_and_offer(kept, desk);
            self.drain_further();
        }
        worked
    }

    /// Whether the keeper has work.
    #[cfg(test)]
    pub(in crate::pipeline) fn is_keeping(&self) -> bool {
        self.work.under_way.is_some()
    }

    fn kept(&mut self, kept: Kept) {
        let Some(done) = self.work.under_way.take() else {
            return;
        };
        if let Err(error) = kept.outcome {
            self.take_back(kept.settle, done);
            self.settle_failed(&error);
            return;
        }
        self.work.failing = false;
        self.status.set_unable(false);
        self.status.set_trouble(self.sending.trouble.clone());
        for (lane, serial) in done.serials {
            self.lanes[lane]
                .state_stored
                .store(serial, Ordering::Release);
        }
        self.work.committable.extend(done.commits);
        for (assignment, ledger) in done.ledgers {
            if let Some(books) = self.work.books.get_mut(&assignment) {
                books.kept(ledger);
            }
        }
        for plugin in self.plugins.iter().filter(|plugin| plugin.state_granted) {
            let name = plugin.versions.plugin();
            self.metrics.state(name, self.store.state_usage_of(name));
        }
        // Otherwise it stays in the outbox, and is sent when the partition comes back to this store.
        if self.lease.ran_out().is_none() {
            for (assignment, emission) in &done.unsent {
                self.send_emission(*assignment, emission);
            }
        }
    }

    /// What did not become durable comes before what has been applied since.
    fn take_back(&mut self, mut settle: Settle, done: UnderWay) {
        let work = &mut self.work;
        settle.append(std::mem::take(&mut work.pending));
        work.pending = settle;
        work.pending_bytes += done.bytes;
        for (lane, serial) in done.serials {
            work.pending_serials.entry(lane).or_insert(serial);
        }
        let since = std::mem::replace(&mut work.unsent, done.unsent);
        work.unsent.extend(since);
        for (assignment, _) in done.commits {
            if let Some(books) = work.books.get_mut(&assignment) {
                books.ask_again();
            }
        }
    }

    fn settle_failed(&mut self, error: &dyn std::fmt::Display) {
        self.work.failing = true;
        self.metrics.settle_failures.inc();
        self.status.set_unable(true);
        self.work.reported = report(self.work.reported, error);
        self.status.set_trouble(Some(error.to_string()));
    }

    fn collect_rows(&mut self) {
        let Work {
            books,
            pending,
            sent,
            ..
        } = &mut self.work;
        for (assignment, number) in sent.drain(..) {
            if let Some(books) = books.get_mut(&assignment) {
                books.outbox.remove(&number);
                let of = &books.assignment;
                pending
                    .acknowledged_emissions
                    .push((of.topic.to_string(), of.partition, number));
            }
        }
        for books in books.values_mut().filter(|books| books.dirty) {
            books.dirty = false;
            // After a failed settle an older row may still be pending; this one takes its place.
            pending.partitions.retain(|(topic, partition, _)| {
                *topic != *books.assignment.topic || *partition != books.assignment.partition
            });
            let (topic, partition) = (
                books.assignment.topic.to_string(),
                books.assignment.partition,
            );
            let plugin = self.plugins[books.assignment.plugin_index]
                .versions
                .plugin();
            for (sum, there) in books.changed_sums(plugin) {
                pending.sums.push((topic.clone(), partition, sum, there));
            }
            pending.partitions.push((topic, partition, books.row()));
        }
    }

    /// What may be committed once everything that has been applied is durable.
    fn commits(&mut self) -> Vec<(u64, Commit)> {
        let now = self.clock.now();
        let with_map = self.commit_map;
        let books = self.work.books.values_mut();
        // What is given up is committed by the one who gives it up, once and last.
        let kept = books.filter(|books| !books.assignment.is_revoked());
        kept.filter_map(|books| {
            let commit = books.next_commit(with_map, now)?;
            #[cfg(feature = "sabotage")]
            let early = crate::sabotage::does("commit-before-settle");
            #[cfg(feature = "sabotage")]
            let commit = match books.assignment.end_offset().filter(|_| early) {
                Some(offset) => Commit { offset, ..commit },
                None => commit,
            };
            Some((books.assignment.id, commit))
        })
        .collect()
    }

    pub(super) fn offer_commits(&mut self, desk: &CommitDesk) {
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        for (assignment, commit) in self.work.committable.drain(..) {
            let books = self.work.books.get(&assignment);
            if books.is_some_and(|books| !books.assignment.is_revoked()) {
                desk.insert(assignment, commit);
            }
        }
    }
}

fn report(reported: Option<Instant>, error: &dyn std::fmt::Display) -> Option<Instant> {
    if reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
        return reported;
    }
    tracing::error!(%error, "nothing can be settled; events wait, and nothing is lost");
    Some(Instant::now())
}
