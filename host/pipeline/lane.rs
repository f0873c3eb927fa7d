//! A lane: one thread with its own plugin instance. It admits events, runs them, and judges what they came
//! to. An event belongs to exactly one lane, so nothing here is shared or locked.

mod call;
mod judge;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, select};

use super::assignment::Assignment;
use super::batch::{Batch, EventKind, OwnedEvent};
use super::identity::id_of;
use super::lane_state::LaneState;
use super::messages::{FromLane, Settlement, TickJob, ToLane};
use crate::config;
use crate::delivery::dedup::{EventId, Window};
use crate::delivery::ledger::Settled;
use crate::delivery::retry::{Backoff, Millis, Park};
use crate::sandbox::{Instance, LoadedPlugin};
use crate::telemetry::metrics::LaneMetrics;

/// Events of one batch at most. Past this the cost of a call is spread thin enough, and a lone slow event
/// would hold up too many others.
pub(crate) const BATCH_EVENTS_MAX: usize = 512;

/// Bytes of one batch at most, so that it stays in the second-level cache while it is copied and read.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;

/// How long a call should take at most; the size of batches follows it.
const CALL_GOAL: Duration = Duration::from_millis(20);

/// How long an idle lane sleeps when nothing is due. It wakes earlier for anything sent to it.
const IDLE: Duration = Duration::from_secs(1);

/// What a lane needs to know, fixed for its life.
#[derive(Debug)]
pub(crate) struct LaneSettings {
    pub(crate) index: usize,
    pub(crate) group: Arc<str>,
    pub(crate) topics: Arc<[Arc<str>]>,
    pub(crate) topic_table: Arc<[u8]>,
    pub(crate) plugin: Arc<LoadedPlugin>,
    pub(crate) dedup: Option<config::Dedup>,
    pub(crate) attempts_max: u32,
    pub(crate) backoff: Backoff,
    pub(crate) dead_letter_topic: String,
    pub(crate) message_bytes_max: usize,
}

/// What the polling thread sees of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneGauge {
    /// When the current call began, in milliseconds since the group started, plus one; 0 is idle.
    busy_since_ms: AtomicU64,
    events_limit: AtomicUsize,
    parked_events: AtomicUsize,
    parked_bytes: AtomicUsize,
}

impl LaneGauge {
    /// How long the current call has been running.
    pub(crate) fn busy_ms(&self, now: Millis) -> Option<u64> {
        let since = self.busy_since_ms.load(Ordering::Relaxed);
        since
            .checked_sub(1)
            .map(|since| now.0.saturating_sub(since))
    }

    /// Events that the next batch should hold at most.
    pub(crate) fn events_limit(&self) -> usize {
        self.events_limit
            .load(Ordering::Relaxed)
            .clamp(1, BATCH_EVENTS_MAX)
    }

    /// Events and bytes held back.
    pub(crate) fn parked(&self) -> (usize, usize) {
        (
            self.parked_events.load(Ordering::Relaxed),
            self.parked_bytes.load(Ordering::Relaxed),
        )
    }
}

/// The clock of a group: milliseconds since it started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(pub(crate) Instant);

