//! When partitions have to wait, and when they go on. A pause throws away what was prefetched, so there is
//! room between the mark at which they pause and the one at which they go on.

use super::super::assignment::Assignment;
use super::super::member::Member;
use super::super::outage::Outage;
use super::Intake;
use crate::kafka::consumer::GroupConsumer;

impl Intake {
    pub(super) fn pause(&mut self, plugin_at: usize, consumer: &GroupConsumer<Member>) {
        self.plugins[plugin_at].paused = true;
        self.note_paused(plugin_at, |_| true, true);
        pause(consumer, &self.partitions_of(plugin_at, |_| true));
    }

    /// For the question why a partition does not get on.
    fn note_paused(&self, plugin_at: usize, which: impl Fn(&Assignment) -> bool, paused: bool) {
        let assignments = self.locals.iter().map(|local| &local.assignment);
        for of in assignments.filter(|of| of.plugin_index == plugin_at && which(of)) {
            of.set_paused(paused);
        }
    }

    fn resume(&self, plugin_at: usize, consumer: &GroupConsumer<Member>) {
        let copies_paused = self.plugins[plugin_at].copies_paused;
        let flows = |assignment: &Assignment| !copies_paused || assignment.retry_of.is_none();
        self.note_paused(plugin_at, flows, false);
        resume(consumer, &self.partitions_of(plugin_at, flows));
    }

    /// Pauses plugins that hold back too much, and resumes those that have room again.
    pub(crate) fn regulate(&mut self, consumer: &GroupConsumer<Member>) {
        for at in 0..self.plugins.len() {
            if std::mem::take(&mut self.plugins[at].resume_due) {
                self.resume(at, consumer);
            }
            // During an outage there is no hurry to read on, only enough to probe with different keys.
            let open = self.plugins[at]
                .outage
                .as_deref()
                .is_some_and(Outage::is_open);
            let share = if open { 2 } else { 1 };
            if !self.plugins[at].paused && !self.parked_within(at, share) {
                self.pause(at, consumer);
            } else if self.plugins[at].paused {
                self.hand_over_what_waited(at);
                let lanes = &self.plugins[at].lanes;
                let room = lanes
                    .iter()
                    .all(|lane| lane.inbox.is_empty() && lane.open.is_empty());
                if room && self.parked_within(at, 2 * share) {
                    self.plugins[at].paused = false;
                    self.resume(at, consumer);
                }
            }
            self.regulate_copies(at, consumer);
        }
    }

    /// Retry topics are read ahead only so far that what waits for its time leaves room for what fails
    /// meanwhile.
    fn regulate_copies(&mut self, at: usize, consumer: &GroupConsumer<Member>) {
        let is_copy = |assignment: &Assignment| assignment.retry_of.is_some();
        let plugin = &self.plugins[at];
        if !plugin.copies_paused && !self.copies_within(at, 2) {
            self.plugins[at].copies_paused = true;
            self.note_paused(at, is_copy, true);
            pause(consumer, &self.partitions_of(at, is_copy));
        } else if plugin.copies_paused && self.copies_within(at, 4) {
            self.plugins[at].copies_paused = false;
            if !self.plugins[at].paused {
                self.note_paused(at, is_copy, false);
                resume(consumer, &self.partitions_of(at, is_copy));
            }
        }
    }

    fn hand_over_what_waited(&mut self, at: usize) {
        for lane in &mut self.plugins[at].lanes {
            if !lane.open.is_empty() && lane.inbox.is_empty() {
                lane.try_hand_over(&self.topic_table);
            }
        }
    }

    /// Whether every lane holds back at most this share of its budget: 2 is a half.
    fn parked_within(&self, at: usize, share: usize) -> bool {
        let mut lanes = self.plugins[at].lanes.iter();
        lanes.all(|lane| self.within_budget(lane.gauge.parked(), share))
    }

    fn copies_within(&self, at: usize, share: usize) -> bool {
        let mut lanes = self.plugins[at].lanes.iter();
        lanes.all(|lane| self.within_budget(lane.gauge.copies(), share))
    }

    fn within_budget(&self, (events, bytes): (usize, usize), share: usize) -> bool {
        let (events_max, bytes_max) = self.park_budget;
        events * share <= events_max && bytes * share <= bytes_max
    }

    fn partitions_of(
        &self,
        plugin_at: usize,
        which: impl Fn(&Assignment) -> bool,
    ) -> Vec<(String, i32)> {
        let assignments = self.locals.iter().map(|local| &local.assignment);
        assignments
            .filter(|assignment| assignment.plugin_index == plugin_at && which(assignment))
            .map(|assignment| (assignment.topic.to_string(), assignment.partition))
            .collect()
    }
}

fn pause(consumer: &GroupConsumer<Member>, partitions: &[(String, i32)]) {
    if let Err(error) = consumer.pause(partitions) {
        tracing::debug!(%error, "some partitions could not be paused");
    }
}

fn resume(consumer: &GroupConsumer<Member>, partitions: &[(String, i32)]) {
    if let Err(error) = consumer.resume(partitions) {
        tracing::debug!(%error, "some partitions could not be resumed");
    }
}
