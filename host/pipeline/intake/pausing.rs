//! When partitions have to wait, and when they go on. A pause throws away what was prefetched, so there is
//! room between the mark at which they pause and the one at which they go on.

use std::sync::Arc;

use super::super::assignment::Assignment;
use super::super::lane::PRESSED_QUARTERS;
use super::super::outage::Outage;
use super::super::outside::Source;
use super::Intake;

/// How many quarters of the budget for what is held back are taken when partitions pause, and when they go on.
struct Marks {
    pause: usize,
    resume: usize,
}

/// A lane evicts down to three quarters, so partitions that wait for that go on there.
const MARKS: Marks = Marks {
    pause: 4,
    resume: PRESSED_QUARTERS,
};

/// During an outage there is no hurry to read on, only enough to probe with different keys.
const OUTAGE_MARKS: Marks = Marks {
    pause: 2,
    resume: 1,
};

/// Copies that wait for their time leave room for what fails meanwhile.
const COPIES_MARKS: Marks = Marks {
    pause: 2,
    resume: 1,
};

impl Intake {
    pub(super) fn pause(&mut self, plugin_at: usize, consumer: &impl Source) {
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

    fn resume(&self, plugin_at: usize, consumer: &impl Source) {
        let copies_paused = self.plugins[plugin_at].copies_paused;
        let flows = |assignment: &Assignment| !copies_paused || assignment.retry_of.is_none();
        self.note_paused(plugin_at, flows, false);
        resume(consumer, &self.partitions_of(plugin_at, flows));
    }

    /// Pauses plugins that hold back too much, and resumes those that have room again.
    pub(crate) fn regulate(&mut self, consumer: &impl Source) {
        self.obey_operator(consumer);
        for at in 0..self.plugins.len() {
            // A pause since the rebalance has paused all partitions anew, and stands.
            if std::mem::take(&mut self.plugins[at].resume_due) && !self.plugins[at].paused {
                self.resume(at, consumer);
            }
            let open = self.plugins[at]
                .outage
                .as_deref()
                .is_some_and(Outage::is_open);
            let marks = if open { OUTAGE_MARKS } else { MARKS };
            if !self.plugins[at].paused && !self.parked_within(at, marks.pause) {
                self.pause(at, consumer);
            } else if self.plugins[at].paused {
                self.hand_over_what_waited(at);
                let lanes = &self.plugins[at].lanes;
                let room = lanes
                    .iter()
                    .all(|lane| lane.inbox.is_empty() && lane.open.is_empty());
                if room && self.parked_within(at, marks.resume) {
                    self.plugins[at].paused = false;
                    self.resume(at, consumer);
                }
            }
            self.regulate_copies(at, consumer);
        }
    }

    /// Stops fetching whole partitions that an operator has paused, and fetches those again that are not any more. What
    /// has been read of them is held back in the lanes.
    fn obey_operator(&mut self, consumer: &impl Source) {
        if !self.pauses.refresh() && !std::mem::take(&mut self.pauses_due) {
            return;
        }
        let (mut stop, mut go_on) = (Vec::new(), Vec::new());
        for local in &mut self.locals {
            let assignment = &local.assignment;
            let source = &self.routing.now.topics[assignment.source_index() as usize];
            let (plugin, partition) = (assignment.plugin_index, assignment.partition);
            let mut stopped = self.pauses.hold_partition(plugin, source, partition);
            if stopped && assignment.rebuild.is_running() {
                // Deduplication would end up with less than its window; nothing of that is run.
                self.pauses_due = true;
                stopped = false;
            }
            if std::mem::replace(&mut local.stopped, stopped) == stopped {
                continue;
            }
            let plugin = &self.plugins[plugin];
            let waits = plugin.paused || plugin.copies_paused && assignment.retry_of.is_some();
            match stopped {
                true => stop.push((assignment.topic.to_string(), partition)),
                false if waits => {}
                false => go_on.push((assignment.topic.to_string(), partition)),
            }
        }
        let stopped = self.locals.iter().filter(|local| local.stopped);
        self.pauses
            .stop(stopped.map(|local| Arc::clone(&local.assignment)).collect());
        if !stop.is_empty() {
            pause(consumer, &stop);
        }
        if !go_on.is_empty() {
            resume(consumer, &go_on);
        }
    }

    /// Retry topics are read ahead only so far that what waits for its time leaves room for what fails
    /// meanwhile.
    fn regulate_copies(&mut self, at: usize, consumer: &impl Source) {
        let is_copy = |assignment: &Assignment| assignment.retry_of.is_some();
        let plugin = &self.plugins[at];
        if !plugin.copies_paused && !self.copies_within(at, COPIES_MARKS.pause) {
            self.plugins[at].copies_paused = true;
            self.note_paused(at, is_copy, true);
            pause(consumer, &self.partitions_of(at, is_copy));
        } else if plugin.copies_paused && self.copies_within(at, COPIES_MARKS.resume) {
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
                lane.try_hand_over(&self.routing.now.table);
            }
        }
    }

    /// Whether every lane holds back at most so many quarters of its budget.
    fn parked_within(&self, at: usize, quarters: usize) -> bool {
        let mut lanes = self.plugins[at].lanes.iter();
        lanes.all(|lane| self.within_budget(lane.gauge.parked(), quarters))
    }

    fn copies_within(&self, at: usize, quarters: usize) -> bool {
        let mut lanes = self.plugins[at].lanes.iter();
        lanes.all(|lane| self.within_budget(lane.gauge.copies(), quarters))
    }

    fn within_budget(&self, (events, bytes): (usize, usize), quarters: usize) -> bool {
        let (events_max, bytes_max) = self.park_budget;
        events * 4 <= events_max * quarters && bytes * 4 <= bytes_max * quarters
    }

    /// Without those that an operator has paused, which stay so.
    fn partitions_of(
        &self,
        plugin_at: usize,
        which: impl Fn(&Assignment) -> bool,
    ) -> Vec<(String, i32)> {
        let locals = self.locals.iter().filter(|local| !local.stopped);
        let assignments = locals.map(|local| &local.assignment);
        assignments
            .filter(|assignment| assignment.plugin_index == plugin_at && which(assignment))
            .map(|assignment| (assignment.topic.to_string(), assignment.partition))
            .collect()
    }
}

fn pause(consumer: &impl Source, partitions: &[(String, i32)]) {
    if let Err(error) = consumer.pause(partitions) {
        tracing::debug!(%error, "some partitions could not be paused");
    }
}

fn resume(consumer: &impl Source, partitions: &[(String, i32)]) {
    if let Err(error) = consumer.resume(partitions) {
        tracing::debug!(%error, "some partitions could not be resumed");
    }
}
