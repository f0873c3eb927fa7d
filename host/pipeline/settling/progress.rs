//! Says of each partition whether it gets on: one that settles nothing, and why; one that still learns which
//! ids were seen, and how far it is.

use std::collections::HashMap;

use super::super::books::Books;
use super::Settling;
use crate::delivery::progress::Reason;

/// A call that has been running for so long is what its partitions wait for. No deadline is meant to be
/// longer.
const LONG_CALL_MS: u64 = 10_000;

/// Records that the broker has not acknowledged, by the assignment that they keep waiting.
pub(super) type Unacknowledged = HashMap<u64, usize>;

impl Settling {
    /// Takes a look at every partition. What is found is in the metrics and in the status.
    pub(super) fn watch_progress(&mut self) {
        let now = self.clock.now();
        let books = self.work.books.values_mut();
        let idle: Vec<(u64, Option<u64>)> = books
            .map(|books| (books.assignment.id, books.idle_ms(now)))
            .collect();
        self.pauses.refresh();
        let mut notes: Vec<String> = self.rebuild_note().into_iter().collect();
        notes.extend(self.pause_note());
        notes.extend(self.note_outages());
        let stalled = idle.iter().any(|(_, idle_ms)| idle_ms.is_some());
        let unacknowledged = match stalled {
            true => self.unacknowledged(),
            false => Unacknowledged::new(),
        };
        for (id, idle_ms) in idle {
            let Some(books) = self.work.books.get(&id) else {
                continue;
            };
            let stall =
                idle_ms.map(|idle_ms| (idle_ms / 1_000, self.reason(books, &unacknowledged)));
            let of = &books.assignment;
            if let Some((idle_s, (_, why))) = &stall {
                let (topic, partition) = (&of.topic, of.partition);
                notes.push(format!(
                    "{topic}[{partition}] has settled nothing for {idle_s} s: {why}"
                ));
            }
            let reason = stall.as_ref().map(|(_, (reason, _))| *reason);
            let before = books.metrics.stalled();
            if before == reason {
                continue;
            }
            let group = &self.group;
            match &stall {
                Some((idle_s, (reason, why))) => {
                    tracing::warn!(%group, topic = %of.topic, partition = of.partition, idle_s,
                        reason = reason.word(), "a partition settles nothing: {why}");
                }
                None => {
                    tracing::info!(%group, topic = %of.topic, partition = of.partition,
                        "the partition settles again, or has nothing to settle");
                }
            }
            if let Some(books) = self.work.books.get_mut(&id) {
                books.metrics.set_stalled(reason);
            }
        }
        notes.sort_unstable();
        self.status.set_notes(notes);
    }

    /// How many records keep each assignment waiting; only those that do.
    pub(super) fn unacknowledged(&self) -> Unacknowledged {
        let mut by_assignment = Unacknowledged::new();
        for waiting in self.work.waiting.iter().flatten() {
            if waiting.unacknowledged > 0 {
                for assignment in &waiting.settlement.assignments {
                    *by_assignment.entry(assignment.id).or_default() += waiting.unacknowledged;
                }
            }
        }
        by_assignment
    }

    /// What the partition waits for, the cause before what follows from it.
    pub(super) fn reason(
        &self,
        books: &Books,
        unacknowledged: &Unacknowledged,
    ) -> (Reason, String) {
        let of = &books.assignment;
        let now = self.clock.now();
        if self.work.failing {
            let why = "the store or a journal cannot be written";
            return (Reason::Store, why.to_owned());
        }
        if let Some(why) = self.paused(books) {
            return (Reason::Paused, why.to_owned());
        }
        if let Some(unacknowledged) = unacknowledged.get(&of.id) {
            let trouble = self.sending.trouble.as_deref().unwrap_or("no answer");
            let why =
                format!("the broker has not acknowledged {unacknowledged} records ({trouble})");
            return (Reason::Broker, why);
        }
        let lanes = self.plugins[of.plugin_index].lanes.iter();
        let gauges: Vec<_> = lanes.map(|lane| &self.lanes[*lane].gauge).collect();
        let longest_ms = gauges.iter().filter_map(|gauge| gauge.busy_ms(now)).max();
        if let Some(ms) = longest_ms.filter(|ms| *ms >= LONG_CALL_MS) {
            let why = format!("a call of the plugin has been running for {} s", ms / 1_000);
            return (Reason::Plugin, why);
        }
        if self.plugins[of.plugin_index].outage_is_open() {
            let why = "something outside fails for many keys at once; one event at a time probes";
            return (Reason::Breaker, why.to_owned());
        }
        if books.ledger.parked > 0 {
            let due = gauges.iter().filter_map(|gauge| gauge.next_due()).min();
            let in_s = due.map_or(0, |due| due.0.saturating_sub(now.0) / 1_000);
            let why = format!(
                "{} events wait for a retry, or behind one; the next is due in {in_s} s",
                books.ledger.parked
            );
            return (Reason::Parked, why);
        }
        if of.is_paused() {
            let why = "nothing more is fetched, because its lanes have no room";
            return (Reason::Full, why.to_owned());
        }
        let in_flight = books.ledger.in_flight();
        let why = match in_flight {
            0 => "no reason is known, and nothing was read though there is more".to_owned(),
            _ => format!("no reason is known; {in_flight} events are in flight"),
        };
        (Reason::Unknown, why)
    }

    /// Whether an operator has paused a partition, or something of it that waits.
    fn paused(&self, books: &Books) -> Option<&'static str> {
        let of = &books.assignment;
        let source = &self.routing.now.topics[of.source_index() as usize];
        if self
            .pauses
            .hold_partition(of.plugin_index, source, of.partition)
        {
            return Some("an operator has paused it");
        }
        let key = books.ledger.parked > 0 && self.pauses.now().hold_keys_of(source);
        key.then_some("an operator has paused a key of its topic, and events of it wait")
    }

    /// What is paused, where anything is.
    fn pause_note(&self) -> Option<String> {
        let pauses = self.pauses.now().all();
        let words: Vec<&str> = pauses.map(|(target, _)| target.word()).collect();
        (!words.is_empty()).then(|| {
            format!(
                "paused by an operator: {} (/v1/pauses lists them)",
                words.join(", ")
            )
        })
    }

    /// The plugins whose events wait until something outside is well again.
    fn note_outages(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for entry in &self.plugins {
            let (open, plugin) = (entry.outage_is_open(), entry.versions.plugin());
            self.metrics.breaker(plugin, open);
            if open {
                notes.push(format!(
                    "the breaker of plugin {plugin} is open: something outside fails for many keys"
                ));
            }
        }
        notes
    }

    /// How far the group is with learning which ids were seen; none when it is done.
    fn rebuild_note(&mut self) -> Option<String> {
        let (mut remaining, mut total) = (0, 0);
        for books in self.work.books.values_mut() {
            let rebuild = &books.assignment.rebuild;
            books.metrics.rebuild(rebuild.remaining(), rebuild.took());
            if rebuild.take_timed_out() {
                self.metrics.rebuild_timeouts.inc();
            }
            if rebuild.is_running() {
                remaining += rebuild.remaining();
                total += rebuild.total();
            }
        }
        let read = total - remaining;
        (total > 0).then(|| format!("rebuilding dedup: {read} of {total}"))
    }
}
