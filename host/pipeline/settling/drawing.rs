//! Draws what the group shows of itself, from the books and from what the lanes show. Nothing of an event's path is
//! here: it runs with the settle, and a few times a second at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::books::Books;
use super::super::view::{
    GroupView, LaneView, PartitionView, PluginView, TopicView, VIEW_EVERY_MS, Waits,
};
use super::Settling;
use super::progress::Unacknowledged;
use crate::delivery::ledger::Ledger;
use crate::delivery::progress::{Reason, STALLED_AFTER_MS};
use crate::delivery::retry::Millis;

/// A partition that has settled nothing for so long says what it waits for. Ordinary calls and settles are quicker.
const WAITS_AFTER_MS: u64 = 1_000;

impl Settling {
    /// Draws the group, where the last view is old enough.
    pub(super) fn draw(&mut self) {
        let now = self.clock.now();
        if self
            .work
            .drawn
            .is_some_and(|at| now < at.after(VIEW_EVERY_MS))
        {
            return;
        }
        self.work.drawn = Some(now);
        let plugins: Vec<Arc<str>> = self
            .plugins
            .iter()
            .map(|plugin| plugin.versions.plugin().into())
            .collect();
        let unacknowledged = self.unacknowledged();
        let books = self.work.books.values();
        let mut partitions: Vec<_> = books
            .map(|books| PartitionView {
                waits: self.waits(books, &unacknowledged, now),
                ..partition(books, &plugins)
            })
            .collect();
        partitions.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        self.status.set_view(GroupView {
            at_ms: self.clock.wall_ms(),
            topics: self.topics(&partitions, &plugins),
            partitions,
            lanes: self.lanes_shown(&plugins, now),
            plugins: self
                .plugins
                .iter()
                .zip(&plugins)
                .map(|(entry, plugin)| PluginView {
                    plugin: Arc::clone(plugin),
                    breaker_open: entry.outage_is_open(),
                })
                .collect(),
        });
    }

    /// What a partition waits for. Between two settles there is no reason to be known, so that none is said until
    /// that is too long.
    fn waits(&self, books: &Books, unacknowledged: &Unacknowledged, now: Millis) -> Option<Waits> {
        let for_ms = books.waits_ms(now);
        if for_ms < WAITS_AFTER_MS {
            return None;
        }
        let (reason, why) = self.reason(books, unacknowledged);
        let stuck = for_ms >= STALLED_AFTER_MS;
        (stuck || reason != Reason::Unknown).then_some(Waits {
            for_ms,
            reason,
            why,
            stuck,
        })
    }

    /// Sums by topic, over partitions that are here and those that were.
    fn topics(&self, partitions: &[PartitionView], plugins: &[Arc<str>]) -> Vec<TopicView> {
        let mut sums: BTreeMap<&Arc<str>, (Option<&Arc<str>>, Ledger)> = BTreeMap::new();
        for ((topic, _), ledger) in &self.work.totals {
            sums.entry(topic).or_default().1.add(ledger);
        }
        for partition in partitions {
            let (plugin, sum) = sums.entry(&partition.topic).or_default();
            *plugin = Some(&partition.plugin);
            sum.add(&partition.ledger);
        }
        let routing = &self.routing.now;
        let routed = |topic: &Arc<str>| {
            let at = routing.topics.iter().position(|known| known == topic)?;
            plugins.get(*routing.plugin_of.get(at)?)
        };
        let sums = sums.into_iter().filter_map(|(topic, (plugin, ledger))| {
            Some(TopicView {
                topic: Arc::clone(topic),
                plugin: Arc::clone(plugin.or_else(|| routed(topic))?),
                ledger,
            })
        });
        sums.collect()
    }

    fn lanes_shown(&self, plugins: &[Arc<str>], now: Millis) -> Vec<LaneView> {
        let lanes = self.lanes.iter().enumerate();
        let lanes = lanes.map(|(index, lane)| {
            let gauge = &lane.gauge;
            let (parked, copies) = (gauge.parked(), gauge.copies());
            let due = gauge.next_due();
            LaneView {
                plugin: Arc::clone(&plugins[lane.plugin_index]),
                lane: index,
                busy_ms: gauge.busy_ms(now),
                batch_events_max: gauge.events_limit(),
                parked: (parked.0 + copies.0, parked.1 + copies.1),
                next_due_in_ms: due.map(|due| due.0.saturating_sub(now.0)),
            }
        });
        lanes.collect()
    }
}

fn partition(books: &Books, plugins: &[Arc<str>]) -> PartitionView {
    let of = &books.assignment;
    let rebuild = &of.rebuild;
    PartitionView {
        topic: Arc::clone(&of.topic),
        partition: of.partition,
        plugin: Arc::clone(&plugins[of.plugin_index]),
        retries: of.retry_of.is_some(),
        ledger: *books.metrics.published(),
        position: books.tracker.position(),
        committed: books.acknowledged,
        end: of.end_offset(),
        behind: books.last_behind,
        speed: books.pace.speed(),
        paused: of.is_paused(),
        rebuild: rebuild
            .is_running()
            .then(|| (rebuild.remaining(), rebuild.total())),
        waits: None,
    }
}