impl Clock {
    pub(crate) fn now(self) -> Millis {
        Millis(self.0.elapsed().as_millis() as u64)
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    // A clock before 1970 reads as 1970; the time is for people and for record timestamps only.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}

/// How a lane is reached, and where it answers.
#[derive(Debug)]
pub(crate) struct LaneEnds {
    pub(crate) inbox: Receiver<Batch>,
    /// Empty batches go back, so that their memory is used again.
    pub(crate) spent: Sender<Batch>,
    pub(crate) commands: Receiver<ToLane>,
    pub(crate) settle: Sender<FromLane>,
}

/// One lane, on its thread.
#[derive(Debug)]
pub(crate) struct Lane {
    settings: LaneSettings,
    ends: LaneEnds,
    gauge: Arc<LaneGauge>,
    clock: Clock,
    metrics: LaneMetrics,
    instance: Option<Instance>,
    state: Option<LaneState>,
    faults_in_a_row: u32,
    park: Park<OwnedEvent>,
    /// Ids settled lately, or running now, by assignment.
    windows: HashMap<u64, (Arc<Assignment>, Window)>,
    /// Wall-clock time of the first failure of events that wait for another attempt, by assignment and
    /// number.
    first_failures: HashMap<(u64, u64), u64>,
    /// Ids of the admitted events of the current batch, in their order.
    ids: Vec<Option<EventId>>,
    random: fastrand::Rng,
}

impl Lane {
    pub(crate) fn new(
        settings: LaneSettings,
        ends: LaneEnds,
        gauge: Arc<LaneGauge>,
        clock: Clock,
        metrics: LaneMetrics,
        state: Option<LaneState>,
    ) -> Self {
        gauge.events_limit.store(64, Ordering::Relaxed);
        Self {
            settings,
            ends,
            gauge,
            clock,
            metrics,
            instance: None,
            state,
            faults_in_a_row: 0,
            park: Park::default(),
            windows: HashMap::new(),
            first_failures: HashMap::new(),
            ids: Vec::new(),
            random: fastrand::Rng::new(),
        }
    }

    /// Works until the group lets go of the lane.
    pub(crate) fn run(mut self) {
        loop {
            self.run_due();
            let idle = match self.park.next_due() {
                Some(due) => Duration::from_millis(due.0.saturating_sub(self.clock.now().0)),
                None => IDLE,
            };
            select! {
                recv(self.ends.commands) -> command => match command {
                    Ok(ToLane::Tick(job)) => self.tick(job),
                    Ok(ToLane::Fence) => self.fence(),
                    Err(_) => return,
                },
                recv(self.ends.inbox) -> batch => match batch {
                    Ok(batch) => self.take_in(batch),
                    // The polling thread has gone; commands may still follow.
                    Err(_) => match self.ends.commands.recv() {
                        Ok(ToLane::Tick(job)) => self.tick(job),
                        Ok(ToLane::Fence) => self.fence(),
                        Err(_) => return,
                    },
                },
                default(idle) => {}
            }
        }
    }

    /// The path of a fresh batch through the lane.
    fn take_in(&mut self, mut batch: Batch) {
        let mut settlement = Settlement::default();
        let repeats = self.admit(&mut batch, &mut settlement);
        if !batch.is_empty() {
            self.handle(&batch, &mut settlement);
        }
        self.settle_repeats(repeats, &mut settlement);
        self.hand_over(&batch, settlement);
        batch.begin(&self.settings.topic_table);
        // A full pool means that enough batches wait already; this one is dropped.
        let _pooled = self.ends.spent.try_send(batch);
    }

    /// Runs the keys whose time has come, each with what queued behind it.
    fn run_due(&mut self) {
        loop {
            let events = self.park.take_due(self.clock.now(), BATCH_EVENTS_MAX);
            if events.is_empty() {
                return;
            }
            let mut batch = Batch::new(&self.settings.topic_table);
            let mut settlement = Settlement::default();
            for event in &events {
                batch.push_owned(event);
            }
            for meta in batch.events.clone() {
                settlement.parked.push((meta.assignment, -1));
            }
            let repeats = self.admit(&mut batch, &mut settlement);
            if !batch.is_empty() {
                self.handle(&batch, &mut settlement);
            }
            self.settle_repeats(repeats, &mut settlement);
            self.hand_over(&batch, settlement);
        }
    }

    /// Drops what needs no call: what was taken away, what was settled before, and what waits behind its
    /// key. Returns the events whose id is already known; among them may be repeats of an event of this
    /// very batch, so they are settled after it.
    fn admit(&mut self, batch: &mut Batch, settlement: &mut Settlement) -> Vec<OwnedEvent> {
        let Self {
            settings,
            park,
            windows,
            ids,
            ..
        } = self;
        let mut repeats = Vec::new();
        ids.clear();
        batch.retain(|batch, index| {
            let meta = batch.events[index];
            let assignment = batch.assignment_of(meta);
            let event = batch.view(index);
            let mut settle = |settled| {
                settlement.settle(meta.assignment, settled, meta.seq, event.offset());
            };
            if assignment.is_revoked() {
                if meta.kind != EventKind::Seen {
                    settle(Settled::Abandoned);
                }
                return false;
            }
            if meta.kind == EventKind::New && park.holds(meta.group) {
                let event = batch.take_out(index, event.attempt());
                let size = event.size_bytes();
                park.push(meta.group, event, size);
                settlement.parked.push((meta.assignment, 1));
                return false;
            }
            let id = settings.dedup.as_ref().and_then(|dedup| {
                let id = id_of(&dedup.id, &event, meta.group)?;
                let (_, window) = windows.entry(assignment.id).or_insert_with(|| {
                    let window_ms = dedup.window.as_millis() as i64;
                    (
                        Arc::clone(assignment),
                        Window::new(window_ms, dedup.max_events),
                    )
                });
                let record_ms = event.timestamp_ms().unwrap_or(0);
                Some((id, window.insert(id, record_ms)))
            });
            match meta.kind {
                EventKind::Seen => false,
                EventKind::Recovered => {
                    settle(Settled::Recovered);
                    false
                }
                EventKind::New => match id {
                    Some((_, false)) => {
                        repeats.push(batch.take_out(index, event.attempt()));
                        false
                    }
                    id => {
                        ids.push(id.map(|(id, _)| id));
                        true
                    }
                },
            }
        });
        repeats
    }

    /// An event whose id is known is a duplicate, unless the event that has it is held back: then it
    /// waits behind it.
    fn settle_repeats(&mut self, repeats: Vec<OwnedEvent>, settlement: &mut Settlement) {
        for event in repeats {
            let meta = event.meta;
            if self.park.holds(meta.group) {
                let size = event.size_bytes();
                self.park.push(meta.group, event, size);
                settlement.parked.push((meta.assignment, 1));
            } else {
                let offset = event.view().offset();
                settlement.settle(meta.assignment, Settled::Duplicate, meta.seq, offset);
            }
        }
    }

    fn hand_over(&mut self, batch: &Batch, mut settlement: Settlement) {
        self.gauge
            .parked_events
            .store(self.park.events(), Ordering::Relaxed);
        self.gauge
            .parked_bytes
            .store(self.park.bytes(), Ordering::Relaxed);
        self.metrics
            .dedup_window(self.windows.values().map(|(_, window)| window.len()).sum());
        if settlement.is_empty() {
            return;
        }
        settlement.assignments.clone_from(&batch.assignments);
        if let Some(state) = self.state.as_mut() {
            settlement.state_serial = state.remember(&settlement.state);
        }
        // The settling thread outlives its lanes; a closed channel means that the process is ending.
        let _ended = self
            .ends
            .settle
            .send(FromLane::Settlement(self.settings.index, settlement));
    }

    /// Runs `on-tick`.
    fn tick(&mut self, job: TickJob) {
        let TickJob {
            assignment,
            reason,
            now_ms,
            sums,
        } = job;
        let result = self.instance().and_then(|instance| {
            instance.tick(
                &assignment.topic,
                assignment.partition,
                now_ms,
                reason,
                sums,
            )
        });
        if let Err(fault) = &result {
            self.spent(fault);
        }
        let _ended = self.ends.settle.send(FromLane::Ticked {
            assignment: assignment.id,
            result,
        });
    }

    /// Forgets what is held back of revoked assignments. Their events will be read again by whoever has
    /// the partition next.
    fn fence(&mut self) {
        self.windows
            .retain(|_, (assignment, _)| !assignment.is_revoked());
        let forgotten = self.park.forget(|event| !event.assignment.is_revoked());
        let mut settlement = Settlement::default();
        let mut batch = Batch::new(&[]);
        for event in &forgotten {
            batch.push_owned(event);
            let meta = batch.events[batch.len() - 1];
            settlement.parked.push((meta.assignment, -1));
            let offset = event.view().offset();
            settlement.settle(meta.assignment, Settled::Abandoned, meta.seq, offset);
            self.first_failures.remove(&(event.assignment.id, meta.seq));
        }
        self.hand_over(&batch, settlement);
        let _ended = self
            .ends
            .settle
            .send(FromLane::FenceReached(self.settings.index));
    }
}
