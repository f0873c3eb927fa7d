//! Making durable what has been applied: journals first, then one transaction of the store, then the offsets
//! are offered for commit.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{CommitDesk, Settling, Work};
use crate::store::Settle;

/// How often a failed write of the store or a journal is reported. It is tried again at every commit.
const REPORT_EVERY: Duration = Duration::from_secs(5);

impl Settling {
    pub(super) fn append_journal(&mut self, plugin_index: usize, lines: &[u8]) {
        if let Some(journal) = self.plugins[plugin_index].journal.as_mut() {
            journal.append(lines);
        }
    }

    /// Makes everything that has been applied durable.
    pub(super) fn settle(&mut self) {
        let now_ms = self.clock.wall_ms();
        for entry in &mut self.plugins {
            let Some(journal) = entry.journal.as_mut() else {
                continue;
            };
            match journal.sync(now_ms) {
                Ok(Some(position)) => {
                    let name = entry.versions.plugin().to_owned();
                    self.work
                        .pending
                        .journals
                        .retain(|(plugin, _)| *plugin != name);
                    self.work.pending.journals.push((name, position));
                }
                Ok(None) => {}
                Err(error) => {
                    self.settle_failed(&error);
                    return;
                }
            }
        }
        self.collect_rows();
        self.sweep_state();
        if !self.work.pending.is_empty() {
            if let Err(error) = self.store.settle(&self.work.pending) {
                self.settle_failed(&error);
                return;
            }
            self.work.pending = Settle::default();
            self.work.pending_bytes = 0;
        }
        self.work.failing = false;
        self.status.set_unable(false);
        self.status.set_trouble(self.sending.trouble.clone());
        for (lane, serial) in self.work.pending_serials.drain() {
            self.lanes[lane]
                .state_stored
                .store(serial, Ordering::Release);
        }
        for books in self.work.books.values_mut() {
            books.dirty = false;
        }
        for plugin in self.plugins.iter().filter(|plugin| plugin.state_granted) {
            let name = plugin.versions.plugin();
            self.metrics.state(name, self.store.state_usage_of(name));
        }
        let thought_lost = self.lease.ran_out().is_some();
        for (assignment, emission) in std::mem::take(&mut self.work.unsent) {
            let books = self.work.books.get(&assignment);
            // It stays in the outbox, and is sent when the partition comes back to this store.
            if thought_lost || books.is_none_or(|books| books.assignment.is_lost()) {
                continue;
            }
            self.send_emission(assignment, &emission);
        }
    }

    /// Removes a bounded part of the state whose time has run out, with the settle that is about to be written.
    fn sweep_state(&mut self) {
        if self.work.failing {
            return;
        }
        match self.store.expired_state(self.clock.wall_ms()) {
            Ok(expired) => self.work.pending.expired = expired,
            // The settle itself says so, where it cannot be written either.
            Err(error) => {
                tracing::warn!(group = %self.group, %error, "expired state stays for now")
            }
        }
    }

    pub(super) fn settle_failed(&mut self, error: &dyn std::fmt::Display) {
        self.work.failing = true;
        self.metrics.settle_failures.inc();
        self.status.set_unable(true);
        self.work.reported = report(self.work.reported, error);
        self.status.set_trouble(Some(error.to_string()));
    }

    pub(super) fn collect_rows(&mut self) {
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

    pub(super) fn offer_commits(&mut self, desk: &CommitDesk) {
        if self.work.failing {
            return;
        }
        let now = self.clock.now();
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        for books in self.work.books.values_mut() {
            // What is given up is committed by the one who gives it up, once and last.
            if books.dirty || books.assignment.is_revoked() {
                continue;
            }
            if let Some(commit) = books.next_commit(self.commit_map, now) {
                #[cfg(feature = "sabotage")]
                let early = crate::sabotage::does("commit-before-settle");
                #[cfg(feature = "sabotage")]
                let commit = match books.assignment.end_offset().filter(|_| early) {
                    Some(offset) => crate::kafka::consumer::Commit { offset, ..commit },
                    None => commit,
                };
                desk.insert(books.assignment.id, commit);
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
