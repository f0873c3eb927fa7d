//! Taking partitions up: what the store knows is held against what the broker says, and decides where
//! reading begins.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::super::assignment::Assignment;
use super::super::books::Books;
use super::super::messages::{Control, TakenUp};
use super::super::tally_names::TallyNames;
use super::{Settling, drain::Drain};
use crate::config::StartFrom;
use crate::delivery::commit_map;
use crate::delivery::offset_mark::OffsetMark;
use crate::delivery::offsets::{Applied, Offset};
use crate::kafka::consumer::{Offered, StartAt};
use crate::store::{Settle, StoredPartition};

impl Settling {
    pub(in crate::pipeline) fn control(&mut self, control: Control) {
        match control {
            Control::Assign { offered, reply } => self.assign(&offered, &reply),
            Control::Revoke {
                assignments,
                reason,
                lost,
                deadline,
                reply,
            } => {
                self.revoke(Drain::new(assignments, reason, lost, deadline, reply));
            }
            Control::Committed(offsets) => self.committed(offsets),
            Control::CommitFailed(reason) => {
                self.metrics.commit_failures.inc();
                tracing::warn!(group = %self.group, %reason, "a commit was refused; the next one tries again");
                for books in self.work.books.values_mut() {
                    books.ask_again();
                }
            }
            Control::Stop => {}
        }
    }

    fn committed(&mut self, offsets: Vec<(String, i32, Offset)>) {
        self.metrics.commits.inc();
        let mut late = Vec::new();
        for (topic, partition, offset) in offsets {
            let books = self.work.books.values_mut();
            let mut books = books.filter(|books| {
                *books.assignment.topic == *topic && books.assignment.partition == partition
            });
            if let Some(books) = books.next() {
                books.acknowledged = Some(offset);
                books.dirty = true;
            } else {
                late.push((topic, partition, offset));
            }
        }
        self.remember_late(late);
    }

    /// The last commit of a partition is acknowledged after its books were closed. It belongs into the
    /// store all the same: a commit that is found lower later tells that the group was rewound, or the
    /// topic made anew, and that what was settled must run again.
    fn remember_late(&mut self, late: Vec<(String, i32, Offset)>) {
        let mut settle = Settle::default();
        for (topic, partition, offset) in late {
            // One that cannot be read says so when the partition is taken up again.
            let stored = self.store.partition(&topic, partition);
            if let Some(mut row) = stored.ok().and_then(|stored| stored.row) {
                row.acknowledged = Some(offset.0);
                settle.partitions.push((topic, partition, row));
            }
        }
        if settle.is_empty() {
            return;
        }
        if let Err(error) = self.store.settle(&settle) {
            tracing::warn!(group = %self.group, %error,
                "the last commit is not in the store; a group rewound below it would not be noticed");
        }
    }

    fn assign(&mut self, offered: &[Offered], reply: &Sender<TakenUp>) {
        self.routing.refresh();
        let taken_up = offered
            .iter()
            .map(|offered| self.take_up(offered))
            .collect();
        // The polling thread waits for this answer, or the process is ending.
        let _ended = reply.send(taken_up);
    }

    fn take_up(&mut self, offered: &Offered) -> (Arc<Assignment>, StartAt) {
        let stored = self.store.partition(&offered.topic, offered.partition).unwrap_or_else(|error| {
            tracing::error!(%error, "the settle store cannot be read; starting from the commit");
            StoredPartition::default()
        });
        let (applied, stored) = self.reconcile(offered, stored);
        let routing = &self.routing.now;
        let topic_index = routing
            .topics
            .iter()
            .position(|topic| **topic == *offered.topic)
            .unwrap_or(0);
        let start_from = if routing.has_appeared(topic_index) {
            // What came before the host had noticed the topic has arrived since it runs.
            StartFrom::Earliest
        } else {
            self.start_from
        };
        let committed = self.begin_at(offered, start_from, &applied);
        #[cfg(feature = "sabotage")]
        let (committed, applied) = if crate::sabotage::does("forget-commits") {
            (offered.oldest, Applied::default())
        } else {
            (committed, applied)
        };
        let id = self.work.next_assignment;
        self.work.next_assignment += 1;
        let plugin = &self.plugins[routing.plugin_of[topic_index]];
        let stored = only_sums_of(plugin.versions.plugin(), offered, stored);
        let assignment = Assignment::new(
            id,
            (Arc::clone(&routing.topics[topic_index]), topic_index as u32),
            offered.partition,
            routing.plugin_of[topic_index],
            committed,
            applied,
        );
        let names = stored.sums.iter().map(|sum| sum.name.clone());
        let tallies = TallyNames::new(plugin.tallies_max, names);
        let assignment = assignment.retrying(routing.retry_of[topic_index]);
        let assignment = Arc::new(assignment.with_tallies(tallies));
        // Deduplication learns what was seen by reading behind the commit.
        let behind = offered.committed.and(self.dedup_events_max).unwrap_or(0) as i64;
        let start = StartAt(
            (committed.0 - behind)
                .max(offered.oldest.0)
                .min(committed.0),
        );
        assignment.rebuild.begin(Offset(start.0), committed);
        let metrics = self
            .metrics
            .partition(&assignment.topic, assignment.partition);
        let outbox: Vec<_> = stored.outbox.clone();
        let mut books = Books::open(
            Arc::clone(&assignment),
            committed,
            offered.committed,
            (stored.sums, stored.outbox),
            metrics,
            self.clock.instant() + plugin.tick,
            self.clock.now(),
        );
        books.mark = mark_of(offered).map(|mark| mark.id);
        self.work.books.insert(id, books);
        for emission in outbox {
            self.send_emission(id, &emission);
        }
        tracing::info!(group = %self.group, topic = %offered.topic, partition = offered.partition,
            committed = offered.committed.map(|offset| offset.0), "partition assigned");
        (assignment, start)
    }

