//! The polling thread's own side: which assignment a record belongs to, which lane it goes to, and when
//! a partition has to wait.

mod copies;
mod pausing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};
use xxhash_rust::xxh3::xxh3_64;

use super::assignment::Assignment;
use super::batch::{Batch, EventKind, Place, pack_header};
use super::clock::Clock;
use super::identity::id_of;
use super::lane::{BATCH_BYTES_MAX, LaneGauge};
use super::member::Member;
use super::outage::Outage;
use super::outside::{Arrival, Source};
use super::pauses::PauseView;
use super::routing::RoutingView;
use super::start::Ends;
use super::status::GroupStatus;
use crate::config;
use crate::delivery::lanes::{OrderBy, OrderGroup};
use crate::delivery::offsets::Offset;

/// Sealed batches that wait for a lane. One is being worked on, one is ready and one is being filled:
/// more would only add delay.
pub(crate) const LANE_QUEUE_BATCHES: usize = 2;

/// While a lane's current call is younger than this, waiting for it is cheaper than pausing: a pause
/// throws away what was prefetched. A call older than this may be stuck until its deadline, and then the
/// other plugins of the group must not wait with it.
const PATIENCE_MS: u64 = 40;

/// One lane, as the polling thread reaches it.
#[derive(Debug)]
pub(crate) struct IntakeLane {
    pub(crate) inbox: Sender<Batch>,
    pub(crate) spent: Receiver<Batch>,
    pub(crate) gauge: Arc<LaneGauge>,
    pub(crate) open: Batch,
}

/// The lanes of one plugin.
#[derive(Debug)]
pub(crate) struct IntakePlugin {
    pub(crate) lanes: Vec<IntakeLane>,
    pub(crate) paused: bool,
    /// Whether its retry topics wait, because enough of them has been read ahead.
    pub(crate) copies_paused: bool,
    pub(crate) outage: Option<Arc<Outage>>,
    /// Whether partitions may be paused that should not be.
    pub(crate) resume_due: bool,
}

/// An assignment as the polling thread counts it.
#[derive(Debug)]
struct Local {
    assignment: Arc<Assignment>,
    topic_token: usize,
    hash: u64,
    next_seq: u64,
    last_offset: Offset,
    /// Nothing from here on is taken.
    end: Offset,
    /// Of the record there, in milliseconds since the Unix epoch.
    last_time_ms: Option<i64>,
    /// Whether nothing of it is fetched because an operator has paused it.
    stopped: bool,
}

/// The polling thread's tables.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) plugins: Vec<IntakePlugin>,
    pub(crate) routing: RoutingView,
    pauses: PauseView,
    /// Whether partitions may be fetched that are paused.
    pauses_due: bool,
    pub(crate) order_by: OrderBy,
    pub(crate) dedup: Option<config::Dedup>,
    pub(crate) park_budget: (usize, usize),
    pub(crate) clock: Clock,
    pub(crate) status: Arc<GroupStatus>,
    locals: Vec<Local>,
    /// Place of the last record's assignment; records of one partition come in long runs.
    last: usize,
    generation: u64,
    began: bool,
    /// Where partitions end before their topic does.
    ends: Ends,
}

impl Intake {
    pub(crate) fn new(
        plugins: Vec<IntakePlugin>,
        (routing, pauses): (RoutingView, PauseView),
        order_by: OrderBy,
        dedup: Option<config::Dedup>,
        park_budget: (usize, usize),
        clock: Clock,
        status: Arc<GroupStatus>,
    ) -> Self {
        Self {
            plugins,
            routing,
            pauses,
            pauses_due: true,
            order_by,
            dedup,
            park_budget,
            clock,
            status,
            locals: Vec::new(),
            last: 0,
            generation: 0,
            began: false,
            ends: Ends::new(),
        }
    }

    /// The same, that takes nothing from these offsets on.
    pub(crate) fn ending_at(mut self, ends: &Ends) -> Self {
        self.ends.clone_from(ends);
        self
    }

