//! What a group shows of itself at one moment: its partitions, its lanes, and what became of its events. The settling
//! thread draws it a few times a second from what it keeps anyway; whoever asks reads the last one and holds up nobody.
//! It must not know who asks.

use std::sync::Arc;

use crate::delivery::behind::Behind;
use crate::delivery::ledger::Ledger;
use crate::delivery::offsets::Offset;
use crate::delivery::pace::Speed;
use crate::delivery::progress::Reason;

/// Between two views, in milliseconds. People see no difference below, and a group with a thousand partitions takes
/// well under a millisecond for one.
pub(super) const VIEW_EVERY_MS: u64 = 250;

/// A group at one moment.
#[derive(Debug, Clone, Default)]
pub struct GroupView {
    /// When it was drawn, in milliseconds since the Unix epoch; 0 before the first.
    pub at_ms: u64,
    /// The partitions that are assigned, by topic and number.
    pub partitions: Vec<PartitionView>,
    /// What became of the events of each topic since the group started, partitions that were given up included.
    pub topics: Vec<TopicView>,
    /// The plugins of the group.
    pub plugins: Vec<PluginView>,
    /// The lanes, those of one plugin together.
    pub lanes: Vec<LaneView>,
}

/// One assigned partition.
#[derive(Debug, Clone)]
pub struct PartitionView {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// The plugin of its events.
    pub plugin: Arc<str>,
    /// Whether it is one of a retry topic.
    pub retries: bool,
    /// What became of its events since it was assigned. As in the metrics, an event has left once that is durable.
    pub ledger: Ledger,
    /// Everything below is settled.
    pub position: Offset,
    /// What the broker has acknowledged as committed; none before that.
    pub committed: Option<Offset>,
    /// The offset after the newest record; none before the first fetch.
    pub end: Option<Offset>,
    /// How far it is behind; none before the first fetch.
    pub behind: Option<Behind>,
    /// How fast it gets on; none before two looks.
    pub speed: Option<Speed>,
    /// Whether nothing more is fetched, because its lanes have no room.
    pub paused: bool,
    /// Records that are still to be read again so that repeated ids are recognised, and of how many.
    pub rebuild: Option<(i64, i64)>,
    /// What it waits for; none while it gets on, or has nothing to do.
    pub waits: Option<Waits>,
}

/// What a partition waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// For how long nothing has settled, in milliseconds.
    pub for_ms: u64,
    /// The kind of reason.
    pub reason: Reason,
    /// The reason, for a person.
    pub why: String,
    /// Whether that is longer than any wait that is meant to be.
    pub stuck: bool,
}

/// What became of the events of one topic.
#[derive(Debug, Clone)]
pub struct TopicView {
    /// The topic.
    pub topic: Arc<str>,
    /// The plugin of its events.
    pub plugin: Arc<str>,
    /// The sums.
    pub ledger: Ledger,
}

/// One plugin in the group.
#[derive(Debug, Clone)]
pub struct PluginView {
    /// Its name.
    pub plugin: Arc<str>,
    /// Whether its events wait until something outside is well again.
    pub breaker_open: bool,
}

/// One lane.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// Its plugin.
    pub plugin: Arc<str>,
    /// Its number in the group.
    pub lane: usize,
    /// How long the call that runs has been running, in milliseconds; none where none runs.
    pub busy_ms: Option<u64>,
    /// Events of the next batch at most.
    pub batch_events_max: usize,
    /// Events and bytes that it holds back, copies from a retry topic included.
    pub parked: (usize, usize),
    /// In how many milliseconds the next of them is due; none where there are none.
    pub next_due_in_ms: Option<u64>,
}