    /// Where the group goes on. Without a commit it begins at the oldest record or after the newest.
    fn begin_at(&self, offered: &Offered, start_from: StartFrom, applied: &Applied) -> Offset {
        let place = || (offered.topic.clone(), offered.partition);
        match (offered.committed, start_from) {
            (Some(committed), _) if committed > offered.newest => {
                tracing::error!(place = ?place(), %committed, newest = %offered.newest,
                    "the commit lies beyond the end of the partition: its topic was made anew, or lost records; \
                     it is read from its start");
                offered.oldest
            }
            (Some(committed), _) if committed < offered.oldest => {
                let lost = offered.oldest.0 - committed.0;
                tracing::error!(place = ?place(), %committed, oldest = %offered.oldest, lost,
                    "records were deleted before the group had read them");
                self.metrics.lost_records.inc_by(lost as u64);
                offered.oldest
            }
            (Some(committed), _) => committed,
            (None, StartFrom::Earliest) => offered.oldest,
            (None, StartFrom::Latest) => applied.below.unwrap_or(offered.newest),
        }
    }

    /// What was settled above the commit: what the store knows of it, and what the commit itself says.
    fn reconcile(&self, offered: &Offered, stored: StoredPartition) -> (Applied, StoredPartition) {
        let row_mark = stored.row.as_ref().and_then(|row| row.taken_up_at_mark);
        if let Some(mark) = mark_of(offered).filter(|mark| row_mark != Some(mark.id)) {
            return (Applied::default(), self.begin_anew(offered, mark, stored));
        }
        let (applied, stored) = self.still_true(offered, stored);
        let Some(committed) = offered.committed.filter(|_| self.commit_map) else {
            return (applied, stored);
        };
        // Whoever rewinds a group writes a commit of his own, which claims nothing above it.
        let ranges = commit_map::decode(committed, &offered.metadata);
        if ranges.is_empty() {
            return (applied, stored);
        }
        let said = Applied {
            below: None,
            ranges,
        };
        (applied.union(&said), stored)
    }

    /// An operator has set the group's offset since the store heard of the partition: every event from there on is new,
    /// whatever was settled of it before. Answers what the store goes on with.
    fn begin_anew(
        &self,
        offered: &Offered,
        mark: OffsetMark,
        mut stored: StoredPartition,
    ) -> StoredPartition {
        if stored != StoredPartition::default() {
            tracing::warn!(topic = %offered.topic, partition = offered.partition,
                committed = ?offered.committed, forget_state = mark.forget_state,
                "an operator has set the offset of the group; what was settled beyond it is forgotten");
            self.metrics.rewinds.inc();
        }
        stored.row = None;
        if !mark.forget_state {
            return stored;
        }
        if let Err(error) = self.store.forget(&offered.topic, offered.partition) {
            tracing::error!(%error, "the state that should be forgotten could not be removed");
        }
        StoredPartition::default()
    }

    /// Whether what the store knows is still true. The broker decides: a commit that is lower than the
    /// last one it acknowledged, or gone, means that someone rewound the group; one beyond everything
    /// settled here means that another host went on.
    fn still_true(&self, offered: &Offered, stored: StoredPartition) -> (Applied, StoredPartition) {
        let place = || (offered.topic.clone(), offered.partition);
        let Some(row) = stored.row.as_ref() else {
            return (Applied::default(), stored);
        };
        let applied = row.applied();
        let acknowledged = row.acknowledged.map(Offset);
        let rewound = acknowledged.is_some_and(|acknowledged| {
            offered
                .committed
                .is_none_or(|committed| committed < acknowledged)
        });
        // A partition that ends before what was settled of it is not the one that it was.
        let made_anew = applied.end().max(acknowledged) > Some(offered.newest);
        if rewound || made_anew {
            tracing::warn!(place = ?place(), committed = ?offered.committed, ?acknowledged,
                "the group was rewound, or its topic made anew; what was settled beyond its commit is forgotten");
            self.metrics.rewinds.inc();
            return (Applied::default(), stored);
        }
        let passed = offered.committed.is_some_and(|committed| {
            applied
                .end()
                .max(acknowledged)
                .is_none_or(|end| committed > end)
        });
        if passed {
            let lost = stored.sums.len();
            tracing::warn!(place = ?place(), committed = ?offered.committed, settled = ?applied.end(),
                sums_lost = lost, unsent_emissions = stored.outbox.len(),
                "another host went on with this partition; the store's rows of it are set aside");
            self.metrics.stale_stores.inc();
            if let Err(error) = self.store.forget(&offered.topic, offered.partition) {
                tracing::error!(%error, "the stale rows could not be removed");
            }
            return (Applied::default(), StoredPartition::default());
        }
        (applied, stored)
    }
}

/// What an operator has left in the commit.
fn mark_of(offered: &Offered) -> Option<OffsetMark> {
    OffsetMark::decode(offered.committed?, &offered.metadata)
}

/// Without the sums of another plugin, which the topic was routed to before.
fn only_sums_of(plugin: &str, offered: &Offered, mut stored: StoredPartition) -> StoredPartition {
    let sums = stored.sums.len();
    stored.sums.retain(|sum| sum.plugin == plugin);
    if stored.sums.len() < sums {
        tracing::warn!(topic = %offered.topic, partition = offered.partition,
            sums = sums - stored.sums.len(),
            "the store has sums of a plugin that this topic is no longer routed to; they stay there");
    }
    stored
}