    /// Takes one record into the open batch of its lane.
    #[inline]
    pub(crate) fn take(&mut self, record: &impl Arrival, consumer: &impl Source) {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::does("silent-partition") && record.partition() == 1 {
            return;
        }
        let Some(at) = self.local(record, consumer.membership()) else {
            return;
        };
        let local = &mut self.locals[at];
        let offset = record.offset();
        // After a resume librdkafka has been seen to begin again at an older position.
        if offset <= local.last_offset {
            return;
        }
        if offset >= local.end {
            self.stop_at_end(at, consumer);
            return;
        }
        let time_ms = record.timestamp_ms();
        local.last_time_ms = time_ms;
        let first = std::mem::replace(&mut local.last_offset, offset).0 < 0;
        let assignment = &local.assignment;
        if first {
            // From the first record on, so that the age of a backlog is known as soon as it is read.
            assignment.note_read(offset, time_ms);
        }
        let kind = kind_of(assignment, offset);
        let seq = local.next_seq;
        if kind != EventKind::Seen {
            local.next_seq += 1;
            assignment.set_polled(local.next_seq);
            if !self.began {
                self.began = true;
                self.status.began_at(self.clock.wall_ms());
            }
        }
        if assignment.retry_of.is_some() {
            self.take_copy(at, record, (kind, seq), consumer);
            return;
        }
        let group = match self.order_by {
            OrderBy::Partition => OrderGroup::new(local.hash, None),
            OrderBy::Key => OrderGroup::new(local.hash, record.key().map(xxh3_64)),
            // The id takes its place below, where there is one.
            OrderBy::Id => OrderGroup::new(local.hash, Some(xxh3_64(&offset.0.to_le_bytes()))),
        };
        let group = match (&self.dedup, self.order_by) {
            (Some(dedup), OrderBy::Id) => id_group(record, assignment, dedup, group),
            _ => group,
        };
        let plugin_at = assignment.plugin_index;
        let lanes = &mut self.plugins[plugin_at].lanes;
        let lane_at = group.lane(lanes.len());
        let lane = &mut lanes[lane_at];
        lane.open.push(
            assignment,
            (kind, seq, offset, group),
            Place {
                topic_index: assignment.topic_index,
                partition: assignment.partition,
                offset,
                timestamp_ms: time_ms,
                attempt: 1,
            },
            (record.key(), record.value()),
            |bytes| record.for_each_header(|name, value| pack_header(bytes, name, value)),
        );
        if let Some(dedup) = &self.dedup {
            lane.open.identify_last(&dedup.id);
        }
        if lane.is_full() {
            self.hand_over(plugin_at, lane_at, consumer);
        }
    }

    /// A partition that ends before its topic has been read to its end. It may be resumed together with others, and then
    /// its next record stops it again.
    #[cold]
    fn stop_at_end(&self, at: usize, consumer: &impl Source) {
        let of = &self.locals[at].assignment;
        if let Err(error) = consumer.pause(&[(of.topic.to_string(), of.partition)]) {
            tracing::debug!(%error, "a partition that is read to its end goes on");
        }
    }

    /// Seals what has been collected for lanes that have nothing else to do. Says whether anything is
    /// still open.
    pub(crate) fn seal_for_idle_lanes(&mut self) -> bool {
        let mut open = false;
        for lane in self.plugins.iter_mut().flat_map(|plugin| &mut plugin.lanes) {
            if !lane.open.is_empty() {
                if lane.inbox.is_empty() {
                    lane.try_hand_over(&self.routing.now.table);
                }
                open |= !lane.open.is_empty();
            }
        }
        open
    }

    /// Gives a full batch to its lane. Where the lane has no room, waits as long as its current call is
    /// young, and then pauses the plugin's partitions.
    fn hand_over(&mut self, plugin_at: usize, lane_at: usize, consumer: &impl Source) {
        let clock = self.clock.clone();
        let plugin = &mut self.plugins[plugin_at];
        if plugin.paused {
            // What was on its way when the pause began; it is handed over when there is room.
            plugin.lanes[lane_at].try_hand_over(&self.routing.now.table);
            return;
        }
        loop {
            let lane = &mut plugin.lanes[lane_at];
            let patience = lane.gauge.busy_ms(clock.now()).unwrap_or(0);
            if patience > PATIENCE_MS {
                self.pause(plugin_at, consumer);
                return;
            }
            let wait = Duration::from_millis(PATIENCE_MS - patience + 1);
            let batch = lane.take_open(&self.routing.now.table);
            match lane.inbox.send_timeout(batch, clock.patience(wait)) {
                Ok(()) => return,
                Err(SendTimeoutError::Timeout(batch) | SendTimeoutError::Disconnected(batch)) => {
                    lane.open = batch;
                }
            }
            if lane.gauge.busy_ms(clock.now()).is_none() {
                // The lane waits for the settling thread; so does everything else.
                self.pause(plugin_at, consumer);
                return;
            }
        }
    }

    /// Notes how far each partition reaches and has been read, for the lag.
    pub(crate) fn note_ends(&mut self, consumer: &impl Source) {
        self.refresh(consumer.membership());
        for local in &self.locals {
            let assignment = &local.assignment;
            assignment.note_read(local.last_offset, local.last_time_ms);
            // Without a fetch nobody says here how far it reaches; somebody else asks.
            if local.stopped {
                continue;
            }
            if let Some(end) = consumer.end_offset(&assignment.topic, assignment.partition) {
                assignment.set_end_offset(end);
            }
        }
    }

    /// Hands everything that is still open to the lanes, which drop what has been revoked.
    pub(crate) fn hand_over_all(&mut self) {
        for lane in self.plugins.iter_mut().flat_map(|plugin| &mut plugin.lanes) {
            if !lane.open.is_empty() {
                let batch = lane.take_open(&self.routing.now.table);
                // The lane drops revoked events at once, so it has room soon; what does not get there
                // is abandoned all the same.
                let wait = self.clock.patience(Duration::from_secs(1));
                let _abandoned = lane.inbox.send_timeout(batch, wait);
            }
        }
    }

    /// The place of a record's assignment; none when the partition has been taken away.
    #[inline]
    fn local(&mut self, record: &impl Arrival, member: &Member) -> Option<usize> {
        if member.generation.load(Ordering::Acquire) != self.generation {
            self.refresh(member);
        }
        let (token, partition) = (record.topic_token(), record.partition());
        let is_it =
            |local: &Local| local.topic_token == token && local.assignment.partition == partition;
        if self.locals.get(self.last).is_some_and(is_it) {
            return Some(self.last);
        }
        let found = self.locals.iter().position(is_it).or_else(|| {
            // The first record of the topic since the assignment: from now on its token is known.
            let at = self.locals.iter().position(|local| {
                local.topic_token == 0
                    && local.assignment.partition == partition
                    && *local.assignment.topic == *record.topic()
            })?;
            self.locals[at].topic_token = token;
            Some(at)
        })?;
        self.last = found;
        Some(found)
    }

    /// Takes over the current assignments. Those that stay keep their counts.
    pub(crate) fn refresh(&mut self, member: &Member) {
        let generation = member.generation.load(Ordering::Acquire);
        if generation == self.generation {
            return;
        }
        // An assignment of a topic follows the table that has it.
        if self.routing.refresh() {
            let table = &self.routing.now.table;
            for lane in self.plugins.iter_mut().flat_map(|plugin| &mut plugin.lanes) {
                lane.open.renew_topics(table);
            }
        }
        let current = member.assignments();
        let mut known = std::mem::take(&mut self.locals);
        self.locals = current
            .into_iter()
            .map(|assignment| {
                let at = known
                    .iter()
                    .position(|local| local.assignment.id == assignment.id);
                at.map(|at| known.swap_remove(at)).unwrap_or_else(|| Local {
                    hash: partition_hash(&assignment.topic, assignment.partition),
                    topic_token: 0,
                    next_seq: 0,
                    last_offset: Offset(-1),
                    end: end_of(&self.ends, &assignment),
                    last_time_ms: None,
                    stopped: false,
                    assignment,
                })
            })
            .collect();
        self.last = 0;
        self.generation = generation;
        // What is paused stays paused, whoever had the partition before.
        self.pauses_due = true;
        // Partitions that stay may be paused and new ones are not; resuming all of them makes them one again.
        for plugin in &mut self.plugins {
            plugin.resume_due |= std::mem::take(&mut plugin.paused);
            plugin.resume_due |= std::mem::take(&mut plugin.copies_paused);
        }
    }
}

/// Where a partition ends; beyond every offset where it does not.
fn end_of(ends: &Ends, of: &Assignment) -> Offset {
    let ends_early = (!ends.is_empty()).then(|| ends.get(&(of.topic.to_string(), of.partition)));
    ends_early.flatten().copied().unwrap_or(Offset(i64::MAX))
}

/// What the record at this offset is to the assignment.
#[inline]
fn kind_of(assignment: &Assignment, offset: Offset) -> EventKind {
    if offset >= assignment.new_from {
        EventKind::New
    } else if offset < assignment.committed {
        EventKind::Seen
    } else if assignment.applied.contains(offset) {
        EventKind::Recovered
    } else {
        EventKind::New
    }
}

impl IntakeLane {
    fn is_full(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::does("no-limits") {
            return false;
        }
        self.open.len() >= self.gauge.events_limit() || self.open.bytes.len() >= BATCH_BYTES_MAX
    }

    /// The open batch, with an empty one in its place.
    fn take_open(&mut self, topic_table: &[u8]) -> Batch {
        let mut empty = self
            .spent
            .try_recv()
            .unwrap_or_else(|_| Batch::new(topic_table));
        if !empty.has_topics_of(topic_table.len()) {
            empty.begin(topic_table);
        }
        std::mem::replace(&mut self.open, empty)
    }

    fn try_hand_over(&mut self, topic_table: &[u8]) {
        let batch = self.take_open(topic_table);
        if let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) =
            self.inbox.try_send(batch)
        {
            self.open = batch;
        }
    }
}

/// What tells the partitions of a group apart in the hash of an order group.
fn partition_hash(topic: &str, partition: i32) -> u64 {
    xxh3_64(topic.as_bytes()).wrapping_add(partition as u64)
}

/// Without an order, events of one id still meet on one lane, so that one of them is seen first.
fn id_group(
    record: &impl Arrival,
    assignment: &Arc<Assignment>,
    dedup: &config::Dedup,
    otherwise: OrderGroup,
) -> OrderGroup {
    let mut one = Batch::new(&[]);
    let scope = OrderGroup::new(assignment.id, None);
    let place = Place {
        topic_index: assignment.topic_index,
        partition: assignment.partition,
        offset: record.offset(),
        timestamp_ms: None,
        attempt: 1,
    };
    one.push(
        assignment,
        (EventKind::New, 0, record.offset(), scope),
        place,
        (record.key(), record.value()),
        |bytes| record.for_each_header(|name, value| pack_header(bytes, name, value)),
    );
    id_of(&dedup.id, &one.view(0), scope).map_or(otherwise, |id| OrderGroup(id.0 as u64))
}
